//! Host names to addresses, off the loop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;

use super::Reactor;
use super::core::Core;
use crate::deferred::Deferred;
use crate::error::{Error, Result};

/// Finds the addresses of host names; set with
/// [`Reactor::install_resolver`](crate::Reactor::install_resolver).
///
/// Address literals never get here.
pub trait Resolver {
    /// Looks `name` up and gives its addresses with `port`, the best first; never an empty list.
    ///
    /// It must not block the loop. Names are looked up side by side, in no particular order.
    ///
    /// # Errors
    ///
    /// The `Deferred` fails with [`Error::Resolve`] when the name has no address.
    fn resolve(&self, reactor: &Reactor, name: &str, port: u16) -> Deferred<Vec<SocketAddr>>;
}

/// The default: getaddrinfo(3) on the reactor's thread pool, so that /etc/hosts, nsswitch and
/// whatever else the system is set up with are honoured. Results come back through the thread-call
/// queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolResolver;

/// getaddrinfo(3) on the loop's own thread: blocks it, for programs that must not have threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockingResolver;

/// A fixed table, for tests and for pinned hosts. Names compare without regard to ASCII case.
///
/// # Examples
///
/// ```
/// use ropewalk::{Reactor, StaticResolver};
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// reactor.install_resolver(StaticResolver::new([("db.test", vec!["127.0.0.1".parse().unwrap()])]));
/// let found = reactor.resolve("DB.test", 5432).try_take().unwrap()?;
/// assert_eq!(found, ["127.0.0.1:5432".parse().unwrap()]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    hosts: HashMap<String, Vec<IpAddr>>,
}

impl StaticResolver {
    /// A table of these names and their addresses.
    pub fn new<N: Into<String>>(hosts: impl IntoIterator<Item = (N, Vec<IpAddr>)>) -> Self {
        let lower = |(name, addresses): (N, _)| (name.into().to_ascii_lowercase(), addresses);
        Self {
            hosts: hosts.into_iter().map(lower).collect(),
        }
    }
}

impl Resolver for PoolResolver {
    fn resolve(&self, reactor: &Reactor, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        let name = name.to_owned();
        let looked_up = reactor.defer_to_thread(move || look_up(&name, port));
        looked_up.then_result(|result| result?)
    }
}

impl Resolver for BlockingResolver {
    fn resolve(&self, _: &Reactor, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        finished(look_up(name, port))
    }
}

impl Resolver for StaticResolver {
    fn resolve(&self, _: &Reactor, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        let known = self.hosts.get(&name.to_ascii_lowercase());
        let addresses: Vec<_> = known
            .into_iter()
            .flatten()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect();
        finished(not_empty(name, addresses))
    }
}

impl<R: Resolver + ?Sized> Resolver for Rc<R> {
    fn resolve(&self, reactor: &Reactor, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        (**self).resolve(reactor, name, port)
    }
}

impl Core {
    /// Address literals are answered at once, names by the installed resolver.
    pub(crate) fn resolve(self: &Rc<Self>, name: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        if let Some(address) = literal(name, port) {
            return Deferred::ready(vec![address]);
        }
        let resolver = self.resolver.borrow().clone();
        let resolved = self.guard("a resolver", || {
            resolver.resolve(&self.reactor(), name, port)
        });
        resolved.unwrap_or_else(|| {
            let source = io::Error::other("the resolver panicked");
            Deferred::failed(Error::Resolve {
                name: name.to_owned(),
                source,
            })
        })
    }
}

/// The address that `name` itself is, if it is one. A scoped IPv6 address (`fe80::1%eth0`) names an
/// interface, which the resolver looks up.
fn literal(name: &str, port: u16) -> Option<SocketAddr> {
    name.parse::<IpAddr>()
        .ok()
        .map(|ip| SocketAddr::new(ip, port))
}

fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let found = (name, port).to_socket_addrs();
    let found = found.map_err(|source| Error::Resolve {
        name: name.to_owned(),
        source,
    })?;
    not_empty(name, found.collect())
}

fn not_empty(name: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>> {
    if addresses.is_empty() {
        let source = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        return Err(Error::Resolve {
            name: name.to_owned(),
            source,
        });
    }
    Ok(addresses)
}

fn finished<T>(result: Result<T>) -> Deferred<T> {
    match result {
        Ok(value) => Deferred::ready(value),
        Err(error) => Deferred::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_told_from_names() {
        assert_eq!(
            literal("10.0.0.1", 80),
            Some("10.0.0.1:80".parse().unwrap())
        );
        assert_eq!(literal("::1", 80), Some("[::1]:80".parse().unwrap()));
        for name in ["", "localhost", "10.0.0", "fe80::1%lo", "[::1]"] {
            assert_eq!(literal(name, 80), None, "{name}");
        }
    }
}
