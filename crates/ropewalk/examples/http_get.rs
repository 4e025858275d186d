//! Fetches a page by HTTP/1.0: the body goes to standard output, the status to standard error.
//!
//! ```text
//! cargo run --release --example http_get -- http://example.org/
//! cargo run --release --example http_get -- localhost:8080 /index.html
//! ```

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::{
    ConnectError, Connector, Disconnect, Factory, NetAddr, Protocol, Reactor, Transport,
};

/// The most a response head may take, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// What to fetch, and from where.
struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// From `http://host[:port][/path]`, or from `host[:port]` and a path.
    fn parse(place: &str, path: Option<String>) -> Option<Self> {
        let place = place.strip_prefix("http://").unwrap_or(place);
        let (authority, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
        let path = path.unwrap_or_else(|| rest.to_owned());
        let path = if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        (!host.is_empty()).then_some(Self { host, port, path })
    }

    fn request(&self) -> String {
        let Self { host, port, path } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n")
    }
}

/// How the fetch ended; nothing while it goes on.
type Outcome = Rc<RefCell<Option<Result<(), String>>>>;

/// Ends the program with this outcome, unless it has one.
fn finish(reactor: &Reactor, outcome: &Outcome, result: Result<(), String>) {
    outcome.borrow_mut().get_or_insert(result);
    reactor.crash();
}

struct Client {
    reactor: Reactor,
    target: Target,
    outcome: Outcome,
}

impl Factory for Client {
    fn build_protocol(&mut self, _: NetAddr) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Fetch {
            reactor: self.reactor.clone(),
            request: self.target.request(),
            outcome: Rc::clone(&self.outcome),
            head: Some(Vec::new()),
            left: None,
            status: String::new(),
        }))
    }

    fn connection_failed(&mut self, _: &Connector, error: ConnectError) {
        finish(&self.reactor, &self.outcome, Err(error.to_string()));
    }
}

struct Fetch {
    reactor: Reactor,
    request: String,
    outcome: Outcome,
    /// The head as far as it has come; nothing once the body has begun.
    head: Option<Vec<u8>>,
    /// How much of the body is still to come, in bytes, if the server said so.
    left: Option<usize>,
    status: String,
}

impl Fetch {
    /// Takes the head in; returns the part of the body that came with its end.
    fn read_head(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(mut head) = self.head.take() else {
            return Ok(Some(data.to_vec()));
        };
        head.extend_from_slice(data);
        let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            if head.len() > LONGEST_HEAD {
                return Err("the response head does not end".to_owned());
            }
            self.head = Some(head);
            return Ok(None);
        };
        let body = head.split_off(end + 4);
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.lines();
        self.status = lines.next().unwrap_or_default().to_owned();
        eprintln!("{}", self.status);
        self.left = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let length = name.eq_ignore_ascii_case("content-length");
            length.then(|| value.trim().parse().ok()).flatten()
        });
        Ok(Some(body))
    }

    fn print(&mut self, body: &[u8]) -> Result<(), String> {
        self.left = self.left.map(|left| left.saturating_sub(body.len()));
        std::io::stdout()
            .write_all(body)
            .map_err(|error| error.to_string())
    }

    fn result(&self, reason: &Disconnect) -> Result<(), String> {
        if !reason.is_clean() {
            return Err(reason.to_string());
        }
        if self.head.is_some() || self.left.is_some_and(|left| left > 0) {
            return Err("the response is cut short".to_owned());
        }
        match self.status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(()),
            _ => Err(format!("the server answered: {}", self.status)),
        }
    }
}

impl Protocol for Fetch {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.request.as_bytes());
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        let read = self.read_head(data);
        let printed = read.and_then(|body| body.map_or(Ok(()), |body| self.print(&body)));
        if printed.is_err() {
            finish(&self.reactor, &self.outcome, printed);
        }
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        finish(&self.reactor, &self.outcome, self.result(&reason));
    }
}

fn fetch(target: Target) -> Result<(), String> {
    let reactor = Reactor::new().map_err(|error| error.to_string())?;
    let outcome = Outcome::default();
    let address = (target.host.clone(), target.port);
    let client = Client {
        reactor: reactor.clone(),
        target,
        outcome: Rc::clone(&outcome),
    };
    let connected = reactor.connect_tcp((address.0.as_str(), address.1), client);
    connected
        .and_then(|_| reactor.run())
        .map_err(|error| error.to_string())?;
    outcome
        .take()
        .unwrap_or_else(|| Err("interrupted".to_owned()))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let target = arguments
        .next()
        .and_then(|place| Target::parse(&place, arguments.next()));
    let Some(target) = target else {
        eprintln!("usage: http_get URL, or http_get HOST[:PORT] PATH");
        return ExitCode::from(2);
    };
    match fetch(target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("http_get: {problem}");
            ExitCode::FAILURE
        }
    }
}
