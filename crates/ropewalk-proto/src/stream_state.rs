//! The life of one stream: open, half-closed either way, closing after its flush, aborting, closed.

/// Why a stream ends. What the system or a callback said about it is the embedder's to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// In order: all was sent, or the peer closed its side.
    Done,
    /// Cut: an I/O error, a hang-up nobody was reading, or the end of the reactor.
    Lost,
    /// By this side's abort. The only reason to close with a reset.
    Aborted,
    /// A callback of the program failed.
    Failed,
}

/// Who supplies a stream with data to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProducerState {
    /// Nobody is registered.
    None,
    /// A producer that writes once each time it is resumed.
    Pull,
    /// A producer that writes until it is paused.
    Push {
        /// Whether it was paused and not yet resumed.
        paused: bool,
    },
}

impl ProducerState {
    /// Whether the producer has to be resumed before anything more comes from it.
    pub const fn awaits_resume(self) -> bool {
        matches!(self, Self::Pull | Self::Push { paused: true })
    }
}

/// What the embedder has to do about an event.
///
/// Which directions to watch is not told here but asked for after each event: see
/// [`StreamState::reads`] and [`StreamState::sends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send what is queued, even if that is nothing, and report [`StreamState::drained`] from a
    /// later dispatch when all is sent; never from inside the event that asked for this.
    Flush,
    /// Resume the producer.
    ResumeProducer,
    /// Shut the write side of the socket down, then tell the protocol. An error of the shutdown
    /// means that the peer is gone, which reading will find out.
    ShutdownWrite,
    /// Tell the protocol that the peer will send no more.
    NotifyReadClosed,
    /// Watch neither direction, and report [`StreamState::abort_due`] from a later turn.
    ScheduleAbort,
    /// Close the socket and tell the protocol. The state is final.
    Close(CloseReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Connected,
    /// Close when all is sent and no producer waits to be resumed.
    Disconnecting,
    Aborting,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ReadSide {
    Open,
    /// Paused by the program.
    Paused,
    /// The peer sent its end of stream, and the protocol knows how to live on.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum WriteSide {
    Open,
    /// Half-close when all is sent.
    Closing,
    Closed,
}

/// The state of one connected stream, with the semantics of Twisted's TCP transports.
///
/// Events go in through the methods named after them; each answers the [`Action`] to carry out. An
/// event that comes too late is no error: it answers [`Action::Nothing`]. `Close` is answered once
/// in a stream's life.
///
/// # Examples
///
/// ```
/// use ropewalk_proto::{Action, CloseReason, ProducerState, StreamState};
///
/// let mut stream = StreamState::new();
/// assert_eq!(stream.lose(), Action::Flush);
/// assert!(!stream.reads() && stream.takes_writes());
/// assert_eq!(stream.drained(ProducerState::None), Action::Close(CloseReason::Done));
/// assert_eq!(stream.abort(), Action::Nothing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamState {
    phase: Phase,
    read: ReadSide,
    write: WriteSide,
}

