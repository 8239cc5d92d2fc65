//! The trait of a target and the values of its methods: all that the rest of the program knows of a
//! target.

use std::borrow::Cow;
use std::fmt;

use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::topic::TOPIC_LEN_LIMIT;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A TCP connection for any number of requests.
    Stream,
    /// A TCP connection for each request; the server closes it after its reply.
    OneShot,
    /// UDP.
    Datagrams {
        /// Whether a datagram can hold several requests.
        packed: bool,
    },
}

impl Transport {
    /// Returns whether it is UDP, which can lose requests and replies.
    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Self::Datagrams { .. })
    }
}

/// How replies are matched to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// By an id of this many bits.
    ById(u32),
    /// By order: replies arrive in the order of the requests.
    InOrder,
}

/// How a connection is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// It cannot be.
    None,
    /// By HELLO of the framed dialect.
    Hello,
    /// By AUTH of the Redis protocol.
    Auth,
}

/// A dialect on a transport.
pub(crate) trait Target: Sync {
    /// Returns its name for `--target`.
    fn name(&self) -> &'static str;

    /// Returns how its requests travel.
    fn transport(&self) -> Transport;

    /// Returns how its replies are matched to requests.
    fn matching(&self) -> Matching;

    /// Returns whether it supports a method.
    fn supports(&self, op: Op) -> bool;

    /// Returns whether this project's server speaks it.
    fn is_own(&self) -> bool {
        true
    }

    /// Returns whether that server can have the kernel deliver its requests to the worker that owns
    /// their topic (`--steering`).
    fn is_steered(&self) -> bool {
        false
    }

    /// Returns the method that creates a topic and changes nothing else. `None` if counting creates
    /// it.
    fn creates_with(&self) -> Option<Op> {
        None
    }

    /// Returns the most bytes of a topic's name.
    fn topic_len_limit(&self) -> usize {
        TOPIC_LEN_LIMIT
    }

    /// Returns whether HELLO tells which shard owns a topic.
    fn knows_shards(&self) -> bool {
        false
    }

    /// Returns how a connection is authenticated.
    fn login(&self) -> Login {
        Login::None
    }

    /// Appends a request.
    fn encode(&self, id: u32, op: Op, topic: &[u8], out: &mut Vec<u8>);

    /// Decodes the reply that `input` begins with. `None` if the reply is not complete; a datagram and
    /// the bytes of a one-shot connection are always complete.
    ///
    /// # Errors
    ///
    /// The bytes are no reply.
    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply>;
}

impl fmt::Debug for dyn Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The length of the reply in bytes.
    pub(crate) len: usize,
    /// The id of its request; 0 if the target has no ids.
    pub(crate) id: u32,
    pub(crate) outcome: Outcome,
}

/// The content of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The sum.
    Sum(u64),
    /// The request is done, and the reply has no sum.
    Done,
    /// The topic does not exist.
    Missing,
    /// The request was refused, with the server's message. Its first word is the code of the error.
    Refused(Cow<'static, str>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Count(sum) | Reply::Add(sum) | Reply::Get(Some(sum)) | Reply::Advance(sum) => {
                Self::Sum(sum)
            }
            Reply::Get(None) => Self::Missing,
            Reply::Error(ErrorCode::Other(code)) => Self::Refused(format!("CODE_{code}").into()),
            Reply::Error(code) => Self::Refused(code.name().into()),
            _ => Self::Done,
        }
    }
}

/// Bytes that are no reply of the target's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidReply(String);

impl InvalidReply {
    /// Keeps the first bytes of `input`, as many as fit into one line.
    pub(super) fn at(input: &[u8]) -> Self {
        const SHOWN: usize = 24;
        let shown = &input[..input.len().min(SHOWN)];
        let more = if input.len() > SHOWN { "…" } else { "" };
        Self(format!("\"{}\"{more}", shown.escape_ascii()))
    }
}

impl fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server answered with bytes that are no reply: {}",
            self.0
        )
    }
}

impl std::error::Error for InvalidReply {}
