//! The registry over a real poller: no interest, stale tokens, files, rebuilt pollers.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use ropewalk_os::{Event, Interest, Readiness, SourceFd, Token, Waker, socket};
use ropewalk_testkit::{socket_pair, tcp_pair};

use super::readable_pair;
use crate::fixture::{Fixture, at_number, lend, pipe};

const TOKEN: Token = Token::new(1, 1);

pub(crate) fn a_source_without_interest_gets_no_event_after_a_reset(fixture: &mut Fixture) {
    let (near, mut far) = tcp_pair();
    let token = fixture.add(OwnedFd::from(near), 1, Interest::READABLE);
    far.write_all(b"rope").unwrap();
    fixture.turn_until(token);
    fixture.registry.set_interest(token, Interest::NONE);
    assert_eq!(fixture.turn(Duration::ZERO), []);
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    assert_eq!(fixture.turn(Duration::from_millis(20)), []);
    // It was there all the time.
    fixture.registry.set_interest(token, Interest::READABLE);
    let end = fixture.end(Readiness::ERROR, Readiness::READABLE);
    assert!(fixture.turn_until(token).contains(end));
}

pub(crate) fn a_source_without_interest_gets_no_event_after_a_hang_up(fixture: &mut Fixture) {
    let (read, write) = pipe();
    let token = fixture.add(OwnedFd::from(read), 1, Interest::NONE);
    drop(write);
    assert_eq!(fixture.turn(Duration::from_millis(2)), []);
    fixture.registry.set_interest(token, Interest::READABLE);
    let end = fixture.end(Readiness::HANGUP, Readiness::READABLE);
    assert!(fixture.turn_until(token).contains(end));
}

pub(crate) fn a_source_removed_during_the_batch_is_unknown(fixture: &mut Fixture) {
    let ((one, _far_one), (two, _far_two)) = (readable_pair(), readable_pair());
    fixture.add(OwnedFd::from(one), 1, Interest::READABLE);
    fixture.add(OwnedFd::from(two), 2, Interest::READABLE);
    let batch = fixture.turn(Duration::ZERO);
    assert_eq!(batch.len(), 2);
    // The first to be handled removes the other.
    let (first, second) = (batch[0].token, batch[1].token);
    drop(fixture.remove(second));
    assert_eq!(fixture.registry.get(second), None);
    assert!(!fixture.registry.set_interest(second, Interest::BOTH));
    let next = fixture.turn(Duration::ZERO);
    assert_eq!((next.len(), next[0].token), (1, first));
}

pub(crate) fn a_number_used_again_in_a_batch_is_not_mistaken(fixture: &mut Fixture) {
    let ((one, _far_one), (two, _far_two)) = (readable_pair(), readable_pair());
    fixture.add(OwnedFd::from(one), 1, Interest::READABLE);
    fixture.add(OwnedFd::from(two), 2, Interest::READABLE);
    let batch = fixture.turn(Duration::ZERO);
    assert_eq!(batch.len(), 2);
    let stale = batch[1].token;
    let (fresh, mut fresh_far) = socket_pair();
    let removed = fixture.remove(stale);
    let number = removed.as_raw_fd();
    drop(removed);
    let reused = at_number(&fresh, number);
    let successor = fixture.add(reused, 3, Interest::READABLE);
    // The same slot and the same number: only the generation tells them apart.
    assert_eq!(successor.slot(), stale.slot());
    assert_eq!(fixture.registry.get(stale), None);
    assert_eq!(fixture.registry.get(successor), Some(&3));
    let next = fixture.turn(Duration::ZERO);
    assert!(next.iter().all(|event| event.token == batch[0].token));
    fresh_far.write_all(b"rope").unwrap();
    let events = fixture.turn(Duration::ZERO);
    assert!(events.iter().any(|event| event.token == successor));
    assert!(events.iter().all(|event| event.token != stale));
}

pub(crate) fn a_number_used_again_behind_our_back_reaches_its_new_source(fixture: &mut Fixture) {
    let (old, _old_far) = socket_pair();
    let (new, mut new_far) = socket_pair();
    let number = old.as_raw_fd();
    let old_token = fixture.add(lend(&old), 1, Interest::READABLE);
    assert_eq!(fixture.turn(Duration::ZERO), []);
    drop(old);
    let reused = at_number(&new, number);
    let new_token = fixture.add(reused, 2, Interest::READABLE);
    new_far.write_all(b"rope").unwrap();
    assert_eq!(fixture.turn_until(new_token), Readiness::READABLE);
    // The old source must not take the new one's watch with it.
    fixture.remove(old_token);
    assert_eq!(fixture.turn_until(new_token), Readiness::READABLE);
}

pub(crate) fn a_regular_file_is_always_ready(fixture: &mut Fixture) {
    let token = fixture.add(OwnedFd::from(regular_file()), 1, Interest::READABLE);
    for _ in 0..3 {
        assert_eq!(fixture.turn_until(token), Readiness::READABLE);
    }
    fixture.registry.set_interest(token, Interest::BOTH);
    let both = Readiness::READABLE | Readiness::WRITABLE;
    assert_eq!(fixture.turn_until(token), both);
    drop(fixture.remove(token));
    assert!(!fixture.registry.has_always_ready());
    assert_eq!(fixture.turn(Duration::ZERO), []);
}

