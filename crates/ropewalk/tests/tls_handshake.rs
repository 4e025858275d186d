//! Handshakes over every poller: when they are told, what is agreed on, and how they fail.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::io::Write;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk::tls::rustls::AlertDescription;
use ropewalk::tls::{
    CertificateProblem, ClientCertificates, TlsClient, TlsError, TlsServer, Version,
};
use ropewalk::{Disconnect, Reactor};
use tcp_support::{Log, Recorder, over_every_poller, settle, until};
use tls_support::{
    Issued, client, client_builder, connected, issue, issue_with, pair, peer, roots, serve_tls,
    server, server_builder, stranger,
};

over_every_poller! {
    the_handshake_is_told_before_any_data,
    what_is_written_before_the_handshake_follows_it,
    the_handshake_goes_on_while_reading_is_paused,
    data_behind_the_handshake_waits_for_a_callback_that_pauses,
    the_buffer_counts_what_waits_for_the_handshake,
    both_sides_know_what_was_agreed_on,
    protocols_are_agreed_on,
    without_a_common_protocol_the_handshake_fails,
    a_version_may_be_required,
    a_client_is_asked_for_a_certificate,
    a_client_without_the_certificate_required_is_refused,
    a_client_with_a_strangers_certificate_is_refused,
    an_optional_certificate_may_be_missing,
    a_certificate_that_does_not_fit_is_refused,
    any_certificate_is_accepted_on_demand,
    a_silent_client_is_lost_after_the_time_limit,
    a_silent_server_is_lost_after_the_time_limit,
    a_done_handshake_has_no_time_limit,
    configurations_of_rustls_are_taken_as_they_are,
    hosts_are_named_by_the_address,
    a_protocol_that_panics_in_the_handshake_costs_its_connection,
}

fn tls_error(reason: &Disconnect) -> TlsError {
    match reason {
        Disconnect::Tls(error) => error.clone(),
        other => panic!("{other} is no failure of TLS"),
    }
}

/// Connects a client to a server, and answers how both ended.
fn failed(reactor: &Reactor, server: &TlsServer, client: &TlsClient) -> (Disconnect, Disconnect) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = pair(
        reactor,
        (server, Recorder::new(&ours)),
        (client, Recorder::new(&theirs)),
    );
    until(reactor, "both ends", || ours.is_lost() && theirs.is_lost());
    assert!(!ours.has("data") && !theirs.has("data"));
    (ours.reason(), theirs.reason())
}

fn the_handshake_is_told_before_any_data(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    settle(reactor);
    assert_eq!(log.events.borrow().as_slice(), ["made"]);
    peer.tls.writer().write_all(b"with the handshake").unwrap();
    peer.until(reactor, "the data", |_| log.has("data"));
    assert_eq!(
        log.events.borrow().as_slice(),
        ["made", "handshake", "data"]
    );
    assert_eq!(log.data.borrow().as_slice(), b"with the handshake");
}

fn what_is_written_before_the_handshake_follows_it(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let Some(transport) = transport {
            transport.write(event.as_bytes());
        }
    });
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, recorder);
    settle(reactor);
    assert_eq!(tcp_support::receive(&mut peer.socket), b"", "in the clear");
    peer.socket.set_nonblocking(true).unwrap();
    peer.until(reactor, "the data", |peer| {
        peer.received == b"madehandshake"
    });
}

fn the_handshake_goes_on_while_reading_is_paused(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("made", Some(transport)) = (event, transport) {
            transport.pause_producing();
        }
    });
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, recorder);
    peer.tls.writer().write_all(b"data").unwrap();
    peer.until(reactor, "the handshake", |_| log.has("handshake"));
    settle(reactor);
    assert!(log.transport().is_paused() && !log.has("data"));
    peer.send(b" and more");
    settle(reactor);
    assert!(!log.has("data"));
    log.transport().resume_producing();
    until(reactor, "the data", || log.received() == 13);
    assert_eq!(log.data.borrow().as_slice(), b"data and more");
}

fn data_behind_the_handshake_waits_for_a_callback_that_pauses(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("handshake", Some(transport)) = (event, transport) {
            transport.pause_producing();
        }
    });
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, recorder);
    peer.tls.writer().write_all(b"data").unwrap();
    peer.until(reactor, "the handshake", |_| log.has("handshake"));
    settle(reactor);
    assert!(!log.has("data"));
    log.transport().resume_producing();
    until(reactor, "the data", || log.received() == 4);
}

