//! Results that come later: awaitable, and with callbacks.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// A result that comes later, once: `Ok(T)`, or the [`Error`] that took its place.
///
/// Use it in one of two ways, both on the thread it was made on:
///
/// - `await` it, under any executor of this thread, for example
///   [`Reactor::spawn_local`](crate::Reactor::spawn_local);
/// - give it a callback with [`then`](Self::then) (or [`map`](Self::map),
///   [`and_then`](Self::and_then)), which runs synchronously when the result arrives, or at once
///   when it is there already. No callback is ever run under a borrow of the reactor.
///
/// # Dropping
///
/// Dropping a `Deferred` gives up the result and cancels nothing; the sender can find out with
/// [`DeferredSender::is_wanted`]. An error that nobody took is logged. Dropping the *sender*
/// unfired gives [`Error::Abandoned`], so a result is never waited for in vain.
///
/// # Examples
///
/// ```
/// use ropewalk::Deferred;
///
/// let (sender, deferred) = Deferred::new();
/// let doubled = deferred.map(|n: u32| n * 2);
/// assert!(!doubled.is_ready());
/// sender.fire(21);
/// assert_eq!(doubled.try_take().unwrap().unwrap(), 42);
/// ```
#[must_use = "a dropped Deferred gives its result up; see `Deferred::ignore`"]
pub struct Deferred<T> {
    shared: Rc<Shared<T>>,
}

/// The half of a [`Deferred`] that gives the result, once.
///
/// Dropped unfired, it gives [`Error::Abandoned`].
pub struct DeferredSender<T> {
    /// Empty once it has fired.
    shared: Option<Rc<Shared<T>>>,
}

type Callback<T> = Box<dyn FnOnce(Result<T>)>;

struct Shared<T> {
    state: RefCell<State<T>>,
}

enum State<T> {
    /// Not fired; whoever awaits it is woken.
    Waiting(Option<Waker>),
    /// Not fired; a callback took the place of the `Deferred`.
    Chained(Callback<T>),
    /// Fired, and not taken yet.
    Ready(Result<T>),
    /// The result was taken, or the `Deferred` dropped.
    Gone,
}

impl<T> Deferred<T> {
    /// Creates a result that comes later, and the sender that gives it.
    pub fn new() -> (DeferredSender<T>, Self) {
        let shared = Rc::new(Shared {
            state: RefCell::new(State::Waiting(None)),
        });
        (
            DeferredSender {
                shared: Some(Rc::clone(&shared)),
            },
            Self { shared },
        )
    }

    /// A result that is there already.
    pub fn ready(value: T) -> Self {
        Self::completed(Ok(value))
    }

    /// A failure that is there already.
    pub fn failed(error: Error) -> Self {
        Self::completed(Err(error))
    }

    fn completed(result: Result<T>) -> Self {
        Self {
            shared: Rc::new(Shared {
                state: RefCell::new(State::Ready(result)),
            }),
        }
    }

    /// Whether the result is there and not taken yet.
    pub fn is_ready(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Ready(_))
    }

    /// Takes the result if it is there.
    pub fn try_take(&self) -> Option<Result<T>> {
        let mut state = self.shared.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Gone) {
            State::Ready(result) => Some(result),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Gives the result up on purpose, an error included: nothing is logged.
    pub fn ignore(self)
    where
        T: 'static,
    {
        drop(self.then(drop));
    }
}

