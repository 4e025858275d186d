//! What a source asks to hear about, and what the system reports.

use std::ops::{BitOr, BitOrAssign};

/// What a source asks to hear about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: no event at all, not even a hang-up.
    pub const NONE: Self = Self(0);
    /// Something to read, or to accept.
    pub const READABLE: Self = Self(1);
    /// Room to write, or a finished connect.
    pub const WRITABLE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether it asks for nothing.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it asks for readability.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Whether it asks for writability.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// The same but for readability.
    #[must_use]
    pub const fn with_readable(self, readable: bool) -> Self {
        Self(self.0 & Self::WRITABLE.0 | if readable { Self::READABLE.0 } else { 0 })
    }

    /// The same but for writability.
    #[must_use]
    pub const fn with_writable(self, writable: bool) -> Self {
        Self(self.0 & Self::READABLE.0 | if writable { Self::WRITABLE.0 } else { 0 })
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the system reports of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A read will not block: data, an end of file, an error, or a connection to accept.
    pub const READABLE: Self = Self(1);
    /// A write will not block, or a connect is over.
    pub const WRITABLE: Self = Self(2);
    /// Both directions are closed, or the peer of a pipe is gone. Reported unasked.
    pub const HANGUP: Self = Self(4);
    /// An error waits in the descriptor. Reported unasked.
    pub const ERROR: Self = Self(8);
    /// The number names no open descriptor (`POLLNVAL`).
    pub const INVALID: Self = Self(16);

    /// Whether nothing is reported.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is reported.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// See [`READABLE`](Self::READABLE).
    pub const fn is_readable(self) -> bool {
        self.contains(Self::READABLE)
    }

    /// See [`WRITABLE`](Self::WRITABLE).
    pub const fn is_writable(self) -> bool {
        self.contains(Self::WRITABLE)
    }

    /// See [`HANGUP`](Self::HANGUP).
    pub const fn is_hangup(self) -> bool {
        self.contains(Self::HANGUP)
    }

    /// See [`ERROR`](Self::ERROR).
    pub const fn is_error(self) -> bool {
        self.contains(Self::ERROR)
    }

    /// See [`INVALID`](Self::INVALID).
    pub const fn is_invalid(self) -> bool {
        self.contains(Self::INVALID)
    }

    /// The same without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl From<Interest> for Readiness {
    /// What is asked for, as if it were reported: for descriptors that are always ready.
    fn from(interest: Interest) -> Self {
        Self(interest.0)
    }
}
