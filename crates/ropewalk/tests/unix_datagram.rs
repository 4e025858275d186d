//! UNIX datagrams, over every poller: addresses and their files, peers, and sockets made elsewhere.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_support;

use std::cell::OnceCell;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use ropewalk::{
    AddressFault, ConnectErrorKind, DatagramProtocol, DatagramTransport, Disconnect, Error,
    NetAddr, Reactor, SendError, UnixAddr, UnixDatagramOptions,
};
use tcp_support::{LIMIT, over_every_poller, settle, until};
use udp_support::{Log, Recorder, stop};
use unix_support::{Directory, abstract_name, has};

over_every_poller! {
    a_datagram_arrives_whole_and_names_its_sender,
    a_sender_without_a_name_cannot_be_answered,
    senders_are_told_apart,
    a_path_lives_as_long_as_its_socket,
    a_socket_that_goes_with_its_reactor_leaves_no_path,
    the_mode_is_set,
    a_path_in_use_is_refused,
    a_lock_recovers_what_a_killed_process_left,
    what_has_taken_the_place_of_the_path_is_left_alone,
    what_no_socket_can_be_named_is_refused,
    an_abstract_name_needs_no_file,
    no_name_has_the_system_choose_one,
    every_size_arrives,
    what_is_too_long_is_passed_over,
    one_readiness_is_bounded,
    a_paused_socket_hears_nothing,
    a_connected_socket_is_answered_at_its_own_address,
    a_connected_socket_hears_its_peer_only,
    a_connection_that_cannot_be_made_leaves_nothing,
    a_socket_may_connect_later,
    an_adopted_socket_receives_and_leaves_its_path,
    an_adopted_pair_talks_without_names,
    what_is_no_unix_datagram_socket_is_not_adopted,
    groups_are_none_of_it,
    socat_sends_and_is_answered,
    socat_receives_by_abstract_name,
}

fn listen(reactor: &Reactor, address: impl Into<UnixAddr>) -> (DatagramTransport, Rc<Log>) {
    let (recorder, log) = Recorder::new();
    (
        reactor.listen_unix_datagram(address, recorder).unwrap(),
        log,
    )
}

/// A socket of the program's peer, bound to `path`.
fn peer(path: &Path) -> UnixDatagram {
    let peer = UnixDatagram::bind(path).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer
}

fn receive(peer: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 300_000];
    let length = peer.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn unix(address: impl Into<UnixAddr>) -> NetAddr {
    address.into().into()
}

fn a_datagram_arrives_whole_and_names_its_sender(reactor: &Reactor) {
    let directory = Directory::new();
    let (ours, theirs) = (directory.join("ours"), directory.join("theirs"));
    let (port, log) = listen(reactor, &ours);
    assert_eq!((port.local_addr(), port.peer_addr()), (unix(&ours), None));
    let client = peer(&theirs);
    client.send_to(b"hello", &ours).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    assert_eq!(*log.data.borrow(), [(b"hello".to_vec(), unix(&theirs))]);
    let from = log.data.borrow()[0].1.clone();
    port.send_to(b"answer", from).unwrap();
    // No turn was made.
    assert_eq!(receive(&client), b"answer");
    assert_eq!(log.notices(), ["started"]);
}

fn a_sender_without_a_name_cannot_be_answered(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"hello", &path).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let from = log.data.borrow()[0].1.clone();
    assert_eq!(from, unix(UnixAddr::UNNAMED));
    let refused = port.send_to(b"answer", from).unwrap_err();
    assert!(
        matches!(&refused, SendError::BadAddress { fault, .. } if *fault == AddressFault::Unnamed),
        "{refused}"
    );
}

fn senders_are_told_apart(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (_port, log) = listen(reactor, &path);
    let peers: Vec<_> = (0..3)
        .map(|number| peer(&directory.join(&format!("peer {number}"))))
        .collect();
    for round in 0..3 {
        for (number, peer) in peers.iter().enumerate() {
            peer.send_to(&[number as u8], &path).unwrap();
            peer.send_to(&[number as u8], &path).unwrap();
        }
        until(reactor, "the datagrams", || {
            log.received() == 6 * (round + 1)
        });
    }
    for (data, from) in &*log.data.borrow() {
        assert_eq!(*from, unix(directory.join(&format!("peer {}", data[0]))));
    }
}

fn a_path_lives_as_long_as_its_socket(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    let stopped = port.stop_listening();
    assert!(path.exists(), "closed in a later step");
    until(reactor, "the end", || stopped.is_ready());
    directory.assert_empty();
    assert_eq!(port.local_addr(), unix(&path), "stays");
    assert!(matches!(log.reason(), Disconnect::Done));
    assert!(matches!(
        port.send_to(b"x", UnixAddr::from(&path)),
        Err(SendError::Closed)
    ));
    stop(reactor, &listen(reactor, &path).0);
    directory.assert_empty();
}

