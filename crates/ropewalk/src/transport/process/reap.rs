//! Who waits for children, and when.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ropewalk_os::process::{Child as OsChild, ExitNotice};

use super::child::Child;
use crate::error::Result;
use crate::reactor::core::Core;

/// How the ends of one reactor's children are noticed.
pub(crate) struct Children {
    notice: ExitNotice,
    /// Those of whose ends only `SIGCHLD` tells.
    by_signal: RefCell<Vec<Rc<Child>>>,
}

impl Children {
    pub(crate) fn new(notice: ExitNotice) -> Self {
        let by_signal = RefCell::default();
        Self { notice, by_signal }
    }

    /// The reactor is gone: lets go of what belongs to the program.
    pub(crate) fn orphan(&self) {
        for child in self.by_signal.take() {
            child.let_go();
        }
    }

    pub(super) fn add(&self, child: &Rc<Child>) {
        self.by_signal.borrow_mut().push(Rc::clone(child));
    }

    pub(super) fn remove(&self, child: &Child) {
        let is_it = |other: &Rc<Child>| std::ptr::eq(Rc::as_ptr(other), child);
        let mut by_signal = self.by_signal.borrow_mut();
        let found = by_signal.iter().position(is_it);
        let removed = found.map(|index| by_signal.swap_remove(index));
        drop(by_signal);
        drop(removed);
    }
}

impl Core {
    /// Gets ready to notice the end of a child that is about to be made.
    pub(super) fn expect_child(&self) -> Result<ExitNotice> {
        reap_abandoned();
        let notice = self.transports.children.notice;
        if matches!(notice, ExitNotice::ChildSignal) {
            self.signals.watch_children()?;
        }
        Ok(notice)
    }

    /// `SIGCHLD` came: looks at each child that may have meant, by its own id.
    pub(crate) fn child_signal(self: &Rc<Self>) {
        let children = self.transports.children.by_signal.borrow().clone();
        for child in children {
            child.reap(self);
        }
    }
}

/// Looks at a child that has probably ended, for all of its pipes are closed, when nothing but a
/// signal tells of that: the host may have taken the signal for itself. Ever more rarely.
pub(super) struct LookAgain {
    delay: Cell<Option<Duration>>,
}

impl LookAgain {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    pub(super) const fn new() -> Self {
        Self {
            delay: Cell::new(None),
        }
    }

    /// Begins, unless it has begun.
    pub(super) fn begin(&self, core: &Core, child: Weak<Child>) {
        if self.delay.get().is_none() {
            self.after(core, child, Self::FIRST);
        }
    }

    fn after(&self, core: &Core, child: Weak<Child>, delay: Duration) {
        self.delay.set(Some(delay));
        let look = move |reactor: &crate::Reactor| {
            let Some(me) = child.upgrade() else { return };
            me.reap(&reactor.core);
            if me.is_unwatched() {
                let longer = (delay * 2).min(Self::LONGEST);
                me.look_again().after(&reactor.core, child, longer);
            }
        };
        core.call_later(delay, Box::new(look));
    }
}

/// Children that outlived whoever cared for them.
static ABANDONED: Mutex<Vec<OsChild>> = Mutex::new(Vec::new());

/// Takes over a child that may still run.
pub(super) fn abandon(mut child: OsChild) {
    if !is_gone(&mut child) {
        let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.push(child);
    }
}

/// Waits for those that have ended since. It does not block.
pub(crate) fn reap_abandoned() {
    let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    abandoned.retain_mut(|child| !is_gone(child));
}

fn is_gone(child: &mut OsChild) -> bool {
    // An error is none of the child's end.
    matches!(child.try_wait(), Ok(Some(_)))
}
