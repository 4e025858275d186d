//! A stream's system calls: one read per event, one gathered send per flush.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::{Readiness, Token, socket};
use ropewalk_proto::{Action, CloseReason, WriteQueue};

use super::Stream;
use crate::error::Disconnect;
use crate::reactor::core::Core;
use crate::transport::Protocol;

/// The most one flush sends, in bytes: no stream keeps the loop from the others.
pub(super) const SEND_LIMIT: usize = 128 * 1024;

/// The most pieces one send gathers.
const GATHER: usize = 64;

impl Stream {
    /// Reads once. Answers whether anything came of it: data, an end or an error.
    pub(super) fn read(&self, core: &Rc<Core>, token: Token) -> bool {
        if !self.reads() {
            return false;
        }
        if self.is_busy() {
            self.notes.read_deferred.set(true);
            self.update_interest(core);
            return true;
        }
        if let Some(layer) = self.layer.get() {
            return self.read_secured(core, token, layer);
        }
        let mut buffer = core.engine.take_read_buffer();
        let received = match self.passing {
            None => core
                .engine
                .with_fd(token, |fd| socket::recv(fd, &mut buffer)),
            Some(_) => self.receive_passed(core, token, &mut buffer),
        };
        let found = match received {
            Some(Ok(0)) => {
                let half_close = self.lives_half_closed(core);
                self.act(core, self.step(|state| state.peer_closed(half_close)));
                true
            }
            // A callback about descriptors that came with the data wanted no more.
            Some(Ok(_)) if !self.state.get().is_open() => true,
            Some(Ok(count)) => {
                self.deliver(core, "a protocol's data_received", |protocol, transport| {
                    protocol.data_received(transport, &buffer[..count]);
                });
                true
            }
            Some(Err(error)) if would_block(&error) => false,
            Some(Err(error)) => {
                self.fail(core, error);
                true
            }
            None => false,
        };
        core.engine.give_read_buffer(buffer);
        found
    }

    /// A send failed with `error`: ends the connection when what the peer sent before is read.
    pub(super) fn end_after_input(&self, core: &Rc<Core>, token: Token, error: io::Error) {
        let reads = self.state.get().reads() && !self.is_busy();
        let more = core.engine.with_fd(token, socket::has_input);
        if !reads || more != Some(true) {
            return self.fail(core, error);
        }
        self.read(core, token);
        if self.token.get() == Some(token) {
            self.failure.set(Some(error));
            self.ask_later(core, Readiness::WRITABLE);
        }
    }

    /// The poller reported a hang-up or an error, and there was nothing to read.
    pub(super) fn hung_up(&self, core: &Rc<Core>, token: Token) {
        let half_close = self.lives_half_closed(core);
        let pending = core.engine.with_fd(token, socket::take_error);
        match (self.step(|state| state.hung_up(half_close)), pending) {
            (Action::Close(CloseReason::Lost), Some(Ok(Some(error)) | Err(error))) => {
                self.end(core, Disconnect::Lost(error));
            }
            (action, _) => self.act(core, action),
        }
    }

    pub(super) fn lives_half_closed(&self, core: &Core) -> bool {
        let ask = |protocol: &mut dyn Protocol| protocol.half_close();
        let answer = self.protocol.call(core, "a protocol's half_close", ask);
        answer.flatten().unwrap_or(false)
    }

    /// What is queued may be sent again, or a completed flush comes back.
    pub(super) fn writable(&self, core: &Rc<Core>, token: Token) {
        if !self.state.get().sends() {
            return;
        }
        if let Err(error) = self.send(core, token) {
            self.end_after_input(core, token, error);
        } else if self.is_drained() {
            let producer = self.producer_state();
            self.act(core, self.step(|state| state.drained(producer)));
        }
    }

    /// Sends once; waits for writability exactly while anything is left.
    pub(super) fn send(&self, core: &Core, token: Token) -> io::Result<()> {
        if let Some(layer) = self.layer.get() {
            return self.send_secured(core, token, layer);
        }
        let mut queue = self.queue.borrow_mut();
        let mut released = Released::default();
        let outcome = match &self.passing {
            Some(passing) => passing.send(core, token, &mut queue, &mut released),
            None => send_bytes(core, token, &mut queue, &mut released),
        };
        let blocked = !queue.is_empty();
        // Chunks may belong to the program: they are dropped when nothing is borrowed.
        drop(queue);
        drop(released);
        outcome?;
        if self.notes.blocked.replace(blocked) != blocked {
            self.update_interest(core);
        }
        Ok(())
    }
}

pub(super) fn send_bytes(
    core: &Core,
    token: Token,
    queue: &mut WriteQueue<Bytes>,
    released: &mut Released,
) -> io::Result<()> {
    if queue.is_empty() {
        return Ok(());
    }
    let sent = core
        .engine
        .with_fd(token, |fd| send_once(fd, queue, SEND_LIMIT));
    match sent {
        Some(Ok(sent)) => queue.advance(sent, &mut |chunk| released.keep(chunk)),
        Some(Err(error)) if !would_block(&error) => return Err(error),
        _ => {}
    }
    Ok(())
}

/// One send of at most `limit` bytes.
pub(super) fn send_once(
    fd: BorrowedFd<'_>,
    queue: &WriteQueue<Bytes>,
    limit: usize,
) -> io::Result<usize> {
    if let Some(slice) = first_alone(queue, limit) {
        return socket::send(fd, slice);
    }
    let mut slices = [IoSlice::new(&[]); GATHER];
    let count = queue.fill_slices(&mut slices, limit);
    socket::send_vectored(fd, &slices[..count])
}

/// The first piece, when it is all there is to send.
fn first_alone(queue: &WriteQueue<Bytes>, limit: usize) -> Option<&[u8]> {
    let first = queue.first_slice()?;
    (first.len() == queue.len() || first.len() >= limit).then(|| &first[..first.len().min(limit)])
}

pub(super) fn would_block(error: &io::Error) -> bool {
    // ENOBUFS: out of memory for a moment, to be tried again like a full socket.
    error.kind() == io::ErrorKind::WouldBlock || socket::is_no_buffers(error)
}

/// Chunks that are sent; the usual single one needs no allocation.
#[derive(Default)]
pub(super) struct Released {
    first: Option<Bytes>,
    more: Vec<Bytes>,
}

impl Released {
    pub(super) fn keep(&mut self, chunk: Bytes) {
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.more.push(chunk),
        }
    }
}
