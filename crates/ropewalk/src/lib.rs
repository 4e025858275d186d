//! A callback reactor with batteries: TCP, UDP, UNIX sockets, TLS, child processes, timers, threads,
//! signals and name resolution on one single-threaded, level-triggered event loop, with its poller chosen at run
//! time.
//!
//! ```no_run
//! use ropewalk::{Protocol, Reactor, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! fn main() -> ropewalk::Result<()> {
//!     let reactor = Reactor::new()?;
//!     let port = reactor.listen_tcp("127.0.0.1:8007", |_peer| Echo)?;
//!     println!("listening on {}", port.local_addr());
//!     reactor.run()
//! }
//! ```
//!
//! # What there is
//!
//! - [`Reactor`]: the loop. Lifecycle and system events, [delayed calls](Reactor::call_later),
//!   [tasks](Reactor::spawn_local), [jobs for threads](Reactor::defer_to_thread),
//!   [names](Reactor::resolve). [`Remote`] is its handle for other threads.
//! - [`Protocol`] handles one connection, a [`Factory`] (any closure that takes the peer's address)
//!   makes protocols, a [`Transport`] sends, with flow control both ways.
//! - [`ListeningPort`] and [`Connector`] are what [`Reactor::listen_tcp`] and
//!   [`Reactor::connect_tcp`] give, and [`Reactor::listen_unix`] and [`Reactor::connect_unix`], whose
//!   transports [pass descriptors](Transport::send_descriptor) too; [`Descriptor`] lets the loop
//!   watch anything else.
//! - Any of them may speak TLS, from the first byte or from the middle: module `tls`, of the
//!   feature with that name.
//! - Sockets made elsewhere are [adopted](Reactor::adopt_listener), those that [`systemd`] passes
//!   among them.
//! - [`DatagramProtocol`] handles the datagrams of a UDP or UNIX socket ([`Reactor::listen_udp`],
//!   [`Reactor::listen_unix_datagram`]), and a [`DatagramTransport`] sends them.
//! - [`Reactor::stdio`] serves standard input and output, whatever they are.
//! - [`Reactor::spawn_process`] starts child processes, with pipes or in a terminal: module
//!   [`process`]. [`Reactor::on_signal`] hears of signals.
//! - [`Deferred`] is a result that comes later: awaitable, and with callbacks.
//! - Errors say whose fault they are ([`Error`], [`Misuse`], [`ConnectError`]); the end of a
//!   connection is no error but a [`Disconnect`].
//!
//! # Rules of the loop
//!
//! - Everything but [`Remote`] belongs to one thread, and no thread is started before a job or a
//!   name needs one.
//! - No callback runs while the reactor borrows its own tables: any callback may add, close or
//!   remove anything, itself included, stop the reactor, or run a nested [turn](Reactor::turn).
//! - What a callback schedules waits for the next turn, so nothing can starve the rest.
//! - Writes are queued and go out together, once per turn.
//! - A callback that panics is reported ([`Reactor::on_failure`]) and the loop goes on.
//!
//! # Inside another loop
//!
//! A reactor need not own its thread's loop: [`host`] says how it lives in another one, and runs it
//! inside tokio (feature `tokio`).
//!
//! # For embedders
//!
//! A program with a lifecycle of its own (another event loop, a language binding) may use
//! [`engine`] with [`os`] and [`proto`], of which the reactor itself is made.
#![forbid(unsafe_code)]

/// The examples of the page that visitors read first.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod deferred;
pub mod engine;
mod error;
pub mod host;
pub mod process;
mod reactor;
pub mod systemd;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

pub use deferred::{Deferred, DeferredSender};
pub use error::{ConnectError, ConnectErrorKind, Disconnect, Error, Misuse, Result};
pub use reactor::{
    BlockingResolver, Builder, DelayedCall, Failure, Phase, PoolResolver, Reactor, Remote,
    Resolver, SignalHandler, State, StaticResolver, Trigger, TriggerOutcome,
};
pub use ropewalk_os::{PollerKind, Signal};
pub use transport::{
    Address, AddressFault, ConnectOptions, Connector, ConnectorState, DatagramProtocol,
    DatagramTransport, Descriptor, Factory, Interface, ListenOptions, ListeningPort, NetAddr,
    PeerCredentials, Producer, ProducerKind, Protocol, SendError, StandardIo, StandardIoProtocol,
    Transport, UdpOptions, UnixAddr, UnixConnectOptions, UnixDatagramOptions, UnixListenOptions,
};

/// The kernel seam: pollers, registry, waker, sockets, signals. For embedders of [`engine`].
pub use ropewalk_os as os;
/// Protocol state without I/O: write queue, stream state, TLS session. For embedders of [`engine`].
pub use ropewalk_proto as proto;
