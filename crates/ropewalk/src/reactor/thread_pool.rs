//! A bounded pool of threads: started when there is work, joined when it is dropped.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::jobs::no_thread;
use crate::error::Result;

/// What the pool runs.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// From no thread up to a maximum; a thread is started when a job finds none idle.
///
/// Dropping the pool runs every queued job to its end and joins the threads.
pub(crate) struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that have not decided to end.
    live: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// The most threads that may live.
    max: usize,
    /// Numbers the threads, for their names.
    started: usize,
    closing: bool,
}

impl ThreadPool {
    /// A pool of at most `max` threads; none is started yet.
    pub(crate) fn new(max: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            threads: Vec::new(),
            live: 0,
            idle: 0,
            max,
            started: 0,
            closing: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// Queues a job. Jobs begin in the order of their submission.
    ///
    /// # Errors
    ///
    /// When no thread lives and none can be started: the job is given back to nobody, not run.
    pub(crate) fn submit(&self, job: Job) -> Result<()> {
        let mut state = self.shared.lock();
        state.queue.push_back(job);
        let started = self.shared.start_threads(&mut state);
        let refused = match started {
            Err(error) if state.live == 0 => state.queue.pop_back().map(|job| (job, error)),
            // The job is queued, and the threads there are will come to it.
            _ => None,
        };
        drop(state);
        self.shared.changed.notify_one();
        match refused {
            Some((_job, error)) => Err(no_thread(error)),
            None => Ok(()),
        }
    }

    /// Changes the most threads that may live. Surplus threads end after their current job; with
    /// none left, jobs wait for the next resize.
    pub(crate) fn resize(&self, max: usize) -> Result<()> {
        let mut state = self.shared.lock();
        state.max = max;
        let started = self.shared.start_threads(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        started.map_err(no_thread)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.shared.changed.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the pool ended by a panic");
            }
        }
        // Without a thread there is nobody to run these; they may run code when they are dropped.
        let left = std::mem::take(&mut self.shared.lock().queue);
        drop(left);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, so a panic cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts threads until every queued job has one or the pool is full.
    fn start_threads(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        while state.queue.len() > state.idle && state.live < state.max {
            // A thread that is starting counts as idle: it takes a job as soon as it runs.
            let shared = Arc::clone(self);
            let name = format!("ropewalk-pool-{}", state.started);
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || shared.work())?;
            state.threads.retain(|thread| !thread.is_finished());
            state.threads.push(thread);
            state.started += 1;
            state.live += 1;
            state.idle += 1;
        }
        Ok(())
    }

    /// The life of one thread.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.live > state.max {
                break;
            }
            if let Some(job) = state.queue.pop_front() {
                state.idle -= 1;
                drop(state);
                // Jobs catch their own panics, to report them; this keeps the count right whatever
                // a job is.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a job of the thread pool panicked");
                }
                state = self.lock();
                state.idle += 1;
                continue;
            }
            if state.closing {
                break;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.live -= 1;
        state.idle -= 1;
        if !state.queue.is_empty() {
            // The notification that woke this thread may have been for a job: pass it on.
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn no_thread_is_started_before_there_is_a_job() {
        let pool = ThreadPool::new(3);
        assert_eq!(pool.shared.lock().started, 0);
    }

    #[test]
    fn every_job_runs_before_the_pool_is_gone() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = ThreadPool::new(2);
        for _ in 0..100 {
            let done = Arc::clone(&done);
            let job = move || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            pool.submit(Box::new(job)).unwrap();
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn jobs_run_side_by_side_up_to_the_maximum_and_no_further() {
        let pool = ThreadPool::new(3);
        let barrier = Arc::new(Barrier::new(4));
        for _ in 0..6 {
            let barrier = Arc::clone(&barrier);
            let job = move || {
                barrier.wait();
            };
            pool.submit(Box::new(job)).unwrap();
        }
        // Three jobs and this thread meet, twice: two at a time could never pass.
        barrier.wait();
        barrier.wait();
        assert_eq!(pool.shared.lock().started, 3);
    }

    #[test]
    fn an_idle_thread_is_used_again() {
        let pool = ThreadPool::new(10);
        let (sender, receiver) = mpsc::channel();
        for n in 0..20 {
            let sender = sender.clone();
            pool.submit(Box::new(move || sender.send(n).unwrap()))
                .unwrap();
            assert_eq!(receiver.recv(), Ok(n));
            // The job has sent, and its thread is about to be idle.
            let all_idle = |state: &State| state.idle == state.live;
            while !all_idle(&pool.shared.lock()) {
                thread::yield_now();
            }
        }
        assert_eq!(pool.shared.lock().started, 1);
    }

    #[test]
    fn jobs_of_a_pool_of_none_wait_for_a_resize() {
        let pool = ThreadPool::new(0);
        let (sender, receiver) = mpsc::channel();
        pool.submit(Box::new(move || sender.send(()).unwrap()))
            .unwrap();
        assert!(receiver.try_recv().is_err());
        pool.resize(1).unwrap();
        assert_eq!(receiver.recv(), Ok(()));
        pool.resize(0).unwrap();
        while pool.shared.lock().live > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panicking_job_costs_no_thread() {
        let pool = ThreadPool::new(1);
        pool.submit(Box::new(|| panic!("expected by a test")))
            .unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.submit(Box::new(move || sender.send(()).unwrap()))
            .unwrap();
        assert_eq!(receiver.recv(), Ok(()));
        assert_eq!(pool.shared.lock().started, 1);
    }
}
