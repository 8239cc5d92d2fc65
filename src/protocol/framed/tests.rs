use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::protocol::{Condition, ErrorCode, Op, Reply, Request};
use crate::topic::{ShardId, Shards, Topic};

const MAX: usize = 1024;

fn topic(name: &[u8]) -> Topic<'_> {
    Topic::new(name, MAX).expect("a topic")
}

fn call(frame: &[u8]) -> Result<Call<'_>, ErrorCode> {
    let frame = decode_request(frame, MAX)
        .expect("a request")
        .expect("a whole one");
    frame.call
}

#[test]
fn examples_of_the_protocol_decode_and_encode() {
    let count = b"\x10\x00\x01\x00\x00\x00\x2aa";
    let frame = decode_request(count, MAX).unwrap().unwrap();
    assert_eq!((frame.len, frame.id), (8, RequestId(42)));
    assert_eq!(
        frame.call,
        Ok(Call::Topic(Request {
            op: Op::Count,
            topic: topic(b"a")
        }))
    );
    let mut out = Vec::new();
    encode_reply(RequestId(42), Reply::Count(1), &mut out);
    assert_eq!(
        out,
        b"\x90\x00\x08\x00\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x01"
    );

    assert_eq!(
        call(b"\x12\x00\x05\x00\x00\x00\x01\x00\x00\x00\x0aa"),
        Ok(Call::Topic(Request {
            op: Op::Add(NonZeroU32::new(10).unwrap()),
            topic: topic(b"a")
        }))
    );
    out.clear();
    encode_reply(RequestId(1), Reply::Add(11), &mut out);
    assert_eq!(
        out,
        b"\x92\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0b"
    );

    assert_eq!(
        call(b"\x13\x00\x01\x00\x00\x00\x02b"),
        Ok(Call::Topic(Request {
            op: Op::Get,
            topic: topic(b"b")
        }))
    );
}

#[test]
fn a_hello_reply_is_laid_out_as_documented() {
    let hello = HelloReply {
        shards: 8,
        shard: ShardId::new(3),
        key: 0x0102_0304,
        multiplier: 0x0506_0708,
        max_topic_len: 1024,
    };
    let mut out = Vec::new();
    encode_answer(RequestId(7), &Answer::Hello(hello), &mut out);
    assert_eq!(
        out,
        b"\x96\x00\x10\x00\x00\x00\x07\x01\x00\x00\x08\x00\x03\x01\x02\x03\x04\x05\x06\x07\x08\x04\x00"
    );
}

#[test]
fn bodies_that_do_not_fit_are_bad_frames() {
    for frame in [
        &b"\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00"[..], // ADD without a whole n
        b"\x12\x00\x05\x00\x00\x00\x01\x00\x00\x00\x00a", // ADD 0
        b"\x15\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", // ADVANCE, short floor
        b"\x16\x00\x03\x00\x00\x00\x01\x01\x00\xff",      // HELLO, half a shard
        b"\x16\x00\x04\x00\x00\x00\x01\x00\x00\xff\xff",  // HELLO, version 0
    ] {
        assert_eq!(call(frame), Err(ErrorCode::BadFrame), "{frame:?}");
    }
    for op in 25..=31 {
        assert_eq!(
            call(&[op, 0, 0, 0, 0, 0, 1]),
            Err(ErrorCode::BadOpcode),
            "op {op}"
        );
    }
    assert_eq!(
        call(b"\x10\x00\x01\x00\x00\x00\x01\xff"),
        Err(ErrorCode::BadTopic)
    );
    let mut long = vec![0x10, 0x04, 0x01, 0, 0, 0, 1];
    long.resize(7 + 1025, b'x');
    assert_eq!(call(&long), Err(ErrorCode::TopicTooLong));
}

#[test]
fn forwarded_bodies_that_do_not_fit_are_refused() {
    let forwarded = |body: &[u8]| {
        let mut frame = vec![25, 0, body.len() as u8, 0, 0, 0, 1];
        frame.extend_from_slice(body);
        let frame = decode_node_request(&frame, MAX).unwrap().unwrap();
        frame.call.err()
    };
    for body in [
        &b""[..],
        b"\x04\0\0\0\0\0\0\0",    // half an argument
        b"\x00\0\0\0\0\0\0\0\0a", // INCR by 0
        b"\x05\0\0\0\0\0\0\0\0a", // no such kind
    ] {
        assert_eq!(forwarded(body), Some(ErrorCode::BadFrame), "{body:?}");
    }
    let not_utf8 = b"\x04\0\0\0\0\0\0\0\0\xff";
    assert_eq!(forwarded(not_utf8), Some(ErrorCode::BadTopic));
    assert_eq!(
        decode_reply(b"\x99\0\x09\0\0\0\x01\x07\0\0\0\0\0\0\0\0"),
        Err(NotAReply::Body { op: 153, len: 9 })
    );
}