impl<T: 'static> Deferred<T> {
    /// Runs `callback` with the result, synchronously when it arrives or at once when it is there.
    /// What the callback returns is the next result of the chain.
    ///
    /// A callback that panics gives [`Error::Panicked`] to the rest of the chain.
    pub fn then<U: 'static>(self, callback: impl FnOnce(Result<T>) -> U + 'static) -> Deferred<U> {
        self.then_result(move |result| Ok(callback(result)))
    }

    /// Runs `callback` with the value; an error passes it by.
    pub fn map<U: 'static>(self, callback: impl FnOnce(T) -> U + 'static) -> Deferred<U> {
        self.then_result(move |result| result.map(callback))
    }

    /// As [`then`](Self::then), with a callback that may fail.
    pub fn then_result<U: 'static>(
        self,
        callback: impl FnOnce(Result<T>) -> Result<U> + 'static,
    ) -> Deferred<U> {
        let (sender, next) = Deferred::new();
        self.on_result(move |result| {
            let outcome = catch_unwind(AssertUnwindSafe(|| callback(result)));
            sender.complete(outcome.unwrap_or_else(|payload| Err(panicked(&*payload))));
        });
        next
    }

    /// Runs `callback` with the value and goes on with the `Deferred` it returns; an error passes
    /// it by.
    pub fn and_then<U: 'static>(
        self,
        callback: impl FnOnce(T) -> Deferred<U> + 'static,
    ) -> Deferred<U> {
        let (sender, next) = Deferred::new();
        self.map(callback).on_result(move |result| match result {
            Ok(inner) => inner.on_result(move |result| sender.complete(result)),
            Err(error) => sender.fail(error),
        });
        next
    }

    /// Ends a chain: `callback` takes the result, and nothing follows.
    fn on_result(self, callback: impl FnOnce(Result<T>) + 'static) {
        match self.try_take() {
            Some(result) => callback(result),
            None => {
                let chained = State::Chained(Box::new(callback));
                let before = self.shared.state.replace(chained);
                // A waker of an earlier poll may run code of its executor when it is dropped.
                drop(before);
            }
        }
    }
}

impl<T> Future for Deferred<T> {
    type Output = Result<T>;

    /// # Panics
    ///
    /// When polled again after it was ready, as futures may.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if let Some(result) = self.try_take() {
            return Poll::Ready(result);
        }
        let fresh = context.waker().clone();
        let mut state = self.shared.state.borrow_mut();
        let State::Waiting(waker) = &mut *state else {
            drop(state);
            panic!("a Deferred was polled after its result was taken");
        };
        let stale = waker.replace(fresh);
        drop(state);
        drop(stale);
        Poll::Pending
    }
}

impl<T> Drop for Deferred<T> {
    fn drop(&mut self) {
        if matches!(*self.shared.state.borrow(), State::Chained(_)) {
            return;
        }
        // Replaced before it is dropped: dropping a value or a waker may run any code.
        if let State::Ready(Err(error)) = self.shared.state.replace(State::Gone) {
            tracing::error!(%error, "unhandled error in a Deferred");
        }
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("ready", &self.is_ready())
            .finish()
    }
}

impl<T> DeferredSender<T> {
    /// Gives the value. Callbacks run before this returns; whoever awaits it is woken.
    pub fn fire(self, value: T) {
        self.complete(Ok(value));
    }

    /// Gives an error in place of the value.
    pub fn fail(self, error: Error) {
        self.complete(Err(error));
    }

    /// Gives a result that may be either.
    pub fn complete(mut self, result: Result<T>) {
        if let Some(shared) = self.shared.take() {
            shared.complete(result);
        }
    }

    /// Whether anybody still waits for the result.
    pub fn is_wanted(&self) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| !matches!(*shared.state.borrow(), State::Gone))
    }
}

impl<T> Drop for DeferredSender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.complete(Err(Error::Abandoned));
        }
    }
}

impl<T> fmt::Debug for DeferredSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredSender")
            .field("wanted", &self.is_wanted())
            .finish()
    }
}

impl<T> Shared<T> {
    fn complete(&self, result: Result<T>) {
        match self.state.replace(State::Gone) {
            State::Waiting(waker) => {
                self.state.replace(State::Ready(result));
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            State::Chained(callback) => callback(result),
            // The Deferred was dropped; so is the result, outside the borrow.
            State::Ready(_) | State::Gone => drop(result),
        }
    }
}

/// The error for a caught panic.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Error {
    Error::Panicked {
        message: panic_message(payload),
    }
}

