//! `select(2)`.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::fd_sets::FdSets;
use super::timeout::wait_in_steps;
use super::{Capabilities, POLLER_VARIABLE, Poller, PollerKind};
use crate::{Event, Events, Interest, Readiness, Token};

/// A poller over `select`: the sets are here, and a copy of them is handed to the system at each
/// wait.
///
/// A wait costs the system and us time by the *highest* descriptor watched, a word of 32 or 64 at a
/// time, and the system more for each descriptor watched. Reports come in the order of descriptor
/// numbers, after those of closed descriptors. Hang-ups and errors show as readability and
/// writability only.
pub(super) struct Select {
    /// What is asked of each descriptor, for the system.
    asked: FdSets,
    /// Where the system finds a copy of `asked` and leaves its answer.
    answer: FdSets,
    /// What is watched, by descriptor number. Who has no interest is only here.
    watched: Vec<Option<Token>>,
    /// How many descriptors, from 0 on, the system takes; `None`: as many as there are.
    limit: Option<usize>,
}

/// How many descriptors the system takes in a set.
///
/// The sets are on the heap and as long as they need to be, so that `FD_SETSIZE`, the size of the
/// C type, is no limit by itself:
///
/// - Linux: the kernel has no limit but that of open descriptors
///   ([select(2)](https://man7.org/linux/man-pages/man2/select.2.html)).
/// - The BSDs: neither. A program may define a larger `FD_SETSIZE`
///   ([FreeBSD](https://man.freebsd.org/cgi/man.cgi?query=select),
///   [NetBSD](https://man.netbsd.org/select.2)) or allocate its sets, as
///   [OpenBSD](https://man.openbsd.org/select.2) shows.
/// - macOS: `EINVAL` beyond `FD_SETSIZE`, unless the call is the one that
///   `_DARWIN_UNLIMITED_SELECT` stands for ([select(2)](https://leancrew.com/all-this/man/man2/select.html)
///   under "ERRORS"), and it is.
/// - Elsewhere we know of no such promise, and keep to `FD_SETSIZE`.
const LIMIT: Option<usize> = if cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
)) {
    None
} else {
    Some(libc::FD_SETSIZE)
};

/// The longest wait that every system accepts: 4.4BSD's `itimerfix` has this limit, and macOS kept
/// it. Beyond it the call fails with `EINVAL`.
const LONGEST: Duration = Duration::from_secs(100_000_000);

/// How often all descriptors may be found open after the system said that one is closed: other
/// threads can bring this about by opening and closing, but hardly so often in a row.
const FRUITLESS: u32 = 16;

impl Select {
    pub(super) const fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    const fn with_limit(limit: Option<usize>) -> Self {
        Self {
            asked: FdSets::new(),
            answer: FdSets::new(),
            watched: Vec::new(),
            limit,
        }
    }

    /// One call about what is asked; answers how often descriptors are in the sets it left in
    /// `answer`.
    fn call(&mut self, asked: &FdSets, timeout: Option<Duration>) -> io::Result<usize> {
        self.answer.copy_from(asked);
        let room = self.answer.room().min(self.limit.unwrap_or(usize::MAX));
        let count = i32::try_from(room).unwrap_or(i32::MAX);
        let mut timeout = timeout.map(microseconds);
        // Linux writes the time left into it.
        let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let [read, write] = self.answer.as_mut_ptrs();
        let except = ptr::null_mut();
        // SAFETY: both sets have room for `count` descriptors and do not move during the call, which
        // needs no more, and the timeout, if any, lives through it.
        let ready = unsafe { select(count, read.cast(), write.cast(), except, timeout) };
        usize::try_from(ready).map_err(|_| io::Error::last_os_error())
    }

