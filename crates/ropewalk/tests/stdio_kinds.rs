//! Standard input and output of every kind, over every poller.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use process_support::{finish, over_every_poller, until};
use ropewalk::os::process::Pty;
use ropewalk::process::{Command, Ended, WindowSize};
use ropewalk::{Disconnect, Reactor, StandardIo, StandardIoProtocol};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::termios::{LocalModes, tcgetattr};

over_every_poller!(
    pipes_echo_and_end,
    a_socket_is_both,
    files_are_copied,
    nothing_comes_from_dev_null,
    a_terminal_echoes_lines,
    flags_are_left_as_they_were_found,
    an_output_that_nobody_reads_ends_though_idle,
    an_output_that_is_full_keeps_nobody_waiting,
    a_half_closed_output_leaves_the_input,
    a_paused_input_waits,
    the_reactors_end_is_the_end,
    a_panic_is_the_end,
    raw_mode_ends_with_the_transport,
    raw_mode_ends_when_a_signal_ends_the_process,
);

#[derive(Default)]
struct Heard {
    data: RefCell<Vec<u8>>,
    events: RefCell<Vec<String>>,
}

impl Heard {
    fn add(&self, event: impl Into<String>) {
        self.events.borrow_mut().push(event.into());
    }

    fn has(&self, event: &str) -> bool {
        self.events.borrow().iter().any(|other| other == event)
    }
}

/// Sends back what it hears, if it is to, and panics at "panic".
struct Echo {
    heard: Rc<Heard>,
    half_close: bool,
}

impl StandardIoProtocol for Echo {
    fn connection_made(&mut self, _: &StandardIo) {
        self.heard.add("made");
    }

    fn data_received(&mut self, stdio: &StandardIo, data: &[u8]) {
        assert!(!data.starts_with(b"panic"), "as wanted");
        self.heard.data.borrow_mut().extend_from_slice(data);
        stdio.write(data);
    }

    fn read_closed(&mut self, stdio: &StandardIo) {
        self.heard.add("read closed");
        if !self.half_close {
            stdio.lose_connection();
        }
    }

    fn write_closed(&mut self, stdio: &StandardIo) {
        self.heard.add("write closed");
        if !self.half_close {
            stdio.lose_connection();
        }
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        self.heard.add(format!("lost: {reason}"));
    }
}

fn echo(reactor: &Reactor, input: impl AsFd, output: impl AsFd) -> (StandardIo, Rc<Heard>) {
    let heard = Rc::<Heard>::default();
    let echo = Echo {
        heard: Rc::clone(&heard),
        half_close: false,
    };
    let stdio = reactor.stdio_with(input.as_fd(), output.as_fd(), echo);
    (stdio.unwrap(), heard)
}

fn wait_for_the_end(reactor: &Reactor, stdio: &StandardIo, heard: &Heard) {
    until(reactor, "the end", || !stdio.is_connected());
    let events = heard.events.borrow();
    assert_eq!(events.last().unwrap(), "lost: closed cleanly");
}

/// Two pipes, each by its read end and its write end.
fn pipes() -> ((File, File), (File, File)) {
    let pipe = || {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (File::from(read), File::from(write))
    };
    (pipe(), pipe())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn pipes_echo_and_end(reactor: &Reactor) {
    let ((input, mut to), (mut from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    let data = pattern(500_000);
    let sent = data.clone();
    let writer = thread::spawn(move || to.write_all(&sent).unwrap());
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        from.read_to_end(&mut received).unwrap();
        received
    });
    wait_for_the_end(reactor, &stdio, &heard);
    assert_eq!(
        *heard.events.borrow(),
        ["made", "read closed", "lost: closed cleanly"]
    );
    writer.join().unwrap();
    // This side's own is open still.
    drop(output);
    assert!(reader.join().unwrap() == data);
}

fn a_socket_is_both(reactor: &Reactor) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (stdio, heard) = echo(reactor, &ours, &ours);
    theirs.write_all(b"rope").unwrap();
    until(reactor, "the data", || heard.data.borrow().len() == 4);
    reactor.turn(Duration::ZERO).unwrap();
    let mut answer = [0; 4];
    theirs.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"rope");
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    wait_for_the_end(reactor, &stdio, &heard);
}

