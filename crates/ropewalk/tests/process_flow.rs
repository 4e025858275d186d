//! Flow control of child processes' pipes, both ways.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use process_support::{Heard, over_every_poller, shell, spawn, until};
use ropewalk::process::{ChildFd, Command, Process};
use ropewalk::{Misuse, Producer, ProducerKind, Reactor, Signal};

over_every_poller!(
    a_paused_output_waits,
    a_push_producer_is_paused_and_resumed,
    a_pull_producer_is_asked_until_it_is_done,
    a_producer_is_stopped_when_the_child_closes_its_end,
    a_second_producer_is_refused,
);

fn a_paused_output_waits(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("echo rope; echo ready >&2"));
    heard.process().pause(1);
    until(reactor, "the exit", || {
        heard.exit.get().is_some() && heard.has("closed 2")
    });
    assert!(!heard.has("data 1") && !heard.has("closed 1"));
    assert_eq!(heard.text(2), "ready\n");
    heard.process().resume(1);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "rope\n");
}

/// Writes `left` chunks of 16 KiB while it may.
struct Chunks {
    left: Cell<usize>,
    paused: Cell<usize>,
    stopped: Cell<bool>,
    running: Cell<bool>,
}

impl Chunks {
    fn new(left: usize) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(left),
            paused: Cell::new(0),
            stopped: Cell::new(false),
            running: Cell::new(false),
        })
    }
}

/// The same, as it is registered.
struct Supply(Rc<Chunks>, ProducerKind);

impl Producer<Process> for Supply {
    fn resume_producing(&self, process: &Process) {
        let chunks = &self.0;
        chunks.running.set(true);
        while chunks.running.get() && chunks.left.get() > 0 {
            chunks.left.set(chunks.left.get() - 1);
            process.write_bytes(0, vec![7; 16_384]);
            if self.1 == ProducerKind::Pull {
                break;
            }
        }
        if chunks.left.get() == 0 {
            process.unregister_producer(0);
            process.close(0);
        }
    }

    fn pause_producing(&self, _: &Process) {
        self.0.paused.set(self.0.paused.get() + 1);
        self.0.running.set(false);
    }

    fn stop_producing(&self) {
        self.0.stopped.set(true);
    }
}

fn a_push_producer_is_paused_and_resumed(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("wc -c"));
    let chunks = Chunks::new(100);
    let (process, kind) = (heard.process(), ProducerKind::Push);
    let supply = Supply(Rc::clone(&chunks), kind);
    process
        .register_producer(0, Supply(Rc::clone(&chunks), kind), kind)
        .unwrap();
    supply.resume_producing(&process);
    assert!(chunks.paused.get() == 1 && chunks.left.get() > 0);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1).trim(), "1638400");
    assert!(chunks.paused.get() > 1 && !chunks.stopped.get());
}

fn a_pull_producer_is_asked_until_it_is_done(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("wc -c"));
    let (chunks, kind) = (Chunks::new(20), ProducerKind::Pull);
    let supply = Supply(Rc::clone(&chunks), kind);
    heard.process().register_producer(0, supply, kind).unwrap();
    assert_eq!(chunks.left.get(), 19);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1).trim(), "327680");
    assert_eq!(chunks.paused.get(), 0);
}

fn a_producer_is_stopped_when_the_child_closes_its_end(reactor: &Reactor) {
    let script = "head -c 200000 >/dev/null; exec 0<&-; read line <&3";
    let heard = spawn(reactor, &shell(script).fd(3, ChildFd::Reads));
    let (chunks, kind) = (Chunks::new(usize::MAX), ProducerKind::Push);
    let supply = Supply(Rc::clone(&chunks), kind);
    supply.resume_producing_later(reactor, &heard);
    heard.process().register_producer(0, supply, kind).unwrap();
    until(reactor, "the end of 0", || heard.has("closed 0"));
    assert!(chunks.stopped.get());
    heard.process().signal(Signal::KILL).unwrap();
    heard.wait(reactor);
    // On a pipe that is closed, any producer is stopped.
    let late = Chunks::new(1);
    let process = heard.process();
    process
        .register_producer(0, Supply(Rc::clone(&late), kind), kind)
        .unwrap();
    process
        .register_producer(44, Supply(Rc::clone(&late), kind), kind)
        .unwrap();
    assert!(late.stopped.get());
}

impl Supply {
    /// Begins to write in the next turn.
    fn resume_producing_later(&self, reactor: &Reactor, heard: &Rc<Heard>) {
        let (chunks, process) = (Rc::clone(&self.0), heard.process());
        reactor.call_later(Duration::ZERO, move |_| {
            Self(chunks, ProducerKind::Push).resume_producing(&process);
        });
    }
}

fn a_second_producer_is_refused(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    let kind = ProducerKind::Push;
    let process = heard.process();
    process
        .register_producer(0, Supply(Chunks::new(1), kind), kind)
        .unwrap();
    let second = process.register_producer(0, Supply(Chunks::new(1), kind), kind);
    assert_eq!(second, Err(Misuse::ProducerInUse));
    process.unregister_producer(0);
    process.close(0);
    heard.wait(reactor);
}
