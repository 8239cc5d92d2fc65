//! The two versions of the Redis protocol.

/// How replies are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// What every client understands.
    #[default]
    Resp2,
    /// With maps, sets and a null of its own: after `HELLO 3`.
    Resp3,
}

impl Version {
    /// The version of that number.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// Its number, as HELLO says it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}
