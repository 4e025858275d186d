//! Pseudoterminals, with children in them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_os::process::{
    Child, Ended, ExitNotice, Pty, Spawn, WindowSize, read_master, set_window_size, window_size,
};
use ropewalk_testkit::{DescriptorCount, assert_no_children};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd, retry_on_intr};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Descriptors and children are the process's: one test at a time, which leaves none of them.
struct Turn {
    count: Option<DescriptorCount>,
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            count: Some(DescriptorCount::new()),
            _turn: turn,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.count.take());
        if !std::thread::panicking() {
            assert_no_children();
        }
    }
}

/// The ways of noticing the end of a child, which are two ways of making one as well.
fn notices() -> [ExitNotice; 2] {
    [ExitNotice::Pidfd, ExitNotice::ChildSignal]
}

/// A shell in a terminal: its master, and the child.
fn shell(notice: ExitNotice, script: &str, size: WindowSize) -> (OwnedFd, Child) {
    let Pty { master, slave } = Pty::open().unwrap();
    set_window_size(&slave, size).unwrap();
    let mut spawn = Spawn::new("/bin/sh", notice);
    spawn.arguments(["sh", "-c", script]);
    let child = spawn.terminal(slave.as_fd()).spawn().unwrap().child;
    (master, child)
}

fn wait_for(master: &OwnedFd, flags: PollFlags) -> PollFlags {
    let mut watched = [PollFd::new(master, flags)];
    retry_on_intr(|| poll(&mut watched, None)).unwrap();
    watched[0].revents()
}

/// Reads what comes next; nothing at the end.
fn read_some(master: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 4096];
    loop {
        match read_master(master, &mut buffer) {
            Ok(length) => return buffer[..length].to_vec(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for(master, PollFlags::IN);
            }
            Err(error) => panic!("reading a master: {error}"),
        }
    }
}

fn read_to_end(master: &OwnedFd) -> String {
    let mut all = Vec::new();
    loop {
        let some = read_some(master);
        if some.is_empty() {
            return String::from_utf8(all).unwrap();
        }
        all.extend(some);
    }
}

fn read_until(master: &OwnedFd, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let some = read_some(master);
        assert!(!some.is_empty(), "{all:?} and the end, without {text:?}");
        all += std::str::from_utf8(&some).unwrap();
    }
    all
}

const SIZE: WindowSize = WindowSize {
    rows: 43,
    columns: 132,
    x_pixels: 0,
    y_pixels: 0,
};

#[test]
fn a_terminal_is_the_childs_controlling_one_and_has_its_size() {
    let _turn = Turn::take();
    for notice in notices() {
        let pty = Pty::open().unwrap();
        let name = pty.name().unwrap().into_string().unwrap();
        set_window_size(&pty.master, SIZE).unwrap();
        assert_eq!(window_size(&pty.slave).unwrap(), SIZE);
        let mut spawn = Spawn::new("/bin/sh", notice);
        // /dev/tty can be opened by those only who have a controlling terminal.
        spawn.arguments([
            "sh",
            "-c",
            "tty; stty size < /dev/tty; ls /proc/self/fd | wc -l >&2",
        ]);
        let mut child = spawn.terminal(pty.slave.as_fd()).spawn().unwrap().child;
        drop(spawn);
        drop(pty.slave);
        // Of `ls`: 0, its pipe, 2 and the directory.
        assert_eq!(
            read_to_end(&pty.master),
            format!("{name}\r\n43 132\r\n4\r\n")
        );
        assert_eq!(child.wait().unwrap(), Ended::Exited(0));
    }
}

