//! A hundred megabytes through programs that everybody has, at the pace of each of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod process_support;
#[macro_use]
mod variant;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use process_support::alone;
use ropewalk::process::{Command, Ended, Process, ProcessProtocol};
use ropewalk::{PollerKind, Producer, ProducerKind, Reactor};
use variant::Variant;

/// What has not happened after this will not happen any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of a filter's input, in bytes.
const SIZE: usize = 100_000_000;

/// Of one line, in bytes.
const LINE: usize = 100;

/// Of a piece that is written at once, in bytes.
const PIECE: usize = 100_000;

/// For openssl.
const KEY: &str = "00112233445566778899aabbccddeeff";

/// All lines, sorted and in disorder: the factor has no divisor in common with how many there are.
static SORTED: LazyLock<Vec<u8>> = LazyLock::new(|| lines(|number| number));
static SCATTERED: LazyLock<Vec<u8>> = LazyLock::new(|| lines(|n| n * 7_368_787 % (SIZE / LINE)));

fn lines(order: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(SIZE);
    for number in 0..SIZE / LINE {
        writeln!(lines, "{:01$}", order(number), LINE - 1).unwrap();
    }
    lines
}

/// What a filter gave.
#[derive(Default)]
struct Output {
    data: RefCell<Vec<u8>>,
    /// The most that was ever waiting for the next program, in bytes.
    waiting: Cell<usize>,
    ended: Cell<Option<Ended>>,
}

/// Keeps what a filter gives, and hands it on.
struct Filter {
    output: Rc<Output>,
    then: Option<Process>,
}

impl ProcessProtocol for Filter {
    fn data_received(&mut self, _: &Process, fd: i32, data: &[u8]) {
        assert_eq!(fd, 1, "{}", String::from_utf8_lossy(data));
        self.output.data.borrow_mut().extend_from_slice(data);
        if let Some(then) = &self.then {
            then.write(0, data);
            let waiting = self.output.waiting.get().max(then.buffered_len(0));
            self.output.waiting.set(waiting);
        }
    }

    fn ended(&mut self, ended: Ended) {
        self.output.ended.set(Some(ended));
        if let Some(then) = &self.then {
            then.unregister_producer(0);
            then.close(0);
        }
    }
}

/// Supplies a program's input, piece by piece; where the next one begins.
struct Supply(Cell<usize>);

impl Producer<Process> for Supply {
    fn resume_producing(&self, process: &Process) {
        let begin = self.0.replace(self.0.get() + PIECE);
        match SCATTERED.get(begin..begin + PIECE) {
            Some(piece) => process.write(0, piece),
            None => {
                process.unregister_producer(0);
                process.close(0);
            }
        }
    }
}

fn start(reactor: &Reactor, command: &Command<'_>, then: Option<Process>) -> (Process, Rc<Output>) {
    let output = Rc::<Output>::default();
    let filter = Filter {
        output: Rc::clone(&output),
        then,
    };
    (reactor.spawn_process(command, filter).unwrap(), output)
}

fn supply(process: &Process) {
    let supply = Supply(Cell::new(0));
    process
        .register_producer(0, supply, ProducerKind::Pull)
        .unwrap();
}

/// Waits for the end, and looks at what the filter gave.
fn expect(reactor: &Reactor, output: &Output, data: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while output.ended.get().is_none() {
        let count = output.data.borrow().len();
        assert!(Instant::now() < deadline, "{count} bytes came");
        variant::turn(reactor, Duration::from_millis(100));
    }
    assert_eq!(output.ended.get(), Some(Ended::Exited(0)));
    assert!(*output.data.borrow() == data);
}

fn over_pollers(case: fn(&Reactor)) {
    for kind in [PollerKind::Epoll, PollerKind::Poll, PollerKind::Select] {
        alone(|| {
            let reactor = Variant::alone(kind).reactor();
            case(&reactor);
        });
    }
}

#[test]
fn cat_gives_back_what_it_is_given() {
    over_pollers(|reactor| {
        let (cat, output) = start(reactor, &Command::new("cat"), None);
        supply(&cat);
        expect(reactor, &output, &SCATTERED);
    });
}

#[test]
fn sort_sorts() {
    over_pollers(|reactor| {
        let command = Command::new("sort").env("LC_ALL", "C");
        let (sort, output) = start(reactor, &command, None);
        supply(&sort);
        expect(reactor, &output, &SORTED);
    });
}

#[test]
fn openssl_decrypts_what_it_encrypted() {
    over_pollers(|reactor| {
        let command = || {
            let options = ["enc", "-aes-128-ctr", "-K", KEY, "-iv", KEY];
            Command::new("openssl").args(options)
        };
        let (second, plain) = start(reactor, &command().arg("-d"), None);
        let (first, cipher) = start(reactor, &command(), Some(second.clone()));
        second
            .register_producer(0, first.clone(), ProducerKind::Push)
            .unwrap();
        supply(&first);
        expect(reactor, &plain, &SCATTERED);
        assert!(*cipher.data.borrow() != *SCATTERED, "not encrypted");
        // The first was stopped whenever the second was behind.
        let most = Process::HIGH_WATER + 65_536;
        assert!(cipher.waiting.get() <= most, "{}", cipher.waiting.get());
    });
}
