//! A port's sending.

use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_os::socket::{self, datagram};
use ropewalk_os::{Readiness, Token};

use super::error::fault;
use super::port::{Port, Room};
use super::queue::Flushed;
use super::receive::same_peer;
use super::{AddressFault, SendError};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::reactor::core::Core;

/// How long a port rests when the system is out of buffers.
const REST: Duration = Duration::from_millis(10);

/// How often one send passes over refusals of datagrams sent before, which are not its own.
const REFUSALS_PASSED: u32 = 3;

impl Port {
    /// Sends now, or has the datagram wait if the system takes none.
    pub(super) fn send(&self, data: &[u8], to: Option<SocketAddr>) -> Result<(), SendError> {
        let (Some(core), Some(token)) = (self.core.upgrade(), self.token.get()) else {
            return Err(SendError::Closed);
        };
        let to = self.receiver(to)?;
        if data.len() > self.longest {
            return Err(SendError::TooLong { size: data.len() });
        }
        if self.room.get() == Room::Free {
            match self.transmit(&core, token, data, to) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.set_room(&core, Room::Full);
                }
                Err(error) if socket::is_no_buffers(&error) => {
                    self.set_room(&core, Room::NoBuffers);
                }
                Err(error) => return Err(SendError::from_system(error, data.len(), to)),
            }
        }
        // Bound first, so that the borrow ends before the notice is asked for.
        let accepted = self.queue.borrow_mut().push(data, to);
        if !accepted {
            self.note_dropped(&core, 1);
        }
        Ok(())
    }

    /// Who is meant.
    fn receiver(&self, to: Option<SocketAddr>) -> Result<SocketAddr, SendError> {
        let peer = self.peer.get();
        let Some(to) = to.or(peer) else {
            return Err(SendError::NotConnected);
        };
        let fault = match peer {
            Some(peer) => (!same_peer(peer, to)).then_some(AddressFault::NotThePeer),
            None => fault(to, self.local.get()),
        };
        match fault {
            Some(fault) => Err(SendError::BadAddress { to, fault }),
            None => Ok(to),
        }
    }

    fn transmit(&self, core: &Core, token: Token, data: &[u8], to: SocketAddr) -> io::Result<()> {
        let connected = self.peer.get().is_some();
        let call = || {
            core.engine.with_fd(token, |fd| {
                if connected {
                    datagram::send(fd, data)
                } else {
                    datagram::send_to(fd, data, &to.into())
                }
            })
        };
        let mut passed = 0;
        loop {
            match call() {
                // The system tells of an earlier datagram's refusal, and has not sent this one.
                Some(Err(error))
                    if error.kind() == io::ErrorKind::ConnectionRefused
                        && passed < REFUSALS_PASSED =>
                {
                    passed += 1;
                    self.note_refused();
                    self.settle_later(core);
                }
                Some(result) => return result.map(drop),
                None => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }

    /// The socket is writable again, or was let rest.
    pub(super) fn flush_queue(&self, core: &Rc<Core>, token: Token) {
        match self.flush_once(core, token) {
            Flushed::All => {
                self.set_room(core, Room::Free);
                self.owed.drained.set(true);
                self.settle_later(core);
            }
            Flushed::Blocked => self.set_room(core, Room::Full),
            Flushed::NoBuffers => self.set_room(core, Room::NoBuffers),
        }
    }

    /// What waits when the port is closed is offered to the system, and then dropped.
    pub(super) fn flush_last(&self, core: &Rc<Core>) {
        let Some(token) = self.token.get() else {
            return;
        };
        if !self.queue.borrow().is_empty() {
            self.flush_once(core, token);
        }
        self.drop_waiting(core);
    }

    fn flush_once(&self, core: &Rc<Core>, token: Token) -> Flushed {
        let mut lost = 0;
        let flushed = self.queue.borrow_mut().flush(
            |data, to| self.transmit(core, token, data, to),
            |error, to| {
                tracing::debug!(%to, %error, "a datagram that waited could not be sent");
                lost += 1;
            },
        );
        self.note_dropped(core, lost);
        flushed
    }

    fn drop_waiting(&self, core: &Core) {
        // Bound first, so that the borrow ends before the notice is asked for.
        let dropped = self.queue.borrow_mut().clear();
        self.note_dropped(core, dropped);
    }

    fn note_dropped(&self, core: &Core, count: usize) {
        if count > 0 {
            self.owed.dropped.set(self.owed.dropped.get() + count);
            self.settle_later(core);
        }
    }

    fn set_room(&self, core: &Rc<Core>, room: Room) {
        if self.room.replace(room) != room {
            self.update_interest(core);
        }
        if room == Room::NoBuffers {
            self.rest(core);
        }
    }

    /// Sends nothing for a moment: the socket is writable all the while, so that waiting for that
    /// would be a busy loop.
    fn rest(&self, core: &Rc<Core>) {
        let me = Weak::clone(&self.me);
        core.call_later(
            REST,
            Box::new(move |reactor| {
                let Some(port) = me.upgrade() else { return };
                if port.room.get() == Room::NoBuffers {
                    port.set_room(&reactor.core, Room::Full);
                    port.ask_later(&reactor.core, Readiness::WRITABLE);
                }
            }),
        );
    }

    pub(super) fn connect(&self, peer: SocketAddr) -> Result<(), ConnectError> {
        let (Some(core), Some(token)) = (self.core.upgrade(), self.token.get()) else {
            let closed = io::ErrorKind::NotConnected.into();
            return Err(ConnectError::with_source(ConnectErrorKind::Os, closed));
        };
        if let Some(fault) = fault(peer, self.local.get()) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, fault.to_string());
            return Err(ConnectError::with_source(ConnectErrorKind::Os, source));
        }
        let connected = core.engine.with_fd(token, |fd| {
            socket::connect(fd, peer)?;
            // The system may have filled in what was left open of either address.
            Ok((socket::peer_addr(fd)?, socket::local_addr(fd)?))
        });
        let Some(connected) = connected else {
            return Ok(());
        };
        let (peer, local) = connected.map_err(ConnectError::from_connect)?;
        self.peer.set(Some(peer));
        self.local.set(local);
        self.drop_waiting(&core);
        Ok(())
    }
}
