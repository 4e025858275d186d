//! Foreign descriptors, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ropewalk::{Descriptor, Disconnect, Reactor};
use tcp_support::{over_every_poller, settle, until};

over_every_poller! {
    a_reader_is_called_until_it_has_read,
    a_writer_is_called_until_it_is_removed,
    adding_twice_is_adding_once,
    removing_what_is_not_there_does_nothing,
    both_roles_are_listed_and_removed_together,
    an_object_may_remove_itself,
    an_object_may_go_while_it_is_watched,
    an_error_removes_the_object_and_is_its_reason,
    a_panic_removes_the_object,
    the_end_of_the_peer_can_be_read,
    a_writer_hears_of_a_hang_up,
    the_reactors_end_reaches_descriptors,
    an_unwatched_object_is_let_go,
    a_regular_file_is_always_ready,
}

type Hook = Box<dyn Fn(&Pipe, &Reactor) -> io::Result<()>>;

/// One end of a pair, with what it heard.
struct Pipe {
    stream: UnixStream,
    data: RefCell<Vec<u8>>,
    events: RefCell<Vec<&'static str>>,
    reason: RefCell<Option<Disconnect>>,
    on_read: RefCell<Option<Hook>>,
    on_write: RefCell<Option<Hook>>,
    me: RefCell<std::rc::Weak<Pipe>>,
}

impl Pipe {
    fn pair() -> (Rc<Self>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let pipe = Rc::new(Self {
            stream: ours,
            data: RefCell::default(),
            events: RefCell::default(),
            reason: RefCell::default(),
            on_read: RefCell::default(),
            on_write: RefCell::default(),
            me: RefCell::default(),
        });
        *pipe.me.borrow_mut() = Rc::downgrade(&pipe);
        (pipe, theirs)
    }

    fn me(&self) -> Rc<Self> {
        self.me.borrow().upgrade().unwrap()
    }

    fn on_read(&self, hook: impl Fn(&Pipe, &Reactor) -> io::Result<()> + 'static) {
        *self.on_read.borrow_mut() = Some(Box::new(hook));
    }

    fn on_write(&self, hook: impl Fn(&Pipe, &Reactor) -> io::Result<()> + 'static) {
        *self.on_write.borrow_mut() = Some(Box::new(hook));
    }

    fn count(&self, event: &str) -> usize {
        self.events.borrow().iter().filter(|e| **e == event).count()
    }

