use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;

type Queue = WriteQueue<Vec<u8>>;

fn content<C: AsRef<[u8]>>(queue: &WriteQueue<C>) -> Vec<u8> {
    queue.slices().flatten().copied().collect()
}

/// Sends everything in steps of at most `limit` bytes and says how many steps it took.
fn drain<C: AsRef<[u8]>>(queue: &mut WriteQueue<C>, limit: usize) -> usize {
    let mut sends = 0;
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = queue.fill_slices(&mut slices, limit);
        let sent = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(sent > 0 && sent <= limit);
        queue.advance(sent, &mut drop);
        sends += 1;
    }
    sends
}

/// A chunk that notes when it is dropped, and can be neither cloned nor compared.
struct Noted {
    bytes: Vec<u8>,
    name: u32,
    dropped: Rc<RefCell<Vec<u32>>>,
}

impl AsRef<[u8]> for Noted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.name);
    }
}

#[test]
fn a_pause_is_reported_once_and_only_strictly_above_the_mark() {
    let mut queue = Queue::with_high_water(4);
    assert_eq!(queue.push_copy(b"abcd"), Flow::Keep);
    assert_eq!(queue.push_copy(b"e"), Flow::Pause);
    assert_eq!(queue.push_copy(b"f"), Flow::Keep);
    assert!(queue.paused() && queue.is_above_high_water());
}

#[test]
fn a_pause_of_the_caller_s_is_reported_once_and_taken_back_as_any_other() {
    let mut queue = Queue::with_high_water(4);
    assert_eq!(queue.push_copy(b"a"), Flow::Keep);
    assert_eq!((queue.pause(), queue.pause()), (Flow::Pause, Flow::Keep));
    assert!(!queue.take_resumed());
    queue.advance(1, &mut drop);
    assert!(queue.take_resumed() && !queue.paused());
}

#[test]
fn a_producer_is_resumed_once_and_only_when_all_is_sent() {
    let mut queue = Queue::with_high_water(2);
    assert_eq!(queue.push(b"abc".to_vec()), Flow::Pause);
    queue.advance(2, &mut drop);
    assert!(!queue.take_resumed() && queue.paused());
    queue.advance(1, &mut drop);
    assert!(queue.take_resumed());
    assert!(!queue.take_resumed());
    assert_eq!(queue.push(b"abc".to_vec()), Flow::Pause);
}

#[test]
fn a_queue_that_never_paused_resumes_nobody() {
    let mut queue = Queue::new();
    queue.push_copy(b"abc");
    queue.advance(3, &mut drop);
    assert!(!queue.take_resumed());
}

#[test]
fn a_forgotten_pause_is_reported_again() {
    let mut queue = Queue::with_high_water(0);
    assert_eq!(queue.push_copy(b"a"), Flow::Pause);
    queue.forget_pause();
    assert_eq!(queue.push_copy(b"b"), Flow::Pause);
}

#[test]
fn a_moved_mark_holds_for_later_pushes() {
    let mut queue = Queue::with_high_water(1);
    queue.set_high_water(3);
    assert_eq!(queue.push_copy(b"abc"), Flow::Keep);
    queue.set_high_water(2);
    assert_eq!(queue.high_water(), 2);
    assert_eq!(queue.push_copy(b"d"), Flow::Pause);
}

#[test]
fn nothing_is_nothing() {
    let mut queue = Queue::with_high_water(0);
    assert_eq!(queue.push(Vec::new()), Flow::Keep);
    assert_eq!(queue.push_copy(b""), Flow::Keep);
    assert_eq!(
        (queue.len(), queue.first_slice(), queue.slices().count()),
        (0, None, 0)
    );
    queue.advance(0, &mut drop);
    assert!(queue.is_empty());
}

#[test]
fn a_large_chunk_is_not_copied() {
    let mut queue = WriteQueue::new();
    let chunk = vec![7; Queue::COPY_LIMIT + 1];
    let address = chunk.as_ptr();
    queue.push_copy(b"before");
    queue.push(chunk);
    assert_eq!(queue.slices().nth(1).unwrap().as_ptr(), address);
    assert_eq!(queue.chunks().count(), 1);
}

#[test]
fn a_small_chunk_is_kept_alone_and_copied_behind_others() {
    let mut queue = WriteQueue::new();
    let chunk = b"abc".to_vec();
    let address = chunk.as_ptr();
    queue.push(chunk);
    assert_eq!(queue.first_slice().unwrap().as_ptr(), address);
    queue.push(b"de".to_vec());
    queue.push(b"f".to_vec());
    let slices: Vec<_> = queue.slices().collect();
    assert_eq!(slices, [b"abc".as_slice(), b"def"]);
}

#[test]
fn a_queue_of_one_chunk_allocates_nothing_of_its_own() {
    let mut queue = Queue::new();
    for _ in 0..100 {
        queue.push(vec![1; 64]);
        queue.advance(64, &mut drop);
    }
    assert_eq!(queue.rest.capacity(), 0);
}

#[test]
fn an_empty_queue_keeps_little_memory() {
    let mut queue = Queue::new();
    for _ in 0..1000 {
        queue.push(vec![1; Queue::COPY_LIMIT + 1]);
    }
    drain(&mut queue, 10_000);
    assert!(queue.rest.capacity() <= Queue::KEPT_SEGMENTS);
    queue.push(vec![1; 64]);
    queue.clear(&mut drop);
    assert_eq!(queue.rest.capacity(), 0);
    // A stream carries one of these; with chunks of four words it is 104 bytes.
    assert!(size_of::<WriteQueue<[usize; 4]>>() <= 104);
}

