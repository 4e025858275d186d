//! A reactor inside tokio, beside a task of tokio's that takes standard input: each line goes to
//! all clients, and its end stops the program.
//!
//! ```text
//! cargo run --release --features tokio --example hosted_in_tokio -- 127.0.0.1:8007
//! ```

mod hosted;

use std::error::Error;
use std::io::BufRead;

use hosted::{Audience, address};
use ropewalk::Reactor;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reactor = Reactor::new()?;
    let audience = Audience::default();
    let _port = audience.serve(&reactor, &address())?;

    let tasks = LocalSet::new();
    tasks.spawn_local(pass_on(input(), audience, reactor.clone()));
    runtime.block_on(tasks.run_until(ropewalk::host::tokio::run(&reactor)))?;
    Ok(())
}

/// The lines of standard input, which blocks and so has a thread of its own.
fn input() -> UnboundedReceiver<Vec<u8>> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let line = [line, b"\n".to_vec()].concat();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A task of tokio's: what it asks of the reactor wakes it.
async fn pass_on(mut lines: UnboundedReceiver<Vec<u8>>, audience: Audience, reactor: Reactor) {
    while let Some(line) = lines.recv().await {
        audience.say(&line);
    }
    if let Err(misuse) = reactor.stop() {
        eprintln!("the input ended after the reactor: {misuse}");
    }
}
