//! The cost of a message in the codec: decoding and encoding requests and replies, with one group
//! for each dialect. It shows the cost of a change to a dialect alone, without tables and sockets.
//! The server decodes requests and encodes replies; clients and the load generator do the reverse.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use globalcounter::protocol::framed::{self, Answer, Call, RequestId};
use globalcounter::protocol::resp::{
    self, Arguments, Command, Form, Progress, Tally, Version, Writer,
};
use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::topic::{DEFAULT_MAX_TOPIC_LEN, Topic};

/// Messages per iteration: as many as one read of a busy connection returns.
const MESSAGES: u32 = 64;

/// A reply whose sum has a medium length: 6 of at most 8 bytes.
const REPLY: Reply = Reply::Count(1 << 40);

fn names() -> Vec<String> {
    (0..MESSAGES).map(|i| format!("topic-{i:010}")).collect()
}

fn count(name: &str) -> Request<'_> {
    Request {
        op: Op::Count,
        topic: Topic::new(name.as_bytes(), DEFAULT_MAX_TOPIC_LEN).expect("a topic"),
    }
}

/// The classic dialect. Each message has a buffer of its own, like a datagram.
fn classic(c: &mut Criterion) {
    let names = names();
    let requests: Vec<Request<'_>> = names.iter().map(|name| count(name)).collect();
    let encoded_requests: Vec<Vec<u8>> = requests
        .iter()
        .map(|&request| {
            let mut message = Vec::new();
            classic::encode_request(request, &mut message).expect("COUNT is classic");
            message
        })
        .collect();
    let mut encoded_reply = Vec::new();
    classic::encode_reply(REPLY, &mut encoded_reply);
    let encoded_replies = vec![encoded_reply; MESSAGES as usize];

    let mut group = dialect(c, "classic");
    group.bench_function("decode requests", |b| {
        b.iter(|| {
            for message in black_box(&encoded_requests) {
                let request = classic::decode_request(message, DEFAULT_MAX_TOPIC_LEN);
                black_box(request.expect("a request"));
            }
        });
    });
    group.bench_function("encode requests", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            for &request in black_box(&requests) {
                out.clear();
                classic::encode_request(request, &mut out).expect("COUNT is classic");
                black_box(&out);
            }
        });
    });
    group.bench_function("decode replies", |b| {
        b.iter(|| {
            for message in black_box(&encoded_replies) {
                black_box(classic::decode_reply(message).expect("a reply"));
            }
        });
    });
    group.bench_function("encode replies", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            for _ in 0..MESSAGES {
                out.clear();
                classic::encode_reply(black_box(REPLY), &mut out);
                black_box(&out);
            }
        });
    });
    group.finish();
}

/// The framed dialect. All messages are in one buffer, as on a pipelined connection.
fn framed(c: &mut Criterion) {
    let names = names();
    let requests: Vec<Request<'_>> = names.iter().map(|name| count(name)).collect();
    let mut encoded_requests = Vec::new();
    let mut encoded_replies = Vec::new();
    for (id, &request) in (0..).map(RequestId).zip(&requests) {
        framed::encode_request(id, &Call::Topic(request), &mut encoded_requests);
        framed::encode_reply(id, REPLY, &mut encoded_replies);
    }

    let mut group = dialect(c, "framed");
    group.bench_function("decode requests", |b| {
        b.iter(|| {
            let mut rest = black_box(&encoded_requests[..]);
            while let Some(frame) =
                framed::decode_request(rest, DEFAULT_MAX_TOPIC_LEN).expect("a request")
            {
                black_box(frame.call.expect("COUNT"));
                rest = &rest[frame.len..];
            }
            assert!(rest.is_empty());
        });
    });
    group.bench_function("encode requests", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            for (id, &request) in (0..).map(RequestId).zip(black_box(&requests)) {
                framed::encode_request(id, &Call::Topic(request), &mut out);
            }
            black_box(&out);
        });
    });
    group.bench_function("decode replies", |b| {
        b.iter(|| {
            let mut rest = black_box(&encoded_replies[..]);
            while let Some(frame) = framed::decode_reply(rest).expect("a reply") {
                assert!(matches!(black_box(frame.answer), Answer::Reply(_)));
                rest = &rest[frame.len..];
            }
            assert!(rest.is_empty());
        });
    });
    group.bench_function("encode replies", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            for id in (0..MESSAGES).map(RequestId) {
                framed::encode_reply(id, black_box(REPLY), &mut out);
            }
            black_box(&out);
        });
    });
    group.finish();
}

/// The Redis protocol, also in one buffer. Decoding a request finds its arguments and interprets
/// them.
fn redis(c: &mut Criterion) {
    let names = names();
    let mut encoded_requests = Vec::new();
    let mut encoded_replies = Vec::new();
    for name in &names {
        resp::encode_command(&[b"INCR", name.as_bytes()], &mut encoded_requests);
        Writer::new(Version::Resp2, &mut encoded_replies).integer(1 << 40);
    }

    let mut group = dialect(c, "resp");
    group.bench_function("decode requests", |b| {
        let (mut progress, mut arguments) = (Progress::default(), Arguments::default());
        b.iter(|| {
            let mut rest = black_box(&mut encoded_requests[..]);
            while let Some(len) =
                resp::decode(rest, &mut progress, &mut arguments).expect("a command")
            {
                let spec = resp::find(&arguments, rest).expect("INCR");
                let command = Command::read(spec, &arguments, rest, DEFAULT_MAX_TOPIC_LEN);
                assert!(matches!(
                    black_box(command.expect("a request")),
                    Command::Topic { .. }
                ));
                rest = &mut rest[len..];
            }
            assert!(rest.is_empty());
        });
    });
    group.bench_function("encode requests", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            for name in black_box(&names) {
                resp::encode_command(&[b"INCR", name.as_bytes()], &mut out);
            }
            black_box(&out);
        });
    });
    group.bench_function("decode replies", |b| {
        b.iter(|| {
            let mut rest = black_box(&encoded_replies[..]);
            while let Some((value, len)) = resp::decode_reply(rest).expect("a reply") {
                black_box(value);
                rest = &rest[len..];
            }
            assert!(rest.is_empty());
        });
    });
    group.bench_function("encode replies", |b| {
        let (mut tally, mut out) = (Tally::default(), Vec::new());
        b.iter(|| {
            out.clear();
            for _ in 0..MESSAGES {
                let content = Form::Sum.content(black_box(Reply::Add(1 << 40)));
                tally.write(content, &mut Writer::new(Version::Resp2, &mut out));
            }
            black_box(&out);
        });
    });
    group.finish();
}

/// Returns a benchmark group for a dialect, with its throughput in messages per second.
fn dialect<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(MESSAGES.into()));
    group
}

criterion_group!(benches, classic, framed, redis);
criterion_main!(benches);
