//! Listening on UNIX sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ropewalk_os::socket::unix;

use super::{Place, UnixAddr, UnixListenOptions, place};
use crate::error::{Error, Result};
use crate::reactor::Reactor;
use crate::transport::listener::Port;
use crate::transport::{Factory, ListeningPort};

/// UNIX sockets.
impl Reactor {
    /// Listens on a UNIX socket: a path, or an abstract name (text that begins with a zero byte,
    /// [`UnixAddr::abstract_name`]). `factory` makes a protocol for each connection, from the next
    /// turn on; a closure that takes the peer's address will do.
    ///
    /// The path is made here and removed when the port is closed, unless it names something else by
    /// then. One that exists is refused; see [`UnixListenOptions::lock`] for how to recover what a
    /// killed process left. On Linux an empty name has the system choose an abstract one.
    ///
    /// # Errors
    ///
    /// [`Error::CannotListen`]: the path exists, is too long, or the system refused otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::{Protocol, Reactor, Transport};
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         transport.write(data);
    ///     }
    /// }
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// # let directory = std::env::temp_dir().join(format!("ropewalk-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory).expect("a directory for temporary files");
    /// let port = reactor.listen_unix(directory.join("echo.sock"), |_peer| Echo)?;
    /// println!("listening on {}", port.local_addr());
    /// # reactor.disconnect_all();
    /// # std::fs::remove_dir(&directory).expect("the port has removed its socket");
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_unix(
        &self,
        address: impl Into<UnixAddr>,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        self.listen_unix_with(address, UnixListenOptions::new(), factory)
    }

    /// Listens as [`listen_unix`](Self::listen_unix) does, with other options than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`listen_unix`](Self::listen_unix); with a lock,
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when a live process holds it.
    pub fn listen_unix_with(
        &self,
        address: impl Into<UnixAddr>,
        options: UnixListenOptions,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        let address = address.into();
        let opened = open(&address, &options);
        let (fd, local, place) = opened.map_err(|source| Error::CannotListen {
            addr: address.into(),
            source,
        })?;
        let port = Port::open(&self.core, fd, local.into(), place, Box::new(factory));
        Ok(ListeningPort::new(port))
    }
}

/// Makes a socket that listens on `address`. Whatever fails, nothing stays behind.
fn open(
    address: &UnixAddr,
    options: &UnixListenOptions,
) -> io::Result<(OwnedFd, UnixAddr, Option<Place>)> {
    let fd = unix::stream_socket()?;
    let place = place::bind(fd.as_fd(), address, options.file)?;
    unix::listen(fd.as_fd(), options.backlog)?;
    let local = UnixAddr::from_system(&unix::local_addr(fd.as_fd())?);
    Ok((fd, local, place))
}
