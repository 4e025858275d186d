//! TLS with real peers, over every poller: curl, and OpenSSL in both roles.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[path = "tls_support/openssl.rs"]
mod openssl;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::process::Command;

use openssl::Files;
use ropewalk::tls::{
    CertificateProblem, ClientCertificates, TlsClient, TlsError, TlsInfo, TlsServer,
};
use ropewalk::{Disconnect, ListeningPort, Protocol, Reactor, Transport};
use tcp_support::{Log, Recorder, over_every_poller, until};
use tls_support::{client, client_builder, issue, roots, server, server_builder, stranger};

over_every_poller! {
    curl_fetches_a_page,
    curl_fetches_a_large_page_by_http_1_1,
    curl_refuses_a_strangers_certificate,
    s_client_talks_with_every_version,
    s_client_resumes_a_session,
    s_client_reconnects_with_the_same_session,
    s_client_agrees_on_a_protocol,
    s_client_shows_a_certificate,
    s_client_goes_over_to_tls_by_starttls,
    s_client_updates_its_keys,
    s_server_talks_with_every_version,
    s_server_resumes_a_session,
    s_server_asks_for_a_certificate,
    s_server_agrees_on_a_protocol,
    s_server_with_a_strangers_certificate_is_refused,
}

const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

/// Answers every request with `length` bytes, and closes.
struct Page(usize);

impl Protocol for Page {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if !data.ends_with(b"\r\n\r\n") {
            return;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.0);
        transport.write(head.as_bytes());
        transport.write_bytes(vec![b'p'; self.0]);
        transport.lose_connection();
    }
}

/// Answers a line with what was agreed on, and closes; knows STARTTLS.
struct Lines(Option<TlsServer>);

impl Protocol for Lines {
    fn connection_made(&mut self, transport: &Transport) {
        if self.0.is_some() {
            transport.write(b"220 a test\r\n");
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        match (data, transport.tls(), &self.0) {
            (b"STARTTLS\r\n", None, Some(tls)) => {
                transport.write(b"220 go on\r\n");
                transport.start_tls_server(tls).unwrap();
            }
            (_, None, _) if data.starts_with(b"EHLO") => {
                transport.write(b"250-a test\r\n250 STARTTLS\r\n");
            }
            (_, Some(info), _) => {
                let line = describe(&info);
                transport.write(line.as_bytes());
                transport.lose_connection();
            }
            _ => transport.abort_connection(),
        }
    }
}

fn describe(info: &TlsInfo) -> String {
    let shown = info.peer_certificates.as_ref().map_or(0, Vec::len);
    let name = info.server_name.as_deref().unwrap_or("nobody");
    format!("answer: {name} {shown} {:?}\n", info.version)
}

fn lines(reactor: &Reactor, tls: &TlsServer) -> ListeningPort {
    reactor
        .listen_tls("127.0.0.1:0", tls, |_| Lines(None))
        .unwrap()
}

fn curl(files: &Files, port: &ListeningPort, arguments: &[&str]) -> Command {
    let number = port.local_addr().ip().unwrap().port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]);
    command.args(["--cacert", &files.path("roots.pem")]);
    command.args(["--resolve", &format!("localhost:{number}:127.0.0.1")]);
    command.args(arguments);
    command.arg(format!("https://localhost:{number}/"));
    command
}

fn curl_fetches_a_page(reactor: &Reactor) {
    let files = Files::new();
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), |_| Page(10))
        .unwrap();
    let outcome = files.run(reactor, curl(&files, &port, &[]), "");
    assert!(outcome.success, "{outcome:?}");
    assert_eq!(outcome.output, "pppppppppp");
}

fn curl_fetches_a_large_page_by_http_1_1(reactor: &Reactor) {
    let files = Files::new();
    let tls = server_builder().alpn(["http/1.1"]).build().unwrap();
    let port = reactor
        .listen_tls("127.0.0.1:0", &tls, |_| Page(5_000_000))
        .unwrap();
    let outcome = files.run(reactor, curl(&files, &port, &["--http1.1"]), "");
    assert!(outcome.success, "{}", outcome.errors);
    assert_eq!(outcome.output.len(), 5_000_000);
}

