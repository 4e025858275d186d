//! The kernel queue at its worst.

use super::*;

use Filter::{Read, Write};

#[test]
fn an_interrupted_wait_has_made_its_changes() {
    let mut test = Test::new();
    for round in 0..3 {
        let interest = [Interest::READABLE, Interest::BOTH, Interest::WRITABLE][round];
        match round {
            0 => test.register(test.fd(), TOKEN, interest).unwrap(),
            _ => test.modify(interest),
        }
        test.answer(Answer::Fails(libc::EINTR));
        assert_eq!(test.wait(), []);
        assert!(!test.calls()[0].changes.is_empty());
        assert_eq!(test.changes_of_a_wait(), []);
    }
}

#[test]
fn a_call_that_failed_is_made_again() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
    test.answer(Answer::Fails(libc::ENOMEM));
    let timeout = Some(Duration::ZERO);
    let error = test.poller.wait(&mut test.events, timeout).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    let first = test.calls().remove(0).changes;
    test.modify(Interest::READABLE);
    test.wait();
    let second = test.calls().remove(0).changes;
    assert_eq!(second[..2], first[..]);
    let (fd, delete) = (test.fd(), EventFlags::DELETE);
    let rest: Vec<_> = second[2..].iter().map(named).collect();
    assert_eq!(rest, [(fd, Read, EventFlags::ADD), (fd, Write, delete)]);
}

#[test]
fn a_refused_removal_is_no_event_and_does_not_end_the_wait() {
    for errno in [libc::ENOENT, libc::EBADF] {
        let mut test = Test::watching(Interest::BOTH);
        test.poller.deregister(test.fd()).unwrap();
        test.register(test.other_fd(), OTHER, Interest::READABLE)
            .unwrap();
        test.answer(Answer::Refuses(vec![(0, errno), (1, errno)]));
        let ready = event(test.other_fd(), Read, OTHER);
        test.answer(Answer::Events(vec![ready]));
        assert_eq!(test.wait(), [report(OTHER, Readiness::READABLE)]);
        let calls = test.calls();
        assert_eq!((calls[0].changes.len(), calls[1].changes.len()), (3, 0));
        // The first did not wait, so that all the time is left.
        assert_eq!(calls[1].timeout, Some(Duration::from_secs(1)));
    }
}

