//! A parent of child processes on tokio: `tokio-children MODE NUMBER... PROGRAM [ARGUMENT...]`.
//!
//! ```text
//! spawn COUNT PARALLEL MEGABYTES FILES DIRECTORY
//! exits LIVE ENDING
//! read BYTES
//! write BYTES
//! ```
//!
//! `bench/README.md` says what these do.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

/// The errors of a program that just ends with them.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many children end before those that are measured, and the share of the rest that goes before.
const WARM: usize = 10;
const SETTLED: usize = 20;

const CHUNK: usize = 65536;

/// A child whose standard input stays open until that is dropped.
struct Live {
    input: Option<ChildStdin>,
    end: JoinHandle<io::Result<Output>>,
}

fn spawn(command: &mut Command) -> io::Result<(Option<ChildStdin>, Child)> {
    let mut child = command.spawn()?;
    Ok((child.stdin.take(), child))
}

fn check(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = format!("a child ended with {}", output.status);
    Err(io::Error::other(text))
}

async fn spawn_all(command: &Arc<Description>, count: usize, parallel: usize) -> Result<()> {
    let started = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..parallel)
        .map(|_| {
            let (command, started) = (Arc::clone(command), Arc::clone(&started));
            tokio::spawn(one_by_one(command, started, count))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Makes a child when the one before has ended, until all tasks together have made `count`.
async fn one_by_one(
    command: Arc<Description>,
    started: Arc<AtomicUsize>,
    count: usize,
) -> io::Result<()> {
    let mut command = command.command();
    while started.fetch_add(1, Ordering::Relaxed) < count {
        let (input, child) = spawn(&mut command)?;
        let output = child.wait_with_output().await?;
        drop(input);
        check(&output)?;
    }
    Ok(())
}

/// Ends some of the children one after the other, those of `numbers` in an order that is none.
async fn end_each(children: &mut [Live], numbers: Range<usize>) -> Result<()> {
    for number in numbers {
        let index = number * 7919 % children.len();
        let child = &mut children[index];
        child.input = None;
        check(&(&mut child.end).await??)?;
    }
    Ok(())
}

/// Says `line` and waits to be told to go on.
fn rendezvous(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn report(what: &str, number: usize, begun: Instant) -> io::Result<()> {
    let seconds = begun.elapsed().as_secs_f64();
    rendezvous(&format!(
        "{{\"{what}\": {number}, \"seconds\": {seconds:.6}}}"
    ))
}

/// What the last arguments say, and where it is to run.
struct Description {
    words: Vec<String>,
    directory: String,
}

impl Description {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        if !self.directory.is_empty() {
            command.current_dir(&self.directory);
        }
        command
    }
}

struct Arguments(std::iter::Skip<std::env::Args>);

impl Arguments {
    fn text(&mut self) -> Result<String> {
        Ok(self.0.next().ok_or("an argument is missing")?)
    }

    fn number(&mut self) -> Result<usize> {
        Ok(self.text()?.parse()?)
    }

    fn description(self, directory: &str) -> Result<Description> {
        let words: Vec<_> = self.0.collect();
        if words.is_empty() {
            return Err("no program is named".into());
        }
        let directory = directory.into();
        Ok(Description { words, directory })
    }
}

async fn spawns(mut arguments: Arguments) -> Result<()> {
    let (count, parallel) = (arguments.number()?, arguments.number()?);
    let memory = vec![b'x'; arguments.number()? * 1_000_000];
    let files: io::Result<Vec<_>> = (0..arguments.number()?)
        .map(|_| File::open("/dev/null"))
        .collect();
    let directory = arguments.text()?;
    let command = Arc::new(arguments.description(&directory)?);
    spawn_all(&command, count / SETTLED + 1, parallel).await?;
    rendezvous("ready")?;
    let begun = Instant::now();
    spawn_all(&command, count, parallel).await?;
    report("operations", count, begun)?;
    drop((memory, files?));
    Ok(())
}

async fn exits(mut arguments: Arguments) -> Result<()> {
    let (live, ending) = (arguments.number()?, arguments.number()?);
    let mut command = arguments.description("")?.command();
    let mut children = Vec::new();
    for _ in 0..live + WARM {
        let (input, child) = spawn(&mut command)?;
        let end = tokio::spawn(child.wait_with_output());
        children.push(Live { input, end });
    }
    end_each(&mut children, 0..WARM).await?;
    rendezvous("ready")?;
    let begun = Instant::now();
    end_each(&mut children, WARM..WARM + ending).await?;
    report("operations", ending, begun)?;
    for child in &mut children {
        child.input = None;
    }
    for child in children
        .into_iter()
        .filter(|child| !child.end.is_finished())
    {
        check(&child.end.await??)?;
    }
    println!("done");
    Ok(())
}

/// Counts what a child writes to its standard output.
async fn read(command: &Description, bytes: usize) -> Result<usize> {
    let (input, mut child) = spawn(command.command().arg(bytes.to_string()))?;
    let mut output = child.stdout.take().ok_or("it has no output")?;
    let rest = tokio::spawn(child.wait_with_output());
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    loop {
        match output.read(&mut buffer).await? {
            0 => break,
            count => received += count,
        }
    }
    check(&rest.await??)?;
    drop(input);
    Ok(received)
}

async fn write(command: &Description, bytes: usize) -> Result<usize> {
    let (input, child) = spawn(command.command().arg(bytes.to_string()))?;
    let mut input = input.ok_or("it has no input")?;
    let rest = tokio::spawn(child.wait_with_output());
    let chunk = [b'x'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK);
        input.write_all(&chunk[..length]).await?;
        left -= length;
    }
    drop(input);
    check(&rest.await??)?;
    Ok(bytes)
}

async fn moves(mut arguments: Arguments, writes: bool) -> Result<()> {
    let bytes = arguments.number()?;
    let command = arguments.description("")?;
    let run = async |bytes| match writes {
        true => write(&command, bytes).await,
        false => read(&command, bytes).await,
    };
    run(bytes / SETTLED).await?;
    rendezvous("ready")?;
    let begun = Instant::now();
    let moved = run(bytes).await?;
    report("bytes", moved, begun)?;
    Ok(())
}

async fn run(mut arguments: Arguments) -> Result<()> {
    match arguments.text()?.as_str() {
        "spawn" => spawns(arguments).await,
        "exits" => exits(arguments).await,
        "read" => moves(arguments, false).await,
        "write" => moves(arguments, true).await,
        mode => Err(format!("no mode is called {mode}").into()),
    }
}

fn main() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(run(Arguments(std::env::args().skip(1))))
}
