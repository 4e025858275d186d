//! What all handles of one reactor share, and the seam between the engine and the transports.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk_os::process::ExitNotice;
use ropewalk_os::{PollerKind, Readiness, Token};

use super::failure::{Failure, FailureHook};
use super::jobs::Jobs;
use super::lifecycle::{Action, Event, State};
use super::remote::{Remote, ThreadCall};
use super::resolver::{PoolResolver, Resolver};
use super::signals::Signals;
use super::tasks::Tasks;
use super::triggers::Triggers;
use super::{Builder, Reactor};
use crate::engine::{Engine, Host, PollerMaker, TimerId, Timers};
use crate::error::{Disconnect, Error, Misuse, Result};
use crate::transport;

/// A call that the loop makes once.
pub(crate) type Call = Box<dyn FnOnce(&Reactor)>;

/// What a descriptor's readiness is delivered to: a transport, a port, a connection attempt, a
/// child process or a foreign descriptor.
///
/// All methods may call anything of the core, for nothing is borrowed while they run. Calls into
/// user code go through [`Core::guard`], so that a panic ends there.
pub(crate) trait Source {
    /// The descriptor is ready, or [`Engine::request_ready`] said so.
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness);

    /// Sends what is queued; no user code runs from here.
    fn flush(&self, core: &Rc<Core>, token: Token);

    /// The system refused to watch the descriptor, whose interest is now none.
    fn register_failed(&self, core: &Rc<Core>, token: Token, error: io::Error);

    /// The reactor shuts down: the source removes itself from the engine and tells its owner.
    fn connection_lost(&self, core: &Rc<Core>, reason: Disconnect);

    /// The reactor is gone without a shutdown: the source lets go of what belongs to the program
    /// and may hold the source itself in memory. Nobody is told.
    fn orphaned(&self) {}
}

/// The Rust face as the engine's embedder: for one turn, a pointer to the core.
pub(crate) struct RustHost {
    core: Rc<Core>,
}

impl Host for RustHost {
    type Source = Rc<dyn Source>;

    fn ready(&self, _: &Engine<Self>, token: Token, source: Rc<dyn Source>, readiness: Readiness) {
        self.core.guard("a readiness handler", || {
            source.ready(&self.core, token, readiness)
        });
    }

    fn flush(&self, _: &Engine<Self>, token: Token, source: Rc<dyn Source>) {
        self.core
            .guard("a flush", || source.flush(&self.core, token));
    }

    fn register_failed(
        &self,
        _: &Engine<Self>,
        token: Token,
        source: Rc<dyn Source>,
        error: io::Error,
    ) {
        let handle = || source.register_failed(&self.core, token, error);
        self.core.guard("a refused registration", handle);
    }

    fn park(&self, wait: &mut dyn FnMut()) {
        wait();
    }
}

/// The state of one reactor. Single-threaded; only [`Remote`] leaves the thread.
///
/// No method holds a borrow of it while user code runs.
pub(crate) struct Core {
    pub(crate) engine: Engine<RustHost>,
    pub(crate) timers: RefCell<Timers<Instant, Call>>,
    pub(crate) remote: Remote,
    /// Thread calls taken from the queue and not made yet: a nested turn makes them first.
    taken_calls: RefCell<VecDeque<ThreadCall>>,
    pub(crate) tasks: Tasks,
    pub(crate) jobs: Jobs,
    lifecycle: Cell<State>,
    /// How many turns are under way, one inside the other.
    depth: Cell<u32>,
    /// Whether a host makes the turns, so that nobody but a turn can leave the loop.
    started_by_host: Cell<bool>,
    pub(crate) triggers: RefCell<Triggers>,
    pub(crate) signals: Signals,
    pub(crate) resolver: RefCell<Rc<dyn Resolver>>,
    pub(crate) failure_hook: RefCell<Option<Rc<FailureHook>>>,
    /// What ports and foreign descriptors share.
    pub(crate) transports: transport::Shared,
    clock: Clock,
}

/// Where the core learns what time it is.
type Clock = Option<Box<dyn Fn() -> Instant>>;

/// The farthest a timer is set into the future, where the clock itself ends earlier.
const FAR_FUTURE: Duration = Duration::from_secs(86_400 * 365 * 30);

impl Core {
    pub(crate) fn new(builder: Builder) -> Result<Rc<Self>> {
        let make = match builder.poller {
            Some(make) => make,
            None => choose_poller()?,
        };
        let engine = Engine::with_maker(make).map_err(Error::os("create the poller"))?;
        let notice = match builder.exit_notice {
            Some(notice) => notice,
            None => ExitNotice::choose().map_err(Error::os("find out how children end"))?,
        };
        let remote = Remote::new(engine.waker().clone());
        let core = Self {
            tasks: Tasks::new(engine.waker().clone()),
            signals: Signals::new(engine.waker().clone(), builder.signals),
            engine,
            timers: RefCell::default(),
            remote,
            taken_calls: RefCell::default(),
            jobs: Jobs::new(builder.thread_pool_size),
            lifecycle: Cell::default(),
            depth: Cell::new(0),
            started_by_host: Cell::new(false),
            triggers: RefCell::default(),
            resolver: RefCell::new(Rc::new(PoolResolver)),
            failure_hook: RefCell::default(),
            transports: transport::Shared::new(notice)
                .map_err(Error::os("reserve a descriptor"))?,
            clock: builder.clock,
        };
        Ok(Rc::new(core))
    }