    fn read(&self) -> io::Result<()> {
        let mut buffer = [0; 4];
        let count = (&self.stream).read(&mut buffer)?;
        self.data.borrow_mut().extend_from_slice(&buffer[..count]);
        if count == 0 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Descriptor for Pipe {
    fn read_ready(&self, reactor: &Reactor) -> io::Result<()> {
        self.events.borrow_mut().push("read");
        match &*self.on_read.borrow() {
            Some(hook) => hook(self, reactor),
            None => self.read(),
        }
    }

    fn write_ready(&self, reactor: &Reactor) -> io::Result<()> {
        self.events.borrow_mut().push("write");
        match &*self.on_write.borrow() {
            Some(hook) => hook(self, reactor),
            None => Ok(()),
        }
    }

    fn connection_lost(&self, reason: Disconnect) {
        self.events.borrow_mut().push("lost");
        *self.reason.borrow_mut() = Some(reason);
    }
}

fn a_reader_is_called_until_it_has_read(reactor: &Reactor) {
    let (pipe, mut peer) = Pipe::pair();
    reactor.add_reader(pipe.clone()).unwrap();
    settle(reactor);
    assert_eq!(pipe.count("read"), 0);
    peer.write_all(b"twelve bytes").unwrap();
    until(reactor, "the data", || pipe.data.borrow().len() == 12);
    settle(reactor);
    assert_eq!((pipe.count("read"), pipe.count("write")), (3, 0));
    reactor.remove_reader(&pipe);
}

fn a_writer_is_called_until_it_is_removed(reactor: &Reactor) {
    let (pipe, _peer) = Pipe::pair();
    reactor.add_writer(pipe.clone()).unwrap();
    until(reactor, "three times", || pipe.count("write") == 3);
    reactor.remove_writer(&pipe);
    settle(reactor);
    assert_eq!(pipe.count("write"), 3);
}

fn adding_twice_is_adding_once(reactor: &Reactor) {
    let (pipe, _peer) = Pipe::pair();
    for _ in 0..3 {
        reactor.add_writer(pipe.clone()).unwrap();
    }
    assert_eq!((reactor.writers().len(), reactor.readers().len()), (1, 0));
    reactor.turn(None).unwrap();
    assert_eq!(pipe.count("write"), 1);
    reactor.remove_writer(&pipe);
    assert!(reactor.writers().is_empty());
}

fn removing_what_is_not_there_does_nothing(reactor: &Reactor) {
    let (pipe, _peer) = Pipe::pair();
    reactor.remove_reader(&pipe);
    reactor.add_reader(pipe.clone()).unwrap();
    reactor.remove_writer(&pipe);
    assert_eq!(reactor.readers().len(), 1);
    reactor.remove_reader(&pipe);
    reactor.remove_reader(&pipe);
    assert!(reactor.remove_all().is_empty());
}

fn both_roles_are_listed_and_removed_together(reactor: &Reactor) {
    let (both, mut peer) = Pipe::pair();
    let (reader, _other) = Pipe::pair();
    reactor.add_reader(both.clone()).unwrap();
    reactor.add_writer(both.clone()).unwrap();
    reactor.add_reader(reader.clone()).unwrap();
    assert_eq!((reactor.readers().len(), reactor.writers().len()), (2, 1));
    peer.write_all(b"both").unwrap();
    until(reactor, "both roles", || {
        both.count("read") > 0 && both.count("write") > 0
    });
    let removed = reactor.remove_all();
    assert_eq!(removed.len(), 2, "each once");
    assert!(reactor.readers().is_empty() && reactor.writers().is_empty());
    both.events.borrow_mut().clear();
    settle(reactor);
    assert!(both.events.borrow().is_empty(), "nobody is told");
}

fn an_object_may_remove_itself(reactor: &Reactor) {
    let (pipe, mut peer) = Pipe::pair();
    pipe.on_read(|pipe, reactor| {
        reactor.remove_writer(&pipe.me());
        reactor.remove_reader(&pipe.me());
        Ok(())
    });
    reactor.add_reader(pipe.clone()).unwrap();
    reactor.add_writer(pipe.clone()).unwrap();
    peer.write_all(b"x").unwrap();
    settle(reactor);
    assert_eq!(pipe.count("read"), 1);
    assert!(reactor.readers().is_empty() && reactor.writers().is_empty());
}

fn an_object_may_go_while_it_is_watched(reactor: &Reactor) {
    let (pipe, mut peer) = Pipe::pair();
    reactor.add_reader(pipe.clone()).unwrap();
    pipe.on_read(|pipe, reactor| {
        reactor.remove_reader(&pipe.me());
        pipe.read()
    });
    peer.write_all(b"last").unwrap();
    let watched = Rc::downgrade(&pipe);
    // The reactor keeps it from here on, until it removes itself.
    drop(pipe);
    until(reactor, "its end", || watched.strong_count() == 0);
    assert_eq!(
        peer.read(&mut [0; 8]).unwrap(),
        0,
        "nothing of it is left open"
    );
}

fn an_error_removes_the_object_and_is_its_reason(reactor: &Reactor) {
    let (pipe, mut peer) = Pipe::pair();
    pipe.on_read(|_, _| Err(io::Error::new(io::ErrorKind::InvalidData, "nonsense")));
    reactor.add_reader(pipe.clone()).unwrap();
    reactor.add_writer(pipe.clone()).unwrap();
    peer.write_all(b"x").unwrap();
    until(reactor, "the end", || pipe.reason.borrow().is_some());
    let reason = pipe.reason.take();
    assert!(matches!(reason, Some(Disconnect::Lost(e)) if e.kind() == io::ErrorKind::InvalidData));
    assert!(reactor.remove_all().is_empty());
    settle(reactor);
    assert_eq!(pipe.count("lost"), 1);
}

fn a_panic_removes_the_object(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let counted = Rc::clone(&failures);
    reactor.on_failure(move |_| counted.set(counted.get() + 1));
    let (pipe, _peer) = Pipe::pair();
    pipe.on_write(|_, _| panic!("panic on purpose"));
    reactor.add_writer(pipe.clone()).unwrap();
    until(reactor, "the end", || pipe.reason.borrow().is_some());
    assert!(matches!(pipe.reason.take(), Some(Disconnect::Panicked)));
    assert_eq!(failures.get(), 1);
    assert!(reactor.writers().is_empty());
}

fn the_end_of_the_peer_can_be_read(reactor: &Reactor) {
    let (pipe, mut peer) = Pipe::pair();
    reactor.add_reader(pipe.clone()).unwrap();
    peer.write_all(b"last").unwrap();
    drop(peer);
    until(reactor, "the end", || pipe.reason.borrow().is_some());
    assert_eq!(pipe.data.borrow().as_slice(), b"last");
    let reason = pipe.reason.take();
    assert!(
        matches!(reason, Some(Disconnect::Lost(e)) if e.kind() == io::ErrorKind::UnexpectedEof)
    );
}

fn a_writer_hears_of_a_hang_up(reactor: &Reactor) {
    let (pipe, peer) = Pipe::pair();
    // A poller that knows no hang-ups calls this, and the write tells.
    pipe.on_write(|pipe, _| (&pipe.stream).write_all(b"x"));
    reactor.add_writer(pipe.clone()).unwrap();
    drop(peer);
    until(reactor, "the end", || pipe.reason.borrow().is_some());
    assert!(matches!(pipe.reason.take(), Some(Disconnect::Lost(_))));
}

fn the_reactors_end_reaches_descriptors(reactor: &Reactor) {
    let (pipe, _peer) = Pipe::pair();
    reactor.add_reader(pipe.clone()).unwrap();
    reactor.disconnect_all();
    assert!(matches!(pipe.reason.take(), Some(Disconnect::Shutdown)));
    assert!(reactor.readers().is_empty());
}

fn an_unwatched_object_is_let_go(reactor: &Reactor) {
    let (pipe, _peer) = Pipe::pair();
    reactor.add_reader(pipe.clone()).unwrap();
    assert!(Rc::strong_count(&pipe) > 1);
    reactor.remove_reader(&pipe);
    assert_eq!(Rc::strong_count(&pipe), 1);
}

struct Plain {
    file: std::fs::File,
    calls: Cell<usize>,
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Descriptor for Plain {
    fn read_ready(&self, _: &Reactor) -> io::Result<()> {
        self.calls.set(self.calls.get() + 1);
        Ok(())
    }
}

fn a_regular_file_is_always_ready(reactor: &Reactor) {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let plain = Rc::new(Plain {
        file,
        calls: Cell::new(0),
    });
    reactor.add_reader(plain.clone()).unwrap();
    until(reactor, "three calls", || plain.calls.get() >= 3);
    reactor.remove_reader(&plain);
    let calls = plain.calls.get();
    settle(reactor);
    assert_eq!(plain.calls.get(), calls);
}
