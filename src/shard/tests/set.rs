//! SET with a condition and GETDEL, with each durability: the condition, the change and the reply
//! are one step, also if the request waits for the store.

use super::*;

const ALWAYS: Condition = Condition::Always;
const IF_ABSENT: Condition = Condition::IfAbsent;
const IF_PRESENT: Condition = Condition::IfPresent;

const DURABILITIES: [Durability; 3] =
    [Durability::Memory, Durability::Monotonic, Durability::Exact];

const DURABLE: [Durability; 2] = [Durability::Monotonic, Durability::Exact];

const STORE: Reply = Reply::Error(ErrorCode::Store);

/// A shard whose requests are numbered, and the replies that came late.
struct Numbered {
    shard: super::super::Shard<usize>,
    next: usize,
}

impl Numbered {
    fn new(durability: Durability) -> Self {
        Self {
            shard: durable_shard(durability),
            next: 0,
        }
    }

    /// Applies `op` to topic `a`. Returns the reply, or `None` if the request waits.
    fn apply(&mut self, op: Op) -> Option<Reply> {
        let id = self.next;
        self.next += 1;
        self.shard.apply(request(op, "a"), || id)
    }

    /// Applies `op` to topic `a`, and lets the store do what it asks for until there is a reply.
    fn ask(&mut self, op: Op) -> Reply {
        self.apply(op).unwrap_or_else(|| {
            let replies = answer(&mut self.shard, true);
            assert_eq!(replies.len(), 1, "only {op:?} waits");
            replies[0].1
        })
    }

    /// Reports one round of changes as durable, or not. Returns the replies in order.
    fn report(&mut self, durable: bool) -> Vec<Reply> {
        let replies = answer(&mut self.shard, durable);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }
}

#[test]
fn conditions_are_met_as_in_redis_and_sums_never_go_down() {
    for durability in DURABILITIES {
        let mut shard = Numbered::new(durability);
        let steps = [
            (set(5, IF_PRESENT), Reply::Absent),
            (Op::GetDelete, Reply::Absent),
            (Op::Get, Reply::Get(None)),
            (set(5, IF_ABSENT), Reply::Created),
            (set(9, IF_ABSENT), Reply::Present(5)),
            (set(0, IF_ABSENT), Reply::Present(5)),
            (set(4, ALWAYS), Reply::SumIsHigher(5)),
            (set(4, IF_PRESENT), Reply::SumIsHigher(5)),
            (set(5, ALWAYS), Reply::Set(5)),
            (set(7, IF_PRESENT), Reply::Set(5)),
            (Op::Count, Reply::Count(8)),
            (set(0, ALWAYS), Reply::Set(8)),
            (Op::Count, Reply::Count(1)),
            (set(0, IF_PRESENT), Reply::Set(1)),
            (Op::GetDelete, Reply::Deleted(0)),
            (Op::Get, Reply::Get(None)),
            (set(0, IF_ABSENT), Reply::Created),
            (Op::Get, Reply::Get(Some(0))),
            (Op::Delete, Reply::Delete { existed: true }),
            (set(u64::MAX, ALWAYS), Reply::Created),
            (set(u64::MAX, IF_PRESENT), Reply::Set(u64::MAX)),
            (Op::GetDelete, Reply::Deleted(u64::MAX)),
            (Op::Count, Reply::Count(1)),
        ];
        for (i, (op, reply)) in steps.into_iter().enumerate() {
            assert_eq!(shard.ask(op), reply, "{durability}, step {i}: {op:?}");
        }
        assert_eq!((shard.shard.topics(), shard.shard.quota.taken()), (1, 1));
    }
}

/// The condition is decided before the topic is created, not again once it is.
#[test]
fn a_waiting_set_that_creates_the_topic_is_not_decided_again() {
    for durability in DURABLE {
        for (to, when) in [(5, IF_ABSENT), (5, ALWAYS), (0, IF_ABSENT), (0, ALWAYS)] {
            let mut shard = Numbered::new(durability);
            for op in [
                set(to, when),
                set(to + 1, IF_ABSENT),
                set(to, IF_PRESENT),
                Op::Get,
            ] {
                assert_eq!(shard.apply(op), None, "{op:?}");
            }
            let mut replies = shard.report(true);
            replies.extend(shard.report(true)); // a reset of its own, if `to` is 0
            let expected = [
                Reply::Created,
                Reply::Present(to),
                Reply::Set(to),
                Reply::Get(Some(to)),
            ];
            assert_eq!(replies, expected, "{durability}, to {to}");
        }
    }
}

/// A SET behind the COUNT that creates the topic finds it.
#[test]
fn a_set_behind_a_count_sees_the_topic_that_the_count_creates() {
    for durability in DURABLE {
        let mut shard = Numbered::new(durability);
        for op in [
            Op::Count,
            set(9, IF_ABSENT),
            set(20, IF_PRESENT),
            Op::Count,
            Op::GetDelete,
            Op::GetDelete,
            set(3, IF_PRESENT),
            set(3, IF_ABSENT),
            Op::Count,
        ] {
            assert_eq!(shard.apply(op), None, "{op:?}");
        }
        let replies: Vec<Reply> = (0..9).flat_map(|_| shard.report(true)).collect();
        let expected = [
            Reply::Count(1),
            Reply::Present(1),
            Reply::Set(1),
            Reply::Count(21),
            Reply::Deleted(21),
            Reply::Absent,
            Reply::Absent,
            Reply::Created,
            Reply::Count(4),
        ];
        assert_eq!(replies, expected, "{durability}");
    }
}