fn the_buffer_counts_what_waits_for_the_handshake(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![1; 50_000]);
    settle(reactor);
    assert_eq!(transport.buffered_len(), 50_000);
    peer.until(reactor, "the data", |peer| peer.received.len() == 50_000);
    assert_eq!(transport.buffered_len(), 0);
}

fn both_sides_know_what_was_agreed_on(reactor: &Reactor) {
    let tls = server_builder().alpn(["h2", "echo"]).build().unwrap();
    let other = client_builder().alpn(["echo"]).build().unwrap();
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&tls, &ours), (&other, &theirs));
    let (ours, theirs) = (ours.transport(), theirs.transport());
    let (server, client) = (ours.tls().unwrap(), theirs.tls().unwrap());
    for side in [&server, &client] {
        assert_eq!(side.version, Some(Version::Tls13));
        assert!(side.cipher_suite.unwrap().starts_with("TLS13_"));
        assert_eq!(side.alpn_protocol.as_deref(), Some(&b"echo"[..]));
        assert_eq!(side.server_name.as_deref(), Some("localhost"));
        assert!(!side.resumed && !side.handshaking);
    }
    assert_eq!(server.peer_certificates, None);
    assert_eq!(client.peer_certificates.unwrap().len(), 1);
}

fn protocols_are_agreed_on(reactor: &Reactor) {
    let tls = server_builder().alpn(["a", "b"]).build().unwrap();
    for (offered, agreed) in [
        (vec!["b"], Some("b")),
        (vec!["b", "a"], Some("a")),
        (vec![], None),
    ] {
        let other = client_builder().alpn(offered).build().unwrap();
        let (ours, theirs) = (Log::new(), Log::new());
        let _port = connected(reactor, (&tls, &ours), (&other, &theirs));
        let protocol = theirs.transport().tls().unwrap().alpn_protocol;
        assert_eq!(protocol.as_deref(), agreed.map(str::as_bytes));
        ours.transport().abort_connection();
        until(reactor, "the end", || theirs.is_lost());
    }
}

fn without_a_common_protocol_the_handshake_fails(reactor: &Reactor) {
    let tls = server_builder().alpn(["h2"]).build().unwrap();
    let other = client_builder().alpn(["echo"]).build().unwrap();
    let (ours, theirs) = failed(reactor, &tls, &other);
    assert!(
        matches!(tls_error(&ours), TlsError::Incompatible(_)),
        "{ours}"
    );
    let alert = TlsError::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(tls_error(&theirs), alert);
}

fn a_version_may_be_required(reactor: &Reactor) {
    let old = client_builder().versions([Version::Tls12]).build().unwrap();
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&old, &theirs));
    let info = ours.transport().tls().unwrap();
    assert_eq!(info.version, Some(Version::Tls12));
    let new = server_builder().versions([Version::Tls13]).build().unwrap();
    let (ours, theirs) = failed(reactor, &new, &old);
    assert!(
        matches!(tls_error(&ours), TlsError::Incompatible(_)),
        "{ours}"
    );
    let alert = TlsError::AlertReceived(AlertDescription::ProtocolVersion);
    assert_eq!(tls_error(&theirs), alert);
}

fn asking(clients: ClientCertificates) -> TlsServer {
    server_builder()
        .client_certificates(clients)
        .build()
        .unwrap()
}

fn with_identity(issued: &Issued) -> TlsClient {
    client_builder()
        .identity(issued.identity())
        .build()
        .unwrap()
}

fn a_client_is_asked_for_a_certificate(reactor: &Reactor) {
    let tls = asking(ClientCertificates::Required(roots()));
    let other = with_identity(&issue(&["somebody"]));
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&tls, &ours), (&other, &theirs));
    let shown = ours.transport().tls().unwrap().peer_certificates;
    assert_eq!(shown.unwrap().len(), 1);
}

fn a_client_without_the_certificate_required_is_refused(reactor: &Reactor) {
    let tls = asking(ClientCertificates::Required(roots()));
    let (ours, theirs) = failed(reactor, &tls, &client());
    let TlsError::Certificate { problem, .. } = tls_error(&ours) else {
        panic!("{ours}")
    };
    assert_eq!(problem, CertificateProblem::Missing);
    let alert = TlsError::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(tls_error(&theirs), alert);
}

fn a_client_with_a_strangers_certificate_is_refused(reactor: &Reactor) {
    for clients in [ClientCertificates::Required, ClientCertificates::Optional] {
        let (ours, _) = failed(
            reactor,
            &asking(clients(roots())),
            &with_identity(&stranger()),
        );
        let TlsError::Certificate { problem, .. } = tls_error(&ours) else {
            panic!("{ours}")
        };
        assert_eq!(problem, CertificateProblem::UnknownIssuer);
    }
}

