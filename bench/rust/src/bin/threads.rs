//! CPU time of calls that a thread has the loop make: `threads POLLER`.

use std::sync::mpsc;
use std::thread;

use ropewalk::Remote;
use ropewalk_bench::{Result, nanoseconds_each, process_time, reactor_from_arguments};

const ROUND_TRIPS: u32 = 20_000;
const CALLS: u32 = 100_000;

/// Each call is answered before the next one.
fn round_trips(remote: &Remote) -> f64 {
    let (answer, answers) = mpsc::channel();
    let begun = process_time();
    for _ in 0..ROUND_TRIPS {
        let answer = answer.clone();
        remote.call_from_thread(move |_| {
            let _ = answer.send(());
        });
        let _ = answers.recv();
    }
    nanoseconds_each(begun, ROUND_TRIPS) / 1000.0
}

/// Only the last call is waited for.
fn one_way(remote: &Remote) -> f64 {
    let (answer, answers) = mpsc::channel();
    let begun = process_time();
    for _ in 1..CALLS {
        remote.call_from_thread(|_| {});
    }
    remote.call_from_thread(move |_| {
        let _ = answer.send(());
    });
    let _ = answers.recv();
    nanoseconds_each(begun, CALLS)
}

fn main() -> Result<()> {
    let reactor = reactor_from_arguments()?;
    let remote = reactor.remote();
    reactor.call_when_running(move |_| {
        thread::spawn(move || {
            let trip = round_trips(&remote);
            let call = one_way(&remote);
            println!("{{\"round_trip_us\": {trip:.3}, \"one_way_ns\": {call:.1}}}");
            remote.call_from_thread(|reactor| reactor.crash());
        });
    });
    reactor.run()?;
    Ok(())
}
