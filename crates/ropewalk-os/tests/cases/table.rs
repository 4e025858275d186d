//! The registry over a real poller.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ropewalk_os::{Events, Interest, Readiness, Registry, SourceFd, Token, Waker};

use crate::support::{Fixture, pair};

fn source(stream: UnixStream) -> SourceFd {
    OwnedFd::from(stream).into()
}

/// A readable source and its peer.
fn readable() -> (UnixStream, UnixStream) {
    let (near, mut far) = pair();
    far.write_all(b"x").unwrap();
    (near, far)
}

fn tokens(f: &mut Fixture) -> Vec<Token> {
    let events = f.wait(Some(std::time::Duration::ZERO));
    events.into_iter().map(|(token, _)| token).collect()
}

fn watch(f: &mut Fixture, registry: &mut Registry<()>, fd: SourceFd) -> Token {
    let token = registry.insert(fd, ());
    assert!(registry.set_interest(token, Interest::READABLE));
    f.apply(registry);
    token
}

pub(crate) fn a_regular_file_is_ready_while_it_wants_something(f: &mut Fixture) {
    let mut registry = Registry::new();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let token = watch(f, &mut registry, OwnedFd::from(file).into());
    let by_poller = f.poller.capabilities().watches_regular_files;
    assert_eq!(registry.has_always_ready(), !by_poller);
    for _ in 0..2 {
        let mut ready = tokens(f);
        let mut events = Events::new();
        registry.push_always_ready(&mut events);
        ready.extend(events.iter().map(|event| event.token));
        assert_eq!(ready, [token]);
    }
    registry.set_interest(token, Interest::NONE);
    f.apply(&mut registry);
    assert!(!registry.has_always_ready());
    assert_eq!(tokens(f), []);
}

pub(crate) fn an_event_of_a_removed_source_is_stale_although_its_number_is_used_again(
    f: &mut Fixture,
) {
    let mut registry = Registry::new();
    let (near, far) = readable();
    let number = near.as_raw_fd();
    let token = watch(f, &mut registry, source(near));
    let batch = tokens(f);
    assert_eq!(batch, [token]);
    drop(registry.remove(token, Some(&mut *f.poller)));
    drop(far);
    let (near, _far) = pair();
    assert_eq!(near.as_raw_fd(), number, "the lowest free number is used");
    let new = watch(f, &mut registry, source(near));
    assert!(registry.get(batch[0]).is_none() && registry.get(new).is_some());
    assert_eq!(tokens(f), []);
}

pub(crate) fn a_source_removed_during_the_batch_is_stale_in_the_rest_of_it(f: &mut Fixture) {
    let mut registry = Registry::new();
    let ((near_a, _far_a), (near_b, _far_b)) = (readable(), readable());
    let a = watch(f, &mut registry, source(near_a));
    let b = watch(f, &mut registry, source(near_b));
    let batch = tokens(f);
    assert_eq!(batch, [a, b]);
    assert!(registry.remove(b, Some(&mut *f.poller)).is_some());
    let alive: Vec<_> = batch
        .into_iter()
        .filter(|token| registry.get(*token).is_some())
        .collect();
    assert_eq!(alive, [a]);
    assert_eq!(tokens(f), [a]);
}

pub(crate) fn a_removal_left_to_the_next_turn_is_made_up(f: &mut Fixture) {
    let mut registry = Registry::new();
    let (near, _far) = readable();
    let token = watch(f, &mut registry, source(near));
    let (_kept_open, ()) = registry.remove(token, None).unwrap();
    // The poller may still report it; the table knows better.
    assert!(tokens(f).iter().all(|token| registry.get(*token).is_none()));
    f.apply(&mut registry);
    assert_eq!(tokens(f), []);
}

pub(crate) fn a_new_poller_reports_what_was_wanted(f: &mut Fixture) {
    let mut registry = Registry::new();
    let ((near_a, _far_a), (near_b, _far_b)) = (readable(), readable());
    let a = watch(f, &mut registry, source(near_a));
    let b = watch(f, &mut registry, source(near_b));
    registry.set_interest(b, Interest::NONE);
    f.poller = f.kind.new_poller().unwrap();
    registry.forget_registrations();
    assert_eq!(tokens(f), []);
    f.apply(&mut registry);
    assert_eq!(tokens(f), [a]);
}

/// Removed while the poller was in use, closed, its number used again: all before the next turn.
pub(crate) fn a_reused_number_is_watched_for_its_new_source(f: &mut Fixture) {
    let mut registry = Registry::new();
    let (near, far) = readable();
    let number = near.as_raw_fd();
    let old = watch(f, &mut registry, source(near));
    drop(registry.remove(old, None));
    drop(far);
    let (near, _far) = readable();
    assert_eq!(near.as_raw_fd(), number, "the lowest free number is used");
    let new = watch(f, &mut registry, source(near));
    assert_eq!(tokens(f), [new]);
    registry.set_interest(new, Interest::NONE);
    f.apply(&mut registry);
    assert_eq!(tokens(f), []);
}

/// What careless Python code does: close before removing.
pub(crate) fn a_lent_number_closed_and_used_again_is_its_new_owners(f: &mut Fixture) {
    let mut registry = Registry::new();
    let (near, far) = readable();
    let number = near.as_raw_fd();
    // SAFETY: the breach of the promise is what is tested; the number is used in system calls only.
    let lent = unsafe { BorrowedFd::<'static>::borrow_raw(number) };
    let former = watch(f, &mut registry, lent.into());
    drop((near, far));
    let (near, _far) = readable();
    assert_eq!(near.as_raw_fd(), number, "the lowest free number is used");
    let owner = watch(f, &mut registry, source(near));
    assert_eq!(tokens(f), [owner]);
    registry.remove(former, Some(&mut *f.poller)).unwrap();
    assert_eq!(tokens(f), [owner]);
    registry.remove(owner, Some(&mut *f.poller)).unwrap();
    assert_eq!(tokens(f), []);
}

pub(crate) fn a_registry_with_a_waker_reports_it_as_such(f: &mut Fixture) {
    let mut registry = Registry::<()>::new();
    let waker = Waker::new().unwrap();
    registry.watch_waker(&waker);
    f.apply(&mut registry);
    waker.wake();
    assert_eq!(f.wait(None), [(Token::WAKER, Readiness::READABLE)]);
    waker.drain();
    assert_eq!(tokens(f), []);
}
