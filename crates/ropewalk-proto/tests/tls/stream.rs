//! The data of both directions, however it is cut.

use std::cell::Cell;

use ropewalk_proto::WriteQueue;
use ropewalk_proto::tls::{Intake, MAX_RECORD, Session};

use crate::support::*;

/// The lengths of the records in `bytes`, headers included.
pub fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let length = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

#[test]
fn a_conversation_of_single_bytes_is_understood() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        client.write(b"question");
        server.write(b"answer");
        loop {
            let (there, back) = (client.send(), server.send());
            if there.is_empty() && back.is_empty() {
                break;
            }
            there.chunks(1).for_each(|byte| server.receive(byte));
            back.chunks(1).for_each(|byte| client.receive(byte));
        }
        assert_eq!((client.handshakes, server.handshakes), (1, 1));
        assert_eq!(server.take_read(), b"question");
        assert_eq!(client.take_read(), b"answer");
    }
}

#[test]
fn a_hello_is_understood_wherever_it_is_split() {
    for version in VERSIONS {
        let config = std::sync::Arc::new(server_config(version));
        let hello = End::client(client_config(version)).send();
        for at in 1..hello.len() {
            let mut server = End::new(Session::server(config.clone()).unwrap());
            server.receive(&hello[..at]);
            assert_eq!(server.session.held(), at);
            assert_eq!(server.session.outgoing(), b"");
            server.receive(&hello[at..]);
            assert_eq!(server.session.held(), 0);
            assert!(!server.session.outgoing().is_empty());
        }
    }
}

#[test]
fn records_are_understood_wherever_they_are_split() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        let mut at = 0;
        loop {
            let mut bytes = Vec::new();
            for piece in [&b"one"[..], b"two", b"three"] {
                client.write(piece);
                bytes.extend(client.send());
            }
            if at > bytes.len() {
                break;
            }
            server.receive(&bytes[..at]);
            server.receive(&bytes[at..]);
            assert_eq!(server.take_read(), b"onetwothree");
            at += 1;
        }
    }
}

#[test]
fn a_megabyte_each_way_survives_random_cuts() {
    for (seed, version) in (1..).zip(VERSIONS) {
        let mut random = Random(seed);
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        let there = random.bytes(1 << 20);
        let back = random.bytes(1 << 20);
        let (mut unsent_there, mut unsent_back) = (&there[..], &back[..]);
        let (mut wire_there, mut wire_back) = (Vec::new(), Vec::new());
        while client.read.len() < back.len() || server.read.len() < there.len() {
            push_some(&mut client, &mut unsent_there, &mut random);
            push_some(&mut server, &mut unsent_back, &mut random);
            wire_there.extend(client.send());
            wire_back.extend(server.send());
            pass_some(&mut wire_there, &mut server, &mut random);
            pass_some(&mut wire_back, &mut client, &mut random);
            assert_eq!((&client.error, &server.error), (&None, &None));
        }
        assert!(server.take_read() == there);
        assert!(client.take_read() == back);
    }
}

fn push_some(end: &mut End, unsent: &mut &[u8], random: &mut Random) {
    let (piece, rest) = unsent.split_at(random.size().min(unsent.len()));
    end.write(piece);
    *unsent = rest;
}

fn pass_some(wire: &mut Vec<u8>, end: &mut End, random: &mut Random) {
    let count = random.size().min(wire.len());
    let bytes: Vec<u8> = wire.drain(..count).collect();
    end.receive(&bytes);
}

#[test]
fn many_small_writes_become_few_full_records() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        for _ in 0..10_000 {
            client.write(b"0123456789");
        }
        let bytes = client.send();
        let lengths = records(&bytes);
        assert_eq!(lengths.len(), 100_000_usize.div_ceil(16_384));
        assert!(lengths[..6].iter().all(|&length| length > 16_384));
        server.receive(&bytes);
        assert!(server.take_read() == b"0123456789".repeat(10_000));
    }
}

#[test]
fn large_and_small_pieces_share_full_records() {
    let (mut client, mut server) = connected(VERSIONS[1]);
    let mut all = Vec::new();
    for i in 0..200_u8 {
        // Kept as they are, each with a copied one behind it.
        for length in [1025, 1] {
            let piece = vec![i; length];
            client.write(&piece);
            all.extend(piece);
        }
    }
    let bytes = client.send();
    assert_eq!(records(&bytes).len(), all.len().div_ceil(16_384));
    server.receive(&bytes);
    assert!(server.take_read() == all);
}