fn curl_refuses_a_strangers_certificate(reactor: &Reactor) {
    let files = Files::new();
    let tls = TlsServer::new(stranger().identity()).unwrap();
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let port = reactor
        .listen_tls("127.0.0.1:0", &tls, move |_| recorder.take().unwrap())
        .unwrap();
    let outcome = files.run(reactor, curl(&files, &port, &[]), "");
    assert!(!outcome.success);
    until(reactor, "the end", || log.is_lost());
    let alerted = matches!(log.reason(), Disconnect::Tls(TlsError::AlertReceived(_)));
    assert!(alerted, "{}", log.reason());
}

fn s_client_talks_with_every_version(reactor: &Reactor) {
    let files = Files::new();
    let port = lines(reactor, &server());
    for (option, name) in VERSIONS {
        let command = files.s_client(&port, &[option, "-ign_eof"]);
        let outcome = files.run(reactor, command, "hello\n");
        assert!(outcome.success, "{outcome:?}");
        assert!(
            outcome.output.contains("answer: localhost 0"),
            "{outcome:?}"
        );
        assert!(outcome.output.contains(name), "{outcome:?}");
    }
}

fn s_client_resumes_a_session(reactor: &Reactor) {
    let files = Files::new();
    let port = lines(reactor, &server());
    let session = files.path("session");
    for (option, _) in VERSIONS {
        let first = files.s_client(&port, &[option, "-ign_eof", "-sess_out", &session]);
        let outcome = files.run(reactor, first, "hello\n");
        assert!(outcome.output.contains("New, "), "{outcome:?}");
        let second = files.s_client(&port, &[option, "-ign_eof", "-sess_in", &session]);
        let outcome = files.run(reactor, second, "hello\n");
        assert!(outcome.output.contains("Reused, "), "{outcome:?}");
    }
}

fn s_client_reconnects_with_the_same_session(reactor: &Reactor) {
    let files = Files::new();
    let port = lines(reactor, &server());
    let command = files.s_client(&port, &["-tls1_2", "-reconnect", "-ign_eof"]);
    let outcome = files.run(reactor, command, "hello\n");
    assert_eq!(outcome.output.matches("New, ").count(), 1, "{outcome:?}");
    assert_eq!(outcome.output.matches("Reused, ").count(), 5, "{outcome:?}");
    assert!(outcome.output.contains("answer: "), "{outcome:?}");
}

fn s_client_agrees_on_a_protocol(reactor: &Reactor) {
    let files = Files::new();
    let port = lines(reactor, &server_builder().alpn(["echo"]).build().unwrap());
    let command = files.s_client(&port, &["-alpn", "h2,echo", "-ign_eof"]);
    let outcome = files.run(reactor, command, "hello\n");
    assert!(
        outcome.output.contains("ALPN protocol: echo"),
        "{outcome:?}"
    );
}

fn s_client_shows_a_certificate(reactor: &Reactor) {
    let files = Files::new();
    files.add("client", &issue(&["somebody"]));
    let clients = ClientCertificates::Required(roots());
    let tls = server_builder().client_certificates(clients);
    let port = lines(reactor, &tls.build().unwrap());
    let (certificate, key) = (files.path("client.pem"), files.path("client.key"));
    for (option, _) in VERSIONS {
        let shown = ["-cert", &certificate, "-key", &key, option, "-ign_eof"];
        let command = files.s_client(&port, &shown);
        let outcome = files.run(reactor, command, "hello\n");
        let shown = outcome.output.contains("answer: localhost 2");
        assert!(shown, "its own and the authority's: {outcome:?}");
        let command = files.s_client(&port, &[option, "-ign_eof"]);
        let outcome = files.run(reactor, command, "hello\n");
        assert!(!outcome.output.contains("answer: "), "{outcome:?}");
    }
}

