//! Child processes, their pipes and their terminals.
//!
//! A child with a [`ProcessProtocol`] is one [`Child`](child::Child), which is the source of the
//! engine for each of its descriptors and for what tells of its end. It knows a descriptor as a
//! [`Pipe`](super::pipe::Pipe), and nothing of how processes are made: that is
//! [`os::process`](crate::os::process).
//!
//! # When the reactor goes
//!
//! Children live on, as they do when Twisted's reactors stop. A shutdown closes their pipes, which
//! their protocols hear; of a child's end they hear only if it comes while turns are still made.
//! A child that outlives its reactor, or the handles to it, is waited for when this process makes
//! another one or drops another reactor: until then it stays a zombie if it has ended.

mod child;
mod command;
mod handle;
mod protocol;
mod reap;

use std::rc::Rc;

pub use self::command::Command;
pub use self::handle::Process;
pub use self::protocol::ProcessProtocol;
pub(crate) use self::reap::{Children, reap_abandoned};

use crate::error::Result;
use crate::reactor::Reactor;

/// Child processes.
impl Reactor {
    /// Starts a child process, which runs when this returns. `protocol` hears of it first, before
    /// this returns, and then of what its descriptors say and how it ended.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`](crate::Error::Spawn): the step that failed and what with. There is no child
    /// then, nothing is left open, and the protocol is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::process::{Command, Ended, Process, ProcessProtocol};
    /// use ropewalk::Reactor;
    ///
    /// struct Sort(Reactor);
    ///
    /// impl ProcessProtocol for Sort {
    ///     fn connection_made(&mut self, process: &Process) {
    ///         process.write(0, b"rope\nhemp\n");
    ///         process.close(0);
    ///     }
    ///
    ///     fn data_received(&mut self, _: &Process, fd: i32, data: &[u8]) {
    ///         assert_eq!((fd, data), (1, &b"hemp\nrope\n"[..]));
    ///     }
    ///
    ///     fn ended(&mut self, ended: Ended) {
    ///         assert!(ended.is_success());
    ///         self.0.stop().expect("running");
    ///     }
    /// }
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// reactor.spawn_process(&Command::new("sort"), Sort(reactor.clone()))?;
    /// reactor.run()
    /// # }
    /// ```
    pub fn spawn_process(
        &self,
        command: &Command<'_>,
        protocol: impl ProcessProtocol,
    ) -> Result<Process> {
        let child = child::Child::spawn(&self.core, command, Box::new(protocol))?;
        Ok(Process::new(Rc::clone(&child)))
    }
}
