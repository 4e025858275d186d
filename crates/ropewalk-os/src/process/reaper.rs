//! Children whose end only `SIGCHLD` tells of.

use std::mem;

use super::child::{Child, Ended};

/// The children of one loop that watch [`ChildSignal`](super::Watch::ChildSignal), each with a name
/// of the loop's own.
///
/// Ask it after every `SIGCHLD` (a [`SignalSet`](crate::SignalSet) hears of that), and once after
/// an [`insert`](Self::insert). One signal may stand for many ends, and for those of children that
/// are somebody else's: each child in here is looked at by its own id, no other ever.
#[derive(Debug)]
pub struct Reaper<T> {
    children: Vec<(Child, T)>,
}

impl<T> Default for Reaper<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Reaper<T> {
    /// Without children.
    pub const fn new() -> Self {
        let children = Vec::new();
        Self { children }
    }

    /// Adds a child.
    pub fn insert(&mut self, child: Child, name: T) {
        self.children.push((child, name));
    }

    /// The child of that name.
    pub fn find(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Option<&mut Child> {
        let found = self.children.iter_mut().find(|(_, name)| is_it(name));
        found.map(|(child, _)| child)
    }

    /// How many have not ended.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Waits for each that has ended, and takes it out. One system call per child.
    pub fn take_ended(&mut self) -> Vec<(T, Ended)> {
        let mut all_ended = Vec::new();
        for (mut child, name) in mem::take(&mut self.children) {
            match child.try_wait() {
                Ok(Some(ended)) => all_ended.push((name, ended)),
                // An error is none of the child's end: it is looked at again.
                Ok(None) | Err(_) => self.children.push((child, name)),
            }
        }
        all_ended
    }
}
