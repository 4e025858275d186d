//! A parent of child processes on ropewalk: `children POLLER MODE NUMBER... PROGRAM [ARGUMENT...]`.
//!
//! ```text
//! spawn COUNT PARALLEL MEGABYTES FILES DIRECTORY
//! exits LIVE ENDING
//! read BYTES
//! write BYTES
//! ```
//!
//! `bench/README.md` says what these do.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Instant;

use ropewalk::process::{Command, Ended, Process, ProcessProtocol};
use ropewalk::{Producer, ProducerKind, Reactor};
use ropewalk_bench::{Result, allow_many_files, reactor_from_arguments};

/// How many children end before those that are measured, and the share of the rest that goes before.
const WARM: usize = 10;
const SETTLED: usize = 20;

struct Parent {
    reactor: Reactor,
    command: Command<'static>,
    to_start: Cell<usize>,
    running: Cell<usize>,
    received: Cell<u64>,
    failure: RefCell<Option<String>>,
}

struct Child(Rc<Parent>);

impl ProcessProtocol for Child {
    fn data_received(&mut self, _: &Process, _: i32, data: &[u8]) {
        let received = &self.0.received;
        received.set(received.get() + data.len() as u64);
    }

    fn ended(&mut self, ended: Ended) {
        self.0.child_ended(ended);
    }
}

impl Parent {
    fn new(reactor: Reactor, command: Command<'static>) -> Rc<Self> {
        Rc::new(Self {
            reactor,
            command,
            to_start: Cell::default(),
            running: Cell::default(),
            received: Cell::default(),
            failure: RefCell::default(),
        })
    }

    fn spawn(self: &Rc<Self>) -> Result<Process> {
        let child = Child(Rc::clone(self));
        let process = self.reactor.spawn_process(&self.command, child)?;
        self.running.set(self.running.get() + 1);
        Ok(process)
    }

    fn child_ended(self: &Rc<Self>, ended: Ended) {
        self.running.set(self.running.get() - 1);
        if !ended.is_success() {
            return self.fail(format!("a child ended with {ended:?}"));
        }
        if self.to_start.get() > 0 {
            self.to_start.set(self.to_start.get() - 1);
            if let Err(error) = self.spawn() {
                self.fail(error.to_string());
            }
        }
    }

    fn fail(&self, text: String) {
        self.failure.replace(Some(text));
    }

    /// Runs until no more than `left` children do.
    fn run(&self, left: usize) -> Result<()> {
        while self.running.get() > left {
            self.reactor.turn(None)?;
            if let Some(failure) = self.failure.take() {
                return Err(failure.into());
            }
        }
        Ok(())
    }

    fn spawn_all(self: &Rc<Self>, count: usize, parallel: usize) -> Result<()> {
        let at_once = parallel.min(count);
        self.to_start.set(count - at_once);
        for _ in 0..at_once {
            self.spawn()?;
        }
        self.run(0)
    }

    /// Ends some of the children one after the other, those of `numbers` in an order that is none.
    fn end_each(&self, children: &[Process], numbers: std::ops::Range<usize>) -> Result<()> {
        for number in numbers {
            children[number * 7919 % children.len()].close(0);
            self.run(self.running.get() - 1)?;
        }
        Ok(())
    }
}

static CHUNK: [u8; 65536] = [b'x'; 65536];

/// Writes so many bytes to its child.
struct Chunks {
    left: Cell<u64>,
}

impl Producer<Process> for Chunks {
    fn resume_producing(&self, process: &Process) {
        let length = self.left.get().min(CHUNK.len() as u64);
        process.write_bytes(0, &CHUNK[..length as usize]);
        self.left.set(self.left.get() - length);
        if self.left.get() == 0 {
            process.unregister_producer(0);
            process.close(0);
        }
    }
}

/// Says `line` and waits to be told to go on.
fn rendezvous(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn report(what: &str, number: u64, begun: Instant) -> io::Result<()> {
    let seconds = begun.elapsed().as_secs_f64();
    rendezvous(&format!(
        "{{\"{what}\": {number}, \"seconds\": {seconds:.6}}}"
    ))
}

struct Arguments(std::iter::Skip<std::env::Args>);

impl Arguments {
    fn text(&mut self) -> Result<String> {
        Ok(self.0.next().ok_or("an argument is missing")?)
    }

    fn number(&mut self) -> Result<usize> {
        Ok(self.text()?.parse()?)
    }

    fn command(mut self) -> Result<Command<'static>> {
        Ok(Command::new(self.text()?).args(self.0))
    }
}

fn spawn(reactor: Reactor, mut arguments: Arguments) -> Result<()> {
    let (count, parallel) = (arguments.number()?, arguments.number()?);
    let memory = vec![b'x'; arguments.number()? * 1_000_000];
    let files: io::Result<Vec<_>> = (0..arguments.number()?)
        .map(|_| File::open("/dev/null"))
        .collect();
    let directory = arguments.text()?;
    let command = match directory.as_str() {
        "" => arguments.command()?,
        directory => arguments.command()?.current_dir(directory),
    };
    let parent = Parent::new(reactor, command);
    parent.spawn_all(count / SETTLED + 1, parallel)?;
    rendezvous("ready")?;
    let begun = Instant::now();
    parent.spawn_all(count, parallel)?;
    report("operations", count as u64, begun)?;
    drop((memory, files?));
    Ok(())
}

fn exits(reactor: Reactor, mut arguments: Arguments) -> Result<()> {
    let (live, ending) = (arguments.number()?, arguments.number()?);
    let parent = Parent::new(reactor, arguments.command()?);
    let children: Result<Vec<_>> = (0..live + WARM).map(|_| parent.spawn()).collect();
    let children = children?;
    parent.end_each(&children, 0..WARM)?;
    rendezvous("ready")?;
    let begun = Instant::now();
    parent.end_each(&children, WARM..WARM + ending)?;
    report("operations", ending as u64, begun)?;
    for child in &children {
        child.close(0);
    }
    parent.run(0)?;
    println!("done");
    Ok(())
}

fn moves(reactor: Reactor, mut arguments: Arguments, writes: bool) -> Result<()> {
    let bytes = arguments.number()?;
    let command = arguments.command()?;
    let run = |bytes: usize| {
        let command = command.clone().arg(bytes.to_string());
        let parent = Parent::new(reactor.clone(), command);
        let child = parent.spawn()?;
        if writes {
            let chunks = Chunks {
                left: Cell::new(bytes as u64),
            };
            child.register_producer(0, chunks, ProducerKind::Pull)?;
        }
        parent.run(0)?;
        Result::Ok(if writes {
            bytes as u64
        } else {
            parent.received.get()
        })
    };
    run(bytes / SETTLED)?;
    rendezvous("ready")?;
    let begun = Instant::now();
    let moved = run(bytes)?;
    report("bytes", moved, begun)?;
    Ok(())
}

fn main() -> Result<()> {
    allow_many_files()?;
    let reactor = reactor_from_arguments()?;
    let mut arguments = Arguments(std::env::args().skip(2));
    match arguments.text()?.as_str() {
        "spawn" => spawn(reactor, arguments),
        "exits" => exits(reactor, arguments),
        "read" => moves(reactor, arguments, false),
        "write" => moves(reactor, arguments, true),
        mode => Err(format!("no mode is called {mode}").into()),
    }
}
