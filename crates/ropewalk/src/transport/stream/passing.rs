//! What a UNIX stream has beyond any other: descriptors that travel with its bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::Token;
use ropewalk_os::socket::unix;
use ropewalk_proto::{Flow, WriteQueue};

use super::Stream;
use super::transfer::{Released, SEND_LIMIT, send_once, would_block};
use crate::error::Misuse;
use crate::reactor::core::Core;
use crate::transport::Transport;

/// The most system calls of one flush; each sends one descriptor at most.
const SENDS: usize = 64;

/// The descriptors that a stream has still to send.
#[derive(Default)]
pub(super) struct Passing {
    queue: RefCell<VecDeque<Outgoing>>,
    /// How many bytes the system has taken since the connection began.
    sent: Cell<u64>,
}

struct Outgoing {
    fd: OwnedFd,
    /// How many bytes had been written to the stream before.
    after: u64,
}

/// What the next send may take.
struct Plan {
    /// In bytes.
    limit: usize,
    /// Whether the first descriptor goes with the first of them.
    attach: bool,
}

impl Passing {
    /// Queues `fd` behind the bytes that are queued now.
    fn push(&self, fd: OwnedFd, bytes: &mut WriteQueue<Bytes>) -> Flow {
        let after = self.sent.get() + bytes.len() as u64;
        let mut queue = self.queue.borrow_mut();
        queue.push_back(Outgoing { fd, after });
        if queue.len() > Transport::DESCRIPTOR_HIGH_WATER {
            bytes.pause()
        } else {
            Flow::Keep
        }
    }

    /// Closes what is not sent.
    pub(super) fn clear(&self) {
        drop(self.queue.take());
    }

    /// Sends what the system takes of `bytes`, in turn up to and from a byte that a descriptor goes
    /// with, up to the limits of one flush.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more descriptors than bytes, and what the
    /// system failed with.
    pub(super) fn send(
        &self,
        core: &Core,
        token: Token,
        bytes: &mut WriteQueue<Bytes>,
        released: &mut Released,
    ) -> io::Result<()> {
        let mut room = SEND_LIMIT;
        for _ in 0..SENDS {
            let plan = self.plan(bytes.len())?;
            if bytes.is_empty() || room == 0 {
                break;
            }
            let together = match plan.attach {
                true => bytes.first_slice().map_or(0, <[u8]>::len),
                false => bytes.len(),
            };
            let offered = plan.limit.min(room).min(together);
            let sent = core
                .engine
                .with_fd(token, |fd| self.send_part(fd, bytes, offered, plan.attach));
            let sent = match sent {
                Some(Ok(sent)) => sent,
                Some(Err(error)) if would_block(&error) => 0,
                Some(Err(error)) => return Err(error),
                None => break,
            };
            if plan.attach && sent > 0 {
                drop(self.queue.borrow_mut().pop_front());
            }
            self.sent.set(self.sent.get() + sent as u64);
            bytes.advance(sent, &mut |chunk| released.keep(chunk));
            if sent < offered {
                break;
            }
            room -= sent;
        }
        Ok(())
    }

    /// One send of at most `limit` bytes, which lie together if a descriptor goes with them.
    fn send_part(
        &self,
        fd: BorrowedFd<'_>,
        bytes: &WriteQueue<Bytes>,
        limit: usize,
        attach: bool,
    ) -> io::Result<usize> {
        let queue = self.queue.borrow();
        match (queue.front().filter(|_| attach), bytes.first_slice()) {
            (Some(first), Some(data)) => {
                unix::send_with_descriptors(fd, &data[..limit], &[first.fd.as_fd()])
            }
            _ => send_once(fd, bytes, limit),
        }
    }

    /// A descriptor goes with the first byte written after it. Where nothing was, it goes with the
    /// last bytes that are left, one for each.
    fn plan(&self, queued: usize) -> io::Result<Plan> {
        let queue = self.queue.borrow();
        let Some(spare) = queued.checked_sub(queue.len()) else {
            return Err(overrun(queue.len(), queued));
        };
        let place = |index: usize| {
            let ahead = queue.get(index)?.after.saturating_sub(self.sent.get());
            let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
            Some(ahead.clamp(index, spare + index))
        };
        Ok(match place(0) {
            None => Plan {
                limit: SEND_LIMIT,
                attach: false,
            },
            Some(0) => Plan {
                limit: place(1).unwrap_or(SEND_LIMIT),
                attach: true,
            },
            Some(limit) => Plan {
                limit,
                attach: false,
            },
        })
    }
}

fn overrun(descriptors: usize, bytes: usize) -> io::Error {
    let text = format!(
        "descriptor overrun: {descriptors} queued and {bytes} bytes, but each needs a byte to go with"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// What the bytes mean without their descriptors nobody can know, so the connection ends.
fn lost_descriptors() -> io::Error {
    let text = "descriptors of the peer were lost, as none is free in this process";
    io::Error::other(text)
}

impl Stream {
    /// Receives bytes and the descriptors that came with them, which the protocol is given before
    /// the bytes.
    pub(super) fn receive_passed(
        &self,
        core: &Rc<Core>,
        token: Token,
        buffer: &mut [u8],
    ) -> Option<io::Result<usize>> {
        let mut arrived = Vec::new();
        let received = core.engine.with_fd(token, |fd| {
            unix::receive_with_descriptors(fd, buffer, &mut arrived)
        })?;
        let received = match received {
            Ok(received) => received,
            Err(error) => return Some(Err(error)),
        };
        if received.descriptors_lost {
            return Some(Err(lost_descriptors()));
        }
        for fd in arrived {
            if !self.state.get().is_open() {
                break;
            }
            self.deliver(
                core,
                "a protocol's descriptor_received",
                |protocol, transport| protocol.descriptor_received(transport, fd),
            );
        }
        Some(Ok(received.length))
    }

    /// Queues a descriptor, unless the connection takes no more; then it is closed.
    pub(crate) fn send_descriptor(&self, fd: OwnedFd) -> Result<(), Misuse> {
        let Some(passing) = &self.passing else {
            return Err(Misuse::NotUnixStream);
        };
        if self.layer.get().is_some() {
            return Err(Misuse::TlsInUse);
        }
        if self.state.get().takes_writes() {
            // Bound first, so that the borrow ends before a producer is paused.
            let flow = passing.push(fd, &mut self.queue.borrow_mut());
            self.queued(flow);
        }
        Ok(())
    }
}
