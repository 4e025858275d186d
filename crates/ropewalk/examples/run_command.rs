//! Runs a program: feeds it what this one reads, prints what it says, and ends as it does.
//!
//! ```text
//! printf 'rope\nhemp\n' | cargo run --release --example run_command -- sort -r
//! ```

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::{cell::Cell, rc::Rc};

use ropewalk::process::{Command, Ended, Process, ProcessProtocol};
use ropewalk::{Reactor, Signal};

struct Run {
    reactor: Reactor,
    input: Vec<u8>,
    ended: Rc<Cell<Option<Ended>>>,
}

impl ProcessProtocol for Run {
    fn connection_made(&mut self, process: &Process) {
        process.write_bytes(0, std::mem::take(&mut self.input));
        process.close(0);
    }

    fn data_received(&mut self, process: &Process, fd: i32, data: &[u8]) {
        let written = match fd {
            1 => io::stdout().write_all(data),
            _ => io::stderr().write_all(data),
        };
        if written.is_err() {
            // Nobody reads this: the program is to notice it too.
            process.close(fd);
        }
    }

    fn ended(&mut self, ended: Ended) {
        self.ended.set(Some(ended));
        self.reactor.crash();
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments
        .next()
        .ok_or("usage: run_command PROGRAM [ARGUMENT...]")?;
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;

    let reactor = Reactor::builder().signals(false).build()?;
    let ended = Rc::default();
    let run = Run {
        reactor: reactor.clone(),
        input,
        ended: Rc::clone(&ended),
    };
    let process = reactor.spawn_process(&Command::new(program).args(arguments), run)?;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let process = process.clone();
        let forward = move |_: &Reactor| {
            if let Err(error) = process.signal(signal) {
                eprintln!("{signal}: {error}");
            }
        };
        let _stays = reactor.on_signal(signal, forward)?;
    }
    reactor.run()?;

    Ok(match ended.get() {
        Some(Ended::Exited(code)) => ExitCode::from(u8::try_from(code)?),
        Some(Ended::Killed { signal, .. }) => {
            eprintln!("ended by {}", Signal::from_number(signal));
            ExitCode::from(u8::try_from(128 + signal)?)
        }
        _ => ExitCode::FAILURE,
    })
}
