//! Connectors that are given names instead of addresses, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{
    ConnectErrorKind, Deferred, DeferredSender, Error, Reactor, Resolver, StaticResolver,
};
use tcp_support::client::Client;
use tcp_support::{Log, over_every_poller, settle, until};

over_every_poller! {
    a_name_is_resolved_and_every_address_tried,
    a_name_without_address_says_so,
    a_name_may_be_given_up_while_it_is_looked_up,
    a_late_answer_is_not_taken_for_the_present_one,
    text_that_is_no_address_is_refused_at_once,
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn a_name_is_resolved_and_every_address_tried(reactor: &Reactor) {
    let (_listener, address) = listener();
    // The first address is one that nobody listens on, with the same port.
    let addresses = vec!["127.0.0.3".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    reactor.install_resolver(StaticResolver::new([("somewhere.test", addresses)]));
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let name = format!("somewhere.test:{}", address.port());
    reactor.connect_tcp(name, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(log.transport().peer_addr(), address);
    assert!(!notes.has("failed"));

    let (log, local) = (Log::new(), Rc::new(Cell::new(false)));
    let (client, _) = Client::new(&log);
    reactor.install_resolver(ropewalk::PoolResolver);
    let seen = Rc::clone(&local);
    let client = client.hook(move |event, _| seen.set(seen.get() || event == "build"));
    reactor
        .connect_tcp(("localhost", address.port()), client)
        .unwrap();
    until(reactor, "localhost", || log.is_connected());
    assert!(local.get());
}

fn a_name_without_address_says_so(reactor: &Reactor) {
    reactor.install_resolver(StaticResolver::default());
    let (client, notes) = Client::new(&Log::new());
    reactor.connect_tcp("nowhere.test:80", client).unwrap();
    assert!(!notes.has("failed"), "told later");
    until(reactor, "the failure", || notes.has("stopped"));
    assert_eq!(notes.kind(), ConnectErrorKind::Resolve);
}

fn a_name_may_be_given_up_while_it_is_looked_up(reactor: &Reactor) {
    let (client, notes) = Client::new(&Log::new());
    let connector = reactor.connect_tcp("localhost:1", client).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    connector.disconnect();
    assert_eq!(notes.kind(), ConnectErrorKind::Cancelled);
    // The answer still comes, and must do nothing.
    let late = reactor.resolve("localhost", 1);
    until(reactor, "the name", || late.is_ready());
    settle(reactor);
    late.ignore();
    assert_eq!(
        notes.events.borrow().as_slice(),
        ["started", "connecting", "failed", "stopped"]
    );
}

/// A resolver that answers when it is told to.
#[derive(Clone, Default)]
struct Slow(Rc<RefCell<Vec<DeferredSender<Vec<SocketAddr>>>>>);

impl Resolver for Slow {
    fn resolve(&self, _: &Reactor, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
        let (sender, deferred) = Deferred::new();
        self.0.borrow_mut().push(sender);
        deferred
    }
}

fn a_late_answer_is_not_taken_for_the_present_one(reactor: &Reactor) {
    let (_wrong, wrong) = listener();
    let (_right, right) = listener();
    let slow = Slow::default();
    reactor.install_resolver(slow.clone());
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_tcp("slow.test:80", client).unwrap();
    settle(reactor);
    connector.stop_connecting().unwrap();
    connector.connect().unwrap();
    settle(reactor);
    let mut answers = slow.0.take().into_iter();
    answers.next().unwrap().fire(vec![wrong]);
    settle(reactor);
    assert!(!log.is_connected());
    answers.next().unwrap().fire(vec![right]);
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(log.transport().peer_addr(), right);
    assert!(notes.has("failed"), "the first attempt");
}

fn text_that_is_no_address_is_refused_at_once(reactor: &Reactor) {
    let (client, notes) = Client::new(&Log::new());
    let refused = reactor.connect_tcp("no port here", client).unwrap_err();
    assert!(matches!(refused, Error::InvalidAddress { text } if text == "no port here"));
    assert!(notes.events.borrow().is_empty());
}
