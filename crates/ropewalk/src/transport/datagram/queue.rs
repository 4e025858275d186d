//! Datagrams that wait because the system takes no more.

use std::collections::{HashSet, VecDeque};
use std::io;

use ropewalk_os::socket;

use crate::transport::NetAddr;

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
    waiting: VecDeque<(Box<[u8]>, NetAddr)>,
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
    /// Some receivers are full, which no readiness tells the end of.
    Partly {
        /// Whether anything left the queue.
        any: bool,
    },
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
    pub(super) fn push(&mut self, data: &[u8], to: NetAddr) -> bool {
        let cost = self.len + data.len() + (self.waiting.len() + 1) * OVERHEAD;
        if cost > self.bound {
            return false;
        }
        self.len += data.len();
        self.waiting.push_back((data.into(), to));
        true
    }

    /// Whether anything waits for this receiver.
    pub(super) fn holds_for(&self, receiver: &NetAddr) -> bool {
        self.waiting.iter().any(|(_, to)| to == receiver)
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
        mut send: impl FnMut(&[u8], &NetAddr) -> io::Result<()>,
        mut lost: impl FnMut(&io::Error, &NetAddr),
    ) -> Flushed {
        let mut sent = 0;
        while let Some((data, to)) = self.waiting.front() {
            if sent >= FLUSH_BOUND {
                return Flushed::Blocked;
            }
            match send(data, to) {
                Ok(()) => sent += data.len() + OVERHEAD,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.refusals = 0;
                    return Flushed::Blocked;
                }
                Err(error) if socket::is_no_buffers(&error) && self.refusals < REFUSALS => {
                    self.refusals += 1;
                    return Flushed::NoBuffers;
                }
                Err(error) => lost(&error, to),
            }
            self.refusals = 0;
            self.len -= data.len();
            self.waiting.pop_front();
        }
        Flushed::All
    }

    /// Sends what `send` takes, in order for each receiver: one that is full holds up its own only.
    pub(super) fn flush_apart(
        &mut self,
        mut send: impl FnMut(&[u8], &NetAddr) -> io::Result<()>,
        mut lost: impl FnMut(&io::Error, &NetAddr),
    ) -> Flushed {
        let mut full = HashSet::new();
        let (mut sent, before) = (0, self.waiting.len());
        for (data, to) in std::mem::take(&mut self.waiting) {
            let refused = match sent >= FLUSH_BOUND || full.contains(&to) {
                true => Some(io::ErrorKind::WouldBlock.into()),
                false => send(&data, &to).err(),
            };
            match refused {
                Some(error) if self.is_full(&error) => {
                    full.insert(to.clone());
                    self.waiting.push_back((data, to));
                    continue;
                }
                Some(error) => lost(&error, &to),
                None => sent += data.len() + OVERHEAD,
            }
            self.len -= data.len();
        }
        let any = self.waiting.len() < before;
        self.refusals = if any { 0 } else { self.refusals + 1 };
        match self.waiting.is_empty() {
            true => Flushed::All,
            false => Flushed::Partly { any },
        }
    }

    /// Whether a receiver is full. Systems other than Linux say that they are out of buffers, and
    /// say so too, whatever time passes, of what is too long for them.
    fn is_full(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock
            || (socket::is_no_buffers(error) && self.refusals < REFUSALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::UnixAddr;
    use std::net::SocketAddr;

    fn peer() -> NetAddr {
        SocketAddr::from(([192, 0, 2, 1], 7)).into()
    }

    fn queue_of(lengths: &[usize]) -> Queue {
        let mut queue = Queue::new(usize::MAX);
        for length in lengths {
            assert!(queue.push(&vec![0; *length], peer()));
        }
        queue
    }

    fn no_loss(error: &io::Error, _: &NetAddr) {
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
        let mut send = |data: &[u8], _: &NetAddr| {
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
        let send = |data: &[u8], _: &NetAddr| match data.len() {
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
        let mut send = |data: &[u8], _: &NetAddr| {
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

    /// A queue with `numbers` in it, to the receiver of each.
    fn mixed(numbers: &[(u8, &str)]) -> Queue {
        let mut queue = Queue::new(usize::MAX);
        for (number, to) in numbers {
            assert!(queue.push(&[*number], UnixAddr::from(*to).into()));
        }
        queue
    }

    #[test]
    fn a_full_receiver_holds_up_its_own_only() {
        let mut queue = mixed(&[(1, "full"), (2, "a"), (3, "full"), (4, "b"), (5, "a")]);
        let mut tries = Vec::new();
        let flushed = queue.flush_apart(
            |data, to| {
                tries.push(data[0]);
                match to.to_string().as_str() {
                    "full" => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            },
            no_loss,
        );
        assert_eq!(flushed, Flushed::Partly { any: true });
        assert_eq!(tries, [1, 2, 4, 5], "the full one is tried once");
        let holds = |name: &str| queue.holds_for(&UnixAddr::from(name).into());
        assert_eq!((holds("full"), holds("a"), queue.len()), (true, false, 2));
        let mut last = Vec::new();
        let take = |data: &[u8], _: &NetAddr| {
            last.push(data[0]);
            Ok(())
        };
        assert_eq!(queue.flush_apart(take, no_loss), Flushed::All);
        assert_eq!((last, queue.len()), (vec![1, 3], 0));
    }

    #[test]
    fn a_receiver_that_is_gone_loses_its_own_only() {
        let mut queue = mixed(&[(1, "gone"), (2, "full"), (3, "gone")]);
        let mut lost = 0;
        let send = |_: &[u8], to: &NetAddr| match to.to_string().as_str() {
            "gone" => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
        let flushed = queue.flush_apart(send, |_, _| lost += 1);
        assert_eq!((flushed, lost), (Flushed::Partly { any: true }, 2));
        let again = queue.flush_apart(send, no_loss);
        assert_eq!((again, queue.len()), (Flushed::Partly { any: false }, 1));
    }

    #[test]
    fn one_flush_to_many_is_bounded() {
        let mut queue = queue_of(&[60_000; 5]);
        let flushed = queue.flush_apart(|_, _| Ok(()), no_loss);
        assert_eq!(flushed, Flushed::Partly { any: true });
        assert_eq!(queue.len(), 2 * 60_000);
    }
}
