//! Sending many datagrams with one call.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use super::super::address::{Address, RawAddress};
use super::FLAGS;
use super::message::{self, Message};

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its content.
    pub data: &'a [u8],
    /// Where it goes: to the peer of a connected socket when there is none.
    pub to: Option<&'a Address>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Sent {
    /// How many datagrams were sent, from the first on.
    pub count: usize,
    /// Why the datagram after those was not: `None` when all were. See [`send`](super::send) for
    /// what it may be.
    pub error: Option<io::Error>,
}

/// Headers for the datagrams of one call, used again by the next.
pub struct SendBatch {
    names: Vec<RawAddress>,
    slices: Vec<libc::iovec>,
    messages: Vec<Message>,
}

impl SendBatch {
    /// For `datagrams` (one at least).
    pub fn new(datagrams: usize) -> Self {
        let datagrams = datagrams.max(1);
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            names: vec![RawAddress::EMPTY; datagrams],
            slices: vec![nothing; datagrams],
            messages: vec![Message::empty(); datagrams],
        }
    }

    /// How many datagrams one call takes.
    pub fn datagrams(&self) -> usize {
        self.messages.len()
    }

    /// Sends datagrams in order, as many as the batch takes, up to the first that fails: the error
    /// is that of datagram number [`count`](Sent::count), and nothing after it was tried.
    pub fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        datagrams: impl IntoIterator<Item = Datagram<'a>>,
    ) -> Sent {
        let total = self.prepare(datagrams);
        let mut count = 0;
        while count < total {
            let messages = &mut self.messages[count..total];
            // SAFETY: `prepare` has just pointed each message to its slice and name in this batch,
            // and to data that is borrowed for `'a`, which outlives this call.
            match unsafe { message::send(fd, messages, FLAGS) } {
                // The system tells of the error of a later message by what it did not send. To
                // send it again shows the error, or shows that there is none any more.
                Ok(sent) => count += sent,
                Err(error) => {
                    let error = Some(error);
                    return Sent { count, error };
                }
            }
        }
        Sent { count, error: None }
    }

    /// Points messages to the datagrams that there is room for, and answers how many.
    fn prepare<'a>(&mut self, datagrams: impl IntoIterator<Item = Datagram<'a>>) -> usize {
        let places = self.names.iter_mut().zip(&mut self.slices);
        let mut total = 0;
        // The datagrams come last, so that none is taken from them without a place.
        for ((message, (name, slice)), datagram) in
            self.messages.iter_mut().zip(places).zip(datagrams)
        {
            // sendmsg only reads the data.
            slice.iov_base = datagram.data.as_ptr().cast_mut().cast();
            slice.iov_len = datagram.data.len();
            let to = datagram.to.map(|to| {
                name.set(to);
                &*name
            });
            message.send_from(slice, to);
            total += 1;
        }
        total
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SendBatch")
            .field("datagrams", &self.datagrams())
            .finish()
    }
}
