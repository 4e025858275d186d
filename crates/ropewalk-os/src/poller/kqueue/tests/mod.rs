//! The poller over a scripted kernel queue: what it asks for, and what it makes of the answers.

mod asking;
mod faults;
mod reports;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{EventFlags, Filter, KernelEvent, Kqueue, KqueuePoller, note};
use crate::{Event, Events, Interest, Poller, Readiness, Token};

const TOKEN: Token = Token::new(5, 2);
const OTHER: Token = Token::new(6, 1);

/// What the kernel queue does at one call.
enum Answer {
    /// Makes the changes and has these events.
    Events(Vec<KernelEvent>),
    /// Refuses the changes at these places, with these errors.
    Refuses(Vec<(usize, i32)>),
    /// Fails.
    Fails(i32),
}

/// One call as it was made.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    changes: Vec<KernelEvent>,
    room: usize,
    timeout: Option<Duration>,
}

/// What is still to come, and what was. After the script nothing ever happens.
#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    calls: Vec<Call>,
}

struct Scripted(Arc<Mutex<Script>>);

impl Kqueue for Scripted {
    fn kevent(
        &mut self,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut script = self.0.lock().unwrap();
        script.calls.push(Call {
            changes: changes.to_vec(),
            room: events.len(),
            timeout,
        });
        let answers = match script.answers.pop_front() {
            Some(Answer::Events(answers)) => answers,
            Some(Answer::Fails(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Some(Answer::Refuses(refusals)) => refusals
                .into_iter()
                .map(|(place, errno)| refusal(changes[place], errno))
                .collect(),
            None => Vec::new(),
        };
        assert!(answers.len() <= events.len(), "later changes are lost");
        events[..answers.len()].copy_from_slice(&answers);
        Ok(answers.len())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// As `EV_ERROR` replaces the flags of the change.
fn refusal(change: KernelEvent, errno: i32) -> KernelEvent {
    KernelEvent {
        flags: EventFlags::ERROR,
        data: errno.into(),
        ..change
    }
}

/// A poller on a script, and two sockets to watch.
struct Test {
    poller: KqueuePoller<Scripted>,
    script: Arc<Mutex<Script>>,
    ends: (UnixStream, UnixStream),
    events: Events,
}

impl Test {
    fn new() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        Self {
            poller: KqueuePoller::new(Scripted(Arc::clone(&script))),
            script,
            ends: UnixStream::pair().unwrap(),
            events: Events::new(),
        }
    }

    /// A poller that watches the first socket, as the system knows.
    fn watching(interest: Interest) -> Self {
        let mut test = Self::new();
        test.register(test.fd(), TOKEN, interest).unwrap();
        test.wait();
        test.calls();
        test
    }

    fn fd(&self) -> RawFd {
        self.ends.0.as_raw_fd()
    }

    fn other_fd(&self) -> RawFd {
        self.ends.1.as_raw_fd()
    }

    fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        // SAFETY: nothing is read or written by the number; the sockets outlive the poller.
        unsafe { self.poller.register(fd, token, interest) }
    }

    fn modify(&mut self, interest: Interest) {
        self.modify_as(TOKEN, interest);
    }

    fn modify_as(&mut self, token: Token, interest: Interest) {
        // SAFETY: as in `register`.
        unsafe { self.poller.modify(self.fd(), token, interest).unwrap() };
    }

    fn answer(&self, answer: Answer) {
        self.script.lock().unwrap().answers.push_back(answer);
    }

    /// One wait of a second.
    fn wait(&mut self) -> Vec<Event> {
        let timeout = Some(Duration::from_secs(1));
        self.poller.wait(&mut self.events, timeout).unwrap();
        self.events.as_slice().to_vec()
    }

    /// The calls since the last look.
    fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.script.lock().unwrap().calls)
    }

    /// The changes of one wait, which makes one call, as number, filter and flags.
    fn changes_of_a_wait(&mut self) -> Vec<(RawFd, Filter, EventFlags)> {
        self.wait();
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].changes.iter().map(named).collect()
    }
}

fn named(change: &KernelEvent) -> (RawFd, Filter, EventFlags) {
    let fd = RawFd::try_from(change.ident).unwrap();
    (fd, change.filter, change.flags)
}

fn event(fd: RawFd, filter: Filter, token: Token) -> KernelEvent {
    KernelEvent {
        ident: usize::try_from(fd).unwrap(),
        filter,
        flags: EventFlags::ADD,
        // A pointer, which has room for half a token on some systems.
        udata: token.to_u64() as usize as u64,
        ..KernelEvent::default()
    }
}

fn eof(event: KernelEvent, errno: i32) -> KernelEvent {
    KernelEvent {
        flags: event.flags | EventFlags::EOF,
        fflags: errno.unsigned_abs(),
        ..event
    }
}

fn report(token: Token, readiness: Readiness) -> Event {
    Event { token, readiness }
}
