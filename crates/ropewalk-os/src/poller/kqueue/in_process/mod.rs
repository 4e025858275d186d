//! A kernel queue for tests, on Linux: what the BSDs document, over `epoll(7)`.
//!
//! | of kqueue(2) | here |
//! | --- | --- |
//! | a registration is of a filter and an ident; adding again updates it | so |
//! | `ENOENT` without it, `EBADF` for a closed number | so |
//! | errors and receipts among the events; without room the call fails and later changes are lost | so |
//! | `READ` tells bytes to read, of a listener connections (TCP; else 1) | so |
//! | `EV_EOF` with unread data, and the error, which stays in the socket | so; Linux does not show *which* error it is without taking it out: `ECONNREFUSED` stands for all errors before, `ECONNRESET` for all after a connection |
//! | `EV_EOF` of `WRITE` after this side's shutdown | TCP and UNIX streams |
//! | nothing of a stream that was never connected | so |
//! | a regular file is silent at its end | so, looked at by each call; a wait does not notice that it grows |
//! | devices that cannot be watched: `ENODEV` | so |
//! | `EV_CLEAR`, `EV_ONESHOT`, `EV_DISPATCH` | so; `EV_CLEAR` not of regular files |
//! | closing removes registrations | so. Noticed when epoll reports it or a change names it: an event is never of a former file. A number that was closed and names the same file again keeps them |
//! | small lists take turns | so |
//! | a file is registered under as many numbers as it has | 500, Linux's limit for nested sets |
//! | a queue is watched by a queue | so, but for one inside another that is watched itself: `ELOOP`, unless it is [for processes](InProcessKqueue::for_processes) |
//! | `EVFILT_USER` | so |
//! | `EVFILT_PROC` | `NOTE_EXIT` only; the status only of children |
//! | `EVFILT_TIMER`, `EVFILT_SIGNAL` and the rest | no: `EINVAL` |
//! | not inherited by a fork | so: in the child every call fails with `EBADF` |
//!
//! A call costs what is ready and what changes, however much is registered. It takes Linux 5.11.

mod descriptors;
mod knote;
mod process;
mod set;
mod state;
mod user;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use self::descriptors::{Descriptors, FileEvent, LEVEL, Outcome, Sets};
use self::process::{Processes, is_process};
use self::set::{Bell, Report, Set};
use self::user::Users;
use super::{EventFlags, Filter, KernelEvent, Kqueue};

/// A kernel queue made of `epoll(7)`, for tests on Linux.
pub struct InProcessKqueue {
    /// Holds the level set, and stays when that is replaced: what another loop watches. Nothing in a
    /// queue for processes, whose level set is never replaced.
    outer: Option<Set>,
    sets: Sets,
    bell: Bell,
    descriptors: Descriptors,
    users: Users,
    processes: Processes,
    /// Registrations of which epoll does not tell, in turn: of files all, of users the triggered.
    aside: VecDeque<(Filter, usize)>,
    /// Counts calls; its parity says who comes first.
    scan: u64,
    reports: Vec<Report>,
    /// Of whom it is.
    process_id: u32,
}

/// The bell's name in the level set; the other sets' are their places.
const BELL: u64 = 3;

/// Where a call writes its events.
struct Room<'a> {
    events: &'a mut [KernelEvent],
    used: usize,
}

impl Room<'_> {
    fn left(&self) -> usize {
        self.events.len() - self.used
    }

    /// Writes an event. False if there is no room.
    fn push(&mut self, event: KernelEvent) -> bool {
        let Some(place) = self.events.get_mut(self.used) else {
            return false;
        };
        *place = event;
        self.used += 1;
        true
    }
}

impl InProcessKqueue {
    /// Makes a queue.
    ///
    /// # Errors
    ///
    /// `EMFILE` and such: it takes five descriptors.
    pub fn new() -> io::Result<Self> {
        Self::within(Some(Set::new()?))
    }

