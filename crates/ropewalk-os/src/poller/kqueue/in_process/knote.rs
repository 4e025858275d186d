//! A registration, and what a change makes of it.

use super::super::{EventFlags, KernelEvent};

/// One registration (the kernel's word), whatever its filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knote {
    /// Of the first change: `CLEAR`, `ONESHOT` and `DISPATCH` stay as they were added.
    flags: EventFlags,
    pub(super) enabled: bool,
    pub(super) fflags: u32,
    pub(super) data: i64,
    pub(super) udata: u64,
}

/// What a change leaves of a registration.
pub(super) fn changed(knote: Option<Knote>, change: &KernelEvent) -> Result<Option<Knote>, i32> {
    let asks = |flag| change.flags.contains(flag);
    let mut knote = match knote {
        None if !asks(EventFlags::ADD) => return Err(libc::ENOENT),
        _ if asks(EventFlags::DELETE) => return Ok(None),
        Some(knote) => knote,
        None => Knote {
            flags: change.flags,
            enabled: true,
            fflags: 0,
            data: 0,
            udata: 0,
        },
    };
    if asks(EventFlags::ADD) {
        knote.fflags = change.fflags;
        knote.data = change.data;
        knote.udata = change.udata;
    }
    if asks(EventFlags::ADD) || asks(EventFlags::ENABLE) {
        knote.enabled = true;
    }
    if asks(EventFlags::DISABLE) {
        knote.enabled = false;
    }
    Ok(Some(knote))
}

impl Knote {
    /// Whether a state is reported once, until it changes.
    pub(super) const fn is_clear(&self) -> bool {
        self.flags.contains(EventFlags::CLEAR)
    }

    /// What is left of it once it has reported.
    pub(super) const fn delivered(mut self) -> Option<Self> {
        if self.flags.contains(EventFlags::ONESHOT) {
            return None;
        }
        if self.flags.contains(EventFlags::DISPATCH) {
            self.enabled = false;
        }
        Some(self)
    }

    /// The flags its events begin with.
    pub(super) fn sticky(&self) -> EventFlags {
        let kept = [EventFlags::CLEAR, EventFlags::ONESHOT, EventFlags::DISPATCH];
        kept.into_iter()
            .filter(|flag| self.flags.contains(*flag))
            .fold(EventFlags::NONE, |flags, flag| flags | flag)
    }
}