impl Default for StreamState {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamState {
    /// A stream that is connected and reads.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Connected,
            read: ReadSide::Open,
            write: WriteSide::Open,
        }
    }

    /// Whether to read, and to hear of hang-ups and errors at all unless sending waits.
    pub fn reads(&self) -> bool {
        self.phase == Phase::Connected && self.read == ReadSide::Open
    }

    /// Whether nobody has asked for the connection's end yet, and nothing has ended it.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether what is queued may be sent.
    pub fn sends(&self) -> bool {
        self.is_alive() && self.write != WriteSide::Closed
    }

    /// Whether a write is queued; else it is ignored. Closing after the flush still takes writes.
    pub fn takes_writes(&self) -> bool {
        self.sends()
    }

    /// Whether the connection has not ended.
    pub fn is_connected(&self) -> bool {
        self.phase != Phase::Closed
    }

    /// Whether the stream was told to close once all is sent.
    pub fn is_disconnecting(&self) -> bool {
        self.phase == Phase::Disconnecting
    }

    /// Whether the stream waits for [`abort_due`](Self::abort_due).
    pub fn is_aborting(&self) -> bool {
        self.phase == Phase::Aborting
    }

    /// Whether the program paused reading.
    pub fn is_paused(&self) -> bool {
        self.read == ReadSide::Paused
    }

    /// Whether [`drained`](Self::drained) would ask for anything, so that a flush which found all
    /// sent need not come back for nothing.
    pub fn follows_drain(&self, producer: ProducerState) -> bool {
        let mut copy = *self;
        copy.drained(producer) != Action::Nothing
    }

    /// Whether the write side ends once all is sent, without a wait for the producer: for a layer
    /// that has something to say last.
    pub fn ends_when_drained(&self, producer: ProducerState) -> bool {
        let waits = self.phase == Phase::Disconnecting || self.write == WriteSide::Closing;
        self.sends() && waits && !producer.awaits_resume()
    }

    /// The program stops reading. A stream that neither reads nor waits to send hears of nothing.
    pub fn pause(&mut self) {
        if self.read == ReadSide::Open {
            self.read = ReadSide::Paused;
        }
    }

    /// The program reads again; without effect after the peer's end of stream.
    pub fn resume(&mut self) {
        if self.phase == Phase::Connected && self.read == ReadSide::Paused {
            self.read = ReadSide::Open;
        }
    }

    /// A read found the peer's end of stream. `half_close`: the protocol can live with that.
    pub fn peer_closed(&mut self, half_close: bool) -> Action {
        if !self.reads() {
            return Action::Nothing;
        }
        self.read = ReadSide::Ended;
        if half_close {
            Action::NotifyReadClosed
        } else {
            self.close(CloseReason::Done)
        }
    }

    /// The poller reported a hang-up or an error and nothing to read. A reader takes it for the
    /// peer's end of stream, anybody else for a loss.
    pub fn hung_up(&mut self, half_close: bool) -> Action {
        if self.reads() {
            self.peer_closed(half_close)
        } else {
            self.io_failed()
        }
    }

    /// Reading or sending failed. An abort that is under way goes first.
    pub fn io_failed(&mut self) -> Action {
        if self.is_alive() {
            self.close(CloseReason::Lost)
        } else {
            Action::Nothing
        }
    }

    /// A callback failed while it handled this stream, which ends the stream at once, even instead
    /// of an abort that is under way.
    pub fn callback_failed(&mut self) -> Action {
        self.close(CloseReason::Failed)
    }

    /// The reactor ends and cuts everything.
    pub fn cut(&mut self) -> Action {
        self.close(CloseReason::Lost)
    }

    /// The program wants the connection closed when all is sent. Reading stops at once. With the
    /// write side closed there is nothing to wait for, and the stream closes here and now.
    pub fn lose(&mut self) -> Action {
        if self.phase != Phase::Connected {
            return Action::Nothing;
        }
        if self.write == WriteSide::Closed {
            return self.close(CloseReason::Done);
        }
        self.phase = Phase::Disconnecting;
        Action::Flush
    }

    /// The program wants the write side closed when all is sent.
    pub fn lose_write(&mut self) -> Action {
        if !self.is_alive() || self.write != WriteSide::Open {
            return Action::Nothing;
        }
        self.write = WriteSide::Closing;
        Action::Flush
    }

    /// The program wants the connection reset. Nothing is read, sent or queued from here on.
    pub fn abort(&mut self) -> Action {
        if !self.is_alive() {
            return Action::Nothing;
        }
        self.phase = Phase::Aborting;
        Action::ScheduleAbort
    }

    /// The later turn that [`Action::ScheduleAbort`] asked for has come.
    pub fn abort_due(&mut self) -> Action {
        if self.phase != Phase::Aborting {
            return Action::Nothing;
        }
        self.close(CloseReason::Aborted)
    }

    /// All that was queued is sent. A producer that waits to be resumed comes first: the stream
    /// closes, or half-closes, only when it is gone.
    pub fn drained(&mut self, producer: ProducerState) -> Action {
        if !self.sends() {
            return Action::Nothing;
        }
        if producer.awaits_resume() {
            return Action::ResumeProducer;
        }
        if self.phase == Phase::Disconnecting {
            return self.close(CloseReason::Done);
        }
        if self.write == WriteSide::Closing {
            // Set before the protocol hears of it: what it does then must find the side closed.
            self.write = WriteSide::Closed;
            return Action::ShutdownWrite;
        }
        Action::Nothing
    }

    /// The producer was unregistered: what waited for it can go on.
    pub fn producer_unregistered(&mut self) -> Action {
        let waits = self.phase == Phase::Disconnecting || self.write == WriteSide::Closing;
        if self.sends() && waits {
            Action::Flush
        } else {
            Action::Nothing
        }
    }

    fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::Disconnecting)
    }

    fn close(&mut self, reason: CloseReason) -> Action {
        if self.phase == Phase::Closed {
            return Action::Nothing;
        }
        self.phase = Phase::Closed;
        Action::Close(reason)
    }
}

#[cfg(test)]
mod tests;
