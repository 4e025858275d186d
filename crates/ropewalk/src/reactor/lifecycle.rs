//! The life of a reactor as one explicit state machine: pure, without triggers, clock or loop.
//!
//! ```text
//!            run             started          stop               turn ended
//!   Fresh ────────▶ Starting ────────▶ Running ────▶ StopRequested ────────▶ ShuttingDown
//!     ▲                │ crash            │ crash                               │ drain
//!     │                ▼                  ▼                                     ▼
//!  (never again)    Crashed ◀─────────────┘                  Stopped ◀─────── Draining
//!                      │  run: Starting                               loop left
//! ```
//!
//! The machine follows Twisted's reactors with its flags replaced by names, and closes their gaps:
//! a crashed reactor stays crashed when the rest of its startup runs, and cannot be stopped.

use crate::error::Misuse;

/// Where a reactor is in its life.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Never run.
    #[default]
    Fresh,
    /// In `run`, before the "during" phase of startup; the loop turns already when a "before"
    /// trigger has to be waited for.
    Starting,
    /// In `run`, startup done.
    Running,
    /// Told to stop; shutdown begins at the end of the turn.
    StopRequested {
        /// Whether startup was done by then. If not, it still completes.
        started: bool,
    },
    /// The "before" triggers of shutdown are waited for; the loop turns as ever.
    ShuttingDown,
    /// The rest of shutdown: connections are cut, "during" and "after" triggers run.
    Draining,
    /// Stopped for good.
    Stopped,
    /// Left the loop without shutdown; may run again.
    Crashed,
}

/// What happens to a reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// `run` was called.
    Run,
    /// The "during" phase of startup began.
    Started,
    /// `stop` was called.
    Stop,
    /// `crash` was called, or the poller failed.
    Crash,
    /// A turn ended.
    TurnEnded,
    /// The "during" phase of shutdown began, be it on a stop or fired by hand.
    Drain,
    /// The loop in `run` was left.
    LoopLeft,
}

/// What the reactor has to do about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    FireStartup,
    /// Signals are handled from now on.
    InstallSignals,
    FireShutdown,
    /// The reactor has stopped for good: what can never end now is dropped.
    Retire,
}

impl State {
    /// Whether the reactor runs: from the "during" phase of startup to the one of shutdown.
    pub fn is_running(self) -> bool {
        matches!(
            self,
            Self::Running | Self::StopRequested { started: true } | Self::ShuttingDown
        )
    }

    /// Whether the loop goes on: from the call of [`run`](crate::Reactor::run) or
    /// [`start`](crate::Reactor::start) to a crash or the end of shutdown.
    pub fn keeps_looping(self) -> bool {
        self.is_running() || matches!(self, Self::Starting | Self::StopRequested { .. })
    }

    /// The state after `event`, and what has to be done about it.
    ///
    /// # Errors
    ///
    /// Only [`Event::Run`] and [`Event::Stop`] can be refused; the state then stays.
    pub(crate) fn after(self, event: Event) -> Result<(Self, Action), Misuse> {
        let state = match event {
            Event::Run => return self.after_run(),
            Event::Stop => self.after_stop()?,
            Event::Started => return Ok(self.after_started()),
            Event::Crash => self.after_crash(),
            Event::Drain => self.after_drain(),
            Event::TurnEnded => return Ok(self.after_turn()),
            Event::LoopLeft => return Ok(self.after_loop()),
        };
        Ok((state, Action::Nothing))
    }

    fn after_run(self) -> Result<(Self, Action), Misuse> {
        match self {
            Self::Fresh | Self::Crashed => Ok((Self::Starting, Action::FireStartup)),
            Self::Draining | Self::Stopped => Err(Misuse::NotRestartable),
            Self::Starting | Self::Running | Self::StopRequested { .. } | Self::ShuttingDown => {
                Err(Misuse::AlreadyRunning)
            }
        }
    }

    fn after_stop(self) -> Result<Self, Misuse> {
        match self {
            Self::Starting => Ok(Self::StopRequested { started: false }),
            Self::Running => Ok(Self::StopRequested { started: true }),
            _ => Err(Misuse::NotRunning),
        }
    }

    fn after_started(self) -> (Self, Action) {
        match self {
            Self::Starting => (Self::Running, Action::InstallSignals),
            Self::StopRequested { started: false } => (
                Self::StopRequested { started: true },
                Action::InstallSignals,
            ),
            // Crashed or shut down while a "before" trigger was waited for, or fired by hand.
            other => (other, Action::Nothing),
        }
    }

    fn after_crash(self) -> Self {
        match self {
            Self::Starting | Self::Running => Self::Crashed,
            // Told to stop before: leaves the loop without (the rest of) the shutdown, and stays
            // what a stop makes it, not restartable.
            Self::StopRequested { .. } | Self::ShuttingDown => Self::Stopped,
            other => other,
        }
    }

    fn after_drain(self) -> Self {
        match self {
            Self::StopRequested { .. } | Self::ShuttingDown => Self::Draining,
            // Shutdown fired by hand: the loop is left as by a crash.
            Self::Starting | Self::Running => Self::Crashed,
            other => other,
        }
    }

