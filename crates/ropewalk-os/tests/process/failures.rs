//! Spawns that fail.

use std::fs;
use std::thread;

use ropewalk_os::process::{ChildFd, Spawn, Step};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::Fixture;
use crate::fixture::not_tested;
use crate::program::Directory;

const NOBODY: u32 = 65534;

fn failure(spawn: &Spawn<'_>) -> (Step, i32) {
    let error = spawn.spawn().unwrap_err();
    (error.step(), error.io_error().raw_os_error().unwrap())
}

pub(crate) fn each_error_comes_with_its_step(fixture: &Fixture) {
    let directory = Directory::new("failures");
    let text = directory.program("text", b"echo no interpreter is named here\n");
    let plain = format!("{}/plain", directory.text());
    fs::write(&plain, "").unwrap();
    let exec = |program: &str| failure(&fixture.spawn_of(program));
    assert_eq!(exec("/nowhere/at-all"), (Step::Exec, libc::ENOENT));
    let mut spawn = fixture.spawn_of("ropewalk-has-no-such-program");
    assert_eq!(
        failure(spawn.search_path("/usr/bin:/bin")),
        (Step::Exec, libc::ENOENT)
    );
    assert_eq!(exec(""), (Step::Exec, libc::ENOENT));
    assert_eq!(exec(&plain), (Step::Exec, libc::EACCES));
    assert_eq!(exec("/etc"), (Step::Exec, libc::EACCES));
    assert_eq!(exec(&format!("{plain}/below")), (Step::Exec, libc::ENOTDIR));
    // No shell runs it, as with `posix_spawnp` and `os.execvpe`.
    assert_eq!(exec(&text), (Step::Exec, libc::ENOEXEC));
    let mut spawn = fixture.spawn_of("/bin/true");
    assert_eq!(
        failure(spawn.arguments([vec![b'x'; 8 << 20]])),
        (Step::Exec, libc::E2BIG)
    );
    let mut spawn = fixture.spawn_of("/bin/true");
    assert_eq!(
        failure(spawn.directory("/nowhere")),
        (Step::Directory, libc::ENOENT)
    );
    assert_eq!(
        failure(spawn.directory(plain)),
        (Step::Directory, libc::ENOTDIR)
    );
    let mut spawn = fixture.spawn_of("/bin/true");
    let far = 1 << 30;
    assert_eq!(
        failure(spawn.descriptor(far, ChildFd::Reads)),
        (Step::Descriptors, libc::EBADF)
    );
    let mut spawn = fixture.spawn_of("/bin/true");
    let (read, _write) = rustix::pipe::pipe().unwrap();
    assert_eq!(
        failure(spawn.terminal(std::os::fd::AsFd::as_fd(&read))),
        (Step::Terminal, libc::ENOTTY)
    );
    let mut spawn = fixture.spawn_of("/bin/true");
    let nobodys = ropewalk_os::process::Group::Process(1);
    assert_eq!(
        failure(spawn.process_group(nobodys)),
        (Step::ProcessGroup, libc::EPERM)
    );
    let none = ropewalk_os::process::Group::Process(-1);
    assert_eq!(
        failure(spawn.process_group(none)),
        (Step::ProcessGroup, libc::EINVAL)
    );
}

pub(crate) fn what_no_process_can_have_is_refused(fixture: &Fixture) {
    let refused = |spawn: &Spawn<'_>| {
        let error = spawn.spawn().unwrap_err();
        assert_eq!(error.step(), Step::Describe);
        assert_eq!(error.io_error().kind(), std::io::ErrorKind::InvalidInput);
    };
    refused(&fixture.spawn_of("a\0b"));
    refused(fixture.spawn_of("true").arguments(["a\0b"]));
    refused(fixture.spawn_of("true").environment([("a", "\0")]));
    refused(fixture.spawn_of("true").directory("\0"));
    refused(fixture.spawn_of("true").descriptor(-1, ChildFd::Reads));
}

