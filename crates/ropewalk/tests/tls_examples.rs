//! The examples that speak TLS, run for real: against OpenSSL, and with the environment's
//! variables.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[path = "tls_support/openssl.rs"]
mod openssl;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use openssl::Files;
use rustix::process::{Pid, Signal, kill_process};
use tls_support::issue;

/// `cargo test` has built it, unless only this file was asked for.
fn example(name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().nth(2).unwrap();
    let path: PathBuf = profile.join("examples").join(name);
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "ropewalk",
            "--example",
            name,
        ]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success());
    }
    Command::new(path)
}

fn https_get(files: &Files, roots: &str, server: &openssl::Server) -> Output {
    example("https_get")
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

/// A server that runs; killed when the test fails.
struct Echo(Child, SocketAddr);

impl Echo {
    fn start(files: &Files) -> Self {
        let mut child = example("tls_echo")
            .args([files.path("server.pem"), files.path("server.key")])
            .arg("127.0.0.1:0")
            .env("SSLKEYLOGFILE", files.path("keys"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let address = line.strip_prefix("listening on ").unwrap();
        Self(child, address.parse().unwrap())
    }

    /// Sends a line by `openssl s_client`. Answers what that said before the line came back.
    fn visit(&self, files: &Files) -> String {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &self.1.to_string()])
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

    fn terminate(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

fn first_line(output: impl std::io::Read) -> String {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
fn tls_echo_sends_everything_back_and_logs_keys() {
    let files = Files::new();
    let echo = Echo::start(&files);
    let said = echo.visit(&files);
    assert!(said.contains("Verification: OK"), "{said}");
    let keys = fs::read_to_string(files.path("keys")).unwrap();
    assert!(keys.contains("SERVER_TRAFFIC_SECRET_0 "), "{keys}");
    echo.terminate();
}

#[test]
fn tls_echo_shows_a_renewed_certificate_without_a_restart() {
    let files = Files::new();
    let mut echo = Echo::start(&files);
    let mut errors = BufReader::new(echo.0.stderr.take().unwrap()).lines();
    let renewed = issue(&["localhost", "renewed.example"]);
    files.add("server", &renewed);
    // The files may be looked at between the two writes.
    while errors.next().unwrap().unwrap() != "renewed" {}
    let said = echo.visit(&files);
    let body: String = renewed.certificate.lines().nth(1).unwrap().to_owned();
    assert!(said.contains(&body), "{said}");
    echo.terminate();
}

#[test]
fn tls_echo_says_which_file_is_at_fault() {
    let files = Files::new();
    let output = example("tls_echo")
        .args([files.path("server.pem"), files.path("missing.key")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("missing.key: cannot be read"), "{errors}");
}
