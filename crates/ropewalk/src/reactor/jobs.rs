//! Jobs given to the thread pool, and the way their results come back.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use super::core::Core;
use super::failure::Failure;
use super::thread_pool::{Job, ThreadPool};
use crate::deferred::{Deferred, panicked};
use crate::error::{Error, Result};

/// How a job ended, on its way from the worker to the loop.
type Outcome = thread::Result<Box<dyn Any + Send>>;

/// Gives a job's outcome to whoever waits for it.
type Finish = Box<dyn FnOnce(Outcome)>;

/// The pool, once it is needed, and the jobs whose results are waited for.
pub(crate) struct Jobs {
    pool: RefCell<Option<ThreadPool>>,
    size: Cell<usize>,
    waiting: RefCell<HashMap<u64, Finish>>,
    next_id: Cell<u64>,
}

impl Jobs {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            pool: RefCell::default(),
            size: Cell::new(size),
            waiting: RefCell::default(),
            next_id: Cell::new(0),
        }
    }

    pub(crate) fn suggest_size(&self, size: usize) -> Result<()> {
        self.size.set(size);
        match &*self.pool.borrow() {
            Some(pool) => pool.resize(size),
            None => Ok(()),
        }
    }

    /// Queues a job; the pool is made on first use.
    fn submit(&self, job: Job) -> Result<()> {
        let mut pool = self.pool.borrow_mut();
        pool.get_or_insert_with(|| ThreadPool::new(self.size.get()))
            .submit(job)
    }

    /// Waits for every queued job to be done and for the threads to end. The next job, if there
    /// ever is one, gets a new pool.
    pub(crate) fn stop_pool(&self) {
        let pool = self.pool.borrow_mut().take();
        drop(pool);
    }

    /// Gives up the results that did not come.
    pub(crate) fn abandon(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        drop(waiting);
    }
}

impl Core {
    /// Runs `job` on the thread pool; a panic in it is reported on the loop's thread.
    pub(crate) fn call_in_thread(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let remote = self.remote.clone();
        self.jobs.submit(Box::new(move || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                remote.call_from_thread(move |reactor| {
                    reactor
                        .core
                        .report(Failure::from_panic("a call in a thread", payload));
                });
            }
        }))
    }

    /// Runs `job` on the thread pool; what it returns comes back through the thread-call queue.
    pub(crate) fn defer_to_thread<T: Send + 'static>(
        self: &Rc<Self>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        let (sender, deferred) = Deferred::new();
        let id = self.jobs.next_id.replace(self.jobs.next_id.get() + 1);
        let finish: Finish = Box::new(move |outcome| match outcome {
            Ok(value) => {
                let value = value
                    .downcast::<T>()
                    .expect("the job of this id returns a T");
                sender.fire(*value);
            }
            Err(payload) => sender.fail(panicked(&*payload)),
        });
        self.jobs.waiting.borrow_mut().insert(id, finish);
        let remote = self.remote.clone();
        let submitted = self.jobs.submit(Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job));
            let outcome = outcome.map(|value| Box::new(value) as Box<dyn Any + Send>);
            remote.call_from_thread(move |reactor| reactor.core.finish_job(id, outcome));
        }));
        match submitted {
            Ok(()) => deferred,
            Err(error) => {
                let unused = self.jobs.waiting.borrow_mut().remove(&id);
                deferred.ignore();
                drop(unused);
                Deferred::failed(error)
            }
        }
    }

    fn finish_job(&self, id: u64, outcome: Outcome) {
        let finish = self.jobs.waiting.borrow_mut().remove(&id);
        if let Some(finish) = finish {
            finish(outcome);
        }
    }
}

/// The error for a pool that cannot run anything.
pub(crate) fn no_thread(source: std::io::Error) -> Error {
    Error::Os {
        op: "start a thread",
        source,
    }
}
