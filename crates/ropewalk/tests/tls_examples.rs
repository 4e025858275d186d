//! The examples that speak TLS, run for real: against OpenSSL, and with the environment's
//! variables.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod examples_support;
#[path = "tls_support/openssl.rs"]
mod openssl;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use examples_support::{Server, example};
use openssl::Files;
use tls_support::issue;

fn https_get(files: &Files, roots: &str, server: &openssl::Server) -> Output {
    Command::new(example("https_get"))
        .arg(format!("localhost:{}", server.address.port()))
        .env("SSL_CERT_FILE", files.path(roots))
        .env_remove("SSL_CERT_DIR")
        .env("SSLKEYLOGFILE", files.path("keys"))
        .output()
        .unwrap()
}

#[test]
fn https_get_trusts_the_platforms_roots_and_logs_keys() {
    let files = Files::new();
    let server = files.s_server(&["-www"]);
    let output = https_get(&files, "roots.pem", &server);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(output.stdout.starts_with(b"HTTP/1.0 200 ok"), "{errors}");
    assert!(errors.contains("Tls13"), "{errors}");
    let keys = fs::read_to_string(files.path("keys")).unwrap();
    assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0 "), "{keys}");
}

#[test]
fn https_get_refuses_a_server_that_the_platform_does_not_trust() {
    let files = Files::new();
    files.add("other", &tls_support::stranger());
    let server = files.s_server(&["-www"]);
    let output = https_get(&files, "other.pem", &server);
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("issuer is not trusted"), "{errors}");
}

fn tls_echo(files: &Files) -> Server {
    Server::run(
        Command::new(example("tls_echo"))
            .args([files.path("server.pem"), files.path("server.key")])
            .arg("127.0.0.1:0")
            .env("SSLKEYLOGFILE", files.path("keys"))
            .stderr(Stdio::piped()),
    )
}

/// Sends a line by `openssl s_client`. Answers what that said before the line came back.
fn visit(echo: &Server, files: &Files) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &echo.address.to_string()])
        .args(["-CAfile", &files.path("roots.pem"), "-verify_return_error"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"there and back\n").unwrap();
    let mut said = String::new();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    while !said.ends_with("there and back\n") {
        assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "{said}");
    }
    drop(stdin);
    // Its close_notify is answered, or it would wait.
    assert!(client.wait().unwrap().success());
    said
}

#[test]
fn tls_echo_sends_everything_back_and_logs_keys() {
    let files = Files::new();
    let echo = tls_echo(&files);
    let said = visit(&echo, &files);
    assert!(said.contains("Verification: OK"), "{said}");
    let keys = fs::read_to_string(files.path("keys")).unwrap();
    assert!(keys.contains("SERVER_TRAFFIC_SECRET_0 "), "{keys}");
    echo.terminate();
}

#[test]
fn tls_echo_shows_a_renewed_certificate_without_a_restart() {
    let files = Files::new();
    let mut echo = tls_echo(&files);
    let mut errors = BufReader::new(echo.child.stderr.take().unwrap()).lines();
    let renewed = issue(&["localhost", "renewed.example"]);
    files.add("server", &renewed);
    // The files may be looked at between the two writes.
    while errors.next().unwrap().unwrap() != "renewed" {}
    let said = visit(&echo, &files);
    let body: String = renewed.certificate.lines().nth(1).unwrap().to_owned();
    assert!(said.contains(&body), "{said}");
    echo.terminate();
}

#[test]
fn tls_echo_says_which_file_is_at_fault() {
    let files = Files::new();
    let output = Command::new(example("tls_echo"))
        .args([files.path("server.pem"), files.path("missing.key")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("missing.key: cannot be read"), "{errors}");
}
