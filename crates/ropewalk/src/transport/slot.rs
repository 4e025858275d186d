//! Where an object of the program's is kept that is called back.

use std::cell::Cell;

use crate::reactor::core::Core;

/// Holds a protocol or a factory, which is taken out while one of its callbacks runs, so that the
/// callback may do anything.
pub(crate) struct Slot<T: ?Sized>(Cell<Option<Box<T>>>);

impl<T: ?Sized> Slot<T> {
    pub(crate) fn new(content: Box<T>) -> Self {
        Self(Cell::new(Some(content)))
    }

    /// Whether a callback is running, or the last one has been made.
    pub(crate) fn is_busy(&self) -> bool {
        let content = self.0.take();
        let busy = content.is_none();
        self.0.set(content);
        busy
    }

    /// Runs a callback. Nothing if it is busy; within, nothing if the callback panicked.
    pub(crate) fn call<R>(
        &self,
        core: &Core,
        during: &'static str,
        callback: impl FnOnce(&mut T) -> R,
    ) -> Option<Option<R>> {
        let mut content = self.0.take()?;
        let answer = core.guard(during, || callback(&mut content));
        self.put_back(content);
        Some(answer)
    }

    /// Runs the last callback, with which the content goes. Answers as [`call`](Self::call).
    pub(crate) fn call_last<R>(
        &self,
        core: &Core,
        during: &'static str,
        callback: impl FnOnce(&mut T) -> R,
    ) -> Option<Option<R>> {
        let mut content = self.0.take()?;
        Some(core.guard(during, || {
            let answer = callback(&mut content);
            // Here, for what its destructor does may panic as well.
            drop(content);
            answer
        }))
    }

    /// Puts `content` in the place of what is there, if anything, and answers that.
    pub(crate) fn replace(&self, content: Box<T>) -> Option<Box<T>> {
        self.0.replace(Some(content))
    }

    /// Takes the content out: for good, or until it is [put back](Self::put_back).
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.take()
    }

    /// Puts the content back after its callback, unless that put another in its place.
    pub(crate) fn put_back(&self, content: Box<T>) {
        let newer = self.0.take();
        match newer {
            None => self.0.set(Some(content)),
            Some(newer) => {
                self.0.set(Some(newer));
                drop(content);
            }
        }
    }
}
