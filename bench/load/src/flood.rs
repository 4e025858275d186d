//! Datagrams one way, as fast as they go.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::{Outcome, Result};

/// What asks a server how many it has received; no counted datagram is as short.
const QUESTION: &[u8] = b"?";

/// How long an answer may take before the question is taken for lost.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Sends for as long as `duration`. What the server did not receive is lost, and no operation.
pub(crate) fn run(socket: &OwnedFd, size: usize, duration: Duration) -> Result<Outcome> {
    if size <= QUESTION.len() {
        return Err("datagrams of a flood need 2 bytes or more".into());
    }
    let before = ask(socket)?;
    let message = vec![b'x'; size];
    let begun = Instant::now();
    let mut sent = 0_u64;
    while begun.elapsed() < duration {
        // The clock costs about as much as a send.
        for _ in 0..100 {
            send(socket, &message, SendFlags::NOSIGNAL)?;
            sent += 1;
        }
    }
    let elapsed = begun.elapsed();
    let received = ask(socket)? - before;
    Ok(Outcome {
        operations: received,
        bytes: received * size as u64,
        lost: sent - received,
        elapsed,
        ..Outcome::default()
    })
}

/// How many datagrams the server has counted. The question may be lost as any datagram; the answer
/// to an earlier one counts less than is asked for, so the last answer holds.
fn ask(socket: &OwnedFd) -> Result<u64> {
    for _ in 0..50 {
        send(socket, QUESTION, SendFlags::NOSIGNAL)?;
        let mut answer = None;
        while poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&PATIENCE))? > 0 {
            let mut buffer = [0; 32];
            let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
            answer = Some(std::str::from_utf8(&buffer[..length])?.parse()?);
        }
        if let Some(count) = answer {
            return Ok(count);
        }
    }
    Err("the server does not say how many datagrams it received".into())
}
