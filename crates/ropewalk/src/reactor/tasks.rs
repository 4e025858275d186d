//! Futures driven on the loop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker as TaskWaker};
use std::thread::{self, ThreadId};

use ropewalk_os::Waker;

use super::core::Core;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one reactor.
pub(crate) struct Tasks {
    live: RefCell<HashMap<u64, Rc<Task>>>,
    ready: Arc<ReadyQueue>,
    next_id: Cell<u64>,
}

struct Task {
    /// Empty while it is being polled, for a poll may run a nested turn.
    future: RefCell<Option<LocalFuture>>,
    /// Woken while it was being polled.
    missed: Cell<bool>,
    wake: Arc<WakeTask>,
}

/// Tasks to poll in the next turn; the waker of a task may be used from any thread.
struct ReadyQueue {
    ids: Mutex<Vec<u64>>,
    waker: Waker,
    loop_thread: ThreadId,
    /// Whether the loop's thread is in a turn, or makes one without being woken. False only between
    /// the turns that a host makes.
    loop_awake: AtomicBool,
}

struct WakeTask {
    id: u64,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(self.id);
        }
    }
}

impl ReadyQueue {
    fn push(&self, id: u64) {
        self.lock().push(id);
        // On its own thread the loop looks at the queue before it waits.
        let other_thread = thread::current().id() != self.loop_thread;
        if other_thread || !self.loop_awake.load(Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        // A push cannot panic half-way, so a poisoned queue is still a whole one.
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// The creating thread is the loop's, for a reactor never leaves its thread.
    pub(crate) fn new(waker: Waker) -> Self {
        let loop_thread = thread::current().id();
        let ready = ReadyQueue {
            ids: Mutex::default(),
            waker,
            loop_thread,
            loop_awake: AtomicBool::new(true),
        };
        Self {
            live: RefCell::default(),
            ready: Arc::new(ready),
            next_id: Cell::new(0),
        }
    }

    /// Adds a task; it is polled first in the next turn.
    pub(crate) fn spawn(&self, future: LocalFuture) {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let ready = Arc::clone(&self.ready);
        let wake = Arc::new(WakeTask {
            id,
            queued: AtomicBool::new(false),
            ready,
        });
        let future = RefCell::new(Some(future));
        let task = Rc::new(Task {
            future,
            missed: Cell::new(false),
            wake: Arc::clone(&wake),
        });
        self.live.borrow_mut().insert(id, task);
        wake.wake();
    }

    /// Notes whether the loop looks for ready tasks before it waits.
    pub(crate) fn set_loop_awake(&self, awake: bool) {
        self.ready.loop_awake.store(awake, Ordering::Relaxed);
    }

    /// Whether a task waits to be polled.
    pub(crate) fn any_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// Polls the tasks woken before now; one woken meanwhile waits for the next turn.
    pub(crate) fn poll_ready(&self, core: &Core) {
        let batch = std::mem::take(&mut *self.ready.lock());
        for id in batch {
            let task = self.live.borrow().get(&id).cloned();
            if let Some(task) = task {
                self.poll(core, id, &task);
            }
        }
    }

    fn poll(&self, core: &Core, id: u64, task: &Task) {
        // Before the poll, so that a wake-up from within it counts.
        task.wake.queued.store(false, Ordering::Release);
        let future = task.future.borrow_mut().take();
        let Some(mut future) = future else {
            task.missed.set(true);
            return;
        };
        let waker = TaskWaker::from(Arc::clone(&task.wake));
        let mut context = Context::from_waker(&waker);
        let polled = core.guard("a task", || future.as_mut().poll(&mut context));
        if polled == Some(Poll::Pending) && self.live.borrow().contains_key(&id) {
            *task.future.borrow_mut() = Some(future);
            if task.missed.take() {
                task.wake.wake_by_ref();
            }
            return;
        }
        let ended = self.live.borrow_mut().remove(&id);
        core.guard("the end of a task", || drop((future, ended)));
    }

    /// Drops every task, whose results are abandoned.
    pub(crate) fn drop_all(&self, core: &Core) {
        let tasks = std::mem::take(&mut *self.live.borrow_mut());
        for (_, task) in tasks {
            core.guard("the end of a task", || drop(task));
        }
    }
}
