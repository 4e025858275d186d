//! What the registry asks of a poller, call by call, with one that only takes notes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use ropewalk_os::{
    Capabilities, Events, Interest, Poller, PollerKind, Readiness, Registry, SourceFd, Token, Waker,
};
use ropewalk_testkit::socket_pair;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Register(RawFd, Token, Interest),
    Modify(RawFd, Token, Interest),
    Deregister(RawFd),
}
use Call::{Deregister, Modify, Register};

/// Notes the calls, and answers the next ones with the errors of `answers`.
#[derive(Default)]
struct Recorder {
    calls: Vec<Call>,
    answers: Vec<i32>,
}

impl Recorder {
    fn note(&mut self, call: Call) -> io::Result<()> {
        self.calls.push(call);
        match self.answers.pop() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    fn apply<T>(&mut self, registry: &mut Registry<T>) -> Vec<Call> {
        let mut failed = Vec::new();
        registry.apply(self, &mut failed);
        assert!(failed.is_empty(), "{failed:?}");
        std::mem::take(&mut self.calls)
    }
}

impl Poller for Recorder {
    fn kind(&self) -> PollerKind {
        PollerKind::Select
    }
    fn capabilities(&self) -> Capabilities {
        unreachable!("the registry does not choose by capabilities")
    }
    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.note(Register(fd, token, interest))
    }
    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.note(Modify(fd, token, interest))
    }
    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.note(Deregister(fd))
    }
    fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
        unreachable!("the registry does not wait")
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn descriptor() -> OwnedFd {
    socket_pair().0.into()
}

/// A registry with one source that wants to read and a poller that knows it.
fn watched() -> (Registry<()>, Recorder, Token, RawFd) {
    let (mut registry, mut poller, fd) = (Registry::new(), Recorder::default(), descriptor());
    let number = fd.as_raw_fd();
    let token = registry.insert(fd.into(), ());
    assert!(registry.set_interest(token, Interest::READABLE));
    assert_eq!(
        poller.apply(&mut registry),
        [Register(number, token, Interest::READABLE)]
    );
    (registry, poller, token, number)
}

#[test]
fn a_source_reaches_the_poller_with_its_first_interest() {
    let (mut registry, mut poller, fd) = (Registry::new(), Recorder::default(), descriptor());
    let number = fd.as_raw_fd();
    let token = registry.insert(fd.into(), "payload");
    assert_eq!(poller.apply(&mut registry), []);
    registry.set_interest(token, Interest::BOTH);
    assert_eq!(registry.interest(token), Some(Interest::BOTH));
    assert_eq!(
        poller.apply(&mut registry),
        [Register(number, token, Interest::BOTH)]
    );
    assert_eq!(poller.apply(&mut registry), []);
}

#[test]
fn only_the_difference_of_a_turn_is_told() {
    let (mut registry, mut poller, token, number) = watched();
    registry.set_interest(token, Interest::BOTH);
    registry.set_interest(token, Interest::NONE);
    registry.set_interest(token, Interest::READABLE);
    assert_eq!(poller.apply(&mut registry), []);
    registry.set_interest(token, Interest::NONE);
    registry.set_interest(token, Interest::WRITABLE);
    assert_eq!(
        poller.apply(&mut registry),
        [Modify(number, token, Interest::WRITABLE)]
    );
}

#[test]
fn a_source_that_wants_nothing_leaves_the_poller_and_stays_in_the_table() {
    let (mut registry, mut poller, token, number) = watched();
    registry.set_interest(token, Interest::NONE);
    assert_eq!(poller.apply(&mut registry), [Deregister(number)]);
    assert!(registry.get(token).is_some());
    registry.set_interest(token, Interest::READABLE);
    assert_eq!(
        poller.apply(&mut registry),
        [Register(number, token, Interest::READABLE)]
    );
}

#[test]
fn a_removed_source_is_deregistered_before_its_descriptor_is_back() {
    let (mut registry, mut poller, token, number) = watched();
    let (fd, ()) = registry.remove(token, Some(&mut poller)).unwrap();
    assert_eq!(poller.calls, [Deregister(number)]);
    assert_eq!(fd.as_raw_fd(), number);
    assert!(registry.is_empty() && registry.remove(token, None).is_none());
}

#[test]
fn a_source_that_wanted_nothing_is_removed_without_a_call() {
    let (mut registry, mut poller) = (Registry::new(), Recorder::default());
    let token = registry.insert(descriptor().into(), ());
    registry.set_interest(token, Interest::READABLE);
    assert!(registry.remove(token, Some(&mut poller)).is_some());
    assert_eq!(poller.apply(&mut registry), []);
}