    /// Makes a queue that takes registrations of processes and triggers alone, others being
    /// `EINVAL`: one epoll set for whoever watches it, where the other kind is three in one another.
    ///
    /// A real queue may be watched by a queue, and that by another. Linux lets epoll sets be nested
    /// five deep: three queues, if the innermost is of this kind.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new): it takes four descriptors.
    pub fn for_processes() -> io::Result<Self> {
        Self::within(None)
    }

    fn within(outer: Option<Set>) -> io::Result<Self> {
        let queue = Self {
            outer,
            sets: Sets::new()?,
            bell: Bell::new()?,
            descriptors: Descriptors::default(),
            users: Users::default(),
            processes: Processes::default(),
            aside: VecDeque::new(),
            scan: 0,
            reports: Vec::new(),
            process_id: std::process::id(),
        };
        queue.tie()?;
        Ok(queue)
    }

    /// Puts the bell and the sets for news into the level set, and that into the outer one.
    fn tie(&self) -> io::Result<()> {
        let (level, readable) = (&self.sets.0[LEVEL], libc::EPOLLIN as u32);
        level.add(self.bell.as_raw_fd(), readable, BELL)?;
        let Some(outer) = &self.outer else {
            return Ok(());
        };
        self.sets.tie()?;
        outer.add(level.as_raw_fd(), readable, 0)
    }

    /// Makes new sets without what epoll cannot be told to forget: a number that is closed, of a
    /// file that lives on under another.
    fn rebuild(&mut self) -> io::Result<()> {
        self.sets.renew()?;
        self.tie()?;
        self.descriptors.rebuild(&self.sets);
        self.processes
            .rebuild(&self.sets.0[LEVEL])
            .map_err(io::Error::from_raw_os_error)
    }

    fn change(&mut self, change: &KernelEvent) -> Result<(), i32> {
        let aside = match change.filter {
            Filter::Read | Filter::Write if self.outer.is_none() => return Err(libc::EINVAL),
            Filter::Read | Filter::Write => self.descriptors.change(&self.sets, change)?,
            Filter::User => {
                self.users.change(change)?;
                self.users.event(change.ident).is_some()
            }
            Filter::Process => {
                self.processes.change(&self.sets.0[LEVEL], change)?;
                false
            }
            Filter::Signal | Filter::Timer => return Err(libc::EINVAL),
        };
        if aside {
            let name = (change.filter, change.ident);
            if !self.aside.contains(&name) {
                self.aside.push_back(name);
            }
            // Until somebody looks what there is.
            let rung = self.bell.set(true);
            rung.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        }
        Ok(())
    }

    /// Takes events of registrations that epoll does not tell of. The next call goes on where this
    /// one ran out of room.
    fn take_aside(&mut self, room: &mut Room<'_>) -> io::Result<()> {
        let mut ready = false;
        for _ in 0..self.aside.len() {
            let Some(name @ (filter, ident)) = self.aside.pop_front() else {
                break;
            };
            let event = match filter {
                Filter::User => match self.users.event(ident) {
                    Some(event) => event,
                    None => continue,
                },
                _ => match self.descriptors.file_event(ident as RawFd, filter) {
                    FileEvent::Ready(event) => event,
                    FileEvent::Gone => continue,
                    FileEvent::Silent => {
                        self.aside.push_back(name);
                        continue;
                    }
                },
            };
            if !room.push(event) {
                ready = true;
                self.aside.push_front(name);
                break;
            }
            ready |= self.deliver_aside(filter, ident);
            self.aside.push_back(name);
        }
        self.bell.set(ready)
    }

    /// An event was taken. Whether there is another at once.
    fn deliver_aside(&mut self, filter: Filter, ident: usize) -> bool {
        if filter == Filter::User {
            self.users.delivered(ident);
            return self.users.event(ident).is_some();
        }
        let fd = ident as RawFd;
        self.descriptors.file_delivered(fd, filter);
        matches!(self.descriptors.file_event(fd, filter), FileEvent::Ready(_))
    }

