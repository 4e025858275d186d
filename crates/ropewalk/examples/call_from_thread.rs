//! Calling in from a thread: every line of standard input, which only a thread may wait for, goes
//! to all connected clients. Ends with the input.
//!
//! ```text
//! cargo run --release --example call_from_thread -- 127.0.0.1:8009
//! ```

use std::cell::RefCell;

use ropewalk::{Disconnect, Protocol, Reactor, Remote, Transport};

thread_local! {
    /// Who listens. It stays on the loop's thread: a call from a thread carries only what may
    /// travel (the line) and finds the rest here.
    static CLIENTS: RefCell<Vec<Transport>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default)]
struct Client {
    transport: Option<Transport>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        self.transport = Some(transport.clone());
        CLIENTS.with_borrow_mut(|clients| clients.push(transport.clone()));
        transport.write(b"welcome\n");
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}

    fn connection_lost(&mut self, _: Disconnect) {
        if let Some(own) = self.transport.take() {
            CLIENTS.with_borrow_mut(|all| all.retain(|client| !client.same_connection(&own)));
        }
    }
}

/// Runs in its own thread, where it may block.
fn read_lines(remote: &Remote) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        remote.call_from_thread(move |_reactor| {
            CLIENTS.with_borrow(|clients| {
                for client in clients {
                    client.write(format!("{line}\n").as_bytes());
                }
            });
        });
    }
    remote.stop();
}

fn main() -> ropewalk::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8009".to_owned());
    let reactor = Reactor::new()?;
    let port = reactor.listen_tcp(address.as_str(), |_peer| Client::default())?;
    println!("listening on {}", port.local_addr());
    let remote = reactor.remote();
    std::thread::spawn(move || read_lines(&remote));
    reactor.run()
}
