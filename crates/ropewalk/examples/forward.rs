//! A port forwarder: LISTEN CONNECT. Either side is read no faster than the other one takes it, and
//! may close its half while the other still sends.
//!
//! ```text
//! cargo run --release --example forward -- 127.0.0.1:8080 example.org:80
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::{
    Address, ConnectError, Connector, Disconnect, Factory, NetAddr, ProducerKind, Protocol,
    Reactor, Transport,
};

/// The transport of the other side: set while both sides are connected.
type Other = Rc<RefCell<Option<Transport>>>;

/// One side of a forwarded connection. Each transport is the other one's producer, so that it is
/// not read while the other one is full.
struct Side {
    other: Other,
}

impl Side {
    fn other(&self) -> Option<Transport> {
        self.other.borrow().clone()
    }
}

impl Protocol for Side {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        if let Some(other) = self.other() {
            other.write(data);
        }
    }

    fn half_close(&self) -> bool {
        true
    }

    fn read_closed(&mut self, _: &Transport) {
        if let Some(other) = self.other() {
            other.unregister_producer();
            other.lose_write_connection();
        }
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        if let Some(other) = self.other.take() {
            other.unregister_producer();
            match reason {
                Disconnect::Done => other.lose_connection(),
                _ => other.abort_connection(),
            }
        }
    }
}

/// The side that came in: not read before the other one is connected.
struct Incoming {
    reactor: Reactor,
    target: Address,
    connector: Option<Connector>,
    side: Side,
}

impl Protocol for Incoming {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_producing();
        let factory = Outgoing {
            incoming: transport.clone(),
            other: Rc::clone(&self.side.other),
        };
        match self.reactor.connect_tcp(self.target.clone(), factory) {
            Ok(connector) => self.connector = Some(connector),
            Err(error) => {
                eprintln!("{}: {error}", self.target);
                transport.abort_connection();
            }
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.side.data_received(transport, data);
    }

    fn half_close(&self) -> bool {
        true
    }

    fn read_closed(&mut self, transport: &Transport) {
        self.side.read_closed(transport);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        match &self.connector {
            // Nobody is left to forward for.
            Some(connector) if self.side.other().is_none() => connector.disconnect(),
            _ => self.side.connection_lost(reason),
        }
    }
}

/// Makes the side that goes out.
struct Outgoing {
    incoming: Transport,
    other: Other,
}

/// The side that goes out; joins both when it is connected.
struct Target {
    incoming: Transport,
    outgoing: Other,
    side: Side,
}

impl Factory for Outgoing {
    fn build_protocol(&mut self, _: NetAddr) -> Option<Box<dyn Protocol>> {
        let other = Rc::new(RefCell::new(Some(self.incoming.clone())));
        let (incoming, outgoing) = (self.incoming.clone(), Rc::clone(&self.other));
        Some(Box::new(Target {
            incoming,
            outgoing,
            side: Side { other },
        }))
    }

    fn connection_failed(&mut self, connector: &Connector, error: ConnectError) {
        eprintln!("{}: {error}", connector.destination());
        self.incoming.abort_connection();
    }
}

impl Protocol for Target {
    fn connection_made(&mut self, transport: &Transport) {
        self.outgoing.replace(Some(transport.clone()));
        for (consumer, producer) in [(transport, &self.incoming), (&self.incoming, transport)] {
            let registered = consumer.register_producer(producer.clone(), ProducerKind::Push);
            registered.expect("this is the first producer");
        }
        self.incoming.resume_producing();
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.side.data_received(transport, data);
    }

    fn half_close(&self) -> bool {
        true
    }

    fn read_closed(&mut self, transport: &Transport) {
        self.side.read_closed(transport);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        self.outgoing.take();
        self.side.connection_lost(reason);
    }
}

fn main() -> ropewalk::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(connect)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: forward LISTEN CONNECT, for example 127.0.0.1:8080 example.org:80");
        std::process::exit(2);
    };
    let target = Address::from(connect.as_str());
    let reactor = Reactor::new()?;
    let handle = reactor.clone();
    let accept = move |_peer| Incoming {
        reactor: handle.clone(),
        target: target.clone(),
        connector: None,
        side: Side {
            other: Other::default(),
        },
    };
    let port = reactor.listen_tcp(listen.as_str(), accept)?;
    println!("listening on {}", port.local_addr());
    reactor.run()
}
