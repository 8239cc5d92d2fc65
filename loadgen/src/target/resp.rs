//! The Redis protocol (RESP2), as Redis, Valkey and globalcounter speak it: INCR and related commands.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use globalcounter::protocol::Op;
use globalcounter::protocol::resp::{Value, decode_reply, encode_command, encode_number};

use super::interface::{Decoded, InvalidReply, Login, Matching, Outcome, Target, Transport};
use super::text::number;

pub(super) const RESP: Resp = Resp;

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

    fn supports(&self, op: Op) -> bool {
        // Redis has no ADVANCE: its SET lowers a number as well.
        !matches!(op, Op::Advance(_))
    }

    fn login(&self) -> Login {
        Login::Auth
    }

    fn encode(&self, _: u32, op: Op, topic: &[u8], out: &mut Vec<u8>) {
        let (name, argument): (&[u8], Option<u64>) = match op {
            Op::Count => (b"INCR", None),
            Op::Add(n) => (b"INCRBY", Some(n.get().into())),
            Op::Incr(n) => (b"INCRBY", Some(n.get())),
            Op::Get => (b"GET", None),
            Op::Reset => (b"SET", Some(0)),
            Op::Advance(floor) => (b"SET", Some(floor)),
            Op::Delete => (b"DEL", None),
            Op::GetDelete => (b"GETDEL", None),
            Op::Set { .. } => unreachable!("no workload has it"),
        };
        match argument {
            None => encode_command(&[name, topic], out),
            Some(argument) => {
                let mut digits = Vec::new();
                encode_number(argument, &mut digits);
                encode_command(&[name, topic, &digits], out);
            }
        }
    }

    fn decode(&self, input: &[u8]) -> Result<Option<Decoded>, InvalidReply> {
        let invalid = || InvalidReply::at(input);
        let Some((value, len)) = decode_reply(input).map_err(|_| invalid())? else {
            return Ok(None);
        };
        let outcome = match value {
            Value::Integer(sum) => Outcome::Sum(sum.try_into().map_err(|_| invalid())?),
            Value::Bulk(digits) => Outcome::Sum(number(digits).ok_or_else(invalid)?),
            Value::Simple(_) => Outcome::Done,
            Value::Null => Outcome::Missing,
            Value::Error(message) => {
                let message = String::from_utf8_lossy(message).into_owned();
                Outcome::Refused(message.into())
            }
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
    fn replies_are_decoded() {
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
