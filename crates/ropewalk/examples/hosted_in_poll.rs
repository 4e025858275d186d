//! A reactor inside a bare `poll(2)` loop, which also reads standard input: each line goes to all
//! clients, and its end stops the program.
//!
//! ```text
//! cargo run --release --example hosted_in_poll -- 127.0.0.1:8007
//! ```

mod hosted;

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hosted::{Audience, address};
use ropewalk::Reactor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

fn main() -> Result<(), Box<dyn Error>> {
    let reactor = Reactor::new()?;
    let reactor_fd = reactor.as_fd()?;
    let audience = Audience::default();
    let _port = audience.serve(&reactor, &address())?;
    reactor.start()?;
    let stdin = io::stdin();
    let mut input = Some(stdin.as_fd());
    loop {
        reactor.turn(Duration::ZERO)?;
        if !reactor.state().keeps_looping() {
            return Ok(());
        }
        let input_is_ready = wait(&reactor, reactor_fd, input)?;
        if let (true, Some(fd)) = (input_is_ready, input) {
            if !pass_on(&audience, fd)? {
                input = None;
                reactor.stop()?;
            }
        }
    }
}

/// Waits for the reactor, its deadline, or input. Says whether there is input; for the reactor that
/// need not be known, for its turn asks the system.
fn wait(
    reactor: &Reactor,
    reactor_fd: BorrowedFd<'_>,
    input: Option<BorrowedFd<'_>>,
) -> Result<bool, Box<dyn Error>> {
    let mut watched = vec![PollFd::new(&reactor_fd, PollFlags::IN)];
    watched.extend(input.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
    let until = reactor.next_deadline();
    let until = until.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let until = until.map(Timespec::try_from).transpose()?;
    match poll(&mut watched, until.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(watched.get(1).is_some_and(|fd| !fd.revents().is_empty()))
}

/// Gives what can be read to the audience; false at the end of the input.
fn pass_on(audience: &Audience, input: BorrowedFd<'_>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let length = rustix::io::read(input, &mut buffer)?;
    audience.say(&buffer[..length]);
    Ok(length > 0)
}
