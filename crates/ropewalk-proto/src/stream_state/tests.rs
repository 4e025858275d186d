//! Every state against every event, as a table: a row per state, a column per event.

use super::Action::*;
use super::CloseReason::*;
use super::*;

const PUSHED: ProducerState = ProducerState::Push { paused: false };
const PAUSED: ProducerState = ProducerState::Push { paused: true };

const PHASES: [Phase; 4] = [
    Phase::Connected,
    Phase::Disconnecting,
    Phase::Aborting,
    Phase::Closed,
];
const READ_SIDES: [ReadSide; 3] = [ReadSide::Open, ReadSide::Paused, ReadSide::Ended];
const WRITE_SIDES: [WriteSide; 3] = [WriteSide::Open, WriteSide::Closing, WriteSide::Closed];

fn state(phase: Phase, read: ReadSide, write: WriteSide) -> StreamState {
    StreamState { phase, read, write }
}

fn all_states() -> impl Iterator<Item = StreamState> {
    PHASES.into_iter().flat_map(|phase| {
        READ_SIDES.into_iter().flat_map(move |read| {
            WRITE_SIDES
                .into_iter()
                .map(move |write| state(phase, read, write))
        })
    })
}

/// What one event answers in each phase, where it depends on the phase alone.
fn check_phases(event: impl Fn(&mut StreamState) -> Action, expected: [Action; 4]) {
    for state in all_states() {
        let at = PHASES
            .iter()
            .position(|phase| *phase == state.phase)
            .unwrap();
        let mut after = state;
        assert_eq!(event(&mut after), expected[at], "in {state:?}");
        check_end(state, after, expected[at]);
    }
}

/// `Close` is final; a closed stream changes no more.
fn check_end(before: StreamState, after: StreamState, action: Action) {
    if before.phase == Phase::Closed {
        assert_eq!((action, before), (Nothing, after));
    }
    assert_eq!(
        matches!(action, Close(_)),
        before.phase != Phase::Closed && after.phase == Phase::Closed,
        "{before:?} became {after:?}"
    );
}

#[test]
fn failures_and_aborts_depend_on_the_phase_alone() {
    let (lost, failed, aborted) = (Close(Lost), Close(Failed), Close(Aborted));
    check_phases(StreamState::io_failed, [lost, lost, Nothing, Nothing]);
    check_phases(
        StreamState::callback_failed,
        [failed, failed, failed, Nothing],
    );
    check_phases(StreamState::cut, [lost, lost, lost, Nothing]);
    check_phases(
        StreamState::abort,
        [ScheduleAbort, ScheduleAbort, Nothing, Nothing],
    );
    check_phases(StreamState::abort_due, [Nothing, Nothing, aborted, Nothing]);
}

#[test]
fn the_peers_end_of_stream_reaches_a_reader_only() {
    for before in all_states() {
        for half_close in [false, true] {
            let reads = before.phase == Phase::Connected && before.read == ReadSide::Open;
            let expected = match (reads, half_close) {
                (false, _) => Nothing,
                (true, false) => Close(Done),
                (true, true) => NotifyReadClosed,
            };
            let mut after = before;
            assert_eq!(after.peer_closed(half_close), expected, "in {before:?}");
            assert!(!after.reads());
            check_end(before, after, expected);
        }
    }
}

#[test]
fn a_hang_up_is_an_end_for_a_reader_and_a_loss_for_others() {
    for before in all_states() {
        for half_close in [false, true] {
            let alive = matches!(before.phase, Phase::Connected | Phase::Disconnecting);
            let expected = match (alive, before.reads(), half_close) {
                (false, ..) => Nothing,
                (true, false, _) => Close(Lost),
                (true, true, false) => Close(Done),
                (true, true, true) => NotifyReadClosed,
            };
            let mut after = before;
            assert_eq!(after.hung_up(half_close), expected, "in {before:?}");
            check_end(before, after, expected);
        }
    }
}

#[test]
fn lose_in_every_state() {
    for before in all_states() {
        let expected = match (before.phase, before.write) {
            (Phase::Connected, WriteSide::Closed) => Close(Done),
            (Phase::Connected, _) => Flush,
            _ => Nothing,
        };
        let mut after = before;
        assert_eq!(after.lose(), expected, "in {before:?}");
        assert!(!after.reads());
        assert_eq!(
            after.is_disconnecting(),
            expected == Flush || before.is_disconnecting()
        );
        check_end(before, after, expected);
    }
}

#[test]
fn lose_write_in_every_state() {
    for before in all_states() {
        let alive = matches!(before.phase, Phase::Connected | Phase::Disconnecting);
        let expected = if alive && before.write == WriteSide::Open {
            Flush
        } else {
            Nothing
        };
        let mut after = before;
        assert_eq!(after.lose_write(), expected, "in {before:?}");
        assert_eq!(after.reads(), before.reads());
        assert_eq!(after.takes_writes(), before.takes_writes());
        check_end(before, after, expected);
    }
}

