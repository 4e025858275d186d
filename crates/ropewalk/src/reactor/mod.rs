//! The reactor: one loop with its lifecycle, timers, threads, signals and name resolution.

pub(crate) mod core;
mod delayed_call;
mod failure;
mod hosting;
mod jobs;
mod lifecycle;
mod remote;
mod resolver;
mod signals;
mod tasks;
mod thread_pool;
mod triggers;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk_os::process::ExitNotice;
use ropewalk_os::{Poller, PollerKind};

pub use self::delayed_call::DelayedCall;
pub use self::failure::Failure;
pub use self::lifecycle::State;
pub use self::remote::Remote;
pub use self::resolver::{BlockingResolver, PoolResolver, Resolver, StaticResolver};
pub use self::signals::SignalHandler;
pub use self::triggers::{Phase, Trigger, TriggerOutcome};

use self::core::Core;
use self::lifecycle::Event;
use crate::deferred::Deferred;
use crate::engine::PollerMaker;
use crate::error::Result;

/// The event loop of one thread, and a cheap handle of it: clones are the same reactor.
///
/// A reactor belongs to the thread that made it; [`Remote`] is its counterpart for other threads.
/// Any number of reactors may exist side by side, in one thread or in several. Making one starts no
/// thread and touches no signal.
///
/// Callbacks get the reactor as an argument. Prefer that to a captured clone: what the reactor
/// keeps (a pending call, a protocol) and what keeps the reactor hold each other in memory.
///
/// A panic in a callback is caught and reported (see [`on_failure`](Self::on_failure)); the loop
/// goes on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ropewalk::Reactor;
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// reactor.call_later(Duration::from_millis(5), |reactor| {
///     println!("five milliseconds later");
///     reactor.stop().expect("running: it makes this call");
/// });
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reactor {
    pub(crate) core: Rc<Core>,
}

/// How a [`Reactor`] is to be made; see [`Reactor::builder`].
pub struct Builder {
    pub(crate) poller: Option<PollerMaker>,
    pub(crate) signals: bool,
    pub(crate) thread_pool_size: usize,
    pub(crate) clock: Option<Box<dyn Fn() -> Instant>>,
    pub(crate) exit_notice: Option<ExitNotice>,
}

impl Builder {
    /// Waits with this poller. Unless told, the environment variable `ROPEWALK_POLLER` names it,
    /// or it is the platform's best one, or the next best where the system refuses that.
    #[must_use]
    pub fn poller(self, kind: PollerKind) -> Self {
        self.poller_maker(move || kind.new_poller())
    }

    /// Waits with what `make` makes: a [`Poller`] of the program's own, or a
    /// [`KqueuePoller`](crate::os::kqueue::KqueuePoller) on another system interface. It is called
    /// again whenever the poller has to be replaced.
    #[must_use]
    pub fn poller_maker(
        mut self,
        make: impl Fn() -> io::Result<Box<dyn Poller>> + 'static,
    ) -> Self {
        self.poller = Some(Box::new(make));
        self
    }

    /// Whether `SIGINT` and `SIGTERM` stop the reactor while it runs; they do unless told.
    ///
    /// They are handled from the "during" phase of startup to the end of
    /// [`run`](Reactor::run). Handlers of the program run as well. After that the two signals do
    /// what they did before. A `SIGINT` that is ignored when the reactor starts, as a shell has it
    /// for what runs in the background, is left so.
    #[must_use]
    pub fn signals(mut self, handled: bool) -> Self {
        self.signals = handled;
        self
    }

    /// The most threads of the pool, 10 unless told; see
    /// [`suggest_thread_pool_size`](Reactor::suggest_thread_pool_size).
    #[must_use]
    pub fn thread_pool_size(mut self, threads: usize) -> Self {
        self.thread_pool_size = threads;
        self
    }

    /// Reads the time from `clock`, which must never go back, in place of [`Instant::now`]: for
    /// tests and simulations, with [`turn`](Reactor::turn) and a limit of zero. A real wait lasts
    /// as long as this clock says and knows nothing of its being set.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Instant + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Notices the ends of child processes by `notice`. Unless told, by the best way that the system
    /// grants, which is found out when the reactor is made.
    #[must_use]
    pub fn exit_notice(mut self, notice: ExitNotice) -> Self {
        self.exit_notice = Some(notice);
        self
    }

    /// Makes the reactor, which belongs to the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os): descriptors have run out, or the platform does not have the
    /// poller ([`Unsupported`](std::io::ErrorKind::Unsupported)).
    pub fn build(self) -> Result<Reactor> {
        Core::new(self).map(|core| Reactor { core })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("chooses_poller", &self.poller.is_none())
            .field("signals", &self.signals)
            .field("thread_pool_size", &self.thread_pool_size)
            .finish_non_exhaustive()
    }
}

