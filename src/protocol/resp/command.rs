//! What a command asks for, out of its arguments.

use std::num::NonZeroU64;

use super::limits::MAX_PATTERN;
use super::number::is_negative;
use super::{Arguments, Form, MAX_SUM, Refusal, Spec, Verb, Version, number};
use crate::protocol::{ErrorCode, Op, Request};
use crate::topic::Topic;

/// How many topics SCAN looks for unless told otherwise.
const SCAN_COUNT: usize = 10;

/// The longest word that a client says of itself, in bytes: it is kept.
const MAX_CLIENT_WORD: usize = 256;

/// The most commands that COMMAND INFO and COMMAND DOCS describe, when they are named: more than
/// there are.
const MAX_DESCRIBED: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Something to do to the topic that is argument 1.
    Topic {
        /// What, to which.
        request: Request<'a>,
        /// How its reply is said.
        form: Form,
    },
    /// The same thing to do to each of several topics: all arguments but the first.
    Keys(Keys),
    /// PING, or with a message.
    Ping(Option<&'a [u8]>),
    /// ECHO.
    Echo(&'a [u8]),
    /// HELLO.
    Hello(Hello<'a>),
    /// CLIENT SETNAME.
    SetName(&'a str),
    /// CLIENT SETINFO: which library has the connection, or (true) which version of it.
    SetInfo {
        /// Whether it is the version.
        version: bool,
        /// What it says.
        value: &'a str,
    },
    /// CLIENT LIST.
    List(Listed),
    /// SCAN.
    Scan(Scan<'a>),
    /// OK is all there is to say.
    Ok,
    /// Another one, which has nothing to be read, or takes its arguments as they are.
    Other,
}

/// What MGET, DEL, UNLINK and EXISTS ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// What to do to each.
    pub op: Op,
    /// Whether they are counted; otherwise each has its own reply, in a list.
    pub counted: bool,
}

impl Keys {
    /// How the reply of one is said.
    #[must_use]
    pub fn form(self, last: bool) -> Form {
        match self.counted {
            true => Form::Tally { last },
            false => Form::Value,
        }
    }
}

/// Whom CLIENT LIST lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// Those with these numbers: the arguments from 3 on.
    Some,
    /// Those of a type that there is not.
    None,
}

/// What HELLO says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version to speak from now on; `None`: as before.
    pub version: Option<Version>,
    /// The connection's name.
    pub name: Option<&'a str>,
}

/// What SCAN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Where to go on; 0: from the start.
    pub cursor: u64,
    /// Which topics to return.
    pub pattern: Option<&'a [u8]>,
    /// About how many to look at.
    pub count: usize,
    /// Whether topics are of the kind that was asked for.
    pub strings: bool,
}

impl<'a> Command<'a> {
    /// What the arguments of `spec`'s command, in `bytes`, ask for. Topics are at most
    /// `max_topic_len` bytes long.
    ///
    /// # Errors
    ///
    /// [`Refusal`], where it can't be done whatever the counters are.
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

/// What SET sets to.
fn sum(text: &[u8]) -> Result<u64, Refusal<'static>> {
    match number(text) {
        Some(sum) => Ok(sum),
        None if is_negative(text) => Err(Refusal::OnlyUp),
        None => Err(Refusal::NotAnInteger),
    }
}

/// What INCRBY adds.
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

/// Nobody has to say a password: as in a Redis that has none set, the default user may say any.
fn authenticate(user: &[u8]) -> Result<(), Refusal<'static>> {
    match user {
        b"default" => Ok(()),
        _ => Err(Refusal::NoSuchUser),
    }
}

/// A word that CLIENT LIST can print.
fn client_word(word: &[u8]) -> Result<&str, Refusal<'_>> {
    match std::str::from_utf8(word) {
        Ok(word)
            if word.len() <= MAX_CLIENT_WORD
                && word.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(word)
        }
        _ => Err(Refusal::ClientName),
    }
}
