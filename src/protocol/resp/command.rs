//! Interprets the arguments of a command.

use std::num::NonZeroU64;

use super::client::{
    Auth, ClientFilter, Kill, Replies, check_switch, client_word, read_kill, read_list,
    read_replies,
};
use super::limits::{MAX_PATTERN, SLOTS};
use super::lookup::keys_of;
use super::number::{integer, is_negative};
use super::set::{increment, read_set, sum};
use super::{Arguments, Form, Refusal, Spec, Verb, Version, number};
use crate::protocol::{Condition, ErrorCode, Op, Request};
use crate::topic::Topic;

/// The number of topics that SCAN looks for without COUNT.
const SCAN_COUNT: usize = 10;

/// About how many bytes of memory a topic takes: a row of 32 bytes, and its share of the table's
/// index and of rows that are still free.
const TOPIC_BYTES: u64 = 56;

/// The longest name of a topic that is stored in its row, in bytes. A longer name takes its length
/// in addition.
const MAX_INLINE_NAME: usize = 24;

/// The most names that COMMAND INFO and COMMAND DOCS accept: more than there are commands.
const MAX_DESCRIBED: usize = 256;

/// A command with its arguments interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// An operation on one topic, which is the command's only key.
    Topic {
        /// The operation and the topic.
        request: Request<'a>,
        /// How to encode its reply.
        form: Form,
    },
    /// The same operation on several topics: all keys of the command.
    EachKey(EachKey),
    /// PING, perhaps with a message.
    Ping(Option<&'a [u8]>),
    /// ECHO.
    Echo(&'a [u8]),
    /// HELLO.
    Hello(Hello<'a>),
    /// AUTH.
    Auth(Auth<'a>),
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
    List(ClientFilter),
    /// CLIENT KILL.
    Kill(Kill),
    /// CLIENT REPLY.
    Replies(Replies),
    /// SCAN.
    Scan(Scan<'a>),
    /// KEYS, with its pattern.
    Keys(&'a [u8]),
    /// RANDOMKEY.
    RandomKey,
    /// CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT.
    SlotKeys(SlotKeys),
    /// COMMAND GETKEYS: the arguments from `first` to the one before `end` are keys.
    GetKeys {
        /// The first key.
        first: usize,
        /// The argument after the last key.
        end: usize,
    },
    /// A command whose only reply is OK.
    Ok,
    /// A command whose only reply is 0.
    Zero,
    /// A command whose only reply is an empty list.
    EmptyList,
    /// Any other command: it has no arguments to interpret, or takes them as they are.
    Other,
}

/// MGET, DEL, UNLINK, EXISTS or TOUCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EachKey {
    /// The operation on each topic.
    pub op: Op,
    /// Whether the reply is the number of topics that existed. If not, it is a list with a reply
    /// for each topic.
    pub counted: bool,
}

impl EachKey {
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

/// HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version to use from now on; `None` keeps the current one.
    pub version: Option<Version>,
    /// The credentials, if some are given.
    pub auth: Option<Auth<'a>>,
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

/// CLUSTER COUNTKEYSINSLOT or GETKEYSINSLOT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotKeys {
    /// The slot, 0 to 16383.
    pub slot: u16,
    /// How many topics to return at most; `None` to return only their number.
    pub max: Option<u64>,
}

impl<'a> Command<'a> {
    /// Interprets the `arguments` of the command `spec`, which point into `bytes`. Topics may have
    /// at most `max_topic_len` bytes.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the command is invalid whatever the sums are.
    #[inline(always)] // see `Session::next` of the server
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
            let key = at(spec.keys.range(arguments.len()).start);
            let topic = Topic::new(key, max_topic_len).map_err(ErrorCode::from)?;
            let request = Request { op, topic };
            Ok(Self::Topic { request, form })
        };
        let keys = |op: Op, counted: bool| -> Result<Self, Refusal<'a>> {
            for i in spec.keys.range(arguments.len()) {
                Topic::new(at(i), max_topic_len).map_err(ErrorCode::from)?;
            }
            Ok(Self::EachKey(EachKey { op, counted }))
        };
        match spec.verb {
            Verb::Incr => topic(Op::Incr(NonZeroU64::MIN), Form::Sum),
            Verb::Get => topic(Op::Get, Form::Value),
            Verb::IncrBy => topic(Op::Incr(increment(at(2))?), Form::Sum),
            Verb::Set => {
                let (op, form) = read_set(arguments, bytes)?;
                topic(op, form)
            }
            Verb::SetNx => {
                let (to, when) = (sum(at(2))?, Condition::IfAbsent);
                topic(Op::Set { to, when }, Form::Created)
            }
            Verb::GetSet => {
                let (to, when) = (sum(at(2))?, Condition::Always);
                topic(Op::Set { to, when }, Form::Before)
            }
            Verb::GetDel => topic(Op::GetDelete, Form::Before),
            Verb::Type => topic(Op::Get, Form::Kind),
            Verb::Ttl | Verb::PTtl | Verb::ExpireTime | Verb::PExpireTime => {
                topic(Op::Get, Form::Expiry)
            }
            Verb::Persist => topic(Op::Get, Form::Zero),
            Verb::StrLen => topic(Op::Get, Form::Length),
            Verb::ObjectEncoding => topic(Op::Get, Form::Encoding),
            Verb::ObjectRefCount => topic(Op::Get, Form::IfExists(1)),
            Verb::ObjectIdleTime => topic(Op::Get, Form::IfExists(0)),
            Verb::ObjectFreq => Err(Refusal::NoFrequency),
            Verb::MemoryUsage => {
                check_samples(arguments, bytes)?;
                let name = Some(at(2).len()).filter(|&len| len > MAX_INLINE_NAME);
                let len = TOPIC_BYTES + name.unwrap_or(0) as u64;
                topic(Op::Get, Form::IfExists(len))
            }
            Verb::MGet => keys(Op::Get, false),
            Verb::Exists | Verb::Touch => keys(Op::Get, true),
            Verb::Del | Verb::Unlink => keys(Op::Delete, true),
            Verb::Ping if arguments.len() > 2 => Err(Refusal::Arity(spec)),
            Verb::Ping => Ok(Self::Ping((arguments.len() == 2).then(|| at(1)))),
            Verb::Echo => Ok(Self::Echo(at(1))),
            Verb::Scan => read_scan(arguments, bytes).map(Self::Scan),
            Verb::Keys if at(1).len() > MAX_PATTERN => Err(Refusal::PatternLength),
            Verb::Keys => Ok(Self::Keys(at(1))),
            Verb::RandomKey => Ok(Self::RandomKey),
            Verb::Hello => read_hello(arguments, bytes).map(Self::Hello),
            Verb::Auth => match arguments.len() {
                2 => Ok(Self::Auth(Auth {
                    user: None,
                    password: at(1),
                })),
                3 => Ok(Self::Auth(Auth {
                    user: Some(at(1)),
                    password: at(2),
                })),
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
            Verb::ClientKill => read_kill(arguments, bytes).map(Self::Kill),
            Verb::ClientReply => read_replies(at(2)).map(Self::Replies),
            Verb::ClientNoEvict | Verb::ClientNoTouch => check_switch(at(2)).map(|()| Self::Ok),
            Verb::ClientUnpause | Verb::SlowLogReset => Ok(Self::Ok),
            Verb::CommandGetKeys => {
                let keys = keys_of(2, arguments, bytes)?;
                Ok(Self::GetKeys {
                    first: keys.start,
                    end: keys.end,
                })
            }
            Verb::Wait => match (integer(at(1)), integer(at(2))) {
                (Some(_), Some(0..)) => Ok(Self::Zero),
                (Some(_), Some(_)) => Err(Refusal::NegativeTimeout),
                (Some(_), None) => Err(Refusal::Timeout),
                (None, _) => Err(Refusal::NotAnInteger),
            },
            Verb::LatencyReset | Verb::SlowLogLen => Ok(Self::Zero),
            Verb::LatencyGraph => Err(Refusal::NoSamples(at(2))),
            Verb::LatencyHistory | Verb::LatencyLatest => Ok(Self::EmptyList),
            Verb::SlowLogGet => match arguments.len() {
                2 => Ok(Self::EmptyList),
                3 if integer(at(2)).is_some_and(|count| count >= -1) => Ok(Self::EmptyList),
                3 => Err(Refusal::SlowLogCount),
                _ => Err(Refusal::Arity(spec)),
            },
            Verb::ConfigGet => match (2..arguments.len()).map(|i| at(i).len()).sum() {
                0..=MAX_PATTERN => Ok(Self::Other),
                _ => Err(Refusal::PatternLength),
            },
            Verb::ClusterCountKeysInSlot => match integer(at(2)).map(slot) {
                Some(Some(slot)) => Ok(Self::SlotKeys(SlotKeys { slot, max: None })),
                Some(None) => Err(Refusal::Slot),
                None => Err(Refusal::NotAnInteger),
            },
            Verb::ClusterGetKeysInSlot => {
                let (Some(number), Some(count)) = (integer(at(2)), integer(at(3))) else {
                    return Err(Refusal::NotAnInteger);
                };
                match (slot(number), u64::try_from(count)) {
                    (Some(slot), Ok(count)) => Ok(Self::SlotKeys(SlotKeys {
                        slot,
                        max: Some(count),
                    })),
                    _ => Err(Refusal::SlotOrCount),
                }
            }
            Verb::CommandInfo | Verb::CommandDocs if arguments.len() > 2 + MAX_DESCRIBED => {
                Err(Refusal::Syntax)
            }
            _ => Ok(Self::Other),
        }
    }
}

/// Returns the slot with this number, if there is one.
fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|&slot| slot < SLOTS)
}

/// Checks the options of MEMORY USAGE. A sum has no nested values to sample.
fn check_samples<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<(), Refusal<'a>> {
    match arguments.len() {
        3 => Ok(()),
        5 if arguments.at(3, bytes).eq_ignore_ascii_case(b"SAMPLES") => {
            match integer(arguments.at(4, bytes)) {
                Some(0..) => Ok(()),
                Some(_) => Err(Refusal::Syntax),
                None => Err(Refusal::NotAnInteger),
            }
        }
        _ => Err(Refusal::Syntax),
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

fn read_hello<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<Hello<'a>, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let mut hello = Hello {
        version: None,
        auth: None,
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
                hello.auth = Some(Auth {
                    user: Some(at(i + 1)),
                    password: at(i + 2),
                });
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
