use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::table::FAR_TOPICS;
use super::*;

mod crashes;
mod ranges;
mod set;

type Shard = super::Shard<()>;

fn shard(max_topics: usize) -> Shard {
    Shard::new(TopicQuota::new(max_topics), Ceilings::NONE)
}

fn apply(shard: &mut Shard, op: Op, topic: &str) -> Reply {
    let topic = Topic::new(topic.as_bytes(), 1024).expect("a topic");
    shard
        .apply(Request { op, topic }, || ())
        .expect("the request does not wait")
}

fn add(n: u32) -> Op {
    Op::Add(NonZeroU32::new(n).expect("at least one"))
}

fn incr(n: u64) -> Op {
    Op::Incr(NonZeroU64::new(n).expect("at least one"))
}

fn set(to: u64, when: Condition) -> Op {
    Op::Set { to, when }
}

#[test]
fn each_method_follows_the_protocol() {
    let mut shard = shard(10);
    let mut on_a = |op| apply(&mut shard, op, "a");
    assert_eq!(on_a(Op::Get), Reply::Get(None));
    assert_eq!(on_a(Op::Count), Reply::Count(1));
    assert_eq!(on_a(Op::Count), Reply::Count(2));
    assert_eq!(on_a(add(10)), Reply::Add(12));
    assert_eq!(on_a(Op::Get), Reply::Get(Some(12)));
    assert_eq!(on_a(Op::Advance(100)), Reply::Advance(100));
    assert_eq!(on_a(Op::Advance(50)), Reply::Advance(100));
    assert_eq!(on_a(Op::Reset), Reply::Reset);
    assert_eq!(on_a(Op::Count), Reply::Count(1));
    assert_eq!(on_a(Op::Delete), Reply::Delete { existed: true });
    assert_eq!(on_a(Op::Delete), Reply::Delete { existed: false });
    assert_eq!(on_a(Op::Count), Reply::Count(1));
    assert_eq!(apply(&mut shard, Op::Count, "b"), Reply::Count(1));
}

#[test]
fn get_and_delete_create_no_topic_and_all_other_methods_do() {
    let mut shard = shard(10);
    apply(&mut shard, Op::Get, "a");
    apply(&mut shard, Op::Delete, "a");
    assert_eq!(shard.topics(), 0);
    for (n, op) in [Op::Count, Op::Reset, add(1), Op::Advance(0)]
        .into_iter()
        .enumerate()
    {
        apply(&mut shard, op, &format!("topic {n}"));
        assert_eq!(shard.topics(), n + 1, "{op:?}");
    }
}

#[test]
fn a_sum_never_wraps_and_a_refused_request_changes_nothing() {
    let overflow = Reply::Error(ErrorCode::Overflow);
    let mut shard = shard(10);
    apply(&mut shard, Op::Advance(u64::MAX - 5), "a");
    assert_eq!(apply(&mut shard, add(6), "a"), overflow);
    assert_eq!(apply(&mut shard, add(5), "a"), Reply::Add(u64::MAX));
    assert_eq!(apply(&mut shard, Op::Count, "a"), overflow);
    assert_eq!(apply(&mut shard, Op::Get, "a"), Reply::Get(Some(u64::MAX)));
    assert_eq!(apply(&mut shard, Op::Reset, "a"), Reply::Reset);
    assert_eq!(apply(&mut shard, Op::Count, "a"), Reply::Count(1));
}

#[test]
fn incr_stops_at_the_largest_integer_of_a_redis_client() {
    let overflow = Reply::Error(ErrorCode::Overflow);
    let most = i64::MAX as u64;
    let mut shard = shard(10);
    assert_eq!(apply(&mut shard, incr(most + 1), "new"), overflow);
    assert_eq!(shard.topics(), 0, "a refused topic leaves nothing behind");
    assert_eq!(apply(&mut shard, incr(most), "new"), Reply::Add(most));
    assert_eq!(apply(&mut shard, incr(1), "new"), overflow);
    assert_eq!(apply(&mut shard, Op::Count, "new"), Reply::Count(most + 1));
    assert_eq!(apply(&mut shard, incr(1), "new"), overflow);
    let sum = Reply::Get(Some(most + 1));
    assert_eq!(apply(&mut shard, Op::Get, "new"), sum);
}

