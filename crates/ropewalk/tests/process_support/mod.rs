//! What the tests of child processes share: every case runs over every poller and every way of
//! noticing the end of a child, with a time limit, and fails when it leaves a descriptor or a child.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test file uses its part"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use ropewalk::os::kqueue::InProcessKqueue;
use ropewalk::process::{Command, Ended, ExitNotice, Process, ProcessProtocol};
use ropewalk::{PollerKind, Reactor};
use ropewalk_testkit::{DescriptorCount, assert_no_children};

use crate::variant::{self, Variant};

/// Makes a test of each case for each variant.
macro_rules! over_every_poller {
    ($($case:ident),+ $(,)?) => {
        on_every_variant!(crate::process_support::run: $($case),+);
    };
}
pub(crate) use over_every_poller;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Cases of one process run one by one, so that descriptors and children can be counted.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

pub(crate) fn run(variant: Variant, case: fn(&Reactor)) {
    for notice in ways(variant) {
        println!("with {notice:?}");
        alone(|| {
            let builder = variant.builder().signals(false).exit_notice(notice);
            let reactor = variant.prepare(builder);
            case(&reactor);
            reactor.disconnect_all();
            reactor.turn(Duration::ZERO).unwrap();
        });
    }
}

/// Runs `case`, and no other beside it.
pub(crate) fn alone(case: impl FnOnce()) {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = DescriptorCount::new();
    case();
    drop(count);
    assert_no_children();
}

/// The ways of noticing an end that can be tried with this variant.
pub(crate) fn ways(variant: Variant) -> Vec<ExitNotice> {
    let mut ways = vec![ExitNotice::ChildSignal];
    #[cfg(target_os = "linux")]
    ways.push(ExitNotice::Pidfd);
    #[cfg(target_os = "linux")]
    if variant.kind == PollerKind::KQueue {
        ways.push(ExitNotice::KernelQueue(|| {
            Ok(Box::new(InProcessKqueue::for_processes()?))
        }));
    }
    ways
}

/// Turns the reactor until `done`, or fails.
pub(crate) fn until(reactor: &Reactor, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        variant::turn(reactor, Duration::from_millis(100));
    }
}

/// What a [`Recorder`] heard.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: RefCell<Vec<String>>,
    pub(crate) data: RefCell<BTreeMap<i32, Vec<u8>>>,
    process: RefCell<Option<Process>>,
    pub(crate) exit: Cell<Option<Ended>>,
    pub(crate) ended: Cell<Option<Ended>>,
    pub(crate) busy: Cell<bool>,
}

impl Heard {
    fn add(&self, event: impl Into<String>) {
        let mut events = self.events.borrow_mut();
        let event = event.into();
        // How a pipe cuts the data is nobody's promise.
        if events.last() != Some(&event) || !event.starts_with("data") {
            events.push(event);
        }
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.borrow().iter().any(|other| other == event)
    }

    /// The events so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        self.events.take()
    }

    pub(crate) fn data(&self, fd: i32) -> Vec<u8> {
        self.data.borrow().get(&fd).cloned().unwrap_or_default()
    }

    pub(crate) fn text(&self, fd: i32) -> String {
        String::from_utf8(self.data(fd)).unwrap()
    }

    pub(crate) fn process(&self) -> Process {
        self.process.borrow().clone().expect("a child")
    }

    /// Turns until the end; answers how it was.
    pub(crate) fn wait(&self, reactor: &Reactor) -> Ended {
        until(reactor, "the end of a child", || self.ended.get().is_some());
        self.ended.get().unwrap()
    }

    fn call(&self, event: String) {
        assert!(!self.busy.replace(true), "callbacks overlap");
        self.add(event);
        self.busy.set(false);
    }
}

/// Records what happens to a child.
pub(crate) struct Recorder(pub(crate) Rc<Heard>);

impl ProcessProtocol for Recorder {
    fn connection_made(&mut self, process: &Process) {
        *self.0.process.borrow_mut() = Some(process.clone());
        self.0.call("made".to_owned());
    }

    fn data_received(&mut self, _: &Process, fd: i32, data: &[u8]) {
        assert!(!data.is_empty() && data.len() <= 65_536);
        let mut all = self.0.data.borrow_mut();
        all.entry(fd).or_default().extend_from_slice(data);
        self.0.call(format!("data {fd}"));
    }

    fn descriptor_closed(&mut self, _: &Process, fd: i32) {
        self.0.call(format!("closed {fd}"));
    }

    fn exited(&mut self, process: &Process, ended: Ended) {
        assert_eq!((process.pid(), process.exit()), (None, Some(ended)));
        self.0.exit.set(Some(ended));
        self.0.call("exited".to_owned());
    }

    fn ended(&mut self, ended: Ended) {
        assert_eq!(self.0.exit.get(), Some(ended));
        assert!(self.0.ended.replace(Some(ended)).is_none(), "ended twice");
        self.0.call("ended".to_owned());
    }
}

/// A command of the shell.
pub(crate) fn shell(script: &str) -> Command<'static> {
    Command::new("/bin/sh").args(["-c", script])
}

/// Starts `command` under a recorder.
pub(crate) fn spawn(reactor: &Reactor, command: &Command<'_>) -> Rc<Heard> {
    let heard = Rc::<Heard>::default();
    let process = reactor.spawn_process(command, Recorder(Rc::clone(&heard)));
    assert!(process.unwrap().same_process(&heard.process()));
    heard
}

/// Takes what this side holds of a child that ended: the recorder's handle keeps its state.
pub(crate) fn finish(reactor: &Reactor, command: &Command<'_>) -> Rc<Heard> {
    let heard = spawn(reactor, command);
    heard.wait(reactor);
    heard
}
