//! A turn in steps, with the program between the wait and the dispatch.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ropewalk::engine::{Engine, Host};
use ropewalk::os::{Interest, Readiness, SourceFd, Token};
use variant::Variant;

/// A host whose sources are names, which notes what it hears.
#[derive(Default)]
struct Notes {
    heard: RefCell<Vec<(&'static str, Readiness)>>,
}

impl Notes {
    fn take(&self) -> Vec<(&'static str, Readiness)> {
        self.heard.take()
    }
}

impl Host for Notes {
    type Source = &'static str;

    fn ready(&self, _: &Engine<Self>, _: Token, name: &'static str, what: Readiness) {
        self.heard.borrow_mut().push((name, what));
    }

    fn flush(&self, _: &Engine<Self>, _: Token, _: &'static str) {}

    fn register_failed(&self, _: &Engine<Self>, _: Token, name: &'static str, error: io::Error) {
        panic!("{name}: {error}");
    }

    fn park(&self, wait: &mut dyn FnMut()) {
        wait();
    }
}

fn engine(variant: Variant) -> Engine<Notes> {
    Engine::with_maker(Box::new(move || variant.poller())).unwrap()
}

/// A source that wants to read, its number and its peer.
fn source(engine: &Engine<Notes>, name: &'static str) -> (Token, RawFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let number = ours.as_raw_fd();
    let token = engine.insert(SourceFd::from(OwnedFd::from(ours)), name);
    engine.set_interest(token, Interest::READABLE);
    (token, number, theirs)
}

fn reports(engine: &Engine<Notes>, host: &Notes) -> Vec<(RawFd, Readiness)> {
    engine.wait_for_reports(host, Some(Duration::ZERO)).unwrap()
}

fn a_wait_answers_by_number_and_dispatches_nothing(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::default());
    let (_, number, mut peer) = source(&engine, "a");
    let (_, _, _quiet) = source(&engine, "b");
    peer.write_all(b"x").unwrap();
    assert_eq!(reports(&engine, &host), [(number, Readiness::READABLE)]);
    assert_eq!(host.take(), []);
    // It was not lost.
    engine.poll(&host, Some(Duration::ZERO)).unwrap();
    assert_eq!(host.take(), [("a", Readiness::READABLE)]);
}

fn reports_are_dispatched_as_if_the_poller_had_made_them(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::default());
    let (_, number, _peer) = source(&engine, "a");
    engine.prepare(&host).unwrap();
    let made_up = [
        (number, Readiness::READABLE | Readiness::WRITABLE),
        (number + 1000, Readiness::READABLE),
        (-1, Readiness::READABLE),
    ];
    engine.dispatch_reports(&host, &made_up);
    // Only what is asked for, and nobody for a number that is not watched.
    assert_eq!(host.take(), [("a", Readiness::READABLE)]);
}

fn a_source_removed_after_the_wait_hears_nothing(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::default());
    let (token, _, mut peer) = source(&engine, "a");
    peer.write_all(b"x").unwrap();
    let reports = reports(&engine, &host);
    drop(engine.remove(token));
    engine.dispatch_reports(&host, &reports);
    assert_eq!(host.take(), []);
}

fn what_no_poller_reports_is_dispatched_with_the_reports(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::default());
    let (asked, _, _peer) = source(&engine, "asked");
    engine.request_ready(asked, Readiness::WRITABLE);
    let file = File::open("/proc/self/exe").unwrap();
    let number = file.as_raw_fd();
    let file = engine.insert(SourceFd::from(OwnedFd::from(file)), "file");
    engine.set_interest(file, Interest::READABLE);
    // It does not wait while they are due.
    let mut reports = engine.wait_for_reports(&host, None).unwrap();
    reports.retain(|(other, _)| *other != number);
    assert_eq!(reports, []);
    if engine.is_unpollable(file) {
        engine.dispatch_reports(&host, &reports);
        assert_eq!(
            host.take(),
            [
                ("file", Readiness::READABLE),
                ("asked", Readiness::WRITABLE)
            ]
        );
    } else {
        engine.dispatch_reports(&host, &[(number, Readiness::READABLE)]);
        assert_eq!(host.take().len(), 2);
    }
}

fn a_wake_up_is_a_report_and_is_over_once_it_is_dispatched(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::default());
    engine.waker().wake();
    let reports = self::reports(&engine, &host);
    let number = engine.waker().read_fd().as_raw_fd();
    assert_eq!(reports, [(number, Readiness::READABLE)]);
    engine.dispatch_reports(&host, &reports);
    assert_eq!(self::reports(&engine, &host), []);
}

fn run(variant: Variant, case: fn(Variant)) {
    case(variant);
}

on_every_variant!(crate::run:
    a_wait_answers_by_number_and_dispatches_nothing,
    reports_are_dispatched_as_if_the_poller_had_made_them,
    a_source_removed_after_the_wait_hears_nothing,
    what_no_poller_reports_is_dispatched_with_the_reports,
    a_wake_up_is_a_report_and_is_over_once_it_is_dispatched,
);
