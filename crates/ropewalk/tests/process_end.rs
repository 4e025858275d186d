//! How child processes end, and how they fail to begin.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use process_support::{Heard, Recorder, finish, over_every_poller, shell, spawn, until};
use ropewalk::process::{ChildFd, Command, Ended, Group, Process, ProcessProtocol, Step};
use ropewalk::{Error, Reactor, Signal};

over_every_poller!(
    a_signal_ends_a_child,
    a_child_that_ignores_sigterm_is_killed,
    a_group_is_signalled,
    a_stopped_child_has_not_ended,
    a_child_that_is_gone_gets_no_signal,
    arguments_and_environment_are_bytes,
    an_environment_may_be_empty_or_changed,
    the_directory_and_the_mask_are_the_childs,
    a_program_is_looked_for_along_the_path,
    a_failure_tells_program_step_and_cause,
    a_child_that_is_waited_for_elsewhere_ends,
    other_children_of_the_process_are_left_alone,
    shutdown_closes_pipes_and_lets_the_child_live,
    an_end_is_told_after_disconnect_all,
    spawned_from_a_callback_of_another,
    a_process_feeds_another,
);

fn killed_by(signal: Signal) -> impl Fn(Ended) -> bool {
    move |ended| matches!(ended, Ended::Killed { signal: by, .. } if by == signal.number())
}

fn a_signal_ends_a_child(reactor: &Reactor) {
    for signal in [Signal::TERM, Signal::KILL, Signal::USR1] {
        let heard = spawn(reactor, &Command::new("cat"));
        assert!(heard.process().signal(signal).unwrap());
        assert!(killed_by(signal)(heard.wait(reactor)));
    }
}

fn a_child_that_ignores_sigterm_is_killed(reactor: &Reactor) {
    let heard = spawn(
        reactor,
        &shell("trap '' TERM; echo ready; while :; do read line; done"),
    );
    until(reactor, "the trap", || heard.has("data 1"));
    assert!(heard.process().signal(Signal::TERM).unwrap());
    // It goes on to answer: so the signal did nothing.
    reactor.turn(Duration::ZERO).unwrap();
    assert!(heard.process().is_running());
    assert!(heard.process().signal(Signal::KILL).unwrap());
    assert!(killed_by(Signal::KILL)(heard.wait(reactor)));
}

fn a_group_is_signalled(reactor: &Reactor) {
    let script = "cat <&3 & echo ready; wait";
    let leader = shell(script).process_group(Group::Process(0));
    let leader = leader.fd(3, ChildFd::Reads);
    let heard = spawn(reactor, &leader);
    until(reactor, "both", || heard.has("data 1"));
    assert!(heard.process().signal_group(Signal::KILL).unwrap());
    // The grandchild had 1 as well.
    assert!(killed_by(Signal::KILL)(heard.wait(reactor)));
    let alone = spawn(reactor, &Command::new("cat"));
    assert!(
        !alone.process().signal_group(Signal::KILL).unwrap(),
        "it leads none"
    );
    alone.process().close(0);
    assert!(alone.wait(reactor).is_success());
}

fn a_stopped_child_has_not_ended(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    let process = heard.process();
    assert!(process.signal(Signal::STOP).unwrap());
    let stat = format!("/proc/{}/stat", process.pid().unwrap());
    until(reactor, "the stop", || {
        fs::read_to_string(&stat).unwrap().contains(") T ")
    });
    process.close(0);
    assert!(process.is_running());
    assert!(process.signal(Signal::CONT).unwrap());
    assert!(heard.wait(reactor).is_success());
}

fn a_child_that_is_gone_gets_no_signal(reactor: &Reactor) {
    let heard = finish(reactor, &Command::new("true"));
    assert!(!heard.process().signal(Signal::KILL).unwrap());
    assert!(!heard.process().signal_group(Signal::KILL).unwrap());
    assert_eq!(
        (heard.process().pid(), heard.process().is_running()),
        (None, false)
    );
    let running = spawn(reactor, &Command::new("cat"));
    let error = running
        .process()
        .signal(Signal::from_number(1000))
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    running.process().close(0);
    running.wait(reactor);
}

