//! Which descriptor goes where, worked out before there is a child.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

/// One step of giving descriptors their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It has its number; it must outlive exec(2).
    Keep(RawFd),
    /// `dup2(from, to)`.
    Copy { from: RawFd, to: RawFd },
    /// Duplicates it to any free number: the spare.
    Save(RawFd),
    /// `dup2(spare, to)`, and closes the spare.
    Restore(RawFd),
}

/// The steps after which each number of `wanted` names what the number beside it named before.
///
/// Nothing is overwritten while it is still needed, and no number is used but those that are
/// wanted, and one that is free at the time: the table may have room for no other.
pub(super) fn moves(wanted: &BTreeMap<RawFd, RawFd>) -> Vec<Move> {
    let in_place = wanted.iter().filter(|(to, from)| to == from);
    let mut moves: Vec<_> = in_place.map(|(to, _)| Move::Keep(*to)).collect();
    let mut pending = wanted.clone();
    pending.retain(|to, from| to != from);
    while !pending.is_empty() {
        let needed = |number: &RawFd| pending.values().any(|from| from == number);
        let safe: Vec<_> = pending.keys().copied().filter(|to| !needed(to)).collect();
        if safe.is_empty() {
            break_cycle(&mut pending, &mut moves);
        }
        for to in safe {
            let from = pending.remove(&to).unwrap_or(to);
            moves.push(Move::Copy { from, to });
        }
    }
    moves
}

/// Makes the moves of one cycle. Every number that is wanted is needed as well: so each is needed
/// once, they are all in use, and the spare, which is free, is none of them.
fn break_cycle(pending: &mut BTreeMap<RawFd, RawFd>, moves: &mut Vec<Move>) {
    let Some((&first, _)) = pending.iter().next() else {
        return;
    };
    moves.push(Move::Save(first));
    let mut to = first;
    while let Some(from) = pending.remove(&to) {
        if from == first {
            moves.push(Move::Restore(to));
        } else {
            moves.push(Move::Copy { from, to });
        }
        to = from;
    }
}

/// The ranges of numbers, both ends included, that are none of `kept`, which is in order.
pub(super) fn gaps(kept: impl IntoIterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut next = 0;
    let mut gaps = Vec::new();
    for number in kept {
        let number = number as u32;
        if next < number {
            gaps.push((next, number - 1));
        }
        next = number + 1;
    }
    gaps.push((next, u32::MAX));
    gaps
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// What a table of descriptors holds after the moves: number and content.
    fn play(open: &[RawFd], moves: &[Move]) -> BTreeMap<RawFd, RawFd> {
        let mut table: BTreeMap<_, _> = open.iter().map(|fd| (*fd, *fd)).collect();
        let mut spare = None;
        for step in moves {
            match *step {
                Move::Keep(fd) => assert!(table.contains_key(&fd)),
                Move::Copy { from, to } => {
                    let content = table[&from];
                    table.insert(to, content);
                }
                Move::Save(fd) => {
                    let number = (0..).find(|number| !table.contains_key(number)).unwrap();
                    table.insert(number, table[&fd]);
                    assert_eq!(spare.replace(number), None);
                }
                Move::Restore(to) => {
                    let content = table.remove(&spare.take().unwrap()).unwrap();
                    table.insert(to, content);
                }
            }
        }
        assert_eq!(spare, None);
        table
    }

    fn check(wanted: &BTreeMap<RawFd, RawFd>, others: &[RawFd]) {
        let open: Vec<_> = wanted.values().chain(others).copied().collect();
        let table = play(&open, &moves(wanted));
        for (to, from) in wanted {
            assert_eq!(table.get(to), Some(from), "{wanted:?}: {:?}", moves(wanted));
        }
    }

    #[test]
    fn a_swap_uses_a_spare_and_what_is_in_place_is_kept() {
        let wanted = BTreeMap::from([(0, 1), (1, 0), (2, 2), (5, 0)]);
        let expected = [
            Move::Keep(2),
            Move::Copy { from: 0, to: 5 },
            Move::Save(0),
            Move::Copy { from: 1, to: 0 },
            Move::Restore(1),
        ];
        assert_eq!(moves(&wanted), expected);
        check(&wanted, &[]);
    }

    #[test]
    fn random_mappings_come_out_as_wanted() {
        let mut state = 1_u32;
        let mut random = |below: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as i32 % below
        };
        for _ in 0..20_000 {
            let width = 1 + random(9);
            let count = random(10);
            let wanted = (0..count).map(|_| (random(width), random(width)));
            let wanted: BTreeMap<_, _> = wanted.collect();
            let others: Vec<_> = (0..random(4)).map(|_| random(12)).collect();
            check(&wanted, &others);
        }
    }

    #[test]
    fn gaps_are_what_is_not_kept() {
        assert_eq!(gaps([]), [(0, u32::MAX)]);
        assert_eq!(gaps([0, 1, 2]), [(3, u32::MAX)]);
        assert_eq!(gaps([1, 5, 6]), [(0, 0), (2, 4), (7, u32::MAX)]);
        assert_eq!(gaps([RawFd::MAX]).len(), 2);
    }
}
