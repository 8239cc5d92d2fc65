//! Detects that a connection should move to another worker: the one whose shard most of its
//! requests go to. The common case is a program that stamps one topic; after the move its requests
//! never cross cores.

use crate::server::exchange::Requests;
use crate::topic::ShardId;

/// A connection moves when one shard's requests lead those of all others by this many. Moving costs
/// some 20 µs, and a hop between workers 0.1 µs.
const LEAD: u32 = 1_024;

/// One request for another shard cancels this many requests for the leading shard. So a connection
/// moves only if more than three in four of its requests are for one shard. One that counts many
/// topics stays.
const WEIGHT_OF_OTHERS: u32 = 3;

/// Detects the shard that most of a connection's recent requests are for.
#[derive(Debug, Default)]
pub(super) struct MoveDetector {
    /// The leading shard, and the number of requests by which it leads.
    leading_shard: Option<ShardId>,
    lead: u32,
}

impl MoveDetector {
    /// Records the requests of one read. Returns the shard that is worth moving to, if it
    /// is not `here`, and then starts over.
    pub(super) fn record(&mut self, requests: &Requests, here: ShardId) -> Option<ShardId> {
        if self.lead == 0 {
            self.leading_shard = requests.busiest_shard();
        }
        let leading_shard = self.leading_shard?;
        let ours = requests.count_for(leading_shard) as u32;
        let others = requests.count() as u32 - ours;
        self.lead = (self.lead + ours)
            .saturating_sub(WEIGHT_OF_OTHERS * others)
            .min(LEAD);
        if self.lead < LEAD || leading_shard == here {
            return None;
        }
        *self = Self::default();
        Some(leading_shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::framed::RequestId;
    use crate::protocol::{Op, Request};
    use crate::server::exchange::Queued;
    use crate::topic::{Shards, Topic};

    const HERE: ShardId = ShardId::new(0);

    /// A read with these numbers of requests for each of four shards.
    fn read(counts: [usize; 4]) -> Requests {
        let shards = Shards::new(4).unwrap();
        let mut requests = Requests::new(shards);
        for (shard, count) in shards.ids().zip(counts) {
            let names = (0..).map(|n| format!("topic {n}"));
            let of_it = |name: &String| shards.owner(topic(name)) == shard;
            for name in names.filter(of_it).take(count) {
                let request = Request {
                    op: Op::Count,
                    topic: topic(&name),
                };
                let queued = Queued {
                    op: Op::Count,
                    topic: 0,
                    topic_len: 0,
                    id: RequestId::NONE,
                    datagram: 0,
                };
                requests.push(&request, queued);
            }
        }
        requests
    }

    fn topic(name: &str) -> Topic<'_> {
        Topic::new(name.as_bytes(), 100).unwrap()
    }

    /// Returns the number of such reads after which the connection moves, and the shard that it
    /// moves to.
    fn moves(counts: [usize; 4]) -> Option<(usize, ShardId)> {
        let mut detector = MoveDetector::default();
        let read = read(counts);
        (1..=10_000).find_map(|reads| Some((reads, detector.record(&read, HERE)?)))
    }

    #[test]
    fn one_topic_elsewhere_draws_the_connection_there() {
        assert_eq!(moves([0, 0, 1, 0]), Some((1_024, ShardId::new(2))));
        assert_eq!(moves([0, 0, 64, 0]), Some((16, ShardId::new(2))));
        assert_eq!(moves([1, 0, 0, 9]), Some((171, ShardId::new(3))));
    }

    #[test]
    fn topics_here_or_everywhere_do_not() {
        assert_eq!(moves([64, 0, 0, 0]), None);
        assert_eq!(moves([64, 1, 0, 0]), None);
        assert_eq!(moves([1, 1, 1, 1]), None);
        assert_eq!(moves([1, 3, 0, 0]), None);
        assert_eq!(moves([0, 0, 0, 0]), None);
    }

    #[test]
    fn what_is_long_past_does_not_count() {
        let mut detector = MoveDetector::default();
        let (here, there) = (read([64, 0, 0, 0]), read([0, 64, 0, 0]));
        for _ in 0..1_000 {
            assert_eq!(detector.record(&here, HERE), None);
        }
        let reads = (1..100).find(|_| detector.record(&there, HERE).is_some());
        assert_eq!(reads, Some(22), "1,024 / 3 to forget, 1,024 to go");
    }
}
