//! The queue of calls made from other threads: with the waker, all that crosses threads.

use std::sync::{Arc, Mutex, PoisonError};

use ropewalk_os::Waker;

/// A queue that any thread may push to and the loop takes from, in order.
///
/// Cheap to clone; all clones are one queue.
pub struct ThreadCalls<T> {
    queue: Arc<Mutex<Vec<T>>>,
    waker: Waker,
}

impl<T> Clone for ThreadCalls<T> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            waker: self.waker.clone(),
        }
    }
}

impl<T> ThreadCalls<T> {
    /// Creates an empty queue whose pushes end the wait that `waker` belongs to.
    pub fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::default(),
            waker,
        }
    }

    /// Appends a call and wakes the loop. Any thread.
    pub fn push(&self, call: T) {
        self.lock().push(call);
        self.waker.wake();
    }

    /// Takes what is queued now; later pushes wait for the next take, so that a call which pushes
    /// another cannot keep the loop from its I/O.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        // A push cannot panic half-way, so a poisoned queue is still a whole one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_out_in_the_order_of_their_pushes() {
        let calls = ThreadCalls::new(Waker::new().unwrap());
        calls.push(1);
        calls.push(2);
        assert_eq!(calls.take(), [1, 2]);
        assert!(calls.is_empty());
    }

    #[test]
    fn every_push_of_every_thread_arrives_once() {
        let calls = ThreadCalls::new(Waker::new().unwrap());
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let calls = calls.clone();
                std::thread::spawn(move || (0..1000).for_each(|n| calls.push((thread, n))))
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let taken = calls.take();
        for thread in 0..4 {
            let own: Vec<_> = taken
                .iter()
                .filter(|c| c.0 == thread)
                .map(|c| c.1)
                .collect();
            assert_eq!(own, (0..1000).collect::<Vec<_>>());
        }
    }
}
