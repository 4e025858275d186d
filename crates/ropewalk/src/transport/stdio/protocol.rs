//! What the program does with standard input and output.

use super::StandardIo;
use crate::error::Disconnect;

/// Handles standard input and output. Every method runs on the reactor's thread and may call
/// anything of the reactor and of any transport, its own included. Callbacks never overlap; one that
/// panics is reported and ends the transport with [`Disconnect::Panicked`].
pub trait StandardIoProtocol: 'static {
    /// Called once, first, before [`stdio`](crate::Reactor::stdio) returns.
    fn connection_made(&mut self, stdio: &StandardIo) {
        let _ = stdio;
    }

    /// `data` was read, at most 64 KiB of it. The bytes are borrowed: keep a copy.
    fn data_received(&mut self, stdio: &StandardIo, data: &[u8]);

    /// Input has ended or cannot be read. Unless this is implemented, the transport
    /// [ends](StandardIo::lose_connection) when all that is queued is written.
    fn read_closed(&mut self, stdio: &StandardIo) {
        stdio.lose_connection();
    }

    /// Nobody reads output any more, it cannot be written, or the program
    /// [closed](StandardIo::lose_write_connection) it. Unless this is implemented, the transport ends.
    fn write_closed(&mut self, stdio: &StandardIo) {
        stdio.lose_connection();
    }

    /// Neither is served any more: called once, last, and the protocol is dropped after it.
    fn connection_lost(&mut self, reason: Disconnect) {
        let _ = reason;
    }
}