fn an_optional_certificate_may_be_missing(reactor: &Reactor) {
    let tls = asking(ClientCertificates::Optional(roots()));
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&tls, &ours), (&client(), &theirs));
    assert_eq!(ours.transport().tls().unwrap().peer_certificates, None);
}

fn a_certificate_that_does_not_fit_is_refused(reactor: &Reactor) {
    let expired = issue_with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let early = issue_with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    for (issued, expected) in [
        (expired, CertificateProblem::Expired),
        (early, CertificateProblem::NotYetValid),
        (issue(&["elsewhere"]), CertificateProblem::WrongName),
        (stranger(), CertificateProblem::UnknownIssuer),
    ] {
        let tls = TlsServer::new(issued.identity()).unwrap();
        let (ours, theirs) = failed(reactor, &tls, &client());
        let TlsError::Certificate { problem, .. } = tls_error(&theirs) else {
            panic!("{theirs}")
        };
        assert_eq!(problem, expected);
        // The one who refused told the other why.
        assert!(
            matches!(tls_error(&ours), TlsError::AlertReceived(_)),
            "{ours}"
        );
    }
}

fn any_certificate_is_accepted_on_demand(reactor: &Reactor) {
    let tls = TlsServer::new(stranger().identity()).unwrap();
    let careless = TlsClient::builder().dangerous_accept_any_certificate();
    let careless = careless.build().unwrap();
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&tls, &ours), (&careless, &theirs));
}

fn a_silent_client_is_lost_after_the_time_limit(reactor: &Reactor) {
    let log = Log::new();
    let tls = server_builder().handshake_timeout(Duration::from_millis(10));
    let tls = tls.build().unwrap();
    let (_port, mut peer) = serve_tls(reactor, &tls, &log, Recorder::new(&log));
    until(reactor, "the end", || log.is_lost());
    timed_out(&log);
    assert!(!peer.end(reactor));
}

fn timed_out(log: &Rc<Log>) {
    let Disconnect::Lost(error) = log.reason() else {
        panic!("{}", log.reason())
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("handshake"), "{error}");
}

fn a_silent_server_is_lost_after_the_time_limit(reactor: &Reactor) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = Log::new();
    let tls = client_builder().handshake_timeout(Duration::from_millis(10));
    let tls = tls.build().unwrap();
    let mut recorder = Some(Recorder::new(&log));
    let address = silent.local_addr().unwrap().to_string();
    reactor
        .connect_tls(address, &tls, move |_| recorder.take().unwrap())
        .unwrap();
    until(reactor, "the end", || log.is_lost());
    timed_out(&log);
}

fn a_done_handshake_has_no_time_limit(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn configurations_of_rustls_are_taken_as_they_are(reactor: &Reactor) {
    let tls = TlsServer::from_rustls(Arc::new(peer::server_config()));
    let other = TlsClient::from_rustls(Arc::new(peer::client_config()));
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&tls, &ours), (&other, &theirs));
    ours.transport().write(b"hello");
    until(reactor, "the data", || theirs.received() == 5);
}

fn hosts_are_named_by_the_address(reactor: &Reactor) {
    for host in ["localhost", "127.0.0.1"] {
        let (ours, theirs) = (Log::new(), Log::new());
        let mut recorder = Some(Recorder::new(&ours));
        let port = reactor
            .listen_tls("127.0.0.1:0", &server(), move |_| recorder.take().unwrap())
            .unwrap();
        let number = port.local_addr().ip().unwrap().port();
        let mut recorder = Some(Recorder::new(&theirs));
        reactor
            .connect_tls((host, number), &client(), move |_| recorder.take().unwrap())
            .unwrap();
        until(reactor, host, || {
            theirs.has("handshake") && ours.has("handshake")
        });
        let asked = ours.transport().tls().unwrap().server_name;
        // No name is asked for where there is none.
        assert_eq!(asked.as_deref(), (host == "localhost").then_some(host));
        assert_eq!(theirs.transport().tls().unwrap().server_name.unwrap(), host);
    }
}

fn a_protocol_that_panics_in_the_handshake_costs_its_connection(reactor: &Reactor) {
    let log = Log::new();
    reactor.on_failure(|_| ());
    let recorder = Recorder::new(&log).hook(|event, _| {
        assert!(event != "handshake", "on purpose");
    });
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, recorder);
    assert!(!peer.end(reactor));
    assert!(matches!(log.reason(), Disconnect::Panicked));
    assert_eq!(reactor.delayed_call_count(), 0);
}
