//! What the hosted examples share: an echo server that its host can speak through.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::{Disconnect, ListeningPort, Protocol, Reactor, Result, Transport};

/// Everybody who is connected.
#[derive(Clone, Default)]
pub(crate) struct Audience(Rc<RefCell<Vec<Transport>>>);

impl Audience {
    /// Serves on `address`: every client gets back what it sends, and hears what is said.
    pub(crate) fn serve(&self, reactor: &Reactor, address: &str) -> Result<ListeningPort> {
        let audience = self.clone();
        let port = reactor.listen_tcp(address, move |_peer| Client {
            audience: audience.clone(),
            transport: None,
        })?;
        println!("listening on {}", port.local_addr());
        Ok(port)
    }

    /// Sends `line` to everybody.
    pub(crate) fn say(&self, line: &[u8]) {
        for transport in self.0.borrow().iter() {
            transport.write(line);
        }
    }
}

struct Client {
    audience: Audience,
    transport: Option<Transport>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        self.transport = Some(transport.clone());
        self.audience.0.borrow_mut().push(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, _reason: Disconnect) {
        if let Some(lost) = self.transport.take() {
            let mut clients = self.audience.0.borrow_mut();
            clients.retain(|client| !client.same_connection(&lost));
        }
    }
}

/// Where to listen: the first argument.
pub(crate) fn address() -> String {
    std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8007".to_owned())
}
