//! How to listen for datagrams.

use std::io;
use std::os::fd::BorrowedFd;

use ropewalk_os::socket;

use crate::transport::unix::FileOptions;

/// How a UDP socket is made; see [`Reactor::listen_udp_with`](crate::Reactor::listen_udp_with).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct UdpOptions {
    pub(super) reuse_address: bool,
    pub(super) reuse_port: bool,
    pub(super) broadcast: bool,
    pub(super) v6_only: Option<bool>,
    pub(super) sizes: Sizes,
    pub(super) device: Option<String>,
}

impl UdpOptions {
    /// The longest datagram that UDP over IPv4 carries, in bytes.
    pub const MAX_IPV4: usize = 65_507;

    /// The longest datagram that UDP over IPv6 carries, in bytes.
    pub const MAX_IPV6: usize = 65_527;

    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the address may be bound although another socket that says so too is bound to it
    /// (`SO_REUSEADDR`); off unless set. On Linux the last one bound then gets what is sent to one
    /// receiver, and all get what is sent to a group or broadcast.
    pub fn reuse_address(self, reuse_address: bool) -> Self {
        Self {
            reuse_address,
            ..self
        }
    }

    /// Whether other sockets that say so too may be bound to the same address (`SO_REUSEPORT`); off
    /// unless set. On Linux each peer's datagrams then go to one of them, and all get what is sent
    /// to a group or broadcast.
    pub fn reuse_port(self, reuse_port: bool) -> Self {
        Self { reuse_port, ..self }
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`); off unless set.
    pub fn broadcast(self, broadcast: bool) -> Self {
        Self { broadcast, ..self }
    }

    /// Whether an IPv6 socket refuses IPv4 peers (`IPV6_V6ONLY`); by default as the system is set
    /// up.
    pub fn v6_only(self, v6_only: bool) -> Self {
        Self {
            v6_only: Some(v6_only),
            ..self
        }
    }

    /// How much the system may hold for this socket until it is received, in bytes (`SO_RCVBUF`);
    /// the system has limits of its own, and Linux doubles the number for its bookkeeping.
    pub fn receive_buffer(self, bytes: usize) -> Self {
        let sizes = self.sizes.receive_buffer(bytes);
        Self { sizes, ..self }
    }

    /// How much the system may hold of this socket's until it is sent, in bytes (`SO_SNDBUF`).
    pub fn send_buffer(self, bytes: usize) -> Self {
        let sizes = self.sizes.send_buffer(bytes);
        Self { sizes, ..self }
    }

    /// The longest datagram that is handled, in bytes: longer ones are refused when sent, and
    /// dropped when received rather than cut. By default whatever UDP carries.
    pub fn max_datagram(self, bytes: usize) -> Self {
        let sizes = self.sizes.max_datagram(bytes);
        Self { sizes, ..self }
    }

    /// How much may wait in the transport while the system takes no more, in bytes; 256 KiB unless
    /// set. Each datagram counts 64 bytes besides its own. What is sent beyond that is dropped, and
    /// the protocol told ([`datagrams_dropped`](crate::DatagramProtocol::datagrams_dropped)).
    pub fn queue_bound(self, bytes: usize) -> Self {
        let sizes = self.sizes.queue_bound(bytes);
        Self { sizes, ..self }
    }

    /// Receives and sends through the network interface of this name only (Linux's
    /// `SO_BINDTODEVICE`).
    pub fn device(self, name: impl Into<String>) -> Self {
        Self {
            device: Some(name.into()),
            ..self
        }
    }
}

impl Default for UdpOptions {
    /// An address of its own, no broadcast, the system's buffers, 256 KiB of queue.
    fn default() -> Self {
        Self {
            reuse_address: false,
            reuse_port: false,
            broadcast: false,
            v6_only: None,
            sizes: Sizes::new(usize::MAX),
            device: None,
        }
    }
}

/// How a UNIX datagram socket is made; see
/// [`Reactor::listen_unix_datagram_with`](crate::Reactor::listen_unix_datagram_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UnixDatagramOptions {
    pub(super) file: FileOptions,
    pub(super) sizes: Sizes,
}

impl UnixDatagramOptions {
    /// The longest datagram that is handled at most, in bytes, whatever the system carries.
    pub const MAX: usize = 1024 * 1024;

    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The mode of the socket's file: `0o600` for this user alone, `0o666` for everybody, as Twisted
    /// has it. On Linux, to send takes the right to write. It is set when the file is there already,
    /// with the mode that the process's umask leaves: a narrow umask keeps others out of that
    /// moment. An abstract name has no mode.
    pub fn mode(self, mode: u32) -> Self {
        let mode = Some(mode);
        let file = FileOptions { mode, ..self.file };
        Self { file, ..self }
    }

    /// Whether a lock beside the socket, the path with `.lock` appended, says which process
    /// receives there; what a killed process left, lock and socket, is then recovered. It is the
    /// lock of [`UnixListenOptions::lock`](crate::UnixListenOptions::lock).
    pub fn lock(self, lock: bool) -> Self {
        let file = FileOptions { lock, ..self.file };
        Self { file, ..self }
    }

    /// How much the system may hold for this socket until it is received, in bytes (`SO_RCVBUF`).
    /// Linux holds a number of datagrams instead (`net.unix.max_dgram_qlen`), and ignores it.
    pub fn receive_buffer(self, bytes: usize) -> Self {
        let sizes = self.sizes.receive_buffer(bytes);
        Self { sizes, ..self }
    }

    /// How much of this socket's the system may hold until it is received, in bytes (`SO_SNDBUF`):
    /// no datagram may be longer. The system has limits of its own, and Linux doubles the number.
    pub fn send_buffer(self, bytes: usize) -> Self {
        let sizes = self.sizes.send_buffer(bytes);
        Self { sizes, ..self }
    }

    /// The longest datagram that is handled, in bytes: longer ones are refused when sent, and
    /// dropped when received rather than cut. 208 KiB unless set, what Linux carries unless a
    /// sender's buffer was enlarged; [`MAX`](Self::MAX) at most.
    pub fn max_datagram(self, bytes: usize) -> Self {
        let sizes = self.sizes.max_datagram(bytes.min(Self::MAX));
        Self { sizes, ..self }
    }

    /// How much may wait in the transport while receivers take no more, in bytes; 256 KiB unless
    /// set. As [`UdpOptions::queue_bound`].
    pub fn queue_bound(self, bytes: usize) -> Self {
        let sizes = self.sizes.queue_bound(bytes);
        Self { sizes, ..self }
    }
}

impl Default for UnixDatagramOptions {
    /// The mode that the umask leaves, no lock, the system's buffers, 208 KiB of datagram, 256 KiB of
    /// queue.
    fn default() -> Self {
        Self {
            file: FileOptions::default(),
            sizes: Sizes::new(208 * 1024),
        }
    }
}

/// How much a datagram socket of any family holds and handles, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    pub(super) max_datagram: usize,
    pub(super) queue_bound: usize,
}

impl Sizes {
    const fn new(max_datagram: usize) -> Self {
        Self {
            receive_buffer: None,
            send_buffer: None,
            max_datagram,
            queue_bound: QUEUE_BOUND,
        }
    }

    fn receive_buffer(self, bytes: usize) -> Self {
        Self {
            receive_buffer: Some(bytes),
            ..self
        }
    }

    fn send_buffer(self, bytes: usize) -> Self {
        Self {
            send_buffer: Some(bytes),
            ..self
        }
    }

    fn max_datagram(self, bytes: usize) -> Self {
        Self {
            max_datagram: bytes,
            ..self
        }
    }

    fn queue_bound(self, bytes: usize) -> Self {
        Self {
            queue_bound: bytes,
            ..self
        }
    }

    /// Has the system hold as much as was asked for.
    pub(super) fn set_buffers(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(bytes) = self.receive_buffer {
            socket::set_receive_buffer_size(fd, bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket::set_send_buffer_size(fd, bytes)?;
        }
        Ok(())
    }
}

/// How much waits in a transport unless the options say otherwise, in bytes.
const QUEUE_BOUND: usize = 256 * 1024;
