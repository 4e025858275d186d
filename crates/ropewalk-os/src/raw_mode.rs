//! Terminals in raw mode, and out of it again whatever happens.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::default_action;

/// A terminal in raw mode: every key is input at once and as it is, and none is echoed. Dropped, it
/// puts the terminal back as it was; so do exit(3), and a signal that ends the process by default,
/// `SIGKILL` and those of crashes but for `SIGABRT` aside.
///
/// One at a time of a process is put back by these: the last.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
    saved: &'static Saved,
}

/// What the end of the process puts back. Never freed, for a handler may be reading it: some 70 bytes
/// each time the mode is entered.
#[derive(Debug)]
struct Saved {
    /// Of whom it is: the end of a child of a fork changes nothing.
    process: u32,
    terminal: RawFd,
    attributes: libc::termios,
}

static SAVED: AtomicPtr<Saved> = AtomicPtr::new(ptr::null_mut());

/// Those that end a process by default and can be handled.
const ENDING: [libc::c_int; 5] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGTERM,
];

impl RawMode {
    /// Puts `terminal` in raw mode, by a duplicate of its descriptor.
    ///
    /// # Errors
    ///
    /// `ENOTTY`: it is no terminal; `EMFILE`.
    pub fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let saved = Saved {
            process: std::process::id(),
            terminal: terminal.as_raw_fd(),
            attributes: attributes(terminal.as_raw_fd())?,
        };
        restore_at_ends()?;
        let saved = &*Box::leak(Box::new(saved));
        SAVED.store(ptr::from_ref(saved).cast_mut(), Ordering::Release);
        let mode = Self {
            terminal,
            before,
            saved,
        };
        let mut raw = mode.before.clone();
        raw.make_raw();
        tcsetattr(&mode.terminal, OptionalActions::Drain, &raw)?;
        Ok(mode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone, which is as good.
        let _: Result<(), _> = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        // Then, so that a signal in between finds it, and if it is not another's by now.
        let own = ptr::from_ref(self.saved).cast_mut();
        let (done, other) = (Ordering::AcqRel, Ordering::Relaxed);
        let _: Result<_, _> = SAVED.compare_exchange(own, ptr::null_mut(), done, other);
    }
}

fn attributes(terminal: RawFd) -> io::Result<libc::termios> {
    // SAFETY: all zeros is a valid `termios`, which the call writes to.
    unsafe {
        let mut attributes = std::mem::zeroed();
        match libc::tcgetattr(terminal, &raw mut attributes) {
            0 => Ok(attributes),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Once in a process, for handlers stay.
fn restore_at_ends() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = ENDING.into_iter().try_for_each(restore_at);
        // SAFETY: the function may run at any time, and in any thread. It is refused only when
        // memory has run out; the terminal is put back in every other way then.
        unsafe { libc::atexit(restore) };
    });
    result
}

fn restore_at(signal: libc::c_int) -> io::Result<()> {
    if !default_action::arm(signal)? {
        // It is ignored, or the program's own.
        return Ok(());
    }
    let restore = move || {
        if !default_action::is_watched(signal) {
            restore();
        }
    };
    // SAFETY: the action reads two atomics and what one of them points to, and makes calls that
    // are async-signal-safe.
    unsafe { signal_hook_registry::register(signal, restore)? };
    Ok(())
}

/// Puts the terminal back, if one is in raw mode. Async-signal-safe.
extern "C" fn restore() {
    let saved = SAVED.load(Ordering::Acquire);
    if saved.is_null() {
        return;
    }
    // SAFETY: it was made by `enter` and is never freed. The call is async-signal-safe.
    unsafe {
        let saved = &*saved;
        if saved.process == std::process::id() {
            libc::tcsetattr(saved.terminal, libc::TCSANOW, &raw const saved.attributes);
        }
    }
}