#[test]
fn shards_share_one_limit_on_topics() {
    let quota = TopicQuota::new(3);
    let mut one = Shard::new(quota.clone(), Ceilings::NONE);
    let mut other = Shard::new(quota.clone(), Ceilings::NONE);
    let too_many = Reply::Error(ErrorCode::TooManyTopics);
    assert_eq!(apply(&mut one, Op::Count, "a"), Reply::Count(1));
    assert_eq!(apply(&mut other, Op::Count, "b"), Reply::Count(1));
    assert_eq!(apply(&mut other, Op::Advance(7), "c"), Reply::Advance(7));
    for op in [Op::Count, add(1), Op::Reset, Op::Advance(1)] {
        assert_eq!(apply(&mut one, op, "d"), too_many, "{op:?}");
    }
    assert_eq!(one.topics(), 1, "a refused topic leaves nothing behind");
    assert_eq!(apply(&mut one, Op::Get, "d"), Reply::Get(None));
    assert_eq!(apply(&mut one, Op::Count, "a"), Reply::Count(2));
    apply(&mut other, Op::Delete, "b");
    assert_eq!(apply(&mut one, Op::Count, "d"), Reply::Count(1));
    drop(other);
    assert_eq!(apply(&mut one, Op::Count, "e"), Reply::Count(1));
    assert_eq!(apply(&mut one, Op::Count, "f"), too_many);
}

/// Creates a shard of this durability, whose waiting requests are numbered.
fn durable_shard(durability: Durability) -> super::Shard<usize> {
    let ceilings = Ceilings {
        durability,
        ticks: || 0,
    };
    super::Shard::new(TopicQuota::new(100), ceilings)
}

fn request(op: Op, topic: &str) -> Request<'_> {
    Request {
        op,
        topic: Topic::new(topic.as_bytes(), 1024).expect("a topic"),
    }
}

/// Fetches the changes for the store and reports that they are durable (or failed). Returns the
/// replies to waiting requests.
fn answer(shard: &mut super::Shard<usize>, durable: bool) -> Vec<(usize, Reply)> {
    let (mut changes, mut replies) = (Vec::new(), Vec::new());
    shard.fetch(&mut changes);
    shard.answered(&changes, durable, &mut replies);
    replies
}

#[test]
fn requests_beyond_the_waiting_limit_are_refused_and_change_nothing() {
    let mut shard = durable_shard(Durability::Monotonic);
    assert_eq!(shard.apply(request(Op::Count, "a"), || 0), None);
    let (mut first, mut replies) = (Vec::new(), Vec::new());
    assert_eq!(shard.fetch(&mut first), Some(true));
    for i in 1..ledger::WAITING_LIMIT {
        assert_eq!(shard.apply(request(Op::Count, "a"), || i), None);
    }
    let busy = Some(Reply::Error(ErrorCode::Busy));
    let no_waiter = || unreachable!("the request does not wait");
    assert_eq!(shard.apply(request(Op::Count, "a"), no_waiter), busy);
    assert_eq!(shard.apply(request(Op::Count, "b"), no_waiter), busy);
    assert_eq!(shard.topics(), 1);
    shard.answered(&first, true, &mut replies);
    assert_eq!(replies, [(0, Reply::Count(1))]);
    assert_eq!(shard.apply(request(Op::Count, "b"), || 7), None);
    let last = answer(&mut shard, true)
        .pop()
        .expect("all requests have replies");
    assert_eq!(last, (7, Reply::Count(1)));
    let sum = Some(Reply::Get(Some(ledger::WAITING_LIMIT as u64)));
    assert_eq!(shard.apply(request(Op::Get, "a"), no_waiter), sum);
}

/// Requests for one topic that begin to wait between two fetches become durable together.
#[test]
fn a_change_covers_the_requests_that_wait_until_it_is_fetched() {
    for durability in [Durability::Monotonic, Durability::Exact] {
        let mut shard = durable_shard(durability);
        assert_eq!(shard.unfetched(), None);
        let add = Op::Add(NonZeroU32::new(5).expect("not 0"));
        for (i, op) in [Op::Count, add, Op::Get, Op::Count].into_iter().enumerate() {
            assert_eq!(shard.apply(request(op, "a"), || i), None);
            assert_eq!(shard.unfetched(), Some(i + 1));
        }
        let mut changes = Vec::new();
        assert_eq!(shard.fetch(&mut changes), Some(true));
        assert_eq!(shard.unfetched(), None);
        // These come after the fetch, so they need a change of their own. RESET ends it.
        for (i, op) in [Op::Count, Op::Reset, Op::Count].into_iter().enumerate() {
            assert_eq!(shard.apply(request(op, "a"), || 4 + i), None);
        }
        let records: Vec<_> = changes.iter().map(Change::after).collect();
        assert_eq!(records, [Some(Record::exact(7))], "{durability}");
        let mut replies = Vec::new();
        shard.answered(&changes, true, &mut replies);
        let (count, add) = (Reply::Count, Reply::Add);
        let expected = [count(1), add(6), Reply::Get(Some(6)), count(7)];
        assert!(replies.into_iter().eq(expected.into_iter().enumerate()));
        let expected = [(4, count(8)), (5, Reply::Reset), (6, count(1))];
        let replies: Vec<_> = (0..3).flat_map(|_| answer(&mut shard, true)).collect();
        assert_eq!(replies, expected, "{durability}");
    }
}

