//! What a stream has still to send: large chunks by reference, small ones copied together.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::mem;

/// What a push means for whoever produces the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Keep,
    /// The queue has just passed its high-water mark: stop until it is drained.
    Pause,
}

/// A queue of unsent bytes.
///
/// Chunks of type `C` are kept as they are, without a copy, but for small ones (up to
/// [`COPY_LIMIT`](Self::COPY_LIMIT)) behind other data, which are copied together so that many tiny
/// writes cost one send. Every operation is constant time per chunk or linear in what it copies,
/// however much is queued.
///
/// Flow control is that of Twisted's transports: [`Flow::Pause`] is reported once, when *more* than
/// the high-water mark is queued, and the producer is due to be resumed when the queue is empty
/// again ([`take_resumed`](Self::take_resumed)), not before.
///
/// A queue of one chunk needs no allocation of its own. An empty one keeps no more than
/// [`KEPT_SEGMENTS`](Self::KEPT_SEGMENTS) places allocated.
///
/// # Examples
///
/// ```
/// use std::io::IoSlice;
/// use ropewalk_proto::{Flow, WriteQueue};
///
/// let mut queue = WriteQueue::with_high_water(8); // bytes
/// assert_eq!(queue.push("hello, "), Flow::Keep);
/// assert_eq!(queue.push_copy(b"world"), Flow::Pause);
///
/// let mut slices = [IoSlice::new(&[]); 4];
/// assert_eq!(queue.fill_slices(&mut slices, 1024), 2);
/// queue.advance(12, &mut drop);
/// assert!(queue.take_resumed());
/// ```
pub struct WriteQueue<C> {
    /// The oldest segment, outside `rest` so that the usual queue of one needs no allocation.
    first: Option<Segment<C>>,
    /// Everything behind `first`; empty while `first` is.
    rest: VecDeque<Segment<C>>,
    /// How much of `first` is sent already, in bytes; less than its length.
    sent: usize,
    /// How much of all segments is unsent, in bytes.
    len: usize,
    /// In bytes.
    high_water: usize,
    /// Whether a pause was reported and not yet taken back.
    paused: bool,
}

/// Bytes that lie together. Never empty.
enum Segment<C> {
    Whole(C),
    Copied(Vec<u8>),
}

impl<C> WriteQueue<C> {
    /// The high-water mark of a new queue, in bytes.
    pub const HIGH_WATER: usize = 65_536;

    /// The largest chunk that is copied to the data before it rather than kept, in bytes. Below
    /// this a copy costs less than one more element in a gathered send.
    pub const COPY_LIMIT: usize = 1024;

    /// The most bytes copied together; a fuller segment gets a successor.
    pub const SEGMENT_LIMIT: usize = 65_536;

    /// How many places for segments an empty queue may keep allocated.
    pub const KEPT_SEGMENTS: usize = 16;

    /// Creates an empty queue with the usual high-water mark.
    pub const fn new() -> Self {
        Self::with_high_water(Self::HIGH_WATER)
    }

