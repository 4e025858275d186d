//! UNIX datagram sockets with a peer, and such that were made elsewhere, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_datagram_support;
mod unix_support;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use ropewalk::{
    AddressFault, ConnectErrorKind, Error, Reactor, SendError, UnixAddr, UnixDatagramOptions,
};
use tcp_support::{LIMIT, over_every_poller, settle, until};
use udp_support::{Recorder, stop};
use unix_datagram_support::{listen, peer, receive, unix};
use unix_support::Directory;

over_every_poller! {
    a_connected_socket_is_answered_at_its_own_address,
    a_connected_socket_hears_its_peer_only,
    a_connection_that_cannot_be_made_leaves_nothing,
    a_socket_may_connect_later,
    an_adopted_socket_receives_and_leaves_its_path,
    an_adopted_pair_talks_without_names,
    what_is_no_unix_datagram_socket_is_not_adopted,
}

fn a_connected_socket_is_answered_at_its_own_address(reactor: &Reactor) {
    let directory = Directory::new();
    let (server, own) = (directory.join("server"), directory.join("own"));
    let (port, heard) = listen(reactor, &server);
    let (recorder, log) = Recorder::new();
    let options = UnixDatagramOptions::new().mode(0o600);
    let client = reactor
        .connect_unix_datagram_with(&server, &own, options, recorder)
        .unwrap();
    assert_eq!(
        fs::metadata(&own).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        (client.local_addr(), client.peer_addr()),
        (unix(&own), Some(unix(&server)))
    );
    client.send(b"hello").unwrap();
    until(reactor, "a datagram", || heard.received() == 1);
    assert_eq!(*heard.data.borrow(), [(b"hello".to_vec(), unix(&own))]);
    port.send_to(b"answer", unix(&own)).unwrap();
    until(reactor, "the answer", || log.received() == 1);
    assert_eq!(*log.data.borrow(), [(b"answer".to_vec(), unix(&server))]);
    stop(reactor, &client);
    assert!(!own.exists() && server.exists());

    let (recorder, _) = Recorder::new();
    let nameless = reactor.connect_unix_datagram(&server, recorder).unwrap();
    assert_eq!(nameless.local_addr(), unix(UnixAddr::UNNAMED));
    nameless.send(b"from nobody").unwrap();
    until(reactor, "a datagram", || heard.received() == 2);
    assert_eq!(heard.data.borrow()[1].1, unix(UnixAddr::UNNAMED));
}

fn a_connected_socket_hears_its_peer_only(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    let (friend, stranger) = (
        peer(&directory.join("friend")),
        peer(&directory.join("else")),
    );
    stranger.send_to(b"before", &path).unwrap();
    port.connect(unix(directory.join("friend"))).unwrap();
    stranger.send_to(b"after", &path).unwrap_err();
    friend.send_to(b"hello", &path).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    settle(reactor);
    assert_eq!(log.data.borrow()[0].0, b"hello");
    assert_eq!(log.received(), 1);
    port.send(b"by default").unwrap();
    port.send_to(b"by name", unix(directory.join("friend")))
        .unwrap();
    assert_eq!(
        (receive(&friend), receive(&friend)),
        (b"by default".to_vec(), b"by name".to_vec())
    );
    let elsewhere = port
        .send_to(b"x", unix(directory.join("else")))
        .unwrap_err();
    assert!(
        matches!(&elsewhere, SendError::BadAddress { fault, .. } if *fault == AddressFault::NotThePeer),
        "{elsewhere}"
    );
}