/// A raise covers the waiting requests that only add, up to the first SET.
#[test]
fn a_raise_for_counts_does_not_cover_the_set_behind_them() {
    let mut shard = Numbered::new(Durability::Exact);
    let ops = [Op::Count, Op::Count, Op::Count, set(100, ALWAYS), Op::Count];
    for op in ops {
        assert_eq!(shard.apply(op), None);
    }
    for sum in [3, 100, 101] {
        let (mut changes, mut replies) = (Vec::new(), Vec::new());
        shard.shard.fetch(&mut changes);
        assert_eq!(changes[0].after(), Some(Record::exact(sum)));
        shard.shard.answered(&changes, true, &mut replies);
    }
}

#[test]
fn a_failing_store_refuses_what_it_would_have_to_store_and_nothing_else() {
    for durability in DURABLE {
        // The topic does not exist.
        let mut shard = Numbered::new(durability);
        for op in [
            set(5, IF_ABSENT),
            Op::Get,
            set(6, IF_PRESENT),
            set(6, ALWAYS),
            Op::GetDelete,
        ] {
            assert_eq!(shard.apply(op), None, "{op:?}");
        }
        let expected = [STORE, Reply::Get(None), Reply::Absent, STORE, Reply::Absent];
        assert_eq!(shard.report(false), expected, "{durability}");
        assert_eq!((shard.shard.topics(), shard.shard.quota.taken()), (0, 0));
        assert_eq!(shard.apply(set(5, IF_ABSENT)), Some(STORE));
        assert_eq!(shard.shard.topics(), 0);

        // The topic exists, with a sum of 5.
        for op in [Op::GetDelete, set(0, ALWAYS)] {
            let mut shard = Numbered::new(durability);
            shard.ask(set(5, ALWAYS));
            let behind = [set(9, IF_ABSENT), set(4, ALWAYS), set(1_000, ALWAYS), op];
            for op in [op].into_iter().chain(behind) {
                assert_eq!(shard.apply(op), None, "{op:?}");
            }
            let expected = [
                STORE,
                Reply::Present(5),
                Reply::SumIsHigher(5),
                STORE,
                STORE,
            ];
            assert_eq!(shard.report(false), expected, "{durability}");
            assert_eq!(shard.apply(Op::Count), Some(STORE), "{durability}");
        }
    }
}

#[test]
fn a_set_that_creates_takes_room_and_one_that_does_not_takes_none() {
    for durability in DURABILITIES {
        let ceilings = Ceilings {
            durability,
            ticks: || 0,
        };
        let mut shard = super::super::Shard::new(TopicQuota::new(1), ceilings);
        let mut ask = |op, topic| {
            let reply = shard.apply(request(op, topic), || 1);
            let late = answer(&mut shard, true);
            reply
                .or(late.first().map(|&(_, reply)| reply))
                .expect("a reply")
        };
        let too_many = Reply::Error(ErrorCode::TooManyTopics);
        assert_eq!(ask(set(1, IF_PRESENT), "b"), Reply::Absent);
        assert_eq!(ask(set(1, IF_ABSENT), "a"), Reply::Created);
        assert_eq!(ask(set(1, IF_ABSENT), "a"), Reply::Present(1));
        assert_eq!(ask(set(2, IF_PRESENT), "a"), Reply::Set(1));
        for op in [set(0, ALWAYS), set(1, ALWAYS), set(1, IF_ABSENT)] {
            assert_eq!(ask(op, "b"), too_many, "{durability}: {op:?}");
        }
        assert_eq!(ask(Op::GetDelete, "a"), Reply::Deleted(2));
        assert_eq!(ask(set(1, IF_ABSENT), "b"), Reply::Created);
        assert_eq!(shard.quota.taken(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The requests of each topic are answered in order, as by the model, whichever of them have to
    /// wait.
    #[test]
    fn a_durable_shard_replies_like_the_model(
        exact: bool,
        steps in prop::collection::vec((any_op(), "[a-c]", 0..10u8), 0..300),
    ) {
        let durability = if exact { Durability::Exact } else { Durability::Monotonic };
        let mut shard = durable_shard(durability);
        let mut model = Model::default();
        let mut expected = Vec::new();
        let mut got: Vec<Option<Reply>> = Vec::new();
        let mut in_flight = Vec::new();
        for (id, (op, topic, then)) in steps.into_iter().enumerate() {
            expected.push(model.apply(op, &topic));
            got.push(shard.apply(request(op, &topic), || id));
            if then < 3 {
                shard.fetch(&mut in_flight);
            }
            if then < 2 {
                report(&mut shard, &mut in_flight, &mut got);
            }
        }
        while got.contains(&None) {
            shard.fetch(&mut in_flight);
            prop_assert!(!in_flight.is_empty(), "requests wait for nothing");
            report(&mut shard, &mut in_flight, &mut got);
        }
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        prop_assert_eq!(got, expected);
        // Changes that no request waits for may still be in flight.
        report(&mut shard, &mut in_flight, &mut Vec::new());
        prop_assert_eq!(shard.topics(), model.0.len());
    }
}

/// Reports the changes as durable, and stores the replies in `got`.
fn report(
    shard: &mut super::super::Shard<usize>,
    changes: &mut Vec<Change>,
    got: &mut [Option<Reply>],
) {
    let mut replies = Vec::new();
    shard.answered(changes, true, &mut replies);
    changes.clear();
    for (id, reply) in replies {
        assert_eq!(got[id], None, "a request has one reply");
        got[id] = Some(reply);
    }
}