fn a_socket_that_goes_with_its_reactor_leaves_no_path(reactor: &Reactor) {
    let directory = Directory::new();
    let other = variant::Variant::alone(reactor.poller_kind()).builder();
    let other = other.signals(false).build().unwrap();
    let (port, _log) = listen(&other, directory.join("port"));
    drop(other);
    assert!(!port.is_listening());
    directory.assert_empty();
    let (kept, log) = listen(reactor, directory.join("kept"));
    reactor.disconnect_all();
    assert!(!kept.is_listening() && log.has("stopped"));
    directory.assert_empty();
}

fn the_mode_is_set(reactor: &Reactor) {
    let directory = Directory::new();
    for mode in [0o600, 0o666, 0o700] {
        let path = directory.join(&format!("{mode:o}"));
        let options = UnixDatagramOptions::new().mode(mode);
        let (recorder, _log) = Recorder::new();
        let port = reactor.listen_unix_datagram_with(&path, options, recorder);
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        stop(reactor, &port.unwrap());
    }
    directory.assert_empty();
}

fn refused(reactor: &Reactor, address: impl Into<UnixAddr>) -> io::Error {
    let address = address.into();
    match reactor.listen_unix_datagram(address.clone(), Recorder::new().0) {
        Err(Error::CannotListen { addr, source }) => {
            assert_eq!(addr, unix(address));
            source
        }
        other => panic!("{other:?}"),
    }
}

fn a_path_in_use_is_refused(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    drop(UnixDatagram::bind(&path).unwrap());
    let error = refused(reactor, &path);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(path.exists(), "not ours to remove");
}

fn a_lock_recovers_what_a_killed_process_left(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    // The number of a process that has ended.
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    drop(UnixDatagram::bind(&path).unwrap());
    std::os::unix::fs::symlink(child.id().to_string(), directory.join("port.lock")).unwrap();
    let options = UnixDatagramOptions::new().lock(true);
    let listen = || reactor.listen_unix_datagram_with(&path, options, Recorder::new().0);
    let port = listen().unwrap();
    assert!(path.exists());
    let Err(Error::CannotListen { source, .. }) = listen() else {
        panic!("it is locked");
    };
    assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
    stop(reactor, &port);
    directory.assert_empty();
}

fn what_has_taken_the_place_of_the_path_is_left_alone(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (first, _log) = listen(reactor, &path);
    fs::remove_file(&path).unwrap();
    let (_second, log) = listen(reactor, &path);
    stop(reactor, &first);
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"hello", &path).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}

