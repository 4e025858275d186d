//! Standard input and output as a source of the engine.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use ropewalk_os::{RawMode, Readiness, SourceFd, Token};
use ropewalk_proto::{Flow, WriteQueue};

use super::{StandardIo, StandardIoProtocol};
use crate::error::Disconnect;
use crate::reactor::core::{Core, Source};
use crate::transport::pipe::{Owner, Pipe, Ways};
use crate::transport::slot::Slot;

/// The state of one transport. [`StandardIo`] is the handle to it.
///
/// No cell is borrowed while user code runs.
pub(super) struct State {
    me: Weak<State>,
    core: Weak<Core>,
    input: Pipe<StandardIo>,
    output: Pipe<StandardIo>,
    protocol: Slot<dyn StandardIoProtocol>,
    /// Why it ends, once it is to end.
    reason: Cell<Option<Disconnect>>,
    raw_mode: RefCell<Option<RawMode>>,
}

impl State {
    pub(super) fn open(
        core: &Rc<Core>,
        input: OwnedFd,
        output: OwnedFd,
        protocol: Box<dyn StandardIoProtocol>,
    ) -> Rc<Self> {
        let state = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            input: Pipe::shared(Ways::In),
            output: Pipe::shared(Ways::Out),
            protocol: Slot::new(protocol),
            reason: Cell::new(None),
            raw_mode: RefCell::new(None),
        });
        state.input.open(core, SourceFd::from(input), state.clone());
        state
            .output
            .open(core, SourceFd::from(output), state.clone());
        state.deliver(core, "a protocol's connection_made", |protocol, stdio| {
            protocol.connection_made(stdio);
        });
        state
    }

    pub(super) fn output(&self) -> &Pipe<StandardIo> {
        &self.output
    }

    pub(super) fn is_open(&self) -> bool {
        self.input.is_open() || self.output.is_open()
    }

    pub(super) fn write(&self, append: impl FnOnce(&mut WriteQueue<Bytes>) -> Flow) {
        self.write_to(self.core.upgrade().as_ref(), &self.output, append);
    }

    pub(super) fn lose(&self) {
        if let Some(core) = self.core.upgrade() {
            self.ends_for(Disconnect::Done);
            self.input.lose(&core);
            self.output.lose(&core);
        }
    }

    pub(super) fn lose_write(&self) {
        if let Some(core) = self.core.upgrade() {
            self.output.lose(&core);
        }
    }

    pub(super) fn set_paused(&self, paused: bool) {
        if let Some(core) = self.core.upgrade() {
            self.input.set_paused(&core, paused);
        }
    }

    pub(super) fn unregister_producer(&self) {
        self.output
            .unregister_producer(self.core.upgrade().as_ref());
    }

    pub(super) fn set_raw_mode(&self, raw: bool) -> io::Result<()> {
        if !raw {
            drop(self.raw_mode.take());
        } else if self.raw_mode.borrow().is_none() {
            let core = self.core.upgrade().ok_or(io::ErrorKind::NotConnected)?;
            let entered = self.input.with_fd(&core, |fd| RawMode::enter(fd));
            let entered = entered.ok_or(io::ErrorKind::NotConnected)??;
            self.raw_mode.replace(Some(entered));
        }
        Ok(())
    }

    /// The first reason is the one that is told.
    fn ends_for(&self, reason: Disconnect) {
        let first = self.reason.take();
        self.reason.set(Some(first.unwrap_or(reason)));
    }

    fn is_ending(&self) -> bool {
        let reason = self.reason.take();
        let ending = reason.is_some();
        self.reason.set(reason);
        ending
    }

    fn cut(&self, core: &Rc<Core>, reason: Disconnect) {
        self.ends_for(reason);
        self.input.end(core);
        self.output.end(core);
    }

    fn pipe_of(&self, token: Token) -> Option<&Pipe<StandardIo>> {
        [&self.input, &self.output]
            .into_iter()
            .find(|pipe| pipe.token() == Some(token))
    }

    /// The last callback; the protocol goes with it.
    fn tell_lost(&self, core: &Rc<Core>) {
        drop(self.raw_mode.take());
        let reason = self.reason.take().unwrap_or(Disconnect::Done);
        self.protocol
            .call_last(core, "a protocol's connection_lost", |protocol| {
                protocol.connection_lost(reason);
            });
    }
}

impl Owner for State {
    type Handle = StandardIo;
    type Protocol = dyn StandardIoProtocol;

    fn handle(&self) -> Option<StandardIo> {
        self.me.upgrade().map(StandardIo::new)
    }

    fn protocol(&self) -> &Slot<dyn StandardIoProtocol> {
        &self.protocol
    }

    fn received(&self, core: &Rc<Core>, _: &Pipe<StandardIo>, data: &[u8]) {
        self.deliver(core, "a protocol's data_received", |protocol, stdio| {
            protocol.data_received(stdio, data);
        });
    }

    fn callback_failed(&self, core: &Rc<Core>) {
        self.cut(core, Disconnect::Panicked);
    }

    fn settle(&self, core: &Rc<Core>) {
        if self.protocol.is_busy() {
            return;
        }
        self.input.read_again(core);
        if self.input.take_untold_end() && !self.is_ending() {
            return self.deliver(core, "a protocol's read_closed", |protocol, stdio| {
                protocol.read_closed(stdio);
            });
        }
        if self.output.take_untold_end() && !self.is_ending() {
            return self.deliver(core, "a protocol's write_closed", |protocol, stdio| {
                protocol.write_closed(stdio);
            });
        }
        if !self.is_open() {
            self.tell_lost(core);
        }
    }
}

impl Source for State {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        if let Some(pipe) = self.pipe_of(token) {
            self.pipe_ready(core, pipe, readiness);
        }
    }

    fn flush(&self, core: &Rc<Core>, token: Token) {
        if let Some(pipe) = self.pipe_of(token) {
            pipe.flush(core);
        }
    }

    fn register_failed(&self, core: &Rc<Core>, _: Token, error: io::Error) {
        self.cut(core, Disconnect::Lost(error));
        self.settle(core);
    }

    fn connection_lost(&self, core: &Rc<Core>, reason: Disconnect) {
        self.cut(core, reason);
        self.settle(core);
    }

    fn orphaned(&self) {
        self.input.orphaned();
        self.output.orphaned();
        drop(self.raw_mode.take());
        drop(self.protocol.take());
    }
}
