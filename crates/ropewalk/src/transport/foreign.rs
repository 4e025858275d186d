//! Descriptors of the program's own, watched by the reactor.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use ropewalk_os::{Interest, Readiness, SourceFd, Token};

use crate::error::{Disconnect, Error, Result};
use crate::reactor::Reactor;
use crate::reactor::core::{Core, Source};

/// Anything with a descriptor that the reactor is to watch: a socket of another library, a pipe, a
/// device, an `eventfd`.
///
/// Which directions are watched is said with [`Reactor::add_reader`] and [`Reactor::add_writer`].
/// Objects are told apart by their `Rc`. The reactor watches a duplicate of the descriptor, made
/// when the first direction is added and closed when the last is removed; so the object may close
/// its own at any time, and the peer of a closed socket sees its end when the object is removed.
///
/// Methods take `&self`, for a nested turn may call them again while they run.
///
/// The same as Twisted's `IReadDescriptor` and `IWriteDescriptor`.
///
/// # Examples
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use std::rc::Rc;
/// use ropewalk::{Descriptor, Reactor};
///
/// struct Input(UnixStream);
///
/// impl AsFd for Input {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Descriptor for Input {
///     fn read_ready(&self, reactor: &Reactor) -> io::Result<()> {
///         let mut byte = [0];
///         (&self.0).read_exact(&mut byte)?;
///         println!("read {byte:?}");
///         reactor.crash();
///         Ok(())
///     }
/// }
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// let (ours, mut theirs) = UnixStream::pair().unwrap();
/// reactor.add_reader(Rc::new(Input(ours)))?;
/// theirs.write_all(b"x").unwrap();
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
pub trait Descriptor: AsFd + 'static {
    /// The descriptor can be read from, or has ended. Read once and return: what is left is
    /// reported again. An error removes the object and is the reason it is told.
    ///
    /// # Errors
    ///
    /// Whatever ends the object.
    fn read_ready(&self, reactor: &Reactor) -> io::Result<()> {
        let _ = reactor;
        Ok(())
    }

    /// The descriptor can be written to. Remove the writer when there is nothing to write, or this
    /// is called in every turn.
    ///
    /// # Errors
    ///
    /// As [`read_ready`](Self::read_ready).
    fn write_ready(&self, reactor: &Reactor) -> io::Result<()> {
        let _ = reactor;
        Ok(())
    }

    /// The object was removed for `reason`: an error or a panic of one of its methods, a hang-up
    /// with nothing to read, or the reactor's shutdown.
    fn connection_lost(&self, reason: Disconnect) {
        let _ = reason;
    }
}

/// The objects watched now, by the address of what their `Rc` points to.
#[derive(Default)]
pub(crate) struct Watched {
    objects: HashMap<*const (), Rc<Watch>>,
}

/// One watched object, as the source of the engine.
struct Watch {
    object: Rc<dyn Descriptor>,
    token: Cell<Option<Token>>,
    interest: Cell<Interest>,
}

/// Foreign descriptors.
impl Reactor {
    /// Calls [`read_ready`](Descriptor::read_ready) whenever the object can be read from, until it
    /// is removed. Adding a reader again is adding it once.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the descriptor cannot be duplicated.
    pub fn add_reader(&self, object: Rc<dyn Descriptor>) -> Result<()> {
        self.core
            .watch(object, |interest| interest.with_readable(true))
    }

    /// Calls [`write_ready`](Descriptor::write_ready) whenever the object can be written to, until
    /// it is removed. Adding a writer again is adding it once.
    ///
    /// # Errors
    ///
    /// As [`add_reader`](Self::add_reader).
    pub fn add_writer(&self, object: Rc<dyn Descriptor>) -> Result<()> {
        self.core
            .watch(object, |interest| interest.with_writable(true))
    }

    /// Stops watching for reading, at once; an object that is not watched is none of its business.
    pub fn remove_reader<D: Descriptor + ?Sized>(&self, object: &Rc<D>) {
        self.core
            .unwatch(key(object), |interest| interest.with_readable(false));
    }

    /// Stops watching for writing, as [`remove_reader`](Self::remove_reader) does for reading.
    pub fn remove_writer<D: Descriptor + ?Sized>(&self, object: &Rc<D>) {
        self.core
            .unwatch(key(object), |interest| interest.with_writable(false));
    }

    /// The objects watched for reading, in no particular order. Transports and ports are not among
    /// them.
    pub fn readers(&self) -> Vec<Rc<dyn Descriptor>> {
        self.core.watched(Interest::is_readable)
    }

    /// The objects watched for writing, in no particular order.
    pub fn writers(&self) -> Vec<Rc<dyn Descriptor>> {
        self.core.watched(Interest::is_writable)
    }

    /// Removes every watched object and hands it back, each once. None of them is told.
    pub fn remove_all(&self) -> Vec<Rc<dyn Descriptor>> {
        let all = self.core.watched(|_| true);
        for object in &all {
            self.core.unwatch(key(object), |_| Interest::NONE);
        }
        all
    }
}

