//! Registrations that are of no descriptor.

use std::process::{Command, Stdio};

use ropewalk_os::kqueue::note;
use ropewalk_testkit::socket_pair;

use super::*;
use Filter::{Process, User};

const CLEAR: EventFlags = EventFlags::CLEAR;

fn user(flags: EventFlags, fflags: u32) -> KernelEvent {
    KernelEvent {
        fflags,
        ..change(99, User, flags)
    }
}

#[test]
fn a_triggered_event_is_one_however_often() {
    let mut queue = Queue::new();
    queue.change(user(ADD | CLEAR, 0)).unwrap();
    assert_eq!(queue.ready(), []);
    for _ in 0..3 {
        queue
            .change(user(EventFlags::ENABLE, note::TRIGGER))
            .unwrap();
    }
    let events = queue.wait();
    assert_eq!(names(&events), [(99, User)]);
    assert_eq!((events[0].udata, events[0].flags), (7, CLEAR));
    assert!(!queue.is_readable());
    assert_eq!(queue.ready(), []);
}

#[test]
fn a_triggered_event_that_is_not_cleared_stays() {
    let mut queue = Queue::new();
    queue.change(user(ADD, note::TRIGGER)).unwrap();
    for _ in 0..3 {
        assert_eq!(queue.ready().len(), 1);
    }
    queue.change(user(EventFlags::DISABLE, 0)).unwrap();
    assert_eq!(queue.ready(), []);
    queue.change(user(EventFlags::ENABLE, 0)).unwrap();
    assert_eq!(queue.ready().len(), 1);
    queue.change(user(DELETE, 0)).unwrap();
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.change(user(EventFlags::ENABLE, 0)), Err(libc::ENOENT));
}

#[test]
fn flags_of_the_program_are_combined_as_told() {
    let mut queue = Queue::new();
    queue.change(user(ADD, 0b1100)).unwrap();
    for (change, flags) in [
        (note::TRIGGER, 0b1100),
        (note::FF_AND | 0b0110, 0b0100),
        (note::FF_OR | 0b0011, 0b0111),
        (0b1000, 0b0111),
        (note::FF_COPY | 0xFF_FFFF, 0xFF_FFFF),
    ] {
        queue.change(user(EventFlags::NONE, change)).unwrap();
        assert_eq!(queue.ready()[0].fflags, flags);
    }
}

fn exit(pid: u32, flags: EventFlags) -> KernelEvent {
    KernelEvent {
        ident: pid as usize,
        filter: Process,
        flags,
        fflags: note::EXIT,
        udata: 7,
        ..KernelEvent::default()
    }
}

#[test]
fn the_end_of_a_process_is_told_with_its_status() {
    for (script, status) in [("read x; exit 3", 3 << 8), ("read x; kill -9 $$", 9)] {
        let mut queue = Queue::new();
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        queue.change(exit(child.id(), ADD)).unwrap();
        assert_eq!(queue.ready(), []);
        drop(child.stdin.take());
        let event = queue.wait()[0];
        assert_eq!((event.ident, event.filter), (child.id() as usize, Process));
        assert_eq!((event.data, event.fflags), (status, note::EXIT));
        assert!(event.flags.contains(EventFlags::EOF | EventFlags::ONESHOT));
        // Told, not waited for.
        assert!(!child.wait().unwrap().success());
        assert_eq!(queue.ready(), []);
        let gone = queue.change(exit(child.id(), DELETE));
        assert_eq!(gone, Err(libc::ENOENT));
    }
}

#[test]
fn a_process_that_ended_already_is_told_at_once_until_it_is_waited_for() {
    let mut queue = Queue::new();
    let mut child = Command::new("true").spawn().unwrap();
    queue.change(exit(child.id(), ADD)).unwrap();
    assert_eq!(queue.wait()[0].data, 0);
    queue.change(exit(child.id(), ADD)).unwrap();
    assert_eq!(queue.ready().len(), 1);
    child.wait().unwrap();
    assert_eq!(queue.change(exit(child.id(), ADD)), Err(libc::ESRCH));
    let never = queue.change(exit(u32::MAX, ADD));
    assert_eq!(never, Err(libc::ESRCH));
}

#[test]
fn a_process_that_is_disabled_or_deleted_is_silent() {
    let mut queue = Queue::new();
    let mut child = Command::new("true").spawn().unwrap();
    queue
        .change(exit(child.id(), ADD | EventFlags::DISABLE))
        .unwrap();
    child.wait().unwrap();
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.ready(), []);
    assert!(!queue.is_readable());
    queue.change(exit(child.id(), DELETE)).unwrap();
    assert_eq!(queue.ready(), []);
}

/// As a host watches a poller that watches the queue of a child.
#[test]
fn the_end_of_a_process_is_reported_through_two_queues() {
    let mut host = Queue::new();
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let ident = i32::try_from(child.id()).unwrap();
    let end = KernelEvent {
        fflags: note::EXIT,
        ..change(ident, Process, ADD)
    };
    let mut poller = InProcessKqueue::new().unwrap();
    let mut innermost = InProcessKqueue::for_processes().unwrap();
    let watch = |queue: &InProcessKqueue| {
        let fd = queue.as_fd().unwrap().as_raw_fd();
        change(fd, Filter::Read, ADD)
    };
    let now = Some(Duration::ZERO);
    let mut events = [KernelEvent::default(); 4];
    innermost.kevent(&[end], &mut [], now).unwrap();
    // From the host inwards: Linux looks how deep the new one is, and how deep it comes to be.
    host.change(watch(&poller)).unwrap();
    poller.kevent(&[watch(&innermost)], &mut [], now).unwrap();
    assert_eq!(host.ready(), []);
    drop(child.stdin.take());
    assert_eq!(host.wait().len(), 1);
    assert_eq!(poller.kevent(&[], &mut events, now).unwrap(), 1);
    assert_eq!(innermost.kevent(&[], &mut events, now).unwrap(), 1);
    assert_eq!(names(&events[..1]), [(ident, Process)]);
    assert_eq!(host.ready(), []);
    child.wait().unwrap();
}

#[test]
fn a_queue_for_processes_takes_no_descriptor() {
    let _alone = Queue::new();
    let mut queue = InProcessKqueue::for_processes().unwrap();
    let (near, _far) = socket_pair();
    let watch = change(near.as_raw_fd(), Filter::Read, ADD);
    let refused = queue.kevent(&[watch], &mut [], Some(Duration::ZERO));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EINVAL));
}
