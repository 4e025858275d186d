//! Datagrams over UDP and UNIX sockets.
//!
//! # When a datagram leaves
//!
//! A stream's writes are gathered and flushed once, because many writes then are one send. A
//! datagram cannot be merged with another, so a flush would save the entry into the kernel and
//! nothing else: sendmmsg of 32 costs 2.4 µs per datagram on loopback, sendto 2.9 µs, and a copy
//! into a queue takes a part of that back; a single datagram, the usual answer, would only pay. And
//! what a send fails with (too long, no route, not allowed) is about this datagram, and of use to
//! whoever sends it only if it is said at once. So a datagram leaves inside the call that sends it,
//! as an exception to the rules of streams, and only what the system does not take waits.
//!
//! # What one readiness receives
//!
//! One datagram while they come singly, and batches of up to 32 while more wait (see [`pace`]), up
//! to 128 datagrams or 256 KiB. The buffers belong to the reactor and are taken while in use.

mod error;
mod handle;
mod multicast;
mod options;
mod pace;
mod port;
mod protocol;
mod queue;
mod receive;
mod send;
mod udp;
mod unix;

use ropewalk_os::socket::datagram::ReceiveBatch;

pub use error::{AddressFault, SendError};
pub use handle::DatagramTransport;
pub use multicast::Interface;
pub use options::{UdpOptions, UnixDatagramOptions};
pub use protocol::DatagramProtocol;

/// Room for the longest datagram of UDP. A line of the cache more than a power of two, so that the
/// beginnings of the rooms of a batch do not compete for the same lines.
const UDP_ROOM: usize = 65_536;
const LINE: usize = 64;

/// The buffers that the ports of one reactor receive into: more than `longest` bytes for each
/// datagram, so that a longer one is told from one that fits.
pub(super) fn new_batch(longest: usize) -> ReceiveBatch {
    ReceiveBatch::new(pace::BATCH, longest.max(UDP_ROOM) + LINE)
}
