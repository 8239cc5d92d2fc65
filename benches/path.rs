//! The cost of a request from the bytes of a read to the bytes of its reply: decode it, find and
//! count its topic, encode the reply. That is all the work between two system calls, on one shard,
//! without the runtime. Use it for changes that move work between the codec and the table.
//!
//! The number of instructions does not depend on the load of the machine. This command counts them,
//! running a benchmark once:
//!
//! ```sh
//! valgrind --tool=callgrind --toggle-collect='path::serve_*' PATH_BENCH --test framed/1000
//! ```

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use globalcounter::protocol::framed::{self, Call, RequestId};
use globalcounter::protocol::{Op, Reply, Request, classic};
use globalcounter::shard::{Ceilings, TopicQuota};
use globalcounter::topic::{DEFAULT_MAX_TOPIC_LEN, Topic};

/// Requests per read, as on a connection with this many in flight.
const REQUESTS: usize = 64;

/// Reads per iteration.
const READS: usize = 64;

/// The first number of topics fits in a near cache. With the second, the shard waits for the memory
/// of several topics at once.
const TOPICS: [usize; 2] = [1_000, 100_000];

fn path(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    group.throughput(Throughput::Elements((READS * REQUESTS) as u64));
    for topics in TOPICS {
        let names: Vec<String> = (0..topics).map(|n| format!("topic-{n:010}")).collect();
        let mut shard = Shard::new(TopicQuota::new(topics), Ceilings::NONE);
        for name in &names {
            shard.apply(count(name), || ());
        }
        // A pseudo-random order, the same in each run.
        let mut next = 0;
        let mut requests = || {
            next = (next + 611_953) % topics;
            count(&names[next])
        };
        let mut frames = vec![Vec::new(); READS];
        for read in &mut frames {
            for id in 0..REQUESTS {
                let call = Call::Topic(requests());
                framed::encode_request(RequestId(id as u32), &call, read);
            }
        }
        let mut messages = vec![vec![Vec::new(); REQUESTS]; READS];
        for message in messages.iter_mut().flatten() {
            classic::encode_request(requests(), message).expect("COUNT is classic");
        }

        let (mut replies, mut output) = (Vec::new(), Vec::new());
        group.bench_function(format!("framed/{topics}"), |b| {
            b.iter(|| {
                for read in black_box(&frames) {
                    serve_frames(&mut shard, read, &mut replies, &mut output);
                }
            });
        });
        group.bench_function(format!("classic/{topics}"), |b| {
            b.iter(|| {
                for read in black_box(&messages) {
                    serve_messages(&mut shard, read, &mut replies, &mut output);
                }
            });
        });
    }
    group.finish();
}

type Shard = globalcounter::shard::Shard<()>;

fn count(name: &str) -> Request<'_> {
    Request {
        op: Op::Count,
        topic: Topic::new(name.as_bytes(), DEFAULT_MAX_TOPIC_LEN).expect("a topic"),
    }
}

#[inline(never)]
fn serve_frames(
    shard: &mut Shard,
    read: &[u8],
    replies: &mut Vec<Option<Reply>>,
    output: &mut Vec<u8>,
) {
    let mut requests = Vec::with_capacity(REQUESTS);
    let mut rest = read;
    while let Some(frame) = framed::decode_request(rest, DEFAULT_MAX_TOPIC_LEN).expect("a frame") {
        rest = &rest[frame.len..];
        if let Ok(Call::Topic(request)) = frame.call {
            requests.push((frame.id, request));
        }
    }
    replies.clear();
    shard.apply_all(requests.len(), |i| requests[i].1, |_| (), replies);
    output.clear();
    for (&(id, _), &reply) in requests.iter().zip(&*replies) {
        framed::encode_reply(id, reply.expect("no reply waits for a store"), output);
    }
    black_box(output);
}

#[inline(never)]
fn serve_messages(
    shard: &mut Shard,
    read: &[Vec<u8>],
    replies: &mut Vec<Option<Reply>>,
    output: &mut Vec<u8>,
) {
    let mut requests = Vec::with_capacity(REQUESTS);
    for message in read {
        let request = classic::decode_request(message, DEFAULT_MAX_TOPIC_LEN);
        requests.push(request.expect("a request"));
    }
    replies.clear();
    shard.apply_all(requests.len(), |i| requests[i], |_| (), replies);
    output.clear();
    for &reply in &*replies {
        classic::encode_reply(reply.expect("no reply waits for a store"), output);
    }
    black_box(output);
}

criterion_group!(benches, path);
criterion_main!(benches);