fn arguments_and_environment_are_bytes(reactor: &Reactor) {
    let odd = OsStr::from_bytes(b"r\xfcpe \xff\n'\"$");
    let command = shell("printf %s \"$0|$1|$ODD\"")
        .arg("called")
        .arg(odd)
        .env("ODD", odd);
    let heard = finish(reactor, &command);
    let odd = odd.as_bytes();
    assert_eq!(heard.data(1), [b"called|", odd, b"|", odd].concat());
}

fn an_environment_may_be_empty_or_changed(reactor: &Reactor) {
    let heard = finish(reactor, &Command::new("/usr/bin/env").env_clear());
    assert_eq!(heard.text(1), "");
    let heard = finish(
        reactor,
        &Command::new("/usr/bin/env").env_clear().env("A", "1"),
    );
    assert_eq!(heard.text(1), "A=1\n");
    let heard = finish(
        reactor,
        &Command::new("/usr/bin/env")
            .env("A", "1")
            .env_remove("PATH"),
    );
    let lines = heard.text(1);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines.contains(&"A=1") && !lines.iter().any(|line| line.starts_with("PATH=")));
    let ours = std::env::vars_os().count();
    assert_eq!(lines.len(), ours, "{lines:?}");
}

fn the_directory_and_the_mask_are_the_childs(reactor: &Reactor) {
    let command = shell("pwd; umask").current_dir("/usr").umask(0o027);
    let heard = finish(reactor, &command);
    assert_eq!(heard.text(1), "/usr\n0027\n");
}

fn a_program_is_looked_for_along_the_path(reactor: &Reactor) {
    assert_eq!(
        finish(reactor, &Command::new("true")).ended.get(),
        Some(Ended::Exited(0))
    );
    let nowhere = Command::new("true").env("PATH", "/nowhere");
    let refused = reactor.spawn_process(&nowhere, Recorder(Rc::default()));
    assert!(matches!(
        refused,
        Err(Error::Spawn {
            step: Step::Exec,
            ..
        })
    ));
    let found = nowhere.search_path("/nowhere:/bin:/usr/bin");
    assert!(finish(reactor, &found).ended.get().unwrap().is_success());
}

fn a_failure_tells_program_step_and_cause(reactor: &Reactor) {
    let refused = |command: &Command<'_>| {
        let heard = Rc::<Heard>::default();
        let result = reactor.spawn_process(command, Recorder(Rc::clone(&heard)));
        assert_eq!(Rc::strong_count(&heard), 1, "the protocol is dropped");
        assert!(heard.take().is_empty(), "and heard of nothing");
        match result.unwrap_err() {
            Error::Spawn {
                program,
                step,
                source,
            } => (program, step, source.raw_os_error()),
            other => panic!("{other}"),
        }
    };
    let errno = |error: rustix::io::Errno| Some(error.raw_os_error());
    use rustix::io::Errno;
    assert_eq!(
        refused(&Command::new("/no/such/program")),
        (
            "/no/such/program".to_owned(),
            Step::Exec,
            errno(Errno::NOENT)
        )
    );
    assert_eq!(
        refused(&Command::new("/etc/passwd")).2,
        errno(Errno::ACCESS)
    );
    let nowhere = Command::new("true").current_dir("/nowhere");
    let (_, step, cause) = refused(&nowhere);
    assert_eq!((step, cause), (Step::Directory, errno(Errno::NOENT)));
    assert_eq!(refused(&Command::new("a\0b")).1, Step::Describe);
    let shown = reactor
        .spawn_process(&nowhere, Recorder(Rc::default()))
        .unwrap_err();
    let shown = shown.to_string();
    assert!(
        shown.starts_with("cannot run \"true\": changing the directory failed: No such"),
        "{shown}"
    );
}

