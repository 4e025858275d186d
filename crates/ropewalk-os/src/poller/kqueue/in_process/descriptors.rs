//! The registrations of descriptors, and where epoll watches for them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::super::{EventFlags, Filter, KernelEvent};
use super::knote::{Knote, changed};
use super::set::{Report, Set};
use super::state::{
    Active, Identity, Kind, evaluate, evaluate_file, identity, interest, kind, stat,
};

/// The registrations of all descriptors, by number.
#[derive(Default)]
pub(super) struct Descriptors {
    entries: Vec<Option<Entry>>,
    /// How many are watched for both filters, so that one report of epoll makes two events.
    pairs: usize,
    /// Counts entries, so that a report of a former one is told from those of its successor.
    serial: u32,
}

/// The registrations of one descriptor.
#[derive(Clone, Copy)]
struct Entry {
    identity: Identity,
    kind: Kind,
    serial: u32,
    knotes: [Option<Knote>; 2],
    /// What epoll watches it for, in each of [`Sets`].
    watched: [u32; 3],
    /// Whether epoll's reports of it come to nothing, so that only news are asked for.
    parked: bool,
    /// Which filter comes first when there is room for one event.
    first: usize,
    /// The scan that reported it last.
    scan: u64,
}

/// Where descriptors are watched: for a state, for input that is new, for room that is new.
///
/// epoll knows a descriptor once in each set, and reports news (`EPOLLET`) of both directions
/// together; `EV_CLEAR` is of each filter alone.
pub(super) struct Sets(pub(super) [Set; 3]);

/// The set for states, which holds the others.
pub(super) const LEVEL: usize = 0;

const FILTERS: [Filter; 2] = [Filter::Read, Filter::Write];

/// What a report came to.
pub(super) enum Outcome {
    /// Events, as many as there was room for.
    Delivered,
    /// Nothing.
    Silent,
    /// It was reported in this scan before: all there is was reported.
    Again,
    /// epoll watches a file that has no such number any more, and cannot be told to stop.
    Stale,
}

impl Descriptors {
    /// How many reports may be taken so that each finds room for an event.
    pub(super) fn reports_for(&self, room: usize) -> usize {
        room.div_ceil(2).max(room.saturating_sub(self.pairs))
    }

    /// Makes a change; an `errno` if it is refused. True as well if the registration is of a file
    /// that epoll does not watch.
    pub(super) fn change(&mut self, sets: &Sets, change: &KernelEvent) -> Result<bool, i32> {
        let fd = RawFd::try_from(change.ident).map_err(|_| libc::EBADF)?;
        let stat = stat(fd).inspect_err(|_| self.forget(fd))?;
        if self
            .entry(fd)
            .is_some_and(|entry| entry.identity != identity(&stat))
        {
            self.forget(fd);
        }
        let which = usize::from(change.filter == Filter::Write);
        // Twice: epoll may find that the file was closed since, and the registrations with it.
        for _ in 0..2 {
            let before = self.entry(fd).copied();
            let mut entry = match before {
                Some(entry) => entry,
                None => self.new_entry(identity(&stat), kind(fd, &stat)),
            };
            entry.knotes[which] = changed(entry.knotes[which], change)?;
            match sync(sets, fd, &mut entry, true) {
                Err(libc::ENOENT) if before.is_some() => self.forget(fd),
                Err(errno) => return Err(errno),
                Ok(()) => {
                    self.store(fd, Some(entry));
                    return Ok(entry.kind == Kind::File && entry.knotes[which].is_some());
                }
            }
        }
        Err(libc::ENOENT)
    }

