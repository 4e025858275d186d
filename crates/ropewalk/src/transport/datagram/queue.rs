//! Datagrams that wait because the system takes no more.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use ropewalk_os::socket;

/// What a waiting datagram counts besides its bytes, so that empty ones are bounded as well.
const OVERHEAD: usize = 64;

/// The most one flush sends, in bytes: no socket keeps the loop from the others.
const FLUSH_BOUND: usize = 128 * 1024;

/// How often the system may be out of buffers for one datagram before it is given up. Some are too
/// long for the buffer whatever else is in it, and would hold up all behind them.
const REFUSALS: u32 = 30;

/// Datagrams in the order they were sent, bounded.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<(Box<[u8]>, SocketAddr)>,
    /// Sum of the datagrams' lengths, in bytes.
    len: usize,
    bound: usize,
    /// How often the system was out of buffers for the first one.
    refusals: u32,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing waits any more.
    All,
    /// The socket's buffer is full, or the bound was reached: to go on when it is writable.
    Blocked,
    /// The system is out of buffers, which no readiness tells the end of: to be tried again later.
    NoBuffers,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            len: 0,
            bound,
            refusals: 0,
        }
    }

    /// The bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends a copy, unless that would pass the bound.
    ///
    /// The newest is the one to go, as in the kernel's own buffers: what was accepted keeps its
    /// order and its place, and a sender that minds can hold back.
    pub(super) fn push(&mut self, data: &[u8], to: SocketAddr) -> bool {
        let cost = self.len + data.len() + (self.waiting.len() + 1) * OVERHEAD;
        if cost > self.bound {
            return false;
        }
        self.len += data.len();
        self.waiting.push_back((data.into(), to));
        true
    }

    /// Forgets all and answers how many they were.
    pub(super) fn clear(&mut self) -> usize {
        self.len = 0;
        self.refusals = 0;
        std::mem::take(&mut self.waiting).len()
    }

    /// Sends what `send` takes, in order; `lost` hears of each that the system refused for good.
    pub(super) fn flush(
        &mut self,
        mut send: impl FnMut(&[u8], SocketAddr) -> io::Result<()>,
        mut lost: impl FnMut(&io::Error, SocketAddr),
    ) -> Flushed {
        let mut sent = 0;
        while let Some((data, to)) = self.waiting.front() {
            if sent >= FLUSH_BOUND {
                return Flushed::Blocked;
            }
            match send(data, *to) {
                Ok(()) => sent += data.len() + OVERHEAD,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.refusals = 0;
                    return Flushed::Blocked;
                }
                Err(error) if socket::is_no_buffers(&error) && self.refusals < REFUSALS => {
                    self.refusals += 1;
                    return Flushed::NoBuffers;
                }
                Err(error) => lost(&error, *to),
            }
            self.refusals = 0;
            self.len -= data.len();
            self.waiting.pop_front();
        }
        Flushed::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 7))
    }

    fn queue_of(lengths: &[usize]) -> Queue {
        let mut queue = Queue::new(usize::MAX);
        for length in lengths {
            assert!(queue.push(&vec![0; *length], peer()));
        }
        queue
    }

    fn no_loss(error: &io::Error, _: SocketAddr) {
        panic!("{error}")
    }

    #[test]
    fn the_bound_counts_empty_datagrams_too() {
        let mut queue = Queue::new(4 * OVERHEAD);
        let taken = (0..10).filter(|_| queue.push(&[], peer())).count();
        assert_eq!(taken, 4);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn the_newest_is_refused_at_the_bound() {
        let mut queue = Queue::new(100 + 2 * OVERHEAD);
        assert!(queue.push(&[1; 60], peer()));
        assert!(!queue.push(&[2; 41], peer()));
        assert!(queue.push(&[3; 40], peer()));
        assert_eq!(queue.len(), 100);
        let mut first = Vec::new();
        let flushed = queue.flush(
            |data, _| {
                first.push(data[0]);
                Ok(())
            },
            no_loss,
        );
        assert_eq!((flushed, first), (Flushed::All, vec![1, 3]));
        assert_eq!((queue.len(), queue.clear()), (0, 0));
    }

    #[test]
    fn a_full_buffer_keeps_order_and_place() {
        let mut queue = queue_of(&[1, 2, 3]);
        let mut room = 1;
        let mut send = |data: &[u8], _| {
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            room -= 1;
            assert_eq!(data.len(), 1);
            Ok(())
        };
        assert_eq!(queue.flush(&mut send, no_loss), Flushed::Blocked);
        assert_eq!((queue.len(), queue.clear()), (5, 2));
    }

    #[test]
    fn one_flush_is_bounded() {
        let mut queue = queue_of(&[60_000; 5]);
        assert_eq!(queue.flush(|_, _| Ok(()), no_loss), Flushed::Blocked);
        assert_eq!(queue.len(), 2 * 60_000);
    }

    #[test]
    fn a_refused_datagram_is_lost_and_the_next_is_sent() {
        let mut queue = queue_of(&[1, 2, 3]);
        let mut lost = 0;
        let send = |data: &[u8], _| match data.len() {
            2 => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        };
        assert_eq!(queue.flush(send, |_, _| lost += 1), Flushed::All);
        assert_eq!(lost, 1);
    }

    #[test]
    fn a_datagram_that_no_buffer_is_ever_found_for_is_given_up() {
        let no_buffers = || io::Error::from(rustix::io::Errno::NOBUFS);
        let mut queue = queue_of(&[60_000, 1]);
        let mut send = |data: &[u8], _| {
            if data.len() > 1 {
                return Err(no_buffers());
            }
            Ok(())
        };
        for _ in 0..REFUSALS {
            assert_eq!(queue.flush(&mut send, no_loss), Flushed::NoBuffers);
        }
        let mut lost = 0;
        assert_eq!(queue.flush(&mut send, |_, _| lost += 1), Flushed::All);
        assert_eq!((lost, queue.len()), (1, 0));
    }
}
