//! What is watched, what the system was told of it, and the difference as a change list.

use std::os::fd::RawFd;

use super::{EventFlags, Filter, KernelEvent};
use crate::{Interest, Token};

/// A slot for each descriptor number, and which of them differ from what the system was told.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Numbers whose slot may differ, each at most once.
    dirty: Vec<RawFd>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Whom to report it as, and what is asked for; nothing if it is not watched.
    watch: Option<(Token, Interest)>,
    /// The registrations the system was told to have. It has no others; it has none if the
    /// descriptor was closed since, which nobody tells.
    told: Interest,
    /// As whom the system reports them.
    told_token: Token,
    /// Whether the system is to be told all of it, for it may have less.
    refresh: bool,
    dirty: bool,
    /// Whether changes are made at once.
    at_once: bool,
    /// Where its event is in the list of the wait in progress.
    place: usize,
}

const EMPTY: Slot = Slot {
    watch: None,
    told: Interest::NONE,
    told_token: Token::WAKER,
    refresh: false,
    dirty: false,
    at_once: false,
    place: 0,
};

impl Slots {
    pub(super) fn is_watched(&self, fd: RawFd) -> bool {
        self.slot(fd).is_some_and(|slot| slot.watch.is_some())
    }

    pub(super) fn is_applied_at_once(&self, fd: RawFd) -> bool {
        self.slot(fd).is_some_and(|slot| slot.at_once)
    }

    /// Watches an open descriptor.
    pub(super) fn insert(&mut self, fd: RawFd, token: Token, interest: Interest, at_once: bool) {
        let Ok(index) = usize::try_from(fd) else {
            return;
        };
        if index >= self.slots.len() {
            self.slots.resize(index + 1, EMPTY);
        }
        let slot = &mut self.slots[index];
        slot.watch = Some((token, interest));
        slot.at_once = at_once;
        // Whatever the system was told was of this number, not necessarily of this file.
        slot.refresh = true;
        self.mark(fd);
    }

    /// Replaces token and interest. False if it is not watched.
    pub(super) fn change(&mut self, fd: RawFd, token: Token, interest: Interest) -> bool {
        let Some(slot) = self.slot_mut(fd).filter(|slot| slot.watch.is_some()) else {
            return false;
        };
        // Said again, it is meant: the descriptor may have been closed and opened.
        slot.refresh |= slot.watch == Some((token, interest));
        slot.watch = Some((token, interest));
        self.mark(fd);
        true
    }

    /// Ends the watch. False if there is none.
    pub(super) fn remove(&mut self, fd: RawFd) -> bool {
        let Some(slot) = self.slot_mut(fd) else {
            return false;
        };
        if slot.watch.take().is_none() {
            return false;
        }
        self.mark(fd);
        true
    }

    /// Ends the watch of a number that was closed: the system has nothing of it.
    pub(super) fn forget(&mut self, ident: usize) {
        if let Some(slot) = self.slots.get_mut(ident) {
            *slot = Slot {
                dirty: slot.dirty,
                ..EMPTY
            };
        }
    }

    /// Tells the system all of it again with the next change list.
    pub(super) fn retry(&mut self, ident: usize) {
        let Some(slot) = self.slots.get_mut(ident) else {
            return;
        };
        slot.refresh = true;
        if let Ok(fd) = RawFd::try_from(ident) {
            self.mark(fd);
        }
    }

    /// Whom to report `ident` as.
    pub(super) fn token(&self, ident: usize) -> Option<Token> {
        let (token, _) = self.slots.get(ident)?.watch?;
        Some(token)
    }

    /// Whether a descriptor is watched for this filter.
    pub(super) fn wants(&self, event: &KernelEvent) -> bool {
        let watch = self.slots.get(event.ident).and_then(|slot| slot.watch);
        watch.is_some_and(|(_, interest)| has(interest, event.filter))
    }

    /// Whom to report an event as, if it is of a registration that is still wanted.
    pub(super) fn token_of(&self, event: &KernelEvent) -> Option<Token> {
        let (token, interest) = self.slots.get(event.ident)?.watch?;
        let is_current = has(interest, event.filter) && carried(token) == event.udata;
        is_current.then_some(token)
    }

    /// Where the event of a watched descriptor is noted.
    pub(super) fn place(&mut self, ident: usize) -> &mut usize {
        &mut self.slots[ident].place
    }

    /// Appends what the system has to be told.
    pub(super) fn gather(&mut self, changes: &mut Vec<KernelEvent>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for fd in dirty.drain(..) {
            if let Some(slot) = self.slot_mut(fd) {
                slot.dirty = false;
                slot.gather(fd, changes);
            }
        }
        self.dirty = dirty;
    }

    /// Appends what the system has to be told of one descriptor.
    pub(super) fn gather_one(&mut self, fd: RawFd, changes: &mut Vec<KernelEvent>) {
        if let Some(slot) = self.slot_mut(fd) {
            slot.gather(fd, changes);
        }
    }

    fn slot(&self, fd: RawFd) -> Option<&Slot> {
        self.slots.get(usize::try_from(fd).ok()?)
    }

    fn slot_mut(&mut self, fd: RawFd) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(fd).ok()?)
    }

    fn mark(&mut self, fd: RawFd) {
        if let Some(slot) = self.slot_mut(fd) {
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push(fd);
            }
        }
    }
}

impl Slot {
    fn gather(&mut self, fd: RawFd, changes: &mut Vec<KernelEvent>) {
        let (token, wanted) = self.watch.unwrap_or((self.told_token, Interest::NONE));
        let same_token = token == self.told_token || wanted.is_none();
        let refresh = std::mem::take(&mut self.refresh) && !wanted.is_none();
        if wanted == self.told && same_token && !refresh {
            return;
        }
        for filter in [Filter::Read, Filter::Write] {
            // What is there already is said again with the rest: it costs no call, and finds out
            // when the descriptor was closed and its number used again.
            let flags = match (has(wanted, filter), has(self.told, filter)) {
                (true, _) => EventFlags::ADD,
                (false, true) => EventFlags::DELETE,
                (false, false) => continue,
            };
            changes.push(KernelEvent {
                ident: fd as usize,
                filter,
                flags,
                udata: carried(token),
                ..KernelEvent::default()
            });
        }
        self.told = wanted;
        self.told_token = token;
    }
}

/// A token as the system gives it back: `udata` is a pointer there.
const fn carried(token: Token) -> u64 {
    token.to_u64() as usize as u64
}

fn has(interest: Interest, filter: Filter) -> bool {
    match filter {
        Filter::Read => interest.is_readable(),
        Filter::Write => interest.is_writable(),
        _ => false,
    }
}
