//! Fetches a page over TLS, from a server that the platform trusts: all that it answers goes to
//! standard output, what was agreed on to standard error.
//!
//! ```text
//! cargo run --release --example https_get -- example.org:443 /
//! SSL_CERT_FILE=roots.pem SSLKEYLOGFILE=keys.txt https_get localhost:8443 /
//! ```

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::tls::TlsClient;
use ropewalk::{
    ConnectError, Connector, Disconnect, Error, Factory, NetAddr, Protocol, Reactor, Transport,
};

/// How the fetch ended; nothing while it goes on.
type Outcome = Rc<RefCell<Option<Result<(), String>>>>;

struct Client {
    reactor: Reactor,
    request: String,
    outcome: Outcome,
}

impl Factory for Client {
    fn build_protocol(&mut self, _: NetAddr) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Fetch {
            request: self.request.clone(),
        }))
    }

    fn connection_failed(&mut self, _: &Connector, error: ConnectError) {
        *self.outcome.borrow_mut() = Some(Err(error.to_string()));
        self.reactor.crash();
    }

    fn connection_lost(&mut self, _: &Connector, reason: Disconnect) {
        // Only a close_notify says that the answer is whole.
        let result = match reason.is_clean() {
            true => Ok(()),
            false => Err(reason.to_string()),
        };
        *self.outcome.borrow_mut() = Some(result);
        self.reactor.crash();
    }
}

struct Fetch {
    request: String,
}

impl Protocol for Fetch {
    fn connection_made(&mut self, transport: &Transport) {
        // Waits for the handshake by itself.
        transport.write(self.request.as_bytes());
    }

    fn handshake_completed(&mut self, transport: &Transport) {
        let tls = transport.tls().expect("this connection speaks TLS");
        let cipher_suite = tls.cipher_suite.unwrap_or_default();
        eprintln!("{:?} with {cipher_suite}", tls.version);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if std::io::stdout().write_all(data).is_err() {
            transport.abort_connection();
        }
    }
}

fn fetch(address: &str, path: &str) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let reactor = Reactor::new().map_err(text)?;
    let tls = TlsClient::builder()
        .alpn(["http/1.1"])
        .log_keys()
        .build()
        .map_err(|error| error.to_string())?;
    let outcome = Outcome::default();
    let client = Client {
        reactor: reactor.clone(),
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
        outcome: Rc::clone(&outcome),
    };
    reactor.connect_tls(address, &tls, client).map_err(text)?;
    reactor.run().map_err(text)?;
    let outcome = outcome.take();
    outcome.unwrap_or_else(|| Err("interrupted".to_owned()))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else {
        eprintln!("usage: https_get HOST:PORT [PATH]");
        return ExitCode::from(2);
    };
    let path = arguments.next().unwrap_or_else(|| "/".to_owned());
    match fetch(&address, &path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("https_get: {problem}");
            ExitCode::FAILURE
        }
    }
}
