//! System event triggers: three phases, the first of which may wait.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use super::Reactor;
use super::core::Core;
use super::failure::Failure;
use crate::deferred::Deferred;

/// When in a system event a trigger runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// First. A trigger may return a [`Deferred`], which the next phase waits for.
    Before,
    /// When all of `Before` is done. At "startup", the reactor runs from here on; at "shutdown",
    /// the loop is left and connections are cut just before these triggers.
    During,
    /// Last, right after `During`.
    After,
}

/// Names a trigger so that it can be removed again.
#[derive(Debug)]
pub struct Trigger {
    event: Cow<'static, str>,
    phase: Phase,
    id: u64,
}

/// What a trigger may return: nothing, or, to be waited for in [`Phase::Before`], a
/// `Deferred<()>` (or an `Option` of one). Later phases wait for nothing and drop it.
pub trait TriggerOutcome {
    /// What has to be waited for.
    fn into_wait(self) -> Option<Deferred<()>>;
}

impl TriggerOutcome for () {
    fn into_wait(self) -> Option<Deferred<()>> {
        None
    }
}

impl TriggerOutcome for Deferred<()> {
    fn into_wait(self) -> Option<Deferred<()>> {
        Some(self)
    }
}

impl TriggerOutcome for Option<Deferred<()>> {
    fn into_wait(self) -> Option<Deferred<()>> {
        self
    }
}

type Callback = Box<dyn FnOnce(&Reactor) -> Option<Deferred<()>>>;
type Queue = VecDeque<(u64, Callback)>;

/// All triggers of one reactor, by event and phase, first in first out.
#[derive(Default)]
pub(crate) struct Triggers {
    events: HashMap<Cow<'static, str>, [Queue; 3]>,
    next_id: u64,
}

impl Triggers {
    pub(crate) fn add(
        &mut self,
        phase: Phase,
        event: Cow<'static, str>,
        callback: Callback,
    ) -> Trigger {
        let id = self.next_id;
        self.next_id += 1;
        let queues = self.events.entry(event.clone()).or_default();
        queues[phase as usize].push_back((id, callback));
        Trigger { event, phase, id }
    }

    /// Takes a trigger back, for the caller to drop; nothing when it has run.
    pub(crate) fn remove(&mut self, trigger: &Trigger) -> Option<Callback> {
        let queue = &mut self.events.get_mut(&trigger.event)?[trigger.phase as usize];
        let index = queue.iter().position(|(id, _)| *id == trigger.id)?;
        queue.remove(index).map(|(_, callback)| callback)
    }

    /// Takes the next trigger of a phase; an event without any is forgotten.
    fn pop(&mut self, event: &str, phase: Phase) -> Option<Callback> {
        let queues = self.events.get_mut(event)?;
        let next = queues[phase as usize].pop_front();
        if next.is_none() && queues.iter().all(VecDeque::is_empty) {
            self.events.remove(event);
        }
        next.map(|(_, callback)| callback)
    }
}

/// One firing of an event, until its "before" triggers are done.
struct Firing {
    event: Cow<'static, str>,
    core: Weak<Core>,
    /// How many results are waited for; the loop over the "before" triggers counts as one, so that
    /// a result which comes during it does not begin the next phase early.
    waiting: Cell<usize>,
}

impl Core {
    /// Runs the triggers of `event`, those of "before" at once and the others as soon as the
    /// results of "before" are there. Each runs once; unknown events have none.
    pub(crate) fn fire_system_event(self: &Rc<Self>, event: Cow<'static, str>) {
        let core = Rc::downgrade(self);
        let firing = Rc::new(Firing {
            event,
            core,
            waiting: Cell::new(1),
        });
        let reactor = self.reactor();
        while let Some(callback) = self.next_trigger(&firing.event, Phase::Before) {
            let outcome = self.guard("a trigger", || callback(&reactor));
            if let Some(wait) = outcome.flatten() {
                firing.wait_for(wait);
            }
        }
        firing.one_done(self);
    }

    fn next_trigger(&self, event: &str, phase: Phase) -> Option<Callback> {
        self.triggers.borrow_mut().pop(event, phase)
    }

    /// The phases after "before", with the reactor's own steps in front of the program's.
    fn finish_system_event(self: &Rc<Self>, event: &str) {
        match event {
            "startup" => self.started(),
            "shutdown" => self.drain(),
            _ => {}
        }
        let reactor = self.reactor();
        for phase in [Phase::During, Phase::After] {
            while let Some(callback) = self.next_trigger(event, phase) {
                // Nothing is waited for in these phases; an error in the Deferred logs itself.
                drop(self.guard("a trigger", || callback(&reactor)));
            }
        }
    }
}

impl Firing {
    fn wait_for(self: &Rc<Self>, wait: Deferred<()>) {
        self.waiting.set(self.waiting.get() + 1);
        let firing = Rc::clone(self);
        let waited = wait.then(move |result| {
            // A reactor that is gone has no phases left to run.
            let Some(core) = firing.core.upgrade() else {
                return;
            };
            if let Err(error) = result {
                core.report(Failure::from_error("what a trigger waited for", error));
            }
            firing.one_done(&core);
        });
        waited.ignore();
    }

    fn one_done(&self, core: &Rc<Core>) {
        self.waiting.set(self.waiting.get() - 1);
        if self.waiting.get() == 0 {
            core.finish_system_event(&self.event);
        }
    }
}
