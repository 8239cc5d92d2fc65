//! The targets that use what the library makes public: the codecs of each dialect, as the server and
//! the clients use them, and the file of tokens. Messages that are decoded are encoded again, which must
//! give the same message.

use globalcounter::access::parse_tokens;
use globalcounter::protocol::framed::{self, Answer, Call, NodeMap, RequestId};
use globalcounter::protocol::resp::{self, Arguments, Command, Progress, Version, Writer};
use globalcounter::protocol::{Reply, classic};
use globalcounter::topic::DEFAULT_MAX_TOPIC_LEN;

/// The op of HELLO in docs/protocol.md.
const HELLO: u8 = 22;

/// Request frames, as the server reads them.
pub fn framed(mut bytes: &[u8]) {
    while let Ok(Some(frame)) = framed::decode_request(bytes, DEFAULT_MAX_TOPIC_LEN) {
        let (whole, rest) = bytes.split_at(frame.len);
        let part = framed::decode_request(&whole[..frame.len - 1], DEFAULT_MAX_TOPIC_LEN);
        assert_eq!(part, Ok(None), "a frame without its last byte");
        match frame.call {
            Ok(call) => same_call(frame.id, call),
            Err(_) => forwarded(whole),
        }
        bytes = rest;
    }
    let _ = framed::broken_id(bytes);
}

/// A frame that clients may not send, as nodes of a cluster read it.
fn forwarded(whole: &[u8]) {
    let decode = |bytes| framed::decode_node_request(bytes, DEFAULT_MAX_TOPIC_LEN);
    let frame = decode(whole).expect("a frame").expect("a whole frame");
    if let Ok(Call::Topic(request)) = frame.call {
        let mut encoded = Vec::new();
        framed::encode_node_request(frame.id, &request, &mut encoded);
        assert_eq!(decode(&encoded), Ok(Some(frame)));
    }
}

fn same_call(id: RequestId, call: Call<'_>) {
    let mut encoded = Vec::new();
    framed::encode_request(id, &call, &mut encoded);
    let again = framed::decode_request(&encoded, DEFAULT_MAX_TOPIC_LEN);
    let frame = again.expect("a frame").expect("a whole frame");
    assert_eq!(
        (frame.len, frame.id, frame.call),
        (encoded.len(), id, Ok(call))
    );
}

/// Reply frames, as clients read them.
pub fn framed_reply(mut bytes: &[u8]) {
    while let Ok(Some(frame)) = framed::decode_reply(bytes) {
        let mut encoded = Vec::new();
        match frame.answer {
            Answer::Reply(reply) => framed::encode_node_reply(frame.id, reply, &mut encoded),
            Answer::Nodes(body) => {
                node_map(body);
                framed::encode_answer(frame.id, &frame.answer, &mut encoded);
            }
            answer => framed::encode_answer(frame.id, &answer, &mut encoded),
        }
        let again = framed::decode_reply(&encoded)
            .expect("a reply")
            .expect("a whole reply");
        assert_eq!((again.id, again.answer), (frame.id, frame.answer));
        bytes = &bytes[frame.len..];
    }
}

/// The map of a cluster.
fn node_map(body: &[u8]) {
    let Some(map) = NodeMap::decode(body) else {
        return;
    };
    let encoded = map.encode();
    assert!(encoded.len() <= u16::MAX.into());
    let again = NodeMap::decode(&encoded).expect("a map");
    assert_eq!(again.encode(), encoded);
}

/// A message of the classic dialect, as the server reads it.
pub fn classic(bytes: &[u8]) {
    let Ok(request) = classic::decode_request(bytes, DEFAULT_MAX_TOPIC_LEN) else {
        return;
    };
    let mut encoded = Vec::new();
    classic::encode_request(request, &mut encoded).expect("it came from this dialect");
    assert_eq!(encoded, bytes);
}

/// A reply of the classic dialect, as clients read it.
pub fn classic_reply(bytes: &[u8]) {
    let Some(reply) = classic::decode_reply(bytes) else {
        return;
    };
    let mut encoded = Vec::new();
    classic::encode_reply(reply, &mut encoded);
    assert_eq!(classic::decode_reply(&encoded), Some(reply));
    if matches!(reply, Reply::Count(_)) {
        assert!(encoded.len() <= bytes.len(), "a sum takes the fewest bytes");
    }
}

/// Commands of the Redis protocol, as the server reads them: all at once, and in two reads.
pub fn resp(bytes: &[u8]) {
    let commands = resp_commands(bytes, bytes.len());
    assert_eq!(resp_commands(bytes, bytes.len() / 2), commands);
}

/// Returns the commands in `bytes`, of which a read brings the first ones and another read the rest:
/// the arguments of each, or how the stream ends.
fn resp_commands(bytes: &[u8], first: usize) -> Vec<Result<Vec<Vec<u8>>, resp::ProtocolError>> {
    let mut commands = Vec::new();
    let (mut progress, mut arguments) = (Progress::default(), Arguments::default());
    let (mut input, mut at) = (Vec::new(), 0);
    for part in [&bytes[..first], &bytes[first..]] {
        input.extend_from_slice(part);
        loop {
            match resp::decode(&mut input[at..], &mut progress, &mut arguments) {
                Ok(None) => break,
                Ok(Some(len)) => {
                    let command = &input[at..at + len];
                    read_command(&arguments, command);
                    let words = (0..arguments.len()).map(|i| arguments.at(i, command).to_vec());
                    commands.push(Ok(words.collect()));
                    at += len;
                }
                Err(error) => {
                    commands.push(Err(error));
                    return commands;
                }
            }
        }
    }
    commands
}

/// Interprets a command. If it is refused, the text of the error must be one line.
fn read_command(arguments: &Arguments, bytes: &[u8]) {
    if arguments.is_empty() {
        return;
    }
    let read = resp::find(arguments, bytes)
        .and_then(|spec| Command::read(spec, arguments, bytes, DEFAULT_MAX_TOPIC_LEN));
    if let Err(refusal) = read {
        let mut reply = Vec::new();
        Writer::new(Version::Resp2, &mut reply).error(refusal);
        let line = reply.strip_suffix(b"\r\n").expect("the end of a line");
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    }
}

/// Replies of the Redis protocol, as clients read them.
pub fn resp_reply(mut bytes: &[u8]) {
    while let Ok(Some((_, len))) = resp::decode_reply(bytes) {
        let part = resp::decode_reply(&bytes[..len - 1]);
        assert_eq!(part, Ok(None), "a reply without its last byte");
        bytes = &bytes[len..];
    }
}

/// HELLO with this body in the framed dialect; in the Redis protocol HELLO and AUTH with these words,
/// which end at zero bytes.
pub fn hello(bytes: &[u8]) {
    let body = &bytes[..bytes.len().min(u16::MAX.into())];
    let mut frame = vec![HELLO];
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 7]);
    frame.extend_from_slice(body);
    framed(&frame);
    for command in [&b"HELLO"[..], b"AUTH"] {
        let mut words = vec![command];
        words.extend(bytes.split(|&byte| byte == 0));
        let mut encoded = Vec::new();
        resp::encode_command(&words, &mut encoded);
        resp(&encoded);
    }
}

/// The text of a file of tokens. A mistake must name a line of the file.
pub fn tokens_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Err(mistakes) = parse_tokens(text) else {
        return;
    };
    let lines = text.matches('\n').count() + 1;
    assert!(!mistakes.is_empty());
    for mistake in mistakes {
        assert!(
            (1..=lines).contains(&mistake.line),
            "{mistake:?} of {lines} lines"
        );
    }
}