/// Runs `inside` in a thread that is nobody's, or as it is where the test already is nobody much.
fn without_privilege(inside: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if geteuid().is_root() {
                let (group, user) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
                set_thread_res_gid(group, group, group).unwrap();
                set_thread_res_uid(user, user, user).unwrap();
            }
            inside();
        });
    });
}

pub(crate) fn another_user_needs_privilege(fixture: &Fixture) {
    let notice = fixture.way.notice();
    without_privilege(move || {
        let spawn = || Spawn::new("/bin/true", notice);
        assert_eq!(failure(spawn().user(0)), (Step::User, libc::EPERM));
        assert_eq!(failure(spawn().group(0)), (Step::Group, libc::EPERM));
        assert_eq!(failure(spawn().groups([0])), (Step::Groups, libc::EPERM));
    });
}

pub(crate) fn the_user_and_the_groups_change(fixture: &Fixture) {
    if !geteuid().is_root() {
        not_tested("a change of users, which needs root");
        return;
    }
    let script = "id -u; id -g; id -G";
    let mut spawn = fixture.shell(script);
    let output = fixture.text(spawn.user(NOBODY).group(12345).groups([7, 8]));
    assert_eq!(output, "65534\n12345\n12345 7 8\n");
    let mut spawn = fixture.shell(script);
    assert_eq!(
        fixture.text(spawn.user(NOBODY).group(12345)),
        "65534\n12345\n12345\n"
    );
    // The groups of a privileged parent stay behind, unless they are asked for.
    let in_a_group = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_thread_groups(&[Gid::from_raw(77)]).unwrap();
            let mut spawn = fixture.shell("id -G");
            let others = fixture.text(spawn.user(NOBODY).group(12345));
            (others, fixture.text(&mut fixture.shell("id -G")))
        });
        thread.join().unwrap()
    });
    assert_eq!(in_a_group, ("12345\n".to_owned(), "0 77\n".to_owned()));
    let error = fixture
        .spawn_of("/nowhere")
        .user(NOBODY)
        .spawn()
        .unwrap_err();
    assert_eq!(error.step(), Step::Exec);
}

/// As of a server that runs as somebody else and can come back: real user root.
pub(crate) fn privilege_that_is_laid_aside_is_taken_up(fixture: &Fixture) {
    if !geteuid().is_root() {
        not_tested("privilege laid aside, which needs root");
        return;
    }
    let output = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (root, nobody) = (Uid::from_raw(0), Uid::from_raw(NOBODY));
            set_thread_res_uid(root, nobody, root).unwrap();
            let mut other = fixture.shell("id -u; id -ur; id -G");
            // A shell would lay it aside, or take it up, by itself.
            let mut same = fixture.spawn_of("grep");
            same.arguments(["grep", "-E", "^(Uid|Gid)", "/proc/self/status"]);
            [
                fixture.text(other.user(12345).group(12346)),
                // Whose user stays is not root by that.
                fixture.text(same.group(12346)),
                fixture.text(same.groups([7])),
            ]
        });
        thread.join().unwrap()
    });
    assert_eq!(output[0], "12345\n12345\n12346\n");
    let same = "Uid:\t0\t65534\t65534\t65534\nGid:\t12346\t12346\t12346\t12346\n";
    assert_eq!(output[1..], [same; 2]);
}

/// None of them may be in the way of what tells of it.
pub(crate) fn a_failure_is_told_whatever_numbers_are_wanted(fixture: &Fixture) {
    let mut spawn = fixture.spawn_of("/nowhere");
    let (read, _write) = rustix::pipe::pipe().unwrap();
    for number in 0..100 {
        spawn.descriptor(number, ChildFd::Inherits(std::os::fd::AsFd::as_fd(&read)));
    }
    assert_eq!(failure(&spawn), (Step::Exec, libc::ENOENT));
}