fn a_connection_that_cannot_be_made_leaves_nothing(reactor: &Reactor) {
    let directory = Directory::new();
    let (gone, stream) = (directory.join("gone"), directory.join("stream"));
    drop(UnixDatagram::bind(&gone).unwrap());
    let _listener = UnixListener::bind(&stream).unwrap();
    let own = directory.join("own");
    let refused = |to: &Path, from: &Path| {
        let options = UnixDatagramOptions::new();
        let (recorder, log) = Recorder::new();
        let result = reactor.connect_unix_datagram_with(to, from, options, recorder);
        assert!(!own.exists());
        assert!(!log.has("started"));
        match result {
            Err(Error::Connect(error)) => (error.kind(), error.io_error().unwrap().raw_os_error()),
            other => panic!("{other:?}"),
        }
    };
    let (missing, errno) = (directory.join("missing"), |number: i32| Some(number));
    assert_eq!(
        refused(&missing, &own),
        (ConnectErrorKind::NotFound, errno(2))
    );
    assert_eq!(
        refused(&gone, &own),
        (ConnectErrorKind::Refused, errno(111))
    );
    assert_eq!(refused(&stream, &own), (ConnectErrorKind::Os, errno(91)));
    assert_eq!(refused(&stream, &gone), (ConnectErrorKind::Bind, errno(98)));
    assert!(gone.exists(), "not ours to remove");
}

fn a_socket_may_connect_later(reactor: &Reactor) {
    let directory = Directory::new();
    let (port, _) = listen(reactor, directory.join("port"));
    let nobody = port.connect(unix(directory.join("missing"))).unwrap_err();
    assert_eq!(nobody.kind(), ConnectErrorKind::NotFound);
    let wrong = "127.0.0.1:9".parse::<std::net::SocketAddr>().unwrap();
    let wrong = port.connect(wrong).unwrap_err();
    assert_eq!(
        wrong.io_error().unwrap().kind(),
        io::ErrorKind::InvalidInput
    );
    port.connect(UnixAddr::UNNAMED).unwrap_err();
    assert_eq!(port.peer_addr(), None);
    let (first, second) = (peer(&directory.join("1")), peer(&directory.join("2")));
    port.connect(unix(directory.join("1"))).unwrap();
    port.send(b"first").unwrap();
    port.connect(unix(directory.join("2"))).unwrap();
    port.send(b"second").unwrap();
    assert_eq!(
        (receive(&first), receive(&second)),
        (b"first".to_vec(), b"second".to_vec())
    );
}

fn an_adopted_socket_receives_and_leaves_its_path(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (recorder, log) = Recorder::new();
    let socket = UnixDatagram::bind(&path).unwrap();
    let port = reactor.adopt_unix_datagram(socket, recorder).unwrap();
    assert_eq!((port.local_addr(), port.peer_addr()), (unix(&path), None));
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"hello", &path).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    stop(reactor, &port);
    assert!(path.exists(), "whoever made it removes it");
}

fn an_adopted_pair_talks_without_names(reactor: &Reactor) {
    let (recorder, log) = Recorder::new();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_read_timeout(Some(LIMIT)).unwrap();
    let port = reactor.adopt_unix_datagram(ours, recorder).unwrap();
    let unnamed = unix(UnixAddr::UNNAMED);
    assert_eq!(port.peer_addr(), Some(unnamed.clone()));
    theirs.send(b"hello").unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    assert_eq!(*log.data.borrow(), [(b"hello".to_vec(), unnamed)]);
    port.send(b"answer").unwrap();
    assert_eq!(receive(&theirs), b"answer");
    drop(theirs);
    for count in 1..=3 {
        let gone = port.send(b"anybody?").unwrap_err();
        assert!(matches!(gone, SendError::NoReceiver { .. }), "{gone}");
        until(reactor, "the notice", || log.count("refused") == count);
    }
    assert!(port.is_listening());
}

fn what_is_no_unix_datagram_socket_is_not_adopted(reactor: &Reactor) {
    let others: [OwnedFd; 3] = [
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        std::os::unix::net::UnixStream::pair().unwrap().0.into(),
        fs::File::open("/dev/null").unwrap().into(),
    ];
    for other in others {
        let adopted = reactor.adopt_unix_datagram(other, Recorder::new().0);
        let Err(Error::CannotAdopt { source }) = adopted else {
            panic!("{adopted:?}");
        };
        let not_a_socket = source.raw_os_error() == Some(88);
        assert!(not_a_socket || source.kind() == io::ErrorKind::InvalidInput);
    }
}
