//! A callback reactor with batteries: TCP, timers, threads, signals and name resolution on one
//! single-threaded, level-triggered event loop, with its poller chosen at run time.
#![forbid(unsafe_code)]

mod deferred;
pub mod engine;
mod error;
mod reactor;
mod transport;

pub use deferred::{Deferred, DeferredSender};
pub use error::{ConnectError, ConnectErrorKind, Disconnect, Error, Misuse, Result};
pub use reactor::{
    BlockingResolver, Builder, DelayedCall, Failure, Phase, PoolResolver, Reactor, Remote,
    Resolver, State, StaticResolver, Trigger, TriggerOutcome,
};
pub use ropewalk_os::PollerKind;
pub use transport::{
    Address, ConnectOptions, Connector, ConnectorState, Descriptor, Factory, ListenOptions,
    ListeningPort, Producer, ProducerKind, Protocol, Transport,
};

pub use ropewalk_os as os;
pub use ropewalk_proto as proto;
