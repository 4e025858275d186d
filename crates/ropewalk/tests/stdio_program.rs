//! A program whose own standard input and output are served, by `stdio`: this test program, run
//! again with one of its ignored tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::os::process::Pty;
use ropewalk::{Disconnect, Error, Reactor, StandardIo, StandardIoProtocol};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

/// What the program writes when it is served. Before it comes what the test harness says.
const READY: &[u8] = b"served\n";

/// Sends back what it hears, up to a line that says "end".
struct Echo {
    raw: bool,
    ended: Rc<Cell<bool>>,
}

impl StandardIoProtocol for Echo {
    fn connection_made(&mut self, stdio: &StandardIo) {
        if self.raw {
            stdio.set_raw_mode(true).unwrap();
        }
        stdio.write(READY);
    }

    fn data_received(&mut self, stdio: &StandardIo, data: &[u8]) {
        if data.ends_with(b"end\n") {
            self.ended.set(true);
        } else {
            stdio.write(data);
        }
    }

    fn connection_lost(&mut self, _: Disconnect) {
        self.ended.set(true);
    }
}

/// The program. `ROPEWALK_TEST_END` says what it does at the end, `ROPEWALK_TEST_RAW` whether its
/// terminal is to be in raw mode.
#[test]
#[ignore = "run in a process of its own by the other tests"]
fn program() {
    let end = std::env::var("ROPEWALK_TEST_END").unwrap();
    let reactor = Reactor::new().unwrap();
    reactor.call_later(Duration::from_secs(60), |_| std::process::abort());
    let ended = Rc::<Cell<bool>>::default();
    let echo = Echo {
        raw: std::env::var_os("ROPEWALK_TEST_RAW").is_some(),
        ended: Rc::clone(&ended),
    };
    let _stdio = reactor.stdio(echo).unwrap();
    if end == "signal" {
        return reactor.run().unwrap();
    }
    while !ended.get() {
        reactor.turn(Duration::from_secs(60)).unwrap();
    }
    match end.as_str() {
        "panic" => panic!("as wanted"),
        "exit" => std::process::exit(0),
        _ => {}
    }
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Return,
    Panic,
    Exit,
    Signal(Signal),
}

const ENDS: [End; 6] = [
    End::Return,
    End::Panic,
    End::Exit,
    End::Signal(Signal::TERM),
    End::Signal(Signal::INT),
    End::Signal(Signal::KILL),
];

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Panic => "panic",
            Self::Exit => "exit",
            Self::Signal(_) => "signal",
        }
    }

    fn check(self, status: ExitStatus) {
        match self {
            Self::Panic => assert_eq!(status.code(), Some(101)),
            Self::Signal(Signal::KILL) => assert_eq!(status.signal(), Some(Signal::KILL.as_raw())),
            _ => assert!(status.success(), "{self:?}: {status}"),
        }
    }
}

fn command(end: End) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", "program"])
        .env("ROPEWALK_TEST_END", end.name())
        .stderr(Stdio::null());
    command
}

fn start(command: &mut Command, input: impl AsFd, output: impl AsFd) -> Child {
    let own = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned().unwrap();
    command.stdin(own(&input)).stdout(own(&output));
    command.spawn().unwrap()
}

