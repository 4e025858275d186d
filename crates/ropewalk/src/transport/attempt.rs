//! One attempt to connect: resolve, create, bind, connect, wait.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use ropewalk_os::socket::{self, ConnectStart, unix};
use ropewalk_os::{Interest, Readiness, SourceFd, Token, lock_file};

use super::address::Target;
use super::connector::{Client, ConnectorState};
use super::stream::Socket;
use super::{NetAddr, UnixAddr};
use crate::engine::TimerId;
use crate::error::{ConnectError, ConnectErrorKind, Disconnect, Error, Result};
use crate::reactor::core::{Core, Source};

/// How long an attempt waits before it asks a listener again whose backlog is full.
const REST: Duration = Duration::from_millis(5);

/// An attempt that is under way.
#[derive(Default)]
pub(crate) struct Attempt {
    /// The time limit.
    timer: Option<TimerId>,
    /// The socket that is tried now.
    trying: Option<Trying>,
    /// The addresses to try after it.
    more: VecDeque<SocketAddr>,
}

struct Trying {
    token: Token,
    address: NetAddr,
    /// Whether connect(2) was called, so that the outcome is to be asked for.
    started: bool,
}

impl Client {
    /// Begins attempt number `serial`. The socket is created and bound here, so that the local
    /// address is taken from now on; all else happens in later turns.
    pub(crate) fn begin(&self, core: &Rc<Core>, serial: u64) {
        let Some(me) = self.me.upgrade() else { return };
        let give_up = Rc::clone(&me);
        let timer = self.options.timeout.map(|limit| {
            core.call_later(
                limit,
                Box::new(move |reactor| {
                    let error = ConnectError::new(ConnectErrorKind::Timeout);
                    give_up.fail_attempt(&reactor.core, serial, error);
                }),
            )
        });
        *self.attempt.borrow_mut() = Some(Attempt {
            timer,
            ..Attempt::default()
        });
        match self.destination.target() {
            Ok(Target::Socket(address)) => self.try_address(core, address.into()),
            Ok(Target::Unix(address)) => self.try_address(core, address.into()),
            Ok(Target::Name { host, port }) => {
                core.call_later(
                    Duration::ZERO,
                    Box::new(move |reactor| me.look_up(&reactor.core, serial, &host, port)),
                );
            }
            Err(error) => unreachable!("the connector was made with an address: {error}"),
        }
    }

    fn look_up(self: &Rc<Self>, core: &Rc<Core>, serial: u64, host: &str, port: u16) {
        if !self.is_current(serial) {
            return;
        }
        let (me, reactor) = (Rc::clone(self), Rc::downgrade(core));
        let found = core.resolve(host, port).then(move |found| {
            // A reactor that is gone has nobody left to tell.
            let Some(core) = reactor.upgrade() else {
                return;
            };
            if me.is_current(serial) {
                me.found(&core, found);
            }
        });
        found.ignore();
    }

    fn found(&self, core: &Rc<Core>, found: Result<Vec<SocketAddr>>) {
        let mut addresses = match found {
            Ok(addresses) => VecDeque::from(addresses),
            Err(error) => return self.fail(core, unresolved(error)),
        };
        if let Some(bind) = self.options.bind {
            addresses.retain(|address| address.is_ipv4() == bind.is_ipv4());
        }
        let Some(first) = addresses.pop_front() else {
            let none = io::Error::new(io::ErrorKind::NotFound, "no address of a usable family");
            return self.fail(
                core,
                ConnectError::with_source(ConnectErrorKind::Resolve, none),
            );
        };
        if let Some(attempt) = self.attempt.borrow_mut().as_mut() {
            attempt.more = addresses;
        }
        self.try_address(core, first.into());
    }

    /// Creates a socket for `address`; it connects in the next dispatch.
    fn try_address(&self, core: &Rc<Core>, address: NetAddr) {
        let fd = match self.create(&address) {
            Ok(fd) => fd,
            Err(error) => return self.fail_later(core, error),
        };
        let Some(me) = self.me.upgrade() else { return };
        let token = core.engine.insert(SourceFd::from(fd), me as Rc<dyn Source>);
        if let Some(attempt) = self.attempt.borrow_mut().as_mut() {
            attempt.trying = Some(Trying {
                token,
                address,
                started: false,
            });
        }
        core.engine.request_ready(token, Readiness::WRITABLE);
    }

    fn create(&self, address: &NetAddr) -> Result<OwnedFd, ConnectError> {
        let os = |error| ConnectError::with_source(ConnectErrorKind::Os, error);
        let address = match address {
            NetAddr::Ip(address) => *address,
            NetAddr::Unix(address) => {
                if self.options.check_lock {
                    check_lock(address)?;
                }
                return unix::stream_socket().map_err(os);
            }
        };
        let fd = socket::stream_socket(address).map_err(os)?;
        if let Some(bind) = self.options.bind {
            let bound = socket::bind(fd.as_fd(), bind);
            bound.map_err(|e| ConnectError::with_source(ConnectErrorKind::Bind, e))?;
        }
        Ok(fd)
    }

