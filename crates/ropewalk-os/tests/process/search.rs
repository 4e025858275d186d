//! The search for a program along a path.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ropewalk_os::process::{Spawn, Step};

use crate::Fixture;
use crate::program::Directory;

const NAME: &str = "ropewalk-sought";

/// A directory with a program of that name that says which it is.
fn holding(name: &str) -> Directory {
    let directory = Directory::new(name);
    let text = format!("#!/bin/sh\necho {name}\n");
    directory.program(NAME, text.as_bytes());
    directory
}

/// What the program says that is found along `path`, in the working directory `from`.
fn found(fixture: &Fixture, path: &str, from: &Directory) -> String {
    let mut spawn = fixture.spawn_of(NAME);
    spawn.search_path(path).directory(from.text());
    fixture.text(&mut spawn).trim_end().to_owned()
}

fn failure(spawn: &Spawn<'_>) -> i32 {
    let error = spawn.spawn().unwrap_err();
    assert_eq!(error.step(), Step::Exec);
    error.io_error().raw_os_error().unwrap()
}

pub(crate) fn an_empty_element_is_the_childs_directory(fixture: &Fixture) {
    let (here, there) = (holding("here"), holding("there"));
    let there_path = there.text();
    assert_eq!(found(fixture, "", &here), "here");
    assert_eq!(found(fixture, ":/nowhere", &here), "here");
    assert_eq!(found(fixture, "/nowhere:", &here), "here");
    assert_eq!(
        found(fixture, &format!("/nowhere::{there_path}"), &here),
        "here"
    );
    assert_eq!(found(fixture, &format!("{there_path}:"), &here), "there");
    // As `.` and other relative ones are.
    assert_eq!(found(fixture, &format!(".:{there_path}"), &here), "here");
    let name = here.0.file_name().unwrap().to_str().unwrap();
    assert_eq!(found(fixture, &format!("../{name}"), &there), "here");
}

pub(crate) fn a_name_with_a_slash_is_not_looked_for(fixture: &Fixture) {
    let (elsewhere, empty) = (holding("slash"), Directory::new("slash-empty"));
    for name in [format!("./{NAME}"), format!("{}/{NAME}", empty.text())] {
        let mut spawn = fixture.spawn_of(&name);
        spawn.search_path(elsewhere.text()).directory(empty.text());
        assert_eq!(failure(&spawn), libc::ENOENT);
    }
    let mut spawn = fixture.spawn_of(&format!("./{NAME}"));
    spawn.search_path("/nowhere").directory(elsewhere.text());
    assert_eq!(fixture.text(&mut spawn), "slash\n");
}

/// Files that cannot be run, directories of the name, elements that are no directories: the search
/// goes on, and the first that says more than "not there" is told if nothing is found.
pub(crate) fn what_cannot_be_run_is_passed_over(fixture: &Fixture) {
    let (good, plain, folder) = (
        holding("good"),
        Directory::new("plain"),
        Directory::new("folder"),
    );
    fs::write(plain.0.join(NAME), "#!/bin/sh\n").unwrap();
    fs::create_dir(folder.0.join(NAME)).unwrap();
    let file = format!("{}/{NAME}", plain.text());
    let text = Directory::new("text");
    text.program(NAME, b"echo no interpreter is named here\n");
    let alien = Directory::new("alien");
    alien.program(NAME, b"#!/nowhere/interpreter\n");
    let elements = [
        (plain.text(), libc::EACCES),
        (folder.text(), libc::EACCES),
        (file.as_str(), libc::ENOENT),
        // As execvp(3) does not: that would hand it to a shell.
        (text.text(), libc::ENOEXEC),
        (alien.text(), libc::ENOENT),
    ];
    for (element, errno) in elements {
        let path = format!("/nowhere:{element}:{}", good.text());
        assert_eq!(found(fixture, &path, &good), "good", "{element}");
        let mut spawn = fixture.spawn_of(NAME);
        let expected = if element == file {
            libc::ENOTDIR
        } else {
            errno
        };
        assert_eq!(failure(spawn.search_path(element)), expected, "{element}");
        let path = format!("{element}:/nowhere");
        assert_eq!(failure(spawn.search_path(path)), errno, "{element}");
    }
    let mut spawn = fixture.spawn_of(NAME);
    let path = format!("/nowhere:{}:{}", text.text(), plain.text());
    assert_eq!(failure(spawn.search_path(path)), libc::ENOEXEC);
}

/// A directory that one may not look into hides what it holds, and no more.
pub(crate) fn a_directory_that_is_closed_is_passed_over(fixture: &Fixture) {
    let (closed, open) = (holding("closed"), holding("open"));
    fs::set_permissions(&closed.0, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&open.0, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", closed.text(), open.text());
    let mut other = fixture.spawn_of(NAME);
    let mut hidden = fixture.spawn_of(NAME);
    hidden.search_path(closed.text());
    other.search_path(path);
    if rustix::process::geteuid().is_root() {
        // To whom nothing is closed.
        other.user(12_345);
        hidden.user(12_345);
    }
    let (said, error) = (fixture.text(&mut other), failure(&hidden));
    fs::set_permissions(&closed.0, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((said.as_str(), error), ("open\n", libc::EACCES));
}
