//! Names to addresses: literals, the default resolver, replacing it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use reactor_support::{Log, reactor, turn_until};
use ropewalk::{BlockingResolver, Deferred, Error, Reactor, Resolver, StaticResolver};
use variant::Variant;

on_every_poller!(
    literals_need_no_resolver,
    the_default_resolver_knows_localhost_and_answers_later,
    a_name_that_cannot_be_is_a_resolve_error,
    an_installed_resolver_is_asked_until_the_next_one,
    a_blocking_resolver_answers_at_once,
    a_resolver_that_panics_is_reported,
    an_unknown_name_of_a_static_resolver_is_not_found,
);

/// Answers every name with one address.
struct Always(Ipv4Addr);

impl Resolver for Always {
    fn resolve(&self, _: &Reactor, _: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        Deferred::ready(vec![SocketAddr::from((self.0, port))])
    }
}

/// Must not be asked.
struct Never;

impl Resolver for Never {
    fn resolve(&self, _: &Reactor, name: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
        panic!("asked for {name}")
    }
}

fn take<T>(reactor: &Reactor, deferred: Deferred<T>) -> ropewalk::Result<T> {
    turn_until(reactor, || deferred.is_ready());
    deferred.try_take().unwrap()
}

fn literals_need_no_resolver(variant: Variant) {
    let reactor = reactor(variant);
    reactor.install_resolver(Never);
    for (name, address) in [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")] {
        let found = reactor.resolve(name, 80).try_take().unwrap().unwrap();
        assert_eq!(found, [address.parse().unwrap()]);
    }
}

fn the_default_resolver_knows_localhost_and_answers_later(variant: Variant) {
    let reactor = reactor(variant);
    let deferred = reactor.resolve("localhost", 80);
    assert!(!deferred.is_ready());
    let found = take(&reactor, deferred).unwrap();
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 80)
    );
}

fn a_name_that_cannot_be_is_a_resolve_error(variant: Variant) {
    let reactor = reactor(variant);
    let impossible = "a\0b";
    match take(&reactor, reactor.resolve(impossible, 80)) {
        Err(Error::Resolve { name, .. }) => assert_eq!(name, impossible),
        other => panic!("expected a resolve error, not {other:?}"),
    }
}

fn an_installed_resolver_is_asked_until_the_next_one(variant: Variant) {
    let reactor = reactor(variant);
    let [first, second] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let ip = |reactor: &Reactor| -> IpAddr {
        reactor.resolve("host.test", 1).try_take().unwrap().unwrap()[0].ip()
    };
    reactor.install_resolver(Always(first));
    assert_eq!(ip(&reactor), first);
    let before: Rc<dyn Resolver> = reactor.install_resolver(Always(second));
    assert_eq!(ip(&reactor), second);
    reactor.install_resolver(before);
    assert_eq!(ip(&reactor), first);
}

fn a_blocking_resolver_answers_at_once(variant: Variant) {
    let reactor = reactor(variant);
    reactor.install_resolver(BlockingResolver);
    let found = reactor
        .resolve("localhost", 80)
        .try_take()
        .unwrap()
        .unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()));
}

fn a_resolver_that_panics_is_reported(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    log.record_failures(&reactor);
    reactor.install_resolver(Never);
    let result = reactor.resolve("host.test", 80).try_take().unwrap();
    assert!(matches!(result, Err(Error::Resolve { .. })));
    assert_eq!(
        log.take(),
        ["a resolver failed: panicked: asked for host.test"]
    );
}

fn an_unknown_name_of_a_static_resolver_is_not_found(variant: Variant) {
    let reactor = reactor(variant);
    let table = [
        ("known.test", vec![IpAddr::from(Ipv4Addr::LOCALHOST)]),
        ("empty.test", vec![]),
    ];
    reactor.install_resolver(StaticResolver::new(table));
    assert!(reactor.resolve("Known.Test", 1).try_take().unwrap().is_ok());
    for name in ["unknown.test", "empty.test"] {
        match reactor.resolve(name, 1).try_take().unwrap() {
            Err(Error::Resolve { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
            }
            other => panic!("expected a resolve error, not {other:?}"),
        }
    }
}
