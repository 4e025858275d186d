//! One descriptor kept for the day when there is none left.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// A descriptor held only to be given up: with the table full, closing it makes room to accept a
/// connection and close it properly, instead of leaving the peer to wait and the loop to spin.
#[derive(Debug)]
pub struct FdReserve(Option<OwnedFd>);

impl FdReserve {
    /// Takes a descriptor in reserve.
    ///
    /// # Errors
    ///
    /// What open(2) of `/dev/null` failed with.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Some(open()?)))
    }

    /// Whether there is one to give up.
    pub fn available(&self) -> bool {
        self.0.is_some()
    }

    /// Gives it up.
    pub fn release(&mut self) {
        self.0 = None;
    }

    /// Takes one again; answers whether one is held now. May be asked for at any time.
    pub fn reserve(&mut self) -> bool {
        if self.0.is_none() {
            self.0 = open().ok();
        }
        self.0.is_some()
    }
}

fn open() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_reserve_can_be_taken_again() {
        let mut reserve = FdReserve::new().unwrap();
        reserve.release();
        assert!(!reserve.available());
        assert!(reserve.reserve() && reserve.available());
    }
}
