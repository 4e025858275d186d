//! Datagrams between two, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::net::SocketAddr;

use ropewalk::{AddressFault, ConnectErrorKind, NetAddr, Reactor, SendError};
use tcp_support::{over_every_poller, settle, until};
use udp_support::{listen, listen_hooked, peer, receive, stop};

over_every_poller! {
    a_connected_port_talks_to_its_peer_only,
    what_others_sent_before_is_not_handed_over,
    a_port_may_connect_from_its_first_callback,
    a_port_may_connect_to_another_peer,
    an_address_that_cannot_be_connected_to_is_refused,
    a_refusal_is_told_to_a_connected_port,
    a_refusal_does_not_cost_the_next_datagram,
    a_refusal_ends_nothing,
    an_unconnected_port_hears_of_no_refusal,
    a_paused_port_hears_of_a_refusal_when_it_is_resumed,
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    peer().local_addr().unwrap()
}

fn a_connected_port_talks_to_its_peer_only(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let (friend, stranger) = (peer(), peer());
    let to = friend.local_addr().unwrap();
    assert_eq!(port.peer_addr(), None);
    port.connect(to).unwrap();
    assert_eq!(port.peer_addr(), Some(to.into()));
    stranger.send_to(b"let me in", port.local_addr()).unwrap();
    friend.send_to(b"hello", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    settle(reactor);
    assert_eq!(*log.data.borrow(), [(b"hello".to_vec(), to.into())]);
    port.send(b"by default").unwrap();
    port.send_to(b"by name", to).unwrap();
    assert_eq!(receive(&friend).0, b"by default");
    assert_eq!(receive(&friend).0, b"by name");
    let elsewhere = port.send_to(b"x", stranger.local_addr().unwrap());
    assert!(matches!(
        elsewhere,
        Err(SendError::BadAddress {
            fault: AddressFault::NotThePeer,
            ..
        })
    ));
}

fn what_others_sent_before_is_not_handed_over(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let (friend, stranger) = (peer(), peer());
    stranger.send_to(b"before", port.local_addr()).unwrap();
    port.connect(friend.local_addr().unwrap()).unwrap();
    friend.send_to(b"after", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    settle(reactor);
    assert_eq!(log.data.borrow()[0].0, b"after");
    assert_eq!(log.received(), 1);
}

fn a_port_may_connect_from_its_first_callback(reactor: &Reactor) {
    let friend = peer();
    let to = friend.local_addr().unwrap();
    let (port, log) = listen_hooked(reactor, move |event, transport| {
        if let ("started", Some(transport)) = (event, transport) {
            transport.connect(to).unwrap();
            transport.send(b"hello").unwrap();
        }
    });
    assert_eq!(receive(&friend), (b"hello".to_vec(), port.local_addr()));
    friend.send_to(b"back", port.local_addr()).unwrap();
    until(reactor, "the answer", || log.received() == 1);
}

fn a_port_may_connect_to_another_peer(reactor: &Reactor) {
    let (recorder, log) = udp_support::Recorder::new();
    let port = reactor.listen_udp("0.0.0.0:0", recorder).unwrap();
    let (first, second) = (peer(), peer());
    port.connect(first.local_addr().unwrap()).unwrap();
    assert_eq!(
        port.local_addr().ip().unwrap().ip().to_string(),
        "127.0.0.1"
    );
    port.connect(second.local_addr().unwrap()).unwrap();
    port.send(b"hello").unwrap();
    assert_eq!(receive(&second).1, port.local_addr());
    first.send_to(b"who?", port.local_addr()).unwrap();
    second.send_to(b"me", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    settle(reactor);
    assert_eq!(log.data.borrow()[0].0, b"me");
}

fn an_address_that_cannot_be_connected_to_is_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor);
    for wrong in ["[::1]:9", "127.0.0.1:0"] {
        let refused = port
            .connect(wrong.parse::<SocketAddr>().unwrap())
            .unwrap_err();
        let source = refused.io_error().unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::InvalidInput, "{wrong}");
    }
    let friend = peer();
    port.connect(friend.local_addr().unwrap()).unwrap();
    // From loopback there is no way to the outside.
    port.connect("192.0.2.1:9".parse::<SocketAddr>().unwrap())
        .unwrap_err();
    assert_eq!(
        port.peer_addr(),
        friend.local_addr().ok().map(NetAddr::from)
    );
    stop(reactor, &port);
    let closed = port.connect(friend.local_addr().unwrap()).unwrap_err();
    assert_eq!(closed.kind(), ConnectErrorKind::Os);
}

fn a_refusal_is_told_to_a_connected_port(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    port.connect(nobody()).unwrap();
    port.send(b"anybody?").unwrap();
    until(reactor, "the refusal", || log.has("refused"));
    settle(reactor);
    assert_eq!(log.notices(), ["started", "refused"]);
}

fn a_refusal_does_not_cost_the_next_datagram(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let friend = peer();
    let to = friend.local_addr().unwrap();
    drop(friend);
    port.connect(to).unwrap();
    port.send(b"first").unwrap();
    // The peer comes back; what waits in the socket is still the refusal of the first.
    let friend = udp_support::peer_on(&to.to_string());
    port.send(b"second").unwrap();
    assert_eq!(receive(&friend).0, b"second");
    until(reactor, "the refusal", || log.has("refused"));
    settle(reactor);
    assert_eq!(log.notices(), ["started", "refused"]);
}

fn a_refusal_ends_nothing(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    port.connect(nobody()).unwrap();
    for count in 1..=150 {
        port.send(b"anybody?").unwrap();
        until(reactor, "the refusal", || log.count("refused") == count);
    }
    assert!(port.is_listening());
}

fn an_unconnected_port_hears_of_no_refusal(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    for _ in 0..10 {
        port.send_to(b"anybody?", nobody()).unwrap();
        settle(reactor);
    }
    let client = peer();
    client.send_to(b"me", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    assert_eq!(log.notices(), ["started"]);
}

fn a_paused_port_hears_of_a_refusal_when_it_is_resumed(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    port.connect(nobody()).unwrap();
    port.pause_receiving();
    // The second send is told of the first one's refusal. The system forgets its own, so that it is
    // not found out anew.
    port.send(b"anybody?").unwrap();
    port.send(b"anybody?").unwrap();
    let forgotten = port.with_fd(|fd| rustix::net::sockopt::socket_error(fd));
    assert!(forgotten.unwrap().unwrap().is_err());
    settle(reactor);
    assert_eq!(log.notices(), ["started"]);
    port.resume_receiving();
    assert_eq!(log.notices(), ["started"], "in a later step");
    until(reactor, "the refusal", || log.has("refused"));
}
