//! A port's receiving.

use std::io;
use std::rc::Rc;

use ropewalk_os::Token;
use ropewalk_os::socket::Address;
use ropewalk_os::socket::datagram::ReceiveBatch;

use super::pace::Taken;
use super::port::Port;
use crate::error::Disconnect;
use crate::reactor::core::Core;
use crate::transport::{NetAddr, UnixAddr};

/// How often in a row receiving may fail, other than by refusals, before the port is closed: an
/// error that does not go by would keep every wait from waiting.
const FAILURES: u32 = 100;

impl Port {
    /// Receives as much as this socket's pace and bounds allow. Answers whether anything came of it:
    /// a datagram or an error.
    pub(super) fn receive(&self, core: &Rc<Core>, token: Token) -> bool {
        if !self.receives() {
            return false;
        }
        if self.is_busy() {
            // A nested turn inside a callback: not watched until that has returned.
            self.owed.receive.set(true);
            self.update_interest(core);
            return true;
        }
        let mut batch = core.transports.take_batch(self.longest);
        let found = self.receive_batches(core, token, &mut batch);
        core.transports.give_batch(batch);
        found
    }

    fn receive_batches(&self, core: &Rc<Core>, token: Token, batch: &mut ReceiveBatch) -> bool {
        let mut taken = Taken::default();
        let mut found = false;
        while self.token.get() == Some(token) && self.receives() {
            let Some(ask) = self.pace.ask(&taken) else {
                break;
            };
            let received = core.engine.with_fd(token, |fd| batch.receive(fd, ask));
            let count = match received {
                Some(Ok(count)) => count,
                Some(Err(error)) => return self.receive_failed(core, error) || found,
                None => break,
            };
            self.failures.set(0);
            found = true;
            let lengths = (0..count).map(|index| batch.data(index).len());
            let more = self.pace.note(&mut taken, ask, lengths);
            self.hand_over(core, batch, count);
            if !more {
                break;
            }
        }
        found
    }

    /// Gives the protocol what was received; what it does not want now is kept for later.
    fn hand_over(&self, core: &Rc<Core>, batch: &ReceiveBatch, count: usize) {
        for index in 0..count {
            let Some(from) = self.sender(batch.sender(index)) else {
                continue;
            };
            let data = batch.data(index);
            if self.receives() {
                self.tell_datagram(core, data, from);
            } else if self.is_open() && !self.is_stopping() {
                self.held.borrow_mut().push_back((data.into(), from));
            }
        }
    }

    /// Whose a datagram is, by what the system tells.
    fn sender(&self, told: Option<Address>) -> Option<NetAddr> {
        match told {
            Some(Address::Inet(from)) => Some(from.into()),
            Some(Address::Unix(from)) => {
                // Mostly the last one again, whose name is shared instead of copied.
                let mut last = self.last_sender.borrow_mut();
                if last.as_bytes() != from.as_bytes() {
                    *last = UnixAddr::from_system(&from);
                }
                Some(last.clone().into())
            }
            None => self.is_unix().then(|| UnixAddr::UNNAMED.into()),
        }
    }

    fn tell_datagram(&self, core: &Rc<Core>, data: &[u8], from: NetAddr) {
        let wanted = match &*self.peer.borrow() {
            Some(peer) => same_peer(peer, &from),
            None => true,
        };
        if !wanted || data.len() > self.longest {
            // What others sent before the port was connected, and what the options rule out.
            tracing::debug!(%from, len = data.len(), "a datagram is passed over");
            return;
        }
        self.tell(core, "a protocol's datagram_received", |protocol, port| {
            protocol.datagram_received(port, data, from);
        });
    }

    /// Gives the protocol what it would not have when it came.
    pub(super) fn deliver_held(&self, core: &Rc<Core>) {
        while self.receives() && !self.is_busy() {
            // Bound first, so that the borrow ends before user code runs.
            let next = self.held.borrow_mut().pop_front();
            let Some((data, from)) = next else { return };
            self.tell_datagram(core, &data, from);
        }
    }

    /// Answers whether the system said anything but that nothing waits.
    fn receive_failed(&self, core: &Rc<Core>, error: io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.failures.set(0);
                return false;
            }
            io::ErrorKind::ConnectionRefused => {
                self.note_refused();
                return true;
            }
            _ => {}
        }
        self.failures.set(self.failures.get() + 1);
        tracing::debug!(local = %self.local.borrow(), %error, "receiving failed");
        if self.failures.get() > FAILURES {
            self.close(core, Disconnect::Lost(error));
        }
        true
    }
}

/// Whether a datagram from `from` is the peer's. Scopes are left out: the peer may have been named
/// without one.
pub(super) fn same_peer(peer: &NetAddr, from: &NetAddr) -> bool {
    match (peer, from) {
        (NetAddr::Ip(peer), NetAddr::Ip(from)) => {
            peer.ip() == from.ip() && peer.port() == from.port()
        }
        _ => peer == from,
    }
}
