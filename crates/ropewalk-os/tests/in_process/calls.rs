//! The call itself: errors, receipts, room, timeouts, signals, forks.

use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ropewalk_os::{SignalSet, Waker};
use ropewalk_testkit::socket_pair;

use super::*;
use Filter::Read;

const RECEIPT: EventFlags = EventFlags::RECEIPT;

fn errors(events: &[KernelEvent]) -> Vec<(usize, i64)> {
    let answer = |event: &KernelEvent| {
        assert_eq!(event.flags, EventFlags::ERROR);
        (event.ident, event.data)
    };
    events.iter().map(answer).collect()
}

#[test]
fn a_refused_change_is_an_event_and_the_others_are_made() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    let fd = near.as_raw_fd();
    let changes = [change(fd, Read, DELETE), change(fd, Read, ADD)];
    let started = Instant::now();
    let answers = queue.call(&changes, 16, PATIENCE).unwrap();
    assert_eq!(errors(&answers), [(fd as usize, libc::ENOENT.into())]);
    assert_eq!(answers[0].udata, 7);
    assert!(started.elapsed() < PATIENCE, "it neither waits nor looks");
    assert_eq!(queue.ready().len(), 1, "the second was made");
}

#[test]
fn without_room_the_call_fails_and_later_changes_are_lost() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    let fd = near.as_raw_fd();
    let changes = [
        change(fd, Filter::Write, ADD),
        change(fd, Read, DELETE),
        change(fd, Read, ADD),
    ];
    let error = queue.call(&changes, 0, PATIENCE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
}

#[test]
fn an_error_that_finds_no_room_left_fails_the_call() {
    let mut queue = Queue::new();
    let (near, _far) = socket_pair();
    let missing = change(near.as_raw_fd(), Read, DELETE);
    let error = queue.call(&[missing, missing], 1, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_receipt_answers_every_change_and_nothing_else_is_looked_for() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    let fd = near.as_raw_fd();
    let changes = [
        change(fd, Read, ADD | RECEIPT),
        change(fd, Filter::Write, DELETE | RECEIPT),
    ];
    let answers = queue.call(&changes, 16, PATIENCE).unwrap();
    let expected = [(fd as usize, 0), (fd as usize, libc::ENOENT.into())];
    assert_eq!(errors(&answers), expected);
    assert_eq!(queue.ready().len(), 1);
}

#[test]
fn a_call_without_room_never_waits() {
    let mut queue = Queue::new();
    let (near, _far) = socket_pair();
    let changes = [change(near.as_raw_fd(), Read, ADD)];
    assert_eq!(queue.kqueue.kevent(&changes, &mut [], None).unwrap(), 0);
    assert_eq!(queue.kqueue.kevent(&[], &mut [], None).unwrap(), 0);
}

#[test]
fn a_wait_lasts_its_timeout() {
    let mut queue = Queue::new();
    let (near, _far) = socket_pair();
    queue.add(&near, Read);
    for microseconds in [1, 300, 1000, 2700] {
        let timeout = Duration::from_micros(microseconds);
        let started = Instant::now();
        assert_eq!(queue.call(&[], 4, timeout).unwrap(), []);
        assert!(started.elapsed() >= timeout);
    }
}

#[test]
fn an_interrupted_wait_has_made_its_changes() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let mut signals = SignalSet::new(Waker::new().unwrap());
    signals.add(libc::SIGUSR1).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // SAFETY: the call takes nothing and always succeeds.
    let target = unsafe { libc::pthread_self() } as usize;
    let nagger = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: the target joins this thread before it ends.
                unsafe { libc::pthread_kill(target as libc::pthread_t, libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let changes = [change(near.as_raw_fd(), Read, ADD)];
    let error = queue.call(&changes, 4, PATIENCE).unwrap_err();
    stop.store(true, Ordering::Relaxed);
    nagger.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    far.write_all(b"rope").unwrap();
    assert_eq!(queue.ready().len(), 1);
}

#[test]
fn small_lists_take_turns() {
    let mut queue = Queue::new();
    let pairs: Vec<_> = (0..3).map(|_| socket_pair()).collect();
    let mut expected = Vec::new();
    for (near, far) in &pairs {
        let mut far = far;
        far.write_all(b"rope").unwrap();
        for filter in [Read, Filter::Write] {
            queue.add(near, filter);
            expected.push((near.as_raw_fd(), filter));
        }
    }
    let file = tempfile();
    queue.add(&file, Filter::Write);
    queue.change(triggered(3)).unwrap();
    expected.push((file.as_raw_fd(), Filter::Write));
    expected.push((3, Filter::User));
    expected.sort();
    for room in [1, 2, 3, 5] {
        let mut seen = Vec::new();
        for _ in 0..24 {
            let events = queue.ready_within(room);
            assert!(!events.is_empty() && events.len() <= room);
            seen.extend(names(&events));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen, expected, "room for {room}");
    }
    assert_eq!(queue.ready().len(), expected.len());
}

#[test]
fn the_queue_is_readable_while_events_wait() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    queue.add(&near, Read);
    assert!(!queue.is_readable());
    far.write_all(b"rope").unwrap();
    assert!(queue.is_readable());
    assert_eq!(queue.ready().len(), 1);
    assert!(queue.is_readable(), "the state lasts");
    std::io::Read::read_exact(&mut &near, &mut [0; 4]).unwrap();
    assert!(!queue.is_readable());
    queue.change(triggered(3)).unwrap();
    assert!(queue.is_readable());
    assert_eq!(queue.ready().len(), 1);
    queue.change(change(3, Filter::User, DELETE)).unwrap();
    assert_eq!(queue.ready(), []);
    assert!(!queue.is_readable());
}

#[test]
fn a_queue_can_be_watched_by_another() {
    let mut inner = Queue::new();
    let (near, mut far) = socket_pair();
    inner.add(&near, Read);
    let mut outer = InProcessKqueue::new().unwrap();
    let fd = inner.kqueue.as_fd().unwrap().as_raw_fd();
    let mut events = [KernelEvent::default(); 4];
    let mut look = |changes: &[KernelEvent]| {
        let timeout = Some(Duration::ZERO);
        outer.kevent(changes, &mut events, timeout).unwrap()
    };
    assert_eq!(look(&[change(fd, Read, ADD)]), 0);
    far.write_all(b"rope").unwrap();
    assert_eq!(look(&[]), 1);
}

#[test]
fn a_child_does_not_inherit_it() {
    let mut queue = Queue::new();
    let mut events = [KernelEvent::default(); 1];
    // SAFETY: the child makes one call, which allocates nothing, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let result = queue.kqueue.kevent(&[], &mut events, Some(Duration::ZERO));
        let refused = result.is_err_and(|error| error.raw_os_error() == Some(libc::EBADF));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = -1;
    // SAFETY: the call writes one int.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(queue.ready(), []);
}

fn triggered(ident: i32) -> KernelEvent {
    KernelEvent {
        fflags: ropewalk_os::kqueue::note::TRIGGER,
        ..change(ident, Filter::User, ADD)
    }
}

/// A file without a name.
pub(super) fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("ropewalk-kqueue-{}", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file
}
