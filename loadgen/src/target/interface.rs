//! What the rest of the program knows of a target: the trait, and what its methods return.

use std::borrow::Cow;
use std::fmt;

use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::topic::TOPIC_LEN_LIMIT;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One TCP connection, any number of requests.
    Stream,
    /// A TCP connection for each request; the server closes it after its reply.
    OneShot,
    /// UDP.
    Datagrams {
        /// Whether a datagram can hold more than one request.
        packed: bool,
    },
}

impl Transport {
    /// Whether it is UDP, which can lose what it carries.
    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Self::Datagrams { .. })
    }
}

/// How a reply finds its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// By an id of that many bits.
    ById(u32),
    /// Replies come in the order of the requests.
    InOrder,
}

/// A dialect on a transport.
pub(crate) trait Target: Sync {
    /// What `--target` calls it.
    fn name(&self) -> &'static str;

    /// How its requests travel.
    fn transport(&self) -> Transport;

    /// How its replies find their requests.
    fn matching(&self) -> Matching;

    /// Whether it can ask for that.
    fn has(&self, op: Op) -> bool;

    /// What makes a topic exist and changes nothing else, where counting alone does not.
    fn creates_with(&self) -> Option<Op> {
        None
    }

    /// The most bytes that a topic's name may have.
    fn topic_len_limit(&self) -> usize {
        TOPIC_LEN_LIMIT
    }

    /// Whether HELLO tells who owns a topic.
    fn knows_shards(&self) -> bool {
        false
    }

    /// Appends a request.
    fn encode(&self, id: u32, op: Op, topic: &[u8], out: &mut Vec<u8>);

    /// Reads the reply that `input` begins with; `None` where it breaks off before its end. A
    /// datagram, and what a one-shot connection said, are whole.
    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply>;
}

impl fmt::Debug for dyn Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// How many bytes it takes.
    pub(crate) len: usize,
    /// The id of its request, where there are ids.
    pub(crate) id: u32,
    pub(crate) outcome: Outcome,
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The sum.
    Sum(u64),
    /// It is done, and there is no sum to tell.
    Done,
    /// There is no such topic.
    Missing,
    /// It was refused: what the server said, of which the first word is the error's code.
    Refused(Cow<'static, str>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Count(sum) | Reply::Add(sum) | Reply::Get(Some(sum)) | Reply::Advance(sum) => {
                Self::Sum(sum)
            }
            Reply::Get(None) => Self::Missing,
            Reply::Reset | Reply::Delete { .. } => Self::Done,
            Reply::Error(ErrorCode::Other(code)) => Self::Refused(format!("CODE_{code}").into()),
            Reply::Error(code) => Self::Refused(code.name().into()),
        }
    }
}

/// Bytes that are no reply of this dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidReply(String);

impl InvalidReply {
    /// The bytes from `input` on; as many are kept as one line can tell.
    pub(super) fn at(input: &[u8]) -> Self {
        const SHOWN: usize = 24;
        let shown = &input[..input.len().min(SHOWN)];
        let more = if input.len() > SHOWN { "…" } else { "" };
        Self(format!("\"{}\"{more}", shown.escape_ascii()))
    }
}

impl fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered with what is no reply: {}", self.0)
    }
}

impl std::error::Error for InvalidReply {}
