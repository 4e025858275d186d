//! Delayed calls: repeated, cancelled, put off, and awaited. Ends by itself.
//!
//! ```text
//! cargo run --release --example timers
//! ```

use std::time::{Duration, Instant};

use ropewalk::Reactor;

/// Calls itself again until it has counted down.
fn count_down(reactor: &Reactor, left: u32) {
    println!("{left}");
    if left > 0 {
        reactor.call_later(Duration::from_millis(10), move |reactor| {
            count_down(reactor, left - 1)
        });
    }
}

fn main() -> ropewalk::Result<()> {
    let reactor = Reactor::new()?;
    reactor.call_when_running(|reactor| count_down(reactor, 3));

    // A time limit: put off once, then taken back.
    let limit = reactor.call_later(Duration::from_millis(20), |reactor| {
        println!("took too long");
        reactor.crash();
    });
    limit.delay(Duration::from_secs(10));

    // The same with `await`.
    let (handle, start) = (reactor.clone(), Instant::now());
    let task = reactor.spawn_local(async move {
        handle.sleep(Duration::from_millis(50)).await?;
        assert!(start.elapsed() >= Duration::from_millis(50));
        println!("slept, limit cancelled: {}", limit.cancel());
        handle.stop()
    });

    reactor.run()?;
    task.try_take().expect("the task stopped the reactor")?
}