    /// What time it is, on the reactor's clock.
    pub(crate) fn now(&self) -> Instant {
        self.clock
            .as_ref()
            .map_or_else(Instant::now, |clock| clock())
    }

    pub(crate) fn state(&self) -> State {
        self.lifecycle.get()
    }

    /// Moves the lifecycle on and does what it asks for.
    pub(crate) fn advance(self: &Rc<Self>, event: Event) -> Result<(), Misuse> {
        let (state, action) = self.lifecycle.get().after(event)?;
        self.lifecycle.set(state);
        if event == Event::Stop {
            self.engine.wake_host();
        }
        match action {
            Action::Nothing => {}
            Action::FireStartup => self.fire_system_event("startup".into()),
            Action::FireShutdown => self.fire_system_event("shutdown".into()),
            Action::InstallSignals => self.signals.install(self),
            Action::Retire => self.retire(),
        }
        Ok(())
    }

    /// For events that no state refuses.
    fn note(self: &Rc<Self>, event: Event) {
        if let Err(misuse) = self.advance(event) {
            unreachable!("{event:?} is accepted in every state, not {misuse}");
        }
    }

    pub(crate) fn run(self: &Rc<Self>) -> Result<()> {
        self.advance(Event::Run)?;
        let mut result = Ok(());
        while self.state().keeps_looping() {
            result = self.turn(None);
        }
        self.leave();
        result
    }

    /// As [`run`](Self::run), with the turns left to the caller; the last one leaves the loop.
    pub(crate) fn start(self: &Rc<Self>) -> Result<()> {
        self.advance(Event::Run)?;
        self.started_by_host.set(true);
        self.engine.wake_host();
        Ok(())
    }

    fn leave(self: &Rc<Self>) {
        self.signals.uninstall();
        self.note(Event::LoopLeft);
    }

    pub(crate) fn crash(self: &Rc<Self>) {
        self.note(Event::Crash);
    }

    /// The "during" phase of startup.
    pub(crate) fn started(self: &Rc<Self>) {
        self.note(Event::Started);
    }

    /// The built-in steps of the "during" phase of shutdown: leave the loop, cut what is still
    /// connected, wait for the jobs of the thread pool.
    pub(crate) fn drain(self: &Rc<Self>) {
        self.note(Event::Drain);
        self.disconnect_all();
        self.jobs.stop_pool();
    }

    /// One turn, and what has to follow it where a host waits.
    pub(crate) fn turn(self: &Rc<Self>, limit: Option<Duration>) -> Result<()> {
        let host = RustHost {
            core: Rc::clone(self),
        };
        self.depth.set(self.depth.get() + 1);
        self.engine.begin_turn();
        self.tasks.set_loop_awake(true);
        let mut result = self.one_turn(&host, limit);
        self.depth.set(self.depth.get() - 1);
        if self.depth.get() > 0 {
            return result.map_err(Error::os("wait for events"));
        }
        if result.is_ok() && self.engine.is_hosted() {
            result = self.engine.settle(&host);
            self.tasks.set_loop_awake(false);
        }
        if result.is_err() && self.state().keeps_looping() {
            // The poller is broken, and every further turn would fail as this one.
            self.note(Event::Crash);
        }
        if self.started_by_host.get() && !self.state().keeps_looping() {
            self.started_by_host.set(false);
            self.leave();
        }
        result.map_err(Error::os("wait for events"))
    }

    /// One turn, in the order of docs/architecture.md.
    fn one_turn(self: &Rc<Self>, host: &RustHost, limit: Option<Duration>) -> io::Result<()> {
        let looped = self.state().keeps_looping();
        self.make_thread_calls();
        self.tasks.poll_ready(self);
        self.run_due_calls();
        // A loop that was left, or is about to be, must not sit in a wait first.
        let left = looped && !self.state().keeps_looping();
        let timeout = if left || self.stop_requested() {
            Some(Duration::ZERO)
        } else {
            self.wait_timeout(limit)
        };
        let polled = self.engine.poll(host, timeout);
        self.handle_signals();
        self.note(Event::TurnEnded);
        polled
    }

    fn stop_requested(&self) -> bool {
        matches!(self.state(), State::StopRequested { .. })
    }

