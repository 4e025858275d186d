//! Sockets that a service manager opened for this process: systemd's socket activation.
//!
//! ```no_run
//! use ropewalk::{Protocol, Reactor, Transport, systemd};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let reactor = Reactor::new()?;
//!     for listener in systemd::listeners()? {
//!         println!("serving {}", listener.name());
//!         reactor.adopt_listener(listener, |_peer| Echo)?;
//!     }
//!     reactor.run()?;
//!     Ok(())
//! }
//! ```

use std::os::fd::OwnedFd;

use ropewalk_os::systemd::{PassedDescriptor, listen_descriptors};

use crate::error::{Error, Result};

/// A socket that the service manager passed, for
/// [`Reactor::adopt_listener`](crate::Reactor::adopt_listener).
#[derive(Debug)]
pub struct Listener {
    passed: PassedDescriptor,
}

impl Listener {
    /// The name that the manager gave it (`FileDescriptorName=`, by default the unit's), `unknown`
    /// if it gave none. Several may have the same one.
    pub fn name(&self) -> &str {
        &self.passed.name
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.passed.fd
    }
}

/// What was passed to this process, in order (`LISTEN_FDS`, `LISTEN_FDNAMES`); nothing when it was
/// not started so, or when the variables mean another process (`LISTEN_PID`).
///
/// What each is, adopting it finds out. These are duplicates: the passed descriptors stay open, from
/// number 3 on, as does the manager's, and connections can be made while nobody accepts. The
/// variables stay too, as changing them is not safe beside other threads; children of this process
/// see by `LISTEN_PID` that they are not meant, and do not inherit the descriptors.
///
/// # Errors
///
/// [`Error::Os`]: variables that contradict each other
/// ([`InvalidData`](std::io::ErrorKind::InvalidData)), a descriptor that is not open, or no room for
/// duplicates.
///
/// # References
///
/// [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html).
pub fn listeners() -> Result<Vec<Listener>> {
    let passed = listen_descriptors().map_err(Error::os("take the passed descriptors"))?;
    Ok(passed
        .into_iter()
        .map(|passed| Listener { passed })
        .collect())
}
