//! What can be measured: a target says how its requests and replies look on the wire, and how the
//! two find each other. One small file a dialect; nothing here does I/O. To add a target: write its
//! file, and name it in [`ALL`].

mod classic;
mod framed;
mod memcached;
mod resp;

use std::borrow::Cow;
use std::fmt;

use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::topic::TOPIC_LEN_LIMIT;

/// Every target there is.
pub(crate) const ALL: [&dyn Target; 7] = [
    &framed::TCP,
    &framed::UDP,
    &classic::UDP,
    &classic::TCP,
    &resp::RESP,
    &memcached::TCP,
    &memcached::UDP,
];

/// The target of that name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Target> {
    ALL.into_iter().find(|target| target.name() == name)
}

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
    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, Rubbish>;
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
            Reply::Error(ErrorCode::Other(code)) => Self::Refused(format!("CODE_{code}").into()),
            Reply::Error(code) => Self::Refused(code.name().into()),
            _ => Self::Done,
        }
    }
}

/// Bytes that are no reply of this dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rubbish(String);

impl Rubbish {
    /// The bytes from `input` on; as many are kept as one line can tell.
    fn at(input: &[u8]) -> Self {
        const SHOWN: usize = 24;
        let shown = &input[..input.len().min(SHOWN)];
        let more = if input.len() > SHOWN { "…" } else { "" };
        Self(format!("\"{}\"{more}", shown.escape_ascii()))
    }
}

impl fmt::Display for Rubbish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered with what is no reply: {}", self.0)
    }
}

impl std::error::Error for Rubbish {}

/// The line that `input` begins with, without its CR LF, and where the next one begins. `None`
/// where it breaks off; a line of more than `limit` bytes is rubbish.
fn line(input: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, Rubbish> {
    match input
        .windows(2)
        .take(limit)
        .position(|pair| pair == b"\r\n")
    {
        Some(end) => Ok(Some((&input[..end], end + 2))),
        None if input.len() > limit => Err(Rubbish::at(input)),
        None => Ok(None),
    }
}

/// The number that `text` is, in decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &digit| {
        let value = u64::from(digit.wrapping_sub(b'0'));
        if value > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for n in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(number(n.to_string().as_bytes()), Some(n));
        }
        for text in [&b""[..], b"-1", b"1 ", b"18446744073709551616"] {
            assert_eq!(number(text), None);
        }
    }

    #[test]
    fn targets_have_names_of_their_own() {
        for target in ALL {
            let found = named(target.name()).map(Target::name);
            assert_eq!(found, Some(target.name()));
            assert!(target.has(Op::Count), "{target:?}");
        }
        assert!(named("http").is_none());
    }

    /// Nothing that a server says may crash or be taken for a reply longer than it is.
    #[test]
    fn any_bytes_are_read_or_refused() {
        let samples: [&[u8]; 8] = [
            b"",
            b"\x90\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07",
            b"\x80\x01",
            b":12\r\n",
            b"$2\r\n12\r\n",
            b"VALUE a 0 2\r\n12\r\nEND\r\n",
            b"\x00\x01\x00\x00\x00\x01\x00\x0012\r\n",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ];
        for target in ALL {
            for sample in samples {
                for cut in 0..=sample.len() {
                    for byte in 0..=255 {
                        let mut input = sample[..cut].to_vec();
                        input.push(byte);
                        if let Ok(Some(decoded)) = target.decode(&input) {
                            assert!(decoded.len <= input.len() && decoded.len > 0);
                        }
                    }
                }
            }
        }
    }
}
