//! The Redis protocol (RESP2), as Redis, Valkey and globalcounter speak it: INCR and its kin.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use globalcounter::protocol::Op;

use super::{Decoded, Matching, Outcome, Rubbish, Target, Transport, line, number, write_number};

pub(super) const RESP: Resp = Resp;

/// The longest line of a reply: an error's.
const LINE_LIMIT: usize = 4096;

pub(super) struct Resp;

impl Target for Resp {
    fn name(&self) -> &'static str {
        "resp"
    }

    fn transport(&self) -> Transport {
        Transport::Stream
    }

    fn matching(&self) -> Matching {
        Matching::InOrder
    }

    fn has(&self, op: Op) -> bool {
        // Redis can't raise without lowering: its SET is no ADVANCE.
        !matches!(op, Op::Advance(_))
    }

    fn encode(&self, _: u32, op: Op, topic: &[u8], out: &mut Vec<u8>) {
        let begin: &[u8] = match op {
            Op::Count => b"*2\r\n$4\r\nINCR\r\n$",
            Op::Add(_) => b"*3\r\n$6\r\nINCRBY\r\n$",
            Op::Get => b"*2\r\n$3\r\nGET\r\n$",
            Op::Reset | Op::Advance(_) => b"*3\r\n$3\r\nSET\r\n$",
            Op::Delete => b"*2\r\n$3\r\nDEL\r\n$",
        };
        out.extend_from_slice(begin);
        write_number(topic.len() as u64, out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(topic);
        let argument = match op {
            Op::Add(n) => Some(u64::from(n.get())),
            Op::Reset => Some(0),
            Op::Advance(floor) => Some(floor),
            Op::Count | Op::Get | Op::Delete => None,
        };
        if let Some(argument) = argument {
            let mut digits = Vec::new();
            write_number(argument, &mut digits);
            out.extend_from_slice(b"\r\n$");
            write_number(digits.len() as u64, out);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&digits);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, Rubbish> {
        let rubbish = || Rubbish::at(input);
        let Some((first, next)) = line(input, LINE_LIMIT)? else {
            return match input.first() {
                Some(b':' | b'+' | b'-' | b'$') | None => Ok(None),
                Some(_) => Err(rubbish()),
            };
        };
        let (kind, text) = first.split_first().ok_or_else(rubbish)?;
        let (outcome, len) = match kind {
            b':' => (Outcome::Sum(number(text).ok_or_else(rubbish)?), next),
            b'+' => (Outcome::Done, next),
            b'-' => {
                let said = String::from_utf8_lossy(text).into_owned();
                (Outcome::Refused(said.into()), next)
            }
            b'$' if text == b"-1" => (Outcome::Missing, next),
            b'$' => {
                let len = number(text).filter(|&len| len <= 20).ok_or_else(rubbish)? as usize;
                let Some(data) = input.get(next..next + len + 2) else {
                    return Ok(None);
                };
                let digits = data.strip_suffix(b"\r\n").ok_or_else(rubbish)?;
                let sum = number(digits).ok_or_else(rubbish)?;
                (Outcome::Sum(sum), next + data.len())
            }
            _ => return Err(rubbish()),
        };
        Ok(Some(Decoded {
            len,
            id: 0,
            outcome,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ADD;

    fn encoded(op: Op) -> String {
        let mut out = Vec::new();
        Resp.encode(0, op, b"a", &mut out);
        String::from_utf8(out).unwrap()
    }

    fn outcome(input: &[u8]) -> Outcome {
        let decoded = Resp.decode(input).unwrap().unwrap();
        assert_eq!(decoded.len, input.len());
        decoded.outcome
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(encoded(Op::Count), "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n");
        let add = "*3\r\n$6\r\nINCRBY\r\n$1\r\na\r\n$2\r\n10\r\n";
        assert_eq!(encoded(Op::Add(ADD)), add);
        assert_eq!(
            encoded(Op::Reset),
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n0\r\n"
        );
    }

    #[test]
    fn replies_are_read() {
        assert_eq!(outcome(b":12\r\n"), Outcome::Sum(12));
        assert_eq!(outcome(b"$2\r\n12\r\n"), Outcome::Sum(12));
        assert_eq!(outcome(b"$-1\r\n"), Outcome::Missing);
        assert_eq!(outcome(b"+OK\r\n"), Outcome::Done);
        assert_eq!(
            outcome(b"-OOM no memory\r\n"),
            Outcome::Refused("OOM no memory".into())
        );
        assert!(Resp.decode(b":x\r\n").is_err());
        assert!(Resp.decode(b"$2\r\n123\r\n").is_err());
        assert_eq!(Resp.decode(b"$2\r\n12\r").unwrap(), None);
    }
}
