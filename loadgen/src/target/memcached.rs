//! memcached's text protocol: incr and related commands, over TCP and over UDP, where each datagram
//! begins with a header of 8 bytes. Source: <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>.

use globalcounter::protocol::Op;
use globalcounter::protocol::resp::encode_number;

use super::interface::{Decoded, InvalidReply, Matching, Outcome, Target, Transport};
use super::text::{line, number};

pub(super) const TCP: Memcached = Memcached { udp: false };
pub(super) const UDP: Memcached = Memcached { udp: true };

/// The length of a datagram's header: request id, sequence number, number of datagrams, reserved;
/// each a big-endian u16.
const HEADER_LEN: usize = 8;

/// The longest key: KEY_MAX_LENGTH of memcached.
const KEY_LEN_LIMIT: usize = 250;

/// The longest line of a reply: VALUE with a key of 250 bytes, or an error's.
const LINE_LIMIT: usize = 2048;

pub(super) struct Memcached {
    udp: bool,
}

impl Target for Memcached {
    fn name(&self) -> &'static str {
        if self.udp {
            "memcached-udp"
        } else {
            "memcached"
        }
    }

    fn transport(&self) -> Transport {
        if self.udp {
            Transport::Datagrams { packed: false }
        } else {
            Transport::Stream
        }
    }

    fn matching(&self) -> Matching {
        if self.udp {
            Matching::ById(u16::BITS)
        } else {
            Matching::InOrder
        }
    }

    fn is_own(&self) -> bool {
        false
    }

    fn supports(&self, op: Op) -> bool {
        !matches!(op, Op::Advance(1..))
    }

    /// `incr` does not create a key. `add` does, and leaves an existing key as it is.
    fn creates_with(&self) -> Option<Op> {
        Some(Op::Advance(0))
    }

    fn topic_len_limit(&self) -> usize {
        KEY_LEN_LIMIT
    }

    fn encode(&self, id: u32, op: Op, topic: &[u8], out: &mut Vec<u8>) {
        if self.udp {
            let [_, _, high, low] = id.to_be_bytes();
            out.extend_from_slice(&[high, low, 0, 0, 0, 1, 0, 0]);
        }
        let (command, rest): (&[u8], &[u8]) = match op {
            Op::Count => (b"incr ", b" 1\r\n"),
            Op::Add(_) | Op::Incr(_) => (b"incr ", b" "),
            Op::Get => (b"get ", b"\r\n"),
            Op::Reset => (b"set ", b" 0 0 1\r\n0\r\n"),
            Op::Delete => (b"delete ", b"\r\n"),
            Op::Advance(_) => (b"add ", b" 0 0 1\r\n0\r\n"),
            Op::Set { .. } | Op::GetDelete => unreachable!("no workload has it"),
        };
        out.extend_from_slice(command);
        out.extend_from_slice(topic);
        out.extend_from_slice(rest);
        let added = match op {
            Op::Add(n) => Some(n.get().into()),
            Op::Incr(n) => Some(n.get()),
            _ => None,
        };
        if let Some(added) = added {
            encode_number(added, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply> {
        if !self.udp {
            return decode_text(input);
        }
        let Some((header, text)) = input.split_first_chunk::<HEADER_LEN>() else {
            return Err(InvalidReply::at(input));
        };
        let [high, low, 0, 0, 0, 1, _, _] = *header else {
            return Err(InvalidReply::at(input));
        };
        let decoded = decode_text(text)?.ok_or_else(|| InvalidReply::at(input))?;
        Ok(Some(Decoded {
            len: HEADER_LEN + decoded.len,
            id: u16::from_be_bytes([high, low]).into(),
            ..decoded
        }))
    }
}

fn decode_text(input: &[u8]) -> Result<Option<Decoded>, InvalidReply> {
    let invalid = || InvalidReply::at(input);
    let Some((first, next)) = line(input, LINE_LIMIT)? else {
        return match input.first() {
            Some(b'0'..=b'9' | b'A'..=b'Z') | None => Ok(None),
            Some(_) => Err(invalid()),
        };
    };
    let mut len = next;
    let mut words = first.split(|&byte| byte == b' ');
    let outcome = match words.next().unwrap_or_default() {
        b"STORED" | b"NOT_STORED" | b"DELETED" => Outcome::Done,
        b"NOT_FOUND" | b"END" => Outcome::Missing,
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => {
            Outcome::Refused(String::from_utf8_lossy(first).into_owned().into())
        }
        b"VALUE" => {
            let bytes = words.nth(2).and_then(number).filter(|&bytes| bytes <= 24);
            let bytes = bytes.ok_or_else(invalid)? as usize;
            const END: &[u8] = b"\r\nEND\r\n";
            len += bytes + END.len();
            let Some(data) = input.get(next..len) else {
                return Ok(None);
            };
            let digits = data.strip_suffix(END).ok_or_else(invalid)?;
            // memcached pads a number that became shorter with spaces.
            Outcome::Sum(number(digits.trim_ascii_end()).ok_or_else(invalid)?)
        }
        digits => Outcome::Sum(number(digits).ok_or_else(invalid)?),
    };
    Ok(Some(Decoded {
        len,
        id: 0,
        outcome,
    }))
}

#[cfg(test)]
mod tests;
