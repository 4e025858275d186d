//! The descriptor sets of `select(2)`, as long as the highest descriptor needs.

use std::os::fd::RawFd;

use crate::{Interest, Readiness};

/// What a set is an array of. The system takes descriptor `n` for bit `n % BITS` of word `n / BITS`,
/// so that the size of the word decides where a bit is in memory on a big-endian machine, and how
/// far the system reads:
///
/// - `unsigned long`: Linux (the kernel's own bitmaps), FreeBSD and DragonFly (`__fd_mask`);
/// - 32 bits: macOS (`__int32_t fds_bits[]`), NetBSD and OpenBSD (`fd_mask`).
#[cfg(not(any(target_vendor = "apple", target_os = "netbsd", target_os = "openbsd")))]
pub(super) type Word = libc::c_ulong;
/// What a set is an array of: 32 bits here.
#[cfg(any(target_vendor = "apple", target_os = "netbsd", target_os = "openbsd"))]
pub(super) type Word = u32;

const BITS: usize = Word::BITS as usize;

/// The descriptors asked about, or reported, for reading and for writing.
///
/// Both sets have the same number of words, and the last of these is not empty in both.
#[derive(Clone, Debug, Default)]
pub(super) struct FdSets {
    read: Vec<Word>,
    write: Vec<Word>,
}

impl FdSets {
    pub(super) const fn new() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
        }
    }

    /// Has `fd` in exactly the sets that `interest` names.
    pub(super) fn put(&mut self, fd: RawFd, interest: Interest) {
        let Ok(number) = usize::try_from(fd) else {
            return;
        };
        let (word, bit) = (number / BITS, 1 << (number % BITS));
        if word >= self.read.len() {
            if interest.is_none() {
                return;
            }
            self.read.resize(word + 1, 0);
            self.write.resize(word + 1, 0);
        }
        set(&mut self.read[word], bit, interest.is_readable());
        set(&mut self.write[word], bit, interest.is_writable());
        if interest.is_none() {
            self.shorten();
        }
    }

    /// How many descriptors, from 0 on, the sets have room for.
    pub(super) fn room(&self) -> usize {
        self.read.len() * BITS
    }

    /// Makes this a copy of `other`, without an allocation as a rule.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.read.clone_from(&other.read);
        self.write.clone_from(&other.write);
    }

    /// The sets for the system to read and write, each with room for [`room`](Self::room)
    /// descriptors: for reading, for writing.
    pub(super) fn as_mut_ptrs(&mut self) -> [*mut Word; 2] {
        [self.read.as_mut_ptr(), self.write.as_mut_ptr()]
    }

    /// What is in the sets, in the order of the descriptors.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RawFd, Readiness)> {
        let words = self.read.iter().zip(&self.write).enumerate();
        words.flat_map(|(word, (read, write))| {
            Bits(read | write).map(move |bit| {
                let mask = 1 << bit;
                let mut readiness = Readiness::NONE;
                if read & mask != 0 {
                    readiness |= Readiness::READABLE;
                }
                if write & mask != 0 {
                    readiness |= Readiness::WRITABLE;
                }
                // Descriptors are `int`s, and only these come in.
                ((word * BITS + bit) as RawFd, readiness)
            })
        })
    }

    /// Drops the empty words at the end, so that the cost of a wait goes by the highest descriptor
    /// that is watched now.
    fn shorten(&mut self) {
        let words = self.read.iter().zip(&self.write);
        let empty = words
            .rev()
            .take_while(|(read, write)| **read | **write == 0);
        let length = self.read.len() - empty.count();
        self.read.truncate(length);
        self.write.truncate(length);
    }
}

fn set(word: &mut Word, bit: Word, value: bool) {
    if value {
        *word |= bit;
    } else {
        *word &= !bit;
    }
}

/// The places of the bits that are set in a word, the lowest first.
struct Bits(Word);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let lowest = self.0.trailing_zeros();
        // Takes the lowest bit away, and leaves an empty word alone.
        self.0 &= self.0.wrapping_sub(1);
        (lowest < Word::BITS).then_some(lowest as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(sets: &FdSets) -> Vec<(RawFd, Readiness)> {
        sets.iter().collect()
    }

    #[test]
    fn what_is_put_is_told_in_order() {
        let mut sets = FdSets::new();
        let both = Readiness::READABLE | Readiness::WRITABLE;
        sets.put(1500, Interest::WRITABLE);
        sets.put(0, Interest::READABLE);
        sets.put(63, Interest::BOTH);
        sets.put(64, Interest::READABLE);
        let expected = [
            (0, Readiness::READABLE),
            (63, both),
            (64, Readiness::READABLE),
            (1500, Readiness::WRITABLE),
        ];
        assert_eq!(content(&sets), expected);
        sets.put(63, Interest::WRITABLE);
        assert_eq!(content(&sets)[1], (63, Readiness::WRITABLE));
    }

    #[test]
    fn the_sets_are_as_long_as_the_highest_descriptor_needs() {
        let mut sets = FdSets::new();
        assert_eq!(sets.room(), 0);
        sets.put(5, Interest::READABLE);
        sets.put(3 * BITS as RawFd, Interest::WRITABLE);
        sets.put(9 * BITS as RawFd, Interest::READABLE);
        assert_eq!(sets.room(), 10 * BITS);
        sets.put(9 * BITS as RawFd, Interest::NONE);
        assert_eq!(sets.room(), 4 * BITS);
        sets.put(8 * BITS as RawFd, Interest::NONE);
        assert_eq!(
            sets.room(),
            4 * BITS,
            "what is not in the sets needs no room"
        );
        sets.put(5, Interest::NONE);
        sets.put(3 * BITS as RawFd, Interest::NONE);
        assert_eq!((sets.room(), content(&sets)), (0, vec![]));
    }

    /// The layout of the C macros: checked against those of the system.
    #[test]
    fn a_bit_is_where_the_system_expects_it() {
        for fd in [0, 1, 31, 32, 63, 64, 100, 255] {
            let mut sets = FdSets::new();
            sets.put(fd, Interest::READABLE);
            // SAFETY: all zeros are an empty set, and the descriptor is below FD_SETSIZE.
            let expected = unsafe {
                let mut expected = std::mem::zeroed::<libc::fd_set>();
                libc::FD_SET(fd, &mut expected);
                expected
            };
            let length = size_of_val(&sets.read[..]);
            let expected = std::ptr::from_ref(&expected).cast::<u8>();
            let ours = sets.read.as_ptr().cast::<u8>();
            // SAFETY: both are at least so long: 256 descriptors fit into every system's set.
            let (ours, expected) = unsafe {
                (
                    std::slice::from_raw_parts(ours, length),
                    std::slice::from_raw_parts(expected, length),
                )
            };
            assert_eq!(ours, expected, "descriptor {fd}");
        }
    }
}
