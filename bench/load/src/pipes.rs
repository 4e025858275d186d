//! The other side of pipe throughput: a child that writes to its standard output, or reads its
//! standard input to the end.

use std::io::{self, Read, Write};

use crate::Result;
use crate::bulk::BYTE;

/// What a pipe holds by default.
const LENGTH: usize = 64 * 1024;

pub(crate) fn pour(bytes: u64) -> Result<()> {
    let content = vec![BYTE; LENGTH];
    let mut output = io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left)?.min(LENGTH);
        // In one call each, without the buffer of standard output.
        output.write_all(&content[..length])?;
        left -= length as u64;
    }
    Ok(output.flush()?)
}

/// Fails, so that its exit code tells, if that is not just what all servers send.
pub(crate) fn drink(bytes: u64) -> Result<()> {
    let content = vec![BYTE; LENGTH];
    let mut buffer = vec![0; LENGTH];
    let mut input = io::stdin().lock();
    let mut done = 0;
    loop {
        let got = input.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        if buffer[..got] != content[..got] {
            return Err(format!("something else came after {done} bytes").into());
        }
        done += got as u64;
    }
    if done != bytes {
        return Err(format!("{done} bytes came, not {bytes}").into());
    }
    Ok(())
}
