//! Closed numbers, and numbers used again.

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use ropewalk_testkit::socket_pair;

use super::*;
use Filter::Read;

fn readable_pair() -> (UnixStream, UnixStream) {
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    (near, far)
}

/// Another descriptor for `fd`'s file, under a number that is free.
fn at_number(fd: &impl AsRawFd, number: RawFd) -> OwnedFd {
    // SAFETY: the call takes numbers.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) };
    assert_eq!(result, number);
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(result) }
}

#[test]
fn closing_removes_the_registrations() {
    let mut queue = Queue::new();
    let (near, _far) = readable_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Read);
    queue.add(&near, Filter::Write);
    assert_eq!(queue.ready().len(), 2);
    drop(near);
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.change(change(fd, Read, DELETE)), Err(libc::EBADF));
}

#[test]
fn a_number_used_again_has_nothing_of_the_old() {
    let mut queue = Queue::new();
    let (near, _far) = readable_pair();
    let (fresh, _fresh_far) = readable_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Read);
    drop(near);
    let reused = at_number(&fresh, fd);
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.change(change(fd, Read, DELETE)), Err(libc::ENOENT));
    queue.add(&reused, Filter::Write);
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
}

#[test]
fn closing_removes_the_registrations_although_a_duplicate_lives() {
    let mut queue = Queue::new();
    let (near, _far) = readable_pair();
    let (other, _other_far) = readable_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Read);
    queue.add(&other, Read);
    let duplicate = near.try_clone().unwrap();
    drop(near);
    assert_eq!(names(&queue.ready()), [(other.as_raw_fd(), Read)]);
    queue
        .change(change(other.as_raw_fd(), Read, DELETE))
        .unwrap();
    assert_eq!(queue.ready(), []);
    // Not even to those who watch the queue from outside.
    assert!(!queue.is_readable());
    assert_eq!(queue.change(change(fd, Read, DELETE)), Err(libc::EBADF));
    queue.add(&duplicate, Read);
    assert_eq!(names(&queue.ready()), [(duplicate.as_raw_fd(), Read)]);
}

#[test]
fn a_number_used_again_is_not_taken_for_a_duplicate() {
    let mut queue = Queue::new();
    let (near, _far) = readable_pair();
    let (fresh, mut fresh_far) = socket_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Read);
    let duplicate = near.try_clone().unwrap();
    drop(near);
    let reused = at_number(&fresh, fd);
    let news = KernelEvent {
        udata: 8,
        ..change(fd, Read, ADD)
    };
    queue.change(news).unwrap();
    // The duplicate is readable, and nobody asked about it.
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.ready(), []);
    assert!(!queue.is_readable());
    fresh_far.write_all(b"rope").unwrap();
    let events = queue.ready();
    assert_eq!((events.len(), events[0].udata), (1, 8));
    drop((duplicate, reused));
    assert_eq!(queue.ready(), []);
}

#[test]
fn other_registrations_outlive_a_clean_up() {
    let mut queue = Queue::new();
    let user = change(5, Filter::User, ADD | EventFlags::CLEAR);
    queue.change(user).unwrap();
    let (news, mut news_far) = socket_pair();
    let clear = change(news.as_raw_fd(), Read, ADD | EventFlags::CLEAR);
    queue.change(clear).unwrap();
    let (near, _far) = readable_pair();
    queue.add(&near, Read);
    let duplicate = near.try_clone().unwrap();
    drop(near);
    assert_eq!(queue.ready(), []);
    news_far.write_all(b"rope").unwrap();
    assert_eq!(names(&queue.ready()), [(news.as_raw_fd(), Read)]);
    assert_eq!(queue.ready(), [], "once");
    let trigger = KernelEvent {
        fflags: ropewalk_os::kqueue::note::TRIGGER,
        ..change(5, Filter::User, EventFlags::NONE)
    };
    queue.change(trigger).unwrap();
    assert_eq!(names(&queue.ready()), [(5, Filter::User)]);
    drop(duplicate);
}

#[test]
fn many_closed_numbers_with_duplicates_are_cleaned_up() {
    let mut queue = Queue::new();
    let duplicates: Vec<_> = (0..40)
        .map(|_| {
            let (near, far) = readable_pair();
            queue.add(&near, Read);
            (near.try_clone().unwrap(), far)
        })
        .collect();
    let (near, _far) = readable_pair();
    queue.add(&near, Read);
    let mut seen = Vec::new();
    // Each look cleans up what it met, and the small list must not keep it from getting on.
    for _ in 0..45 {
        seen.extend(names(&queue.ready_within(1)));
    }
    assert!(seen.contains(&(near.as_raw_fd(), Read)));
    assert!(seen.iter().all(|(fd, _)| *fd == near.as_raw_fd()));
    drop(duplicates);
}
