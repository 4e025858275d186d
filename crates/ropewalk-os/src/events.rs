//! One wait's reports.

use std::slice;

use crate::{Readiness, Token};

/// One report: what a source is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which source.
    pub token: Token,
    /// What it is ready for, merged into one report per source and wait.
    pub readiness: Readiness,
}

/// What a wait reported, in the poller's order.
#[derive(Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty list with room for `capacity` events.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends an event.
    pub fn push(&mut self, event: Event) {
        self.0.push(event);
    }

    /// Adds `readiness` to the event at `place` if that is `token`'s; else it answers false.
    pub(crate) fn merge(&mut self, place: usize, token: Token, readiness: Readiness) -> bool {
        match self.0.get_mut(place) {
            Some(event) if event.token == token => {
                event.readiness |= readiness;
                true
            }
            _ => false,
        }
    }

    /// Empties the list and keeps its room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The events in order.
    pub fn iter(&self) -> slice::Iter<'_, Event> {
        self.0.iter()
    }

    /// The events in order.
    pub fn as_slice(&self) -> &[Event] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
