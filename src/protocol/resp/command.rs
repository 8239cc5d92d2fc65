//! Interprets the arguments of a command.

use std::num::NonZeroU64;

use super::limits::MAX_PATTERN;
use super::number::is_negative;
use super::{Arguments, Form, MAX_SUM, Refusal, Spec, Verb, Version, number};
use crate::protocol::{ErrorCode, Op, Request};
use crate::topic::Topic;

/// The number of topics that SCAN looks for without COUNT.
const SCAN_COUNT: usize = 10;

/// The longest name of a client or its library, in bytes. It is limited because the server stores
/// it.
const MAX_CLIENT_NAME: usize = 256;

/// The most names that COMMAND INFO and COMMAND DOCS accept: more than there are commands.
const MAX_DESCRIBED: usize = 256;

/// A command with its arguments interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// An operation on one topic, which is argument 1.
    Topic {
        /// The operation and the topic.
        request: Request<'a>,
        /// How to encode its reply.
        form: Form,
    },
    /// The same operation on several topics: all arguments after the name.
    Keys(Keys),
    /// PING, perhaps with a message.
    Ping(Option<&'a [u8]>),
    /// ECHO.
    Echo(&'a [u8]),
    /// HELLO.
    Hello(Hello<'a>),
    /// CLIENT SETNAME.
    SetName(&'a str),
    /// CLIENT SETINFO: the client library of the connection.
    SetInfo {
        /// Whether `value` is the version of the library, not its name.
        version: bool,
        /// The name or the version.
        value: &'a str,
    },
    /// CLIENT LIST.
    List(Listed),
    /// SCAN.
    Scan(Scan<'a>),
    /// A command whose only reply is OK.
    Ok,
    /// Any other command: it has no arguments to interpret, or takes them as they are.
    Other,
}

/// MGET, DEL, UNLINK or EXISTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The operation on each topic.
    pub op: Op,
    /// Whether the reply is the number of topics that existed. If not, it is a list with a reply
    /// for each topic.
    pub counted: bool,
}

impl Keys {
    /// Returns how to encode the reply for one topic; `last` is true for the last topic of the
    /// command.
    #[must_use]
    pub fn form(self, last: bool) -> Form {
        match self.counted {
            true => Form::Tally { last },
            false => Form::Value,
        }
    }
}

/// Which clients CLIENT LIST lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All clients.
    All,
    /// The clients whose ids are the arguments from 3 on.
    Some,
    /// No client: Redis has clients of the given type, this server has not.
    None,
}

/// HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version to use from now on; `None` keeps the current one.
    pub version: Option<Version>,
    /// The new name of the connection, if one is given.
    pub name: Option<&'a str>,
}

/// SCAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Where to continue; 0 starts from the beginning.
    pub cursor: u64,
    /// The pattern that returned topics match, if one is given.
    pub pattern: Option<&'a [u8]>,
    /// About how many topics to look at.
    pub count: usize,
    /// Whether the requested type is string, which all topics are; if not, none is returned.
    pub strings: bool,
}

impl<'a> Command<'a> {
    /// Interprets the `arguments` of the command `spec`, which point into `bytes`. Topics may have
    /// at most `max_topic_len` bytes.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the command is invalid whatever the sums are.
    pub fn read(
        spec: &'static Spec,
        arguments: &Arguments,
        bytes: &'a [u8],
        max_topic_len: usize,
    ) -> Result<Self, Refusal<'a>> {
        if !spec.takes(arguments.len()) {
            return Err(Refusal::Arity(spec));
        }
        let at = |i: usize| arguments.at(i, bytes);
        let topic = |op: Op, form: Form| -> Result<Self, Refusal<'a>> {
            let topic = Topic::new(at(1), max_topic_len).map_err(ErrorCode::from)?;
            let request = Request { op, topic };
            Ok(Self::Topic { request, form })
        };
        let keys = |op: Op, counted: bool| -> Result<Self, Refusal<'a>> {
            for i in 1..arguments.len() {
                Topic::new(at(i), max_topic_len).map_err(ErrorCode::from)?;
            }
            Ok(Self::Keys(Keys { op, counted }))
        };
        match spec.verb {
            Verb::Incr => topic(Op::Incr(NonZeroU64::MIN), Form::Sum),
            Verb::Get => topic(Op::Get, Form::Value),
            Verb::IncrBy => topic(Op::Incr(increment(at(2))?), Form::Sum),
            Verb::Set if arguments.len() > 3 => Err(Refusal::SetOptions),
            Verb::Set => match sum(at(2))? {
                0 => topic(Op::Reset, Form::Reset),
                floor => topic(Op::Advance(floor), Form::Raise(floor)),
            },
            Verb::Type => topic(Op::Get, Form::Kind),
            Verb::MGet => keys(Op::Get, false),
            Verb::Exists => keys(Op::Get, true),
            Verb::Del | Verb::Unlink => keys(Op::Delete, true),
            Verb::Ping if arguments.len() > 2 => Err(Refusal::Arity(spec)),
            Verb::Ping => Ok(Self::Ping((arguments.len() == 2).then(|| at(1)))),
            Verb::Echo => Ok(Self::Echo(at(1))),
            Verb::Scan => read_scan(arguments, bytes).map(Self::Scan),
            Verb::Hello => read_hello(arguments, bytes).map(Self::Hello),
            Verb::Auth => match arguments.len() {
                2 => Err(Refusal::NoPassword),
                3 => authenticate(at(1)).map(|()| Self::Ok),
                _ => Err(Refusal::Syntax),
            },
            Verb::Select => match number(at(1)) {
                Some(0) => Ok(Self::Ok),
                None if !is_negative(at(1)) => Err(Refusal::NotAnInteger),
                _ => Err(Refusal::Database),
            },
            Verb::ClientSetName => client_word(at(2)).map(Self::SetName),
            Verb::ClientSetInfo => {
                let version = match at(2).to_ascii_lowercase().as_slice() {
                    b"lib-name" => false,
                    b"lib-ver" => true,
                    _ => return Err(Refusal::ClientInfo),
                };
                let value = client_word(at(3))?;
                Ok(Self::SetInfo { version, value })
            }
            Verb::ClientList => read_list(arguments, bytes).map(Self::List),
            Verb::ConfigGet => match (2..arguments.len()).map(|i| at(i).len()).sum() {
                0..=MAX_PATTERN => Ok(Self::Other),
                _ => Err(Refusal::PatternLength),
            },
            Verb::CommandInfo | Verb::CommandDocs if arguments.len() > 2 + MAX_DESCRIBED => {
                Err(Refusal::Syntax)
            }
            _ => Ok(Self::Other),
        }
    }
}

