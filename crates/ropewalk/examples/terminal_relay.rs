//! Runs a program in a terminal of its own and relays it to this one, as `script` does.
//!
//! ```text
//! cargo run --release --example terminal_relay -- vim README.md
//! ```

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;

use ropewalk::os::process::window_size;
use ropewalk::process::{Command, Ended, Process, ProcessProtocol};
use ropewalk::{Disconnect, ProducerKind, Reactor, Signal, StandardIo, StandardIoProtocol};

/// The terminal: what is typed goes to the program.
struct Outer {
    reactor: Reactor,
    program: Rc<RefCell<Option<Process>>>,
    ended: Rc<Cell<Option<Ended>>>,
}

impl StandardIoProtocol for Outer {
    fn data_received(&mut self, _: &StandardIo, data: &[u8]) {
        if let Some(program) = &*self.program.borrow() {
            program.write(0, data);
        }
    }

    fn connection_lost(&mut self, _: Disconnect) {
        if self.ended.get().is_some() {
            self.reactor.crash();
        } else if let Some(program) = &*self.program.borrow() {
            program.lose_connection();
        }
    }
}

/// The program: what it writes goes to the terminal.
struct Inner {
    reactor: Reactor,
    outer: StandardIo,
    ended: Rc<Cell<Option<Ended>>>,
}

impl ProcessProtocol for Inner {
    fn data_received(&mut self, _: &Process, _: i32, data: &[u8]) {
        self.outer.write(data);
    }

    fn ended(&mut self, ended: Ended) {
        self.ended.set(Some(ended));
        if self.outer.is_connected() {
            // Ends when all is written.
            self.outer.unregister_producer();
            self.outer.lose_connection();
        } else {
            self.reactor.crash();
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments
        .next()
        .ok_or("usage: terminal_relay PROGRAM [ARGUMENT...]")?;
    let size = window_size(std::io::stdin())?;
    let command = Command::new(program).args(arguments).terminal(size);

    // SIGINT and SIGTERM stop the reactor, which hangs up the terminal inside.
    let reactor = Reactor::new()?;
    let program = Rc::new(RefCell::new(None));
    let ended = Rc::default();
    let outer = reactor.stdio(Outer {
        reactor: reactor.clone(),
        program: Rc::clone(&program),
        ended: Rc::clone(&ended),
    })?;
    let inner = Inner {
        reactor: reactor.clone(),
        outer: outer.clone(),
        ended: Rc::clone(&ended),
    };
    let process = reactor.spawn_process(&command, inner)?;
    *program.borrow_mut() = Some(process.clone());
    // Neither side is read faster than the other one takes it.
    outer.register_producer(process.clone(), ProducerKind::Push)?;
    process.register_producer(0, outer.clone(), ProducerKind::Push)?;
    let resize = move |_: &Reactor| {
        // The program may have ended, and the terminal may be gone.
        let _ = window_size(std::io::stdin()).and_then(|size| process.set_window_size(size));
    };
    let _stays = reactor.on_signal(Signal::WINCH, resize)?;
    outer.set_raw_mode(true)?;
    reactor.run()?;

    Ok(match ended.get() {
        Some(Ended::Exited(code)) => ExitCode::from(u8::try_from(code)?),
        Some(Ended::Killed { signal, .. }) => ExitCode::from(u8::try_from(128 + signal)?),
        _ => ExitCode::FAILURE,
    })
}
