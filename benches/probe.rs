#![allow(missing_docs)]
use globalcounter::protocol::{Op, Reply, Request};
use globalcounter::shard::{Ceilings, TopicQuota};
use globalcounter::topic::Topic;
use std::io::Write;
use std::time::Instant;
type Shard = globalcounter::shard::Shard<()>;
fn count(shard: &mut Shard, topic: Topic<'_>) -> Option<Reply> {
    shard.apply(
        Request {
            op: Op::Count,
            topic,
        },
        || (),
    )
}
fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    for size in sizes {
        let mut names = vec![[0u8; 16]; size];
        for (i, name) in names.iter_mut().enumerate() {
            write!(&mut name[..], "topic-{i:010}").unwrap();
        }
        let topics: Vec<Topic> = names.iter().map(|n| Topic::new(n, 16).unwrap()).collect();
        // inserts: min over repeats, in slices
        let mut best_insert = f64::MAX;
        let mut shard = Shard::new(TopicQuota::new(size), Ceilings::NONE);
        for _ in 0..if size > 2_000_000 {
            2
        } else {
            20_000_000 / size.max(100_000) / 4
        } {
            shard = Shard::new(TopicQuota::new(size), Ceilings::NONE);
            // sum of the best? slices vary in kind, so whole fills only.
            let t = Instant::now();
            for &topic in &topics {
                std::hint::black_box(count(&mut shard, topic));
            }
            best_insert = best_insert.min(t.elapsed().as_nanos() as f64 / size as f64);
        }
        let mut best_ib = f64::MAX;
        for _ in 0..if size > 2_000_000 {
            2
        } else {
            20_000_000 / size.max(100_000) / 4
        } {
            let mut shard = Shard::new(TopicQuota::new(size), Ceilings::NONE);
            let mut replies = Vec::new();
            let t = Instant::now();
            for b in topics.chunks(64) {
                replies.clear();
                shard.apply_all(
                    b.iter().map(|&topic| Request {
                        op: Op::Count,
                        topic,
                    }),
                    |_| (),
                    &mut replies,
                );
            }
            best_ib = best_ib.min(t.elapsed().as_nanos() as f64 / size as f64);
        }
        drop(topics);
        let mut r = 0x9e37_79b9_7f4a_7c15u64;
        for i in (1..size).rev() {
            r ^= r << 13;
            r ^= r >> 7;
            r ^= r << 17;
            names.swap(i, r as usize % (i + 1));
        }
        let topics: Vec<Topic> = names.iter().map(|n| Topic::new(n, 16).unwrap()).collect();
        let mut best = [f64::MAX; 2];
        let mut all = [vec![], vec![]];
        let slice = 32 * 2000;
        let mut at = 0;
        for round in 0..std::env::var("ROUNDS").map_or(300, |r| r.parse().unwrap()) {
            if at + slice > topics.len() {
                at = 0;
            }
            let kind = if std::env::var_os("BATCH").is_some() { 0 } else { round % 2 };
            let mut replies = Vec::new();
            let t = Instant::now();
            let mut n = 0;
            while n < slice {
                let end = (at + slice - n).min(topics.len());
                let part = &topics[at..end];
                if kind == 0 {
                    for b in part.chunks(64) {
                        replies.clear();
                        shard.apply_all(
                            b.iter().map(|&topic| Request {
                                op: Op::Count,
                                topic,
                            }),
                            |_| (),
                            &mut replies,
                        );
                    }
                } else {
                    let mut last = 1u64;
                    let mut i = 0;
                    while i < part.len() {
                        if let Some(Reply::Count(sum)) =
                            count(&mut shard, part[i + usize::from(last == 0)])
                        {
                            last = sum;
                        }
                        i += 1;
                    }
                }
                n += end - at;
                at = end % topics.len();
            }
            let ns = t.elapsed().as_nanos() as f64 / slice as f64;
            best[kind] = best[kind].min(ns);
            all[kind].push(ns);
        }
        for a in &mut all {
            a.sort_by(f64::total_cmp);
        }
        println!(
            "{size:>9}: batch min {:.1} q1 {:.1}  single min {:.1} q1 {:.1}  insert {best_insert:.1} batch insert {best_ib:.1}",
            best[0],
            all[0][all[0].len() / 4],
            best[1],
            all[1][all[1].len() / 4]
        );
    }
}
