//! One child process as a source of the engine: its descriptors, its end, its protocol.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_os::process::{Child as OsChild, Ended, Watch};
use ropewalk_os::{Interest, Readiness, Signal, SourceFd, Token};
use ropewalk_proto::{Flow, WriteQueue};

use super::command::{Command, Spawning, TERMINAL};
use super::reap::{LookAgain, abandon};
use super::{Process, ProcessProtocol};
use crate::error::{Disconnect, Error, Result};
use crate::reactor::Failure;
use crate::reactor::core::{Core, Source};
use crate::transport::pipe::{Owner, Pipe, Ways};
use crate::transport::slot::Slot;

/// The state of one child. [`Process`] is the handle to it.
///
/// No cell is borrowed while user code runs.
pub(crate) struct Child {
    me: Weak<Child>,
    core: Weak<Core>,
    program: String,
    /// Taken out when it is dropped alone.
    process: RefCell<Option<OsChild>>,
    /// Where in the engine what tells of its end is; nothing if that is a signal, and after the end.
    watch: Cell<Option<Token>>,
    /// By the order of their numbers; the same for the life of the child.
    pipes: Vec<Pipe<Process>>,
    /// Whether its one pipe is a terminal's.
    in_terminal: bool,
    protocol: Slot<dyn ProcessProtocol>,
    /// The protocol has heard of the child's end.
    exit_told: Cell<bool>,
    look_again: LookAgain,
}

impl Child {
    /// Makes the child, and serves it from here on.
    pub(super) fn spawn(
        core: &Rc<Core>,
        command: &Command<'_>,
        protocol: Box<dyn ProcessProtocol>,
    ) -> Result<Rc<Self>> {
        let spawning = command.spawn(core.expect_child()?)?;
        let child = Self::open(core, command.program(), spawning, protocol);
        child.deliver(core, "a process's connection_made", |protocol, process| {
            protocol.connection_made(process);
        });
        Ok(child)
    }

