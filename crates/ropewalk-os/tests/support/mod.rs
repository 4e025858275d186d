//! A poller, and what cases say about it in few words.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ropewalk_os::{Events, Interest, Poller, PollerKind, Readiness, Registry, Token};
use ropewalk_testkit::socket_pair;

/// Long enough for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The poller of one run of a case.
pub(crate) struct Fixture {
    pub(crate) poller: Box<dyn Poller>,
    pub(crate) kind: PollerKind,
    events: Events,
}

impl Fixture {
    pub(crate) fn new(kind: PollerKind) -> Self {
        Self {
            poller: kind.new_poller().unwrap(),
            kind,
            events: Events::new(),
        }
    }

    pub(crate) fn try_register(
        &mut self,
        fd: RawFd,
        token: u32,
        interest: Interest,
    ) -> io::Result<()> {
        // SAFETY: a case keeps its descriptors open until they are deregistered, or plays the
        // breach the contract allows for.
        unsafe { self.poller.register(fd, Token::new(token, 0), interest) }
    }

    pub(crate) fn register(&mut self, fd: &impl AsRawFd, token: u32, interest: Interest) {
        self.try_register(fd.as_raw_fd(), token, interest).unwrap();
    }

    pub(crate) fn modify(&mut self, fd: &impl AsRawFd, token: u32, interest: Interest) {
        // SAFETY: as in `try_register`.
        unsafe {
            self.poller
                .modify(fd.as_raw_fd(), Token::new(token, 0), interest)
        }
        .unwrap();
    }

    pub(crate) fn deregister(&mut self, fd: &impl AsRawFd) {
        self.poller.deregister(fd.as_raw_fd()).unwrap();
    }

    pub(crate) fn apply<T>(&mut self, registry: &mut Registry<T>) {
        let mut failed = Vec::new();
        registry.apply(&mut *self.poller, &mut failed);
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// What one wait reports, sorted by slot.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Vec<(Token, Readiness)> {
        self.poller.wait(&mut self.events, timeout).unwrap();
        let mut events: Vec<_> = self
            .events
            .iter()
            .map(|event| (event.token, event.readiness))
            .collect();
        events.sort_by_key(|(token, _)| (token.slot(), token.generation()));
        events
    }

    /// What is reported now.
    pub(crate) fn now(&mut self) -> Vec<(u32, Readiness)> {
        let slots = |(token, readiness): (Token, _)| (token.slot(), readiness);
        self.wait(Some(Duration::ZERO))
            .into_iter()
            .map(slots)
            .collect()
    }

    /// Waits for an event of `token` that satisfies `wanted`.
    pub(crate) fn until(&mut self, token: u32, wanted: impl Fn(Readiness) -> bool) -> Readiness {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let events = self.wait(Some(left));
            let found = events
                .iter()
                .find(|(came, readiness)| came.slot() == token && wanted(*readiness));
            if let Some((_, readiness)) = found {
                return *readiness;
            }
            assert!(!left.is_zero(), "not reported: {events:?}");
        }
    }
}

/// A non-blocking pair: whatever a case expects of it is there at once.
pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = socket_pair();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Reads until nothing is left, and answers how much that was.
pub(crate) fn drain(stream: &mut impl Read) -> usize {
    let (mut buffer, mut total) = ([0; 65536], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return total,
            Ok(length) => total += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes until nothing more is taken, and answers how much that was.
pub(crate) fn fill(stream: &mut impl Write) -> usize {
    let (buffer, mut total) = ([7; 65536], 0);
    loop {
        match stream.write(&buffer) {
            Ok(length) => total += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Raises the process's soft limit of descriptors to `count` where it is lower.
pub(crate) fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        limit.current = Some(count);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}
