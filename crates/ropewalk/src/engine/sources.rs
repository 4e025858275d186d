//! Sources and the part of a turn that concerns them: flush, apply interest, wait, dispatch, flush.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ropewalk_os::{
    Event, Events, Interest, Poller, PollerKind, Readiness, Registry, SourceFd, Token, Waker,
};

use super::hosting::Hosting;

/// What the engine asks of the program that embeds it. Both faces of ropewalk are implementations.
///
/// Every method may call back into the engine: the engine holds no borrow while one runs.
pub trait Host: Sized {
    /// What a descriptor's readiness is delivered to. Cloned once per event, so keep it a pointer.
    type Source: Clone;

    /// Delivers `readiness` to `source`.
    ///
    /// Real readiness holds only what the source is interested in at this moment, plus hang-up and
    /// error; a source without interest gets nothing. Readiness asked for with
    /// [`Engine::request_ready`] arrives as it was asked for.
    fn ready(
        &self,
        engine: &Engine<Self>,
        token: Token,
        source: Self::Source,
        readiness: Readiness,
    );

    /// Sends what `source` has queued: called once for each [`Engine::request_flush`].
    ///
    /// No user code should run from here. What has to follow a completed flush is asked for with
    /// [`Engine::request_ready`], so that it happens in a later dispatch.
    fn flush(&self, engine: &Engine<Self>, token: Token, source: Self::Source);

    /// Hears that the system refused to watch `source`, whose interest is now none.
    fn register_failed(
        &self,
        engine: &Engine<Self>,
        token: Token,
        source: Self::Source,
        error: io::Error,
    );

    /// Runs `wait`, the one step of a turn that may block. Called only when it really may.
    fn park(&self, wait: &mut dyn FnMut());
}

/// One slot of the registry: the embedder's source and the engine's notes about it.
pub(super) struct Entry<S> {
    source: S,
    /// Whether the token is on the flush list already.
    flush_queued: bool,
}

/// The sources of one event loop and the poller that watches them.
///
/// Single-threaded but for [`waker`](Self::waker). Changes of interest are lazy: wanted and
/// registered interest are compared once, before the wait.
pub struct Engine<H: Host> {
    kind: Cell<PollerKind>,
    pub(super) make_poller: RefCell<PollerMaker>,
    /// Borrowed while a thread waits in it, which may be another one than the caller's.
    pub(super) poller: RefCell<Box<dyn Poller>>,
    pub(super) registry: RefCell<Registry<Entry<H::Source>>>,
    waker: Waker,
    /// Tokens to flush at the end of this batch, each at most once.
    flush_list: RefCell<Vec<Token>>,
    /// Readiness asked for by [`Engine::request_ready`], delivered by the next dispatch.
    pub(super) requested: RefCell<Vec<Event>>,
    /// Kept between turns for their capacity; taken while in use, for turns may nest.
    pub(super) events: Cell<Events>,
    spare_list: Cell<Vec<Token>>,
    refused: Cell<Vec<(Token, io::Error)>>,
    read_buffer: Cell<Option<Box<[u8]>>>,
    pub(super) hosting: Hosting,
}

/// Makes the poller of an engine: the first one, and each that replaces it.
pub type PollerMaker = Box<dyn Fn() -> io::Result<Box<dyn Poller>>>;

impl<H: Host> Engine<H> {
    /// The most one read takes from a source in one turn, in bytes (the size of the read buffer).
    pub const READ_BUFFER: usize = 64 * 1024;

    /// Creates an engine on a poller of `kind`, with its waker.
    ///
    /// # Errors
    ///
    /// The error of the system call that made the poller or the waker;
    /// [`Unsupported`](io::ErrorKind::Unsupported) for a poller this platform does not have.
    pub fn new(kind: PollerKind) -> io::Result<Self> {
        Self::with_maker(Box::new(move || kind.new_poller()))
    }