    fn after_turn(self) -> (Self, Action) {
        match self {
            Self::StopRequested { .. } => (Self::ShuttingDown, Action::FireShutdown),
            other => (other, Action::Nothing),
        }
    }

    fn after_loop(self) -> (Self, Action) {
        match self {
            Self::Draining | Self::Stopped => (Self::Stopped, Action::Retire),
            other => (other, Action::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Action::*;
    use super::Event::*;
    use super::State::*;
    use super::*;

    const EARLY: State = StopRequested { started: false };
    const LATE: State = StopRequested { started: true };
    const STATES: [State; 9] = [
        Fresh,
        Starting,
        Running,
        EARLY,
        LATE,
        ShuttingDown,
        Draining,
        Stopped,
        Crashed,
    ];

    type Outcome = Result<(State, Action), Misuse>;

    /// One row per event, one column per state of `STATES`.
    #[test]
    fn every_event_in_every_state() {
        let go = |state| Ok((state, Nothing));
        let busy = Err(Misuse::AlreadyRunning);
        let over = Err(Misuse::NotRestartable);
        let idle = Err(Misuse::NotRunning);
        let start = Ok((Starting, FireStartup));
        let shut = Ok((ShuttingDown, FireShutdown));
        let retire = Ok((Stopped, Retire));
        let stay = STATES.map(go);
        let table: [(Event, [Outcome; 9]); 7] = [
            (
                Run,
                [start, busy, busy, busy, busy, busy, over, over, start],
            ),
            (
                Stop,
                [
                    idle,
                    go(EARLY),
                    go(LATE),
                    idle,
                    idle,
                    idle,
                    idle,
                    idle,
                    idle,
                ],
            ),
            (
                Started,
                [
                    stay[0],
                    Ok((Running, InstallSignals)),
                    stay[2],
                    Ok((LATE, InstallSignals)),
                    stay[4],
                    stay[5],
                    stay[6],
                    stay[7],
                    stay[8],
                ],
            ),
            (
                Crash,
                [
                    stay[0],
                    go(Crashed),
                    go(Crashed),
                    go(Stopped),
                    go(Stopped),
                    go(Stopped),
                    stay[6],
                    stay[7],
                    stay[8],
                ],
            ),
            (
                Drain,
                [
                    stay[0],
                    go(Crashed),
                    go(Crashed),
                    go(Draining),
                    go(Draining),
                    go(Draining),
                    stay[6],
                    stay[7],
                    stay[8],
                ],
            ),
            (
                TurnEnded,
                [
                    stay[0], stay[1], stay[2], shut, shut, stay[5], stay[6], stay[7], stay[8],
                ],
            ),
            (
                LoopLeft,
                [
                    stay[0], stay[1], stay[2], stay[3], stay[4], stay[5], retire, retire, stay[8],
                ],
            ),
        ];
        for (event, row) in table {
            for (state, expected) in STATES.into_iter().zip(row) {
                assert_eq!(state.after(event), expected, "{event:?} in {state:?}");
            }
        }
    }

    #[test]
    fn the_reactor_runs_from_startup_to_the_cutting_of_connections() {
        let running = STATES.map(State::is_running);
        assert_eq!(
            running,
            [false, false, true, false, true, true, false, false, false]
        );
    }

    #[test]
    fn the_loop_goes_on_until_it_is_drained_or_crashed() {
        let looping = STATES.map(State::keeps_looping);
        assert_eq!(
            looping,
            [false, true, true, true, true, true, false, false, false]
        );
    }

    fn walk(events: &[Event]) -> State {
        events
            .iter()
            .fold(Fresh, |state, event| state.after(*event).unwrap().0)
    }

    #[test]
    fn a_stop_ends_for_good_and_a_crash_does_not() {
        let stopped = walk(&[Run, Started, Stop, TurnEnded, Drain, LoopLeft]);
        assert_eq!(
            (stopped, stopped.after(Run)),
            (Stopped, Err(Misuse::NotRestartable))
        );
        let crashed = walk(&[Run, Started, Crash, LoopLeft]);
        assert_eq!(
            (crashed, crashed.after(Run)),
            (Crashed, Ok((Starting, FireStartup)))
        );
    }

    #[test]
    fn a_crash_during_startup_outlives_the_rest_of_startup() {
        assert_eq!(walk(&[Run, Crash, Started, TurnEnded, LoopLeft]), Crashed);
    }

    #[test]
    fn shutdown_fired_by_hand_leaves_a_fresh_reactor_fresh_and_a_running_one_restartable() {
        assert_eq!(walk(&[Drain]), Fresh);
        assert_eq!(walk(&[Run, Started, Drain, LoopLeft, Run]), Starting);
    }

    #[test]
    fn a_stop_during_startup_lets_startup_complete_first() {
        assert_eq!(walk(&[Run, Stop, Started]), LATE);
        assert_eq!(
            walk(&[Run, Stop, TurnEnded, Drain, Started, LoopLeft]),
            Stopped
        );
    }
}
