//! Standard input and output as one transport.
//!
//! They are other processes' as well: the shell's, and those of everything in the same pipeline or
//! terminal. What `O_NONBLOCK` says is said to all of them, and stays said when this process is
//! killed. So the flag is left as it was found. A socket is told with each call not to wait; anything
//! else is asked by poll(2) right before it is read once, or written to by no more than a pipe that
//! says it is ready takes at once. Opening it anew, by `/proc/self/fd`, would be exact for pipes, but
//! sockets cannot be opened so, files would be at another place, and terminals may not be allowed.
//!
//! What remains: if another process reads or writes the same pipe or terminal at the same moment,
//! the loop may wait for the other end.

mod handle;
mod protocol;
mod state;

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

pub use self::handle::StandardIo;
pub use self::protocol::StandardIoProtocol;

use crate::error::{Error, Result};
use crate::reactor::Reactor;

/// Standard input and output.
impl Reactor {
    /// Serves the process's standard input and output as one transport: terminals, pipes, sockets,
    /// files. The process's own descriptors stay open and their flags as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: one of them is closed, or descriptors have run out.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use ropewalk::{Disconnect, Reactor, StandardIo, StandardIoProtocol};
    ///
    /// /// Writes what it reads in capitals, as far as that is ASCII.
    /// struct Capitals(Reactor);
    ///
    /// impl StandardIoProtocol for Capitals {
    ///     fn data_received(&mut self, stdio: &StandardIo, data: &[u8]) {
    ///         stdio.write_bytes(data.to_ascii_uppercase());
    ///     }
    ///
    ///     fn connection_lost(&mut self, _: Disconnect) {
    ///         self.0.stop().expect("the reactor runs");
    ///     }
    /// }
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// reactor.stdio(Capitals(reactor.clone()))?;
    /// reactor.run()
    /// # }
    /// ```
    pub fn stdio(&self, protocol: impl StandardIoProtocol) -> Result<StandardIo> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        self.stdio_with(input.as_fd(), output.as_fd(), protocol)
    }

    /// As [`stdio`](Self::stdio), with any two descriptors, which may be the same.
    ///
    /// # Errors
    ///
    /// As [`stdio`](Self::stdio).
    pub fn stdio_with(
        &self,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
        protocol: impl StandardIoProtocol,
    ) -> Result<StandardIo> {
        let own = |fd: BorrowedFd<'_>| {
            let own = fd.try_clone_to_owned();
            own.map_err(Error::os("duplicate the descriptor"))
        };
        let (input, output) = (own(input)?, own(output)?);
        let state = state::State::open(&self.core, input, output, Box::new(protocol));
        Ok(StandardIo::new(Rc::clone(&state)))
    }
}
