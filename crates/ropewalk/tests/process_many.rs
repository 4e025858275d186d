//! Very many children, many at a time: what each says is checked byte by byte, and nothing is left.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::Cell;
use std::rc::Rc;

use process_support::{over_every_poller, until};
use ropewalk::Reactor;
use ropewalk::process::{Command, Ended, Process, ProcessProtocol};

over_every_poller!(five_thousand_children_answer);

/// How many run at a time.
const AT_A_TIME: usize = 50;

struct Crowd {
    reactor: Reactor,
    to_start: Cell<usize>,
    running: Cell<usize>,
    done: Cell<usize>,
}

/// One of them, which sends its child a text of its own and wants it back.
struct Member {
    crowd: Rc<Crowd>,
    text: Vec<u8>,
    heard: Vec<u8>,
    closed: usize,
}

impl Crowd {
    fn start(self: &Rc<Self>) {
        while self.running.get() < AT_A_TIME && self.to_start.get() > 0 {
            let number = self.to_start.get();
            self.to_start.set(number - 1);
            self.running.set(self.running.get() + 1);
            let member = Member {
                crowd: Rc::clone(self),
                text: format!("{number} ").into_bytes().repeat(number % 700 + 1),
                heard: Vec::new(),
                closed: 0,
            };
            self.reactor
                .spawn_process(&Command::new("/bin/cat"), member)
                .unwrap();
        }
    }
}

impl ProcessProtocol for Member {
    fn connection_made(&mut self, process: &Process) {
        process.write(0, &self.text);
        process.close(0);
    }

    fn data_received(&mut self, _: &Process, fd: i32, data: &[u8]) {
        assert_eq!(fd, 1);
        self.heard.extend_from_slice(data);
    }

    fn descriptor_closed(&mut self, _: &Process, _: i32) {
        self.closed += 1;
    }

    fn ended(&mut self, ended: Ended) {
        assert_eq!((ended, self.closed), (Ended::Exited(0), 3));
        assert!(self.heard == self.text);
        let crowd = &self.crowd;
        crowd.running.set(crowd.running.get() - 1);
        crowd.done.set(crowd.done.get() + 1);
        crowd.start();
    }
}

fn run(reactor: &Reactor, count: usize) {
    let failures = Rc::new(Cell::new(0));
    let noted = Rc::clone(&failures);
    reactor.on_failure(move |failure| {
        eprintln!("{failure}");
        noted.set(noted.get() + 1);
    });
    let crowd = Rc::new(Crowd {
        reactor: reactor.clone(),
        to_start: Cell::new(count),
        running: Cell::new(0),
        done: Cell::new(0),
    });
    crowd.start();
    let mut before = 0;
    while before < count {
        // As long as there is progress, a slow machine is none of the test's business.
        until(reactor, "a child", || {
            crowd.done.get() > before || failures.get() > 0
        });
        assert_eq!(failures.get(), 0);
        before = crowd.done.get();
    }
}

fn five_thousand_children_answer(reactor: &Reactor) {
    run(reactor, 5000);
}
