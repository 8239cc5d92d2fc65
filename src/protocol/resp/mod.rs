//! The Redis protocol, so that every Redis client can count. A command is an array of strings or a
//! line of words; replies are in RESP2, or in RESP3 after `HELLO 3`. Source:
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! [`decode`] finds the arguments of one command, [`Command::read`] interprets them, [`Writer`]
//! encodes the replies; [`encode_command`] and [`decode_reply`] are the client's half. [`COMMANDS`]
//! is the one list of commands. Nothing here knows a connection.

mod client;
mod command;
mod decode;
mod describe;
mod encode;
mod glob;
mod limits;
mod lookup;
mod number;
mod refusal;
mod reply;
mod set;
mod spec;
mod table;
mod unsupported;
mod version;

pub use client::{Auth, ClientFilter, Kill, Replies};
pub use command::{Command, EachKey, Hello, Scan, SlotKeys};
pub use decode::{Arguments, Progress, ProtocolError, decode, decode_array};
pub use describe::{commands, describe, document, help};
pub use encode::{Writer, encode_command, encode_number};
pub use glob::glob;
pub use limits::{MAX_ARGUMENT, MAX_ARGUMENTS, MAX_COMMAND, MAX_INLINE, MAX_SUM};
pub use lookup::{find, named};
pub use number::number;
pub use refusal::Refusal;
pub use reply::{Content, Form, NotAReply, Tally, Value, decode_reply};
pub use spec::{Argument, Group, Keying, Spec, Verb};
pub use table::COMMANDS;
pub use version::Version;

#[cfg(test)]
mod tests;