    /// Creates an engine on the poller that `make` makes: a kind of its own, or one over another
    /// system interface. It is called again whenever the poller has to be replaced.
    ///
    /// # Errors
    ///
    /// What `make` failed with, and the error of the system call that made the waker.
    pub fn with_maker(make: PollerMaker) -> io::Result<Self> {
        let poller = make()?;
        let engine = Self {
            kind: Cell::new(poller.kind()),
            make_poller: RefCell::new(make),
            poller: RefCell::new(poller),
            registry: RefCell::new(Registry::new()),
            waker: Waker::new()?,
            flush_list: RefCell::default(),
            requested: RefCell::default(),
            events: Cell::default(),
            spare_list: Cell::default(),
            refused: Cell::default(),
            read_buffer: Cell::new(None),
            hosting: Hosting::default(),
        };
        engine.registry.borrow_mut().watch_waker(&engine.waker);
        Ok(engine)
    }

    /// Which poller the engine runs on.
    pub fn poller_kind(&self) -> PollerKind {
        self.kind.get()
    }

    /// Ends the wait from any thread; pending wake-ups are merged into one.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Adds a source without any interest. The engine keeps `fd` (owned or lent) until
    /// [`remove`](Self::remove).
    pub fn insert(&self, fd: SourceFd, source: H::Source) -> Token {
        let entry = Entry {
            source,
            flush_queued: false,
        };
        self.registry.borrow_mut().insert(fd, entry)
    }

    /// Replaces what the source wants to hear about; told to the system before the next wait.
    /// Answers false for a token whose source is gone.
    pub fn set_interest(&self, token: Token, interest: Interest) -> bool {
        let known = self.registry.borrow_mut().set_interest(token, interest);
        self.wake_host();
        known
    }

    /// What the source wants to hear about, or nothing when it is gone.
    pub fn interest(&self, token: Token) -> Option<Interest> {
        self.registry.borrow().interest(token)
    }

    /// Takes a source out. Its descriptor is deregistered before it is handed back, and no event
    /// of this or a later batch reaches it any more.
    pub fn remove(&self, token: Token) -> Option<(SourceFd, H::Source)> {
        // The poller is in use only while another thread waits in it; the registry then leaves the
        // deregistration to the next `apply`.
        let mut poller = self.poller.try_borrow_mut().ok();
        let poller: Option<&mut dyn Poller> = match &mut poller {
            Some(poller) => Some(&mut ***poller),
            None => None,
        };
        let (fd, entry) = self.registry.borrow_mut().remove(token, poller)?;
        Some((fd, entry.source))
    }

    /// The source behind a token.
    pub fn source(&self, token: Token) -> Option<H::Source> {
        self.registry
            .borrow()
            .get(token)
            .map(|entry| entry.source.clone())
    }

    /// The tokens of all sources, in no particular order.
    pub fn tokens(&self) -> Vec<Token> {
        self.registry
            .borrow()
            .iter()
            .map(|(token, _)| token)
            .collect()
    }

    /// Calls `visit` with every source, for an embedder that has to trace what it reaches.
    /// `visit` must not call the engine.
    pub fn for_each_source(&self, mut visit: impl FnMut(Token, &H::Source)) {
        // A collector may run while another borrow is alive only if the engine allocated from the
        // embedder's heap meanwhile, which it never does.
        if let Ok(registry) = self.registry.try_borrow() {
            for (token, entry) in registry.iter() {
                visit(token, &entry.source);
            }
        }
    }

    /// Runs `use_fd` on the source's descriptor; it must not call the engine.
    pub fn with_fd<R>(&self, token: Token, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        self.registry.borrow().fd(token).map(use_fd)
    }

    /// Asks for one [`Host::flush`] of this source at the end of the current batch, or before the
    /// next wait. Asking twice is asking once.
    pub fn request_flush(&self, token: Token) {
        let mut registry = self.registry.borrow_mut();
        if let Some(entry) = registry.get_mut(token) {
            if !entry.flush_queued {
                entry.flush_queued = true;
                self.flush_list.borrow_mut().push(token);
                self.wake_host();
            }
        }
    }

    /// Asks for `readiness` to be delivered by the next dispatch, never synchronously. The wait
    /// before that dispatch does not block.
    pub fn request_ready(&self, token: Token, readiness: Readiness) {
        self.requested.borrow_mut().push(Event { token, readiness });
        self.wake_host();
    }

