//! The handle to standard input and output.

use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::state::State;
use crate::error::Misuse;
use crate::transport::handle::append;
use crate::transport::{Producer, ProducerKind};

/// Standard input and output as a transport: a cheap handle of one thread, to be cloned and kept at
/// will.
///
/// All methods may be called from any callback and at any time; once the transport has ended they do
/// nothing. Nothing is written before the current callback returns.
///
/// The same as Twisted's `StandardIO`, but that the process's own descriptors are left open.
#[derive(Clone)]
pub struct StandardIo {
    state: Rc<State>,
}

impl StandardIo {
    pub(super) fn new(state: Rc<State>) -> Self {
        Self { state }
    }

    /// Queues a copy of `data` for output.
    pub fn write(&self, data: &[u8]) {
        self.state.write(|queue| queue.push_copy(data));
    }

    /// Queues `data` without a copy.
    pub fn write_bytes(&self, data: impl Into<Bytes>) {
        let mut data = data.into();
        self.state.write(|queue| append(queue, &mut data));
    }

    /// How much is queued, in bytes.
    pub fn buffered_len(&self) -> usize {
        self.state.output().queue().borrow().len()
    }

    /// Ends the transport when all that is queued is written. Reading stops at once.
    pub fn lose_connection(&self) {
        self.state.lose();
    }

    /// Writes no more when all that is queued is written. Whoever reads sees an end only when this
    /// process closes its own descriptor too, or ends.
    pub fn lose_write_connection(&self) {
        self.state.lose_write();
    }

    /// Stops reading.
    pub fn pause_producing(&self) {
        self.state.set_paused(true);
    }

    /// Reads again.
    pub fn resume_producing(&self) {
        self.state.set_paused(false);
    }

    /// Lets `producer` supply the output, at the pace of whoever reads it; as
    /// [`Transport::register_producer`](crate::Transport::register_producer).
    ///
    /// # Errors
    ///
    /// [`Misuse::ProducerInUse`] when another one is registered.
    pub fn register_producer(
        &self,
        producer: impl Producer<Self>,
        kind: ProducerKind,
    ) -> Result<(), Misuse> {
        let output = self.state.output();
        output.register_producer(Rc::new(producer), kind, self)
    }

    /// Lets the producer go; an end that waited for it goes on.
    pub fn unregister_producer(&self) {
        self.state.unregister_producer();
    }

    /// Whether the transport has not ended.
    pub fn is_connected(&self) -> bool {
        self.state.is_open()
    }

    /// Puts the terminal that input is in raw mode, or back as it was. It is put back when the
    /// transport ends or its reactor is dropped, in a panic that unwinds too, by
    /// [`std::process::exit`], and before a signal ends the process, `SIGKILL` and those of crashes
    /// but for `SIGABRT` aside.
    ///
    /// # Errors
    ///
    /// What the system answered: `ENOTTY` if input is no terminal;
    /// [`NotConnected`](io::ErrorKind::NotConnected) when it has ended.
    pub fn set_raw_mode(&self, raw: bool) -> io::Result<()> {
        self.state.set_raw_mode(raw)
    }
}

impl<C: 'static> Producer<C> for StandardIo {
    fn resume_producing(&self, _: &C) {
        Self::resume_producing(self);
    }

    fn pause_producing(&self, _: &C) {
        Self::pause_producing(self);
    }

    fn stop_producing(&self) {
        self.lose_connection();
    }
}

impl fmt::Debug for StandardIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardIo")
            .field("connected", &self.is_connected())
            .field("buffered", &self.buffered_len())
            .finish()
    }
}