pub(crate) fn a_regular_file_without_interest_is_silent(fixture: &mut Fixture) {
    let token = fixture.add(OwnedFd::from(regular_file()), 1, Interest::READABLE);
    fixture.turn_until(token);
    fixture.registry.set_interest(token, Interest::NONE);
    assert_eq!(fixture.turn(Duration::from_millis(2)), []);
    assert!(
        !fixture.registry.has_always_ready(),
        "the loop would not sleep"
    );
    fixture.registry.set_interest(token, Interest::WRITABLE);
    assert_eq!(fixture.turn_until(token), Readiness::WRITABLE);
}

pub(crate) fn everything_is_registered_again_with_a_new_poller(fixture: &mut Fixture) {
    let waker = Waker::new().unwrap();
    fixture.registry.watch_waker(&waker);
    let (near, _far) = readable_pair();
    let (idle, _idle_far) = readable_pair();
    let token = fixture.add(OwnedFd::from(near), 1, Interest::READABLE);
    let file = fixture.add(OwnedFd::from(regular_file()), 2, Interest::READABLE);
    fixture.add(OwnedFd::from(idle), 3, Interest::NONE);
    fixture.turn_until(token);
    fixture.poller = fixture.subject.poller();
    fixture.registry.forget_registrations();
    waker.wake();
    let mut tokens: Vec<_> = fixture
        .turn(Duration::ZERO)
        .iter()
        .map(|e| e.token)
        .collect();
    tokens.sort_by_key(|token| token.slot());
    assert_eq!(tokens, [token, file, Token::WAKER]);
}

pub(crate) fn a_deferred_removal_is_done_by_the_next_apply(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let token = fixture.add(OwnedFd::from(near), 1, Interest::READABLE);
    fixture.turn_until(token);
    let (fd, name) = fixture.registry.remove(token, None).unwrap();
    assert_eq!(name, 1);
    // The wait in progress may still report it, as a token that is stale by now.
    assert!(fixture.registry.get(token).is_none());
    assert_eq!(fixture.turn(Duration::ZERO), []);
    drop(fd);
}

pub(crate) fn a_deferred_removal_comes_before_new_registrations(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let (fresh, _fresh_far) = readable_pair();
    let token = fixture.add(OwnedFd::from(near), 1, Interest::READABLE);
    fixture.turn_until(token);
    let (fd, _) = fixture.registry.remove(token, None).unwrap();
    let number = fd.as_raw_fd();
    drop(fd);
    let successor = fixture.add(at_number(&fresh, number), 2, Interest::READABLE);
    for _ in 0..3 {
        let events = fixture.turn(Duration::ZERO);
        assert_eq!((events.len(), events[0].token), (1, successor));
    }
}

pub(crate) fn a_refused_source_is_told_and_can_try_again(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let (fresh, _fresh_far) = readable_pair();
    let number = near.as_raw_fd();
    let source = SourceFd::from(lend(&near));
    drop(near);
    let token = fixture.add(source, 1, Interest::READABLE);
    let failed = fixture.apply();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, token);
    assert_eq!(failed[0].1.raw_os_error(), Some(libc::EBADF));
    assert_eq!(fixture.registry.interest(token), Some(Interest::NONE));
    assert!(fixture.apply().is_empty(), "told once");
    let _again = at_number(&fresh, number);
    fixture.registry.set_interest(token, Interest::READABLE);
    assert_eq!(fixture.turn_until(token), Readiness::READABLE);
}

pub(crate) fn a_regular_file_is_ready_or_refused_by_the_poller_itself(fixture: &mut Fixture) {
    let file = regular_file();
    let watched = fixture.watch(file.as_raw_fd(), TOKEN, Interest::BOTH);
    let watches = fixture.poller.capabilities().watches_regular_files;
    assert_eq!(watched.is_ok(), watches);
    match watched {
        Ok(()) => {
            for _ in 0..3 {
                let events = fixture.wait_for_some();
                let both = Readiness::READABLE | Readiness::WRITABLE;
                assert_eq!((events.len(), events[0].readiness), (1, both));
            }
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            assert_eq!(fixture.wait(Duration::ZERO), []);
        }
    }
}

pub(crate) fn a_file_that_is_always_ready_does_not_hide_the_others(fixture: &mut Fixture) {
    let file = fixture.add(OwnedFd::from(regular_file()), 1, Interest::BOTH);
    let (near, mut far) = socket_pair();
    let socket = fixture.add(OwnedFd::from(near), 2, Interest::READABLE);
    let tokens = |events: Vec<Event>| {
        let mut tokens: Vec<_> = events.iter().map(|event| event.token).collect();
        tokens.sort_by_key(|token| token.slot());
        tokens
    };
    assert_eq!(tokens(fixture.turn(Duration::ZERO)), [file]);
    far.write_all(b"rope").unwrap();
    assert_eq!(tokens(fixture.turn(Duration::ZERO)), [file, socket]);
    fixture.registry.set_interest(file, Interest::NONE);
    assert_eq!(tokens(fixture.turn(Duration::ZERO)), [socket]);
}

/// epoll refuses some devices as it refuses files.
pub(crate) fn a_device_that_cannot_be_watched_is_always_ready(fixture: &mut Fixture) {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let token = fixture.add(OwnedFd::from(null), 1, Interest::BOTH);
    let both = Readiness::READABLE | Readiness::WRITABLE;
    for _ in 0..3 {
        assert_eq!(fixture.turn_until(token), both);
    }
    fixture.registry.set_interest(token, Interest::NONE);
    assert_eq!(fixture.turn(Duration::from_millis(2)), []);
    drop(fixture.remove(token));
    assert_eq!(fixture.turn(Duration::ZERO), []);
}

/// A file that epoll refuses. It has no name by the time it is returned.
fn regular_file() -> File {
    let path = std::env::temp_dir().join(format!("ropewalk-os-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file
}