    /// Whether something is to be done that no descriptor tells: asked for by
    /// [`request_ready`](Self::request_ready) or [`request_flush`](Self::request_flush), or a
    /// source that is always ready. The next [`poll`](Self::poll) then does not block.
    pub fn is_due(&self) -> bool {
        !self.requested.borrow().is_empty()
            || !self.flush_list.borrow().is_empty()
            || self.registry.borrow().has_always_ready()
    }

    /// Lends the read buffer of [`READ_BUFFER`](Self::READ_BUFFER) bytes. It is taken, not
    /// borrowed, so that a callback holding data in it may run a nested turn; give it back.
    pub fn take_read_buffer(&self) -> Box<[u8]> {
        self.read_buffer
            .take()
            .unwrap_or_else(|| vec![0; Self::READ_BUFFER].into_boxed_slice())
    }

    /// Gives the read buffer back.
    pub fn give_read_buffer(&self, buffer: Box<[u8]>) {
        self.read_buffer.set(Some(buffer));
    }

    /// Flushes, tells the system about changed interest, waits, dispatches, flushes.
    ///
    /// `None` waits without limit. The wait does not block while requested readiness or an
    /// always-ready source is there to be delivered. May be called from a callback.
    ///
    /// # Errors
    ///
    /// What the poller's wait failed with, which is a defect and not a peer's doing; a signal is no
    /// error. [`ResourceBusy`](io::ErrorKind::ResourceBusy) while another thread waits in this
    /// engine, which an embedder that shares it under a lock may run into.
    pub fn poll(&self, host: &H, timeout: Option<Duration>) -> io::Result<()> {
        self.flush(host);
        self.apply(host)?;
        let mut events = self.events.take();
        let requested = std::mem::take(&mut *self.requested.borrow_mut());
        let result = self.wait(host, &mut events, timeout, !requested.is_empty());
        let stray = self.has_stray(&events);
        self.deliver(host, events, requested);
        if stray {
            self.shed_strays();
        }
        result
    }

    /// Dispatches what was reported and what was requested, then flushes.
    pub(super) fn deliver(&self, host: &H, mut events: Events, requested: Vec<Event>) {
        for event in events.iter() {
            self.dispatch(host, *event);
        }
        for event in &requested {
            if let Some(source) = self.source(event.token) {
                host.ready(self, event.token, source, event.readiness);
            }
        }
        events.clear();
        self.events.set(events);
        self.recycle(requested);
        self.flush(host);
    }

    /// Sends what is queued on the flush list, without waiting for anything.
    pub fn flush(&self, host: &H) {
        if self.flush_list.borrow().is_empty() {
            return;
        }
        let mut list = self.flush_list.replace(self.spare_list.take());
        for token in list.drain(..) {
            self.flush_source(host, token);
        }
        self.spare_list.set(list);
    }

    /// Flushes one source if it asked for it and was not flushed since.
    fn flush_source(&self, host: &H, token: Token) {
        let source = match self.registry.borrow_mut().get_mut(token) {
            Some(entry) if entry.flush_queued => {
                entry.flush_queued = false;
                entry.source.clone()
            }
            _ => return,
        };
        host.flush(self, token, source);
    }

    /// Replaces the poller by a new one of `kind` and registers every source again before the next
    /// wait: to change the poller of a live loop.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`]; the old poller then stays.
    pub fn change_poller(&self, kind: PollerKind) -> io::Result<()> {
        let make: PollerMaker = Box::new(move || kind.new_poller());
        self.replace_poller(make()?)?;
        *self.make_poller.borrow_mut() = make;
        Ok(())
    }

