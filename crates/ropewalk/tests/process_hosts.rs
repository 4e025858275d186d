//! Child processes that outlive their reactor, and hosts that make it hard.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use process_support::{Heard, Recorder, alone, finish, shell, spawn, ways};
use ropewalk::process::{Command, Ended, ExitNotice, Process, ProcessProtocol, Step, WindowSize};
use ropewalk::{Error, Reactor, Signal};
use ropewalk_testkit::assert_no_children;
use variant::Variant;

on_every_variant!(crate::with_every_way:
    a_dropped_reactor_waits_for_nobody_and_leaves_no_zombie,
    what_a_protocol_holds_goes_with_the_reactor,
    a_handle_outlives_its_reactor,
);

fn with_every_way(variant: Variant, case: fn(Reactor)) {
    for notice in ways(variant) {
        let builder = variant.builder().signals(false).exit_notice(notice);
        alone(|| case(variant.prepare(builder)));
    }
}

fn a_dropped_reactor_waits_for_nobody_and_leaves_no_zombie(reactor: Reactor) {
    let heard = spawn(
        &reactor,
        &shell("trap '' HUP; read line; sleep 0.05; exit 1"),
    );
    let pid = heard.process().pid().unwrap();
    let before = Instant::now();
    drop(heard);
    drop(reactor);
    assert!(before.elapsed() < Duration::from_secs(5));
    // Its input has ended; when it has done so too, whoever makes the next child waits for it.
    let stat = format!("/proc/{pid}/stat");
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    drop(Variant::ANY.reactor());
    assert!(!fs::exists(&stat).unwrap());
    assert_no_children();
}

/// Holds what it is given, and its own handle.
struct Holding {
    _held: Rc<()>,
    process: Option<Process>,
}

impl ProcessProtocol for Holding {
    fn connection_made(&mut self, process: &Process) {
        self.process = Some(process.clone());
    }

    fn data_received(&mut self, _: &Process, _: i32, _: &[u8]) {}
}

fn what_a_protocol_holds_goes_with_the_reactor(reactor: Reactor) {
    let held = Rc::new(());
    let mut children = Vec::new();
    for command in [
        shell("read line"),
        shell("sleep 0.01")
            .without_fd(0)
            .without_fd(1)
            .without_fd(2),
    ] {
        let protocol = Holding {
            _held: Rc::clone(&held),
            process: None,
        };
        children.push(
            reactor
                .spawn_process(&command, protocol)
                .unwrap()
                .pid()
                .unwrap(),
        );
    }
    drop(reactor);
    assert_eq!(Rc::strong_count(&held), 1);
    wait_for_abandoned(&children);
}

fn a_handle_outlives_its_reactor(reactor: Reactor) {
    let heard = spawn(&reactor, &Command::new("cat"));
    let process = heard.process();
    let pid = process.pid().unwrap();
    drop(reactor);
    process.write(0, b"nobody sends this");
    process.close(0);
    process.lose_connection();
    process.pause_producing();
    process.unregister_producer(0);
    process.signal(Signal::KILL).unwrap();
    assert_eq!(heard.take(), ["made"]);
    drop((heard, process));
    wait_for_abandoned(&[pid]);
}

fn wait_for_abandoned(pids: &[i32]) {
    let deadline = Instant::now() + process_support::LIMIT;
    while pids
        .iter()
        .any(|pid| fs::exists(format!("/proc/{pid}")).unwrap())
    {
        assert!(Instant::now() < deadline, "a zombie is left");
        drop(Variant::ANY.reactor());
    }
}

/// A queue that is too deep inside others: Linux answers `ELOOP`, and the poller hears of it after
/// the child was made.
#[cfg(target_os = "linux")]
#[test]
fn an_end_that_the_poller_refuses_to_watch_is_told() {
    use ropewalk::os::kqueue::InProcessKqueue;
    let hosted = Variant {
        kind: ropewalk::PollerKind::KQueue,
        hosted: true,
    };
    let deep = ExitNotice::KernelQueue(|| Ok(Box::new(InProcessKqueue::new()?)));
    alone(|| {
        let builder = hosted.builder().signals(false).exit_notice(deep);
        let reactor = hosted.prepare(builder);
        let heard = spawn(&reactor, &shell("echo; read line; exit 3"));
        // By then the refusal is over, which comes with the first turn.
        process_support::until(&reactor, "output", || heard.has("data 1"));
        heard.process().close(0);
        assert_eq!(heard.wait(&reactor), Ended::Exited(3));
        reactor.disconnect_all();
    });
}

/// Has `command` run an ignored test of this file, in a process of its own and while no other test
/// counts children.
fn check(command: &mut std::process::Command) {
    alone(|| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{output:?}"
        );
    });
}

fn ignored(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", test]);
    command
}

/// Children under a host that ignores SIGCHLD, which an ignoring parent hands down.
#[test]
fn a_host_may_ignore_sigchld() {
    let plain = ignored("child_of_an_ignoring_host");
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]);
    check(shell.arg(plain.get_program()).args(plain.get_args()));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_of_an_ignoring_host() {
    for notice in ways(Variant::ANY) {
        let builder = Variant::ANY.builder().signals(false).exit_notice(notice);
        let reactor = Variant::ANY.prepare(builder);
        let seen = RefCell::new(Vec::new());
        for code in [0, 3, 200] {
            let heard = finish(&reactor, &shell(&format!("echo rope; exit {code}")));
            assert_eq!(heard.text(1), "rope\n");
            let ended = heard.ended.get().unwrap();
            assert!(matches!(ended, Ended::Unknown) || ended == Ended::Exited(code));
            seen.borrow_mut().push(ended);
        }
        println!("{notice:?}: {:?}", seen.take());
    }
    assert_no_children();
}

