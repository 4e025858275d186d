//! What all datagram ports of a reactor share: room to receive into, and known addresses.

use std::cell::{Cell, RefCell};

use ropewalk::os::Token;
use ropewalk::os::socket::datagram::ReceiveBatch;

use crate::datagram_addresses::Addresses;

/// The shared part of a reactor's datagram ports.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) addresses: Addresses,
    batch: Cell<Option<ReceiveBatch>>,
    /// Ports that deliver at the moment and have more to deliver.
    unfinished: RefCell<Vec<Token>>,
    /// The number of this turn, and of the last one there was.
    turn: Cell<u64>,
    last_turn: Cell<u64>,
}

impl Shared {
    /// Room for datagrams of `capacity` bytes, or more. It is taken, not borrowed, for naming a
    /// sender may run Python; give it back.
    pub(crate) fn take_batch(&self, capacity: usize) -> ReceiveBatch {
        match self.batch.take() {
            Some(batch) if batch.capacity() >= capacity => batch,
            _ => {
                let capacity = capacity.max(USUAL_CAPACITY);
                ReceiveBatch::new((ROOM / capacity).clamp(1, BATCH), capacity)
            }
        }
    }

    pub(crate) fn give_batch(&self, batch: ReceiveBatch) {
        self.batch.set(Some(batch));
    }

    /// Notes whether more waits behind the datagram that a port delivers now.
    pub(crate) fn note_waiting(&self, token: Option<Token>, waits: bool) {
        let mut unfinished = self.unfinished.borrow_mut();
        if !waits && unfinished.is_empty() {
            return;
        }
        let known = unfinished.iter().position(|other| Some(*other) == token);
        match (known, token) {
            (None, Some(token)) if waits => unfinished.push(token),
            (Some(index), _) if !waits => {
                unfinished.swap_remove(index);
            }
            _ => {}
        }
    }

    /// Begins a turn, which may be inside a protocol's callback, and answers the turn around it.
    ///
    /// What waits behind that callback is requested, as if it were still in the socket.
    pub(crate) fn enter_turn(&self, request: impl Fn(Token)) -> u64 {
        for token in self.unfinished.borrow().iter() {
            request(*token);
        }
        self.last_turn.set(self.last_turn.get() + 1);
        self.turn.replace(self.last_turn.get())
    }

    /// Goes back to the turn around this one.
    pub(crate) fn leave_turn(&self, outer: u64) {
        self.turn.set(outer);
    }

    /// The number of this turn.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.get()
    }
}

/// The most datagrams that one call fetches.
const BATCH: usize = 32;

/// Bytes that all of them take at most, unless one alone takes more.
const ROOM: usize = 256 * 1024;

/// Bytes for each, unless a port asks for more: Twisted's `maxPacketSize`.
const USUAL_CAPACITY: usize = 8192;
