//! The sources of one loop: slots with generations, wanted and registered interest.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::{Event, Events, Interest, Poller, Readiness, Token, Waker};

/// A descriptor as a registry holds it.
#[derive(Debug)]
pub enum SourceFd {
    /// Owned: closed when it is dropped, after it was deregistered.
    Owned(OwnedFd),
    /// Shared with whoever else needs it, and closed by the last: a child's
    /// [`Watch`](crate::process::Watch).
    Shared(Arc<OwnedFd>),
    /// Lent by whoever made the promise that it stays open, or copes with the breach.
    Borrowed(BorrowedFd<'static>),
}

impl AsFd for SourceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Owned(fd) => fd.as_fd(),
            Self::Shared(fd) => fd.as_fd(),
            Self::Borrowed(fd) => fd.as_fd(),
        }
    }
}

impl AsRawFd for SourceFd {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<OwnedFd> for SourceFd {
    fn from(fd: OwnedFd) -> Self {
        Self::Owned(fd)
    }
}

impl From<Arc<OwnedFd>> for SourceFd {
    fn from(fd: Arc<OwnedFd>) -> Self {
        Self::Shared(fd)
    }
}

impl From<BorrowedFd<'static>> for SourceFd {
    fn from(fd: BorrowedFd<'static>) -> Self {
        Self::Borrowed(fd)
    }
}

/// A table of sources with payload `T`, and what the poller knows of each.
///
/// Interest is lazy: [`set_interest`](Self::set_interest) notes a wish, [`apply`](Self::apply)
/// tells the poller the difference. A source without interest is not in the poller at all.
pub struct Registry<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Slots whose wish may differ from what the poller knows, each at most once.
    dirty: Vec<u32>,
    /// Which token the poller reports each descriptor number as: after a number was closed behind
    /// our back and used again, the old source must not deregister the new one.
    owners: Vec<Option<Token>>,
    /// Numbers to deregister at the next `apply`, for the poller was in use.
    overdue: Vec<RawFd>,
    /// Slots that are always ready and want something.
    always_ready: Vec<u32>,
    waker: Option<Waker>,
    waker_registered: bool,
}