fn s_client_goes_over_to_tls_by_starttls(reactor: &Reactor) {
    let files = Files::new();
    let tls = server();
    let port = reactor
        .listen_tcp("127.0.0.1:0", move |_| Lines(Some(tls.clone())))
        .unwrap();
    let command = files.s_client(&port, &["-starttls", "smtp", "-ign_eof"]);
    let outcome = files.run(reactor, command, "hello\n");
    assert!(
        outcome.output.contains("answer: localhost 0"),
        "{outcome:?}"
    );
}

fn s_client_updates_its_keys(reactor: &Reactor) {
    let files = Files::new();
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), move |_| recorder.take().unwrap())
        .unwrap();
    // "K" has it update its keys, and ask for this side's; then comes its close_notify.
    let outcome = files.run(reactor, files.s_client(&port, &["-tls1_3"]), "K\n");
    assert!(outcome.errors.contains("KEYUPDATE"), "{outcome:?}");
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}

/// Sends a line to a server that answers it reversed. Answers what was agreed on.
fn visit(
    reactor: &Reactor,
    server: &openssl::Server,
    tls: &TlsClient,
) -> Result<TlsInfo, Disconnect> {
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let factory = move |_| recorder.take().unwrap();
    let factory = tls.factory("localhost", factory).unwrap();
    reactor.connect_tcp(server.address, factory).unwrap();
    until(reactor, "the handshake", || {
        log.has("handshake") || log.is_lost()
    });
    if !log.is_lost() {
        log.transport().write(b"rope\n");
    }
    until(reactor, "an answer", || {
        log.received() == 5 || log.is_lost()
    });
    if log.is_lost() {
        return Err(log.reason());
    }
    assert_eq!(log.data.borrow().as_slice(), b"epor\n");
    let info = log.transport().tls().unwrap();
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
    Ok(info)
}

fn s_server_talks_with_every_version(reactor: &Reactor) {
    let files = Files::new();
    for (option, name) in VERSIONS {
        let server = files.s_server(&["-rev", option]);
        let info = visit(reactor, &server, &client()).unwrap();
        let spoken = format!("{:?}", info.version.unwrap()).replace("Tls1", "TLSv1.");
        assert_eq!(spoken, name);
    }
}

fn s_server_resumes_a_session(reactor: &Reactor) {
    let files = Files::new();
    for (option, _) in VERSIONS {
        let server = files.s_server(&["-rev", option]);
        let tls = client();
        assert!(!visit(reactor, &server, &tls).unwrap().resumed, "{option}");
        assert!(visit(reactor, &server, &tls).unwrap().resumed, "{option}");
    }
}

fn s_server_asks_for_a_certificate(reactor: &Reactor) {
    let files = Files::new();
    let authority = files.path("roots.pem");
    for (option, _) in VERSIONS {
        let asking = ["-rev", option, "-Verify", "1", "-CAfile", &authority];
        let asking = [&asking[..], &["-verify_return_error"]].concat();
        let server = files.s_server(&asking);
        let identity = issue(&["somebody"]).identity();
        let known = client_builder().identity(identity).build().unwrap();
        visit(reactor, &server, &known).unwrap();
        let reason = visit(reactor, &server, &client()).unwrap_err();
        let alerted = matches!(reason, Disconnect::Tls(TlsError::AlertReceived(_)));
        assert!(alerted, "{option}: {reason}");
    }
}

fn s_server_agrees_on_a_protocol(reactor: &Reactor) {
    let files = Files::new();
    let server = files.s_server(&["-rev", "-alpn", "echo"]);
    let tls = client_builder().alpn(["h2", "echo"]).build().unwrap();
    let info = visit(reactor, &server, &tls).unwrap();
    assert_eq!(info.alpn_protocol.as_deref(), Some(&b"echo"[..]));
}

fn s_server_with_a_strangers_certificate_is_refused(reactor: &Reactor) {
    let files = Files::new();
    files.add("server", &stranger());
    let server = files.s_server(&["-rev"]);
    let reason = visit(reactor, &server, &client()).unwrap_err();
    let Disconnect::Tls(TlsError::Certificate { problem, .. }) = reason else {
        panic!("{reason}")
    };
    assert_eq!(problem, CertificateProblem::UnknownIssuer);
}
