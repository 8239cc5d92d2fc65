//! Replies of the Redis protocol, as far as the clients here need them.

use super::Outcome;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(u64),
    Text(String),
    Null,
    Error(String),
    Array(Vec<Self>),
}

impl Value {
    /// Reads a value at the start of `input`, and its length. `None` if it is not complete.
    pub(super) fn read(input: &[u8]) -> Option<(Self, usize)> {
        let end = input.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&input[..end]).unwrap();
        let (kind, rest) = line.split_at(1);
        let mut at = end + 2;
        let value = match kind {
            ":" => Self::Integer(rest.parse().unwrap()),
            "+" => Self::Text(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            "$" if rest == "-1" => Self::Null,
            "$" => {
                let len: usize = rest.parse().unwrap();
                let bytes = input.get(at..at + len + 2)?;
                at += len + 2;
                Self::Text(String::from_utf8(bytes[..len].to_vec()).unwrap())
            }
            "*" => {
                let mut items = Vec::new();
                for _ in 0..rest.parse::<usize>().unwrap() {
                    let (item, len) = Self::read(&input[at..])?;
                    at += len;
                    items.push(item);
                }
                Self::Array(items)
            }
            _ => panic!("no reply of the Redis protocol: {line}"),
        };
        Some((value, at))
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            other => panic!("an array expected, not {other:?}"),
        }
    }

    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("a number expected, not {other:?}"),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("a text expected, not {other:?}"),
        }
    }

    /// Returns what a reply to INCR or GET says of its request.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Integer(number) => Outcome::Number(*number),
            Self::Text(sum) => Outcome::Sum(sum.parse().unwrap()),
            Self::Null => Outcome::Sum(0),
            Self::Error(text) => match text.split(' ').next() {
                Some("CLUSTERDOWN" | "TRYAGAIN") => Outcome::Refused,
                _ if text.contains("outcome is unknown") => Outcome::Unknown,
                _ => panic!("no reply that the cluster may give: {text}"),
            },
            Self::Array(_) => panic!("no reply to INCR or GET: {self:?}"),
        }
    }
}