    /// Turns a report into events, which `push` takes while there is room.
    pub(super) fn deliver(
        &mut self,
        sets: &Sets,
        set: usize,
        report: Report,
        scan: u64,
        push: &mut dyn FnMut(KernelEvent) -> bool,
    ) -> Outcome {
        let (fd, serial) = unname(report.name);
        let Some(mut entry) = self
            .entry(fd)
            .copied()
            .filter(|entry| entry.serial == serial)
        else {
            return Outcome::Stale;
        };
        if stat(fd).map(|stat| identity(&stat)) != Ok(entry.identity) {
            self.forget(fd);
            return Outcome::Stale;
        }
        if entry.scan == scan && set == LEVEL {
            return Outcome::Again;
        }
        let mut silent = true;
        let first = entry.first;
        for which in [first, 1 - first] {
            let Some(knote) = entry.knotes[which] else {
                continue;
            };
            if !knote.enabled || set_of(&knote, which) != set {
                continue;
            }
            let Some(active) = evaluate(fd, entry.kind, FILTERS[which], report.bits) else {
                continue;
            };
            silent = false;
            if !push(event(fd, which, &knote, active)) {
                // The other filter had the room: this one's turn is next.
                entry.first = which;
                break;
            }
            entry.scan = scan;
            entry.knotes[which] = knote.delivered();
        }
        if set == LEVEL {
            entry.parked = silent;
        }
        // Refused only if the number was closed meanwhile, by another thread.
        let kept = sync(sets, fd, &mut entry, false).is_ok();
        self.store(fd, kept.then_some(entry));
        if silent {
            Outcome::Silent
        } else {
            Outcome::Delivered
        }
    }

    /// The event of a file that epoll does not watch, if it is ready.
    pub(super) fn file_event(&mut self, fd: RawFd, filter: Filter) -> FileEvent {
        let which = usize::from(filter == Filter::Write);
        let found = self.entry(fd).copied().filter(|entry| {
            stat(fd).map(|stat| identity(&stat)) == Ok(entry.identity) && entry.kind == Kind::File
        });
        let Some(knote) = found.and_then(|entry| entry.knotes[which]) else {
            return FileEvent::Gone;
        };
        match evaluate_file(fd, filter).filter(|_| knote.enabled) {
            Some(active) => FileEvent::Ready(event(fd, which, &knote, active)),
            None => FileEvent::Silent,
        }
    }

    /// A file's event was taken.
    pub(super) fn file_delivered(&mut self, fd: RawFd, filter: Filter) {
        let which = usize::from(filter == Filter::Write);
        if let Some(mut entry) = self.entry(fd).copied() {
            entry.knotes[which] = entry.knotes[which].and_then(Knote::delivered);
            self.store(fd, Some(entry));
        }
    }

    /// Adds what is still open to new sets.
    pub(super) fn rebuild(&mut self, sets: &Sets) {
        for index in 0..self.entries.len() {
            let (Some(mut entry), Ok(fd)) = (self.entries[index], RawFd::try_from(index)) else {
                continue;
            };
            let same = stat(fd).map(|stat| identity(&stat)) == Ok(entry.identity);
            entry.watched = [0; 3];
            let left = same && sync(sets, fd, &mut entry, false).is_ok();
            self.store(fd, left.then_some(entry));
        }
    }

    fn new_entry(&mut self, identity: Identity, kind: Kind) -> Entry {
        // Never zero, and the top bit is not this table's.
        self.serial = self.serial % (u32::MAX >> 1) + 1;
        Entry {
            identity,
            kind,
            serial: self.serial,
            knotes: [None; 2],
            watched: [0; 3],
            parked: false,
            first: 0,
            scan: 0,
        }
    }

    fn entry(&self, fd: RawFd) -> Option<&Entry> {
        self.entries.get(usize::try_from(fd).ok()?)?.as_ref()
    }

    /// Drops what a number had, as its closing did.
    fn forget(&mut self, fd: RawFd) {
        self.store(fd, None);
    }

