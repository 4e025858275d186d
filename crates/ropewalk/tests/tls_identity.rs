//! Which certificate is shown to whom, over every poller: by name, after a reload, and not at all
//! when a session is resumed.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use ropewalk::tls::rustls::AlertDescription;
use ropewalk::tls::{
    ClientCertificates, Identities, TlsClient, TlsError, TlsInfo, TlsServer, Version,
};
use ropewalk::{Disconnect, ListeningPort, Reactor};
use tcp_support::{Log, Recorder, over_every_poller, until};
use tls_support::{Issued, client, client_builder, issue, localhost, roots, server_builder};

over_every_poller! {
    the_certificate_is_chosen_by_name,
    names_have_no_case,
    a_client_that_asks_for_nobody_gets_the_default,
    a_name_that_nobody_has_is_refused_without_a_default,
    a_reload_counts_for_new_handshakes_only,
    a_reload_that_fails_changes_nothing,
    sessions_are_resumed,
    sessions_of_another_client_are_not_resumed,
    sessions_are_not_resumed_if_the_server_does_not_want_it,
    sessions_are_not_resumed_if_the_client_does_not_want_it,
    a_resumed_session_keeps_the_clients_certificate,
}

fn listen(reactor: &Reactor, tls: &TlsServer) -> ListeningPort {
    let factory = |_| {
        Recorder::new(&Log::new()).hook(|event, transport| {
            if let ("handshake", Some(transport)) = (event, transport) {
                // With it the session tickets have come.
                transport.write(b"!");
            }
        })
    };
    reactor.listen_tls("127.0.0.1:0", tls, factory).unwrap()
}

/// Connects as a client that asks for `name`. Answers what was agreed on, or how it failed.
fn visit(
    reactor: &Reactor,
    port: &ListeningPort,
    tls: &TlsClient,
    name: &str,
) -> Result<TlsInfo, Disconnect> {
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let factory = move |_| recorder.take().unwrap();
    let factory = tls.factory(name, factory).unwrap();
    let address = port.local_addr().to_string();
    reactor.connect_tcp(address, factory).unwrap();
    until(reactor, "an answer", || log.has("data") || log.is_lost());
    if log.is_lost() {
        return Err(log.reason());
    }
    let info = log.transport().tls().unwrap();
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    Ok(info)
}

/// Whether the certificate shown is `issued`'s.
fn shows(info: &TlsInfo, issued: &Issued) -> bool {
    info.peer_certificates.as_deref().unwrap()[..1] == issued.identity().certificates()[..1]
}

fn the_certificate_is_chosen_by_name(reactor: &Reactor) {
    let (exact, any) = (issue(&["a.example"]), issue(&["*.a.example"]));
    let identities = Identities::new(localhost().identity())
        .named("a.example", exact.identity())
        .named("*.a.example", any.identity());
    let port = listen(reactor, &TlsServer::new(identities).unwrap());
    let visit = |name| visit(reactor, &port, &client(), name).unwrap();
    assert!(shows(&visit("a.example"), &exact));
    assert!(shows(&visit("www.a.example"), &any));
    assert!(shows(&visit("localhost"), &localhost()));
}

fn names_have_no_case(reactor: &Reactor) {
    let issued = issue(&["a.example"]);
    let identities = Identities::named_only().named("A.Example", issued.identity());
    let port = listen(reactor, &TlsServer::new(identities).unwrap());
    let info = visit(reactor, &port, &client(), "a.EXAMPLE").unwrap();
    assert!(shows(&info, &issued));
}

fn a_client_that_asks_for_nobody_gets_the_default(reactor: &Reactor) {
    let identities = Identities::new(localhost().identity())
        .named("localhost", issue(&["localhost"]).identity());
    let port = listen(reactor, &TlsServer::new(identities).unwrap());
    let silent = client_builder().sni(false).build().unwrap();
    let info = visit(reactor, &port, &silent, "localhost").unwrap();
    assert!(shows(&info, &localhost()));
    // An address is never asked for.
    let info = visit(reactor, &port, &client(), "127.0.0.1").unwrap();
    assert!(shows(&info, &localhost()));
}