#[test]
fn sealing_stops_one_record_above_its_limit() {
    let (mut client, _) = connected(VERSIONS[1]);
    client.write(&vec![7; 1 << 20]);
    let limit = 100_000;
    let mut released = |_| panic!("the chunk is not done with");
    for _ in 0..3 {
        client
            .session
            .seal(&mut client.queue, limit, &mut released)
            .unwrap();
        let unsent = client.session.outgoing().len();
        assert!((limit..limit + MAX_RECORD).contains(&unsent), "{unsent}");
    }
    assert_eq!((1 << 20) - client.queue.len(), 7 * 16_384);
}

#[test]
fn sealed_chunks_are_handed_back() {
    let (mut client, _) = connected(VERSIONS[1]);
    client.write(&[1; 5000]);
    client.write(&[2; 6000]);
    let released = Cell::new(0);
    let sealed = client
        .session
        .seal(&mut client.queue, 1 << 20, &mut |chunk: Vec<u8>| {
            released.set(released.get() + chunk.len());
        });
    assert_eq!(sealed, Ok(11_000));
    assert_eq!(released.get(), 11_000);
}

#[test]
fn what_is_sent_in_parts_stays_in_order() {
    let (mut client, mut server) = connected(VERSIONS[1]);
    let mut spare = Vec::new();
    for round in 0..20_u8 {
        client.write(&[round; 100]);
        client
            .session
            .seal(&mut client.queue, 1 << 20, &mut drop)
            .unwrap();
        let part = client.session.outgoing()[..77].to_vec();
        client.session.advance(part.len(), &mut spare);
        server.receive(&part);
    }
    let rest = client.send();
    server.receive(&rest);
    let expected: Vec<u8> = (0..20).flat_map(|round| [round; 100]).collect();
    assert_eq!(server.take_read(), expected);
}

#[test]
fn the_memory_of_what_was_sent_goes_round() {
    let (client, _) = connected(VERSIONS[1]);
    let mut session = client.session;
    let mut queue = WriteQueue::<Vec<u8>>::new();
    let mut spare = Vec::with_capacity(4096);
    let place = spare.as_ptr();
    for _ in 0..3 {
        queue.push(vec![1; 100]);
        session.lend(&mut spare);
        assert_eq!(spare.capacity(), 0);
        session.seal(&mut queue, 1 << 20, &mut drop).unwrap();
        assert_eq!(session.outgoing().as_ptr(), place);
        session.advance(session.outgoing().len(), &mut spare);
        assert_eq!((spare.as_ptr(), spare.len()), (place, 0));
    }
}

#[test]
fn a_huge_output_leaves_no_huge_spare() {
    let (client, _) = connected(VERSIONS[1]);
    let mut session = client.session;
    let mut queue = WriteQueue::<Vec<u8>>::new();
    let mut spare = Vec::new();
    queue.push(vec![1; 2 * Session::SPARE_LIMIT]);
    session.seal(&mut queue, usize::MAX / 2, &mut drop).unwrap();
    session.advance(session.outgoing().len(), &mut spare);
    assert_eq!(spare.capacity(), 0);
}

#[test]
#[should_panic(expected = "more was sent")]
fn more_than_there_is_cannot_be_sent() {
    let mut client = End::client(client_config(VERSIONS[1]));
    let length = client.session.outgoing().len();
    client.session.advance(length + 1, &mut Vec::new());
}

#[test]
fn a_program_that_does_not_read_gets_its_handshake_and_its_data_later() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        server.intake = Intake::Handshake;
        client.write(b"first");
        settle(&mut client, &mut server);
        client.write(b"second");
        settle(&mut client, &mut server);
        assert_eq!(server.handshakes, 1);
        assert_eq!(server.read, b"");
        assert!(server.session.has_pending());
        // What it writes goes out all the same.
        server.write(b"answer");
        settle(&mut client, &mut server);
        assert_eq!(client.take_read(), b"answer");

        server.intake = Intake::All;
        server.process_pending();
        assert_eq!(server.read, b"firstsecond");
        assert!(!server.session.has_pending());
        assert_eq!(server.session.held(), 0);
    }
}

#[test]
fn a_buffer_full_of_held_data_has_no_room_and_loses_nothing() {
    let (mut client, mut server) = connected(VERSIONS[1]);
    let data = Random(5).bytes(200_000);
    client.write(&data);
    let bytes = client.send();
    server.intake = Intake::Handshake;
    server.receive(&bytes[..64 * 1024]);
    let mut buffer = vec![0; 64 * 1024];
    assert_eq!(server.session.begin_read(&mut buffer), buffer.len());
    server.intake = Intake::All;
    server.process_pending();
    server.receive(&bytes[64 * 1024..]);
    assert!(server.take_read() == data);
}
