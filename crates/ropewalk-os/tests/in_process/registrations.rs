//! What is registered, and what becomes of it.

use std::io::Write;
use std::os::fd::AsRawFd;

use ropewalk_testkit::socket_pair;

use super::*;
use Filter::{Read, Signal, Timer, User};

const ENABLE: EventFlags = EventFlags::ENABLE;
const DISABLE: EventFlags = EventFlags::DISABLE;

#[test]
fn reading_and_writing_are_two_events() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Filter::Write);
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
    queue.add(&near, Read);
    far.write_all(b"rope").unwrap();
    assert_eq!(names(&queue.ready()), [(fd, Read), (fd, Filter::Write)]);
    queue.change(change(fd, Filter::Write, DELETE)).unwrap();
    assert_eq!(names(&queue.ready()), [(fd, Read)]);
}

#[test]
fn adding_again_updates() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    for udata in [1, u64::MAX] {
        let again = KernelEvent {
            udata,
            ..change(near.as_raw_fd(), Read, ADD)
        };
        queue.change(again).unwrap();
        let events = queue.ready();
        assert_eq!((events.len(), events[0].udata), (1, udata));
    }
    queue
        .change(change(near.as_raw_fd(), Read, DELETE))
        .unwrap();
    assert_eq!(queue.ready(), []);
}

#[test]
fn what_is_not_registered_is_not_found() {
    let mut queue = Queue::new();
    let (near, _far) = socket_pair();
    let fd = near.as_raw_fd();
    let not_found = |queue: &mut Queue, filter| {
        for flags in [DELETE, ENABLE, DISABLE] {
            let result = queue.change(change(fd, filter, flags));
            assert_eq!(result, Err(libc::ENOENT), "{filter:?} {flags:?}");
        }
    };
    for filter in [Read, Filter::Write, User] {
        not_found(&mut queue, filter);
    }
    queue.add(&near, Read);
    not_found(&mut queue, Filter::Write);
    queue.change(change(fd, Read, DELETE)).unwrap();
    not_found(&mut queue, Read);
}

#[test]
fn a_number_that_is_not_open_is_refused() {
    let mut queue = Queue::new();
    let closed = socket_pair().0.as_raw_fd();
    for number in [closed as usize, i32::MAX as usize, usize::MAX] {
        for flags in [ADD, DELETE, ENABLE] {
            let change = KernelEvent {
                ident: number,
                flags,
                ..KernelEvent::default()
            };
            assert_eq!(queue.change(change), Err(libc::EBADF), "{number}");
        }
    }
}

#[test]
fn what_is_disabled_is_silent() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    let fd = near.as_raw_fd();
    for (flags, count) in [
        (ADD, 1),
        (DISABLE, 0),
        (ENABLE, 1),
        (DISABLE, 0),
        (ADD, 1),
        (ADD | DISABLE, 0),
        (ENABLE, 1),
    ] {
        queue.change(change(fd, Read, flags)).unwrap();
        assert_eq!(queue.ready().len(), count, "{flags:?}");
        assert_eq!(queue.is_readable(), count == 1, "{flags:?}");
    }
}

#[test]
fn what_is_deleted_is_not_reported_any_more() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    queue.add(&near, Read);
    assert!(queue.is_readable());
    let deletion = [change(near.as_raw_fd(), Read, DELETE)];
    assert_eq!(queue.call(&deletion, 16, Duration::ZERO).unwrap(), []);
    assert!(!queue.is_readable());
}

#[test]
fn a_state_is_reported_as_long_as_it_lasts() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    queue.add(&near, Read);
    assert_eq!(queue.ready(), []);
    far.write_all(b"rope").unwrap();
    for _ in 0..3 {
        assert_eq!(queue.ready().len(), 1);
    }
    std::io::Read::read_exact(&mut &near, &mut [0; 4]).unwrap();
    assert_eq!(queue.ready(), []);
}

#[test]
fn other_filters_are_not_there() {
    let mut queue = Queue::new();
    for filter in [Signal, Timer] {
        assert_eq!(queue.change(change(1, filter, ADD)), Err(libc::EINVAL));
    }
}
