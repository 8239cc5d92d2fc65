//! Turns requests into replies, in any dialect, and does nothing else. Knows no sockets.

use globalcounter::protocol::framed::{self, Answer, Call, HelloReply, NodeMap};
use globalcounter::protocol::resp::{Arguments, Progress, decode_array};
use globalcounter::protocol::{Dialect, Op, Reply, classic};
use globalcounter::topic::{ShardId, Shards, TOPIC_LEN_LIMIT};

/// The sum in every reply.
const SUM: u64 = 1;

/// Bytes of the header of a memcached datagram.
const MEMCACHED_HEADER: usize = 8;

/// Bytes that cannot be answered; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsupported;

/// Appends the replies to all complete requests in `input`; returns how many bytes those take.
/// `arguments` is a buffer for Redis commands.
pub(super) fn stream(
    input: &[u8],
    arguments: &mut Arguments,
    out: &mut Vec<u8>,
) -> Result<usize, Unsupported> {
    match input.first() {
        None => Ok(0),
        Some(16..=31) => frames(input, out),
        Some(b'*') => resp(input, arguments, out),
        Some(b'a'..=b'z') => memcached(input, out),
        Some(_) => Err(Unsupported),
    }
}

/// Appends the reply to a classic message.
pub(super) fn message(message: &[u8], out: &mut Vec<u8>) {
    let reply = match classic::decode_request(message, TOPIC_LEN_LIMIT) {
        Ok(request) => reply_to(request.op),
        Err(error) => Reply::Error(error),
    };
    classic::encode_reply(reply, out);
}

/// Appends the reply to a datagram; nothing if the datagram is a reply itself.
pub(super) fn datagram(datagram: &[u8], out: &mut Vec<u8>) {
    // A memcached request begins with any two bytes; the next six are the same in all requests.
    if let Some((header, text)) = datagram.split_first_chunk::<MEMCACHED_HEADER>()
        && header[2..] == [0, 0, 0, 1, 0, 0]
        && text.first().is_some_and(u8::is_ascii_lowercase)
    {
        out.extend_from_slice(header);
        let _ = memcached(text, out);
        return;
    }
    match datagram
        .first()
        .map_or(Dialect::Unknown, |&first| Dialect::of(first))
    {
        Dialect::Framed => {
            let _ = frames(datagram, out);
        }
        Dialect::Reply => {}
        _ => message(datagram, out),
    }
}

fn reply_to(op: Op) -> Reply {
    match op {
        Op::Count => Reply::Count(SUM),
        Op::Add(_) | Op::Incr(_) => Reply::Add(SUM),
        Op::Get => Reply::Get(Some(SUM)),
        Op::Advance(_) => Reply::Advance(SUM),
        Op::Reset => Reply::Reset,
        Op::Delete => Reply::Delete { existed: true },
        Op::Set { .. } => Reply::Set(SUM),
        Op::GetDelete => Reply::Deleted(SUM),
    }
}

fn frames(input: &[u8], out: &mut Vec<u8>) -> Result<usize, Unsupported> {
    let mut at = 0;
    loop {
        let decoded = framed::decode_request(&input[at..], TOPIC_LEN_LIMIT);
        let Some(frame) = decoded.map_err(|_| Unsupported)? else {
            return Ok(at);
        };
        match frame.call {
            Ok(Call::Topic(request)) => framed::encode_reply(frame.id, reply_to(request.op), out),
            Ok(Call::Hello(_)) => {
                let hello = HelloReply::new(Shards::ONE, ShardId::new(0), TOPIC_LEN_LIMIT as u16);
                framed::encode_answer(frame.id, &Answer::Hello(hello), out);
            }
            Ok(Call::Nodes(_)) => {
                let map = NodeMap::alone().encode();
                framed::encode_answer(frame.id, &Answer::Nodes(&map), out);
            }
            Ok(Call::Ping(body)) => framed::encode_answer(frame.id, &Answer::Pong(body), out),
            Err(error) => framed::encode_reply(frame.id, Reply::Error(error), out),
        }
        at += frame.len;
    }
}

/// The reply to INCR.
const INCREMENTED: &[u8] = b":1\r\n";

/// Returns the reply to a command, by its name in capitals.
fn reply_to_command(name: &[u8]) -> &'static [u8] {
    match name {
        b"INCR" | b"INCRBY" | b"DEL" => INCREMENTED,
        b"GET" => b"$1\r\n1\r\n",
        b"PING" => b"+PONG\r\n",
        b"CONFIG" => b"*0\r\n",
        _ => b"+OK\r\n",
    }
}