    fn store(&mut self, fd: RawFd, entry: Option<Entry>) {
        let Ok(index) = usize::try_from(fd) else {
            return;
        };
        let entry = entry.filter(|entry| entry.knotes.iter().any(Option::is_some));
        if index >= self.entries.len() {
            if entry.is_none() {
                return;
            }
            self.entries.resize(index + 1, None);
        }
        let is_pair = |entry: &Entry| entry.knotes.iter().all(Option::is_some);
        self.pairs -= usize::from(self.entries[index].as_ref().is_some_and(is_pair));
        self.pairs += usize::from(entry.as_ref().is_some_and(is_pair));
        self.entries[index] = entry;
    }
}

/// What a file that epoll does not watch has to say.
pub(super) enum FileEvent {
    Ready(KernelEvent),
    Silent,
    /// It is not registered any more.
    Gone,
}

fn event(fd: RawFd, which: usize, knote: &Knote, active: Active) -> KernelEvent {
    let eof = if active.eof {
        EventFlags::EOF
    } else {
        EventFlags::NONE
    };
    KernelEvent {
        ident: fd as usize,
        filter: FILTERS[which],
        flags: knote.sticky() | eof,
        fflags: active.errno,
        data: active.data,
        udata: knote.udata,
    }
}

/// The set in which a registration is watched for.
const fn set_of(knote: &Knote, which: usize) -> usize {
    if knote.is_clear() { 1 + which } else { LEVEL }
}

/// What epoll is to watch a descriptor for, in each set.
fn wanted(entry: &Entry) -> [u32; 3] {
    let mut wanted = [0; 3];
    if entry.kind == Kind::File {
        return wanted;
    }
    for (which, knote) in entry.knotes.iter().enumerate() {
        if let Some(knote) = knote.filter(|knote| knote.enabled) {
            wanted[set_of(&knote, which)] |= interest(FILTERS[which]);
        }
    }
    for (set, bits) in wanted.iter_mut().enumerate() {
        if *bits != 0 && (set != LEVEL || entry.parked) {
            *bits |= libc::EPOLLET as u32;
        }
    }
    wanted
}

/// Has epoll watch for what the registrations want; with `touch`, by a call even for what it
/// watches for already, which finds out whether it still does, and looks at the state anew.
fn sync(sets: &Sets, fd: RawFd, entry: &mut Entry, touch: bool) -> Result<(), i32> {
    if touch {
        entry.parked = false;
    }
    let name = name(fd, entry.serial);
    let wanted = wanted(entry);
    for (set, (bits, watched)) in wanted.into_iter().zip(&mut entry.watched).enumerate() {
        let set = &sets.0[set];
        let result = match (*watched, bits) {
            (0, 0) => continue,
            (0, _) => match set.add(fd, bits, name) {
                // Of a former file under this number, which is the same file after all.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    set.modify(fd, bits, name)
                }
                // Devices that do not know how to wait are refused by kqueue as well.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    return Err(libc::ENODEV);
                }
                result => result,
            },
            (_, 0) => set.remove(fd),
            (before, _) if before == bits && !touch => continue,
            _ => set.modify(fd, bits, name),
        };
        result.map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))?;
        *watched = bits;
    }
    Ok(())
}

/// How epoll names a descriptor's entry.
const fn name(fd: RawFd, serial: u32) -> u64 {
    (serial as u64) << 32 | fd as u32 as u64
}

const fn unname(name: u64) -> (RawFd, u32) {
    (name as u32 as RawFd, (name >> 32) as u32)
}

impl Sets {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self([Set::new()?, Set::new()?, Set::new()?]))
    }

    /// Replaces the sets by new ones under the same numbers: a number that a program has closed
    /// must not come back as one of these.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Set::renew)
    }

    /// Puts the sets for news into the one for states.
    pub(super) fn tie(&self) -> io::Result<()> {
        (1_u64..).zip(&self.0[1..]).try_for_each(|(name, set)| {
            let readable = libc::EPOLLIN as u32;
            self.0[LEVEL].add(set.as_raw_fd(), readable, name)
        })
    }
}
