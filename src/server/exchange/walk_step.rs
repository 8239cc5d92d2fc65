//! A step of a walk through the topics of a shard.

use crate::shard::{Position, Shard};

/// The most parts of a table that one step visits. Nobody else can use the shard meanwhile; a part has up
/// to 1,024 topics and takes some 10 to 30 µs.
const PARTS: usize = 4;

/// A step of a walk.
#[derive(Debug)]
pub(crate) struct WalkStep {
    /// Where the step begins; afterwards where the next one begins, or `None` if all topics of the
    /// shard were visited.
    pub(crate) next: Option<Position>,
    /// Only topics that begin with this are found.
    pub(crate) prefix: Box<[u8]>,
    /// The most topics to find; at least 1. Only topics that share a position may be more.
    pub(crate) limit: usize,
    /// The names of the topics that were found, with their sums, unordered.
    pub(crate) found: Vec<(Vec<u8>, u64)>,
}

impl WalkStep {
    /// Makes the step.
    pub(crate) fn make<W>(&mut self, shard: &Shard<W>) {
        for _ in 0..PARTS {
            let Some(from) = self.next else { return };
            let Self { prefix, found, .. } = self;
            let before = found.len();
            self.next = shard.walk(from, |topic, sum| {
                let name = topic.as_bytes();
                if name.starts_with(prefix) {
                    found.push((name.to_vec(), sum));
                }
            });
            if self.found.len() >= self.limit {
                self.drop_over_limit(before, shard);
                return;
            }
        }
    }

    /// Keeps the first topics of the last part, by position, up to the limit. The next step begins at
    /// the first one that is dropped.
    fn drop_over_limit<W>(&mut self, part: usize, shard: &Shard<W>) {
        let part = self.found.split_off(part);
        let mut part: Vec<_> = part
            .into_iter()
            .map(|topic| (shard.position(&topic.0), topic))
            .collect();
        part.sort_unstable_by_key(|&(position, _)| position);
        let room = self.limit - self.found.len();
        if let Some(&(last, _)) = part.get(room.saturating_sub(1)) {
            let kept = part.partition_point(|&(position, _)| position <= last);
            if let Some(&(dropped, _)) = part.get(kept) {
                self.next = Some(dropped);
            }
            part.truncate(kept);
        }
        self.found.extend(part.into_iter().map(|(_, topic)| topic));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::protocol::{Op, Request};
    use crate::shard::{Ceilings, TopicQuota};
    use crate::topic::Topic;

    /// Every topic is found once, whatever the limit, and no step finds more.
    #[test]
    fn steps_of_any_limit_find_all_topics_that_begin_with_the_prefix() {
        let mut shard = Shard::<()>::new(TopicQuota::new(10_000), Ceilings::NONE);
        for i in 0..5_000_u32 {
            let name = format!("{}-{i}", ["even", "odd"][i as usize % 2]);
            let topic = Topic::new(name.as_bytes(), 100).expect("a topic");
            let op = Op::Advance(u64::from(i) + 1);
            shard.apply(Request { op, topic }, || ());
        }
        for limit in [1, 2, 700, 100_000] {
            let mut step = WalkStep {
                next: Some(Position::START),
                prefix: (*b"even-1").into(),
                limit,
                found: Vec::new(),
            };
            let mut all = BTreeMap::new();
            while step.next.is_some() {
                step.make(&shard);
                assert!(step.found.len() <= limit);
                for (name, sum) in step.found.drain(..) {
                    assert_eq!(all.insert(name, sum), None);
                }
            }
            let expected = (0..5_000_u64).filter(|i| i % 2 == 0 && i.to_string().starts_with('1'));
            let expected = expected.map(|i| (format!("even-{i}").into_bytes(), i + 1));
            assert_eq!(all, expected.collect());
        }
    }
}
