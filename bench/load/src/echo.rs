//! Messages that a server echoes, one in flight per connection.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::{Options, Outcome, Result, net};

/// A server that sends nothing for as long has failed.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// The content of every so many operations is compared; of the others only the length.
const SAMPLE: u64 = 64;

/// One message on its way to the server and back.
struct Exchange {
    socket: OwnedFd,
    begun: Instant,
    sent: usize,
    received: usize,
    awaits_writable: bool,
}

pub(crate) struct Load<'a> {
    options: &'a Options,
    /// Whether each message has a connection of its own.
    reconnect: bool,
    epoll: OwnedFd,
    exchanges: Vec<Option<Exchange>>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    connected: usize,
    in_flight: usize,
    /// Connections that failed in any run: one that is gone leaves a later run with fewer.
    lost: u64,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    /// Connects, unless each message does.
    pub(crate) fn new(options: &'a Options, reconnect: bool) -> Result<Self> {
        let mut load = Self {
            options,
            reconnect,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            exchanges: (0..options.connections).map(|_| None).collect(),
            message: (0..options.size)
                .map(|index| (index * 31 + index / 256) as u8)
                .collect(),
            // Room for more than is expected, so that a surplus is seen.
            buffer: vec![0; options.size + 64],
            connected: 0,
            in_flight: 0,
            lost: 0,
            outcome: Outcome::default(),
        };
        if !reconnect {
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
                    self.complete(slot, now);
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
        let socket = net::connect(&self.options.server, self.connected)?;
        net::set_nonblocking(&socket)?;
        self.connected += 1;
        let data = epoll::EventData::new_u64(slot as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.exchanges[slot] = Some(Exchange {
            socket,
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
        match send(
            &exchange.socket,
            &self.message[exchange.sent..],
            SendFlags::NOSIGNAL,
        ) {
            Ok(sent) => exchange.sent += sent,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.fail(slot);
                return Ok(());
            }
        }
        let waits = exchange.sent < self.message.len();
        if waits != exchange.awaits_writable {
            exchange.awaits_writable = waits;
            // The echo is read while the rest waits: the server may wait for that.
            let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let flags = if waits { both } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, &exchange.socket, data, flags)?;
        }
        Ok(())
    }

    /// Whether the message has come back whole.
    fn receive(&mut self, slot: usize) -> Result<bool> {
        let Some(exchange) = &mut self.exchanges[slot] else {
            return Ok(false);
        };
        let got = match recv(&exchange.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Ok((got, _)) if got > 0 => got,
            _ => {
                self.fail(slot);
                return Ok(false);
            }
        };
        let start = exchange.received;
        exchange.received += got;
        if exchange.received > exchange.sent {
            return Err("the server sent more than it was sent".into());
        }
        let sampled = self.outcome.operations % SAMPLE == 0;
        if sampled && self.buffer[..got] != self.message[start..start + got] {
            return Err("the server sent something else than it was sent".into());
        }
        Ok(exchange.received == self.message.len())
    }

    fn complete(&mut self, slot: usize, now: Instant) {
        if let Some(exchange) = &self.exchanges[slot] {
            let latency = (now - exchange.begun).as_nanos();
            self.outcome
                .latencies
                .push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
        self.in_flight -= 1;
        self.outcome.operations += 1;
        self.outcome.bytes += self.message.len() as u64;
        if self.reconnect {
            self.exchanges[slot] = None;
        }
    }

    fn fail(&mut self, slot: usize) {
        self.exchanges[slot] = None;
        self.in_flight -= 1;
        self.lost += 1;
    }
}
