//! Timeouts as system calls take them, and waits that are longer than a call can take.

use std::io;
use std::time::{Duration, Instant};

/// The longest wait that system calls which count milliseconds in an `int` can be asked for.
pub(crate) const LONGEST_MILLISECONDS: Duration = Duration::from_millis(i32::MAX as u64);

/// `timeout` in whole milliseconds for system calls that count so: rounded up, -1 for no limit.
pub(crate) fn milliseconds(timeout: Option<Duration>) -> i32 {
    let Some(timeout) = timeout else { return -1 };
    // Rounding a 0.4 ms delay down gives a zero timeout, and the loop would spin until it is due.
    let rounded = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

/// Waits for `timeout` by calls of at most `longest` each, until one has reports or fails; answers
/// how many reports. A signal ends the wait with none.
///
/// A timeout that one call can take, which is nearly every one, costs one call and no look at a
/// clock. One that ends beyond what the clock can show is none at all.
///
/// # Errors
///
/// What a call failed with, but for [`Interrupted`](io::ErrorKind::Interrupted).
pub(crate) fn wait_in_steps(
    timeout: Option<Duration>,
    longest: Duration,
    mut call: impl FnMut(Option<Duration>) -> io::Result<usize>,
) -> io::Result<usize> {
    let whole = timeout.filter(|timeout| *timeout > longest);
    let Some(deadline) = whole.map(|whole| Instant::now().checked_add(whole)) else {
        return unless_interrupted(call(timeout));
    };
    let Some(deadline) = deadline else {
        return unless_interrupted(call(None));
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(Some(left.min(longest))) {
            Ok(0) if left > longest => {}
            outcome => return unless_interrupted(outcome),
        }
    }
}

fn unless_interrupted(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(2);

    /// The timeouts of the calls that a wait for `timeout` makes, each of which lasts its time; the
    /// last of `limit` calls has a report.
    fn calls(timeout: Option<Duration>, limit: usize) -> (Vec<Option<Duration>>, usize) {
        let mut calls = Vec::new();
        let outcome = wait_in_steps(timeout, LONGEST, |step| {
            calls.push(step);
            if calls.len() == limit {
                return Ok(1);
            }
            std::thread::sleep(step.unwrap());
            Ok(0)
        });
        (calls, outcome.unwrap())
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_a_whole_one() {
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1001))), 2);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::MAX)), i32::MAX);
        assert_eq!(milliseconds(Some(LONGEST_MILLISECONDS)), i32::MAX);
        assert_eq!(milliseconds(None), -1);
    }

    #[test]
    fn a_timeout_that_fits_is_one_call() {
        for timeout in [Duration::ZERO, LONGEST] {
            assert_eq!(calls(Some(timeout), 9), (vec![Some(timeout)], 0));
        }
        assert_eq!(calls(None, 1), (vec![None], 1));
    }

    #[test]
    fn a_wait_that_does_not_fit_goes_on_until_its_timeout_is_over() {
        let timeout = 4 * LONGEST;
        let start = Instant::now();
        let (calls, reports) = calls(Some(timeout), usize::MAX);
        assert!(start.elapsed() >= timeout);
        assert_eq!(reports, 0);
        assert!(calls.len() >= 2, "{calls:?}");
        assert!(
            calls.iter().all(|step| step.unwrap() <= LONGEST),
            "{calls:?}"
        );
    }

    #[test]
    fn a_report_ends_a_long_wait() {
        let (calls, reports) = calls(Some(1000 * LONGEST), 2);
        assert_eq!((calls.len(), reports), (2, 1));
    }

    #[test]
    fn a_moment_no_clock_shows_is_no_limit() {
        assert_eq!(calls(Some(Duration::MAX), 1), (vec![None], 1));
    }

    #[test]
    fn a_signal_ends_a_wait_of_any_length() {
        for timeout in [
            None,
            Some(LONGEST),
            Some(100 * LONGEST),
            Some(Duration::MAX),
        ] {
            let mut calls = 0;
            let outcome = wait_in_steps(timeout, LONGEST, |_| {
                calls += 1;
                Err(io::ErrorKind::Interrupted.into())
            });
            assert_eq!((outcome.unwrap(), calls), (0, 1), "{timeout:?}");
        }
    }
}
