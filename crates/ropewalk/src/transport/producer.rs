//! Flow control: whoever supplies a transport with data to send.

use super::{Process, Transport};

/// Supplies a consumer `C` with data, at the pace at which that gets rid of it: a connection's
/// transport, or one descriptor of a [`Process`].
///
/// Methods take `&self`, for they overlap: a [`resume_producing`](Self::resume_producing) that
/// writes enough is paused before it returns.
///
/// A [`Transport`] is a push producer itself: registered with another transport, it stops reading
/// while the other one is full. That makes a forwarder with flow control. A [`Process`] is one too,
/// which pauses all of its descriptors.
///
/// The same as Twisted's `IPushProducer` and `IPullProducer`.
pub trait Producer<C: 'static = Transport>: 'static {
    /// `consumer` has sent all it had: write again, a push producer until it is paused, a pull
    /// producer once. One that is done is to be unregistered
    /// ([`Transport::unregister_producer`], [`Process::unregister_producer`]).
    fn resume_producing(&self, consumer: &C);

    /// `consumer` holds more than its high-water mark: write no more until resumed. Called from
    /// inside the write that passed the mark. Pull producers are never paused.
    fn pause_producing(&self, consumer: &C) {
        let _ = consumer;
    }

    /// The consumer is gone: nothing is called any more.
    fn stop_producing(&self) {}
}

/// How a [`Producer`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProducerKind {
    /// Writes on its own until it is paused; never resumed before it was paused.
    Push,
    /// Writes once each time it is resumed: at registration, and whenever all was sent.
    Pull,
}

impl<C: 'static> Producer<C> for Transport {
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

impl<C: 'static> Producer<C> for Process {
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