    /// Creates an empty queue that reports a pause above `high_water` bytes.
    pub const fn with_high_water(high_water: usize) -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
            sent: 0,
            len: 0,
            high_water,
            paused: false,
        }
    }

    /// The mark above which a push reports a pause, in bytes.
    pub const fn high_water(&self) -> usize {
        self.high_water
    }

    /// Moves the high-water mark, in bytes. Only later pushes are measured by it.
    pub fn set_high_water(&mut self, high_water: usize) {
        self.high_water = high_water;
    }

    /// How much is unsent, in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether everything is sent.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether more than the high-water mark is queued.
    pub const fn is_above_high_water(&self) -> bool {
        self.len > self.high_water
    }

    /// Whether a pause was reported and not taken back since.
    pub const fn paused(&self) -> bool {
        self.paused
    }

    /// Reports a pause for a reason of the caller's: something else that waits for this queue. It is
    /// reported once and taken back as any other.
    pub fn pause(&mut self) -> Flow {
        if mem::replace(&mut self.paused, true) {
            Flow::Keep
        } else {
            Flow::Pause
        }
    }

    /// Takes a reported pause back once the queue is drained. True exactly once per pause.
    pub fn take_resumed(&mut self) -> bool {
        self.is_empty() && mem::take(&mut self.paused)
    }

    /// Forgets a reported pause: the producer it was meant for is gone, and the next one is to hear
    /// of the first push above the mark.
    pub fn forget_pause(&mut self) {
        self.paused = false;
    }

    /// Whether a [`push`](Self::push) of `length` bytes now would copy them and drop the chunk.
    pub const fn copies(&self, length: usize) -> bool {
        length == 0 || (length <= Self::COPY_LIMIT && self.first.is_some())
    }

    /// Gives every chunk that is not copied, oldest first: for a collector that traces them.
    pub fn chunks(&self) -> impl Iterator<Item = &C> {
        self.segments().filter_map(|segment| match segment {
            Segment::Whole(chunk) => Some(chunk),
            Segment::Copied(_) => None,
        })
    }

    /// Drops what is unsent, and takes a reported pause back. Kept chunks go to `released`.
    pub fn clear(&mut self, released: &mut impl FnMut(C)) {
        let first = self.first.take();
        let rest = mem::take(&mut self.rest);
        self.sent = 0;
        self.len = 0;
        self.paused = false;
        for segment in first.into_iter().chain(rest) {
            segment.release(released);
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment<C>> {
        self.first.iter().chain(&self.rest)
    }
}

impl<C: AsRef<[u8]>> WriteQueue<C> {
    /// Appends `chunk`, of which nothing is copied unless it is small and there is data before it;
    /// then it is dropped before this returns. A caller that must not have it dropped here asks
    /// [`copies`](Self::copies) first and uses [`push_copy`](Self::push_copy).
    pub fn push(&mut self, chunk: C) -> Flow {
        let bytes = chunk.as_ref();
        if self.copies(bytes.len()) {
            return self.push_copy(bytes);
        }
        self.len += bytes.len();
        self.append(Segment::Whole(chunk));
        self.flow()
    }

    /// Appends a copy of `bytes`, to the previous copy if there is room.
    pub fn push_copy(&mut self, bytes: &[u8]) -> Flow {
        if bytes.is_empty() {
            return Flow::Keep;
        }
        self.len += bytes.len();
        match self.rest.back_mut().or(self.first.as_mut()) {
            Some(Segment::Copied(tail)) if tail.len() + bytes.len() <= Self::SEGMENT_LIMIT => {
                tail.extend_from_slice(bytes);
            }
            _ => self.append(Segment::Copied(bytes.to_vec())),
        }
        self.flow()
    }

    /// Puts the unsent bytes into `out`, oldest first, for one gathered send of at most `limit`
    /// bytes. Answers how many slices it filled; none of those is empty.
    pub fn fill_slices<'a>(&'a self, out: &mut [IoSlice<'a>], limit: usize) -> usize {
        let mut room = limit;
        let mut filled = 0;
        for (slot, slice) in out.iter_mut().zip(self.slices()) {
            if room == 0 {
                break;
            }
            let part = &slice[..slice.len().min(room)];
            room -= part.len();
            *slot = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// The oldest unsent bytes that lie together, or nothing when all is sent.
    pub fn first_slice(&self) -> Option<&[u8]> {
        self.first
            .as_ref()
            .map(|segment| &segment.bytes()[self.sent..])
    }

    /// The unsent bytes, piece by piece, oldest first; no piece is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.first_slice()
            .into_iter()
            .chain(self.rest.iter().map(Segment::bytes))
    }

    /// Notes that `count` bytes were sent. A kept chunk of which nothing is left goes to `released`,
    /// so that the caller decides where it is dropped.
    ///
    /// # Panics
    ///
    /// When `count` is more than [`len`](Self::len).
    pub fn advance(&mut self, count: usize, released: &mut impl FnMut(C)) {
        assert!(count <= self.len, "more was sent than was queued");
        self.len -= count;
        self.sent += count;
        while let Some(segment) = &self.first {
            let length = segment.bytes().len();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            let next = self.rest.pop_front();
            if let Some(done) = mem::replace(&mut self.first, next) {
                done.release(released);
            }
        }
        if self.rest.capacity() > Self::KEPT_SEGMENTS {
            self.rest = VecDeque::new();
        }
    }

    fn append(&mut self, segment: Segment<C>) {
        if self.first.is_none() {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
    }

    fn flow(&mut self) -> Flow {
        if self.paused || self.len <= self.high_water {
            return Flow::Keep;
        }
        self.paused = true;
        Flow::Pause
    }
}

impl<C> Default for WriteQueue<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for WriteQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteQueue")
            .field("len", &self.len)
            .field("high_water", &self.high_water)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

impl<C> Segment<C> {
    fn release(self, released: &mut impl FnMut(C)) {
        if let Self::Whole(chunk) = self {
            released(chunk);
        }
    }
}

impl<C: AsRef<[u8]>> Segment<C> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(chunk) => chunk.as_ref(),
            Self::Copied(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests;