/// Making a reactor.
impl Reactor {
    /// Makes a reactor on the platform's best poller that works here, or the one that the
    /// environment variable `ROPEWALK_POLLER` names; [`poller_kind`](Self::poller_kind) tells which,
    /// and so does a log line at debug level.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`]; [`Error::Os`](crate::Error::Os) with
    /// [`InvalidInput`](std::io::ErrorKind::InvalidInput) for a `ROPEWALK_POLLER` that names no
    /// poller of this platform.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Makes a reactor on a poller of `kind`.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn with_poller(kind: PollerKind) -> Result<Self> {
        Self::builder().poller(kind).build()
    }

    /// Makes a reactor with other settings than the usual ones.
    pub fn builder() -> Builder {
        Builder {
            poller: None,
            signals: true,
            thread_pool_size: 10,
            clock: None,
            exit_notice: None,
        }
    }

    /// Which poller the reactor waits with.
    pub fn poller_kind(&self) -> PollerKind {
        self.core.engine.poller_kind()
    }
}

/// Lifecycle.
impl Reactor {
    /// Runs the loop until it is stopped or crashed.
    ///
    /// Fires the system event "startup" first and, after [`stop`](Self::stop), "shutdown" last. On
    /// return after a stop, every connection is cut, the threads of the pool have ended, tasks that
    /// did not end are dropped, and the reactor cannot run again.
    ///
    /// # Errors
    ///
    /// - [`Misuse::AlreadyRunning`](crate::Misuse::AlreadyRunning),
    ///   [`Misuse::NotRestartable`](crate::Misuse::NotRestartable).
    /// - [`Error::Os`](crate::Error::Os): the poller failed, which no peer can cause. The reactor
    ///   has then crashed.
    pub fn run(&self) -> Result<()> {
        self.core.run()
    }

    /// Ends [`run`](Self::run) in good order: at the end of the turn "shutdown" is fired; once its
    /// "before" triggers are done, connections are cut and the loop is left. During startup,
    /// startup completes first.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotRunning`](crate::Misuse::NotRunning), also when it was told to stop before.
    pub fn stop(&self) -> Result<()> {
        Ok(self.core.advance(Event::Stop)?)
    }

    /// Leaves [`run`](Self::run) at the end of the turn and fires nothing: connections, calls and
    /// tasks stay as they are, and the reactor may run again (unless it was told to stop before).
    pub fn crash(&self) {
        self.core.crash();
    }

    /// Runs one turn and waits in it until there is something to do, at most for `limit` (`None`:
    /// without limit). Works in every state: before and after `run`, and from within a callback.
    ///
    /// In order: the calls that threads queued until now; tasks woken until now; delayed calls due
    /// now; what is queued goes out; the wait, which is none if anything is due; readiness; what
    /// was queued meanwhile goes out; a stop that was asked for begins the shutdown. What a
    /// callback schedules waits for the next turn, so none can keep the others from their work.
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when the poller failed.
    pub fn turn(&self, limit: impl Into<Option<Duration>>) -> Result<()> {
        self.core.turn(limit.into())
    }

    /// Where the reactor is in its life.
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Whether the reactor runs: from the "during" phase of startup to the one of shutdown.
    pub fn is_running(&self) -> bool {
        self.state().is_running()
    }

    /// The signal that stopped the reactor, for a program that wants to end as if killed by it.
    pub fn exit_signal(&self) -> Option<i32> {
        self.core.signals.exit_signal()
    }

    /// Cuts every connection and closes every port, as shutdown does.
    pub fn disconnect_all(&self) {
        self.core.disconnect_all();
    }

    /// Makes `call` once the reactor runs: at once if it does, else after startup, in the order of
    /// asking.
    pub fn call_when_running(&self, call: impl FnOnce(&Reactor) + 'static) -> Option<Trigger> {
        if self.is_running() {
            self.core.guard("a call at startup", || call(self));
            return None;
        }
        Some(self.add_system_event_trigger(Phase::After, "startup", call))
    }

    /// Runs `trigger` the next time `event` is fired, once, after those of its phase that were
    /// added earlier. "startup" and "shutdown" are fired by the reactor, any other event by
    /// [`fire_system_event`](Self::fire_system_event).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk::{Deferred, Phase, Reactor};
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// // Shutdown waits for this one, and the reactor turns as ever meanwhile.
    /// reactor.add_system_event_trigger(Phase::Before, "shutdown", |reactor| {
    ///     let (sender, saved) = Deferred::new();
    ///     reactor.call_later(Duration::from_millis(1), |_| sender.fire(()));
    ///     saved
    /// });
    /// reactor.call_when_running(|reactor| reactor.stop().expect("running"));
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_system_event_trigger<R: TriggerOutcome>(
        &self,
        phase: Phase,
        event: impl Into<Cow<'static, str>>,
        trigger: impl FnOnce(&Reactor) -> R + 'static,
    ) -> Trigger {
        let callback = Box::new(move |reactor: &Reactor| trigger(reactor).into_wait());
        self.core
            .triggers
            .borrow_mut()
            .add(phase, event.into(), callback)
    }

