//! A server on ropewalk: `server POLLER PORT [MODE]`.
//!
//! MODE is echo (the default), sink, source, writes, unix, udp or udp-count; with `tls-` before one
//! of the first four, it is served over TLS, and the certificate and its key are in the PEM file that
//! the environment's `BENCH_CERTIFICATE` names.

use std::net::SocketAddr;
use std::rc::Rc;

use ropewalk::tls::{Identity, TlsServer};
use ropewalk::{
    DatagramProtocol, DatagramTransport, Factory, ListenOptions, ListeningPort, NetAddr, Producer,
    ProducerKind, Protocol, Reactor, Transport, UnixListenOptions,
};
use ropewalk_bench::{Result, allow_many_files, reactor_from_arguments};

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        // A socket that cannot be set up has no peer any more, and is closed anyway.
        let _ = transport.set_nodelay(true);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct UnixEcho;

impl Protocol for UnixEcho {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Sink;

impl Protocol for Sink {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// Sends until the peer closes.
struct Source {
    chunk: Rc<[u8]>,
}

impl Protocol for Source {
    fn connection_made(&mut self, transport: &Transport) {
        let chunk = Chunk(Rc::clone(&self.chunk));
        if transport
            .register_producer(chunk, ProducerKind::Pull)
            .is_err()
        {
            transport.abort_connection();
        }
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

struct Chunk(Rc<[u8]>);

impl Producer for Chunk {
    fn resume_producing(&self, consumer: &Transport) {
        consumer.write(&self.0);
    }
}

/// Answers a question, which is short enough to come whole, with many small writes.
struct Writes {
    pieces: Rc<[[u8; 10]]>,
}

impl Protocol for Writes {
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport.set_nodelay(true);
    }

    fn data_received(&mut self, transport: &Transport, _: &[u8]) {
        for piece in &*self.pieces {
            transport.write(piece);
        }
    }
}

struct DatagramEcho;

impl DatagramProtocol for DatagramEcho {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        // Whoever cannot be answered is not waited for.
        let _ = transport.send_to(data, from);
    }
}

/// Counts datagrams, and answers `?` with their number.
struct Count(u64);

impl DatagramProtocol for Count {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        if data == b"?" {
            let _ = transport.send_to(self.0.to_string().as_bytes(), from);
        } else {
            self.0 += 1;
        }
    }
}

fn main() -> Result<()> {
    allow_many_files()?;
    let reactor = reactor_from_arguments()?;
    let port: u16 = std::env::args()
        .nth(2)
        .ok_or("the second argument is a port")?
        .parse()?;
    let mode = std::env::args().nth(3).unwrap_or_else(|| "echo".into());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match mode.as_str() {
        "udp" => {
            let transport = reactor.listen_udp(address, DatagramEcho)?;
            println!("listening on udp:{}", transport.local_addr());
            return Ok(reactor.run()?);
        }
        "udp-count" => {
            let transport = reactor.listen_udp(address, Count(0))?;
            println!("listening on udp:{}", transport.local_addr());
            return Ok(reactor.run()?);
        }
        "unix" => {
            let path = std::env::temp_dir().join(format!("ropewalk-bench-{}", std::process::id()));
            let options = UnixListenOptions::new().backlog(1024);
            reactor.listen_unix_with(&*path, options, |_| UnixEcho)?;
            println!("listening on unix:{}", path.display());
            return Ok(reactor.run()?);
        }
        _ => {}
    }
    let (scheme, tls, mode) = match mode.strip_prefix("tls-") {
        Some(mode) => ("tls:", Some(tls()?), mode),
        None => ("", None, mode.as_str()),
    };
    let listening = match mode {
        "echo" => listen(&reactor, address, tls, |_| Echo)?,
        "sink" => listen(&reactor, address, tls, |_| Sink)?,
        "source" => listen(&reactor, address, tls, sources())?,
        "writes" => listen(&reactor, address, tls, writers()?)?,
        _ => return Err(format!("no mode is called {mode}").into()),
    };
    println!("listening on {scheme}{}", listening.local_addr());
    reactor.run()?;
    Ok(())
}

fn tls() -> Result<TlsServer> {
    let path = std::env::var("BENCH_CERTIFICATE")?;
    Ok(TlsServer::new(Identity::from_pem_files(&path, &path)?)?)
}

fn listen(
    reactor: &Reactor,
    address: SocketAddr,
    tls: Option<TlsServer>,
    factory: impl Factory,
) -> Result<ListeningPort> {
    let options = ListenOptions::new().backlog(1024);
    Ok(match tls {
        Some(tls) => reactor.listen_tcp_with(address, options, tls.factory(factory))?,
        None => reactor.listen_tcp_with(address, options, factory)?,
    })
}

fn sources() -> impl Factory {
    let chunk: Rc<[u8]> = vec![b'x'; 65536].into();
    move |_: NetAddr| Source {
        chunk: Rc::clone(&chunk),
    }
}

fn writers() -> Result<impl Factory> {
    let pieces: Rc<[[u8; 10]]> = (0..1000)
        .map(|number| format!("{number:09}\n").into_bytes().try_into())
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| "the pieces have ten bytes")?;
    Ok(move |_: NetAddr| Writes {
        pieces: Rc::clone(&pieces),
    })
}
