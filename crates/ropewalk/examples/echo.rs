//! An echo server: sends every client back what it sent.
//!
//! ```text
//! cargo run --release --example echo -- 127.0.0.1:8007
//! ```

use ropewalk::{ProducerKind, Protocol, Reactor, Transport};

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        // A client that sends and does not read is kept from sending more than fits.
        let registered = transport.register_producer(transport.clone(), ProducerKind::Push);
        registered.expect("a new connection has no producer");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn main() -> ropewalk::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8007".to_owned());
    let reactor = Reactor::new()?;
    let port = reactor.listen_tcp(address.as_str(), |_peer| Echo)?;
    println!("listening on {}", port.local_addr());
    reactor.run()
}
