//! What the program is, and what it finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ropewalk_os::process::Ended;

use crate::Fixture;

/// A new directory, removed at the end.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file that may be executed.
    pub(crate) fn program(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) fn arguments_are_bytes(fixture: &Fixture) {
    let odd: Vec<u8> = (1..=255).collect();
    let mut spawn = fixture.spawn_of("printf");
    spawn.arguments([b"p".to_vec(), b"%s|".to_vec(), odd.clone(), Vec::new()]);
    let (output, ended) = fixture.output(&mut spawn);
    assert_eq!(ended, Ended::Exited(0));
    assert_eq!(output, [&odd[..], b"||"].concat());
}

pub(crate) fn the_environment_is_what_is_given(fixture: &Fixture) {
    let mut spawn = fixture.spawn_of("/usr/bin/env");
    spawn.arguments(["env", "-0"]);
    spawn.environment([
        (b"B".to_vec(), b"\xff\xfe\n".to_vec()),
        (b"A".to_vec(), b"".to_vec()),
    ]);
    let (output, ended) = fixture.output(&mut spawn);
    assert_eq!(
        (output, ended),
        (b"B=\xff\xfe\n\0A=\0".to_vec(), Ended::Exited(0))
    );
}

pub(crate) fn the_environment_is_inherited(fixture: &Fixture) {
    let output = fixture.text(&mut fixture.shell("echo $PATH"));
    assert_eq!(output.trim_end(), std::env::var("PATH").unwrap());
}

pub(crate) fn an_empty_environment_is_empty(fixture: &Fixture) {
    let mut spawn = fixture.spawn_of("env");
    // Found all the same, along the parent's path.
    assert_eq!(fixture.text(spawn.environment([("", ""); 0])), "");
}

pub(crate) fn the_directory_is_changed(fixture: &Fixture) {
    let directory = Directory::new("cwd");
    let mut spawn = fixture.spawn_of("/bin/pwd");
    assert_eq!(
        fixture.text(spawn.directory(directory.text())).trim_end(),
        directory.text()
    );
    // A relative program is the new directory's.
    directory.program("here", b"#!/bin/sh\necho ran $0\n");
    let mut spawn = fixture.spawn_of("./here");
    assert_eq!(
        fixture.text(spawn.directory(directory.text())),
        "ran ./here\n"
    );
}

pub(crate) fn files_lack_what_the_mask_says(fixture: &Fixture) {
    assert_eq!(
        fixture.text(fixture.shell("umask").file_mode_mask(0o137)),
        "0137\n"
    );
}

pub(crate) fn a_program_is_looked_for_along_the_childs_path(fixture: &Fixture) {
    let directory = Directory::new("search");
    directory.program("ropewalk-searched", b"#!/bin/sh\necho found\n");
    // One that is not executable is passed over for one that is.
    let other = Directory::new("search-first");
    fs::write(other.0.join("ropewalk-searched"), "").unwrap();
    let path = format!("/nowhere:{}:{}", other.text(), directory.text());
    let mut spawn = fixture.spawn_of("ropewalk-searched");
    assert_eq!(
        fixture.text(spawn.environment([("PATH", &*path)])),
        "found\n"
    );
    let mut spawn = fixture.spawn_of("ropewalk-searched");
    assert_eq!(fixture.text(spawn.search_path(path)), "found\n");
    let mut spawn = fixture.spawn_of("ropewalk-searched");
    let error = spawn.search_path("/usr/bin:/bin").spawn().unwrap_err();
    assert_eq!(error.io_error().raw_os_error(), Some(libc::ENOENT));
}

pub(crate) fn a_script_runs(fixture: &Fixture) {
    let directory = Directory::new("script");
    let path = directory.program("script", b"#!/bin/sh\nexit $#\n");
    let mut spawn = fixture.spawn_of(&path);
    assert_eq!(
        fixture.run(spawn.arguments(["s", "1", "2"])),
        Ended::Exited(2)
    );
}
