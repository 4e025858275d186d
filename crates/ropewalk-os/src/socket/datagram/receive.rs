//! Receiving many datagrams with one call.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use super::super::address::{Address, RawAddress};
use super::message::{self, Message};

/// Buffers for the datagrams of one call, used again by the next.
///
/// Memory that no datagram has reached yet is the system's: a batch for the longest datagrams costs
/// what the longest ones that came did.
pub struct ReceiveBatch {
    /// One room of `capacity` bytes after the other.
    data: Vec<u8>,
    /// How long a datagram may be, in bytes.
    capacity: usize,
    senders: Vec<RawAddress>,
    slices: Vec<libc::iovec>,
    messages: Vec<Message>,
    /// How many messages the last call filled.
    received: usize,
}

impl ReceiveBatch {
    /// Room for `datagrams` (one at least) of up to `capacity` bytes each.
    pub fn new(datagrams: usize, capacity: usize) -> Self {
        let datagrams = datagrams.max(1);
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            data: vec![0; datagrams.saturating_mul(capacity)],
            capacity,
            senders: vec![RawAddress::EMPTY; datagrams],
            slices: vec![nothing; datagrams],
            messages: vec![Message::empty(); datagrams],
            received: 0,
        }
    }

    /// How many datagrams it holds.
    pub fn datagrams(&self) -> usize {
        self.messages.len()
    }

    /// How long they may be, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Receives what waits in `fd`, up to `limit` datagrams (one at least) and as many as there is
    /// room for, and replaces what was received before. Answers how many: never 0.
    ///
    /// Fewer than the limit say that no more waited: a call to find that out is not needed. An
    /// error behind them stays in the socket, which is reported as ready again.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing waits; `ECONNREFUSED` and the like
    /// when something that was sent met a closed port, once for each such report.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.received = 0;
        let room = limit.clamp(1, self.messages.len());
        self.prepare(room);
        let messages = &mut self.messages[..room];
        // A UNIX datagram may bring descriptors. Without room for control data none is taken.
        // SAFETY: `prepare` has just pointed each message to its own room in `data` and its own
        // place in `senders`, which nothing touches until the call is over.
        self.received = unsafe { message::receive(fd, messages, libc::MSG_DONTWAIT)? };
        Ok(self.received)
    }

    /// How many datagrams the last call received.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The content of datagram `index`, at most [`capacity`](Self::capacity) bytes of it.
    ///
    /// # Panics
    ///
    /// When the last call did not receive so many.
    pub fn data(&self, index: usize) -> &[u8] {
        let length = self.message(index).length().min(self.capacity);
        &self.data[index * self.capacity..][..length]
    }

    /// Whether datagram `index` was longer than the capacity, and its end is lost.
    ///
    /// # Panics
    ///
    /// As [`data`](Self::data).
    pub fn is_truncated(&self, index: usize) -> bool {
        self.message(index).is_truncated()
    }

    /// Who sent datagram `index`; `None` for a UNIX socket without a name.
    ///
    /// # Panics
    ///
    /// As [`data`](Self::data).
    pub fn sender(&self, index: usize) -> Option<Address> {
        let mut sender = self.senders[index];
        sender.set_length(self.message(index).name_length());
        match sender.decode() {
            Some(Address::Unix(address)) if address.is_unnamed() => None,
            sender => sender,
        }
    }

    fn message(&self, index: usize) -> &Message {
        &self.messages[..self.received][index]
    }

    /// Points the first `room` messages to their places.
    fn prepare(&mut self, room: usize) {
        let rooms = self.data.as_mut_ptr();
        let messages = self.messages[..room].iter_mut();
        let places = self.slices.iter_mut().zip(&mut self.senders);
        for (index, (message, (slice, sender))) in messages.zip(places).enumerate() {
            // One room after the other ends within `data`, by its length.
            slice.iov_base = rooms.wrapping_add(index * self.capacity).cast();
            slice.iov_len = self.capacity;
            message.receive_into(slice, sender);
        }
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReceiveBatch")
            .field("datagrams", &self.datagrams())
            .field("capacity", &self.capacity)
            .field("received", &self.received)
            .finish()
    }
}