#[test]
fn the_first_byte_decides_whether_a_frame_begins() {
    assert_eq!(decode_request(&[], MAX), Ok(None));
    for op in 0..=255u8 {
        let expected = match op {
            16..=31 => Ok(None),
            128.. => Err(NotARequest::Reply(op)),
            _ => Err(NotARequest::Op(op)),
        };
        assert_eq!(decode_request(&[op], MAX), expected);
    }
}

#[test]
fn bytes_that_are_not_a_reply_are_refused() {
    assert_eq!(decode_reply(&[16]), Err(NotAReply::Op(16)));
    assert_eq!(
        decode_reply(&[200, 0, 0, 0, 0, 0, 0]),
        Err(NotAReply::Op(200))
    );
    let short = b"\x90\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(
        decode_reply(short),
        Err(NotAReply::Body { op: 0x90, len: 7 })
    );
    assert_eq!(
        decode_reply(b"\xff\x00\x00\x00\x00\x00\x01"),
        Err(NotAReply::Body { op: 255, len: 0 })
    );
}

#[test]
fn unknown_trailing_bytes_of_a_reply_are_ignored() {
    let frame = decode_reply(b"\x91\x00\x03\x00\x00\x00\x01abc")
        .unwrap()
        .unwrap();
    assert_eq!((frame.len, frame.answer), (10, Answer::Reply(Reply::Reset)));
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Count),
        Just(Op::Reset),
        any::<NonZeroU32>().prop_map(Op::Add),
        Just(Op::Get),
        Just(Op::Delete),
        any::<u64>().prop_map(Op::Advance),
    ]
}

/// An operation that a node may forward.
fn any_node_op() -> impl Strategy<Value = Op> {
    let condition = prop_oneof![
        Just(Condition::Always),
        Just(Condition::IfAbsent),
        Just(Condition::IfPresent)
    ];
    prop_oneof![
        any_op(),
        any::<NonZeroU64>().prop_map(Op::Incr),
        (any::<u64>(), condition).prop_map(|(to, when)| Op::Set { to, when }),
        Just(Op::GetDelete),
    ]
}

/// A reply to an operation that a node has forwarded.
fn any_node_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any_reply(),
        Just(Reply::Get(None)),
        any::<u64>().prop_map(Reply::Set),
        Just(Reply::Created),
        any::<u64>().prop_map(Reply::Present),
        Just(Reply::Absent),
        any::<u64>().prop_map(Reply::SumIsHigher),
        any::<u64>().prop_map(Reply::Deleted),
    ]
}