    /// Takes a trigger back; false when it has run.
    pub fn remove_system_event_trigger(&self, trigger: Trigger) -> bool {
        let removed = self.core.triggers.borrow_mut().remove(&trigger);
        removed.is_some()
    }

    /// Runs the triggers of `event` by hand. For "shutdown" that includes leaving the loop, cutting
    /// the connections and ending the thread pool; a reactor that was not told to
    /// [`stop`](Self::stop) may run again afterwards.
    pub fn fire_system_event(&self, event: impl Into<Cow<'static, str>>) {
        self.core.fire_system_event(event.into());
    }

    /// Has `hook` told of every callback that fails, in place of the log. It runs on the loop's
    /// thread, right after the callback.
    pub fn on_failure(&self, hook: impl Fn(&Failure) + 'static) {
        let before = self.core.failure_hook.replace(Some(Rc::new(hook)));
        drop(before);
    }
}

/// Time.
impl Reactor {
    /// What time it is, on the reactor's monotonic clock.
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// When the next turn has something to do that no descriptor tells: the deadline of the next
    /// delayed call, or [now](Self::now) when something is due already. Nothing if the loop may wait
    /// without limit.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// Makes `call` once, `delay` from now or later, never in this turn's pass over due calls.
    /// Equal deadlines are kept in the order of asking.
    pub fn call_later(
        &self,
        delay: Duration,
        call: impl FnOnce(&Reactor) + 'static,
    ) -> DelayedCall {
        DelayedCall::new(&self.core, self.core.call_later(delay, Box::new(call)))
    }

    /// How many delayed calls are pending, those of ports and connectors included.
    pub fn delayed_call_count(&self) -> usize {
        self.core.timers.borrow().len()
    }

    /// A `Deferred` that fires `delay` from now: a timer to `await`.
    pub fn sleep(&self, delay: Duration) -> Deferred<()> {
        let (sender, deferred) = Deferred::new();
        self.call_later(delay, |_| sender.fire(()));
        deferred
    }
}

/// Threads and tasks.
impl Reactor {
    /// The handle that other threads may hold.
    pub fn remote(&self) -> Remote {
        self.core.remote.clone()
    }

    /// Runs `job` on a thread of the reactor's pool, which is made on first use. If the job panics,
    /// the failure is reported on the loop's thread.
    ///
    /// Shutdown waits for the job to end, so it must not wait for the loop then.
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when the pool has no thread and none can be started.
    pub fn call_in_thread(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.core.call_in_thread(job)
    }

    /// Runs `job` as [`call_in_thread`](Self::call_in_thread) does, and gives what it returns on
    /// the loop's thread.
    ///
    /// The `Deferred` fails with [`Error::Panicked`](crate::Error::Panicked) for a job that
    /// panicked and with [`Error::Os`](crate::Error::Os) when no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::Reactor;
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// reactor
    ///     .defer_to_thread(|| (1..=20_u64).product::<u64>())
    ///     .map(move |factorial| {
    ///         assert_eq!(factorial, 2_432_902_008_176_640_000);
    ///         handle.stop().expect("running: it delivers this result");
    ///     })
    ///     .ignore();
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        self.core.defer_to_thread(job)
    }

    /// Sets the most threads of the pool; surplus ones end after their current job. With 0, jobs
    /// wait for a larger size.
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when a waiting job needs a thread that cannot be started.
    pub fn suggest_thread_pool_size(&self, threads: usize) -> Result<()> {
        self.core.jobs.suggest_size(threads)
    }

    /// Drives `future` on the loop, from its next turn on, and gives what it returns. It need not
    /// be `Send`; it goes on when the `Deferred` is dropped.
    ///
    /// The `Deferred` fails with [`Error::Abandoned`](crate::Error::Abandoned) when the future
    /// panics (which is reported) or the reactor stops first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ropewalk::Reactor;
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.clone();
    /// let task = reactor.spawn_local(async move {
    ///     handle.sleep(Duration::from_millis(1)).await?;
    ///     let answer = handle.defer_to_thread(|| 6 * 7).await?;
    ///     handle.stop()?;
    ///     Ok::<_, ropewalk::Error>(answer)
    /// });
    /// reactor.run()?;
    /// assert_eq!(task.try_take().unwrap()??, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_local<F>(&self, future: F) -> Deferred<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (sender, deferred) = Deferred::new();
        self.core
            .tasks
            .spawn(Box::pin(async move { sender.fire(future.await) }));
        deferred
    }
}

/// Names.
impl Reactor {
    /// Looks host names up with `resolver` from now on, and hands back the one before.
    pub fn install_resolver(&self, resolver: impl Resolver + 'static) -> Rc<dyn Resolver> {
        self.core.resolver.replace(Rc::new(resolver))
    }

    /// The addresses of `name`, each with `port`; an address literal is its own, at once.
    ///
    /// The `Deferred` fails with [`Error::Resolve`](crate::Error::Resolve).
    pub fn resolve(&self, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        self.core.resolve(name, port)
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("poller", &self.poller_kind())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
