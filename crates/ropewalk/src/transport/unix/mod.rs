//! UNIX sockets: addresses, ports with their files, connectors.

mod address;
mod connect;
mod listen;
mod options;
pub(super) mod place;

pub use address::UnixAddr;
pub use options::{UnixConnectOptions, UnixListenOptions};
pub(super) use place::{FileOptions, Place};
