//! The accept loop of a port.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_os::Token;
use ropewalk_os::socket::{self, AcceptError, unix};

use super::listener::Port;
use super::stream::{Socket, Stream};
use super::{NetAddr, UnixAddr};
use crate::reactor::core::Core;

/// How many connections a port accepts per turn: as many as lately came, and some more.
///
/// The numbers are Twisted's: they let a burst in quickly and keep one port from starving the rest.
pub(crate) struct AcceptCap(Cell<usize>);

impl Default for AcceptCap {
    fn default() -> Self {
        Self(Cell::new(100))
    }
}

impl AcceptCap {
    /// Notes how many came, of as many as were allowed.
    fn note(&self, accepted: usize) {
        let cap = self.0.get();
        self.0.set(if accepted >= cap {
            cap + 20
        } else {
            accepted.max(1)
        });
    }
}

/// How long a port accepts nothing when the system lacks memory or descriptors, and no connection
/// can be shed: asking again at once would keep the loop spinning.
const REST: Duration = Duration::from_millis(100);

/// What one try to accept came to.
enum Accepted {
    Connection(Socket),
    /// That one went wrong; there may be others.
    Skipped,
    /// No descriptor is free in this process or in the system.
    NoDescriptor(io::Error),
    /// Nobody waits.
    Drained,
    /// The system refuses for now.
    Refused(io::Error),
}

impl Port {
    /// Accepts what waits, up to the cap.
    pub(crate) fn accept(&self, core: &Rc<Core>, token: Token) {
        let mut accepted = 0;
        let cap = self.cap.0.get();
        while accepted < cap && self.is_accepting() && !self.factory.is_busy() {
            match self.accept_one(core, token) {
                Accepted::Connection(socket) => self.welcome(core, socket),
                Accepted::Skipped => {}
                Accepted::Drained => break,
                Accepted::NoDescriptor(error) => {
                    self.shed(core, token, &error);
                    break;
                }
                Accepted::Refused(error) => {
                    tracing::warn!(%error, "could not accept a new connection");
                    self.rest(core, REST);
                    break;
                }
            }
            accepted += 1;
        }
        self.cap.note(accepted);
    }

    fn welcome(&self, core: &Rc<Core>, socket: Socket) {
        // Without a protocol the connection is closed by dropping it.
        if let Some(Some(protocol)) = self.factory.build(core, socket.peer.clone()) {
            Stream::open(core, socket, protocol, None, |_| {});
        }
    }

    /// Accepts and closes whoever waits, with the descriptor kept in reserve for that: clients see
    /// a closed connection and not an endless wait, and the loop does not spin.
    fn shed(&self, core: &Rc<Core>, token: Token, error: &io::Error) {
        let mut reserve = core.transports.reserve.borrow_mut();
        let mut shed = 0_usize;
        if reserve.available() {
            reserve.release();
            // Logged after the loop: whoever hears the log could take the descriptor.
            while let Accepted::Connection(_) | Accepted::Skipped = self.accept_one(core, token) {
                shed += 1;
            }
        }
        let rearmed = reserve.reserve();
        drop(reserve);
        tracing::warn!(%error, shed, "out of descriptors: closed connections unserved");
        if shed == 0 || !rearmed {
            self.rest(core, REST);
        }
    }

    fn accept_one(&self, core: &Core, token: Token) -> Accepted {
        let accept = match self.local {
            NetAddr::Ip(_) => accept_ip,
            NetAddr::Unix(_) => accept_unix,
        };
        let Some(result) = core.engine.with_fd(token, accept) else {
            return Accepted::Drained;
        };
        match result {
            Ok(socket) => Accepted::Connection(socket),
            Err(error) => match socket::accept_error(&error) {
                AcceptError::Drained => Accepted::Drained,
                AcceptError::Skip => Accepted::Skipped,
                AcceptError::NoDescriptor => Accepted::NoDescriptor(error),
                AcceptError::Refused => Accepted::Refused(error),
            },
        }
    }
}

fn accept_ip(fd: BorrowedFd<'_>) -> io::Result<Socket> {
    socket::accept(fd).map(|(fd, peer)| Socket::new(fd, peer.into()))
}

fn accept_unix(fd: BorrowedFd<'_>) -> io::Result<Socket> {
    unix::accept(fd).map(|(fd, peer)| Socket::new(fd, UnixAddr::from_system(&peer).into()))
}
