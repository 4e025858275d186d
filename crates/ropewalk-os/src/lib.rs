//! The kernel seam of ropewalk: pollers, the registry of sources, waker, sockets, signals, child
//! processes.
//!
//! All `unsafe` of the Rust face is here (see SAFETY.md). It knows system calls, descriptors and
//! `errno`; it does not know callbacks, timers, protocols, TLS or Python.

mod default_action;
mod descriptors;
mod events;
mod host_fd;
mod interest;
pub mod lock_file;
pub mod pipe;
mod poller;
pub mod process;
mod raw_mode;
mod registry;
mod signal;
mod signal_number;
pub mod socket;
pub mod systemd;
mod token;
mod waker;

pub use events::{Event, Events};
pub use host_fd::HostFd;
pub use interest::{Interest, Readiness};
pub use poller::kqueue;
pub use poller::{Capabilities, POLLER_VARIABLE, Poller, PollerKind, UnknownPoller};
pub use raw_mode::RawMode;
pub use registry::{Registry, SourceFd};
pub use signal::SignalSet;
pub use signal_number::Signal;
pub use token::Token;
pub use waker::Waker;