#[test]
fn slices_stop_at_the_limit_and_at_the_end_of_the_array() {
    let mut queue = Queue::new();
    for n in 0..3 {
        queue.push(vec![n; 2000]);
    }
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(queue.fill_slices(&mut slices, 2500), 2);
    assert_eq!((slices[0].len(), slices[1].len()), (2000, 500));
    assert_eq!(queue.fill_slices(&mut slices, usize::MAX), 2);
    assert_eq!((slices[0].len(), slices[1].len()), (2000, 2000));
    assert_eq!(queue.fill_slices(&mut slices, 2000), 1);
    assert_eq!(queue.fill_slices(&mut slices, 0), 0);
    assert_eq!(queue.fill_slices(&mut [], 10), 0);
}

#[test]
fn sent_chunks_are_handed_back_in_order_and_not_dropped_inside() {
    let dropped = Rc::new(RefCell::new(Vec::new()));
    let mut queue = WriteQueue::new();
    for name in 0..4 {
        queue.push(Noted {
            bytes: vec![0; 2000],
            name,
            dropped: Rc::clone(&dropped),
        });
    }
    let mut released = Vec::new();
    queue.advance(4001, &mut |chunk| released.push(chunk));
    assert_eq!(
        released
            .iter()
            .map(|chunk: &Noted| chunk.name)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    queue.clear(&mut |chunk| released.push(chunk));
    assert_eq!(
        released.iter().map(|chunk| chunk.name).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert!(dropped.borrow().is_empty());
    assert_eq!((queue.len(), content(&queue).len()), (0, 0));
}

#[test]
fn a_partly_sent_copy_still_takes_more() {
    let mut queue = Queue::new();
    queue.push_copy(b"abcdef");
    queue.advance(4, &mut drop);
    queue.push_copy(b"gh");
    assert_eq!(queue.first_slice(), Some(b"efgh".as_slice()));
}

#[test]
#[should_panic(expected = "more was sent than was queued")]
fn more_than_the_queue_cannot_be_sent() {
    let mut queue = Queue::new();
    queue.push_copy(b"ab");
    queue.advance(3, &mut drop);
}

#[test]
fn sixty_megabytes_and_one_byte_go_out_in_as_many_sends_as_it_takes() {
    let mut queue = WriteQueue::new();
    let (size, limit) = (60_000_000, 131_072);
    queue.push(vec![1; size]);
    queue.push_copy(b"x");
    assert_eq!(drain(&mut queue, limit), (size + 1).div_ceil(limit));
}

#[test]
fn a_million_writes_of_one_byte_become_few_segments() {
    let mut queue = Queue::new();
    for n in 0..1_000_000_u32 {
        queue.push(vec![n as u8]);
    }
    assert!(queue.slices().count() < 20);
    assert!(
        content(&queue)
            .iter()
            .zip(0_u32..)
            .all(|(byte, n)| *byte == n as u8)
    );
    assert!(drain(&mut queue, 131_072) < 20);
}

#[test]
fn a_random_history_agrees_with_a_plain_queue_of_bytes() {
    for seed in 1..=10_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let mut queue = WriteQueue::with_high_water(5000);
        let (mut model, mut paused) = (VecDeque::new(), false);
        for name in 0..1000_u32 {
            let size = [0, 1, 3, 900, 1024, 1025, 4000][random(7)];
            let bytes: Vec<u8> = (0..size).map(|_| random(256) as u8).collect();
            match random(10) {
                0..=2 => {
                    model.extend(&bytes);
                    let flow = queue.push(Noted {
                        bytes,
                        name,
                        dropped: Rc::clone(&dropped),
                    });
                    check_flow(flow, &mut paused, size, model.len());
                }
                3..=4 => {
                    model.extend(&bytes);
                    check_flow(queue.push_copy(&bytes), &mut paused, size, model.len());
                }
                5..=8 => {
                    let sent = random(model.len() + 1);
                    let sent = if random(3) == 0 { model.len() } else { sent };
                    queue.advance(sent, &mut drop);
                    model.drain(..sent);
                }
                _ => {
                    let resumed = model.is_empty() && std::mem::take(&mut paused);
                    assert_eq!(queue.take_resumed(), resumed);
                }
            }
            assert_eq!((queue.len(), queue.paused()), (model.len(), paused));
            assert!(queue.slices().eq_bytes(&model));
            let alive = queue
                .chunks()
                .filter(|chunk| chunk.bytes.is_empty())
                .count();
            assert_eq!(alive, 0, "no empty chunk is kept");
        }
        queue.clear(&mut drop);
        let mut names = dropped.borrow().clone();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "every chunk was dropped once");
        assert_eq!(Rc::strong_count(&dropped), 1, "no chunk is left");
    }
}

fn check_flow(flow: Flow, paused: &mut bool, pushed: usize, len: usize) {
    let expected = if pushed > 0 && !*paused && len > 5000 {
        Flow::Pause
    } else {
        Flow::Keep
    };
    *paused |= expected == Flow::Pause;
    assert_eq!(flow, expected);
}

trait EqBytes {
    fn eq_bytes(self, model: &VecDeque<u8>) -> bool;
}

impl<'a, I: Iterator<Item = &'a [u8]>> EqBytes for I {
    fn eq_bytes(self, model: &VecDeque<u8>) -> bool {
        self.flatten().eq(model.iter())
    }
}
