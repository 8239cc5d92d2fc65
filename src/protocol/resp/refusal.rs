//! Why a command is refused, and the error text that the client gets.

use std::fmt;

use super::limits::MAX_PATTERN;
use super::unsupported::{self, NO_EXPIRY, ONLY_UP};
use super::{Arguments, Spec, Verb};
use crate::protocol::ErrorCode;

/// The most bytes of an argument that an error quotes: the limit of Redis.
const MAX_QUOTED: usize = 128;

/// Why a command is refused. Its `Display` is the error text that the client gets.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Refusal<'a> {
    /// The command does not exist.
    UnknownCommand {
        /// The name that was sent.
        name: &'a [u8],
        /// The first arguments after it.
        arguments: [Option<&'a [u8]>; 4],
    },
    /// The command exists in Redis, but not here. Holds the error text.
    Unsupported(&'static str),
    /// The subcommand does not exist.
    UnknownSubcommand {
        /// The command.
        of: &'static Spec,
        /// The name of the subcommand that was sent.
        name: &'a [u8],
    },
    /// A subcommand of CLUSTER that changes a cluster of Redis. Here the nodes place slots themselves.
    ChangesCluster,
    /// A command about clusters, at a server alone.
    NoCluster,
    /// No node of the cluster has this id.
    UnknownNode(&'a [u8]),
    /// The slot is not one of 0 to 16383.
    Slot,
    /// The slot, or the number of keys, in CLUSTER GETKEYSINSLOT is invalid.
    SlotOrCount,
    /// The command does not take this number of arguments.
    Arity(&'static Spec),
    /// The topic is invalid.
    Code(ErrorCode),
    /// The sum would go down.
    OnlyUp,
    /// The topic would expire.
    NoExpiry,
    /// An argument is not a number, or out of range.
    NotAnInteger,
    /// The cursor of SCAN is invalid.
    Cursor,
    /// An option is unknown, or its value is missing or invalid.
    Syntax,
    /// The patterns of a command are longer than [`MAX_PATTERN`] bytes together.
    PatternLength,
    /// HELLO has an unknown option, or one without all of its values.
    HelloOption(&'a [u8]),
    /// CLIENT LIST or CLIENT KILL has an unknown client type.
    ClientType(&'a [u8]),
    /// CLIENT LIST has an invalid client id.
    ClientId,
    /// CLIENT KILL has an invalid client id.
    KillId,
    /// CLIENT KILL names a user that does not exist.
    KillUser(&'a [u8]),
    /// CLIENT KILL has an invalid age.
    KillAge,
    /// COMMAND GETKEYS of a command that does not exist.
    NoSuchCommand,
    /// COMMAND GETKEYS of a command that does not take this number of arguments.
    NoSuchArity,
    /// COMMAND GETKEYS of a command without keys.
    NoKeys,
    /// The timeout of WAIT is not a number.
    Timeout,
    /// The timeout of WAIT is below 0.
    NegativeTimeout,
    /// LATENCY GRAPH of an event; none is recorded.
    NoSamples(&'a [u8]),
    /// OBJECT FREQ; it is not recorded how often a topic is used.
    NoFrequency,
    /// The number of entries in SLOWLOG GET is invalid.
    SlowLogCount,
    /// SELECT of a database other than 0.
    Database,
    /// HELLO asks for an unsupported version.
    Version,
    /// The version in HELLO is not a number.
    VersionNumber,
    /// The command is part of a transaction, and transactions are not supported.
    Transaction,
    /// EXEC ends a transaction; none of its commands was applied.
    Aborted,
    /// MULTI inside a transaction.
    Nested,
    /// EXEC or DISCARD without a transaction.
    NoTransaction(&'static Spec),
    /// AUTH with a password only; no password is configured.
    NoPassword,
    /// AUTH of a user that does not exist, or with a wrong password.
    WrongPassword,
    /// AUTH was not checked, because too many attempts failed or wait. Holds the reason.
    AuthLater(&'static str),
    /// The connection has to authenticate first.
    NoAuth,
    /// The connection has no right to call the command.
    NoCommand(&'static Spec),
    /// The connection has the right, but not for one of the topics.
    NoKey,
    /// The name for a connection is invalid.
    ClientName,
    /// CLIENT SETINFO of an attribute other than the library's name or version.
    ClientInfo,
}

impl<'a> Refusal<'a> {
    /// Returns the refusal of a command that does not exist here. Those that Redis has are refused
    /// with their reason.
    pub(super) fn unknown_command(arguments: &Arguments, bytes: &'a [u8]) -> Self {
        let name = arguments.at(0, bytes);
        if let Some(reason) = unsupported::reason(name) {
            return Self::Unsupported(reason);
        }
        let at = |i| (i < arguments.len()).then(|| arguments.at(i, bytes));
        Self::UnknownCommand {
            name,
            arguments: [at(1), at(2), at(3), at(4)],
        }
    }

    /// Returns the refusal of a subcommand that does not exist here.
    pub(super) fn unknown_subcommand(of: &'static Spec, name: &'a [u8]) -> Self {
        match of.verb == Verb::Cluster && unsupported::changes_cluster(name) {
            true => Self::ChangesCluster,
            false => Self::UnknownSubcommand { of, name },
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
            Self::ChangesCluster => f.write_str(
                "ERR not supported: the nodes place slots themselves; see `globalcounter cluster`",
            ),
            Self::NoCluster => f.write_str("ERR This instance has cluster support disabled"),
            Self::UnknownNode(id) => write!(f, "ERR Unknown node {}", Quoted(id)),
            Self::Slot => f.write_str("ERR Invalid slot"),
            Self::SlotOrCount => f.write_str("ERR Invalid slot or number of keys"),
            Self::Arity(spec) => {
                let name = spec.name;
                write!(f, "ERR wrong number of arguments for '{name}' command")
            }
            Self::Code(code) => f.write_str(text_of(code)),
            Self::Unsupported(reason) => f.write_str(reason),
            Self::OnlyUp => f.write_str(ONLY_UP),
            Self::NoExpiry => f.write_str(NO_EXPIRY),
            Self::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::Cursor => f.write_str("ERR invalid cursor"),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::PatternLength => write!(f, "ERR patterns have at most {MAX_PATTERN} bytes"),
            Self::KillId => f.write_str("ERR client-id should be greater than 0"),
            Self::KillUser(name) => write!(f, "ERR No such user '{}'", Quoted(name)),
            Self::KillAge => f.write_str("ERR maxage should be greater than 0"),
            Self::NoSuchCommand => f.write_str("ERR Invalid command specified"),
            Self::NoSuchArity => {
                f.write_str("ERR Invalid number of arguments specified for command")
            }
            Self::NoKeys => f.write_str("ERR The command has no key arguments"),
            Self::Timeout => f.write_str("ERR timeout is not an integer or out of range"),
            Self::NegativeTimeout => f.write_str("ERR timeout is negative"),
            Self::NoSamples(event) => {
                let event = Quoted(event);
                write!(f, "ERR No samples available for event '{event}'")
            }
            Self::NoFrequency => f.write_str(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked.",
            ),
            Self::SlowLogCount => f.write_str("ERR count should be greater than or equal to -1"),
            Self::Database => f.write_str("ERR DB index is out of range"),
            Self::Version => f.write_str("NOPROTO unsupported protocol version"),
            Self::VersionNumber => {
                f.write_str("ERR Protocol version is not an integer or out of range")
            }
            Self::Transaction => {
                f.write_str("ERR transactions are not supported: send the command without MULTI")
            }
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
            Self::WrongPassword => {
                f.write_str("WRONGPASS invalid username-password pair or user is disabled.")
            }
            Self::AuthLater(reason) => write!(f, "TRYAGAIN {reason}"),
            Self::NoAuth => f.write_str("NOAUTH Authentication required."),
            Self::NoCommand(spec) => {
                let name = spec.name;
                write!(
                    f,
                    "NOPERM this user has no permissions to run the '{name}' command"
                )
            }
            Self::NoKey => f.write_str(
                "NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
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

/// Returns the text of an error for a Redis client. Clients look at the first word, so it is the
/// one that Redis uses for a similar error.
#[must_use]
pub(super) const fn text_of(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::BadTopic => "ERR the key is not UTF-8",
        ErrorCode::TopicTooLong => "ERR the key is too long",
        ErrorCode::Overflow => "ERR increment or decrement would overflow",
        ErrorCode::TooManyTopics => {
            "OOM the limit on topics is reached (--max-topics, or that of the token)"
        }
        ErrorCode::Busy => "TRYAGAIN busy, nothing was counted",
        ErrorCode::Store => "MISCONF the durable store failed",
        ErrorCode::Denied => "NOPERM not allowed",
        ErrorCode::NotOwner => "CLUSTERDOWN the topic's owner has changed, nothing was counted",
        ErrorCode::Unavailable => "CLUSTERDOWN no node can serve the topic, nothing was counted",
        ErrorCode::Unknown => "ERR the outcome is unknown: the command may have been applied",
        ErrorCode::BadOpcode | ErrorCode::BadFrame | ErrorCode::Other(_) => "ERR refused",
    }
}

/// Shows the beginning of an argument, for an error text.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MAX_QUOTED)];
        f.write_str(&String::from_utf8_lossy(shown))
    }
}
