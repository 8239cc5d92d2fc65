//! The dialect of a peer, recognised by the first byte that it sends.

use super::{classic, framed};

/// The protocol of a datagram or a connection, recognised by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The original protocol, one message at a time: [`classic`].
    Classic,
    /// Frames with request ids, for pipelines and batches: [`framed`].
    Framed,
    /// The Redis protocol, on TCP only: [`resp`](super::resp).
    Resp,
    /// A reply of another server. It is never answered, so that nobody can make two servers talk to
    /// each other.
    Reply,
    /// No known protocol; answered with one classic ERROR.
    Unknown,
}

impl Dialect {
    /// Returns the dialect of a datagram or a connection that starts with `first`.
    #[must_use]
    pub fn of(first: u8) -> Self {
        match first {
            classic::COUNT | classic::RESET => Self::Classic,
            framed::FIRST_OP..=framed::LAST_OP => Self::Framed,
            // CR and LF begin an empty line, which RESP ignores: people press Enter in netcat.
            b'*' | b'A'..=b'Z' | b'a'..=b'z' | b'\r' | b'\n' => Self::Resp,
            128..=255 => Self::Reply,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides_the_dialect() {
        for first in 0..=255 {
            let expected = match first {
                0 | 1 => Dialect::Classic,
                16..=31 => Dialect::Framed,
                10 | 13 | 42 | 65..=90 | 97..=122 => Dialect::Resp,
                128.. => Dialect::Reply,
                _ => Dialect::Unknown,
            };
            assert_eq!(Dialect::of(first), expected, "first byte {first}");
        }
    }
}
