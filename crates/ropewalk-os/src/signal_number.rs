//! Signals by their names.

use std::fmt;

use crate::default_action;

/// A signal, by its number on this system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident = $number:ident, $text:literal;)+) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($number), "`: ", $text, ".")]
            pub const $name: Self = Self(libc::$number);)+

            /// Its name, as `SIGTERM`; nothing for a real-time signal or a number that is none.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$number => Some(stringify!($number)),)+
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HUP = SIGHUP, "the terminal or its controlling process is gone";
    INT = SIGINT, "interrupt from the keyboard";
    QUIT = SIGQUIT, "quit from the keyboard";
    ILL = SIGILL, "illegal instruction";
    TRAP = SIGTRAP, "trap of a debugger";
    ABRT = SIGABRT, "abort(3)";
    BUS = SIGBUS, "bad access to memory";
    FPE = SIGFPE, "arithmetic error";
    KILL = SIGKILL, "ends a process, which cannot do anything about it";
    USR1 = SIGUSR1, "for programs' own use";
    SEGV = SIGSEGV, "invalid reference to memory";
    USR2 = SIGUSR2, "for programs' own use";
    PIPE = SIGPIPE, "a write that nobody reads";
    ALRM = SIGALRM, "alarm(2)";
    TERM = SIGTERM, "asks a process to end";
    CHLD = SIGCHLD, "a child ended, stopped or went on";
    CONT = SIGCONT, "goes on if stopped";
    STOP = SIGSTOP, "stops a process, which cannot do anything about it";
    TSTP = SIGTSTP, "stop from the keyboard";
    TTIN = SIGTTIN, "a read of the terminal in the background";
    TTOU = SIGTTOU, "a write to the terminal in the background";
    URG = SIGURG, "urgent data on a socket";
    XCPU = SIGXCPU, "limit of processor time passed";
    XFSZ = SIGXFSZ, "limit of a file's size passed";
    VTALRM = SIGVTALRM, "timer of the process's own time";
    PROF = SIGPROF, "timer of profiling";
    WINCH = SIGWINCH, "the size of the terminal's window has changed";
    IO = SIGIO, "input or output is possible";
    SYS = SIGSYS, "bad system call";
}

impl Signal {
    /// The signal with this number, whether or not the system has it.
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Whether this process ignores it at present: it was started so, as a shell starts what runs in
    /// the background, or has chosen to. False for a number that is no signal.
    pub fn is_ignored(self) -> bool {
        default_action::action(self.0).is_ok_and(|action| action == libc::SIG_IGN)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_shown_by_its_name_or_else_its_number() {
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal::from_number(libc::SIGINT), Signal::INT);
        assert_eq!(Signal::from_number(1000).to_string(), "signal 1000");
    }
}
