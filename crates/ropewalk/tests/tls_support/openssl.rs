//! Programs that speak TLS by OpenSSL, run while the reactor turns.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ropewalk::{ListeningPort, Reactor};
use rustix::process::{Pid, Signal, kill_process};

use crate::tcp_support::LIMIT;
use crate::tls_support::{Issued, authority_pem, localhost};
use crate::unix_support::Directory;
use crate::variant;

/// The files that such programs want, and their output.
pub(crate) struct Files(Directory);

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self(Directory::new());
        fs::write(files.0.join("roots.pem"), authority_pem()).unwrap();
        files.add("server", &localhost());
        files
    }

    /// Makes `name.pem` and `name.key`.
    pub(crate) fn add(&self, name: &str, issued: &Issued) {
        fs::write(self.0.join(&format!("{name}.pem")), &issued.certificate).unwrap();
        fs::write(self.0.join(&format!("{name}.key")), &issued.key).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// `openssl s_client` for `port`, which checks the certificate.
    pub(crate) fn s_client(&self, port: &ListeningPort, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &port.local_addr().to_string()]);
        command.args(["-CAfile", &self.path("roots.pem"), "-verify_return_error"]);
        command.args(["-servername", "localhost", "-verify_hostname", "localhost"]);
        command.args(arguments);
        command
    }

    /// `openssl s_server`, listening.
    pub(crate) fn s_server(&self, arguments: &[&str]) -> Server {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0"]);
        command.args(["-cert", &self.path("server.pem")]);
        command.args(["-key", &self.path("server.key")]);
        command.args(arguments);
        Server::start(command)
    }

    /// Turns the reactor until `command`, which reads `input` first, has ended.
    pub(crate) fn run(&self, reactor: &Reactor, command: Command, input: &str) -> Outcome {
        self.run_until(reactor, command, input, LIMIT, || false)
    }

    /// The same, but that the program is interrupted when it has done `enough`. It may take as long
    /// as `limit`.
    pub(crate) fn run_until(
        &self,
        reactor: &Reactor,
        mut command: Command,
        input: &str,
        limit: Duration,
        mut enough: impl FnMut() -> bool,
    ) -> Outcome {
        fs::write(self.0.join("input"), input).unwrap();
        command.stdin(File::open(self.0.join("input")).unwrap());
        command.stdout(File::create(self.0.join("output")).unwrap());
        command.stderr(File::create(self.0.join("errors")).unwrap());
        let mut child = Killed(command.spawn().unwrap());
        let deadline = Instant::now() + limit;
        let mut interrupted = false;
        let status = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status;
            }
            if !interrupted && enough() {
                kill_process(Pid::from_child(&child.0), Signal::INT).unwrap();
                interrupted = true;
            }
            assert!(Instant::now() < deadline, "{command:?} does not end");
            variant::turn(reactor, Duration::from_millis(5));
        };
        let text = |name| String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap()).into();
        Outcome {
            success: status.success(),
            output: text("output"),
            errors: text("errors"),
        }
    }
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A program that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _: std::io::Result<()> = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// `openssl s_server`.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _child: Killed,
    _stdin: ChildStdin,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let child = Killed(child);
        let address = loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "no server");
            if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
                break address.parse().unwrap();
            }
        };
        Self {
            address,
            _child: child,
            _stdin: stdin,
            _stdout: stdout,
        }
    }
}