#[test]
fn a_closed_descriptor_is_reported_invalid_and_forgotten() {
    for place in [0, 1] {
        let mut test = Test::new();
        test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
        test.answer(Answer::Refuses(vec![(place, libc::EBADF)]));
        assert_eq!(test.wait(), [report(TOKEN, Readiness::INVALID)]);
        let calls = test.calls();
        assert_eq!(calls[1].timeout, Some(Duration::ZERO), "there is an event");
        assert_eq!(test.wait(), []);
        let error = test.poller.deregister(test.fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        test.register(test.fd(), OTHER, Interest::READABLE).unwrap();
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_writable_until_it_is_given_up() {
    let mut test = Test::new();
    let fd = test.fd();
    test.register(fd, TOKEN, Interest::WRITABLE).unwrap();
    for _ in 0..3 {
        test.answer(Answer::Refuses(vec![(0, libc::EPIPE)]));
        assert_eq!(test.wait(), [report(TOKEN, Readiness::WRITABLE)]);
        let changes: Vec<_> = test.calls()[0].changes.iter().map(named).collect();
        assert_eq!(changes, [(fd, Write, EventFlags::ADD)]);
    }
    test.poller.deregister(fd).unwrap();
    test.answer(Answer::Refuses(vec![(0, libc::ENOENT)]));
    assert_eq!(test.wait(), []);
}

#[test]
fn a_refusal_does_not_hide_who_is_ready() {
    let mut test = Test::watching(Interest::READABLE);
    test.register(test.other_fd(), OTHER, Interest::WRITABLE)
        .unwrap();
    for _ in 0..3 {
        test.answer(Answer::Refuses(vec![(0, libc::EPIPE)]));
        test.answer(Answer::Events(vec![event(test.fd(), Read, TOKEN)]));
        let expected = [
            report(OTHER, Readiness::WRITABLE),
            report(TOKEN, Readiness::READABLE),
        ];
        assert_eq!(test.wait(), expected);
    }
}

#[test]
fn a_registration_without_memory_is_tried_again() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::READABLE).unwrap();
    test.answer(Answer::Refuses(vec![(0, libc::ENOMEM)]));
    // It may be ready and nobody would tell.
    assert_eq!(test.wait(), [report(TOKEN, Readiness::READABLE)]);
    test.calls();
    let changes = test.changes_of_a_wait();
    assert_eq!(changes, [(test.fd(), Read, EventFlags::ADD)]);
}

#[test]
fn a_source_that_cannot_be_watched_is_in_error() {
    for errno in [libc::EINVAL, libc::ENOENT, libc::EOPNOTSUPP] {
        let mut test = Test::new();
        test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
        test.answer(Answer::Refuses(vec![(1, errno)]));
        assert_eq!(test.wait(), [report(TOKEN, Readiness::ERROR)]);
    }
}

#[test]
fn a_refusal_in_the_middle_leaves_the_others() {
    let mut test = Test::new();
    let (one, two) = (test.fd(), test.other_fd());
    test.register(one, TOKEN, Interest::BOTH).unwrap();
    test.register(two, OTHER, Interest::BOTH).unwrap();
    // An error among events, as no system says it would not be.
    let refused = refusal(event(one, Write, TOKEN), libc::EBADF);
    let events = vec![event(two, Read, OTHER), refused, event(two, Write, OTHER)];
    test.answer(Answer::Events(events));
    let both = Readiness::READABLE | Readiness::WRITABLE;
    let expected = [report(OTHER, both), report(TOKEN, Readiness::INVALID)];
    assert_eq!(test.wait(), expected);
}

#[test]
fn a_receipt_is_no_event() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
    test.answer(Answer::Refuses(vec![(0, 0), (1, 0)]));
    assert_eq!(test.wait(), []);
    assert_eq!(test.calls().len(), 2, "nobody waited yet");
}

#[test]
fn what_a_flush_was_refused_the_next_wait_reports() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
    test.answer(Answer::Refuses(vec![(0, libc::EBADF), (1, libc::EBADF)]));
    test.poller.flush_changes().unwrap();
    // Whoever watches the queue is told by an event of no source.
    let calls = test.calls();
    let (filter, fflags) = (calls[1].changes[0].filter, calls[1].changes[0].fflags);
    assert_eq!((filter, fflags), (Filter::User, note::TRIGGER));
    test.answer(Answer::Events(calls[1].changes.clone()));
    assert_eq!(test.wait(), [report(TOKEN, Readiness::INVALID)]);
    let waits = test.calls();
    assert_eq!(waits[0].timeout, Some(Duration::ZERO), "there is an event");
    assert_eq!(test.wait(), []);
}

#[test]
fn a_removal_that_a_flush_was_refused_calls_nobody() {
    let mut test = Test::watching(Interest::READABLE);
    test.poller.deregister(test.fd()).unwrap();
    test.answer(Answer::Refuses(vec![(0, libc::EBADF)]));
    test.poller.flush_changes().unwrap();
    assert_eq!(test.calls().len(), 1);
    assert_eq!(test.wait(), []);
}

#[test]
fn a_list_of_one_place_is_enough() {
    // Not that this poller has one, but a kernel may say less than it was given room for.
    let mut test = Test::watching(Interest::BOTH);
    for (filter, readiness) in [(Read, Readiness::READABLE), (Write, Readiness::WRITABLE)] {
        test.answer(Answer::Events(vec![event(test.fd(), filter, TOKEN)]));
        assert_eq!(test.wait(), [report(TOKEN, readiness)]);
    }
}