fn scratch() -> File {
    let path = std::env::temp_dir().join(format!("ropewalk-stdio-{}", std::process::id()));
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn files_are_copied(reactor: &Reactor) {
    let (mut input, mut output) = (scratch(), scratch());
    let data = pattern(300_000);
    input.write_all(&data).unwrap();
    input.seek(std::io::SeekFrom::Start(100)).unwrap();
    let (stdio, heard) = echo(reactor, &input, &output);
    wait_for_the_end(reactor, &stdio, &heard);
    let mut copy = Vec::new();
    output.rewind().unwrap();
    output.read_to_end(&mut copy).unwrap();
    assert!(copy == data[100..], "from where the file was");
}

fn nothing_comes_from_dev_null(reactor: &Reactor) {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let (stdio, heard) = echo(reactor, &null, &null);
    stdio.write(b"into nothing");
    wait_for_the_end(reactor, &stdio, &heard);
    assert_eq!((stdio.buffered_len(), heard.data.borrow().len()), (0, 0));
}

fn a_terminal_echoes_lines(reactor: &Reactor) {
    let pty = Pty::open().unwrap();
    let (stdio, heard) = echo(reactor, &pty.slave, &pty.slave);
    let mut master = File::from(pty.master.try_clone().unwrap());
    master.write_all(b"rope\n").unwrap();
    until(reactor, "the line", || *heard.data.borrow() == b"rope\n");
    let received = RefCell::new(Vec::new());
    until(reactor, "the echoes", || {
        let mut buffer = [0; 100];
        if let Ok(count) = (&master).read(&mut buffer) {
            received.borrow_mut().extend_from_slice(&buffer[..count]);
        }
        *received.borrow() == b"rope\r\nrope\r\n"
    });
    master.write_all(b"\x04").unwrap();
    wait_for_the_end(reactor, &stdio, &heard);
}

fn flags_are_left_as_they_were_found(reactor: &Reactor) {
    let flags = |fd: BorrowedFd<'_>| fcntl_getfl(fd).unwrap();
    let ((input, mut to), (_from, output)) = pipes();
    let pty = Pty::open().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (quick, _other) = UnixStream::pair().unwrap();
    quick.set_nonblocking(true).unwrap();
    let all = [
        input.as_fd(),
        output.as_fd(),
        pty.slave.as_fd(),
        socket.as_fd(),
        quick.as_fd(),
    ];
    let before = all.map(flags);
    let pairs = [(0, 1), (2, 2), (3, 3), (4, 4)];
    let running = pairs.map(|(input, output)| echo(reactor, all[input], all[output]));
    to.write_all(b"rope").unwrap();
    until(reactor, "the data", || {
        running[0].1.data.borrow().len() == 4
    });
    assert_eq!(all.map(flags), before);
    assert_eq!(
        before.map(|flags| flags.contains(OFlags::NONBLOCK)),
        [false, false, false, false, true]
    );
    for (stdio, _) in &running {
        stdio.lose_connection();
    }
    until(reactor, "the ends", || {
        running.iter().all(|(stdio, _)| !stdio.is_connected())
    });
    assert_eq!(all.map(flags), before);
}

fn an_output_that_nobody_reads_ends_though_idle(reactor: &Reactor) {
    let ((input, _to), (from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    drop(from);
    until(reactor, "the end of output", || heard.has("write closed"));
    wait_for_the_end(reactor, &stdio, &heard);
}

fn an_output_that_is_full_keeps_nobody_waiting(reactor: &Reactor) {
    let ((input, _to), (mut from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    let data = pattern(1_000_000);
    stdio.write_bytes(data.clone());
    stdio.lose_connection();
    // Would hang if a write waited for the reader, who is this thread.
    for _ in 0..20 {
        reactor.turn(Duration::ZERO).unwrap();
    }
    assert!(stdio.buffered_len() > 0);
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        from.read_to_end(&mut received).unwrap();
        received
    });
    wait_for_the_end(reactor, &stdio, &heard);
    drop(output);
    assert!(reader.join().unwrap() == data);
}

fn a_half_closed_output_leaves_the_input(reactor: &Reactor) {
    let ((input, mut to), (_from, output)) = pipes();
    let heard = Rc::<Heard>::default();
    let echo = Echo {
        heard: Rc::clone(&heard),
        half_close: true,
    };
    let stdio = reactor
        .stdio_with(input.as_fd(), output.as_fd(), echo)
        .unwrap();
    stdio.lose_write_connection();
    until(reactor, "the half", || heard.has("write closed"));
    to.write_all(b"rope").unwrap();
    until(reactor, "the data", || *heard.data.borrow() == b"rope");
    drop(to);
    wait_for_the_end(reactor, &stdio, &heard);
    assert!(heard.has("read closed"));
}

fn a_paused_input_waits(reactor: &Reactor) {
    let ((input, mut to), (_from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    stdio.pause_producing();
    to.write_all(b"rope").unwrap();
    drop(to);
    for _ in 0..5 {
        reactor.turn(Duration::ZERO).unwrap();
    }
    assert!(heard.data.borrow().is_empty() && stdio.is_connected());
    stdio.resume_producing();
    wait_for_the_end(reactor, &stdio, &heard);
    assert_eq!(*heard.data.borrow(), b"rope");
}

fn the_reactors_end_is_the_end(reactor: &Reactor) {
    let ((input, _to), (_from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    reactor.disconnect_all();
    assert!(!stdio.is_connected());
    let shutdown = format!("lost: {}", Disconnect::Shutdown);
    assert_eq!(*heard.events.borrow(), ["made".to_owned(), shutdown]);
}

fn a_panic_is_the_end(reactor: &Reactor) {
    reactor.on_failure(|_| {});
    let ((input, mut to), (_from, output)) = pipes();
    let (stdio, heard) = echo(reactor, &input, &output);
    to.write_all(b"panic").unwrap();
    until(reactor, "the end", || !stdio.is_connected());
    assert!(heard.has(&format!("lost: {}", Disconnect::Panicked)));
}

fn is_raw(terminal: impl AsFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

fn raw_mode_ends_with_the_transport(reactor: &Reactor) {
    let pty = Pty::open().unwrap();
    let mut master = File::from(pty.master.try_clone().unwrap());
    let (stdio, heard) = echo(reactor, &pty.slave, &pty.slave);
    stdio.set_raw_mode(true).unwrap();
    stdio.set_raw_mode(true).unwrap();
    assert!(is_raw(&pty.slave));
    master.write_all(b"k").unwrap();
    until(reactor, "the key", || *heard.data.borrow() == b"k");
    stdio.set_raw_mode(false).unwrap();
    assert!(!is_raw(&pty.slave));
    stdio.set_raw_mode(true).unwrap();
    stdio.lose_connection();
    wait_for_the_end(reactor, &stdio, &heard);
    assert!(!is_raw(&pty.slave));
    assert!(stdio.set_raw_mode(true).is_err());
    // A panic that unwinds drops the reactor.
    let other = Reactor::builder().signals(false).build().unwrap();
    let (stdio, _heard) = echo(&other, &pty.slave, &pty.slave);
    stdio.set_raw_mode(true).unwrap();
    drop(other);
    assert!(!is_raw(&pty.slave));
    let ((input, _to), (_from, output)) = pipes();
    let (stdio, _heard) = echo(reactor, &input, &output);
    let error = stdio.set_raw_mode(true).unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::NOTTY.raw_os_error())
    );
}

fn raw_mode_ends_when_a_signal_ends_the_process(reactor: &Reactor) {
    for signal in ["TERM", "INT", "HUP", "ABRT"] {
        let program = std::env::current_exe().unwrap();
        let script = format!(
            "SIGNAL={signal} {} --exact --ignored --nocapture --test-threads=1 child_in_raw_mode; \
             echo ended by $?; stty -a",
            program.display()
        );
        let size = WindowSize {
            rows: 24,
            columns: 200,
            ..WindowSize::default()
        };
        let command = Command::new("/bin/bash")
            .args(["-c", &script])
            .terminal(size);
        let heard = finish(reactor, &command);
        let said = heard.text(1);
        assert_eq!(heard.ended.get(), Some(Ended::Exited(0)), "{said}");
        assert!(said.contains("raw: true"), "{said}");
        let status = said.split("ended by ").nth(1).expect(&said);
        assert!(
            status.starts_with("1") && !status.starts_with("101"),
            "{said}"
        );
        assert!(
            said.contains(" icanon") && said.contains(" echo "),
            "{signal}: {said}"
        );
    }
}

#[test]
#[ignore = "run in a terminal by another test"]
fn child_in_raw_mode() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    let (stdio, _heard) = echo(&reactor, std::io::stdin(), std::io::stdout());
    stdio.set_raw_mode(true).unwrap();
    println!("raw: {}", is_raw(std::io::stdin()));
    let signal = match std::env::var("SIGNAL").unwrap().as_str() {
        "TERM" => rustix::process::Signal::TERM,
        "INT" => rustix::process::Signal::INT,
        "HUP" => rustix::process::Signal::HUP,
        _ => std::process::abort(),
    };
    rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
    reactor.turn(Duration::from_secs(60)).unwrap();
}
