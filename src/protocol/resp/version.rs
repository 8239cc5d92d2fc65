//! The two versions of the Redis protocol.

/// The version that replies are encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// RESP2, which every client understands.
    #[default]
    Resp2,
    /// RESP3, with types for maps, sets and null: after `HELLO 3`.
    Resp3,
}

impl Version {
    /// Returns the version with this number, if there is one.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// Returns its number, as in HELLO.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}