    /// When the next turn has something to do that no descriptor tells.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let due = self.engine.is_due()
            || self.stop_requested()
            || self.tasks.any_ready()
            || !self.taken_calls.borrow().is_empty()
            || self.remote.has_calls();
        if due {
            return Some(self.now());
        }
        self.timers.borrow().peek()
    }

    /// Makes the calls that other threads queued before now; what they queue waits.
    fn make_thread_calls(self: &Rc<Self>) {
        let batch = self.remote.take_calls();
        let count = {
            let mut taken = self.taken_calls.borrow_mut();
            taken.extend(batch);
            taken.len()
        };
        let reactor = self.reactor();
        for _ in 0..count {
            // Taken out first, so that a nested turn does not make it again; the binding ends the
            // borrow before the call.
            let next = self.taken_calls.borrow_mut().pop_front();
            let Some(call) = next else { break };
            self.guard("a call from a thread", || call(&reactor));
        }
    }

    /// Runs the delayed calls due now; what they schedule waits for the next pass.
    fn run_due_calls(self: &Rc<Self>) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let (now, sequence) = (self.now(), self.timers.borrow().sequence());
        let reactor = self.reactor();
        loop {
            let due = self.timers.borrow_mut().pop_due(now, sequence);
            let Some((_, call)) = due else { break };
            self.guard("a delayed call", || call(&reactor));
        }
    }

    /// How long the turn may wait: to `limit` or the next deadline, not at all for a ready task.
    fn wait_timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        if self.tasks.any_ready() {
            return Some(Duration::ZERO);
        }
        let deadline = self.timers.borrow().peek();
        let until = deadline.map(|deadline| deadline.saturating_duration_since(self.now()));
        match (until, limit) {
            (Some(until), Some(limit)) => Some(until.min(limit)),
            (until, limit) => until.or(limit),
        }
    }

    /// Calls every source's [`Source::connection_lost`]; one that panics does not stop the rest.
    pub(crate) fn disconnect_all(self: &Rc<Self>) {
        for token in self.engine.tokens() {
            let Some(source) = self.engine.source(token) else {
                continue;
            };
            self.guard("a disconnection", || {
                source.connection_lost(self, Disconnect::Shutdown)
            });
            drop(self.engine.remove(token));
        }
    }

    /// Drops what can never end any more. Results that the thread pool still gave come first.
    fn retire(self: &Rc<Self>) {
        self.make_thread_calls();
        self.tasks.poll_ready(self);
        self.jobs.abandon();
        self.tasks.drop_all(self);
    }

    /// Schedules `call`, as the last among equal deadlines.
    pub(crate) fn call_later(&self, delay: Duration, call: Call) -> TimerId {
        let deadline = self.deadline_after(delay);
        let id = self.timers.borrow_mut().insert(deadline, call);
        self.engine.wake_host();
        id
    }

    /// Makes a delayed call due at another time.
    pub(crate) fn reset_call(&self, id: TimerId, deadline: Instant) -> bool {
        let known = self.timers.borrow_mut().reset(id, deadline);
        self.engine.wake_host();
        known
    }

    /// Takes a delayed call back; dropping the closure happens outside the borrow.
    pub(crate) fn cancel_call(&self, id: TimerId) -> bool {
        let call = self.timers.borrow_mut().cancel(id);
        call.is_some()
    }

    /// The moment `delay` from now.
    pub(crate) fn deadline_after(&self, delay: Duration) -> Instant {
        later(self.now(), delay)
    }

    /// Runs a callback; a panic in it is reported and goes no further.
    pub(crate) fn guard<R>(&self, during: &'static str, callback: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(callback)) {
            Ok(value) => Some(value),
            Err(payload) => {
                self.report(Failure::from_panic(during, payload));
                None
            }
        }
    }

    /// Tells the program's hook, or the log, about a failure that nobody else hears of.
    pub(crate) fn report(&self, failure: Failure) {
        let hook = self.failure_hook.borrow().clone();
        match hook {
            Some(hook) => {
                let told = catch_unwind(AssertUnwindSafe(|| hook(&failure)));
                if told.is_err() {
                    failure.log();
                }
            }
            None => failure.log(),
        }
    }

    /// A handle for user code.
    pub(crate) fn reactor(self: &Rc<Self>) -> Reactor {
        Reactor {
            core: Rc::clone(self),
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        for token in self.engine.tokens() {
            if let Some(source) = self.engine.source(token) {
                source.orphaned();
            }
        }
        self.transports.children.orphan();
        transport::reap_abandoned();
        self.remote.close();
    }
}

/// The maker of the poller that the environment asks for, or of the best one that works here.
fn choose_poller() -> Result<PollerMaker> {
    let kind = PollerKind::choose().map_err(Error::os("choose a poller"))?;
    tracing::debug!(poller = %kind, "chose the poller");
    Ok(Box::new(move || kind.new_poller()))
}

/// `start` and `delay` together, or as far as the clock reaches.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    start
        .checked_add(delay)
        .unwrap_or_else(|| start + FAR_FUTURE)
}
