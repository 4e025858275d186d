//! Much data one way.

use std::time::Instant;

use crate::stream::Stream;
use crate::{Outcome, Result};

/// Of what all that is sent one way consists.
pub(crate) const BYTE: u8 = b'x';

const LENGTH: usize = 256 * 1024;

/// Sends or receives `bytes` on a blocking connection. Sending ends when the server has read all
/// and closed.
pub(crate) fn run(stream: &mut Stream, bytes: u64, sends: bool) -> Result<Outcome> {
    let content = vec![BYTE; LENGTH];
    let mut buffer = vec![0; LENGTH];
    let begun = Instant::now();
    let mut done = 0;
    while done < bytes {
        let moved = if sends {
            let length = usize::try_from(bytes - done)?.min(LENGTH);
            stream.send(&content[..length])?
        } else {
            let got = stream.recv(&mut buffer)?;
            if buffer[..got] != content[..got] {
                return Err(format!("the server sent something else after {done} bytes").into());
            }
            got
        };
        if moved == 0 {
            return Err(format!("the server closed after {done} bytes").into());
        }
        done += moved as u64;
    }
    if sends {
        stream.finish()?;
        if stream.recv(&mut buffer)? != 0 {
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
