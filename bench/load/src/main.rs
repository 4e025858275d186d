//! A load client: one thread, one epoll, little work per operation, so that the server is what is
//! measured.
//!
//! Every mode prepares, prints `ready`, waits for a line (or the end) of standard input, works,
//! prints one line of JSON, and waits again before it closes its connections. Whoever runs it reads
//! the server's CPU time and memory in the pauses. (`pour` and `drink` are children of the server.)

mod bulk;
mod echo;
mod flood;
mod idle;
mod net;
mod pipes;
mod stream;
mod tls;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use echo::{Kind, Load};
use net::Server;
use stream::Dialer;

const USAGE: &str = "usage: load MODE ADDRESS [--connections N] [--size BYTES] [--seconds S] \
[--megabytes M] [--certificate PEM]

ADDRESS is HOST:PORT of a TCP server, tls:HOST:PORT, udp:HOST:PORT, or unix:PATH. A TLS server must
have the certificate.

modes:
  echo      N connections, one message of SIZE bytes in flight on each, for S seconds
  connect   N times in parallel: connect, one echo of SIZE bytes, close; for S seconds
  resume    the same, and every TLS session resumes the one before
  writes    N connections, one question of SIZE bytes in flight on each, which the server answers
            with 1,000 writes of 10 bytes; for S seconds
  send      M megabytes to a server that reads, on one connection
  receive   M megabytes from a server that sends, on one connection
  idle      N connections held open; every 500th, with TLS each, echoes one byte at the start
  flood     datagrams of SIZE bytes from one socket to a server that counts them, for S seconds

In the place of ADDRESS and options, two modes have a number of bytes: they are for a server's own
children, and wait for nobody.

  pour      BYTES to standard output
  drink     BYTES from standard input, and no more";

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) struct Options {
    pub(crate) server: Server,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
    pub(crate) certificate: Option<PathBuf>,
}

/// What one run did. `latencies` has one entry per operation, in nanoseconds.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    /// Datagrams that did not arrive.
    pub(crate) lost: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Vec<u32>,
}

impl Outcome {
    fn into_json(mut self) -> String {
        self.latencies.sort_unstable();
        format!(
            "{{\"operations\": {}, \"bytes\": {}, \"errors\": {}, \"lost\": {}, \
             \"seconds\": {:.6}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}",
            self.operations,
            self.bytes,
            self.errors,
            self.lost,
            self.elapsed.as_secs_f64(),
            self.percentile(50),
            self.percentile(99),
        )
    }

    /// In microseconds; 0 without any.
    fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().max(1) - 1);
        self.latencies
            .get(index)
            .map_or(0.0, |&nanoseconds| f64::from(nanoseconds) / 1000.0)
    }
}

/// Says `line` and waits to be told to go on.
fn rendezvous(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(String, Options)> {
    let mode = arguments.next().ok_or(USAGE)?;
    let mut options = Options {
        server: arguments.next().ok_or(USAGE)?.parse()?,
        connections: 50,
        size: 64,
        duration: Duration::from_secs(2),
        bytes: 1 << 30,
        certificate: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--connections" => options.connections = value.parse()?,
            "--size" => options.size = value.parse()?,
            "--seconds" => options.duration = Duration::try_from_secs_f64(value.parse()?)?,
            "--megabytes" => options.bytes = value.parse::<u64>()? * 1_000_000,
            "--certificate" => options.certificate = Some(value.into()),
            _ => return Err(USAGE.into()),
        }
    }
    if options.connections == 0 || options.size == 0 {
        return Err("--connections and --size must be at least 1".into());
    }
    Ok((mode, options))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [mode, bytes] if mode == "pour" => return pipes::pour(bytes.parse()?),
        [mode, bytes] if mode == "drink" => return pipes::drink(bytes.parse()?),
        _ => {}
    }
    net::allow_many_files()?;
    let (mode, options) = parse(arguments.into_iter())?;
    match mode.as_str() {
        "echo" => exchange(&options, Kind::Echo)?,
        "connect" => exchange(&options, Kind::Connect)?,
        "resume" => exchange(&options, Kind::Resume)?,
        "writes" => exchange(&options, Kind::Writes)?,
        "send" | "receive" => {
            let mut stream = Dialer::new(&options, false)?.open(0, true)?;
            stream.shake_hands()?;
            rendezvous("ready")?;
            let outcome = bulk::run(&mut stream, options.bytes, mode == "send")?;
            rendezvous(&outcome.into_json())?;
        }
        "flood" => {
            let socket = net::connect(&options.server, 0)?;
            rendezvous("ready")?;
            let outcome = flood::run(&socket, options.size, options.duration)?;
            rendezvous(&outcome.into_json())?;
        }
        "idle" => {
            let held = idle::hold(&options)?;
            rendezvous("ready")?;
            let outcome = Outcome {
                operations: held.len() as u64,
                ..Outcome::default()
            };
            rendezvous(&outcome.into_json())?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn exchange(options: &Options, kind: Kind) -> Result<()> {
    let mut load = Load::new(options, kind)?;
    load.run(options.duration.min(Duration::from_millis(200)))?;
    rendezvous("ready")?;
    let outcome = load.run(options.duration)?;
    Ok(rendezvous(&outcome.into_json())?)
}
