//! A port's sending.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_os::socket::{self, datagram, unix};
use ropewalk_os::{Readiness, Token};

use super::error::{fault, is_nobody_there};
use super::port::{Port, Room};
use super::queue::Flushed;
use super::receive::same_peer;
use super::{AddressFault, SendError};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::reactor::core::Core;
use crate::transport::{NetAddr, UnixAddr};

/// How long a port rests when the system is out of buffers.
const REST: Duration = Duration::from_millis(10);

/// How long a port rests at first when only some receivers are full, and how often in a row that is
/// doubled while nobody takes anything: up to 64 ms.
const FIRST_REST: Duration = Duration::from_millis(1);
const DOUBLINGS: u32 = 6;

/// How often one send passes over refusals of datagrams sent before, which are not its own.
const REFUSALS_PASSED: u32 = 3;

impl Port {
    /// Sends now, or has the datagram wait if the system takes none.
    pub(super) fn send(&self, data: &[u8], to: Option<NetAddr>) -> Result<(), SendError> {
        let (Some(core), Some(token)) = (self.core.upgrade(), self.token.get()) else {
            return Err(SendError::Closed);
        };
        let to = self.receiver(to)?;
        if data.len() > self.longest {
            return Err(SendError::TooLong { size: data.len() });
        }
        if self.room.get() == Room::Free || self.is_next(&to) {
            match self.transmit(&core, token, data, &to) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let apart = self.is_apart();
                    self.set_room(&core, if apart { Room::Resting } else { Room::Full });
                }
                Err(error) if socket::is_no_buffers(&error) => {
                    self.set_room(&core, Room::Resting);
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

    /// Whether each receiver is full by itself, with nothing to tell when it is not: UNIX sockets
    /// that are not connected are reported as writable whatever their receivers do.
    fn is_apart(&self) -> bool {
        self.is_unix() && !self.is_connected()
    }

    /// Whether nothing else waits for this receiver, and what waits for others does not matter.
    fn is_next(&self, to: &NetAddr) -> bool {
        self.is_apart() && !self.queue.borrow().holds_for(to)
    }

    /// Who is meant.
    fn receiver(&self, to: Option<NetAddr>) -> Result<NetAddr, SendError> {
        let peer = self.peer.borrow();
        let Some(to) = to.or_else(|| peer.clone()) else {
            return Err(SendError::NotConnected);
        };
        let fault = match &*peer {
            Some(peer) => (!same_peer(peer, &to)).then_some(AddressFault::NotThePeer),
            None => fault(&to, &self.local.borrow()),
        };
        match fault {
            Some(fault) => Err(SendError::BadAddress { to, fault }),
            None => Ok(to),
        }
    }

    fn transmit(&self, core: &Core, token: Token, data: &[u8], to: &NetAddr) -> io::Result<()> {
        match to {
            NetAddr::Ip(to) => self.transmit_udp(core, token, data, *to),
            NetAddr::Unix(to) => self.transmit_unix(core, token, data, to),
        }
    }

    fn transmit_udp(
        &self,
        core: &Core,
        token: Token,
        data: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        let connected = self.is_connected();
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

    /// A refusal is that of this very datagram: the system knows who is there.
    fn transmit_unix(
        &self,
        core: &Core,
        token: Token,
        data: &[u8],
        to: &UnixAddr,
    ) -> io::Result<()> {
        let connected = self.is_connected();
        let sent = core.engine.with_fd(token, |fd| match connected {
            true => send_to_peer(fd, data, to),
            false => datagram::send_to(fd, data, &to.to_system()?.into()),
        });
        let sent = sent.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()));
        if connected && sent.as_ref().is_err_and(is_nobody_there) {
            self.note_refused();
            self.settle_later(core);
        }
        sent.map(drop)
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
            Flushed::NoBuffers => self.set_room(core, Room::Resting),
            Flushed::Partly { any } => {
                let vain = if any { 0 } else { self.rest.vain.get() + 1 };
                self.rest.vain.set(vain);
                self.set_room(core, Room::Resting);
            }
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
        let send = |data: &[u8], to: &NetAddr| self.transmit(core, token, data, to);
        let note_lost = |error: &io::Error, to: &NetAddr| {
            tracing::debug!(%to, %error, "a datagram that waited could not be sent");
            lost += 1;
        };
        let mut queue = self.queue.borrow_mut();
        let flushed = match self.is_apart() {
            true => queue.flush_apart(send, note_lost),
            false => queue.flush(send, note_lost),
        };
        drop(queue);
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
        match room {
            Room::Free => self.rest.vain.set(0),
            Room::Full => {}
            Room::Resting => self.rest(core),
        }
    }

    /// Sends nothing of what waits for a moment: the socket is writable all the while, so that
    /// waiting for that would be a busy loop.
    fn rest(&self, core: &Rc<Core>) {
        if self.rest.asked.replace(true) {
            return;
        }
        let delay = match self.is_apart() {
            true => FIRST_REST * (1 << self.rest.vain.get().min(DOUBLINGS)),
            false => REST,
        };
        let me = Weak::clone(&self.me);
        core.call_later(
            delay,
            Box::new(move |reactor| {
                let Some(port) = me.upgrade() else { return };
                port.rest.asked.set(false);
                if port.room.get() == Room::Resting {
                    port.ask_later(&reactor.core, Readiness::WRITABLE);
                }
            }),
        );
    }

    pub(super) fn connect(&self, peer: NetAddr) -> Result<(), ConnectError> {
        let (Some(core), Some(token)) = (self.core.upgrade(), self.token.get()) else {
            let closed = io::ErrorKind::NotConnected.into();
            return Err(ConnectError::with_source(ConnectErrorKind::Os, closed));
        };
        if let Some(fault) = fault(&peer, &self.local.borrow()) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, fault.to_string());
            return Err(ConnectError::with_source(ConnectErrorKind::Os, source));
        }
        let connected = core.engine.with_fd(token, |fd| connect(fd, peer));
        let Some(connected) = connected else {
            return Ok(());
        };
        let (peer, local) = connected.map_err(ConnectError::from_connect)?;
        self.peer.replace(Some(peer));
        self.local.replace(local);
        self.drop_waiting(&core);
        Ok(())
    }
}

/// Connects, and answers the addresses of the peer and of this side.
fn connect(fd: BorrowedFd<'_>, peer: NetAddr) -> io::Result<(NetAddr, NetAddr)> {
    match peer {
        NetAddr::Ip(peer) => {
            socket::connect(fd, peer)?;
            // The system may have filled in what was left open of either address.
            Ok((
                socket::peer_addr(fd)?.into(),
                socket::local_addr(fd)?.into(),
            ))
        }
        NetAddr::Unix(peer) => {
            unix::connect(fd, &peer.to_system()?)?;
            let local = UnixAddr::from_system(&unix::local_addr(fd)?);
            Ok((peer.into(), local.into()))
        }
    }
}

/// Sends to the peer of a connected UNIX socket: to whoever is bound to its address by now, when the
/// one there was is gone.
fn send_to_peer(fd: BorrowedFd<'_>, data: &[u8], peer: &UnixAddr) -> io::Result<usize> {
    match datagram::send(fd, data) {
        Err(error) if unix::is_peer_gone(&error) && !peer.is_unnamed() => {
            unix::connect(fd, &peer.to_system()?)?;
            datagram::send(fd, data)
        }
        sent => sent,
    }
}