fn what_no_socket_can_be_named_is_refused(reactor: &Reactor) {
    for name in [
        "/x".repeat(100),
        "/tmp/a\0b".to_owned(),
        format!("\0{}", "x".repeat(200)),
    ] {
        let error = refused(reactor, &name);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    let nowhere = Directory::new().join("no/such/port");
    assert_eq!(refused(reactor, nowhere).kind(), io::ErrorKind::NotFound);
    let long = reactor.connect_unix_datagram("/x".repeat(100), Recorder::new().0);
    let Err(Error::Connect(error)) = long else {
        panic!("{long:?}");
    };
    let kind = error.io_error().unwrap().kind();
    assert_eq!(kind, io::ErrorKind::InvalidInput);
    let (port, _log) = listen(reactor, format!("\0{}", abstract_name()));
    let long = UnixAddr::from("/x".repeat(100));
    let refused = port.send_to(b"x", long).unwrap_err();
    assert!(matches!(refused, SendError::BadAddress { .. }), "{refused}");
}

fn an_abstract_name_needs_no_file(reactor: &Reactor) {
    let name = UnixAddr::abstract_name(abstract_name());
    let (port, log) = listen(reactor, name.clone());
    let (client, heard) = listen(reactor, UnixAddr::abstract_name(abstract_name()));
    client.send_to(b"hello", name.clone()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let from = log.data.borrow()[0].1.clone();
    assert_eq!(from, client.local_addr());
    port.send_to(b"answer", from).unwrap();
    until(reactor, "the answer", || heard.received() == 1);
    let error = refused(reactor, name);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

fn no_name_has_the_system_choose_one(reactor: &Reactor) {
    let (port, log) = listen(reactor, UnixAddr::UNNAMED);
    let local = port.local_addr();
    assert!(
        local.unix().unwrap().as_abstract_name().is_some(),
        "{local}"
    );
    port.send_to(b"to myself", local).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}

fn every_size_arrives(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    let client = peer(&directory.join("client"));
    // Linux keeps 32 bytes of the buffer to itself.
    let most = 212_992 - 32;
    for (count, size) in [0, 1, 2, 65_535, 65_536, 65_600, 131_072, most]
        .into_iter()
        .enumerate()
    {
        let sent: Vec<u8> = (0..size).map(|number: u32| number as u8).collect();
        client.send_to(&sent, &path).unwrap();
        until(reactor, "a datagram", || log.received() == count + 1);
        assert_eq!(log.data.borrow()[count].0, sent);
        port.send_to(&sent, unix(directory.join("client"))).unwrap();
        assert_eq!(receive(&client), sent);
    }
    for size in [most + 1, 212_993, 1 << 20, 2 << 20] {
        let long = vec![0; size as usize];
        let refused = port.send_to(&long, unix(&path)).unwrap_err();
        assert!(
            matches!(refused, SendError::TooLong { size: told } if told == long.len()),
            "{size}: {refused}"
        );
    }
}

fn what_is_too_long_is_passed_over(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (recorder, log) = Recorder::new();
    let options = UnixDatagramOptions::new().max_datagram(1000);
    let port = reactor
        .listen_unix_datagram_with(&path, options, recorder)
        .unwrap();
    let client = UnixDatagram::unbound().unwrap();
    for size in [1001, 212_960, 1000] {
        client.send_to(&vec![1; size], &path).unwrap();
        // The sender's buffer holds but one of the long ones.
        settle(reactor);
    }
    until(reactor, "a datagram", || log.received() > 0);
    settle(reactor);
    assert_eq!((log.received(), log.data.borrow()[0].0.len()), (1, 1000));
    let refused = port.send_to(&[0; 1001], unix(&path)).unwrap_err();
    assert!(matches!(refused, SendError::TooLong { size: 1001 }));
}

fn one_readiness_is_bounded(reactor: &Reactor) {
    let directory = Directory::new();
    let paths = [directory.join("busy"), directory.join("other")];
    let ports = paths.each_ref().map(|path| listen(reactor, path));
    let client = UnixDatagram::unbound().unwrap();
    client.set_nonblocking(true).unwrap();
    // The busy port is refilled whenever the other is heard of: it keeps nobody from that.
    for round in 1..50 {
        while client.send_to(b"busy", &paths[0]).is_ok() {}
        client.send_to(b"other", &paths[1]).unwrap();
        until(reactor, "the other port", || ports[1].1.received() == round);
    }
    assert!(ports[0].1.received() > 0);
}

fn a_paused_socket_hears_nothing(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    port.pause_receiving();
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"one", &path).unwrap();
    settle(reactor);
    assert_eq!(log.received(), 0);
    port.resume_receiving();
    until(reactor, "the datagram", || log.received() == 1);
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

fn groups_are_none_of_it(reactor: &Reactor) {
    let (port, _) = listen(reactor, UnixAddr::UNNAMED);
    let group = "224.0.0.251".parse().unwrap();
    let joined = port.join_group(group, ropewalk::Interface::Any);
    assert_eq!(joined.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    port.multicast_hops().unwrap_err();
}

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        transport.send_to(data, from).unwrap();
    }
}

fn socat(arguments: &[&str]) -> Child {
    Command::new("socat")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn socat_sends_and_is_answered(reactor: &Reactor) {
    if !has("socat") {
        return;
    }
    let directory = Directory::new();
    let path = directory.join("port");
    reactor.listen_unix_datagram(&path, Echo).unwrap();
    let own = directory.join("socat");
    let to = format!("UNIX-SENDTO:{},bind={}", path.display(), own.display());
    let mut socat = socat(&["-", &to]);
    let (mut input, mut output) = (socat.stdin.take().unwrap(), socat.stdout.take().unwrap());
    let talker = std::thread::spawn(move || {
        input.write_all(b"hello from socat").unwrap();
        let mut answer = [0; 16];
        output.read_exact(&mut answer).unwrap();
        answer
    });
    until(reactor, "the answer", || talker.is_finished());
    assert_eq!(talker.join().unwrap(), *b"hello from socat");
    socat.kill().unwrap();
    socat.wait().unwrap();
}

fn socat_receives_by_abstract_name(reactor: &Reactor) {
    if !has("socat") {
        return;
    }
    let (name, own) = (abstract_name(), abstract_name());
    let mut socat = socat(&[&format!("ABSTRACT-RECVFROM:{name}"), "PIPE"]);
    let to = UnixAddr::abstract_name(name);
    let connected = OnceCell::new();
    until(reactor, "socat", || {
        let (recorder, log) = Recorder::new();
        let (to, own) = (to.clone(), UnixAddr::abstract_name(&own));
        let options = UnixDatagramOptions::new();
        let transport = reactor.connect_unix_datagram_with(to, own, options, recorder);
        transport.is_ok_and(|transport| connected.set((transport, log)).is_ok())
    });
    let (transport, log) = connected.into_inner().unwrap();
    transport.send(b"hello to socat").unwrap();
    until(reactor, "the answer", || log.received() == 1);
    assert_eq!(log.data.borrow()[0].0, b"hello to socat");
    socat.kill().unwrap();
    socat.wait().unwrap();
}