fn a_child_that_is_waited_for_elsewhere_ends(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    let pid = rustix::process::Pid::from_raw(heard.process().pid().unwrap()).unwrap();
    heard.process().close(0);
    let options = rustix::process::WaitOptions::empty();
    // Nothing turns before `cat` sees its end of input.
    until(reactor, "the end of the input", || heard.has("closed 0"));
    if !heard.process().is_running() {
        // The reactor was quicker.
        assert!(heard.wait(reactor).is_success());
        return;
    }
    let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options));
    assert!(waited.is_ok());
    // How, the system may not tell any more.
    assert!(matches!(
        heard.wait(reactor),
        Ended::Unknown | Ended::Exited(0)
    ));
}

fn other_children_of_the_process_are_left_alone(reactor: &Reactor) {
    let library = std::thread::spawn(|| {
        for code in 0..50 {
            let mut command = std::process::Command::new("/bin/sh");
            let output = command
                .args(["-c", &format!("echo {code}; exit {code}")])
                .output();
            let output = output.unwrap();
            assert_eq!(output.status.code(), Some(code));
            assert_eq!(output.stdout, format!("{code}\n").into_bytes());
        }
    });
    for code in 0..50 {
        let heard = finish(reactor, &shell(&format!("exit {code}")));
        assert_eq!(heard.ended.get(), Some(Ended::Exited(code)));
    }
    library.join().unwrap();
}

fn shutdown_closes_pipes_and_lets_the_child_live(reactor: &Reactor) {
    let heard = spawn(
        reactor,
        &shell("read line; exec 1>&- 2>&-; read line </dev/null; exit 5"),
    );
    reactor.call_when_running(|reactor| reactor.stop().unwrap());
    variant::run(reactor).unwrap();
    let mut events = heard.take();
    events.retain(|event| event.starts_with("closed"));
    events.sort();
    assert_eq!(events, ["closed 0", "closed 1", "closed 2"]);
    // Who goes on turning the reactor hears of the rest.
    assert_eq!(heard.wait(reactor), Ended::Exited(5));
}

fn an_end_is_told_after_disconnect_all(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    reactor.disconnect_all();
    assert!(heard.ended.get().is_none());
    assert!(heard.wait(reactor).is_success());
}

/// Runs one more child for each that ends.
struct Chain {
    reactor: Reactor,
    left: usize,
    done: Rc<Cell<usize>>,
}

impl ProcessProtocol for Chain {
    fn data_received(&mut self, _: &Process, _: i32, _: &[u8]) {}

    fn ended(&mut self, ended: Ended) {
        assert!(ended.is_success());
        self.done.set(self.done.get() + 1);
        if self.left > 0 {
            let next = Self {
                reactor: self.reactor.clone(),
                left: self.left - 1,
                done: Rc::clone(&self.done),
            };
            self.reactor
                .spawn_process(&Command::new("true"), next)
                .unwrap();
        }
    }
}

fn spawned_from_a_callback_of_another(reactor: &Reactor) {
    let done = Rc::<Cell<usize>>::default();
    let first = Chain {
        reactor: reactor.clone(),
        left: 20,
        done: Rc::clone(&done),
    };
    reactor.spawn_process(&Command::new("true"), first).unwrap();
    until(reactor, "all", || done.get() == 21);
}

/// Gives what one child says to another.
struct Forward(Process);

impl ProcessProtocol for Forward {
    fn connection_made(&mut self, process: &Process) {
        let kind = ropewalk::ProducerKind::Push;
        self.0.register_producer(0, process.clone(), kind).unwrap();
    }

    fn data_received(&mut self, _: &Process, _: i32, data: &[u8]) {
        self.0.write(0, data);
        assert!(
            self.0.buffered_len(0) <= Process::HIGH_WATER + 65_536,
            "paused in time"
        );
    }

    fn ended(&mut self, _: Ended) {
        self.0.unregister_producer(0);
        self.0.close(0);
    }
}

fn a_process_feeds_another(reactor: &Reactor) {
    let counts = spawn(reactor, &shell("sleep 0.1; wc -c"));
    let zeros = Command::new("head")
        .args(["-c", "3000000", "/dev/zero"])
        .without_fd(2);
    reactor
        .spawn_process(&zeros, Forward(counts.process()))
        .unwrap();
    assert!(counts.wait(reactor).is_success());
    assert_eq!(counts.text(1).trim(), "3000000");
}