/// What a panic said, as far as it is text.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a payload that is not text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_callback_runs_synchronously_when_the_result_arrives() {
        let (sender, deferred) = Deferred::new();
        let seen = Rc::new(Cell::new(0));
        let target = Rc::clone(&seen);
        deferred.map(move |n| target.set(n)).ignore();
        assert_eq!(seen.get(), 0);
        sender.fire(7);
        assert_eq!(seen.get(), 7);
    }

    #[test]
    fn a_callback_runs_at_once_when_the_result_is_there() {
        let seen = Rc::new(Cell::new(0));
        let target = Rc::clone(&seen);
        Deferred::ready(7).map(move |n| target.set(n)).ignore();
        assert_eq!(seen.get(), 7);
    }

    #[test]
    fn a_chain_passes_errors_by_its_map_callbacks() {
        let (sender, deferred) = Deferred::<u32>::new();
        let end = deferred
            .map(|_| panic!("not reached"))
            .then(|result: Result<()>| result.is_err());
        sender.fail(Error::Abandoned);
        assert!(matches!(end.try_take(), Some(Ok(true))));
    }

    #[test]
    fn and_then_waits_for_the_inner_deferred() {
        let (outer, deferred) = Deferred::<u32>::new();
        let (inner, inner_deferred) = Deferred::<u32>::new();
        let end = deferred.and_then(move |n| inner_deferred.map(move |m| n + m));
        outer.fire(1);
        assert!(!end.is_ready());
        inner.fire(2);
        assert!(matches!(end.try_take(), Some(Ok(3))));
    }

    #[test]
    fn a_dropped_sender_abandons_the_result() {
        let (sender, deferred) = Deferred::<u32>::new();
        drop(sender);
        assert!(matches!(deferred.try_take(), Some(Err(Error::Abandoned))));
    }

    #[test]
    fn a_sender_knows_whether_anybody_waits() {
        let (sender, deferred) = Deferred::<u32>::new();
        assert!(sender.is_wanted());
        let chained = deferred.map(|n| n + 1);
        assert!(sender.is_wanted());
        drop(chained);
        assert!(sender.is_wanted(), "the callback is still to run");
        let (sender, deferred) = Deferred::<u32>::new();
        drop(deferred);
        assert!(!sender.is_wanted());
        sender.fire(1);
    }

    #[test]
    fn a_panic_in_a_callback_becomes_the_next_result() {
        let (sender, deferred) = Deferred::<u32>::new();
        let end = deferred.map(|_| -> u32 { panic!("in a callback") });
        sender.fire(1);
        let Some(Err(Error::Panicked { message })) = end.try_take() else {
            panic!("expected a panic")
        };
        assert_eq!(message, "in a callback");
    }

    #[test]
    fn whoever_awaits_is_woken_once_and_by_the_latest_waker() {
        let (sender, mut deferred) = Deferred::<u32>::new();
        let [stale, fresh] = [
            Arc::<CountingWaker>::default(),
            Arc::<CountingWaker>::default(),
        ];
        for waker in [&stale, &fresh] {
            let waker = Waker::from(Arc::clone(waker));
            let poll = Pin::new(&mut deferred).poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
        }
        sender.fire(5);
        assert_eq!(
            (
                stale.0.load(Ordering::Relaxed),
                fresh.0.load(Ordering::Relaxed)
            ),
            (0, 1)
        );
        let waker = Waker::from(fresh);
        let poll = Pin::new(&mut deferred).poll(&mut Context::from_waker(&waker));
        assert!(matches!(poll, Poll::Ready(Ok(5))));
    }

    #[test]
    fn a_callback_may_drop_and_make_deferreds() {
        let (sender, deferred) = Deferred::<Deferred<u32>>::new();
        let (other, inner) = Deferred::<u32>::new();
        let end = deferred.map(move |inner| {
            drop(inner);
            other.fire(1);
            2
        });
        sender.fire(inner);
        assert!(matches!(end.try_take(), Some(Ok(2))));
    }
}