fn any_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<u64>().prop_map(Reply::Count),
        Just(Reply::Reset),
        any::<u64>().prop_map(Reply::Add),
        any::<u64>().prop_map(|sum| Reply::Get(Some(sum))),
        any::<bool>().prop_map(|existed| Reply::Delete { existed }),
        any::<u64>().prop_map(Reply::Advance),
        (0..=255u8).prop_map(|code| Reply::Error(ErrorCode::from_code(code))),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip_and_wait_for_their_last_byte(
        op in any_op(), name in ".{0,40}", id: u32, token: Vec<u8>, shard in 0..=65_534u16
    ) {
        let calls = [
            Call::Topic(Request { op, topic: topic(name.as_bytes()) }),
            Call::Ping(&token),
            Call::Nodes(&token),
            Call::Hello(Hello { shard: Some(ShardId::new(shard)), node: false, token: &token }),
            Call::Hello(Hello { shard: None, node: true, token: &token }),
        ];
        for call in calls {
            let mut bytes = Vec::new();
            encode_request(RequestId(id), &call, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode_request(&bytes[..cut], MAX), Ok(None));
                let known = if cut < HEADER_LEN { RequestId::NONE } else { RequestId(id) };
                prop_assert_eq!(broken_id(&bytes[..cut]), known);
            }
            let frame = RequestFrame { len: bytes.len(), id: RequestId(id), call: Ok(call) };
            prop_assert_eq!(decode_request(&bytes, MAX), Ok(Some(frame)));
        }
    }

    #[test]
    fn replies_round_trip_and_wait_for_their_last_byte(
        reply in any_reply(), id: u32, body: Vec<u8>, numbers: (u16, u16, u32, u32, u16)
    ) {
        let (shards, shard, key, multiplier, max_topic_len) = numbers;
        let shard = ShardId::new(shard);
        let hello = HelloReply { shards, shard, key, multiplier, max_topic_len };
        for answer in [Answer::Reply(reply), Answer::Hello(hello), Answer::Pong(&body), Answer::Nodes(&body)] {
            let mut bytes = Vec::new();
            encode_answer(RequestId(id), &answer, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode_reply(&bytes[..cut]), Ok(None));
            }
            let frame = ReplyFrame { len: bytes.len(), id: RequestId(id), answer };
            prop_assert_eq!(decode_reply(&bytes), Ok(Some(frame)));
        }
    }

    #[test]
    fn nodes_exchange_every_operation_and_every_reply(
        op in any_node_op(), reply in any_node_reply(), name in ".{0,40}", id: u32
    ) {
        let (id, request) = (RequestId(id), Request { op, topic: topic(name.as_bytes()) });
        let mut bytes = Vec::new();
        encode_node_request(id, &request, &mut bytes);
        for cut in 0..bytes.len() {
            prop_assert_eq!(decode_node_request(&bytes[..cut], MAX), Ok(None));
        }
        let frame = RequestFrame { len: bytes.len(), id, call: Ok(Call::Topic(request)) };
        prop_assert_eq!(decode_node_request(&bytes, MAX), Ok(Some(frame)));
        let of_client = decode_request(&bytes, MAX).unwrap().unwrap();
        prop_assert!(of_client == frame || of_client.call == Err(ErrorCode::BadOpcode));

        bytes.clear();
        encode_node_reply(id, reply, &mut bytes);
        for cut in 0..bytes.len() {
            prop_assert_eq!(decode_reply(&bytes[..cut]), Ok(None));
        }
        let frame = ReplyFrame { len: bytes.len(), id, answer: Answer::Reply(reply) };
        prop_assert_eq!(decode_reply(&bytes), Ok(Some(frame)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
        if let Ok(Some(frame)) = decode_request(&bytes, MAX) {
            prop_assert!(frame.len <= bytes.len());
        }
        if let Ok(Some(frame)) = decode_node_request(&bytes, MAX) {
            prop_assert!(frame.len <= bytes.len());
        }
        if let Ok(Some(frame)) = decode_reply(&bytes) {
            prop_assert!(frame.len <= bytes.len());
        }
    }

    /// An attacker with a spoofed address must not gain by amplification: docs/protocol.md allows a
    /// reply at most 16 bytes more than its request.
    #[test]
    fn no_reply_is_much_larger_than_its_request(op in 16..=31u8, body: Vec<u8>, sum: u64) {
        let mut request = vec![op, 0, body.len() as u8, 0, 0, 0, 1];
        request.extend_from_slice(&body);
        let replies = match decode_request(&request, MAX).unwrap().map(|frame| frame.call) {
            None => vec![Answer::Reply(Reply::Error(ErrorCode::BadFrame))],
            Some(Ok(Call::Ping(body))) => vec![Answer::Pong(body)],
            // The server sends only a map that is short enough.
            Some(Ok(Call::Nodes(_))) => vec![Answer::Reply(Reply::Error(ErrorCode::BadFrame))],
            Some(Ok(Call::Hello(_))) => {
                vec![Answer::Hello(HelloReply::new(Shards::ONE, ShardId::new(0), 1))]
            }
            Some(Ok(Call::Topic(_))) => vec![Answer::Reply(Reply::Count(sum))],
            Some(Err(_)) => {
                ErrorCode::ALL.map(|code| Answer::Reply(Reply::Error(code))).to_vec()
            }
        };
        for reply in replies {
            let mut bytes = Vec::new();
            encode_answer(RequestId(1), &reply, &mut bytes);
            prop_assert!(bytes.len() <= request.len() + MAX_GROWTH);
        }
    }
}
