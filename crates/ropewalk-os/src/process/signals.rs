//! Signals around the birth of a process.

use std::ptr;

/// Every signal blocked in this thread, until it is dropped.
///
/// A child shares its parent's handlers until it resets them: one that ran in between would write
/// to the parent's wakers, or to the very memory of the parent.
pub(super) struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    pub(super) fn all() -> Self {
        // SAFETY: both sets are written by the calls, which fail for no valid argument.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self { before }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the system gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

/// In the child: gives every signal its default action. Async-signal-safe.
pub(super) fn set_default_actions() {
    // The numbers that are none, and SIGKILL and SIGSTOP, are refused, which changes nothing.
    (1..=LAST_SIGNAL).for_each(system::set_default_action);
}

/// In the child: blocks nothing any more. Async-signal-safe.
pub(super) fn unblock() {
    // SAFETY: the set is written by the first call and read by the second.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

/// At least the highest number of a signal.
const LAST_SIGNAL: libc::c_int = if cfg!(all(
    target_os = "linux",
    not(any(target_arch = "mips", target_arch = "mips64"))
)) {
    64
} else {
    128
};

/// The call itself: the C library's keeps accounts, which a child that shares its parent's memory
/// must not write to, and passes over the library's own signals.
#[cfg(target_os = "linux")]
mod system {
    /// The size of a set of signals, as the kernel counts.
    const SET: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        16
    } else {
        8
    };

    pub(super) fn set_default_action(signal: libc::c_int) {
        // SIG_DFL, no flags, no mask, whatever the architecture's order of these; larger than any.
        let action = [0_u64; 8];
        let before: *const u64 = std::ptr::null();
        // SAFETY: the kernel reads its `sigaction` from memory that is larger and lives through
        // the call; it is told to write nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), before, SET) };
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn set_default_action(signal: libc::c_int) {
        // SAFETY: the call is async-signal-safe and is given a number.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
