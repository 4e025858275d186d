//! Which changes are asked for, and when.

use super::*;
use std::fs::File;
use std::os::fd::OwnedFd;

use Filter::{Read, Write};

const ADD: EventFlags = EventFlags::ADD;
const DELETE: EventFlags = EventFlags::DELETE;

#[test]
fn a_change_waits_for_the_waiting_call() {
    let mut test = Test::new();
    let fd = test.fd();
    test.register(fd, TOKEN, Interest::BOTH).unwrap();
    assert_eq!(test.calls(), []);
    assert_eq!(
        test.changes_of_a_wait(),
        [(fd, Read, ADD), (fd, Write, ADD)]
    );
    assert_eq!(test.changes_of_a_wait(), [], "told once");
    test.modify(Interest::READABLE);
    assert_eq!(test.calls(), []);
    let changes = test.changes_of_a_wait();
    assert_eq!(changes, [(fd, Read, ADD), (fd, Write, DELETE)]);
    test.poller.deregister(fd).unwrap();
    assert_eq!(test.calls(), []);
    assert_eq!(test.changes_of_a_wait(), [(fd, Read, DELETE)]);
}

#[test]
fn changes_that_undo_each_other_are_none() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::BOTH).unwrap();
    test.poller.deregister(test.fd()).unwrap();
    assert_eq!(test.changes_of_a_wait(), []);

    let mut test = Test::watching(Interest::READABLE);
    test.modify(Interest::BOTH);
    test.modify(Interest::READABLE);
    assert_eq!(test.changes_of_a_wait(), []);
    test.modify(Interest::NONE);
    test.modify(Interest::READABLE);
    assert_eq!(test.changes_of_a_wait(), []);
}

#[test]
fn a_number_registered_anew_is_told_anew() {
    // Its descriptor may have been closed in between, and its registrations with it.
    let mut test = Test::watching(Interest::BOTH);
    let fd = test.fd();
    test.poller.deregister(fd).unwrap();
    test.register(fd, TOKEN, Interest::WRITABLE).unwrap();
    let changes = test.changes_of_a_wait();
    assert_eq!(changes, [(fd, Read, DELETE), (fd, Write, ADD)]);
}

#[test]
fn what_is_said_again_is_told_again() {
    let mut test = Test::watching(Interest::READABLE);
    let fd = test.fd();
    test.modify(Interest::READABLE);
    assert_eq!(test.changes_of_a_wait(), [(fd, Read, ADD)]);
}

#[test]
fn another_token_is_told() {
    let mut test = Test::watching(Interest::READABLE);
    test.modify_as(OTHER, Interest::READABLE);
    test.wait();
    let calls = test.calls();
    assert_eq!(calls[0].changes, [event(test.fd(), Read, OTHER)]);
}

#[test]
fn a_watch_without_interest_is_nothing_to_the_system() {
    let mut test = Test::new();
    test.register(test.fd(), TOKEN, Interest::NONE).unwrap();
    assert_eq!(test.changes_of_a_wait(), []);
    test.modify(Interest::READABLE);
    assert_eq!(test.changes_of_a_wait().len(), 1);
    test.modify(Interest::NONE);
    test.wait();
    test.calls();
    test.poller.deregister(test.fd()).unwrap();
    assert_eq!(test.changes_of_a_wait(), []);
}

#[test]
fn there_is_room_for_an_error_of_each_change() {
    let mut test = Test::new();
    let ends: Vec<_> = (0..400).map(|_| test.ends.0.try_clone().unwrap()).collect();
    for end in &ends {
        test.register(end.as_raw_fd(), TOKEN, Interest::BOTH)
            .unwrap();
    }
    test.wait();
    let calls = test.calls();
    let made: usize = calls.iter().map(|call| call.changes.len()).sum();
    assert_eq!(made, 800);
    assert!(calls.iter().all(|call| call.changes.len() <= call.room));
    // All but the last must not swallow events.
    let (_, early) = calls.split_last().unwrap();
    for call in early {
        let receipts = |change: &KernelEvent| change.flags.contains(EventFlags::RECEIPT);
        assert!(call.changes.iter().all(receipts));
        assert_eq!(call.room, call.changes.len());
    }
}

#[test]
fn a_flush_makes_the_changes_and_takes_no_event() {
    let mut test = Test::new();
    let fd = test.fd();
    test.register(fd, TOKEN, Interest::BOTH).unwrap();
    test.poller.flush_changes().unwrap();
    let calls = test.calls();
    let flags = ADD | EventFlags::RECEIPT;
    let changes: Vec<_> = calls[0].changes.iter().map(named).collect();
    assert_eq!(changes, [(fd, Read, flags), (fd, Write, flags)]);
    assert_eq!((calls.len(), calls[0].room), (1, 2));
    assert_eq!(test.changes_of_a_wait(), []);
    test.poller.flush_changes().unwrap();
    assert_eq!(test.calls(), [], "nothing to make");
}

#[test]
fn files_and_closed_numbers_are_refused_without_a_call() {
    let mut test = Test::new();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let error = test.register(file.as_raw_fd(), TOKEN, Interest::READABLE);
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EPERM));
    let number = i32::MAX;
    for number in [number, -1] {
        let error = test
            .register(number, TOKEN, Interest::READABLE)
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
    assert_eq!(test.changes_of_a_wait(), []);
}

#[test]
fn a_closed_number_has_no_watch_left() {
    let mut test = Test::watching(Interest::READABLE);
    let (near, far) = UnixStream::pair().unwrap();
    let number = OwnedFd::from(std::mem::replace(&mut test.ends.0, near)).as_raw_fd();
    drop(far);
    let error = test
        .register(number, OTHER, Interest::READABLE)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    let error = test.poller.deregister(number).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_device_is_registered_at_once() {
    let mut test = Test::new();
    let device = File::open("/dev/null").unwrap();
    let fd = device.as_raw_fd();
    test.register(fd, TOKEN, Interest::READABLE).unwrap();
    let flags = ADD | EventFlags::RECEIPT;
    let changes: Vec<_> = test.calls()[0].changes.iter().map(named).collect();
    assert_eq!(changes, [(fd, Read, flags)]);
    assert_eq!(test.changes_of_a_wait(), []);
    // SAFETY: the device is open.
    unsafe { test.poller.modify(fd, TOKEN, Interest::BOTH).unwrap() };
    assert_eq!(test.calls().len(), 1);
    assert_eq!(test.changes_of_a_wait(), []);
}

#[test]
fn a_device_that_cannot_be_watched_is_refused() {
    for errno in [libc::EINVAL, libc::ENODEV, libc::EPERM, libc::EOPNOTSUPP] {
        let mut test = Test::new();
        let device = File::open("/dev/null").unwrap();
        let fd = device.as_raw_fd();
        test.answer(Answer::Refuses(vec![(1, errno)]));
        let error = test.register(fd, TOKEN, Interest::BOTH).unwrap_err();
        test.calls();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "errno {errno}");
        // What was accepted of it goes, and so does the watch.
        let changes = test.changes_of_a_wait();
        assert_eq!(changes, [(fd, Read, DELETE), (fd, Write, DELETE)]);
        let error = test.poller.deregister(fd).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