/// Where only signals tell of ends, and none comes, the loop looks for itself.
#[cfg(target_os = "linux")]
#[test]
fn a_host_may_block_sigchld() {
    use std::os::unix::process::CommandExt;
    let mut command = ignored("child_of_a_blocking_host");
    // SAFETY: makes a set and blocks it, which the new program inherits in every thread.
    unsafe {
        command.pre_exec(|| {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            Ok(())
        });
    }
    check(&mut command);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run in a process of its own by another test"]
fn child_of_a_blocking_host() {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(status.contains("SigBlk:\t0000000000010000"), "{status}");
    every_end_is_told(|| {}, |code, ended| ended == Ended::Exited(code));
}

/// One that takes the signal without calling whoever had it before.
#[cfg(target_os = "linux")]
#[test]
fn a_host_may_take_sigchld_for_itself() {
    check(&mut ignored("child_of_a_taking_host"));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run in a process of its own by another test"]
fn child_of_a_taking_host() {
    extern "C" fn nothing(_: libc::c_int) {}
    every_end_is_told(
        || take_sigchld(nothing),
        |code, ended| ended == Ended::Exited(code),
    );
}

/// One that waits for whatever child there is, as an init does.
#[cfg(target_os = "linux")]
#[test]
fn a_host_may_wait_for_every_child() {
    check(&mut ignored("child_of_a_waiting_host"));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run in a process of its own by another test"]
fn child_of_a_waiting_host() {
    extern "C" fn wait_for_all(_: libc::c_int) {
        // SAFETY: the call takes numbers and a null pointer, and is async-signal-safe.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    }
    // Unless the loop happens to look first.
    every_end_is_told(
        || take_sigchld(wait_for_all),
        |code, ended| ended == Ended::Unknown || ended == Ended::Exited(code),
    );
}

#[cfg(target_os = "linux")]
fn take_sigchld(handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler is async-signal-safe.
    unsafe { libc::signal(libc::SIGCHLD, handler as libc::sighandler_t) };
}

/// Children with pipes and without, of a reactor that only signals tell of their ends, and a host
/// that does as `take` from when there was one child on.
#[cfg(target_os = "linux")]
fn every_end_is_told(take: impl Fn(), is_expected: impl Fn(i32, Ended) -> bool) {
    let builder = Variant::ANY.builder().signals(false);
    let builder = builder.exit_notice(ExitNotice::ChildSignal);
    let reactor = Variant::ANY.prepare(builder);
    finish(&reactor, &Command::new("true"));
    take();
    for code in 0..4 {
        let heard = finish(&reactor, &shell(&format!("echo rope; exit {code}")));
        assert_eq!(heard.text(1), "rope\n");
        assert!(is_expected(code, heard.ended.get().unwrap()));
        let alone = shell(&format!("sleep 0.05; exit {code}"));
        let alone = alone.without_fd(0).without_fd(1).without_fd(2);
        let heard = finish(&reactor, &alone);
        assert!(is_expected(code, heard.ended.get().unwrap()));
    }
    assert_no_children();
}

#[test]
fn a_full_table_refuses_a_child_and_costs_nothing() {
    check(&mut ignored("child_with_a_full_table"));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_a_full_table() {
    for notice in ways(Variant::ANY) {
        let refusals = with_a_full_table(notice, &Command::new("cat"), |cat| cat.close(0));
        assert!(refusals >= 6, "{refusals}: pipes have two ends");
        let shell = shell("read line").terminal(WindowSize::default());
        let refusals = with_a_full_table(notice, &shell, |shell| shell.write(0, b"\n"));
        assert!(refusals >= 2, "{refusals}: and so have terminals");
    }
    assert_no_children();
}

/// Runs one child before the table is full, and one with just room enough; answers how many were
/// refused before that. If a refusal left something open, there would never be enough.
fn with_a_full_table(notice: ExitNotice, command: &Command<'_>, end: fn(&Process)) -> u32 {
    let builder = Variant::ANY.builder().signals(false).exit_notice(notice);
    let reactor = Variant::ANY.prepare(builder);
    let living = spawn(&reactor, command);
    let mut refusals = 0;
    let mut hoard = fill();
    // Each time with room for one descriptor more, until there is enough.
    let heard = loop {
        let heard = Rc::<Heard>::default();
        match reactor.spawn_process(command, Recorder(Rc::clone(&heard))) {
            Ok(_) => break heard,
            Err(Error::Spawn { step, source, .. }) => {
                let steps = [Step::Pipe, Step::Watch, Step::Fork, Step::Terminal];
                assert!(steps.contains(&step), "{step}");
                let full = rustix::io::Errno::MFILE.raw_os_error();
                assert_eq!(source.raw_os_error(), Some(full));
                assert_eq!(Rc::strong_count(&heard), 1);
                assert_no_zombie();
            }
            Err(other) => panic!("{other}"),
        }
        refusals += 1;
        hoard.pop().expect("room for a child");
    };
    // Those that run end while the table is full.
    while let Ok(one) = fs::File::open("/dev/null") {
        hoard.push(one);
    }
    end(&living.process());
    end(&heard.process());
    assert!(living.wait(&reactor).is_success() && heard.wait(&reactor).is_success());
    refusals
}

/// Of a birth that failed nothing is left to wait for. There is a child that runs.
fn assert_no_zombie() {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = waitid(WaitId::All, options).unwrap();
    assert!(ended.is_none(), "{ended:?}");
}

/// Lowers the limit of open descriptors, and uses up what is left.
fn fill() -> Vec<fs::File> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit {
        current: Some(128),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect()
}
