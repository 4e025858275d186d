//! Messages that a server answers, one in flight per connection.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::net::Server;
use crate::stream::{Dialer, Stream};
use crate::{Options, Outcome, Result};

/// A server that sends nothing for as long has failed.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Without TLS, the content of every so many operations is compared; of the others only the length.
const SAMPLE: u64 = 64;

/// How many writes of ten bytes a server of `writes` answers with.
const WRITES: usize = 1000;

/// What is exchanged, and on what.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Echoes, on connections that stay.
    Echo,
    /// Echoes, each on a connection of its own.
    Connect,
    /// The same, with the TLS session of the connection before.
    Resume,
    /// A question that the server answers with many small writes, on connections that stay.
    Writes,
}

/// One message on its way to the server, and its answer.
struct Exchange {
    stream: Stream,
    begun: Instant,
    sent: usize,
    received: usize,
    awaits_writable: bool,
}

pub(crate) struct Load<'a> {
    dialer: Dialer<'a>,
    /// Whether each message has a connection of its own.
    reconnect: bool,
    /// The content of one in so many answers is compared.
    sample: u64,
    epoll: OwnedFd,
    exchanges: Vec<Option<Exchange>>,
    message: Vec<u8>,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    in_flight: usize,
    /// Connections that failed in any run: one that is gone leaves a later run with fewer.
    lost: u64,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    /// Connects, unless each message does.
    pub(crate) fn new(options: &'a Options, kind: Kind) -> Result<Self> {
        let message: Vec<u8> = (0..options.size)
            .map(|index| (index * 31 + index / 256) as u8)
            .collect();
        let answer = match kind {
            Kind::Writes => (0..WRITES)
                .flat_map(|n| format!("{n:09}\n").into_bytes())
                .collect(),
            _ => message.clone(),
        };
        let secure = matches!(options.server, Server::Tls(_));
        let mut load = Self {
            dialer: Dialer::new(options, kind == Kind::Resume)?,
            reconnect: matches!(kind, Kind::Connect | Kind::Resume),
            sample: if secure { 1 } else { SAMPLE },
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            exchanges: (0..options.connections).map(|_| None).collect(),
            // Room for more than is expected, so that a surplus is seen.
            buffer: vec![0; answer.len() + 64],
            message,
            answer,
            in_flight: 0,
            lost: 0,
            outcome: Outcome::default(),
        };
        if !load.reconnect {
            for slot in 0..options.connections {
                load.connect(slot, Instant::now())?;
            }
        }
        Ok(load)
    }

    /// Exchanges messages for as long as `duration`, and waits for the last ones.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Outcome> {
        self.outcome = Outcome {
            latencies: Vec::with_capacity(1 << 20),
            ..Outcome::default()
        };
        let begun = Instant::now();
        let deadline = begun + duration;
        let mut now = begun;
        for slot in 0..self.exchanges.len() {
            self.begin(slot, now)?;
        }
        let mut events = Vec::with_capacity(1024);
        while self.in_flight > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&PATIENCE)) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            if events.is_empty() {
                return Err(format!("{} messages were not answered", self.in_flight).into());
            }
            for event in &events {
                let slot = usize::try_from(event.data.u64())?;
                let flags = event.flags;
                if flags.contains(epoll::EventFlags::OUT) {
                    self.send(slot)?;
                }
                if flags != epoll::EventFlags::OUT && self.receive(slot)? {
                    now = Instant::now();
                    self.complete(slot, now)?;
                    if now < deadline {
                        self.begin(slot, now)?;
                    }
                }
            }
        }
        self.outcome.elapsed = now - begun;
        self.outcome.errors = self.lost;
        Ok(std::mem::take(&mut self.outcome))
    }

    fn connect(&mut self, slot: usize, begun: Instant) -> Result<()> {
        let stream = self.dialer.open(slot, false)?;
        let data = epoll::EventData::new_u64(slot as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.exchanges[slot] = Some(Exchange {
            stream,
            begun,
            sent: 0,
            received: 0,
            awaits_writable: false,
        });
        Ok(())
    }

    fn begin(&mut self, slot: usize, now: Instant) -> Result<()> {
        if self.reconnect {
            self.connect(slot, now)?;
        }
        // A connection that failed stays away.
        let Some(exchange) = &mut self.exchanges[slot] else {
            return Ok(());
        };
        exchange.begun = now;
        exchange.sent = 0;
        exchange.received = 0;
        self.in_flight += 1;
        self.send(slot)
    }

    fn send(&mut self, slot: usize) -> Result<()> {
        let Some(exchange) = &mut self.exchanges[slot] else {
            return Ok(());
        };
        match exchange.stream.send(&self.message[exchange.sent..]) {
            Ok(sent) => exchange.sent += sent,
            Err(error) if is_temporary(&error) => {}
            Err(error) => return self.fail(slot, Some(error)),
        }
        self.watch(slot)
    }

    /// Waits until more can be sent, if there is more.
    fn watch(&mut self, slot: usize) -> Result<()> {
        let Some(exchange) = &mut self.exchanges[slot] else {
            return Ok(());
        };
        let waits = exchange.sent < self.message.len() || exchange.stream.is_pending();
        if waits != exchange.awaits_writable {
            exchange.awaits_writable = waits;
            // The answer is read while the rest waits: the server may wait for that.
            let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let flags = if waits { both } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, &exchange.stream, data, flags)?;
        }
        Ok(())
    }

    /// Whether the answer has come whole.
    fn receive(&mut self, slot: usize) -> Result<bool> {
        let Some(exchange) = &mut self.exchanges[slot] else {
            return Ok(false);
        };
        let got = match exchange.stream.recv(&mut self.buffer) {
            // The answer to a handshake may have to wait.
            Err(error) if is_temporary(&error) => {
                self.watch(slot)?;
                return Ok(false);
            }
            Ok(got) if got > 0 => got,
            result => {
                self.fail(slot, result.err())?;
                return Ok(false);
            }
        };
        let start = exchange.received;
        exchange.received += got;
        if exchange.received > self.answer.len() {
            return Err("the server sent more than it was asked for".into());
        }
        let sampled = self.outcome.operations % self.sample == 0;
        if sampled && self.buffer[..got] != self.answer[start..start + got] {
            return Err("the server sent something else than it was asked for".into());
        }
        Ok(exchange.received == self.answer.len())
    }

    fn complete(&mut self, slot: usize, now: Instant) -> Result<()> {
        if let Some(exchange) = &self.exchanges[slot] {
            exchange.stream.check()?;
            let latency = (now - exchange.begun).as_nanos();
            self.outcome
                .latencies
                .push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
        self.in_flight -= 1;
        self.outcome.operations += 1;
        self.outcome.bytes += self.answer.len() as u64;
        if self.reconnect {
            self.exchanges[slot] = None;
        }
        Ok(())
    }

    /// Counts a connection that is gone; a violation of TLS ends the run.
    fn fail(&mut self, slot: usize, error: Option<io::Error>) -> Result<()> {
        match error {
            Some(error) if error.kind() == io::ErrorKind::Other => return Err(error.into()),
            _ => {}
        }
        self.exchanges[slot] = None;
        self.in_flight -= 1;
        self.lost += 1;
        Ok(())
    }
}

/// Whether the socket has just nothing to say.
fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
