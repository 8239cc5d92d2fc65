//! The Redis protocol, so that every Redis client can count: commands as arrays of strings or as
//! lines of words, replies in RESP2, or in RESP3 after `HELLO 3`. Source:
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! [`decode`] finds the arguments of one command, [`Command::read`] says what they ask for,
//! [`Writer`] says the replies; [`encode_command`] and [`decode_reply`] are the client's half.
//! [`COMMANDS`] is the one list of what there is. Nothing here knows a connection.

mod command;
mod decode;
mod describe;
mod encode;
mod glob;
mod reply;
mod table;

pub use command::{Command, Hello, Keys, Listed, Refusal, Scan, number};
pub use decode::{Arguments, Progress, ProtocolError, decode, decode_array};
pub use describe::{commands, describe, explain, help};
pub use encode::{Writer, encode_command, encode_number};
pub use glob::glob;
pub use reply::{Form, NotAReply, Said, Tally, Value, decode_reply};
pub use table::{Argument, COMMANDS, Group, Keying, Spec, Verb, find, named};

/// The highest sum that a Redis client can read as an integer: `i64::MAX`.
pub const MAX_SUM: u64 = i64::MAX as u64;

/// The most arguments of a command, its name included: an MGET of 65,535 topics. Redis allows a
/// million; what one command can ask for bounds what its replies may take.
pub const MAX_ARGUMENTS: usize = 65_536;

/// The longest argument, in bytes: far over the longest topic, so that a key that is too long is
/// told so and does not end the connection.
pub const MAX_ARGUMENT: usize = 512 * 1024;

/// The longest command, in bytes on the wire: 40,000 keys of 16 bytes.
pub const MAX_COMMAND: usize = 1024 * 1024;

/// The longest inline command, in bytes: the same as Redis allows.
pub const MAX_INLINE: usize = 64 * 1024;

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

#[cfg(test)]
mod tests;
