//! Gives a signal its default action back when nobody watches it any more.
//!
//! The signal registry's handler stays installed for good. Without this, a program that has left
//! its loop could not be ended with Ctrl-C any more.

use std::io;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many watch each signal, by its number. Read by the handler, so no lock.
static WATCHERS: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// Which signals have the fallback action.
static ARMED: Mutex<[bool; SIGNALS]> = Mutex::new([false; SIGNALS]);

/// One more than the highest signal number, real-time signals included: 64 on Linux, less on
/// macOS, 126 on FreeBSD.
const SIGNALS: usize = 129;

/// Signals whose default action does not end the process, and is not missed.
const HARMLESS: &[c_int] = &[
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
    libc::SIGWINCH,
    // signal(3) of the BSDs and macOS: discarded. On Linux SIGIO ends the process.
    #[cfg(kqueue)]
    libc::SIGIO,
    #[cfg(kqueue)]
    libc::SIGINFO,
];

/// Counts one more watcher, from before its handler is there.
pub(crate) fn watch(signal: c_int) -> io::Result<()> {
    let Some(watchers) = watchers_of(signal) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    watchers.fetch_add(1, Ordering::AcqRel);
    let armed = arm(signal).inspect_err(|_| {
        watchers.fetch_sub(1, Ordering::AcqRel);
    });
    armed.map(drop)
}

/// Counts one watcher less, after its handler is gone.
pub(crate) fn unwatch(signal: c_int) {
    if let Some(watchers) = watchers_of(signal) {
        watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether somebody watches the signal, so that its default action does not happen.
pub(crate) fn is_watched(signal: c_int) -> bool {
    watchers_of(signal).is_none_or(|count| count.load(Ordering::Acquire) > 0)
}

fn watchers_of(signal: c_int) -> Option<&'static AtomicUsize> {
    WATCHERS.get(usize::try_from(signal).ok()?)
}

/// Sees to it, once per signal, that one which nobody watches has its default action, if that is
/// what it had in this process before. Answers whether it was.
pub(crate) fn arm(signal: c_int) -> io::Result<bool> {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    let armed = &mut armed[signal as usize];
    if *armed || HARMLESS.contains(&signal) || !has_default_action(signal)? {
        return Ok(*armed);
    }
    let act_by_default = move || {
        if !is_watched(signal) {
            // SAFETY: both calls are async-signal-safe. The signal is blocked while its handler
            // runs, and has its default action as soon as the handler returns.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    };
    // SAFETY: the action reads an atomic and calls what is async-signal-safe, nothing else.
    unsafe { signal_hook_registry::register(signal, act_by_default)? };
    *armed = true;
    Ok(true)
}

/// Whether the signal has its default action now, in this process.
pub(crate) fn has_default_action(signal: c_int) -> io::Result<bool> {
    Ok(action(signal)? == libc::SIG_DFL)
}

/// What the signal does now, in this process.
pub(crate) fn action(signal: c_int) -> io::Result<libc::sighandler_t> {
    // SAFETY: all zeros is a valid `sigaction`, which the call overwrites; it changes nothing.
    let (outcome, current) = unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        let outcome = libc::sigaction(signal, std::ptr::null(), &mut current);
        (outcome, current)
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(current.sa_sigaction)
}
