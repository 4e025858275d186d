//! An echo server for datagrams: sends every sender back what it sent.
//!
//! ```text
//! cargo run --release --example udp_echo -- 127.0.0.1:8007
//! ```

use ropewalk::{DatagramProtocol, DatagramTransport, NetAddr, Reactor};

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        // A sender who asks for more than its network takes gets no answer. What the system has no
        // room for waits, and is dropped beyond the bound: datagrams may be lost on any way.
        if let Err(error) = transport.send_to(data, from) {
            eprintln!("{error}");
        }
    }

    fn datagrams_dropped(&mut self, _: &DatagramTransport, count: usize) {
        eprintln!("{count} answers were dropped");
    }
}

fn main() -> ropewalk::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8007".to_owned());
    let reactor = Reactor::new()?;
    let port = reactor.listen_udp(address.as_str(), Echo)?;
    println!("listening on {}", port.local_addr());
    reactor.run()
}