#[test]
fn our_side_neither_blocks_nor_is_inherited() {
    let _turn = Turn::take();
    let Pty { master, slave } = Pty::open().unwrap();
    assert!(fcntl_getfl(&master).unwrap().contains(OFlags::NONBLOCK));
    assert!(!fcntl_getfl(&slave).unwrap().contains(OFlags::NONBLOCK));
    for fd in [&master, &slave] {
        assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    }
    let error = read_master(&master, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    let error = window_size(&pipe).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    assert_eq!(
        set_window_size(&pipe, SIZE).unwrap_err().raw_os_error(),
        Some(libc::ENOTTY)
    );
}

#[test]
fn what_is_typed_is_echoed_and_arrives() {
    let _turn = Turn::take();
    for notice in notices() {
        let (master, mut child) = shell(notice, "read line; echo got $line", SIZE);
        rustix::io::write(&master, b"words\n").unwrap();
        assert_eq!(read_to_end(&master), "words\r\ngot words\r\n");
        assert_eq!(child.wait().unwrap(), Ended::Exited(0));
    }
}

#[test]
fn a_key_interrupts_the_child() {
    let _turn = Turn::take();
    for notice in notices() {
        let (master, mut child) = shell(notice, "echo ready; exec sleep 1000", SIZE);
        read_until(&master, "ready");
        rustix::io::write(&master, b"\x03").unwrap();
        assert!(read_to_end(&master).contains("^C"));
        let signal = libc::SIGINT;
        let ended = Ended::Killed {
            signal,
            core_dumped: false,
        };
        assert_eq!(child.wait().unwrap(), ended);
    }
}

#[test]
fn a_new_size_is_told_to_the_child() {
    let _turn = Turn::take();
    for notice in notices() {
        let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done";
        let (master, mut child) = shell(notice, script, SIZE);
        read_until(&master, "ready");
        let size = WindowSize { rows: 7, ..SIZE };
        set_window_size(&master, size).unwrap();
        assert!(read_to_end(&master).contains("7 132"));
        assert_eq!(child.wait().unwrap(), Ended::Exited(0));
    }
}

#[test]
fn our_hangup_ends_the_child() {
    let _turn = Turn::take();
    for notice in notices() {
        let (master, mut child) = shell(notice, "echo ready; exec sleep 1000", SIZE);
        read_until(&master, "ready");
        drop(master);
        let signal = libc::SIGHUP;
        let ended = Ended::Killed {
            signal,
            core_dumped: false,
        };
        assert_eq!(child.wait().unwrap(), ended);
    }
}

#[test]
fn the_end_comes_with_the_childs_and_stays() {
    let _turn = Turn::take();
    for notice in notices() {
        let (master, mut child) = shell(notice, "exit 3", SIZE);
        assert_eq!(read_to_end(&master), "");
        assert_eq!(child.wait().unwrap(), Ended::Exited(3));
        assert!(wait_for(&master, PollFlags::IN).contains(PollFlags::HUP));
        assert_eq!(read_master(&master, &mut [0]).unwrap(), 0);
    }
}

/// The end of the session's leader is not the terminal's, as it would be of another than a
/// pseudoterminal.
#[test]
fn who_else_has_the_terminal_open_goes_on_using_it() {
    let _turn = Turn::take();
    for notice in notices() {
        let script = "trap '' HUP; exec 3< /dev/tty; (read line <&3; echo got $line) & exit 3";
        let (master, mut child) = shell(notice, script, SIZE);
        assert_eq!(child.wait().unwrap(), Ended::Exited(3));
        let error = read_master(&master, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        rustix::io::write(&master, b"words\n").unwrap();
        assert_eq!(read_to_end(&master), "words\r\ngot words\r\n");
    }
}

#[test]
fn what_was_written_before_the_end_is_read_before_it() {
    let _turn = Turn::take();
    for notice in notices() {
        for _ in 0..50 {
            let (master, mut child) = shell(notice, "echo first; echo last; exit 3", SIZE);
            assert_eq!(child.wait().unwrap(), Ended::Exited(3));
            assert_eq!(read_to_end(&master), "first\r\nlast\r\n");
        }
    }
}

#[test]
fn a_megabyte_goes_through_and_comes_back() {
    let _turn = Turn::take();
    for notice in notices() {
        let pty = Pty::open().unwrap();
        let mut raw = tcgetattr(&pty.slave).unwrap();
        raw.make_raw();
        tcsetattr(&pty.slave, OptionalActions::Now, &raw).unwrap();
        let mut spawn = Spawn::new("head", notice);
        spawn.arguments(["head", "-c", "1000000"]);
        let mut child = spawn.terminal(pty.slave.as_fd()).spawn().unwrap().child;
        drop(spawn);
        drop(pty.slave);
        let data: Vec<u8> = (0..1_000_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let mut unsent: VecDeque<u8> = data.iter().copied().collect();
        let mut back = Vec::new();
        while back.len() < data.len() {
            let writing = if unsent.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::OUT
            };
            let ready = wait_for(&pty.master, PollFlags::IN | writing);
            if ready.contains(PollFlags::OUT) {
                let length = rustix::io::write(&pty.master, unsent.as_slices().0).unwrap();
                unsent.drain(..length);
            }
            if ready.contains(PollFlags::IN) {
                back.extend(read_some(&pty.master));
            }
        }
        assert!(back == data, "what came back is not what was sent");
        assert_eq!(child.wait().unwrap(), Ended::Exited(0));
        assert_eq!(read_to_end(&pty.master), "");
    }
}

#[test]
fn a_terminal_that_has_another_session_is_refused_and_not_taken() {
    let _turn = Turn::take();
    for notice in notices() {
        let Pty { master, slave } = Pty::open().unwrap();
        let mut spawn = Spawn::new("/bin/sh", notice);
        spawn.arguments(["sh", "-c", "echo ready; read line"]);
        spawn.terminal(slave.as_fd());
        let mut first = spawn.spawn().unwrap().child;
        read_until(&master, "ready");
        let error = spawn.spawn().unwrap_err();
        assert_eq!(error.step(), ropewalk_os::process::Step::Terminal);
        assert_eq!(error.io_error().raw_os_error(), Some(libc::EPERM));
        rustix::io::write(&master, b"\n").unwrap();
        assert_eq!(first.wait().unwrap(), Ended::Exited(0));
    }
}

#[test]
fn rounds_leave_nothing() {
    let _turn = Turn::take();
    for notice in notices() {
        for number in 0..100 {
            let (master, mut child) = shell(notice, &format!("echo {number}; exit 4"), SIZE);
            assert_eq!(read_to_end(&master), format!("{number}\r\n"));
            assert_eq!(child.wait().unwrap(), Ended::Exited(4));
        }
    }
}

#[test]
fn a_full_table_is_told_and_leaves_nothing() {
    let _turn = Turn::take();
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit {
        current: Some(64),
        ..before
    };
    for room in 0..2 {
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let mut fill = Vec::new();
        while let Ok(fd) = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3) {
            fill.push(fd);
        }
        fill.truncate(fill.len() - room);
        let outcome = Pty::open();
        rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }
}