    /// Reports the closed descriptors as such, and what the others are ready for now: the system
    /// refuses all of them for one that is closed, and does not say which.
    fn look_beside_closed(&mut self, events: &mut Events) -> io::Result<()> {
        let mut open = self.asked.clone();
        let mut fruitless = 0;
        loop {
            let closed = open.iter().map(|(fd, _)| fd).filter(|fd| !is_open(*fd));
            let closed: Vec<_> = closed.collect();
            for fd in &closed {
                open.put(*fd, Interest::NONE);
                self.report(*fd, Readiness::INVALID, events);
            }
            match self.call(&open, Some(Duration::ZERO)) {
                Ok(_) => break,
                // Another thread closed one in between, or used the number again.
                Err(error) if tells_of_closed(&error) && fruitless < FRUITLESS => {
                    fruitless += u32::from(closed.is_empty());
                }
                // A signal, which Linux tells of here too, and nothing else is ready.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.report_answer(events);
        Ok(())
    }

    fn report_answer(&self, events: &mut Events) {
        for (fd, readiness) in self.answer.iter() {
            self.report(fd, readiness, events);
        }
    }

    fn report(&self, fd: RawFd, readiness: Readiness, events: &mut Events) {
        if let Some(token) = self.token(fd) {
            events.push(Event { token, readiness });
        }
    }

    fn token(&self, fd: RawFd) -> Option<Token> {
        *self.watched.get(usize::try_from(fd).ok()?)?
    }

    fn refuse_beyond_limit(&self, number: usize) -> io::Result<()> {
        match self.limit {
            Some(limit) if number >= limit => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "descriptor {number} is beyond the {limit} (FD_SETSIZE) that select takes on \
                     this system; choose the {} poller, for one with {POLLER_VARIABLE}={0}",
                    PollerKind::preferred()
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Poller for Select {
    fn kind(&self) -> PollerKind {
        PollerKind::Select
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pollable: false,
            sub_millisecond: true,
            watches_regular_files: true,
            reports_hangups: false,
        }
    }

    /// As the trait says, and [`Unsupported`](io::ErrorKind::Unsupported) for a descriptor beyond
    /// the system's limit, if it has one.
    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let number = usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        if self.token(fd).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        // The wait would tell; the contract asks for it here.
        if !is_open(fd) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        self.refuse_beyond_limit(number)?;
        if number >= self.watched.len() {
            self.watched.resize(number + 1, None);
        }
        self.watched[number] = Some(token);
        self.asked.put(fd, interest);
        Ok(())
    }

    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.token(fd).ok_or_else(not_watched)?;
        self.watched[fd as usize] = Some(token);
        self.asked.put(fd, interest);
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.token(fd).ok_or_else(not_watched)?;
        self.watched[fd as usize] = None;
        self.asked.put(fd, Interest::NONE);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let asked = std::mem::take(&mut self.asked);
        let outcome = wait_in_steps(timeout, LONGEST, |step| self.call(&asked, step));
        self.asked = asked;
        match outcome {
            // After a signal there is no answer in the sets.
            Ok(0) => Ok(()),
            Ok(_) => {
                self.report_answer(events);
                Ok(())
            }
            Err(error) if tells_of_closed(&error) => self.look_beside_closed(events),
            Err(error) => Err(error),
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(not(target_vendor = "apple"))]
use libc::select;

#[cfg(target_vendor = "apple")]
unsafe extern "C" {
    /// `select` as `_DARWIN_UNLIMITED_SELECT` has it: without a limit by `FD_SETSIZE`.
    #[link_name = "select$DARWIN_EXTSN"]
    fn select(
        count: libc::c_int,
        read: *mut libc::fd_set,
        write: *mut libc::fd_set,
        except: *mut libc::fd_set,
        timeout: *mut libc::timeval,
    ) -> libc::c_int;
}

/// A timeout of at most [`LONGEST`] as `select` takes it: in microseconds, rounded up. Rounded down,
/// a wait of less than one would be none, and the loop would spin.
fn microseconds(timeout: Duration) -> libc::timeval {
    let microseconds = timeout.as_nanos().div_ceil(1000);
    libc::timeval {
        // Both fit, by the limit and by the remainder. The names of the types are not stable.
        tv_sec: (microseconds / 1_000_000) as _,
        tv_usec: (microseconds % 1_000_000) as _,
    }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: the call reads the flags of a number and touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn tells_of_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

fn not_watched() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_to_microseconds() {
        let parts = |timeout| {
            let timeval = microseconds(timeout);
            (i128::from(timeval.tv_sec), i128::from(timeval.tv_usec))
        };
        assert_eq!(parts(Duration::ZERO), (0, 0));
        assert_eq!(parts(Duration::from_nanos(1)), (0, 1));
        assert_eq!(parts(Duration::from_nanos(1_999_999_001)), (2, 0));
        assert_eq!(parts(Duration::new(3, 4_000)), (3, 4));
        assert_eq!(parts(LONGEST), (100_000_000, 0));
    }

    #[test]
    fn a_descriptor_beyond_the_limit_is_refused_with_a_way_out() {
        let (near, _far) = UnixStream::pair().unwrap();
        let number = near.as_raw_fd();
        let mut select = Select::with_limit(Some(number as usize));
        // SAFETY: the socket outlives the poller.
        let error = unsafe { select.register(number, Token::new(0, 0), Interest::BOTH) };
        let error = error.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let text = error.to_string();
        for part in [
            format!("descriptor {number} "),
            format!("the {number} (FD_SETSIZE)"),
            format!("{POLLER_VARIABLE}={}", PollerKind::preferred()),
        ] {
            assert!(text.contains(&part), "{text}");
        }
        // It is not half watched.
        let error = select.deregister(number).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut select = Select::with_limit(Some(number as usize + 1));
        // SAFETY: as above.
        unsafe {
            select
                .register(number, Token::new(0, 0), Interest::BOTH)
                .unwrap()
        };
        let mut events = Events::new();
        select.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(
            events.len(),
            1,
            "the descriptor just below the limit is watched"
        );
    }
}
