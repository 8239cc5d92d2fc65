//! The cost of reaching shards: the scheme of `server::reach` against two alternatives, handing all
//! batches to owner threads by channel, and one blocking lock per batch. There are as many threads
//! as shards. Each takes reads of requests for random topics and has the owning shards count them.
//! The number of topics goes from one, which all threads want, to a million.

#![allow(missing_docs)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender, bounded};
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::server::inbox::Inbox;
use globalcounter::server::reach::{Backlog, Reach};
use globalcounter::shard::{Ceilings, TopicQuota};
use globalcounter::topic::{Shards, Topic};
use parking_lot::Mutex;

/// The most batches that a thread may have in flight at a shard, as in the server.
const CREDIT: usize = 16;

/// The number of different reads of a thread; it repeats them as often as needed.
const READS: usize = 256;

/// The data that all threads share: the topics' names, and the reads of each thread.
struct Load {
    shards: usize,
    names: Vec<String>,
    reads: Vec<Vec<Read>>,
}

type Shard = globalcounter::shard::Shard<()>;

/// The requests of one read: for each shard, the topics to count.
type Read = Vec<(usize, Vec<usize>)>;

impl Load {
    /// Creates the reads of `threads` threads, for as many shards, with `size` requests per read.
    fn new(threads: usize, topics: usize, size: usize) -> Arc<Self> {
        let shards = Shards::new(threads).expect("few enough shards");
        let names: Vec<String> = (0..topics).map(|i| format!("topic-{i:08}")).collect();
        let mut random = 1usize;
        let mut read = || {
            let mut read = Read::new();
            for _ in 0..size {
                // The multiplier of Knuth's MMIX.
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let topic = (random >> 32) % topics;
                let shard = shards.owner(named(&names[topic])).index();
                match read.iter_mut().find(|(for_shard, _)| *for_shard == shard) {
                    Some((_, list)) => list.push(topic),
                    None => read.push((shard, vec![topic])),
                }
            }
            read
        };
        let mut reads_of_thread = || (0..READS).map(|_| read()).collect();
        Arc::new(Self {
            reads: (0..threads).map(|_| reads_of_thread()).collect(),
            shards: threads,
            names,
        })
    }

    /// Returns the shards, with all topics in them.
    fn shards(&self) -> impl Iterator<Item = Shard> {
        let shards = Shards::new(self.shards).expect("few enough shards");
        let quota = TopicQuota::new(self.names.len());
        let filled = move |shard| {
            let mut filled = Shard::new(quota.clone(), Ceilings::NONE);
            let topics = self.names.iter().map(|name| named(name));
            for topic in topics.filter(|&topic| shards.owner(topic) == shard) {
                let op = Op::Count;
                filled.apply(Request { op, topic }, || ());
            }
            filled
        };
        shards.ids().map(filled)
    }

    /// Returns the first `count` reads of thread `me`.
    fn reads(&self, me: usize, count: u64) -> impl Iterator<Item = &Read> {
        self.reads[me].iter().cycle().take(count as usize)
    }

    fn count(&self, topics: &[usize], shard: &mut Shard, replies: &mut Vec<Option<Reply>>) {
        replies.clear();
        let request = |i: usize| Request {
            op: Op::Count,
            topic: named(&self.names[topics[i]]),
        };
        shard.apply_all(topics.len(), request, |_| (), replies);
    }
}

fn named(name: &str) -> Topic<'_> {
    Topic::new(name.as_bytes(), 100).expect("a topic")
}

/// Requests for one shard, which another thread may run.
struct Batch {
    from: usize,
    shard: usize,
    topics: Vec<usize>,
    replies: Vec<Option<Reply>>,
}

impl Batch {
    fn new(from: usize) -> Box<Self> {
        Box::new(Self {
            from,
            shard: 0,
            topics: Vec::new(),
            replies: Vec::new(),
        })
    }

    fn fill(&mut self, shard: usize, topics: &[usize]) {
        self.shard = shard;
        self.topics.clear();
        self.topics.extend_from_slice(topics);
    }

    fn run(&mut self, load: &Load, shard: &mut Shard) {
        load.count(&self.topics, shard, &mut self.replies);
    }
}

/// The batches of one thread.
struct Batches {
    spare: Vec<Box<Batch>>,
    /// How many more batches may be in flight, by shard.
    credit: Vec<usize>,
}

impl Batches {
    fn new(me: usize, shards: usize) -> Self {
        Self {
            spare: (0..shards * CREDIT).map(|_| Batch::new(me)).collect(),
            credit: vec![CREDIT; shards],
        }
    }

    fn take(&mut self, shard: usize, topics: &[usize]) -> Box<Batch> {
        self.credit[shard] -= 1;
        let mut batch = self.spare.pop().expect("there is a batch for each credit");
        batch.fill(shard, topics);
        batch
    }

    fn give_back(&mut self, batch: Box<Batch>) {
        self.credit[batch.shard] += 1;
        self.spare.push(batch);
    }

    fn all_returned(&self) -> bool {
        self.credit.iter().all(|&credit| credit == CREDIT)
    }
}

/// One of the three schemes.
trait Scheme: Sync {
    /// Counts `reads` reads of thread `me`, and waits until all are counted.
    fn serve(&self, me: usize, reads: u64);
}

/// The scheme of the server: a thread runs a shard itself if it is free, else hands the batch over
/// to the thread that runs it.
struct RunOrHandOver {
    load: Arc<Load>,
    shards: Vec<Reach<Shard, Box<Batch>>>,
    inboxes: Vec<Inbox<Box<Batch>>>,
}

