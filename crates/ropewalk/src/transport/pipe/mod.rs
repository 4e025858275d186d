//! One descriptor that is no socket, read from, written to or both: a pipe's end, a terminal.
//!
//! A [`Pipe`] is what its owner, the source of the engine, keeps for each of its descriptors: it
//! reads and sends, knows its own flow control, and answers what its owner has to tell.

mod flow;
mod owner;
mod transfer;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::{Interest, Readiness, SourceFd, Token, pipe as os};
use ropewalk_proto::{Action, Flow, StreamState, WriteQueue};

use super::{Producer, ProducerKind};
use crate::reactor::core::{Core, Source};

pub(crate) use owner::Owner;
use transfer::Input;

/// Which ways data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    In,
    Out,
    Both,
}

/// A producer, and how it works.
type Registered<C> = (Rc<dyn Producer<C>>, ProducerKind);

/// The state of one descriptor. `C` is what its producers see as their consumer.
///
/// No cell is borrowed while user code runs.
pub(crate) struct Pipe<C: 'static> {
    /// What the program calls it.
    number: i32,
    ways: Ways,
    /// Other processes have it too: its flags are not ours to change, and it may block.
    shared: bool,
    /// Whether its becoming readable tells that nobody reads it any more.
    tells_end: Cell<bool>,
    /// Where in the engine it is; empty once it has ended.
    token: Cell<Option<Token>>,
    state: Cell<StreamState>,
    queue: RefCell<WriteQueue<Bytes>>,
    producer: RefCell<Option<Registered<C>>>,
    /// Sending failed: the next dispatch ends the pipe.
    failed: Cell<bool>,
    /// The system took less than was offered: writability is waited for.
    blocked: Cell<bool>,
    /// It is on the flush list.
    flush_asked: Cell<bool>,
    /// Something was to be read while the owner was busy: not watched until it is not.
    read_deferred: Cell<bool>,
    /// Its end is to be told.
    end_untold: Cell<bool>,
}

impl<C: 'static> Pipe<C> {
    pub(crate) fn new(number: i32, ways: Ways) -> Self {
        Self {
            number,
            ways,
            shared: false,
            tells_end: Cell::new(ways == Ways::Out),
            token: Cell::new(None),
            state: Cell::new(StreamState::new()),
            queue: RefCell::default(),
            producer: RefCell::default(),
            failed: Cell::new(false),
            blocked: Cell::new(false),
            flush_asked: Cell::new(false),
            read_deferred: Cell::new(false),
            end_untold: Cell::new(false),
        }
    }

    /// One that other processes have too.
    pub(crate) fn shared(ways: Ways) -> Self {
        Self {
            shared: true,
            ..Self::new(if ways == Ways::In { 0 } else { 1 }, ways)
        }
    }

    /// Begins to serve `fd`, on behalf of `owner`.
    pub(crate) fn open(&self, core: &Core, fd: SourceFd, owner: Rc<dyn Source>) {
        if self.shared {
            self.tells_end.set(os::is_write_end(fd.as_fd()));
        }
        self.token.set(Some(core.engine.insert(fd, owner)));
        self.update_interest(core);
    }

    pub(crate) const fn number(&self) -> i32 {
        self.number
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token.get()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.token.get().is_some()
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.ways != Ways::Out
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.ways != Ways::In
    }

    pub(crate) fn queue(&self) -> &RefCell<WriteQueue<Bytes>> {
        &self.queue
    }

    /// True once after the end.
    pub(crate) fn take_untold_end(&self) -> bool {
        self.end_untold.replace(false)
    }

    /// Whether nobody has to be told anything about it any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_open() && !self.end_untold.get()
    }

    pub(crate) fn with_fd<R>(
        &self,
        core: &Core,
        use_fd: impl FnOnce(BorrowedFd<'_>) -> R,
    ) -> Option<R> {
        core.engine.with_fd(self.token.get()?, use_fd)
    }

    /// Queues what `append` pushes, unless nothing is taken any more. `Pause` is for the producer.
    pub(crate) fn write(
        &self,
        core: Option<&Rc<Core>>,
        append: impl FnOnce(&mut WriteQueue<Bytes>) -> Flow,
    ) -> Flow {
        let takes = self.is_writing() && self.is_open() && self.state.get().takes_writes();
        let (Some(core), true) = (core, takes) else {
            return Flow::Keep;
        };
        let mut queue = self.queue.borrow_mut();
        let flow = append(&mut queue);
        let nothing = queue.is_empty();
        drop(queue);
        if !nothing {
            self.ask_flush(core);
        }
        flow
    }

    pub(crate) fn set_paused(&self, core: &Core, paused: bool) {
        let mut state = self.state.get();
        match paused {
            true => state.pause(),
            false => state.resume(),
        }
        if self.state.replace(state) != state {
            self.update_interest(core);
        }
    }

    /// Closes it when all that is queued is sent; one that only reads, in a later step.
    pub(crate) fn lose(&self, core: &Rc<Core>) {
        if self.step(StreamState::lose) == Action::Flush {
            self.update_interest(core);
            self.ask_flush(core);
        }
    }

    /// Moves the state on.
    fn step(&self, event: impl FnOnce(&mut StreamState) -> Action) -> Action {
        let mut state = self.state.get();
        let action = event(&mut state);
        self.state.set(state);
        action
    }

    /// Looks again at what was to be read while the owner was busy.
    pub(crate) fn read_again(&self, core: &Core) {
        if self.read_deferred.replace(false) {
            self.update_interest(core);
        }
    }

    fn update_interest(&self, core: &Core) {
        let Some(token) = self.token.get() else {
            return;
        };
        let state = self.state.get();
        let reads = match self.ways {
            // Readable is what a pipe becomes that nobody reads any more, by the pollers that
            // tell nothing else.
            Ways::Out => state.sends() && self.tells_end.get(),
            Ways::In | Ways::Both => state.reads() && !self.read_deferred.get(),
        };
        let writes = state.sends() && self.blocked.get();
        let interest = Interest::NONE.with_readable(reads).with_writable(writes);
        core.engine.set_interest(token, interest);
    }

    /// Asks for a flush at the end of the batch; a blocked pipe flushes when it is writable.
    fn ask_flush(&self, core: &Core) {
        let Some(token) = self.token.get() else {
            return;
        };
        if !self.blocked.get() && !self.flush_asked.replace(true) {
            core.engine.request_flush(token);
        }
    }

    fn ask_later(&self, core: &Core, readiness: Readiness) {
        if let Some(token) = self.token.get() {
            core.engine.request_ready(token, readiness);
        }
    }

    /// Closes the descriptor, which the owner has to tell then. What is unsent is lost.
    pub(crate) fn end(&self, core: &Core) {
        let Some(token) = self.token.take() else {
            return;
        };
        // No event answers anything after this one.
        let _: Action = self.step(StreamState::cut);
        self.end_untold.set(true);
        let producer = self.producer.take();
        let removed = core.engine.remove(token);
        let unsent = self.queue.replace(WriteQueue::new());
        if let Some((producer, _)) = producer {
            core.guard("a producer's stop_producing", || {
                producer.stop_producing();
                drop(producer);
            });
        }
        drop((removed, unsent));
    }

    /// The reactor is gone: lets go of what belongs to the program.
    pub(crate) fn orphaned(&self) {
        let _: Action = self.step(StreamState::cut);
        self.token.set(None);
        let (producer, unsent) = (self.producer.take(), self.queue.replace(WriteQueue::new()));
        drop((producer, unsent));
    }
}

/// What a read or a flush failed with and does not end anything by.
fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