#[test]
fn a_removal_without_a_poller_is_made_up_before_any_registration() {
    let (mut registry, mut poller, token, number) = watched();
    let (fd, ()) = registry.remove(token, None).unwrap();
    let again = registry.insert(fd, ());
    registry.set_interest(again, Interest::WRITABLE);
    assert_eq!(
        poller.apply(&mut registry),
        [
            Deregister(number),
            Register(number, again, Interest::WRITABLE)
        ]
    );
    assert_eq!(poller.apply(&mut registry), []);
}

#[test]
fn a_stale_token_reaches_nothing_in_its_reused_slot() {
    let (mut registry, mut poller, token, _) = watched();
    registry.remove(token, Some(&mut poller)).unwrap();
    let new = registry.insert(descriptor().into(), ());
    assert_eq!(new.slot(), token.slot());
    assert_ne!(new, token);
    assert!(!registry.set_interest(token, Interest::BOTH));
    assert!(registry.get(token).is_none() && registry.get_mut(token).is_none());
    assert!(registry.fd(token).is_none() && registry.interest(token).is_none());
    assert!(registry.remove(token, Some(&mut poller)).is_none());
    assert_eq!(registry.interest(new), Some(Interest::NONE));
}

#[test]
fn a_reused_slot_inherits_no_wish() {
    let (mut registry, mut poller, token, _) = watched();
    registry.set_interest(token, Interest::BOTH);
    registry.remove(token, Some(&mut poller)).unwrap();
    poller.calls.clear();
    let new = registry.insert(descriptor().into(), ());
    assert_eq!(poller.apply(&mut registry), []);
    registry.set_interest(new, Interest::READABLE);
    assert_eq!(poller.apply(&mut registry).len(), 1);
}

#[test]
fn a_registration_the_poller_knows_already_is_modified() {
    let (mut registry, mut poller, fd) = (Registry::new(), Recorder::default(), descriptor());
    let number = fd.as_raw_fd();
    let token = registry.insert(fd.into(), ());
    registry.set_interest(token, Interest::READABLE);
    poller.answers = vec![libc::EEXIST];
    assert_eq!(
        poller.apply(&mut registry),
        [
            Register(number, token, Interest::READABLE),
            Modify(number, token, Interest::READABLE)
        ]
    );
}

#[test]
fn a_modification_of_what_the_poller_forgot_is_registered() {
    let (mut registry, mut poller, token, number) = watched();
    registry.set_interest(token, Interest::BOTH);
    poller.answers = vec![libc::ENOENT];
    assert_eq!(
        poller.apply(&mut registry),
        [
            Modify(number, token, Interest::BOTH),
            Register(number, token, Interest::BOTH)
        ]
    );
}

