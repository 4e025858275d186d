//! UNIX datagrams that arrive, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_datagram_support;
mod unix_support;

use std::cell::OnceCell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use ropewalk::{
    AddressFault, DatagramProtocol, DatagramTransport, NetAddr, Reactor, SendError, UnixAddr,
    UnixDatagramOptions,
};
use tcp_support::{over_every_poller, settle, until};
use udp_support::Recorder;
use unix_datagram_support::{listen, peer, receive, unix};
use unix_support::{Directory, abstract_name, has};

over_every_poller! {
    a_datagram_arrives_whole_and_names_its_sender,
    a_sender_without_a_name_cannot_be_answered,
    senders_are_told_apart,
    every_size_arrives,
    what_is_too_long_is_passed_over,
    one_readiness_is_bounded,
    a_paused_socket_hears_nothing,
    groups_are_none_of_it,
    socat_sends_and_is_answered,
    socat_receives_by_abstract_name,
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
