//! What a node of a Redis Cluster says about who owns which slot: the reply to CLUSTER SLOTS, and MOVED.
//! Source: <https://redis.io/docs/latest/commands/cluster-slots/>.

use std::ops::RangeInclusive;

use super::interface::InvalidReply;
use super::text::{line, number};

/// The longest line: the error of a command.
const LINE_LIMIT: usize = 2048;

/// The most items of a list: a cluster has 16,384 slots.
const MAX_ITEMS: usize = 16_384;

/// How deep lists are nested: slots, nodes, the other names of a node.
const MAX_DEPTH: usize = 4;

/// Slots of one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedSlots {
    pub(crate) slots: RangeInclusive<u16>,
    /// The owner's address or host name. `None` if it is the host that was asked.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// Says that a slot has another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved<'a> {
    pub(crate) slot: u16,
    /// The owner's host and port, with a colon between them.
    pub(crate) owner: &'a str,
}

impl<'a> Moved<'a> {
    /// Returns what a refusal says, if it is MOVED.
    pub(crate) fn of(message: &'a str) -> Option<Self> {
        let (slot, owner) = message.strip_prefix("MOVED ")?.split_once(' ')?;
        let slot = slot.parse().ok()?;
        Some(Self { slot, owner })
    }
}

/// A part of a reply.
#[derive(Debug)]
enum Item<'a> {
    Integer(u64),
    Text(&'a [u8]),
    Error,
    List(Vec<Item<'a>>),
    Null,
}

/// Decodes the reply to CLUSTER SLOTS. `None` if it is not complete.
///
/// # Errors
///
/// It is an error, or no such reply.
pub(crate) fn decode_slots(input: &[u8]) -> Result<Option<Vec<OwnedSlots>>, InvalidReply> {
    let Some((reply, _)) = item(input, MAX_DEPTH)? else {
        return Ok(None);
    };
    let owned = match reply {
        Item::List(runs) => runs.iter().map(owned_slots).collect(),
        Item::Error | Item::Integer(_) | Item::Text(_) | Item::Null => None,
    };
    owned.map(Some).ok_or_else(|| InvalidReply::at(input))
}

/// Returns the slots and the owner in an entry of the list. Replicas follow the owner.
fn owned_slots(entry: &Item<'_>) -> Option<OwnedSlots> {
    let Item::List(fields) = entry else {
        return None;
    };
    let [
        Item::Integer(first),
        Item::Integer(last),
        Item::List(owner),
        ..,
    ] = &fields[..]
    else {
        return None;
    };
    let [host, Item::Integer(port), ..] = &owner[..] else {
        return None;
    };
    let host = match host {
        Item::Null | Item::Text(b"") => None,
        Item::Text(host) => Some(str::from_utf8(host).ok()?.to_owned()),
        _ => return None,
    };
    Some(OwnedSlots {
        slots: u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?,
        host,
        port: u16::try_from(*port).ok()?,
    })
}

/// Decodes an item, with lists of up to `depth` levels, and returns its length.
fn item(input: &[u8], depth: usize) -> Result<Option<(Item<'_>, usize)>, InvalidReply> {
    let invalid = || InvalidReply::at(input);
    let Some((first, mut len)) = line(input, LINE_LIMIT)? else {
        return Ok(None);
    };
    let (&kind, value) = first.split_first().ok_or_else(invalid)?;
    let found = match (kind, value) {
        (b'$' | b'*', b"-1") => Item::Null,
        (b':', digits) => Item::Integer(number(digits).ok_or_else(invalid)?),
        (b'-', _) => Item::Error,
        (b'+', text) => Item::Text(text),
        (b'$', digits) => {
            let text_len = number(digits).filter(|&len| len <= LINE_LIMIT as u64);
            let text_len = text_len.ok_or_else(invalid)? as usize;
            let Some(rest) = input.get(len..len + text_len + 2) else {
                return Ok(None);
            };
            len += rest.len();
            Item::Text(rest.strip_suffix(b"\r\n").ok_or_else(invalid)?)
        }
        (b'*', digits) => {
            let items = number(digits).filter(|&items| items <= MAX_ITEMS as u64);
            let items = items.filter(|_| depth > 0).ok_or_else(invalid)?;
            let mut list = Vec::new();
            for _ in 0..items {
                let Some((next, next_len)) = item(&input[len..], depth - 1)? else {
                    return Ok(None);
                };
                list.push(next);
                len += next_len;
            }
            Item::List(list)
        }
        _ => return Err(invalid()),
    };
    Ok(Some((found, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] = b"*3\r\n\
        *3\r\n:0\r\n:15\r\n*4\r\n$8\r\n10.0.0.1\r\n:9999\r\n$2\r\naa\r\n*0\r\n\
        *4\r\n:16\r\n:31\r\n*2\r\n$3\r\n::1\r\n:1\r\n*2\r\n$1\r\nr\r\n:2\r\n\
        *3\r\n:40\r\n:40\r\n*4\r\n$-1\r\n:9998\r\n$2\r\nbb\r\n*1\r\n$1\r\nx\r\n";

    #[test]
    fn slots_have_owners() {
        let owned = |slots, host: Option<&str>, port| OwnedSlots {
            slots,
            host: host.map(str::to_owned),
            port,
        };
        let expected = vec![
            owned(0..=15, Some("10.0.0.1"), 9999),
            owned(16..=31, Some("::1"), 1),
            owned(40..=40, None, 9998),
        ];
        assert_eq!(decode_slots(REPLY).unwrap(), Some(expected));
        assert_eq!(decode_slots(b"*0\r\n").unwrap(), Some(Vec::new()));
        for cut in 0..REPLY.len() {
            assert_eq!(decode_slots(&REPLY[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn other_replies_are_refused() {
        for reply in [
            &b"-ERR This instance has cluster support disabled\r\n"[..],
            b"+OK\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n",
            b"*99999\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            b"$1\r\nabc",
            b"HTTP/1.1 400\r\n",
        ] {
            assert!(decode_slots(reply).is_err(), "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn a_redirect_names_the_owner() {
        let moved = |slot, owner| Some(Moved { slot, owner });
        assert_eq!(Moved::of("MOVED 7 a:1"), moved(7, "a:1"));
        assert_eq!(Moved::of("MOVED 16383 ::1:9999"), moved(16383, "::1:9999"));
        for message in ["MOVED", "MOVED x a:1", "MOVED 7", "ASK 7 a:1", "ERR no"] {
            assert_eq!(Moved::of(message), None, "{message}");
        }
    }
}
