//! A pipe's system calls: one read per event, one gathered write per flush.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::{Readiness, Token, pipe, process};
use ropewalk_proto::{Action, StreamState, WriteQueue};

use super::{Pipe, Ways, would_block};
use crate::reactor::core::Core;

/// The most one flush writes, in bytes: no pipe keeps the loop from the others.
const SEND_LIMIT: usize = 128 * 1024;

/// The most pieces one write gathers.
const GATHER: usize = 64;

/// What an event brings to the owner of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing that anybody has to be told.
    Nothing,
    /// So many bytes, in the buffer.
    Data(usize),
    /// The pipe is to be ended.
    End,
}

impl<C: 'static> Pipe<C> {
    /// Handles readiness but for what there is to be sent: reads at most once, into `buffer`.
    pub(crate) fn input(
        &self,
        core: &Core,
        readiness: Readiness,
        busy: bool,
        buffer: &mut [u8],
    ) -> Input {
        if self.failed.take() {
            return Input::End;
        }
        let trouble = readiness.is_error() || readiness.is_hangup() || readiness.is_invalid();
        if !trouble && !readiness.is_readable() {
            return Input::Nothing;
        }
        if self.is_reading() && self.state.get().reads() {
            return self.read(core, trouble, busy, buffer);
        }
        let broken = self.with_fd(core, pipe::is_broken) == Some(true);
        match self.ways {
            // What it has still to give is read when the program wants it.
            Ways::Both if broken && self.state.get().is_open() => {
                self.give_up_writing(core);
                Input::Nothing
            }
            _ if broken => Input::End,
            _ => Input::Nothing,
        }
    }

    fn read(&self, core: &Core, trouble: bool, busy: bool, buffer: &mut [u8]) -> Input {
        if busy {
            self.read_deferred.set(true);
            self.update_interest(core);
            return Input::Nothing;
        }
        let read = match self.ways {
            _ if self.shared => self.with_fd(core, |fd| pipe::read_shared(fd, buffer)),
            Ways::Both => self.with_fd(core, |fd| process::read_master(fd, buffer)),
            Ways::In | Ways::Out => self.with_fd(core, |fd| pipe::read(fd, buffer)),
        };
        match read {
            Some(Ok(count)) if count > 0 => Input::Data(count),
            Some(Err(error)) if would_block(&error) && !trouble => Input::Nothing,
            None => Input::Nothing,
            Some(Ok(_) | Err(_)) => Input::End,
        }
    }

    /// Nobody will read what is queued, nor what will be written.
    fn give_up_writing(&self, core: &Core) {
        let unsent = self.queue.replace(WriteQueue::new());
        self.blocked.set(false);
        self.update_interest(core);
        drop(unsent);
    }

    /// What is queued may be sent again, or a completed flush comes back. Answers what is to be
    /// done about it.
    pub(crate) fn writable(&self, core: &Core) -> Action {
        if !self.state.get().sends() {
            return Action::Nothing;
        }
        match self.send(core) {
            Err(_) => self.step(StreamState::io_failed),
            Ok(()) if self.queue.borrow().is_empty() => {
                let producer = self.producer_state();
                self.step(|state| state.drained(producer))
            }
            Ok(()) => Action::Nothing,
        }
    }

    /// Sends what is queued. What follows is left to the next dispatch, for no user code runs from
    /// here.
    pub(crate) fn flush(&self, core: &Rc<Core>) {
        self.flush_asked.set(false);
        if self.blocked.get() || !self.state.get().sends() {
            return;
        }
        let sent = self.send(core);
        let drained = self.queue.borrow().is_empty();
        if sent.is_err() {
            self.failed.set(true);
            self.ask_later(core, Readiness::ERROR);
        } else if drained && self.state.get().follows_drain(self.producer_state()) {
            self.ask_later(core, Readiness::WRITABLE);
        }
    }

    /// Sends once; waits for writability exactly while anything is left.
    fn send(&self, core: &Core) -> io::Result<()> {
        let mut queue = self.queue.borrow_mut();
        let mut released = Vec::new();
        let sent = send_queued(
            core,
            self.token.get(),
            self.shared,
            &mut queue,
            &mut released,
        );
        let blocked = !queue.is_empty();
        // Chunks may belong to the program: they are dropped when nothing is borrowed.
        drop(queue);
        drop(released);
        sent?;
        if self.blocked.replace(blocked) != blocked {
            self.update_interest(core);
        }
        Ok(())
    }
}

fn send_queued(
    core: &Core,
    token: Option<Token>,
    shared: bool,
    queue: &mut WriteQueue<Bytes>,
    released: &mut Vec<Bytes>,
) -> io::Result<()> {
    let (Some(token), false) = (token, queue.is_empty()) else {
        return Ok(());
    };
    let send = if shared { send_shared } else { send_once };
    match core.engine.with_fd(token, |fd| send(fd, queue)) {
        Some(Ok(sent)) => queue.advance(sent, &mut |chunk| released.push(chunk)),
        Some(Err(error)) if !would_block(&error) => return Err(error),
        _ => {}
    }
    Ok(())
}

fn send_once(fd: BorrowedFd<'_>, queue: &WriteQueue<Bytes>) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); GATHER];
    let count = queue.fill_slices(&mut slices, SEND_LIMIT);
    pipe::write_vectored(fd, &slices[..count])
}

/// Sends while there is room: each write is a small one.
fn send_shared(fd: BorrowedFd<'_>, queue: &WriteQueue<Bytes>) -> io::Result<usize> {
    let mut sent = 0;
    for mut slice in queue.slices() {
        while !slice.is_empty() && sent < SEND_LIMIT {
            match pipe::write_shared(fd, slice) {
                Ok(count) => {
                    sent += count;
                    slice = &slice[count..];
                }
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sent)
}
