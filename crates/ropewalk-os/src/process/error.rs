//! What a spawn failed at, and with what.

use std::error::Error;
use std::fmt;
use std::io;

/// What a spawn was about to do when it failed, in the order it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Step {
    /// The description is not one of a process: a zero byte in a text, a descriptor below zero.
    Describe,
    /// Opening the pipes.
    Pipe,
    /// Opening what tells of the child's end.
    Watch,
    /// Making the process; `EMFILE` too, for the descriptor that it is born with.
    Fork,
    /// setsid(2).
    Session,
    /// setpgid(2).
    ProcessGroup,
    /// Making the terminal the controlling one.
    Terminal,
    /// Giving descriptors their numbers.
    Descriptors,
    /// chdir(2).
    Directory,
    /// setgroups(2).
    Groups,
    /// setgid(2).
    Group,
    /// setuid(2).
    User,
    /// execve(2), after the search for the program.
    Exec,
}

/// Those that the child takes, which tells them by their numbers.
const IN_THE_CHILD: [Step; 9] = [
    Step::Session,
    Step::ProcessGroup,
    Step::Terminal,
    Step::Descriptors,
    Step::Directory,
    Step::Groups,
    Step::Group,
    Step::User,
    Step::Exec,
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describing the process",
            Self::Pipe => "opening its pipes",
            Self::Watch => "opening what tells of its end",
            Self::Fork => "making the process",
            Self::Session => "starting a session",
            Self::ProcessGroup => "setting the process group",
            Self::Terminal => "setting the controlling terminal",
            Self::Descriptors => "placing the descriptors",
            Self::Directory => "changing the directory",
            Self::Groups => "setting the groups",
            Self::Group => "setting the group",
            Self::User => "setting the user",
            Self::Exec => "executing the program",
        })
    }
}

/// Why there is no child process.
#[derive(Debug)]
pub struct SpawnError {
    step: Step,
    source: io::Error,
}

impl SpawnError {
    /// For `map_err`: the error of `step`.
    pub(super) fn at(step: Step) -> impl Fn(io::Error) -> Self {
        move |source| Self { step, source }
    }

    /// What it failed at.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// What the system answered, as it is.
    pub const fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no child process: {} failed", self.step)
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The system's answer, with the step left out.
impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        error.source
    }
}

/// What a child failed at before it was another program. Made and told without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Failure {
    /// As a number that is not zero.
    pub(super) const fn to_bits(self) -> u64 {
        (self.step as u64) << 32 | self.errno as u32 as u64
    }

    /// Of a number that [`to_bits`](Self::to_bits) gave; nothing for zero.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let number = bits >> 32;
        let mut steps = IN_THE_CHILD.into_iter();
        let step = steps.find(|step| *step as u64 == number)?;
        let errno = bits as u32 as i32;
        Some(Self { step, errno })
    }
}

impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        Self::at(failure.step)(io::Error::from_raw_os_error(failure.errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_as_a_number_and_zero_is_none() {
        for step in IN_THE_CHILD {
            for errno in [1, libc::ENOENT, 133] {
                let failure = Failure { step, errno };
                assert_eq!(Failure::from_bits(failure.to_bits()), Some(failure));
            }
        }
        assert_eq!(Failure::from_bits(0), None);
    }
}
