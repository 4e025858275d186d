//! Connections, ports, connectors and datagrams over internet and UNIX sockets, child processes,
//! standard input and output, and foreign descriptors.
//!
//! A transport is a [`Source`](crate::reactor::core::Source) of the engine on one side and calls a
//! [`Protocol`] on the other. The rules that hold for all of them:
//!
//! - The user's object is taken out of its cell while one of its callbacks runs, so the callback may
//!   call anything, a nested turn included. What happens to that object meanwhile is told to it
//!   when the callback has returned.
//! - Nothing is sent, connected or closed inside the call that asks for it, but in a later step.
//!   The exceptions are named where they are.
//! - A callback that panics is reported, and costs its connection, never a port or the loop.
//!
//! TLS is a layer of a stream, of which only `stream` knows. Nothing here knows which poller it
//! runs on, or the reactor's lifecycle.

mod accept;
mod address;
mod adopt;
mod attempt;
mod connector;
mod datagram;
mod factory;
mod foreign;
mod handle;
mod listener;
mod net_addr;
mod options;
mod pipe;
mod process;
mod producer;
mod protocol;
mod slot;
mod stdio;
mod stream;
mod unix;

use std::cell::{Cell, RefCell};
use std::io;

use ropewalk_os::process::ExitNotice;
use ropewalk_os::socket::FdReserve;
use ropewalk_os::socket::datagram::ReceiveBatch;

pub(crate) use process::{Children, reap_abandoned};

pub use address::Address;
pub use connector::{Connector, ConnectorState};
pub use datagram::{
    AddressFault, DatagramProtocol, DatagramTransport, Interface, SendError, UdpOptions,
    UnixDatagramOptions,
};
pub use factory::Factory;
pub use foreign::Descriptor;
pub use handle::{PeerCredentials, Transport};
pub use listener::ListeningPort;
pub use net_addr::NetAddr;
pub use options::{ConnectOptions, ListenOptions};
pub use process::{Command, Process, ProcessProtocol};
pub use producer::{Producer, ProducerKind};
pub use protocol::Protocol;
pub use stdio::{StandardIo, StandardIoProtocol};
pub use unix::{UnixAddr, UnixConnectOptions, UnixListenOptions};

/// What the transports of one reactor share.
pub(crate) struct Shared {
    /// The descriptor that ports shed connections with when no other is free.
    reserve: RefCell<FdReserve>,
    watched: RefCell<foreign::Watched>,
    /// What datagrams are received into; empty while in use, and before the first.
    batch: Cell<Option<ReceiveBatch>>,
    pub(crate) children: Children,
    /// Memory for what is encrypted and about to be sent: connections that are idle have none.
    #[cfg(feature = "tls")]
    ciphertext: Cell<Vec<u8>>,
}

impl Shared {
    /// # Errors
    ///
    /// No descriptor is free to be kept in reserve.
    pub(crate) fn new(notice: ExitNotice) -> io::Result<Self> {
        Ok(Self {
            reserve: RefCell::new(FdReserve::new()?),
            watched: RefCell::default(),
            batch: Cell::new(None),
            children: Children::new(notice),
            #[cfg(feature = "tls")]
            ciphertext: Cell::default(),
        })
    }

    /// Lends the buffers for datagrams of up to `longest` bytes. They are taken, not borrowed, so
    /// that a callback with data in them may run a nested turn; give them back.
    fn take_batch(&self, longest: usize) -> ReceiveBatch {
        let kept = self.batch.take();
        kept.filter(|batch| batch.capacity() > longest)
            .unwrap_or_else(|| datagram::new_batch(longest))
    }

    fn give_batch(&self, batch: ReceiveBatch) {
        self.batch.set(Some(batch));
    }
}
