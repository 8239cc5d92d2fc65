//! Why a command is not done, in the words that the client gets.

use std::fmt;

use super::limits::MAX_PATTERN;
use super::{Arguments, Spec};
use crate::protocol::ErrorCode;

/// The most bytes of an argument that an error quotes: as in Redis.
const QUOTED: usize = 128;

/// Why a command is not done. What it says of itself is what the client is told.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Refusal<'a> {
    /// There is no such command.
    UnknownCommand {
        /// Its name.
        name: &'a [u8],
        /// What came behind it.
        arguments: [Option<&'a [u8]>; 4],
    },
    /// There is no such subcommand.
    UnknownSubcommand {
        /// Of this command.
        of: &'static Spec,
        /// Its name.
        name: &'a [u8],
    },
    /// It takes another number of arguments.
    Arity(&'static Spec),
    /// A topic or a sum that can't be.
    Code(ErrorCode),
    /// It would go down.
    OnlyUp,
    /// A number was expected.
    NotAnInteger,
    /// SCAN's cursor is none.
    Cursor,
    /// An option that there is not, or not its value.
    Syntax,
    /// Patterns over [`MAX_PATTERN`].
    PatternLength,
    /// HELLO has an option that there is not, or not all of its values.
    HelloOption(&'a [u8]),
    /// CLIENT LIST of a type that there is not.
    ClientType(&'a [u8]),
    /// CLIENT LIST of what is no client's number.
    ClientId,
    /// SET has more than a key and a sum.
    SetOptions,
    /// There is no such database.
    Database,
    /// HELLO wants a version that there is not.
    Version,
    /// HELLO wants a version that is no number.
    VersionNumber,
    /// It is part of a transaction.
    Transaction,
    /// The transaction ends with nothing done.
    Aborted,
    /// A transaction in a transaction.
    Nested,
    /// EXEC or DISCARD without a transaction.
    NoTransaction(&'static Spec),
    /// AUTH without a user, where nobody has to say a password.
    NoPassword,
    /// AUTH of a user that there is not.
    NoSuchUser,
    /// A name for a connection that can't be.
    ClientName,
    /// CLIENT SETINFO of something else than a library's name or version.
    ClientInfo,
}

impl<'a> Refusal<'a> {
    /// What is said of a command that there is not. A counter has no way down, and is told so.
    pub(super) fn unknown_command(arguments: &Arguments, bytes: &'a [u8]) -> Self {
        let name = arguments.at(0, bytes);
        let down: [&[u8]; 2] = [b"DECR", b"DECRBY"];
        if down.iter().any(|down| down.eq_ignore_ascii_case(name)) {
            return Self::OnlyUp;
        }
        let at = |i| (i < arguments.len()).then(|| arguments.at(i, bytes));
        Self::UnknownCommand {
            name,
            arguments: [at(1), at(2), at(3), at(4)],
        }
    }
}

impl From<ErrorCode> for Refusal<'_> {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownCommand { name, arguments } => {
                write!(
                    f,
                    "ERR unknown command '{}', with args beginning with: ",
                    Quoted(name)
                )?;
                for argument in arguments.iter().map_while(|argument| *argument) {
                    write!(f, "'{}' ", Quoted(argument))?;
                }
                Ok(())
            }
            Self::UnknownSubcommand { of, name } => {
                let command = of.name.to_ascii_uppercase();
                let name = Quoted(name);
                write!(f, "ERR unknown subcommand '{name}'. Try {command} HELP.")
            }
            Self::Arity(spec) => {
                let name = spec.name;
                write!(f, "ERR wrong number of arguments for '{name}' command")
            }
            Self::Code(code) => f.write_str(text_of(code)),
            Self::OnlyUp => f.write_str("ERR counters only go up"),
            Self::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::Cursor => f.write_str("ERR invalid cursor"),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::PatternLength => write!(f, "ERR patterns have at most {MAX_PATTERN} bytes"),
            Self::SetOptions => {
                f.write_str("ERR syntax error: SET takes a key and a sum here, and no options")
            }
            Self::Database => f.write_str("ERR DB index is out of range"),
            Self::Version => f.write_str("NOPROTO unsupported protocol version"),
            Self::VersionNumber => {
                f.write_str("ERR Protocol version is not an integer or out of range")
            }
            Self::Transaction => f.write_str("ERR no transactions here: send it without MULTI"),
            Self::Aborted => {
                f.write_str("EXECABORT Transaction discarded because of previous errors.")
            }
            Self::Nested => f.write_str("ERR MULTI calls can not be nested"),
            Self::NoTransaction(spec) => {
                let name = spec.name.to_ascii_uppercase();
                write!(f, "ERR {name} without MULTI")
            }
            Self::NoPassword => f.write_str(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ),
            Self::NoSuchUser => {
                f.write_str("WRONGPASS invalid username-password pair or user is disabled.")
            }
            Self::HelloOption(option) => {
                write!(f, "ERR Syntax error in HELLO option '{}'", Quoted(option))
            }
            Self::ClientType(name) => write!(f, "ERR Unknown client type '{}'", Quoted(name)),
            Self::ClientId => f.write_str("ERR Invalid client ID"),
            Self::ClientName => f.write_str(
                "ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            Self::ClientInfo => {
                f.write_str("ERR Unrecognized option: lib-name or lib-ver expected")
            }
        }
    }
}

/// What a Redis client is told of an error: the first word is one that Redis uses where something
/// like it happens, since clients look at it.
#[must_use]
pub(super) const fn text_of(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::BadTopic => "ERR the key is not UTF-8",
        ErrorCode::TopicTooLong => "ERR the key is too long",
        ErrorCode::Overflow => "ERR increment or decrement would overflow",
        ErrorCode::TooManyTopics => "OOM a new topic would be one over --max-topics",
        ErrorCode::Busy => "TRYAGAIN busy, nothing was counted",
        ErrorCode::Store => "MISCONF the durable store failed",
        ErrorCode::Denied => "NOPERM not allowed",
        ErrorCode::BadOpcode | ErrorCode::BadFrame | ErrorCode::Other(_) => "ERR refused",
    }
}

/// The beginning of what a client said, in an error.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(QUOTED)];
        f.write_str(&String::from_utf8_lossy(shown))
    }
}
