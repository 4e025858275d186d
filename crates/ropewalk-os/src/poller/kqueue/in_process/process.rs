//! `EVFILT_PROC` with `NOTE_EXIT`, over `pidfd_open(2)`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::super::{EventFlags, Filter, KernelEvent, note};
use super::knote::{Knote, changed};
use super::set::Set;

/// The processes whose end is waited for, by id.
#[derive(Default)]
pub(super) struct Processes(BTreeMap<usize, Process>);

struct Process {
    knote: Knote,
    pidfd: OwnedFd,
}

/// The bit of a name that says that the rest is the id of a process.
const PROCESS: u64 = 1 << 63;

impl Processes {
    pub(super) fn change(&mut self, set: &Set, change: &KernelEvent) -> Result<(), i32> {
        let before = self.0.remove(&change.ident);
        let knote = before.as_ref().map(|process| process.knote);
        let Some(knote) = changed(knote, change)? else {
            return Ok(());
        };
        let pidfd = match before {
            // Closed, it leaves the set by itself: nobody else has it.
            Some(process) => process.pidfd,
            None => open(change.ident)?,
        };
        let process = Process { knote, pidfd };
        process.watch(set, change.ident)?;
        self.0.insert(change.ident, process);
        Ok(())
    }

    /// The event behind a report of that name, if it is enabled; it ends the registration. Of a process that is no
    /// child of this one the status is not known, and zero.
    pub(super) fn take(&mut self, name: u64) -> Option<KernelEvent> {
        let ident = usize::try_from(name ^ PROCESS).ok()?;
        if !self.0.get(&ident)?.is_waited_for() {
            return None;
        }
        let Process { knote, pidfd } = self.0.remove(&ident)?;
        Some(KernelEvent {
            ident,
            filter: Filter::Process,
            flags: EventFlags::EOF | EventFlags::ONESHOT | knote.sticky(),
            fflags: knote.fflags & note::EXIT,
            data: status(&pidfd).unwrap_or(0),
            udata: knote.udata,
        })
    }

    /// Adds them to a new set.
    pub(super) fn rebuild(&self, set: &Set) -> Result<(), i32> {
        self.0
            .iter()
            .try_for_each(|(ident, process)| process.watch(set, *ident))
    }
}

/// Whether a report of that name is of a process.
pub(super) const fn is_process(name: u64) -> bool {
    name & PROCESS != 0
}

impl Process {
    const fn is_waited_for(&self) -> bool {
        self.knote.enabled && self.knote.fflags & note::EXIT != 0
    }

    fn watch(&self, set: &Set, ident: usize) -> Result<(), i32> {
        let bits = if self.is_waited_for() {
            libc::EPOLLIN as u32
        } else {
            // A process that was waited for hangs up, which is reported unasked; so once.
            libc::EPOLLET as u32
        };
        let (fd, name) = (self.pidfd.as_raw_fd(), PROCESS | ident as u64);
        let result = match set.add(fd, bits, name) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => set.modify(fd, bits, name),
            result => result,
        };
        result.map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))
    }
}

fn open(ident: usize) -> Result<OwnedFd, i32> {
    let pid = i32::try_from(ident).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(libc::ESRCH)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(rustix::io::Errno::raw_os_error)
}

/// How a child ended, as wait(2) says it, without waiting for it.
fn status(pidfd: &OwnedFd) -> Option<i64> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), options).ok()??;
    let exited = status.exit_status().map(|code| (code & 0xFF) << 8);
    let killed = || {
        let dumped = if status.dumped() { 0x80 } else { 0 };
        Some(status.terminating_signal()? | dumped)
    };
    exited.or_else(killed).map(i64::from)
}
