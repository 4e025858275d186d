//! HTTP over TLS with real clients, over every poller: both versions, as ALPN has it, and many
//! connections at once.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[path = "tls_support/openssl.rs"]
mod openssl;
#[path = "tls_support/site.rs"]
mod site;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use openssl::{Files, Outcome};
use ropewalk::{ListenOptions, ListeningPort, Reactor};
use site::{Served, Site};
use tcp_support::{over_every_poller, until};
use tls_support::server_builder;

over_every_poller! {
    curl_fetches_by_http_2,
    curl_fetches_by_http_1_1,
    curl_sends_a_body_by_http_2,
    curl_fetches_many_pages_over_one_connection,
    a_client_that_offers_nothing_speaks_http_1_1,
    s_client_agrees_on_http_2_first,
    wrk_finds_two_hundred_connections_served,
}

/// A server of both versions.
fn serve(reactor: &Reactor) -> (ListeningPort, Rc<Served>) {
    let tls = server_builder().alpn(["h2", "http/1.1"]).build().unwrap();
    let served = Rc::<Served>::default();
    let (handle, counts) = (reactor.clone(), Rc::clone(&served));
    let factory = tls.factory(move |_| Site::new(&handle, &counts));
    // So that no client of a crowd has to ask again, after a second.
    let options = ListenOptions::new().backlog(400);
    let port = reactor.listen_tcp_with("127.0.0.1:0", options, factory);
    (port.unwrap(), served)
}

fn number(port: &ListeningPort) -> u16 {
    port.local_addr().ip().unwrap().port()
}

/// Runs curl for `path`. Its last line is what [`SAYS`] has it say of each page.
fn curl(reactor: &Reactor, port: &ListeningPort, path: &str, arguments: &[&str]) -> Outcome {
    let files = Files::new();
    let number = number(port);
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]);
    command.args(["--cacert", &files.path("roots.pem")]);
    command.args(["--resolve", &format!("localhost:{number}:127.0.0.1")]);
    command.args(["--write-out", SAYS]);
    command.args(arguments);
    command.arg(format!("https://localhost:{number}/{path}"));
    let outcome = files.run(reactor, command, "");
    assert!(outcome.success, "{}", outcome.errors);
    outcome
}

/// The version, the status, and how long the page was.
const SAYS: &str = "\n%{http_version} %{response_code} %{size_download}\n";

fn last_line(outcome: &Outcome) -> &str {
    outcome.output.lines().last().unwrap()
}

fn until_all_ended(reactor: &Reactor, served: &Served) {
    until(reactor, "the ends", || served.open.get() == 0);
}

fn curl_fetches_by_http_2(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    for length in [0, 1, 5_000_000] {
        let outcome = curl(reactor, &port, &length.to_string(), &["--http2"]);
        assert_eq!(last_line(&outcome), format!("2 200 {length}"));
    }
    assert_eq!((served.http_1.get(), served.http_2.get()), (0, 3));
    until_all_ended(reactor, &served);
}

fn curl_fetches_by_http_1_1(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    let outcome = curl(reactor, &port, "5000000", &["--http1.1"]);
    assert_eq!(last_line(&outcome), "1.1 200 5000000");
    assert_eq!((served.http_1.get(), served.http_2.get()), (1, 0));
    until_all_ended(reactor, &served);
}

fn curl_sends_a_body_by_http_2(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    let files = Files::new();
    let body = files.path("body");
    std::fs::write(&body, "body".repeat(500_000)).unwrap();
    let body = format!("@{body}");
    let outcome = curl(reactor, &port, "9", &["--http2", "--data-binary", &body]);
    assert_eq!(last_line(&outcome), "2 200 9");
    assert_eq!(served.bodies.get(), 2_000_000);
    until_all_ended(reactor, &served);
}

fn curl_fetches_many_pages_over_one_connection(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    let many = ["--http2", "--parallel", "--parallel-max", "50"];
    let outcome = curl(reactor, &port, "[70001-70100]", &many);
    let said = outcome
        .output
        .lines()
        .filter(|line| line.starts_with("2 200 "));
    let mut lengths: Vec<u32> = said.map(|line| line[6..].parse().unwrap()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, (70_001..=70_100).collect::<Vec<_>>());
    assert_eq!((served.http_2.get(), served.connections.get()), (100, 1));
    until_all_ended(reactor, &served);
}

fn a_client_that_offers_nothing_speaks_http_1_1(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    let outcome = curl(reactor, &port, "7", &["--no-alpn"]);
    assert_eq!(last_line(&outcome), "1.1 200 7");
    assert_eq!((served.http_1.get(), served.http_2.get()), (1, 0));
    until_all_ended(reactor, &served);
}

fn s_client_agrees_on_http_2_first(reactor: &Reactor) {
    let (port, _) = serve(reactor);
    let files = Files::new();
    for (offered, agreed) in [
        ("h2", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.0,http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let outcome = files.run(reactor, files.s_client(&port, &["-alpn", offered]), "");
        assert!(outcome.output.contains(agreed), "{offered}: {outcome:?}");
    }
}

fn wrk_finds_two_hundred_connections_served(reactor: &Reactor) {
    let (port, served) = serve(reactor);
    let mut command = Command::new("wrk");
    // It goes on for a second, and on a machine that is slow until each connection had an answer.
    command.args([
        "--threads",
        "1",
        "--connections",
        "200",
        "--duration",
        "60s",
    ]);
    command.args(["--timeout", "60s"]);
    command.arg(format!("https://127.0.0.1:{}/1000", number(&port)));
    let begin = Instant::now();
    let enough = || served.answered.get() >= 200 && begin.elapsed() > Duration::from_secs(1);
    let limit = Duration::from_secs(60);
    let outcome = Files::new().run_until(reactor, command, "", limit, enough);
    assert!(outcome.success, "{outcome:?}");
    assert!(outcome.output.contains("requests in"), "{outcome:?}");
    for fault in ["Socket errors", "Non-2xx"] {
        assert!(!outcome.output.contains(fault), "{}", outcome.output);
    }
    // It makes one connection to see whether anybody is there, and then those that it keeps.
    assert_eq!(
        (served.connections.get(), served.answered.get()),
        (201, 200)
    );
    until_all_ended(reactor, &served);
}