#[test]
fn topics_whose_first_change_fails_return_their_room() {
    let mut shard = durable_shard(Durability::Exact);
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!(shard.apply(request(Op::Count, name), || i), None);
    }
    assert_eq!((shard.topics(), shard.quota.taken()), (3, 3));
    let failed = Reply::Error(ErrorCode::Store);
    let replies = answer(&mut shard, false);
    assert_eq!(replies, [(0, failed), (1, failed), (2, failed)]);
    assert_eq!((shard.topics(), shard.quota.taken()), (0, 0));
    assert_eq!(shard.apply(request(Op::Reset, "d"), || 9), Some(failed));
    assert_eq!((shard.topics(), shard.quota.taken()), (0, 0));
}

#[test]
fn a_count_that_waits_behind_a_delete_creates_a_new_topic() {
    let mut shard = durable_shard(Durability::Monotonic);
    shard.apply(request(add(5), "a"), || 0);
    answer(&mut shard, true);
    let ops = [Op::Delete, Op::Get, Op::Delete, Op::Count, Op::Get];
    for (i, op) in (1..).zip(ops) {
        assert_eq!(shard.apply(request(op, "a"), || i), None, "{op:?}");
    }
    let existed = |existed| Reply::Delete { existed };
    let expected = [
        (1, existed(true)),
        (2, Reply::Get(None)),
        (3, existed(false)),
    ];
    assert_eq!(answer(&mut shard, true), expected);
    assert_eq!((shard.topics(), shard.quota.taken()), (1, 1));
    let expected = [(4, Reply::Count(1)), (5, Reply::Get(Some(1)))];
    assert_eq!(answer(&mut shard, true), expected);
}

/// Tests sums at the ends of the ranges that matter, with every durability.
#[test]
fn ceilings_near_the_largest_numbers() {
    for durability in [Durability::Memory, Durability::Monotonic, Durability::Exact] {
        let mut shard = durable_shard(durability);
        let mut ask = |op| {
            let reply = shard.apply(request(op, "a"), || 1);
            let late = answer(&mut shard, true);
            reply
                .or(late.first().map(|&(_, reply)| reply))
                .expect("a reply")
        };
        let overflow = Reply::Error(ErrorCode::Overflow);
        for floor in [(1 << 33) - 2, 1 << 40, i64::MAX as u64 - 1, u64::MAX - 2] {
            assert_eq!(
                ask(Op::Advance(floor)),
                Reply::Advance(floor),
                "{durability}"
            );
            assert_eq!(ask(Op::Count), Reply::Count(floor + 1), "{durability}");
            assert_eq!(ask(Op::Count), Reply::Count(floor + 2), "{durability}");
            if floor >= i64::MAX as u64 - 1 {
                assert_eq!(ask(incr(1)), overflow, "{durability}");
            }
        }
        assert_eq!(ask(Op::Count), overflow, "{durability}");
        assert_eq!(ask(Op::Get), Reply::Get(Some(u64::MAX)), "{durability}");
        assert_eq!(ask(Op::Reset), Reply::Reset);
        assert_eq!(ask(Op::Count), Reply::Count(1));
    }
}

/// The simplest implementation of the protocol.
#[derive(Default)]
struct Model(HashMap<String, u64>);

impl Model {
    fn set(&mut self, topic: &str, to: u64, when: Condition) -> Reply {
        match (self.0.get(topic).copied(), when) {
            (Some(sum), Condition::IfAbsent) => return Reply::Present(sum),
            (None, Condition::IfPresent) => return Reply::Absent,
            (Some(sum), _) if to > 0 && to < sum => return Reply::SumIsHigher(sum),
            _ => {}
        }
        self.0
            .insert(topic.to_owned(), to)
            .map_or(Reply::Created, Reply::Set)
    }

