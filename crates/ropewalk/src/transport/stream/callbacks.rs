//! A stream's calls into its protocol.

use std::rc::Rc;

use ropewalk_proto::StreamState;

use super::Stream;
use crate::error::Disconnect;
use crate::reactor::core::Core;
use crate::transport::{Protocol, Transport};

impl Stream {
    pub(super) fn is_busy(&self) -> bool {
        self.protocol.is_busy()
    }

    /// Runs a callback of the protocol, and then tells it what happened meanwhile. A protocol that
    /// is busy does not hear of it.
    pub(super) fn deliver(
        &self,
        core: &Rc<Core>,
        during: &'static str,
        callback: impl FnOnce(&mut dyn Protocol, &Transport),
    ) {
        let Some(me) = self.me.upgrade() else { return };
        let transport = Transport::new(me);
        let called = self
            .protocol
            .call(core, during, |protocol| callback(protocol, &transport));
        let Some(done) = called else { return };
        if done.is_none() {
            self.act(core, self.step(StreamState::callback_failed));
        }
        self.settle(core);
    }

    /// Tells the protocol what it could not be told while its callback was running.
    pub(super) fn settle(&self, core: &Rc<Core>) {
        if self.is_busy() {
            return;
        }
        if self.notes.read_deferred.replace(false) {
            self.update_interest(core);
        }
        if self.notes.write_closed_due.replace(false) && self.state.get().is_connected() {
            self.deliver(core, "a protocol's write_closed", |protocol, transport| {
                protocol.write_closed(transport);
            });
        }
        if let Some(reason) = self.lost.take() {
            self.tell_lost(core, reason);
        }
    }

    /// The last callback; the protocol goes with it.
    fn tell_lost(&self, core: &Rc<Core>, reason: Disconnect) {
        let owner = self.owner.take();
        self.protocol
            .call_last(core, "a protocol's connection_lost", |protocol| {
                protocol.connection_lost(reason.clone());
            });
        if let Some(owner) = owner {
            owner.stream_ended(core, reason);
        }
    }
}
