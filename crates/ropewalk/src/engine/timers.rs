//! Delayed calls: an indexed heap, stable for equal deadlines, without garbage left behind.

/// Names a timer until it fires or is cancelled; a stale id is recognised, never mistaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

/// Values due at moments of type `K`: O(log n) to insert, cancel and reset, O(1) to look at the
/// next deadline. Equal deadlines come out in the order they were scheduled.
///
/// It holds no clock: `now` is an argument. `K` must be totally ordered among the values used
/// (`Instant`, or a float that is never NaN).
#[derive(Debug)]
pub struct Timers<K, T> {
    /// A heap of four children per node: shallower than a binary one, and the children of a node
    /// share a cache line or two.
    heap: Vec<Node<K>>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    next_sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node<K> {
    deadline: K,
    sequence: u64,
    slot: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Where in the heap the timer is; meaningless while `value` is empty.
    position: u32,
    value: Option<T>,
}

const ARITY: usize = 4;

impl<K: Copy + PartialOrd> Node<K> {
    fn before(&self, other: &Self) -> bool {
        self.deadline < other.deadline
            || (self.deadline == other.deadline && self.sequence < other.sequence)
    }
}

impl<K: Copy + PartialOrd, T> Default for Timers<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + PartialOrd, T> Timers<K, T> {
    /// Creates an empty set.
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_sequence: 0,
        }
    }

    /// Schedules `value` for `deadline`.
    pub fn insert(&mut self, deadline: K, value: T) -> TimerId {
        let position = self.heap.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].value = Some(value);
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
                self.slots.push(Slot {
                    generation: 0,
                    position: 0,
                    value: Some(value),
                });
                slot
            }
        };
        let sequence = self.take_sequence();
        self.heap.push(Node {
            deadline,
            sequence,
            slot,
        });
        self.sift_up(position);
        TimerId {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// Takes a timer out and hands its value back; nothing of it stays behind.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let position = self.position(id)?;
        self.remove_at(position).map(|(_, value)| value)
    }

    /// Moves a timer to `deadline`, as the last scheduled among equals. False for a stale id.
    pub fn reset(&mut self, id: TimerId, deadline: K) -> bool {
        let Some(position) = self.position(id) else {
            return false;
        };
        let sequence = self.take_sequence();
        let node = &mut self.heap[position];
        node.deadline = deadline;
        node.sequence = sequence;
        let position = self.sift_up(position);
        self.sift_down(position);
        true
    }

    /// Moves a timer to a later `deadline` and keeps its place among equals: for a caller that
    /// noted the move when it was asked for and makes it when the timer comes up.
    pub fn postpone(&mut self, id: TimerId, deadline: K) -> bool {
        let Some(position) = self.position(id) else {
            return false;
        };
        self.heap[position].deadline = deadline;
        let position = self.sift_up(position);
        self.sift_down(position);
        true
    }

    /// When the timer is due, or nothing for a stale id.
    pub fn deadline(&self, id: TimerId) -> Option<K> {
        self.position(id)
            .map(|position| self.heap[position].deadline)
    }

    /// The value of a timer, or nothing for a stale id.
    pub fn get(&self, id: TimerId) -> Option<&T> {
        self.position(id)?;
        self.slots[id.slot as usize].value.as_ref()
    }

    /// The next deadline.
    pub fn peek(&self) -> Option<K> {
        self.heap.first().map(|node| node.deadline)
    }

    /// The number the next scheduled timer gets. Taken at the start of a pass, it bounds the pass:
    /// what the pass itself schedules waits for the next one.
    pub fn sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The next timer due at `now` that was scheduled before `sequence`.
    pub fn peek_due(&self, now: K, sequence: u64) -> Option<TimerId> {
        let node = self.heap.first()?;
        let due = node.deadline <= now && node.sequence < sequence;
        let generation = self.slots[node.slot as usize].generation;
        due.then_some(TimerId {
            slot: node.slot,
            generation,
        })
    }

    /// Takes out what [`peek_due`](Self::peek_due) names.
    pub fn pop_due(&mut self, now: K, sequence: u64) -> Option<(TimerId, T)> {
        self.peek_due(now, sequence)?;
        self.remove_at(0)
    }

    /// How many timers are pending.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The values of all pending timers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// Takes all timers out at once.
    pub fn take_all(&mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.heap.len());
        while let Some((_, value)) = self.remove_at(self.heap.len().wrapping_sub(1)) {
            values.push(value);
        }
        values
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    fn position(&self, id: TimerId) -> Option<usize> {
        let slot = self.slots.get(id.slot as usize)?;
        let live = slot.generation == id.generation && slot.value.is_some();
        live.then_some(slot.position as usize)
    }

    fn remove_at(&mut self, position: usize) -> Option<(TimerId, T)> {
        if position >= self.heap.len() {
            return None;
        }
        let node = self.heap.swap_remove(position);
        if position < self.heap.len() {
            let position = self.sift_up(position);
            self.sift_down(position);
        }
        let slot = &mut self.slots[node.slot as usize];
        let id = TimerId {
            slot: node.slot,
            generation: slot.generation,
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(node.slot);
        slot.value.take().map(|value| (id, value))
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        let node = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !node.before(&self.heap[parent]) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, node);
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        let node = self.heap[position];
        loop {
            let first = position * ARITY + 1;
            if first >= self.heap.len() {
                break;
            }
            let last = (first + ARITY).min(self.heap.len());
            let least = (first + 1..last).fold(first, |least, child| {
                if self.heap[child].before(&self.heap[least]) {
                    child
                } else {
                    least
                }
            });
            if !self.heap[least].before(&node) {
                break;
            }
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, node);
    }

    fn place(&mut self, position: usize, node: Node<K>) {
        self.heap[position] = node;
        self.slots[node.slot as usize].position = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(timers: &mut Timers<u64, u32>, now: u64) -> Vec<u32> {
        let sequence = timers.sequence();
        std::iter::from_fn(|| timers.pop_due(now, sequence).map(|(_, value)| value)).collect()
    }

    #[test]
    fn equal_deadlines_come_out_in_the_order_they_were_scheduled() {
        let mut timers = Timers::new();
        for n in 0..100 {
            timers.insert(7, n);
        }
        assert_eq!(drain(&mut timers, 7), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_comes_out_before_its_deadline() {
        let mut timers = Timers::new();
        timers.insert(5, 0);
        assert_eq!(drain(&mut timers, 4), []);
        assert_eq!(drain(&mut timers, 5), [0]);
    }

    #[test]
    fn what_a_pass_schedules_waits_for_the_next_pass() {
        let mut timers = Timers::new();
        timers.insert(1, 0);
        let sequence = timers.sequence();
        assert!(timers.pop_due(1, sequence).is_some());
        timers.insert(1, 1);
        assert!(timers.pop_due(1, sequence).is_none());
        assert_eq!(drain(&mut timers, 1), [1]);
    }

    #[test]
    fn a_stale_id_names_nothing_even_when_its_slot_is_used_again() {
        let mut timers = Timers::new();
        let old = timers.insert(1, 10);
        assert_eq!(timers.cancel(old), Some(10));
        let new = timers.insert(1, 11);
        assert_eq!(timers.cancel(old), None);
        assert!(!timers.reset(old, 9));
        assert_eq!(timers.deadline(new), Some(1));
    }

    #[test]
    fn a_cancelled_timer_leaves_no_garbage() {
        let mut timers = Timers::new();
        for n in 0..10_000 {
            let id = timers.insert(n, n as u32);
            timers.cancel(id);
        }
        assert_eq!((timers.len(), timers.slots.len()), (0, 1));
    }

    #[test]
    fn a_random_history_agrees_with_a_sorted_list() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut timers = Timers::new();
        let mut model: Vec<(u64, u64, u32, TimerId)> = Vec::new();
        for value in 0..20_000_u32 {
            match random(4) {
                0 | 1 => {
                    let (deadline, sequence) = (random(50), timers.sequence());
                    let id = timers.insert(deadline, value);
                    model.push((deadline, sequence, value, id));
                }
                2 if !model.is_empty() => {
                    let at = random(model.len() as u64) as usize;
                    let (_, _, value, id) = model.swap_remove(at);
                    assert_eq!(timers.cancel(id), Some(value));
                }
                3 if !model.is_empty() => {
                    let at = random(model.len() as u64) as usize;
                    model[at].0 = random(50);
                    model[at].1 = timers.sequence();
                    assert!(timers.reset(model[at].3, model[at].0));
                }
                _ => {}
            }
            assert_eq!(timers.peek(), model.iter().map(|entry| entry.0).min());
        }
        model.sort_by_key(|entry| (entry.0, entry.1));
        let expected: Vec<_> = model.iter().map(|entry| entry.2).collect();
        assert_eq!(drain(&mut timers, 50), expected);
        assert!(timers.is_empty() && timers.peek().is_none());
    }
}