impl Core {
    fn watch(
        self: &Rc<Self>,
        object: Rc<dyn Descriptor>,
        change: impl FnOnce(Interest) -> Interest,
    ) -> Result<()> {
        let known = self
            .transports
            .watched
            .borrow()
            .objects
            .get(&key(&object))
            .cloned();
        let watch = match known {
            Some(watch) => watch,
            None => self.start_watching(object)?,
        };
        self.set_watch(&watch, change(watch.interest.get()));
        Ok(())
    }

    fn start_watching(&self, object: Rc<dyn Descriptor>) -> Result<Rc<Watch>> {
        let own = object.as_fd().try_clone_to_owned();
        let fd = own.map_err(Error::os("duplicate the descriptor"))?;
        let key = key(&object);
        let watch = Watch {
            object,
            token: Cell::new(None),
            interest: Cell::new(Interest::NONE),
        };
        let watch = Rc::new(watch);
        let source: Rc<dyn Source> = Rc::clone(&watch) as Rc<dyn Source>;
        watch
            .token
            .set(Some(self.engine.insert(SourceFd::from(fd), source)));
        self.transports
            .watched
            .borrow_mut()
            .objects
            .insert(key, Rc::clone(&watch));
        Ok(watch)
    }

    fn unwatch(&self, key: *const (), change: impl FnOnce(Interest) -> Interest) {
        let known = self.transports.watched.borrow().objects.get(&key).cloned();
        if let Some(watch) = known {
            self.set_watch(&watch, change(watch.interest.get()));
        }
    }

    /// An object that is watched for nothing is forgotten.
    fn set_watch(&self, watch: &Rc<Watch>, interest: Interest) {
        watch.interest.set(interest);
        if !interest.is_none() {
            if let Some(token) = watch.token.get() {
                self.engine.set_interest(token, interest);
            }
            return;
        }
        let removed = watch
            .token
            .take()
            .and_then(|token| self.engine.remove(token));
        let forgotten = self
            .transports
            .watched
            .borrow_mut()
            .objects
            .remove(&key(&watch.object));
        // Dropped when nothing is borrowed: the object is the program's.
        drop((removed, forgotten));
    }

    fn watched(&self, wanted: impl Fn(Interest) -> bool) -> Vec<Rc<dyn Descriptor>> {
        let watched = self.transports.watched.borrow();
        let chosen = watched
            .objects
            .values()
            .filter(|watch| wanted(watch.interest.get()));
        chosen.map(|watch| Rc::clone(&watch.object)).collect()
    }
}

impl Watch {
    /// Runs one of the object's methods. One that fails costs the object its place.
    fn call(
        self: &Rc<Self>,
        core: &Rc<Core>,
        during: &'static str,
        method: impl FnOnce(&Reactor) -> io::Result<()>,
    ) {
        match core.guard(during, || method(&core.reactor())) {
            Some(Ok(())) => {}
            Some(Err(error)) => self.lose(core, Disconnect::Lost(error)),
            None => self.lose(core, Disconnect::Panicked),
        }
    }

    fn lose(self: &Rc<Self>, core: &Rc<Core>, reason: Disconnect) {
        // Also an object that removed itself before it failed hears why.
        core.set_watch(self, Interest::NONE);
        core.guard("a descriptor's connection_lost", || {
            self.object.connection_lost(reason)
        });
    }

    /// The entry in the table, which the engine's `Rc<dyn Source>` cannot be turned back into.
    fn of(core: &Core, object: &Rc<dyn Descriptor>) -> Option<Rc<Self>> {
        core.transports
            .watched
            .borrow()
            .objects
            .get(&key(object))
            .cloned()
    }
}

impl Source for Watch {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        let Some(me) = Self::of(core, &self.object) else {
            return;
        };
        let broken = readiness.is_error() || readiness.is_hangup() || readiness.is_invalid();
        if broken && !readiness.is_readable() {
            let reads = self.interest.get().is_readable();
            let lost = || Disconnect::Lost(io::ErrorKind::ConnectionReset.into());
            return me.lose(core, if reads { Disconnect::Done } else { lost() });
        }
        if readiness.is_readable() {
            me.call(core, "a descriptor's read_ready", |reactor| {
                self.object.read_ready(reactor)
            });
        }
        let still = self.token.get() == Some(token) && self.interest.get().is_writable();
        if readiness.is_writable() && still {
            me.call(core, "a descriptor's write_ready", |reactor| {
                self.object.write_ready(reactor)
            });
        }
    }

    fn flush(&self, _: &Rc<Core>, _: Token) {}

    fn register_failed(&self, core: &Rc<Core>, _: Token, error: io::Error) {
        if let Some(me) = Self::of(core, &self.object) {
            me.lose(core, Disconnect::Lost(error));
        }
    }

    fn connection_lost(&self, core: &Rc<Core>, reason: Disconnect) {
        if let Some(me) = Self::of(core, &self.object) {
            me.lose(core, reason);
        }
    }
}

fn key<D: Descriptor + ?Sized>(object: &Rc<D>) -> *const () {
    Rc::as_ptr(object).cast()
}