/// Reads until `expected` came, and answers all that did.
fn read_until(mut from: impl Read, expected: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(expected) {
        let count = from.read(&mut byte).unwrap();
        assert_ne!(count, 0, "ended: {}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    all
}

/// What the program wrote itself.
fn served(all: &[u8]) -> &[u8] {
    let mut places = all.windows(READY.len());
    let start = places.position(|place| place == READY).expect("it began");
    &all[start + READY.len()..]
}

/// Ends a program that has begun: by `to`, its input, or by a signal.
fn end(end: End, mut child: Child, mut to: impl Write) {
    match end {
        End::Signal(signal) => kill_process(Pid::from_child(&child), signal).unwrap(),
        _ => to.write_all(b"end\n").unwrap(),
    }
    end.check(child.wait().unwrap());
}

fn pipe() -> (File, OwnedFd, OwnedFd, File) {
    let make = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let ((input, to), (from, output)) = (make(), make());
    (to.into(), input, output, from.into())
}

/// A terminal, and a master that blocks.
fn terminal() -> (OwnedFd, File) {
    let Pty { master, slave } = Pty::open().unwrap();
    rustix::io::ioctl_fionbio(&master, false).unwrap();
    (slave, master.into())
}

#[test]
fn pipes_are_served() {
    let (mut to, input, output, mut from) = pipe();
    let child = start(&mut command(End::Return), input, output);
    read_until(&from, READY);
    to.write_all(b"rope\n").unwrap();
    assert_eq!(read_until(&from, b"\n"), b"rope\n");
    end(End::Return, child, &to);
    // The harness has the last word, and nobody else has the pipe.
    from.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn the_end_of_a_pipe_ends_it() {
    let (mut to, input, output, mut from) = pipe();
    let mut child = start(&mut command(End::Return), input, output);
    to.write_all(b"rope\n").unwrap();
    drop(to);
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    assert!(served(&all).starts_with(b"rope\n"));
    End::Return.check(child.wait().unwrap());
}

#[test]
fn a_terminal_is_served() {
    let (slave, master) = terminal();
    let child = start(&mut command(End::Return), &slave, &slave);
    read_until(&master, b"served\r\n");
    (&master).write_all(b"rope\n").unwrap();
    // What the terminal echoes, and what the program does.
    read_until(&master, b"rope\r\nrope\r\n");
    end(End::Return, child, &master);
}

fn scratch() -> File {
    let path = format!("ropewalk-stdio-program-{}", std::process::id());
    let path = std::env::temp_dir().join(path);
    let mut options = File::options();
    let options = options.read(true).write(true).create_new(true);
    let file = options.open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn files_are_served_to_their_end() {
    let (mut input, mut output) = (scratch(), scratch());
    let data = b"strands\n".repeat(50_000);
    input.write_all(&data).unwrap();
    input.rewind().unwrap();
    let mut child = start(&mut command(End::Return), &input, &output);
    End::Return.check(child.wait().unwrap());
    let mut all = Vec::new();
    output.rewind().unwrap();
    output.read_to_end(&mut all).unwrap();
    assert!(served(&all).starts_with(&data));
}

#[test]
fn dev_null_ends_at_once_and_takes_everything() {
    let mut options = File::options();
    let null = options.read(true).write(true).open("/dev/null").unwrap();
    let mut child = start(&mut command(End::Return), &null, &null);
    End::Return.check(child.wait().unwrap());
}

/// Rust's start-up opens `/dev/null` in the place of what is closed.
#[test]
fn closed_input_is_as_dev_null() {
    let plain = command(End::Return);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&-"]);
    shell.arg(plain.get_program()).args(plain.get_args());
    shell.env("ROPEWALK_TEST_END", "return");
    let output = shell.stderr(Stdio::null()).output().unwrap();
    End::Return.check(output.status);
    served(&output.stdout);
}

#[test]
fn what_is_closed_is_refused() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "program_that_closes_its_own"]);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn program_that_closes_its_own() {
    let reactor = Reactor::new().unwrap();
    for number in [0, 1] {
        // SAFETY: the standard library's owners use the number for system calls only.
        let own = unsafe { OwnedFd::from_raw_fd(number) };
        let kept = own.try_clone().unwrap();
        drop(own);
        let before = ropewalk_testkit::DescriptorCount::new();
        let echo = Echo {
            raw: false,
            ended: Rc::default(),
        };
        let refused = reactor.stdio(echo);
        drop(before);
        // SAFETY: nobody else has opened anything meanwhile.
        let mut again = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::dup2(&kept, &mut again).unwrap();
        std::mem::forget(again);
        let Err(Error::Os { source, .. }) = refused else {
            panic!("descriptor {number} is closed, and served");
        };
        assert_eq!(Errno::from_io_error(&source), Some(Errno::BADF));
    }
}

/// While it runs, and after each end.
#[test]
fn the_blocking_flag_stays_as_it_was_found() {
    for how in ENDS {
        for nonblocking in [false, true] {
            let (to, input, output, from) = pipe();
            let (slave, master) = terminal();
            for (input, output, to, from) in [
                (&input, &output, &to, &from),
                (&slave, &slave, &master, &master),
            ] {
                let flag = if nonblocking {
                    OFlags::NONBLOCK
                } else {
                    OFlags::empty()
                };
                let flags = || [input, output].map(|fd| fcntl_getfl(fd).unwrap());
                for (fd, before) in [input, output].into_iter().zip(flags()) {
                    fcntl_setfl(fd, before.difference(OFlags::NONBLOCK) | flag).unwrap();
                }
                let before = flags();
                let child = start(&mut command(how), input, output);
                read_until(from, b"served");
                assert_eq!(flags(), before);
                end(how, child, to);
                assert_eq!(flags(), before, "{how:?}");
                assert_eq!(before[0].contains(OFlags::NONBLOCK), nonblocking);
            }
        }
    }
}

fn is_raw(terminal: impl AsFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

/// Whatever ends the program, but for SIGKILL.
#[test]
fn a_terminal_is_never_left_in_raw_mode() {
    for how in ENDS {
        if how == End::Signal(Signal::KILL) {
            continue;
        }
        let (slave, master) = terminal();
        let mut command = command(how);
        let child = start(command.env("ROPEWALK_TEST_RAW", "1"), &slave, &slave);
        read_until(&master, b"served\n");
        assert!(is_raw(&slave));
        end(how, child, &master);
        assert!(!is_raw(&slave), "{how:?}");
    }
}
