//! What it costs to reach a shard, by batch size and by how many threads want it: the scheme of
//! `server::reach` against its two rivals, handing everything over to an owner thread by channel,
//! and a blocking lock a batch. Every thread reaches the same shard, which is the worst case.

#![allow(missing_docs)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender, bounded};
use globalcounter::protocol::{Op, Request};
use globalcounter::server::inbox::Inbox;
use globalcounter::server::reach::{Backlog, Reach};
use globalcounter::shard::{Shard, TopicQuota};
use globalcounter::topic::Topic;
use parking_lot::Mutex;

const TOPICS: usize = 1_000;

/// How many batches a thread may have away, as in the server.
const CREDIT: usize = 16;

/// Work for the shard: which topics to count, and the sums once it ran.
struct Batch {
    from: usize,
    topics: Vec<usize>,
    sums: usize,
}

impl Batch {
    fn new(from: usize, size: usize) -> Self {
        Self {
            from,
            topics: (0..size).map(|i| (i * 37 + from) % TOPICS).collect(),
            sums: 0,
        }
    }

    fn run(&mut self, shard: &mut Shard, names: &[String]) {
        for &topic in &self.topics {
            let topic = Topic::new(names[topic].as_bytes(), 100).expect("a topic");
            shard.apply(Request {
                op: Op::Count,
                topic,
            });
            self.sums += 1;
        }
    }
}

/// One of the three ways, for one thread at a time.
trait Way: Sync {
    /// Has `batches` batches of `size` requests run, for thread `me`, and waits for the last.
    fn submit(&self, me: usize, batches: u64, size: usize);
}

/// The server's way: run it yourself, or leave it to whoever does.
struct RunOrHandOver {
    reach: Reach<Shard, Batch>,
    inboxes: Vec<Inbox<Batch>>,
    names: Vec<String>,
}

impl Way for RunOrHandOver {
    fn submit(&self, me: usize, batches: u64, size: usize) {
        let run = |shard: &mut Shard, mut batch: Batch| {
            batch.run(shard, &self.names);
            let from = batch.from;
            let _ = self.inboxes[from].put(batch);
        };
        let mut own = Batch::new(me, size);
        let mut spare: Vec<Batch> = (0..CREDIT).map(|_| Batch::new(me, size)).collect();
        for _ in 0..batches {
            let backlog = match self.reach.try_run(run, |shard| own.run(shard, &self.names)) {
                Some(((), backlog)) => backlog,
                None => {
                    let batch = spare.pop().expect("the loop below left one");
                    self.reach.hand_over(batch, run)
                }
            };
            self.finish(backlog, run);
            self.collect(me, &mut spare, 1);
        }
        self.collect(me, &mut spare, CREDIT);
    }
}

impl RunOrHandOver {
    /// Takes batches back until `enough` are there.
    fn collect(&self, me: usize, spare: &mut Vec<Batch>, enough: usize) {
        loop {
            while let Some(batch) = self.inboxes[me].take() {
                spare.push(batch);
            }
            if spare.len() >= enough {
                return;
            }
            thread::yield_now();
        }
    }

    fn finish(&self, mut backlog: Backlog, run: impl Fn(&mut Shard, Batch)) {
        while backlog == Backlog::Left {
            backlog = self.reach.visit(&run);
        }
    }
}

/// Rival: an owner thread gets every batch by channel and sends it back by another.
struct OwnerThread {
    to_owner: Sender<Batch>,
    back: Vec<Receiver<Batch>>,
}

impl OwnerThread {
    fn start(threads: usize, names: Vec<String>, mut shard: Shard) -> Self {
        let (to_owner, batches) = bounded::<Batch>(threads * CREDIT);
        let (senders, back): (Vec<_>, Vec<_>) = (0..threads).map(|_| bounded(CREDIT)).unzip();
        // Ends when the sender is dropped.
        thread::spawn(move || {
            for mut batch in batches {
                batch.run(&mut shard, &names);
                let from = batch.from;
                if senders[from].send(batch).is_err() {
                    return;
                }
            }
        });
        Self { to_owner, back }
    }
}

impl Way for OwnerThread {
    fn submit(&self, me: usize, batches: u64, size: usize) {
        let mut spare: Vec<Batch> = (0..CREDIT).map(|_| Batch::new(me, size)).collect();
        for _ in 0..batches {
            let batch = match spare.pop() {
                Some(batch) => batch,
                None => self.back[me].recv().expect("the owner lives"),
            };
            self.to_owner.send(batch).expect("the owner lives");
            spare.extend(self.back[me].try_iter());
        }
        while spare.len() < CREDIT {
            spare.push(self.back[me].recv().expect("the owner lives"));
        }
    }
}

/// Rival: whoever wants the shard waits for it.
struct BlockingLock {
    shard: Mutex<Shard>,
    names: Vec<String>,
}

impl Way for BlockingLock {
    fn submit(&self, me: usize, batches: u64, size: usize) {
        let mut own = Batch::new(me, size);
        for _ in 0..batches {
            own.run(&mut self.shard.lock(), &self.names);
        }
    }
}

/// How long `threads` threads take for `batches` batches each.
fn time(way: &dyn Way, threads: usize, batches: u64, size: usize) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for me in 0..threads {
            scope.spawn(move || way.submit(me, batches, size));
        }
    });
    start.elapsed()
}

fn reaching_a_shard(c: &mut Criterion) {
    let names: Vec<String> = (0..TOPICS).map(|i| format!("topic-{i:08}")).collect();
    let shard = || Shard::new(TopicQuota::new(TOPICS));
    for threads in [1, 2, 4, 8] {
        let ways: [(&str, Arc<dyn Way>); 3] = [
            (
                "run or hand over",
                Arc::new(RunOrHandOver {
                    reach: Reach::new(shard(), threads * CREDIT),
                    inboxes: (0..threads).map(|_| Inbox::new(CREDIT)).collect(),
                    names: names.clone(),
                }),
            ),
            (
                "owner thread",
                Arc::new(OwnerThread::start(threads, names.clone(), shard())),
            ),
            (
                "blocking lock",
                Arc::new(BlockingLock {
                    shard: Mutex::new(shard()),
                    names: names.clone(),
                }),
            ),
        ];
        let mut group = c.benchmark_group(format!("reach, {threads} threads"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_millis(1_500));
        for size in [1, 16, 64] {
            // The time is that of a batch of every thread, the throughput is requests: all of them.
            group.throughput(Throughput::Elements((threads * size) as u64));
            for (name, way) in &ways {
                group.bench_with_input(BenchmarkId::new(*name, size), &size, |b, &size| {
                    b.iter_custom(|batches| time(&**way, threads, batches, size));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, reaching_a_shard);
criterion_main!(benches);