    /// Takes events of what epoll reports, waiting for at most `timeout` for a first report.
    /// Answers whether there may be more.
    fn take_reports(&mut self, room: &mut Room<'_>, timeout: Option<Duration>) -> io::Result<bool> {
        let limit = self.descriptors.reports_for(room.left());
        let mut reports = std::mem::take(&mut self.reports);
        let result = self.sets.0[LEVEL].wait(&mut reports, limit, timeout);
        let mut stale = false;
        let mut more = reports.len() == limit;
        if result.is_ok() {
            for report in &reports {
                match self.take_report(LEVEL, *report, room)? {
                    Outcome::Stale => stale = true,
                    // epoll's own turns came round.
                    Outcome::Again => more = false,
                    Outcome::Delivered | Outcome::Silent => {}
                }
            }
        }
        self.reports = reports;
        if stale {
            self.rebuild()?;
        }
        result.map(|()| more)
    }

    fn take_report(
        &mut self,
        set: usize,
        report: Report,
        room: &mut Room<'_>,
    ) -> io::Result<Outcome> {
        match report.name {
            BELL => Ok(Outcome::Silent),
            which @ 1..BELL => self.take_news(which as usize, room),
            name if is_process(name) => {
                if room.left() > 0 {
                    self.processes.take(name).map(|event| room.push(event));
                }
                Ok(Outcome::Delivered)
            }
            _ => Ok(self
                .descriptors
                .deliver(&self.sets, set, report, self.scan, &mut |event| {
                    room.push(event)
                })),
        }
    }

    /// Takes the reports of a set for news, each of which is one event at most.
    fn take_news(&mut self, set: usize, room: &mut Room<'_>) -> io::Result<Outcome> {
        let mut outcome = Outcome::Silent;
        if room.left() > 0 {
            let mut reports = Vec::new();
            self.sets.0[set].wait(&mut reports, room.left(), Some(Duration::ZERO))?;
            for report in reports {
                match self.take_report(set, report, room)? {
                    Outcome::Stale => outcome = Outcome::Stale,
                    _ if matches!(outcome, Outcome::Stale) => {}
                    other => outcome = other,
                }
            }
        }
        Ok(outcome)
    }

    /// Fills `room` with what is ready; waits for something if there is nothing.
    fn scan(&mut self, room: &mut Room<'_>, timeout: Option<Duration>) -> io::Result<()> {
        self.scan += 1;
        if self.aside.is_empty() {
            self.bell.set(false)?;
        } else {
            // By turns, or those who come first would fill a small list for ever.
            let aside_first = self.scan % 2 == 0;
            if !aside_first {
                self.take_ready(room)?;
            }
            self.take_aside(room)?;
            if aside_first && room.used > 0 {
                self.take_ready(room)?;
            }
            if room.used > 0 {
                return Ok(());
            }
        }
        self.wait(room, timeout)
    }

    /// Waits until epoll reports what becomes an event, and fills `room`.
    fn wait(&mut self, room: &mut Room<'_>, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout;
        loop {
            let more = self.take_reports(room, left)?;
            if room.used > 0 && more {
                return self.take_ready(room);
            }
            left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if room.used > 0 || left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    /// Fills `room` with what is ready now.
    fn take_ready(&mut self, room: &mut Room<'_>) -> io::Result<()> {
        while room.left() > 0 && self.take_reports(room, Some(Duration::ZERO))? {}
        Ok(())
    }
}

impl Kqueue for InProcessKqueue {
    fn kevent(
        &mut self,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if std::process::id() != self.process_id {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let mut room = Room { events, used: 0 };
        for change in changes {
            let errno = self.change(change).err().unwrap_or(0);
            if errno == 0 && !change.flags.contains(EventFlags::RECEIPT) {
                continue;
            }
            let answer = KernelEvent {
                flags: EventFlags::ERROR,
                data: errno.into(),
                ..*change
            };
            match (room.push(answer), errno) {
                (true, _) => {}
                // A receipt without a place ends the call too, which FreeBSD does not document.
                (false, 0) => return Ok(room.used),
                (false, errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        if room.used == 0 && room.left() > 0 {
            self.scan(&mut room, timeout)?;
        }
        Ok(room.used)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        let outermost = self.outer.as_ref().unwrap_or(&self.sets.0[LEVEL]);
        Some(outermost.as_fd())
    }
}