fn a_name_that_nobody_has_is_refused_without_a_default(reactor: &Reactor) {
    let identities = Identities::named_only().named("a.example", localhost().identity());
    let port = listen(reactor, &TlsServer::new(identities).unwrap());
    let reason = visit(reactor, &port, &client(), "localhost").unwrap_err();
    let Disconnect::Tls(TlsError::AlertReceived(alert)) = reason else {
        panic!("{reason}")
    };
    assert_eq!(alert, AlertDescription::AccessDenied);
}

fn a_reload_counts_for_new_handshakes_only(reactor: &Reactor) {
    let tls = server_builder().build().unwrap();
    let port = listen(reactor, &tls);
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let factory = move |_| recorder.take().unwrap();
    let factory = client().factory("localhost", factory).unwrap();
    reactor
        .connect_tcp(port.local_addr().to_string(), factory)
        .unwrap();
    until(reactor, "the first handshake", || log.has("data"));
    let renewed = issue(&["localhost"]);
    tls.reload(renewed.identity()).unwrap();
    let info = visit(reactor, &port, &client(), "localhost").unwrap();
    assert!(shows(&info, &renewed));
    assert!(log.transport().is_connected());
    log.transport().abort_connection();
}

fn a_reload_that_fails_changes_nothing(reactor: &Reactor) {
    let tls = server_builder().build().unwrap();
    let port = listen(reactor, &tls);
    tls.reload(Identities::named_only()).unwrap_err();
    let info = visit(reactor, &port, &client(), "localhost").unwrap();
    assert!(shows(&info, &localhost()));
}

fn resumed(reactor: &Reactor, tls: &TlsServer, clients: [&TlsClient; 2]) -> [bool; 2] {
    let port = listen(reactor, tls);
    clients.map(|tls| visit(reactor, &port, tls, "localhost").unwrap().resumed)
}

fn sessions_are_resumed(reactor: &Reactor) {
    for version in [Version::Tls12, Version::Tls13] {
        let tls = server_builder().versions([version]).build().unwrap();
        let client = client();
        let clients = [&client, &client.clone()];
        assert_eq!(
            resumed(reactor, &tls, clients),
            [false, true],
            "{version:?}"
        );
    }
}

fn sessions_of_another_client_are_not_resumed(reactor: &Reactor) {
    let tls = server_builder().build().unwrap();
    let clients = [&client(), &client()];
    assert_eq!(resumed(reactor, &tls, clients), [false, false]);
}

fn sessions_are_not_resumed_if_the_server_does_not_want_it(reactor: &Reactor) {
    for version in [Version::Tls12, Version::Tls13] {
        let tls = server_builder().versions([version]).resumption(false);
        let (tls, client) = (tls.build().unwrap(), client());
        let clients = [&client, &client];
        assert_eq!(
            resumed(reactor, &tls, clients),
            [false, false],
            "{version:?}"
        );
    }
}

fn sessions_are_not_resumed_if_the_client_does_not_want_it(reactor: &Reactor) {
    let tls = server_builder().build().unwrap();
    let client = client_builder().resumption(false).build().unwrap();
    assert_eq!(resumed(reactor, &tls, [&client, &client]), [false, false]);
}

fn a_resumed_session_keeps_the_clients_certificate(reactor: &Reactor) {
    let clients = ClientCertificates::Required(roots());
    let tls = server_builder().client_certificates(clients);
    let tls = tls.build().unwrap();
    let log = Log::new();
    let heard = std::rc::Rc::clone(&log);
    let factory = move |_| {
        let heard = std::rc::Rc::clone(&heard);
        Recorder::new(&Log::new()).hook(move |event, transport| {
            if let ("handshake", Some(transport)) = (event, transport) {
                let shown = transport.tls().unwrap().peer_certificates.unwrap();
                heard.data.borrow_mut().extend_from_slice(&shown[0]);
                transport.write(b"!");
            }
        })
    };
    let port = reactor.listen_tls("127.0.0.1:0", &tls, factory).unwrap();
    let identity = issue(&["somebody"]).identity();
    let client = client_builder().identity(identity.clone()).build().unwrap();
    for resumed in [false, true] {
        let info = visit(reactor, &port, &client, "localhost").unwrap();
        assert_eq!(info.resumed, resumed);
        assert_eq!(log.data.take(), identity.certificates()[0].as_ref());
    }
}