    /// Replaces the poller by a new one like it, with every source registered again before the next
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`with_maker`](Self::with_maker); the old poller then stays.
    pub fn rebuild_poller(&self) -> io::Result<()> {
        let fresh = (self.make_poller.borrow())()?;
        self.replace_poller(fresh)
    }

    fn replace_poller(&self, fresh: Box<dyn Poller>) -> io::Result<()> {
        let mut poller = self.poller.try_borrow_mut().map_err(|_| waiting())?;
        self.hosting.watch(&*fresh)?;
        self.kind.set(fresh.kind());
        *poller = fresh;
        drop(poller);
        self.forget_registrations();
        Ok(())
    }

    pub(super) fn forget_registrations(&self) {
        self.registry.borrow_mut().forget_registrations();
    }

    /// Tells the system about interest that changed since the last wait.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn apply(&self, host: &H) -> io::Result<()> {
        let mut poller = self.poller.try_borrow_mut().map_err(|_| waiting())?;
        let mut refused = self.refused.take();
        self.registry
            .borrow_mut()
            .apply(&mut **poller, &mut refused);
        drop(poller);
        let mut result = Ok(());
        for (token, error) in refused.drain(..) {
            if token == Token::WAKER {
                // Without its waker the loop might wait for ever; it is tried again next time.
                result = Err(error);
            } else if let Some(source) = self.source(token) {
                host.register_failed(self, token, source, error);
            }
        }
        self.refused.set(refused);
        result
    }

    pub(super) fn wait(
        &self,
        host: &H,
        events: &mut Events,
        timeout: Option<Duration>,
        something_requested: bool,
    ) -> io::Result<()> {
        let always_ready = self.registry.borrow().has_always_ready();
        // Refused registrations were reported after `requested` was last looked at, and their
        // handlers may have asked for readiness.
        let due = something_requested || always_ready || !self.requested.borrow().is_empty();
        let timeout = if due { Some(Duration::ZERO) } else { timeout };
        let mut poller = self.poller.try_borrow_mut().map_err(|_| waiting())?;
        let result = if timeout == Some(Duration::ZERO) {
            poller.wait(events, timeout)
        } else {
            let mut result = Ok(());
            host.park(&mut || result = poller.wait(events, timeout));
            result
        };
        drop(poller);
        if always_ready {
            self.registry.borrow().push_always_ready(events);
        }
        result
    }

    /// Whether the poller reports, before any callback of the batch, what nobody asks it for.
    ///
    /// A lent descriptor was closed before it was removed while a duplicate lives on, in a child
    /// say: the number can no longer be deregistered, and epoll goes on watching what it named.
    pub(super) fn has_stray(&self, events: &Events) -> bool {
        let registry = self.registry.borrow();
        let unwanted = |token| registry.interest(token).is_none_or(Interest::is_none);
        events
            .iter()
            .any(|event| event.token != Token::WAKER && unwanted(event.token))
    }

    /// Gets rid of watches that cannot be ended otherwise, which would keep every wait from waiting.
    pub(super) fn shed_strays(&self) {
        // Without a descriptor for the new poller the old one stays, and the next turn tries again.
        let _: io::Result<()> = self.rebuild_poller();
    }

    /// Delivers one event, unless its source is gone or has lost interest since the wait.
    fn dispatch(&self, host: &H, event: Event) {
        if event.token == Token::WAKER {
            self.waker.drain();
            return;
        }
        let registry = self.registry.borrow();
        let Some(entry) = registry.get(event.token) else {
            return;
        };
        let interest = registry.interest(event.token).unwrap_or(Interest::NONE);
        let source = entry.source.clone();
        drop(registry);
        let readiness = wanted(event.readiness, interest);
        if !interest.is_none() && !readiness.is_none() {
            host.ready(self, event.token, source, readiness);
            // An answer leaves while it is in the cache, and its buffer is free for the next one.
            // What the callback wrote to other sources is gathered until the end of the batch.
            self.flush_source(host, event.token);
        }
    }

    /// Keeps the capacity of the list of requested readiness for the next turn.
    fn recycle(&self, mut requested: Vec<Event>) {
        requested.clear();
        let mut current = self.requested.borrow_mut();
        if current.is_empty() && current.capacity() < requested.capacity() {
            *current = requested;
        }
    }
}

pub(super) fn waiting() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "the loop is waiting in another thread",
    )
}

/// What of `readiness` a source with `interest` hears about: hang-up and errors always.
fn wanted(readiness: Readiness, interest: Interest) -> Readiness {
    let mut wanted = readiness;
    if !interest.is_readable() {
        wanted = wanted.without(Readiness::READABLE);
    }
    if !interest.is_writable() {
        wanted = wanted.without(Readiness::WRITABLE);
    }
    wanted
}
