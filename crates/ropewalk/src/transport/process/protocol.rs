//! What the program does with a child process.

use super::Process;
use crate::process::Ended;

/// Handles one child process. Every method runs on the reactor's thread and may call anything of
/// the reactor and of any transport, its own included.
///
/// Callbacks of one protocol never overlap: what happens to the child while one of them runs (in a
/// nested turn, for example) is told when it has returned. A callback that panics is reported and
/// costs the child all of its descriptors at once, with what was still to be written to them; the
/// child itself goes on, and so do the callbacks about that.
///
/// The same as Twisted's `IProcessProtocol`.
pub trait ProcessProtocol: 'static {
    /// The child runs its program: called once, first, before
    /// [`spawn_process`](crate::Reactor::spawn_process) returns.
    fn connection_made(&mut self, process: &Process) {
        let _ = process;
    }

    /// The child wrote `data`, at most 64 KiB of it, to its descriptor `fd`; in a terminal that is
    /// always 1. The bytes are borrowed: keep a copy.
    fn data_received(&mut self, process: &Process, fd: i32, data: &[u8]);

    /// The pipe to or from the child's descriptor `fd` is closed, by either side: called once for
    /// each, and for a terminal once, with 1. The child has closed it or has ended, and so has
    /// everybody else who had it; or this side closed it. Every byte the child wrote was received
    /// before, unless this side closed it.
    fn descriptor_closed(&mut self, process: &Process, fd: i32) {
        let _ = (process, fd);
    }

    /// The child has ended, and was waited for: called once. Pipes may be open still, with data in
    /// them or in the hands of the child's own children.
    fn exited(&mut self, process: &Process, ended: Ended) {
        let _ = (process, ended);
    }

    /// The child has ended and every pipe is closed: called once, last. The protocol is dropped
    /// after it.
    fn ended(&mut self, ended: Ended) {
        let _ = ended;
    }
}

impl ProcessProtocol for Box<dyn ProcessProtocol> {
    fn connection_made(&mut self, process: &Process) {
        (**self).connection_made(process);
    }

    fn data_received(&mut self, process: &Process, fd: i32, data: &[u8]) {
        (**self).data_received(process, fd, data);
    }

    fn descriptor_closed(&mut self, process: &Process, fd: i32) {
        (**self).descriptor_closed(process, fd);
    }

    fn exited(&mut self, process: &Process, ended: Ended) {
        (**self).exited(process, ended);
    }

    fn ended(&mut self, ended: Ended) {
        (**self).ended(ended);
    }
}