    fn open(
        core: &Rc<Core>,
        program: String,
        spawning: Spawning,
        protocol: Box<dyn ProcessProtocol>,
    ) -> Rc<Self> {
        let Spawning { child, pipes } = spawning;
        let in_terminal = pipes.iter().any(|(_, ways, _)| *ways == Ways::Both);
        let states = pipes
            .iter()
            .map(|(number, ways, _)| Pipe::new(*number, *ways));
        let states = states.collect();
        let me = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            program,
            process: RefCell::new(Some(child)),
            watch: Cell::new(None),
            pipes: states,
            in_terminal,
            protocol: Slot::new(protocol),
            exit_told: Cell::new(false),
            look_again: LookAgain::new(),
        });
        for (pipe, (_, _, fd)) in me.pipes.iter().zip(pipes) {
            pipe.open(core, SourceFd::from(fd), me.clone());
        }
        me.watch_exit(core);
        me
    }

    /// Has the engine, or `SIGCHLD`, tell of the child's end.
    fn watch_exit(self: &Rc<Self>, core: &Core) {
        let descriptor = match self.process.borrow().as_ref().map(OsChild::watch) {
            Some(Watch::Descriptor(descriptor)) => Some(Arc::clone(descriptor)),
            _ => None,
        };
        let Some(descriptor) = descriptor else {
            core.transports.children.add(self);
            return self.look_if_closed(core);
        };
        let token = core.engine.insert(descriptor.into(), self.clone());
        core.engine.set_interest(token, Interest::READABLE);
        self.watch.set(Some(token));
    }

    /// Looks for itself at a child without pipes and without a descriptor that tells of its end.
    fn look_if_closed(&self, core: &Core) {
        if self.is_unwatched() && self.pipes.iter().all(|pipe| !pipe.is_open()) {
            self.look_again.begin(core, Weak::clone(&self.me));
        }
    }

    pub(super) fn look_again(&self) -> &LookAgain {
        &self.look_again
    }

    /// Whether it was not waited for, and no descriptor tells of its end.
    pub(super) fn is_unwatched(&self) -> bool {
        self.pid().is_some() && self.watch.get().is_none()
    }

    fn unwatch(&self, core: &Core) {
        // Shared with the child, so that nothing is closed yet.
        let watch = self.watch.take();
        drop(watch.and_then(|token| core.engine.remove(token)));
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    pub(super) fn pid(&self) -> Option<i32> {
        let process = self.process.borrow();
        let running = process.as_ref().filter(|child| child.ended().is_none());
        running.map(OsChild::id)
    }

    pub(super) fn exit(&self) -> Option<Ended> {
        process_exit(&self.process.borrow())
    }

    /// The pipe of a descriptor of the child's.
    pub(super) fn pipe(&self, number: i32) -> Option<&Pipe<Process>> {
        let number = match number {
            0..3 if self.in_terminal => TERMINAL,
            number => number,
        };
        self.pipes.iter().find(|pipe| pipe.number() == number)
    }

    pub(super) fn write(&self, number: i32, append: impl FnOnce(&mut WriteQueue<Bytes>) -> Flow) {
        let Some(pipe) = self.pipe(number) else {
            return;
        };
        self.write_to(self.core.upgrade().as_ref(), pipe, append);
    }

    pub(super) fn close(&self, number: i32) {
        if let (Some(core), Some(pipe)) = (self.core.upgrade(), self.pipe(number)) {
            pipe.lose(&core);
        }
    }

    pub(super) fn close_all(&self) {
        if let Some(core) = self.core.upgrade() {
            for pipe in &self.pipes {
                pipe.lose(&core);
            }
        }
    }

    pub(super) fn set_paused(&self, which: impl Fn(&Pipe<Process>) -> bool, paused: bool) {
        if let Some(core) = self.core.upgrade() {
            let reading = self.pipes.iter().filter(|pipe| pipe.is_reading());
            for pipe in reading.filter(|pipe| which(pipe)) {
                pipe.set_paused(&core, paused);
            }
        }
    }

    pub(super) fn unregister_producer(&self, number: i32) {
        if let Some(pipe) = self.pipe(number) {
            pipe.unregister_producer(self.core.upgrade().as_ref());
        }
    }

    pub(super) fn with_terminal<R>(
        &self,
        use_fd: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let pipe = self.in_terminal.then(|| self.pipe(TERMINAL)).flatten();
        let core = self.core.upgrade();
        let used = pipe
            .zip(core)
            .and_then(|(pipe, core)| pipe.with_fd(&core, use_fd));
        used.unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn signal(&self, signal: Signal, group: bool) -> io::Result<bool> {
        let mut process = self.process.borrow_mut();
        let Some(child) = process.as_mut() else {
            return Ok(false);
        };
        let sent = match group {
            true => child.send_signal_to_group(signal.number()),
            false => child.send_signal(signal.number()),
        };
        drop(process);
        if let (Ok(false), Some(core)) = (&sent, self.core.upgrade()) {
            // It is gone, perhaps by somebody else's wait of which no signal tells any more.
            let me = Weak::clone(&self.me);
            let reap = move |reactor: &crate::Reactor| {
                if let Some(me) = me.upgrade() {
                    me.reap(&reactor.core);
                }
            };
            core.call_later(Duration::ZERO, Box::new(reap));
        }
        sent
    }

    /// Waits for the child if it has ended, and tells so.
    pub(super) fn reap(&self, core: &Rc<Core>) {
        let waited = match self.process.borrow_mut().as_mut() {
            Some(child) => child.try_wait(),
            None => return,
        };
        match waited {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(error) => {
                let error = Error::os("wait for a child process")(error);
                return core.report(Failure::from_error("the end of a child", error));
            }
        }
        self.unwatch(core);
        core.transports.children.remove(self);
        self.settle(core);
    }

    /// The last callback; the protocol goes with it.
    fn tell_ended(&self, core: &Rc<Core>, ended: Ended) {
        self.protocol
            .call_last(core, "a process's ended", |protocol| protocol.ended(ended));
    }

    /// The reactor is gone: lets go of what belongs to the program.
    pub(super) fn let_go(&self) {
        self.watch.set(None);
        for pipe in &self.pipes {
            pipe.orphaned();
        }
        drop(self.protocol.take());
    }
}

impl Owner for Child {
    type Handle = Process;
    type Protocol = dyn ProcessProtocol;

    fn handle(&self) -> Option<Process> {
        self.me.upgrade().map(Process::new)
    }

    fn protocol(&self) -> &Slot<dyn ProcessProtocol> {
        &self.protocol
    }

    fn received(&self, core: &Rc<Core>, pipe: &Pipe<Process>, data: &[u8]) {
        self.deliver(core, "a process's data_received", |protocol, process| {
            protocol.data_received(process, pipe.number(), data);
        });
    }

    fn callback_failed(&self, core: &Rc<Core>) {
        for pipe in &self.pipes {
            pipe.end(core);
        }
    }

    /// Tells the protocol what it has not heard of, one after the other: each callback may make
    /// more of it.
    fn settle(&self, core: &Rc<Core>) {
        if self.protocol.is_busy() {
            return;
        }
        for pipe in &self.pipes {
            pipe.read_again(core);
        }
        let closed = self.pipes.iter().find(|pipe| pipe.take_untold_end());
        if let Some(pipe) = closed {
            let tell = |protocol: &mut dyn ProcessProtocol, process: &Process| {
                protocol.descriptor_closed(process, pipe.number());
            };
            return self.deliver(core, "a process's descriptor_closed", tell);
        }
        let Some(ended) = self.exit() else {
            return self.look_if_closed(core);
        };
        if !self.exit_told.replace(true) {
            return self.deliver(core, "a process's exited", |protocol, process| {
                protocol.exited(process, ended);
            });
        }
        if self.pipes.iter().all(Pipe::is_over) {
            self.tell_ended(core, ended);
        }
    }
}

impl Source for Child {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        if self.watch.get() == Some(token) {
            self.reap(core);
            if readiness.is_error() && self.watch.get() == Some(token) {
                // No end: a kernel queue tells so, after the fact, that it refuses to watch.
                self.unwatch(core);
                self.look_again.begin(core, Weak::clone(&self.me));
            }
            return;
        }
        let pipe = self.pipes.iter().find(|pipe| pipe.token() == Some(token));
        if let Some(pipe) = pipe {
            self.pipe_ready(core, pipe, readiness);
        }
    }

    fn flush(&self, core: &Rc<Core>, token: Token) {
        let pipe = self.pipes.iter().find(|pipe| pipe.token() == Some(token));
        if let Some(pipe) = pipe {
            pipe.flush(core);
        }
    }

    fn register_failed(&self, core: &Rc<Core>, token: Token, error: io::Error) {
        let error = Error::os("watch a child process")(error);
        core.report(Failure::from_error("the loop's watch", error));
        if self.watch.get() == Some(token) {
            self.unwatch(core);
            return self.look_again.begin(core, Weak::clone(&self.me));
        }
        let pipe = self.pipes.iter().find(|pipe| pipe.token() == Some(token));
        if let Some(pipe) = pipe {
            self.end_pipe(core, pipe);
        }
    }

    /// Closes the pipes. The child lives on, and its end is told if turns go on being made.
    fn connection_lost(&self, core: &Rc<Core>, _: Disconnect) {
        let watched = self.watch.get().is_some();
        self.unwatch(core);
        if let (true, Some(me)) = (watched, self.me.upgrade()) {
            // Under another token: the present one is about to be removed.
            me.watch_exit(core);
        }
        for pipe in &self.pipes {
            pipe.end(core);
        }
        self.settle(core);
    }

    fn orphaned(&self) {
        self.let_go();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(child) = self.process.take() {
            if child.ended().is_none() {
                abandon(child);
            }
        }
    }
}

fn process_exit(process: &Option<OsChild>) -> Option<Ended> {
    process.as_ref().and_then(OsChild::ended)
}