/// Parses the sum of SET.
fn sum(text: &[u8]) -> Result<u64, Refusal<'static>> {
    match number(text) {
        Some(sum) => Ok(sum),
        None if is_negative(text) => Err(Refusal::OnlyUp),
        None => Err(Refusal::NotAnInteger),
    }
}

/// Parses the increment of INCRBY.
fn increment(text: &[u8]) -> Result<NonZeroU64, Refusal<'static>> {
    match sum(text)? {
        n if n > MAX_SUM => Err(Refusal::NotAnInteger),
        n => NonZeroU64::new(n).ok_or(Refusal::OnlyUp),
    }
}

fn read_scan<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<Scan<'a>, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let mut scan = Scan {
        cursor: number(at(1)).ok_or(Refusal::Cursor)?,
        pattern: None,
        count: SCAN_COUNT,
        strings: true,
    };
    let mut i = 2;
    while i < arguments.len() {
        if i + 1 == arguments.len() {
            return Err(Refusal::Syntax);
        }
        let value = at(i + 1);
        match at(i).to_ascii_uppercase().as_slice() {
            b"MATCH" if value.len() > MAX_PATTERN => return Err(Refusal::PatternLength),
            b"MATCH" => scan.pattern = Some(value),
            b"COUNT" => {
                scan.count = match number(value) {
                    None if !is_negative(value) => return Err(Refusal::NotAnInteger),
                    None | Some(0) => return Err(Refusal::Syntax),
                    Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
                };
            }
            b"TYPE" => scan.strings = value.eq_ignore_ascii_case(b"string"),
            _ => return Err(Refusal::Syntax),
        }
        i += 2;
    }
    Ok(scan)
}

fn read_list<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<Listed, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let option = match arguments.len() {
        2 => return Ok(Listed::All),
        3 => return Err(Refusal::Syntax),
        _ => at(2).to_ascii_uppercase(),
    };
    match (option.as_slice(), arguments.len()) {
        (b"TYPE", 4) if at(3).eq_ignore_ascii_case(b"normal") => Ok(Listed::All),
        (b"TYPE", 4) => match at(3).to_ascii_lowercase().as_slice() {
            b"master" | b"replica" | b"slave" | b"pubsub" => Ok(Listed::None),
            _ => Err(Refusal::ClientType(at(3))),
        },
        (b"ID", len) if (3..len).all(|i| number(at(i)).is_some()) => Ok(Listed::Some),
        (b"ID", _) => Err(Refusal::ClientId),
        _ => Err(Refusal::Syntax),
    }
}

fn read_hello<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<Hello<'a>, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let mut hello = Hello {
        version: None,
        name: None,
    };
    if arguments.len() > 1 {
        let version = number(at(1)).ok_or(Refusal::VersionNumber)?;
        hello.version = Some(Version::new(version).ok_or(Refusal::Version)?);
    }
    let mut i = 2;
    while i < arguments.len() {
        let left = arguments.len() - i - 1;
        match at(i).to_ascii_uppercase().as_slice() {
            b"AUTH" if left >= 2 => {
                authenticate(at(i + 1))?;
                i += 3;
            }
            b"SETNAME" if left >= 1 => {
                hello.name = Some(client_word(at(i + 1))?);
                i += 2;
            }
            _ => return Err(Refusal::HelloOption(at(i))),
        }
    }
    Ok(hello)
}

/// Checks a user. No password is configured, so the user `default` may send any password, as in
/// Redis.
fn authenticate(user: &[u8]) -> Result<(), Refusal<'static>> {
    match user {
        b"default" => Ok(()),
        _ => Err(Refusal::NoSuchUser),
    }
}

/// Checks that CLIENT LIST can print a word: printable ASCII without spaces.
fn client_word(word: &[u8]) -> Result<&str, Refusal<'_>> {
    match std::str::from_utf8(word) {
        Ok(word)
            if word.len() <= MAX_CLIENT_NAME
                && word.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(word)
        }
        _ => Err(Refusal::ClientName),
    }
}
