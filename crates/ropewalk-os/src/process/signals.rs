//! Signals around the birth of a process.

/// Every signal blocked in this thread, until it is dropped.
///
/// A child shares its parent's handlers until it resets them: one that ran in between would write
/// to the parent's wakers, or to the very memory of the parent.
pub(super) struct Blocked {
    before: system::Set,
}

impl Blocked {
    pub(super) fn all() -> Self {
        let before = system::set_mask(&system::all());
        Self { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        system::set_mask(&self.before);
    }
}

/// In the child: gives every signal its default action. Async-signal-safe.
pub(super) fn set_default_actions() {
    // The numbers that are none, and SIGKILL and SIGSTOP, are refused, which changes nothing.
    (1..=LAST_SIGNAL).for_each(system::set_default_action);
}

/// In the child: blocks nothing any more. Async-signal-safe.
pub(super) fn unblock() {
    system::set_mask(&system::none());
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

/// The calls themselves: the C library's keep accounts, which a child that shares its parent's memory
/// must not write to, and pass over the library's own signals.
#[cfg(target_os = "linux")]
mod system {
    /// A set of signals, at least as large as the kernel's.
    pub(super) type Set = [u64; 2];

    /// The size of a set of signals, as the kernel counts.
    const SIZE: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        16
    } else {
        8
    };

    pub(super) const fn all() -> Set {
        [u64::MAX; 2]
    }

    pub(super) const fn none() -> Set {
        [0; 2]
    }

    /// Blocks what is in the set, in this thread, and nothing else. Answers what was blocked.
    pub(super) fn set_mask(mask: &Set) -> Set {
        let mut before = none();
        let (new, old) = (mask.as_ptr(), before.as_mut_ptr());
        // SAFETY: the kernel reads and writes as many bytes as it is told, which both sets have.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SIZE) };
        before
    }

    pub(super) fn set_default_action(signal: libc::c_int) {
        // SIG_DFL, no flags, no mask, whatever the architecture's order of these; larger than any.
        let action = [0_u64; 8];
        let before: *const u64 = std::ptr::null();
        // SAFETY: the kernel reads its `sigaction` from memory that is larger and lives through
        // the call; it is told to write nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action.as_ptr(),
                before,
                SIZE,
            )
        };
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) type Set = libc::sigset_t;

    pub(super) fn all() -> Set {
        // SAFETY: the set is written by the call.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            all
        }
    }

    pub(super) fn none() -> Set {
        // SAFETY: the set is written by the call.
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            none
        }
    }

    /// Blocks what is in the set, in this thread, and nothing else. Answers what was blocked.
    pub(super) fn set_mask(mask: &Set) -> Set {
        let mut before = none();
        // SAFETY: the call reads one set and writes the other; it is async-signal-safe.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, &mut before) };
        before
    }

    pub(super) fn set_default_action(signal: libc::c_int) {
        // SAFETY: the call is async-signal-safe and is given a number.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// As the kernel tells it, in hexadecimal.
    fn blocked() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("SigBlk:"));
        line.unwrap()[7..].trim().to_owned()
    }

    /// 32 and 33 too, by which glibc has all threads change users, or ends one: its own functions
    /// leave them out.
    #[test]
    fn every_signal_that_can_be_is_blocked_for_a_while() {
        let before = blocked();
        let all = Blocked::all();
        let meanwhile = blocked();
        drop(all);
        let (kill, stop) = (1_u64 << (libc::SIGKILL - 1), 1_u64 << (libc::SIGSTOP - 1));
        let own = u64::from_str_radix(&meanwhile, 16).unwrap();
        assert_eq!(own, !(kill | stop), "{meanwhile}");
        assert_eq!(blocked(), before);
    }
}