fn resp(input: &[u8], arguments: &mut Arguments, out: &mut Vec<u8>) -> Result<usize, Unsupported> {
    let mut at = 0;
    while let Some(&first) = input.get(at) {
        if first != b'*' {
            return Err(Unsupported);
        }
        let command = &input[at..];
        let decoded = decode_array(command, &mut Progress::default(), arguments);
        let Some(len) = decoded.map_err(|_| Unsupported)? else {
            break;
        };
        if arguments.is_empty() {
            return Err(Unsupported);
        }
        let reply = match arguments.at(0, command) {
            b"INCR" => INCREMENTED,
            name => reply_to_command(&name.to_ascii_uppercase()),
        };
        out.extend_from_slice(reply);
        at += len;
    }
    Ok(at)
}

fn memcached(input: &[u8], out: &mut Vec<u8>) -> Result<usize, Unsupported> {
    /// The longest line: a key of 250 bytes and a few numbers.
    const LINE_LIMIT: usize = 512;
    let mut rest = input;
    loop {
        let Some(end) = rest.iter().take(LINE_LIMIT).position(|&byte| byte == b'\n') else {
            if rest.len() >= LINE_LIMIT {
                return Err(Unsupported);
            }
            break;
        };
        let (line, mut after) = rest.split_at(end + 1);
        let mut words = line.trim_ascii_end().split(|&byte| byte == b' ');
        match words.next().unwrap_or_default() {
            b"incr" => out.extend_from_slice(b"1\r\n"),
            b"delete" => out.extend_from_slice(b"DELETED\r\n"),
            b"get" => {
                out.extend_from_slice(b"VALUE ");
                out.extend_from_slice(words.next().unwrap_or_default());
                out.extend_from_slice(b" 0 1\r\n1\r\nEND\r\n");
            }
            b"set" | b"add" => {
                let digits = words.nth(3).and_then(|word| std::str::from_utf8(word).ok());
                let len: usize = digits
                    .and_then(|text| text.parse().ok())
                    .ok_or(Unsupported)?;
                let Some((_, behind)) = after.split_at_checked(len.saturating_add(2)) else {
                    break;
                };
                after = behind;
                out.extend_from_slice(b"STORED\r\n");
            }
            _ => return Err(Unsupported),
        }
        rest = after;
    }
    Ok(input.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{self, Outcome, Transport};
    use crate::workload::ADD;

    /// Each target's requests get replies that the target can read, also if they arrive in parts.
    #[test]
    fn every_target_is_answered() {
        let ops = [Op::Count, Op::Add(ADD), Op::Get, Op::Reset, Op::Delete];
        for target in target::ALL {
            for op in ops
                .into_iter()
                .chain(target.creates_with())
                .filter(|&op| target.supports(op))
            {
                let mut request = Vec::new();
                target.encode(7, op, b"topic-1", &mut request);
                let mut reply = Vec::new();
                match target.transport() {
                    Transport::OneShot => message(&request, &mut reply),
                    Transport::Datagrams { .. } => datagram(&request, &mut reply),
                    Transport::Stream => {
                        let stream = |input: &[u8], out: &mut _| {
                            stream(input, &mut Arguments::default(), out)
                        };
                        for cut in 0..request.len() {
                            assert_eq!(
                                stream(&request[..cut], &mut reply),
                                Ok(0),
                                "{target:?} {op:?}"
                            );
                        }
                        let twice = request.repeat(2);
                        assert_eq!(stream(&twice, &mut reply), Ok(twice.len()));
                        reply.truncate(reply.len() / 2);
                    }
                }
                let decoded = target.decode(&reply).unwrap().unwrap();
                assert_eq!(decoded.len, reply.len(), "{target:?} {op:?}");
                assert!(matches!(decoded.outcome, Outcome::Sum(1) | Outcome::Done));
            }
        }
    }

    #[test]
    fn unknown_bytes_are_refused() {
        let mut out = Vec::new();
        for input in [
            &b"HTTP/1.1\r\n"[..],
            b"*x\r\n",
            b"*1\r\n:1\r\n",
            b"nonsense\r\n",
            b"\xff",
        ] {
            assert_eq!(
                stream(input, &mut Arguments::default(), &mut out),
                Err(Unsupported),
                "{}",
                input.escape_ascii()
            );
        }
    }
}
