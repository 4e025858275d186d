//! What an event of a pipe, or a write to it, brings to the protocol behind it.

use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::Readiness;
use ropewalk_proto::{Action, Flow, WriteQueue};

use super::{Input, Pipe};
use crate::reactor::core::Core;
use crate::transport::slot::Slot;

/// A source of the engine that keeps pipes for a protocol.
pub(crate) trait Owner {
    /// What the protocol, and the producers of the pipes, know it by.
    type Handle: 'static;
    /// Who hears of the pipes.
    type Protocol: ?Sized;

    fn handle(&self) -> Option<Self::Handle>;

    fn protocol(&self) -> &Slot<Self::Protocol>;

    /// Hands the protocol what came from `pipe`.
    fn received(&self, core: &Rc<Core>, pipe: &Pipe<Self::Handle>, data: &[u8]);

    /// A callback panicked: ends the pipes.
    fn callback_failed(&self, core: &Rc<Core>);

    /// Tells the protocol, unless it is busy, what it has not heard of.
    fn settle(&self, core: &Rc<Core>);

    /// Runs a callback of the protocol, and then tells it what happened meanwhile. A protocol that
    /// is busy does not hear of it.
    fn deliver(
        &self,
        core: &Rc<Core>,
        during: &'static str,
        callback: impl FnOnce(&mut Self::Protocol, &Self::Handle),
    ) {
        let Some(handle) = self.handle() else { return };
        let call = |protocol: &mut Self::Protocol| callback(protocol, &handle);
        let Some(done) = self.protocol().call(core, during, call) else {
            return;
        };
        if done.is_none() {
            self.callback_failed(core);
        }
        self.settle(core);
    }

    /// Queues what `append` pushes, and pauses the producer if that is too much.
    fn write_to(
        &self,
        core: Option<&Rc<Core>>,
        pipe: &Pipe<Self::Handle>,
        append: impl FnOnce(&mut WriteQueue<Bytes>) -> Flow,
    ) {
        let flow = pipe.write(core, append);
        if let (Flow::Pause, Some(handle)) = (flow, self.handle()) {
            pipe.pause_producer(&handle);
        }
    }

    fn pipe_ready(&self, core: &Rc<Core>, pipe: &Pipe<Self::Handle>, readiness: Readiness) {
        let token = pipe.token();
        let mut buffer = core.engine.take_read_buffer();
        match pipe.input(core, readiness, self.protocol().is_busy(), &mut buffer) {
            Input::Nothing => {}
            Input::Data(count) => self.received(core, pipe, &buffer[..count]),
            Input::End => self.end_pipe(core, pipe),
        }
        core.engine.give_read_buffer(buffer);
        if readiness.is_writable() && pipe.is_open() && pipe.token() == token {
            self.pipe_writable(core, pipe);
        }
    }

    fn pipe_writable(&self, core: &Rc<Core>, pipe: &Pipe<Self::Handle>) {
        match pipe.writable(core) {
            Action::ResumeProducer => {
                let Some(handle) = self.handle() else { return };
                if pipe.resume_producer(core, &handle).is_none() {
                    self.callback_failed(core);
                    self.settle(core);
                }
            }
            Action::Close(_) => self.end_pipe(core, pipe),
            // A pipe is asked for nothing that these answer.
            _ => {}
        }
    }

    fn end_pipe(&self, core: &Rc<Core>, pipe: &Pipe<Self::Handle>) {
        pipe.end(core);
        self.settle(core);
    }
}
