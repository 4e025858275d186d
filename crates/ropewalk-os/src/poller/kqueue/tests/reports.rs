//! What becomes of the system's events.

use super::*;

use Filter::{Read, User, Write};

fn reported(test: &mut Test, events: Vec<KernelEvent>) -> Vec<Event> {
    test.answer(Answer::Events(events));
    test.wait()
}

#[test]
fn the_events_of_one_descriptor_are_one_event() {
    let both = Readiness::READABLE | Readiness::WRITABLE;
    for filters in [[Read, Write], [Write, Read]] {
        let mut test = Test::watching(Interest::BOTH);
        let fd = test.fd();
        let events = filters.map(|filter| event(fd, filter, TOKEN)).to_vec();
        assert_eq!(reported(&mut test, events), [report(TOKEN, both)]);
    }
}

#[test]
fn events_of_two_descriptors_may_come_in_any_order() {
    let mut test = Test::watching(Interest::BOTH);
    let (one, two) = (test.fd(), test.other_fd());
    test.register(two, OTHER, Interest::BOTH).unwrap();
    let both = Readiness::READABLE | Readiness::WRITABLE;
    let events = vec![
        event(two, Write, OTHER),
        event(one, Read, TOKEN),
        event(one, Write, TOKEN),
        event(two, Read, OTHER),
    ];
    for _ in 0..2 {
        let reports = reported(&mut test, events.clone());
        assert_eq!(reports, [report(OTHER, both), report(TOKEN, both)]);
    }
    let reports = reported(&mut test, vec![event(one, Read, TOKEN)]);
    assert_eq!(reports, [report(TOKEN, Readiness::READABLE)]);
}

#[test]
fn an_end_of_file_is_readable_whatever_comes_with_it() {
    let mut test = Test::watching(Interest::BOTH);
    let fd = test.fd();
    let (read, write) = (event(fd, Read, TOKEN), event(fd, Write, TOKEN));
    let readable = Readiness::READABLE;
    for (events, expected) in [
        (vec![eof(read, 0)], readable),
        (
            vec![eof(read, libc::ECONNRESET)],
            readable | Readiness::ERROR,
        ),
        (vec![eof(write, 0)], Readiness::WRITABLE),
        (vec![eof(write, libc::ECONNREFUSED)], Readiness::WRITABLE),
        (vec![eof(read, 0), write], readable | Readiness::WRITABLE),
        (
            vec![eof(write, libc::EPIPE), eof(read, libc::ECONNRESET)],
            readable | Readiness::WRITABLE | Readiness::ERROR,
        ),
    ] {
        assert_eq!(reported(&mut test, events), [report(TOKEN, expected)]);
    }
}

#[test]
fn an_event_nobody_asked_for_is_dropped() {
    let mut test = Test::watching(Interest::READABLE);
    let fd = test.fd();
    let events = vec![
        event(fd, Write, TOKEN),
        event(fd, User, TOKEN),
        event(fd, Read, OTHER),
        event(test.other_fd(), Read, TOKEN),
        event(i32::MAX, Read, TOKEN),
    ];
    assert_eq!(reported(&mut test, events), []);
}

#[test]
fn an_event_of_a_registration_that_went_is_dropped() {
    let mut test = Test::watching(Interest::BOTH);
    let fd = test.fd();
    let events = vec![event(fd, Read, TOKEN), event(fd, Write, TOKEN)];
    test.modify(Interest::WRITABLE);
    let reports = reported(&mut test, events.clone());
    assert_eq!(reports, [report(TOKEN, Readiness::WRITABLE)]);
    test.modify_as(OTHER, Interest::BOTH);
    assert_eq!(reported(&mut test, events.clone()), []);
    test.poller.deregister(fd).unwrap();
    assert_eq!(reported(&mut test, events), []);
}

#[test]
fn the_number_of_a_gone_watch_is_not_mistaken_for_its_successor() {
    let mut test = Test::watching(Interest::READABLE);
    let fd = test.fd();
    test.poller.deregister(fd).unwrap();
    test.register(fd, OTHER, Interest::READABLE).unwrap();
    let stale = event(fd, Read, TOKEN);
    assert_eq!(reported(&mut test, vec![stale]), []);
}

#[test]
fn a_list_that_came_back_full_is_grown() {
    let mut test = Test::watching(Interest::READABLE);
    let room = |test: &mut Test| {
        test.wait();
        test.calls()[0].room
    };
    let mut before = room(&mut test);
    loop {
        test.answer(Answer::Events(vec![event(test.fd(), Read, TOKEN); before]));
        let events = test.wait();
        assert_eq!(events.len(), 1);
        test.calls();
        let after = room(&mut test);
        if after == before {
            break;
        }
        assert_eq!(after, 2 * before);
        before = after;
    }
    assert_eq!(before, 4096);
}
