//! A stream as the consumer of a producer.

use std::rc::Rc;

use ropewalk_proto::{ProducerState, StreamState};

use super::Stream;
use crate::error::Misuse;
use crate::reactor::core::Core;
use crate::transport::{Producer, ProducerKind, Transport};

impl Stream {
    pub(crate) fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        kind: ProducerKind,
    ) -> Result<(), Misuse> {
        if self.producer.borrow().is_some() {
            return Err(Misuse::ProducerInUse);
        }
        if !self.state.get().is_connected() {
            producer.stop_producing();
            return Ok(());
        }
        *self.producer.borrow_mut() = Some((Rc::clone(&producer), kind));
        self.queue.borrow_mut().forget_pause();
        if let (ProducerKind::Pull, Some(me)) = (kind, self.me.upgrade()) {
            producer.resume_producing(&Transport::new(me));
        }
        Ok(())
    }

    pub(crate) fn unregister_producer(&self) {
        let producer = self.producer.take();
        self.queue.borrow_mut().forget_pause();
        drop(producer);
        self.request(StreamState::producer_unregistered);
    }

    /// Pauses a push producer; with any other the pause means nothing, and is not to be remembered.
    pub(super) fn pause_producer(&self) {
        let push = match &*self.producer.borrow() {
            Some((producer, ProducerKind::Push)) => Some(Rc::clone(producer)),
            _ => None,
        };
        match (push, self.me.upgrade()) {
            (Some(producer), Some(me)) => producer.pause_producing(&Transport::new(me)),
            _ => self.queue.borrow_mut().forget_pause(),
        }
    }

    pub(super) fn resume_producer(&self, core: &Rc<Core>) {
        let producer = self
            .producer
            .borrow()
            .as_ref()
            .map(|(producer, _)| Rc::clone(producer));
        self.queue.borrow_mut().forget_pause();
        let (Some(producer), Some(me)) = (producer, self.me.upgrade()) else {
            return;
        };
        let transport = Transport::new(me);
        let resume = || producer.resume_producing(&transport);
        if core
            .guard("a producer's resume_producing", resume)
            .is_none()
        {
            self.act(core, self.step(StreamState::callback_failed));
        }
    }

    /// Whom a drained stream waits for; nobody once the layer has said that nothing follows.
    pub(super) fn producer_state(&self) -> ProducerState {
        if self.has_closed_layer() {
            return ProducerState::None;
        }
        match &*self.producer.borrow() {
            None => ProducerState::None,
            Some((_, ProducerKind::Pull)) => ProducerState::Pull,
            Some((_, ProducerKind::Push)) => ProducerState::Push {
                paused: self.queue.borrow().paused(),
            },
        }
    }
}
