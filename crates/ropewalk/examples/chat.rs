//! A chat server: what one client says, all others read.
//!
//! ```text
//! cargo run --release --example chat -- 127.0.0.1:8008
//! nc 127.0.0.1 8008
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::{Disconnect, NetAddr, Protocol, Reactor, Transport};

/// A line longer than this, in bytes, is no conversation.
const LONGEST_LINE: usize = 4096;

/// A client that leaves this much unread, in bytes, is cut off.
const MOST_UNREAD: usize = 1 << 20;

/// Who is there.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<Vec<Transport>>>);

impl Room {
    /// Tells everybody but `speaker`.
    fn say(&self, speaker: &NetAddr, text: &str) {
        for client in self.0.borrow().iter() {
            if client.peer_addr() == *speaker {
                continue;
            }
            client.write(text.as_bytes());
            if client.buffered_len() > MOST_UNREAD {
                client.abort_connection();
            }
        }
    }
}

struct Client {
    room: Room,
    name: NetAddr,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        self.room
            .say(&self.name, &format!("{} is here\n", self.name));
        self.room.0.borrow_mut().push(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST_LINE {
                transport.lose_connection();
                return;
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                self.room.say(&self.name, &format!("{}: {text}", self.name));
            }
        }
    }

    fn connection_lost(&mut self, _: Disconnect) {
        self.room
            .0
            .borrow_mut()
            .retain(|client| client.peer_addr() != self.name);
        self.room
            .say(&self.name, &format!("{} has left\n", self.name));
    }
}

fn main() -> ropewalk::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8008".to_owned());
    let reactor = Reactor::new()?;
    let room = Room::default();
    let enter = move |peer| Client {
        room: room.clone(),
        name: peer,
        line: Vec::new(),
    };
    let port = reactor.listen_tcp(address.as_str(), enter)?;
    println!("listening on {}", port.local_addr());
    reactor.run()
}