    /// Goes one step on with the socket that is tried.
    fn go_on(&self, core: &Rc<Core>, token: Token) {
        let Some((address, started)) = self.trying(token) else {
            return;
        };
        let outcome = core.engine.with_fd(token, |fd| {
            if started {
                return outcome(fd, &address);
            }
            match connect(fd, &address)? {
                ConnectStart::Connected => Ok(Some(address)),
                ConnectStart::InProgress => Ok(None),
            }
        });
        match outcome {
            Some(Ok(Some(peer))) => self.connected(core, peer),
            Some(Ok(None)) => {
                if let Some(trying) = self
                    .attempt
                    .borrow_mut()
                    .as_mut()
                    .and_then(Attempt::current)
                {
                    trying.started = true;
                }
                core.engine.set_interest(token, Interest::WRITABLE);
            }
            // The backlog of a UNIX listener is full, and nothing tells when there is room.
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.try_again_later(core, token);
            }
            Some(Err(error)) => self.address_failed(core, ConnectError::from_connect(error)),
            None => {}
        }
    }

    fn try_again_later(&self, core: &Rc<Core>, token: Token) {
        let Some(me) = self.me.upgrade() else { return };
        core.call_later(
            REST,
            Box::new(move |reactor| {
                if me.trying(token).is_some() {
                    reactor
                        .core
                        .engine
                        .request_ready(token, Readiness::WRITABLE);
                }
            }),
        );
    }

    fn trying(&self, token: Token) -> Option<(NetAddr, bool)> {
        let attempt = self.attempt.borrow();
        let trying = attempt.as_ref()?.trying.as_ref()?;
        (trying.token == token).then(|| (trying.address.clone(), trying.started))
    }

    fn connected(&self, core: &Rc<Core>, peer: NetAddr) {
        let socket = self.abandon(core);
        match socket {
            Some(SourceFd::Owned(fd)) => self.succeed(core, Socket::new(fd, peer)),
            _ => unreachable!("the attempt made the socket and owns it"),
        }
    }

    /// An address failed: tries the next one.
    fn address_failed(&self, core: &Rc<Core>, error: ConnectError) {
        let next = {
            let mut attempt = self.attempt.borrow_mut();
            attempt
                .as_mut()
                .and_then(|attempt| Some((attempt.more.pop_front()?, attempt.trying.take())))
        };
        let Some((address, failed)) = next else {
            return self.fail(core, error);
        };
        drop(failed.and_then(|failed| core.engine.remove(failed.token)));
        self.try_address(core, address.into());
    }

    /// Fails in a later turn, as everything about an attempt does.
    fn fail_later(&self, core: &Rc<Core>, error: ConnectError) {
        let (Some(me), serial) = (self.me.upgrade(), self.serial.get()) else {
            return;
        };
        core.call_later(
            Duration::ZERO,
            Box::new(move |reactor| {
                if me.is_current(serial) {
                    me.address_failed(&reactor.core, error);
                }
            }),
        );
    }

    fn fail_attempt(&self, core: &Rc<Core>, serial: u64, error: ConnectError) {
        if self.is_current(serial) {
            self.fail(core, error);
        }
    }

    fn is_current(&self, serial: u64) -> bool {
        self.serial.get() == serial && self.state.get() == ConnectorState::Connecting
    }

    /// Ends the attempt, its time limit included, and takes its socket out of the engine.
    pub(crate) fn abandon(&self, core: &Core) -> Option<SourceFd> {
        let attempt = self.attempt.take()?;
        if let Some(timer) = attempt.timer {
            core.cancel_call(timer);
        }
        let (fd, source) = core.engine.remove(attempt.trying?.token)?;
        drop(source);
        Some(fd)
    }
}

impl Attempt {
    fn current(&mut self) -> Option<&mut Trying> {
        self.trying.as_mut()
    }
}

impl Source for Client {
    fn ready(&self, core: &Rc<Core>, token: Token, _: Readiness) {
        if !self.factory.is_busy() {
            return self.go_on(core, token);
        }
        // A nested turn inside a callback of the factory, which can hear of no outcome now.
        core.engine.set_interest(token, Interest::NONE);
        let core = Rc::clone(core);
        self.factory
            .notify(&Rc::clone(&core), "a connector", move |_| {
                core.engine.request_ready(token, Readiness::WRITABLE);
            });
    }

    fn flush(&self, _: &Rc<Core>, _: Token) {}

    fn register_failed(&self, core: &Rc<Core>, token: Token, error: io::Error) {
        if self.trying(token).is_some() {
            self.address_failed(core, ConnectError::with_source(ConnectErrorKind::Os, error));
        }
    }

    fn connection_lost(&self, core: &Rc<Core>, _: Disconnect) {
        self.fail(core, ConnectError::new(ConnectErrorKind::Cancelled));
    }

    fn orphaned(&self) {
        self.factory.abandon();
    }
}

/// Whether a living process holds the lock of the path.
fn check_lock(address: &UnixAddr) -> Result<(), ConnectError> {
    let Some(path) = address.as_path() else {
        return Ok(());
    };
    match lock_file::is_locked(&lock_file::lock_path(path)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectError::new(ConnectErrorKind::NotLocked)),
        Err(error) => Err(ConnectError::with_source(
            ConnectErrorKind::NotLocked,
            error,
        )),
    }
}

fn connect(fd: BorrowedFd<'_>, address: &NetAddr) -> io::Result<ConnectStart> {
    match address {
        NetAddr::Ip(address) => socket::connect(fd, *address),
        NetAddr::Unix(address) => unix::connect(fd, &address.to_system()?),
    }
}

/// What became of connect(2) to `address`: the peer, an error, or nothing yet.
fn outcome(fd: BorrowedFd<'_>, address: &NetAddr) -> io::Result<Option<NetAddr>> {
    if let Some(error) = socket::take_error(fd)? {
        return Err(error);
    }
    let peer = match address {
        NetAddr::Ip(_) => socket::peer_addr(fd).map(NetAddr::Ip),
        NetAddr::Unix(_) => unix::peer_addr(fd).map(|_| address.clone()),
    };
    match peer {
        Ok(peer) => Ok(Some(peer)),
        // A report may be spurious: the connection is still being made.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}

fn unresolved(error: Error) -> ConnectError {
    let source = match error {
        Error::Resolve { source, .. } => source,
        other => io::Error::other(other.to_string()),
    };
    ConnectError::with_source(ConnectErrorKind::Resolve, source)
}