impl RunOrHandOver {
    fn new(load: &Arc<Load>) -> Self {
        let room = load.shards * CREDIT;
        Self {
            load: Arc::clone(load),
            shards: load.shards().map(|shard| Reach::new(shard, room)).collect(),
            inboxes: (0..load.shards).map(|_| Inbox::new()).collect(),
        }
    }

    fn collect(&self, me: usize, batches: &mut Batches) {
        while let Some(batch) = self.inboxes[me].take() {
            batches.give_back(batch);
        }
    }
}

impl Scheme for RunOrHandOver {
    fn serve(&self, me: usize, reads: u64) {
        let run = |shard: &mut Shard, mut batch: Box<Batch>| {
            batch.run(&self.load, shard);
            let from = batch.from;
            let _ = self.inboxes[from].put(batch);
        };
        let mut batches = Batches::new(me, self.shards.len());
        let mut replies = Vec::new();
        for (shard, topics) in self.load.reads(me, reads).flatten() {
            let reach = &self.shards[*shard];
            let count = |shard: &mut Shard| self.load.count(topics, shard, &mut replies);
            let mut backlog = match reach.try_run(run, count) {
                Some(((), backlog)) => backlog,
                None => {
                    while batches.credit[*shard] == 0 {
                        thread::yield_now();
                        self.collect(me, &mut batches);
                    }
                    reach.hand_over(batches.take(*shard, topics), run)
                }
            };
            while backlog == Backlog::Left {
                backlog = reach.visit(run);
            }
            self.collect(me, &mut batches);
        }
        while !batches.all_returned() {
            thread::yield_now();
            self.collect(me, &mut batches);
        }
    }
}

/// Alternative: the owner thread of a shard gets all batches by one channel and returns them by
/// another.
struct OwnerThreads {
    load: Arc<Load>,
    owners: Vec<Sender<Box<Batch>>>,
    back: Vec<Receiver<Box<Batch>>>,
}

impl OwnerThreads {
    fn new(load: &Arc<Load>) -> Self {
        let room = load.shards * CREDIT;
        let (senders, back): (Vec<_>, Vec<_>) = (0..load.shards)
            .map(|_| bounded::<Box<Batch>>(room))
            .unzip();
        let start = |mut shard: Shard| {
            let (owner, batches) = bounded::<Box<Batch>>(room);
            let (load, senders) = (Arc::clone(load), senders.clone());
            // The thread ends when the sender is dropped.
            thread::spawn(move || {
                for mut batch in batches {
                    batch.run(&load, &mut shard);
                    let from = batch.from;
                    if senders[from].send(batch).is_err() {
                        return;
                    }
                }
            });
            owner
        };
        Self {
            load: Arc::clone(load),
            owners: load.shards().map(start).collect(),
            back,
        }
    }
}

impl Scheme for OwnerThreads {
    fn serve(&self, me: usize, reads: u64) {
        let mut batches = Batches::new(me, self.owners.len());
        let back = &self.back[me];
        for (shard, topics) in self.load.reads(me, reads).flatten() {
            while batches.credit[*shard] == 0 {
                batches.give_back(back.recv().expect("the owner threads run"));
            }
            let batch = batches.take(*shard, topics);
            self.owners[*shard]
                .send(batch)
                .expect("the owner thread runs");
            back.try_iter().for_each(|batch| batches.give_back(batch));
        }
        while !batches.all_returned() {
            batches.give_back(back.recv().expect("the owner threads run"));
        }
    }
}

/// Alternative: each thread waits for the lock of a shard.
struct BlockingLocks {
    load: Arc<Load>,
    shards: Vec<Mutex<Shard>>,
}

impl Scheme for BlockingLocks {
    fn serve(&self, me: usize, reads: u64) {
        let mut replies = Vec::new();
        for (shard, topics) in self.load.reads(me, reads).flatten() {
            self.load
                .count(topics, &mut self.shards[*shard].lock(), &mut replies);
        }
    }
}

/// Returns the time that all threads take for `reads` reads each.
fn time(scheme: &dyn Scheme, threads: usize, reads: u64) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for me in 0..threads {
            scope.spawn(move || scheme.serve(me, reads));
        }
    });
    start.elapsed()
}

fn reaching_shards(c: &mut Criterion) {
    for threads in [1, 2, 4, 8] {
        for topics in [1, 10_000, 1_000_000] {
            let mut group = c.benchmark_group(format!("reach, {threads} shards, {topics} topics"));
            group.sample_size(10);
            group.warm_up_time(Duration::from_millis(200));
            group.measurement_time(Duration::from_millis(800));
            for size in [1, 16, 64] {
                let load = Load::new(threads, topics, size);
                let locks = BlockingLocks {
                    load: Arc::clone(&load),
                    shards: load.shards().map(Mutex::new).collect(),
                };
                let schemes: [(&str, Box<dyn Scheme>); 3] = [
                    ("run or hand over", Box::new(RunOrHandOver::new(&load))),
                    ("owner threads", Box::new(OwnerThreads::new(&load))),
                    ("blocking locks", Box::new(locks)),
                ];
                // The time is that of one read of each thread. The throughput counts the requests
                // of all threads.
                group.throughput(Throughput::Elements((threads * size) as u64));
                for (name, scheme) in &schemes {
                    group.bench_with_input(BenchmarkId::new(*name, size), &size, |b, _| {
                        b.iter_custom(|reads| time(&**scheme, threads, reads));
                    });
                }
            }
            group.finish();
        }
    }
}

criterion_group!(benches, reaching_shards);
criterion_main!(benches);