    fn apply(&mut self, op: Op, topic: &str) -> Reply {
        let by = match op {
            Op::Get => return Reply::Get(self.0.get(topic).copied()),
            Op::Delete => {
                let existed = self.0.remove(topic).is_some();
                return Reply::Delete { existed };
            }
            Op::GetDelete => return self.0.remove(topic).map_or(Reply::Absent, Reply::Deleted),
            Op::Set { to, when } => return self.set(topic, to, when),
            Op::Count => 1,
            Op::Add(n) => n.get().into(),
            Op::Incr(n) => n.get(),
            Op::Reset | Op::Advance(_) => 0,
        };
        let existed = self.0.contains_key(topic);
        let sum = self.0.entry(topic.to_owned()).or_default();
        match op {
            Op::Reset => {
                *sum = 0;
                return Reply::Reset;
            }
            Op::Advance(floor) => {
                *sum = floor.max(*sum);
                return Reply::Advance(*sum);
            }
            _ => {}
        }
        let most = match op {
            Op::Incr(_) => i64::MAX as u64,
            _ => u64::MAX,
        };
        let Some(new) = sum.checked_add(by).filter(|&new| new <= most) else {
            if !existed {
                self.0.remove(topic);
            }
            return Reply::Error(ErrorCode::Overflow);
        };
        *sum = new;
        if op == Op::Count {
            Reply::Count(new)
        } else {
            Reply::Add(new)
        }
    }
}

fn any_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Always),
        Just(Condition::IfAbsent),
        Just(Condition::IfPresent),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Count),
        1 => Just(Op::Reset),
        2 => any::<NonZeroU32>().prop_map(Op::Add),
        2 => (1..=9u64).prop_map(incr),
        1 => any::<NonZeroU64>().prop_map(Op::Incr),
        1 => (i64::MAX as u64 - 5..=i64::MAX as u64 + 5).prop_map(Op::Advance),
        2 => Just(Op::Get),
        1 => Just(Op::Delete),
        1 => Just(Op::GetDelete),
        3 => (0..20u64, any_condition()).prop_map(|(to, when)| set(to, when)),
        1 => (any::<u64>(), any_condition()).prop_map(|(to, when)| set(to, when)),
        1 => any::<u64>().prop_map(Op::Advance),
        1 => (u64::MAX - 5..=u64::MAX).prop_map(Op::Advance),
    ]
}

/// Some topics appear twice, far apart or in the same batch: the first time counts.
#[test]
fn topics_are_restored_together_as_one_by_one() {
    let name = |i: usize| format!("topic {}", i % 3_000 / 2);
    let names: Vec<String> = (0..3_500).map(name).collect();
    let sums = names.iter().zip(0..);
    let topics: Vec<(Topic<'_>, u64)> = sums
        .map(|(name, sum)| (Topic::new(name.as_bytes(), 100).expect("a topic"), sum))
        .collect();
    let (mut together, mut one_by_one) = (shard(1), shard(1));
    let (mut new, mut expected) = (Vec::new(), Vec::new());
    together.restore_all(&topics, |i| new.push(i));
    for (i, &(topic, sum)) in topics.iter().enumerate() {
        if one_by_one.restore(topic, sum) {
            expected.push(i);
        }
    }
    assert_eq!(new, expected);
    assert_eq!((together.topics(), one_by_one.topics()), (1_500, 1_500));
    for (topic, _) in topics {
        let op = Op::Count;
        let count = |shard: &mut Shard| shard.apply(Request { op, topic }, || ());
        assert_eq!(count(&mut together), count(&mut one_by_one));
    }
}

/// The replies do not depend on prefetching.
#[test]
fn requests_in_batches_get_the_replies_of_single_requests() {
    let names: Vec<String> = (0..2 * FAR_TOPICS).map(|i| format!("topic {i}")).collect();
    let topics: Vec<Topic<'_>> = names
        .iter()
        .map(|name| Topic::new(name.as_bytes(), 20).expect("a topic"))
        .collect();
    let ops = [Op::Count, Op::Get, add(3), Op::Delete, incr(2), Op::Reset];
    let (mut together, mut one_by_one) = (shard(usize::MAX), shard(usize::MAX));
    for &topic in &topics {
        let op = Op::Count;
        together.apply(Request { op, topic }, || ());
        one_by_one.apply(Request { op, topic }, || ());
    }
    for step in [13, 11, 7, 3, 1] {
        assert!(together.topics() >= FAR_TOPICS);
        let request = |i| Request {
            op: ops[(i * step / 5) % ops.len()],
            topic: topics[i * step],
        };
        let count = topics.len() / step;
        let mut replies = Vec::new();
        together.apply_all(count, request, |_| (), &mut replies);
        let expected: Vec<_> = (0..count)
            .map(|i| one_by_one.apply(request(i), || ()))
            .collect();
        assert_eq!(replies, expected, "every {step}th topic");
    }
    assert_eq!(together.topics(), one_by_one.topics());
}

proptest! {
    #[test]
    fn a_shard_replies_like_the_model(
        requests in prop::collection::vec((any_op(), "[a-f]{0,2}"), 0..400)
    ) {
        let mut shard = shard(usize::MAX);
        let mut model = Model::default();
        for (op, topic) in requests {
            prop_assert_eq!(apply(&mut shard, op, &topic), model.apply(op, &topic));
        }
        prop_assert_eq!(shard.topics(), model.0.len());
    }
}