#[test]
fn a_refused_source_is_told_once_and_wants_nothing_then() {
    let (mut registry, mut poller, fd) = (Registry::new(), Recorder::default(), descriptor());
    let good = registry.insert(descriptor().into(), ());
    let bad = registry.insert(fd.into(), ());
    registry.set_interest(good, Interest::READABLE);
    registry.set_interest(bad, Interest::READABLE);
    poller.answers = vec![libc::ENOSPC];
    let mut failed = Vec::new();
    registry.apply(&mut poller, &mut failed);
    let [(token, error)] = &failed[..] else {
        panic!("{failed:?}")
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(registry.interest(*token), Some(Interest::NONE));
    assert_eq!(poller.calls.len(), 2, "the other is registered");
    poller.calls.clear();
    assert_eq!(poller.apply(&mut registry), []);
    // It may try again.
    registry.set_interest(*token, Interest::READABLE);
    assert_eq!(poller.apply(&mut registry).len(), 1);
}

#[test]
fn a_descriptor_that_never_blocks_is_ready_while_it_wants_something() {
    let (mut registry, mut poller) = (Registry::new(), Recorder::default());
    let token = registry.insert(descriptor().into(), ());
    registry.set_interest(token, Interest::READABLE);
    poller.answers = vec![libc::EPERM];
    assert_eq!(poller.apply(&mut registry).len(), 1);
    assert!(registry.has_always_ready());
    let mut events = Events::new();
    registry.push_always_ready(&mut events);
    assert_eq!(events.len(), 1);
    assert_eq!(events.as_slice()[0].token, token);
    assert_eq!(events.as_slice()[0].readiness, Readiness::READABLE);

    registry.set_interest(token, Interest::BOTH);
    assert_eq!(poller.apply(&mut registry), []);
    events.clear();
    registry.push_always_ready(&mut events);
    assert_eq!(events.len(), 1);
    assert_eq!(
        events.as_slice()[0].readiness,
        Readiness::READABLE | Readiness::WRITABLE
    );

    registry.set_interest(token, Interest::NONE);
    assert_eq!(poller.apply(&mut registry), []);
    assert!(!registry.has_always_ready());
    registry.set_interest(token, Interest::WRITABLE);
    assert_eq!(poller.apply(&mut registry), []);
    assert!(registry.has_always_ready());
    assert!(registry.remove(token, Some(&mut poller)).is_some());
    assert!(!registry.has_always_ready() && poller.calls.is_empty());
}

/// What was read from a file would be lost if the file's end came before it is written.
#[test]
fn of_those_that_never_block_the_writers_come_first() {
    let (mut registry, mut poller) = (Registry::new(), Recorder::default());
    let wishes = [Interest::WRITABLE, Interest::BOTH, Interest::WRITABLE];
    let tokens = wishes.map(|wish| {
        let token = registry.insert(descriptor().into(), ());
        registry.set_interest(token, wish);
        token
    });
    poller.answers = vec![libc::EPERM; 3];
    poller.apply(&mut registry);
    let mut events = Events::new();
    registry.push_always_ready(&mut events);
    let order: Vec<_> = events.iter().map(|event| event.token).collect();
    assert_eq!((order.len(), order[2]), (3, tokens[1]));
}

/// A callback of the same turn may withdraw the wish before the events are made.
#[test]
fn a_withdrawn_wish_makes_no_event() {
    let (mut registry, mut poller) = (Registry::new(), Recorder::default());
    let token = registry.insert(descriptor().into(), ());
    registry.set_interest(token, Interest::READABLE);
    poller.answers = vec![libc::EPERM];
    poller.apply(&mut registry);
    registry.set_interest(token, Interest::NONE);
    let mut events = Events::new();
    registry.push_always_ready(&mut events);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn a_new_poller_is_told_everything_that_is_wanted() {
    let (mut registry, mut poller, token, number) = watched();
    let silent = registry.insert(descriptor().into(), ());
    let file = registry.insert(descriptor().into(), ());
    registry.set_interest(file, Interest::READABLE);
    poller.answers = vec![libc::EPERM];
    poller.apply(&mut registry);
    registry.forget_registrations();
    assert!(!registry.has_always_ready());
    let calls = poller.apply(&mut registry);
    assert!(calls.contains(&Register(number, token, Interest::READABLE)));
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(registry.interest(silent), Some(Interest::NONE));
}

#[test]
fn a_number_used_again_is_not_deregistered_by_its_former_source() {
    let fd = descriptor();
    let number = fd.as_raw_fd();
    // SAFETY: the number stays open throughout: only the breach is played.
    let lent = || SourceFd::Borrowed(unsafe { BorrowedFd::borrow_raw(number) });
    let (mut registry, mut poller) = (Registry::new(), Recorder::default());
    let (former, latter) = (registry.insert(lent(), ()), registry.insert(lent(), ()));
    registry.set_interest(former, Interest::READABLE);
    poller.apply(&mut registry);
    registry.set_interest(latter, Interest::WRITABLE);
    assert_eq!(
        poller.apply(&mut registry),
        [Register(number, latter, Interest::WRITABLE)]
    );
    registry.set_interest(former, Interest::NONE);
    assert_eq!(poller.apply(&mut registry), []);
    registry.remove(former, Some(&mut poller)).unwrap();
    assert_eq!(poller.calls, []);
    registry.remove(latter, Some(&mut poller)).unwrap();
    assert_eq!(poller.calls, [Deregister(number)]);
}

#[test]
fn the_waker_is_watched_from_the_next_apply_on_and_by_every_new_poller() {
    let (mut registry, mut poller) = (Registry::<()>::new(), Recorder::default());
    let waker = Waker::new().unwrap();
    registry.watch_waker(&waker);
    let number = waker.read_fd().as_raw_fd();
    let expected = [Register(number, Token::WAKER, Interest::READABLE)];
    assert_eq!(poller.apply(&mut registry), expected);
    assert_eq!(poller.apply(&mut registry), []);
    registry.forget_registrations();
    assert_eq!(poller.apply(&mut registry), expected);
    assert!(registry.is_empty(), "the waker is no source");
}

#[test]
fn the_table_lists_what_lives() {
    let mut registry = Registry::new();
    let tokens = ["a", "b", "c"].map(|name| registry.insert(descriptor().into(), name));
    registry.remove(tokens[1], None).unwrap();
    *registry.get_mut(tokens[2]).unwrap() = "d";
    let listed: Vec<_> = registry
        .iter()
        .map(|(token, name)| (token, *name))
        .collect();
    assert_eq!(listed, [(tokens[0], "a"), (tokens[2], "d")]);
    assert_eq!(registry.len(), 2);
}
