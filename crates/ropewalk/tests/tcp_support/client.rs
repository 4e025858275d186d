//! A client's factory that notes what it hears.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::{ConnectError, ConnectErrorKind, Connector, Disconnect, Factory, NetAddr, Protocol};

use super::{Log, Recorder};

pub(crate) type Hook = Box<dyn FnMut(&'static str, Option<&Connector>)>;

/// Notes what it hears; `hook` runs in each callback with its name.
pub(crate) struct Client {
    pub(crate) notes: Rc<Notes>,
    pub(crate) log: Rc<Log>,
    pub(crate) hook: Hook,
    pub(crate) refuse: bool,
}

#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) events: RefCell<Vec<&'static str>>,
    pub(crate) error: RefCell<Option<ConnectError>>,
    pub(crate) reason: RefCell<Option<Disconnect>>,
}

impl Notes {
    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.borrow().contains(&event)
    }

    pub(crate) fn kind(&self) -> ConnectErrorKind {
        self.error.borrow().as_ref().expect("failed").kind()
    }
}

impl Client {
    pub(crate) fn new(log: &Rc<Log>) -> (Self, Rc<Notes>) {
        let notes = Rc::<Notes>::default();
        let client = Self {
            notes: Rc::clone(&notes),
            log: Rc::clone(log),
            hook: Box::new(|_, _| ()),
            refuse: false,
        };
        (client, notes)
    }

    pub(crate) fn hook(
        mut self,
        hook: impl FnMut(&'static str, Option<&Connector>) + 'static,
    ) -> Self {
        self.hook = Box::new(hook);
        self
    }

    fn note(&mut self, event: &'static str, connector: Option<&Connector>) {
        self.notes.events.borrow_mut().push(event);
        (self.hook)(event, connector);
    }
}

impl Factory for Client {
    fn build_protocol(&mut self, _: NetAddr) -> Option<Box<dyn Protocol>> {
        self.note("build", None);
        let notes = Rc::clone(&self.notes);
        let recorder = Recorder::new(&self.log).hook(move |event, _| {
            notes.events.borrow_mut().push(event);
        });
        (!self.refuse).then(|| Box::new(recorder) as Box<dyn Protocol>)
    }

    fn started(&mut self) {
        self.note("started", None);
    }

    fn stopped(&mut self) {
        self.note("stopped", None);
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.note("connecting", Some(connector));
    }

    fn connection_failed(&mut self, connector: &Connector, error: ConnectError) {
        *self.notes.error.borrow_mut() = Some(error);
        self.note("failed", Some(connector));
    }

    fn connection_lost(&mut self, connector: &Connector, reason: Disconnect) {
        *self.notes.reason.borrow_mut() = Some(reason);
        self.note("client lost", Some(connector));
    }
}