struct Slot<T> {
    generation: u32,
    wanted: Interest,
    registered: Interest,
    dirty: bool,
    /// Whether the poller refused the descriptor as one that never blocks (a regular file).
    unpollable: bool,
    live: Option<(SourceFd, T)>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Registry<T> {
    /// Creates an empty table.
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            owners: Vec::new(),
            overdue: Vec::new(),
            always_ready: Vec::new(),
            waker: None,
            waker_registered: false,
        }
    }

    /// Has `waker` watched as [`Token::WAKER`], from the next [`apply`](Self::apply) on.
    pub fn watch_waker(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
        self.waker_registered = false;
    }

    /// Adds a source without interest; the poller hears of it when it wants something.
    pub fn insert(&mut self, fd: SourceFd, payload: T) -> Token {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    wanted: Interest::NONE,
                    registered: Interest::NONE,
                    dirty: false,
                    unpollable: false,
                    live: None,
                });
                // Slot u32::MAX is the waker's; descriptors run out long before.
                (self.slots.len() - 1) as u32
            }
        };
        let entry = &mut self.slots[slot as usize];
        entry.live = Some((fd, payload));
        Token::new(slot, entry.generation)
    }

    /// The payload behind a token.
    pub fn get(&self, token: Token) -> Option<&T> {
        self.slot(token)?.live.as_ref().map(|(_, payload)| payload)
    }

    /// The payload behind a token.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slot_mut(token)?
            .live
            .as_mut()
            .map(|(_, payload)| payload)
    }

    /// The descriptor behind a token.
    pub fn fd(&self, token: Token) -> Option<BorrowedFd<'_>> {
        self.slot(token)?.live.as_ref().map(|(fd, _)| fd.as_fd())
    }

    /// What the source wants.
    pub fn interest(&self, token: Token) -> Option<Interest> {
        self.slot(token).map(|slot| slot.wanted)
    }

    /// Notes what the source wants. False for a stale token.
    pub fn set_interest(&mut self, token: Token, interest: Interest) -> bool {
        let Some(slot) = self.slot_mut(token) else {
            return false;
        };
        slot.wanted = interest;
        if !slot.dirty && slot.wanted != slot.registered {
            slot.dirty = true;
            self.dirty.push(token.slot());
        }
        true
    }

    /// Takes a source out, deregistered before its descriptor is handed back.
    ///
    /// Without a poller (it is in use) the deregistration is left to the next
    /// [`apply`](Self::apply), which does it before it registers anything.
    pub fn remove(
        &mut self,
        token: Token,
        poller: Option<&mut dyn Poller>,
    ) -> Option<(SourceFd, T)> {
        let slot = self.slot_mut(token)?;
        let (fd, payload) = slot.live.take()?;
        let in_poller = !slot.registered.is_none() && !slot.unpollable;
        let unpollable = slot.unpollable;
        slot.generation = slot.generation.wrapping_add(1);
        slot.wanted = Interest::NONE;
        slot.registered = Interest::NONE;
        slot.unpollable = false;
        self.free.push(token.slot());
        if unpollable {
            self.always_ready.retain(|slot| *slot != token.slot());
        }
        let number = fd.as_raw_fd();
        if in_poller && self.disown(number, token) {
            match poller {
                Some(poller) => deregister(poller, number),
                None => self.overdue.push(number),
            }
        }
        Some((fd, payload))
    }

    /// Tells the poller what changed. What it refuses goes to `failed`, and wants nothing then.
    pub fn apply(&mut self, poller: &mut dyn Poller, failed: &mut Vec<(Token, io::Error)>) {
        for number in self.overdue.drain(..) {
            deregister(poller, number);
        }
        if !self.waker_registered {
            if let Err(error) = self.register_waker(poller) {
                failed.push((Token::WAKER, error));
            }
        }
        while let Some(index) = self.dirty.pop() {
            let slot = &mut self.slots[index as usize];
            slot.dirty = false;
            if slot.wanted == slot.registered {
                continue;
            }
            let token = Token::new(index, slot.generation);
            if let Err(error) = self.apply_slot(poller, token) {
                let slot = &mut self.slots[index as usize];
                slot.wanted = Interest::NONE;
                slot.registered = Interest::NONE;
                failed.push((token, error));
            }
        }
    }

    /// Whether a source is ready without the poller saying so.
    pub fn has_always_ready(&self) -> bool {
        !self.always_ready.is_empty()
    }

    /// Appends an event for each source that is always ready and wants something. Those that only
    /// write come first: what was read from a file is written to another one before the first is
    /// read again, and may be at its end.
    pub fn push_always_ready(&self, events: &mut Events) {
        for only_writing in [true, false] {
            for index in &self.always_ready {
                let slot = &self.slots[*index as usize];
                // The wish may be withdrawn since the list was made.
                let wanted = slot.wanted;
                if !wanted.is_none() && only_writing != wanted.is_readable() {
                    events.push(Event {
                        token: Token::new(*index, slot.generation),
                        readiness: Readiness::from(wanted),
                    });
                }
            }
        }
    }

    /// The source whose descriptor number the poller watches, or the waker.
    pub fn watched(&self, number: RawFd) -> Option<Token> {
        let is_waker = |waker: &Waker| waker.read_fd().as_raw_fd() == number;
        if self.waker.as_ref().is_some_and(is_waker) {
            return Some(Token::WAKER);
        }
        self.owner(number)
    }

    /// The descriptor number that the poller reports `token` by, if it watches it.
    pub fn watched_number(&self, token: Token) -> Option<RawFd> {
        if token == Token::WAKER {
            return self.waker.as_ref().map(|waker| waker.read_fd().as_raw_fd());
        }
        let number = self.fd(token)?.as_raw_fd();
        (self.owner(number) == Some(token)).then_some(number)
    }

    /// Whether the poller refused the source as one that never blocks, so that it is always ready.
    pub fn is_unpollable(&self, token: Token) -> bool {
        self.slot(token).is_some_and(|slot| slot.unpollable)
    }

    /// How many sources there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sources, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let (_, payload) = slot.live.as_ref()?;
            Some((Token::new(index as u32, slot.generation), payload))
        })
    }

    /// Forgets what the poller knows, for it is a new one: everything wanted is registered again
    /// by the next [`apply`](Self::apply).
    pub fn forget_registrations(&mut self) {
        self.waker_registered = false;
        self.owners.clear();
        self.overdue.clear();
        self.always_ready.clear();
        self.dirty.clear();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.registered = Interest::NONE;
            slot.unpollable = false;
            slot.dirty = slot.live.is_some() && !slot.wanted.is_none();
            if slot.dirty {
                self.dirty.push(index as u32);
            }
        }
    }

    fn slot(&self, token: Token) -> Option<&Slot<T>> {
        let slot = self.slots.get(token.slot() as usize)?;
        (slot.generation == token.generation() && slot.live.is_some()).then_some(slot)
    }

    fn slot_mut(&mut self, token: Token) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(token.slot() as usize)?;
        (slot.generation == token.generation() && slot.live.is_some()).then_some(slot)
    }

    fn register_waker(&mut self, poller: &mut dyn Poller) -> io::Result<()> {
        if let Some(waker) = &self.waker {
            let number = waker.read_fd().as_raw_fd();
            // SAFETY: the registry keeps a clone of the waker, and with it the pipe, as long as it
            // has this poller.
            unsafe { poller.register(number, Token::WAKER, Interest::READABLE)? };
        }
        self.waker_registered = true;
        Ok(())
    }

    fn apply_slot(&mut self, poller: &mut dyn Poller, token: Token) -> io::Result<()> {
        let slot = &mut self.slots[token.slot() as usize];
        let Some((fd, _)) = &slot.live else {
            return Ok(());
        };
        let number = fd.as_raw_fd();
        let (wanted, registered) = (slot.wanted, slot.registered);
        slot.registered = wanted;
        if slot.unpollable {
            self.note_always_ready(token.slot(), !wanted.is_none());
            return Ok(());
        }
        if wanted.is_none() {
            if self.disown(number, token) {
                deregister(poller, number);
            }
            return Ok(());
        }
        let known = !registered.is_none() && self.owner(number) == Some(token);
        match watch(poller, number, token, wanted, known) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.slots[token.slot() as usize].unpollable = true;
                self.note_always_ready(token.slot(), true);
                Ok(())
            }
            Err(error) => {
                self.disown(number, token);
                Err(error)
            }
            Ok(()) => {
                self.own(number, token);
                Ok(())
            }
        }
    }

    fn note_always_ready(&mut self, index: u32, ready: bool) {
        self.always_ready.retain(|slot| *slot != index);
        if ready {
            self.always_ready.push(index);
        }
    }

    fn owner(&self, number: RawFd) -> Option<Token> {
        *self.owners.get(usize::try_from(number).ok()?)?
    }

    fn own(&mut self, number: RawFd, token: Token) {
        let Ok(index) = usize::try_from(number) else {
            return;
        };
        if index >= self.owners.len() {
            self.owners.resize(index + 1, None);
        }
        self.owners[index] = Some(token);
    }

    /// Whether the poller's watch of `number` was `token`'s, which it is no longer.
    fn disown(&mut self, number: RawFd, token: Token) -> bool {
        let is_owner = self.owner(number) == Some(token);
        if is_owner {
            self.owners[number as usize] = None;
        }
        is_owner
    }
}

/// Registers or modifies, whichever the poller turns out to need: closing a descriptor ends the
/// watch without telling, and a number used again may still be watched.
fn watch(
    poller: &mut dyn Poller,
    number: RawFd,
    token: Token,
    interest: Interest,
    known: bool,
) -> io::Result<()> {
    // SAFETY: the registry's entry holds the descriptor, and leaves it only through `remove`, which
    // deregisters first. A lent descriptor that is closed all the same costs stale reports, which
    // the generation of `token` unmasks.
    let outcome = unsafe {
        if known {
            poller.modify(number, token, interest)
        } else {
            poller.register(number, token, interest)
        }
    };
    let Err(error) = outcome else { return Ok(()) };
    // SAFETY: as above.
    unsafe {
        match error.raw_os_error() {
            Some(libc::EEXIST) => poller.modify(number, token, interest),
            Some(libc::ENOENT) if known => poller.register(number, token, interest),
            _ => Err(error),
        }
    }
}

/// Deregisters a number that may be closed already, which ended the watch.
fn deregister(poller: &mut dyn Poller, number: RawFd) {
    // Nothing is watched afterwards, whatever the answer: ENOENT and EBADF say that nothing was.
    drop(poller.deregister(number));
}
