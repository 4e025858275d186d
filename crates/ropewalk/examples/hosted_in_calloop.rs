//! A reactor inside a calloop event loop, beside calloop's own sources: standard input, whose lines
//! go to all clients and whose end stops the program, and a timer that counts the minutes.
//!
//! ```text
//! cargo run --release --example hosted_in_calloop -- 127.0.0.1:8007
//! ```

mod hosted;

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};
use hosted::{Audience, address};
use ropewalk::Reactor;

/// What calloop's callbacks are given.
struct State {
    reactor: Reactor,
    audience: Audience,
    minutes: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let reactor = Reactor::new()?;
    let mut event_loop: EventLoop<'_, State> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    // Being woken is all that is needed: the turn comes after each dispatch.
    let fd = reactor.as_fd()?.try_clone_to_owned()?;
    let watched = Generic::new(fd, Interest::READ, Mode::Level);
    handle.insert_source(watched, |_, _, _| Ok(PostAction::Continue))?;
    insert_own_sources(&handle)?;

    let audience = Audience::default();
    let _port = audience.serve(&reactor, &address())?;
    reactor.start()?;
    let mut state = State {
        reactor,
        audience,
        minutes: 0,
    };
    loop {
        state.reactor.turn(Duration::ZERO)?;
        if !state.reactor.state().keeps_looping() {
            return Ok(());
        }
        let deadline = state.reactor.next_deadline();
        let until = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        event_loop.dispatch(until, &mut state)?;
    }
}

/// What the program would do in calloop without any reactor.
fn insert_own_sources(handle: &LoopHandle<'_, State>) -> Result<(), Box<dyn Error>> {
    let input = Generic::new(io::stdin(), Interest::READ, Mode::Level);
    handle.insert_source(input, |_, input, state| pass_on(input.as_fd(), state))?;
    let minute = Duration::from_secs(60);
    handle.insert_source(Timer::from_duration(minute), move |_, _, state| {
        state.minutes += 1;
        println!("{} minutes", state.minutes);
        TimeoutAction::ToDuration(minute)
    })?;
    Ok(())
}

fn pass_on(input: BorrowedFd<'_>, state: &mut State) -> io::Result<PostAction> {
    let mut buffer = [0; 4096];
    let length = rustix::io::read(input, &mut buffer)?;
    if length > 0 {
        state.audience.say(&buffer[..length]);
        return Ok(PostAction::Continue);
    }
    state.reactor.stop().map_err(io::Error::other)?;
    Ok(PostAction::Remove)
}
