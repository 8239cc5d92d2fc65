//! What a request costs in the codec: decoding requests, encoding replies, each dialect.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use globalcounter::protocol::framed::{self, Call, RequestId};
use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::topic::Topic;

/// Requests in one buffer: what one read of a busy connection returns.
const PIPELINE: u32 = 64;
const MAX_TOPIC_LEN: usize = 1_024;

fn count(name: &str) -> Request<'_> {
    Request {
        op: Op::Count,
        topic: Topic::new(name.as_bytes(), MAX_TOPIC_LEN).expect("a topic"),
    }
}

fn framed(c: &mut Criterion) {
    let mut group = c.benchmark_group("framed");
    group.throughput(Throughput::Elements(PIPELINE.into()));
    let mut requests = Vec::new();
    for id in 0..PIPELINE {
        let name = format!("topic-{id:08}");
        framed::encode_request(RequestId(id), &Call::Topic(count(&name)), &mut requests);
    }
    group.bench_function("decode 64 COUNTs", |b| {
        b.iter(|| {
            let mut rest = black_box(&requests[..]);
            while let Ok(Some(frame)) = framed::decode_request(rest, MAX_TOPIC_LEN) {
                rest = &rest[frame.len..];
                black_box(&frame.call);
            }
        });
    });
    group.bench_function("encode 64 replies", |b| {
        b.iter_batched_ref(
            || Vec::with_capacity(4_096),
            |out| {
                for id in 0..PIPELINE {
                    framed::encode_reply(RequestId(id), black_box(Reply::Count(1 << 40)), out);
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn classic(c: &mut Criterion) {
    let mut group = c.benchmark_group("classic");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode COUNT", |b| {
        b.iter(|| classic::decode_request(black_box(b"\x00topic-00000042"), MAX_TOPIC_LEN));
    });
    group.bench_function("encode reply", |b| {
        let mut out = Vec::with_capacity(16);
        b.iter(|| {
            out.clear();
            classic::encode_reply(black_box(Reply::Count(1 << 40)), &mut out);
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, framed, classic);
criterion_main!(benches);
