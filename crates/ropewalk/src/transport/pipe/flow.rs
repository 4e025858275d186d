//! A pipe as the consumer of a producer.

use std::rc::Rc;

use ropewalk_proto::{Action, ProducerState, StreamState};

use super::Pipe;
use crate::error::Misuse;
use crate::reactor::core::Core;
use crate::transport::{Producer, ProducerKind};

impl<C: 'static> Pipe<C> {
    /// Takes a producer, and stops it at once if nothing can be written any more.
    pub(crate) fn register_producer(
        &self,
        producer: Rc<dyn Producer<C>>,
        kind: ProducerKind,
        consumer: &C,
    ) -> Result<(), Misuse> {
        if self.producer.borrow().is_some() {
            return Err(Misuse::ProducerInUse);
        }
        if !self.is_open() || !self.is_writing() {
            producer.stop_producing();
            return Ok(());
        }
        *self.producer.borrow_mut() = Some((Rc::clone(&producer), kind));
        self.queue.borrow_mut().forget_pause();
        if kind == ProducerKind::Pull {
            producer.resume_producing(consumer);
        }
        Ok(())
    }

    /// Lets the producer go; a close that waited for it goes on.
    pub(crate) fn unregister_producer(&self, core: Option<&Rc<Core>>) {
        let producer = self.producer.take();
        self.queue.borrow_mut().forget_pause();
        drop(producer);
        let action = self.step(StreamState::producer_unregistered);
        if let (Action::Flush, Some(core)) = (action, core) {
            self.ask_flush(core);
        }
    }

    /// Pauses a push producer; with any other the pause means nothing, and is not to be remembered.
    pub(crate) fn pause_producer(&self, consumer: &C) {
        let push = match &*self.producer.borrow() {
            Some((producer, ProducerKind::Push)) => Some(Rc::clone(producer)),
            _ => None,
        };
        match push {
            Some(producer) => producer.pause_producing(consumer),
            None => self.queue.borrow_mut().forget_pause(),
        }
    }

    /// Resumes the producer. Nothing if that panicked.
    pub(crate) fn resume_producer(&self, core: &Core, consumer: &C) -> Option<()> {
        let producer = match &*self.producer.borrow() {
            Some((producer, _)) => Some(Rc::clone(producer)),
            None => None,
        };
        self.queue.borrow_mut().forget_pause();
        let Some(producer) = producer else {
            return Some(());
        };
        core.guard("a producer's resume_producing", || {
            producer.resume_producing(consumer);
        })
    }

    pub(super) fn producer_state(&self) -> ProducerState {
        match &*self.producer.borrow() {
            None => ProducerState::None,
            Some((_, ProducerKind::Pull)) => ProducerState::Pull,
            Some((_, ProducerKind::Push)) => ProducerState::Push {
                paused: self.queue.borrow().paused(),
            },
        }
    }
}