#[test]
fn drained_in_every_state() {
    for before in all_states() {
        for producer in [ProducerState::None, ProducerState::Pull, PUSHED, PAUSED] {
            let waits = matches!(producer, ProducerState::Pull | PAUSED);
            let expected = match (before.phase, before.write) {
                (Phase::Aborting | Phase::Closed, _) | (_, WriteSide::Closed) => Nothing,
                _ if waits => ResumeProducer,
                (Phase::Disconnecting, _) => Close(Done),
                (Phase::Connected, WriteSide::Closing) => ShutdownWrite,
                (Phase::Connected, WriteSide::Open) => Nothing,
            };
            let mut after = before;
            assert_eq!(before.follows_drain(producer), expected != Nothing);
            assert_eq!(
                after.drained(producer),
                expected,
                "in {before:?} with {producer:?}"
            );
            if expected == ShutdownWrite {
                assert!(!after.takes_writes() && after.is_connected());
            } else if !matches!(expected, Close(_)) {
                assert_eq!(before, after);
            }
            check_end(before, after, expected);
        }
    }
}

#[test]
fn unregistering_a_producer_lets_what_waited_for_it_go_on() {
    for before in all_states() {
        let expected = match (before.phase, before.write) {
            (Phase::Aborting | Phase::Closed, _) | (_, WriteSide::Closed) => Nothing,
            (Phase::Disconnecting, _) | (_, WriteSide::Closing) => Flush,
            (Phase::Connected, WriteSide::Open) => Nothing,
        };
        let mut after = before;
        assert_eq!(after.producer_unregistered(), expected, "in {before:?}");
        assert_eq!(before, after);
    }
}

#[test]
fn pause_and_resume_in_every_state() {
    for before in all_states() {
        let mut after = before;
        after.pause();
        assert!(!after.reads());
        assert_eq!(
            after.read == ReadSide::Ended,
            before.read == ReadSide::Ended
        );
        after.resume();
        let may_read = before.phase == Phase::Connected && before.read != ReadSide::Ended;
        assert_eq!(after.reads(), may_read, "from {before:?}");
        assert_eq!((after.phase, after.write), (before.phase, before.write));
    }
}

#[test]
fn nothing_is_sent_or_taken_after_an_abort() {
    let mut stream = StreamState::new();
    assert_eq!(stream.abort(), ScheduleAbort);
    assert!(!stream.sends() && !stream.takes_writes() && !stream.reads());
    assert!(stream.is_connected());
    assert_eq!(stream.lose(), Nothing);
    assert_eq!(stream.abort_due(), Close(Aborted));
    assert!(!stream.is_connected());
}

#[test]
fn a_close_waits_for_a_pull_producer_until_it_is_unregistered() {
    let mut stream = StreamState::new();
    assert_eq!(stream.lose(), Flush);
    assert_eq!(stream.drained(ProducerState::Pull), ResumeProducer);
    assert_eq!(stream.drained(ProducerState::Pull), ResumeProducer);
    assert_eq!(stream.producer_unregistered(), Flush);
    assert_eq!(stream.drained(ProducerState::None), Close(Done));
}

#[test]
fn a_stream_half_closed_both_ways_closes_when_it_is_told_to() {
    let mut stream = StreamState::new();
    assert_eq!(stream.peer_closed(true), NotifyReadClosed);
    assert_eq!(stream.lose_write(), Flush);
    assert_eq!(stream.drained(ProducerState::None), ShutdownWrite);
    assert!(stream.is_connected());
    assert_eq!(stream.lose(), Close(Done));
}

#[test]
fn a_close_asked_for_during_a_half_close_closes_altogether() {
    let mut stream = StreamState::new();
    assert_eq!(stream.lose_write(), Flush);
    assert_eq!(stream.lose(), Flush);
    assert_eq!(stream.drained(ProducerState::None), Close(Done));
}

#[test]
fn the_peers_end_of_stream_ends_no_pause_by_itself() {
    let mut stream = StreamState::new();
    stream.pause();
    assert!(stream.is_paused());
    assert_eq!(stream.peer_closed(false), Nothing);
    stream.resume();
    assert_eq!(stream.peer_closed(false), Close(Done));
}

#[test]
fn a_stream_is_open_until_somebody_wants_its_end() {
    let ends: [fn(&mut StreamState) -> Action; 4] = [
        StreamState::lose,
        StreamState::abort,
        StreamState::cut,
        |stream| stream.peer_closed(false),
    ];
    for end in ends {
        let mut stream = StreamState::new();
        stream.pause();
        stream.resume();
        assert!(stream.is_open());
        let _: Action = end(&mut stream);
        assert!(!stream.is_open());
    }
}

#[test]
fn the_write_side_ends_when_drained_only_if_asked_to_and_no_producer_waits() {
    let none = ProducerState::None;
    let mut stream = StreamState::new();
    assert!(!stream.ends_when_drained(none));
    assert_eq!(stream.lose_write(), Action::Flush);
    assert!(stream.ends_when_drained(none));
    assert!(stream.ends_when_drained(ProducerState::Push { paused: false }));
    assert!(!stream.ends_when_drained(ProducerState::Push { paused: true }));
    assert!(!stream.ends_when_drained(ProducerState::Pull));
    assert_eq!(stream.drained(none), Action::ShutdownWrite);
    assert!(!stream.ends_when_drained(none), "it has ended");

    let mut stream = StreamState::new();
    assert_eq!(stream.lose(), Action::Flush);
    assert!(stream.ends_when_drained(none));
    assert_eq!(stream.abort(), Action::ScheduleAbort);
    assert!(!stream.ends_when_drained(none));
}
