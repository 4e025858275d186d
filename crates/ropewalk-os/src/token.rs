//! What names a source: a slot of the registry and the generation of its use.

/// Names a source as long as it lives. A token whose source is gone is recognised as stale, even
/// when its slot, or its descriptor's number, is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// The waker's token; no registry hands it out.
    pub const WAKER: Self = Self(u64::MAX);

    /// The token of `slot` in its use number `generation`.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// Which slot of the registry.
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Which use of the slot.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As the system carries it: `epoll_event.u64`, `kevent.udata`.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// Back from [`to_u64`](Self::to_u64).
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_way_through_the_system() {
        let token = Token::new(7, 3);
        assert_eq!(Token::from_u64(token.to_u64()), token);
        assert_eq!((token.slot(), token.generation()), (7, 3));
        assert_ne!(token, Token::new(7, 4));
    }
}
