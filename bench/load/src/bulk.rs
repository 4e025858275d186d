//! Much data one way.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::{Outcome, Result};

/// Sends or receives `bytes` on a blocking socket. Sending ends when the server has read all and
/// closed.
pub(crate) fn run(socket: &OwnedFd, bytes: u64, sends: bool) -> Result<Outcome> {
    let mut buffer = vec![0; 256 * 1024];
    let begun = Instant::now();
    let mut done = 0;
    while done < bytes {
        let moved = if sends {
            let length = usize::try_from(bytes - done)?.min(buffer.len());
            send(socket, &buffer[..length], SendFlags::NOSIGNAL)?
        } else {
            recv(socket, &mut buffer[..], RecvFlags::empty())?.0
        };
        if moved == 0 {
            return Err(format!("the server closed after {done} bytes").into());
        }
        done += moved as u64;
    }
    if sends {
        shutdown(socket, Shutdown::Write)?;
        if recv(socket, &mut buffer[..], RecvFlags::empty())?.0 != 0 {
            return Err("a server that should only read has sent something".into());
        }
    }
    Ok(Outcome {
        operations: 1,
        bytes: done,
        elapsed: begun.elapsed(),
        ..Outcome::default()
    })
}
