//! Tests with two workers on one thread. Inside the closure with which one worker runs a shard, the
//! other worker finds the shard taken.

use std::sync::atomic::Ordering;
use std::task::Waker;

use super::*;
use crate::access::{Access, Digest, Guard, Policy, Token, TokenLimits};
use crate::cluster::{Moment, RangeId};
use crate::protocol::framed::RequestId;
use crate::protocol::{ErrorCode, Op, Request};
use crate::server::cluster::Membership;
use crate::server::exchange::{NextCommit, ReplyFormat, TakenChanges, with_replies};
use crate::shard::{Ceilings, Durability, LoadId};
use crate::topic::{Shards, Topic};

const KEY: ConnectionKey = ConnectionKey {
    index: 7,
    serial: 42,
};

struct Worker {
    router: Router,
    requests: Requests,
    /// Every reply to its connection, in order.
    replies: Vec<(u32, Reply)>,
}

impl Worker {
    fn pair() -> (Arc<Shared>, Self, Self) {
        Self::pair_with(Ceilings::NONE)
    }

    fn pair_with(ceilings: Ceilings) -> (Arc<Shared>, Self, Self) {
        let shards = Shards::new(2).unwrap();
        let shared = Shared::new(shards, 1_000, ceilings);
        let shared = Arc::new(shared);
        let worker = |id| Self {
            router: Router::new(WorkerId(id), Arc::clone(&shared)),
            requests: Requests::new(shards),
            replies: Vec::new(),
        };
        (Arc::clone(&shared), worker(0), worker(1))
    }

    /// Submits one COUNT for each topic, with ids from `first` on.
    fn count(&mut self, first: u32, topics: &[&str], source: Source<'_>) {
        let bytes = topics.concat();
        let mut at = 0;
        for (id, topic) in (first..).zip(topics) {
            let request = Request {
                op: Op::Count,
                topic: Topic::new(topic.as_bytes(), 100).unwrap(),
            };
            let queued = Queued {
                op: request.op,
                topic: at,
                topic_len: topic.len() as u32,
                id: RequestId(id),
                datagram: 0,
            };
            at += topic.len() as u32;
            self.requests.push(&request, queued);
        }
        let replies = &mut self.replies;
        let submit = |outcome: Outcome<'_>| match outcome {
            Outcome::Applied(requests, known) => {
                let known = with_replies(requests, known);
                replies.extend(known.map(|(request, reply)| (request.id.0, reply)));
            }
            Outcome::Returned(batch) => record(batch, replies),
        };
        self.router
            .submit(&mut self.requests, bytes.as_bytes(), source, submit);
    }

    fn collect(&mut self) {
        self.router
            .collect(|batch| record(batch, &mut self.replies));
    }
}

fn record(batch: &Batch, replies: &mut Vec<(u32, Reply)>) {
    assert_eq!(batch.connection, Some(KEY));
    replies.extend(
        batch
            .replies()
            .map(|(request, reply)| (request.id.0, reply)),
    );
}

/// Runs `meanwhile` while `worker` has the shard of `topic`, then releases it as `submit` does.
fn while_taken(worker: &mut Worker, topic: &str, meanwhile: impl FnOnce()) {
    let topic = Topic::new(topic.as_bytes(), 100).unwrap();
    let id = worker.router.shared.shards().owner(topic);
    worker.router.while_taken(id, meanwhile);
}

fn counts(range: std::ops::RangeInclusive<u64>) -> Vec<(u32, Reply)> {
    range.map(|n| (n as u32, Reply::Count(n))).collect()
}

#[test]
fn a_free_shard_runs_at_once() {
    let (_, mut one, mut other) = Worker::pair();
    one.count(1, &["a", "b", "a"], Source::Connection(KEY));
    one.replies.sort_by_key(|&(id, _)| id);
    let expected = [
        (1, Reply::Count(1)),
        (2, Reply::Count(1)),
        (3, Reply::Count(2)),
    ];
    assert_eq!(one.replies, expected);
    other.count(1, &["a"], Source::Connection(KEY));
    assert_eq!(
        other.replies,
        [(1, Reply::Count(3))],
        "any worker reaches any shard"
    );
}

#[test]
fn a_batch_for_a_taken_shard_is_run_by_the_worker_that_has_it() {
    let (_, mut one, mut other) = Worker::pair();
    while_taken(&mut one, "a", || {
        other.count(1, &["a", "a"], Source::Connection(KEY));
        assert_eq!(
            other.replies,
            [],
            "nothing ran, and the worker did not wait"
        );
        other.count(3, &["a"], Source::Connection(KEY));
    });
    // Both batches are back before `other` runs anything on the shard.
    other.count(4, &["a"], Source::Connection(KEY));
    assert_eq!(other.replies, counts(1..=4));
}

/// What limits the topics of requests goes with them, also into a batch.
#[test]
fn a_maker_goes_with_its_requests() {
    let limits = TokenLimits {
        max_topics: Some(2),
        ..TokenLimits::default()
    };
    let token = Token {
        name: "maker".to_owned(),
        digest: Some(Digest::of_token(b"secret")),
        certificate: None,
        grant: Arc::default(),
        limits,
    };
    let guard = Guard::new(Policy::new(vec![token.clone()], Vec::new()));
    let mut access = Access::new(Arc::new(guard), [10, 0, 0, 1].into());
    access.accept(Arc::new(token));
    let (_, mut one, mut other) = Worker::pair();
    other.requests.set_maker(access.maker());
    while_taken(&mut one, "a", || {
        other.count(1, &["a", "a"], Source::Connection(KEY));
    });
    other.collect();
    other.count(3, &["b", "c", "a"], Source::Connection(KEY));
    other.replies.sort_by_key(|&(id, _)| id);
    let expected = [
        (1, Reply::Count(1)),
        (2, Reply::Count(2)),
        (3, Reply::Count(1)),
        (4, Reply::Error(ErrorCode::TooManyTopics)),
        (5, Reply::Count(3)),
    ];
    assert_eq!(other.replies, expected);
    one.count(6, &["c"], Source::Connection(KEY));
    assert_eq!(one.replies, [(6, Reply::Count(1))], "others have no limit");
}

/// A waker that records that it was called.
struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn only_a_sleeping_worker_is_woken() {
    for asleep in [false, true] {
        let (shared, mut one, mut other) = Worker::pair();
        let flag = Arc::new(Flag(false.into()));
        let mailbox = shared.mailbox(WorkerId(1));
        mailbox.set_waker(Some(Waker::from(Arc::clone(&flag))));
        let woken = || flag.0.load(Ordering::Relaxed);
        while_taken(&mut one, "a", || {
            other.count(1, &["a"], Source::Connection(KEY));
            if asleep {
                mailbox.before_sleep();
                assert!(!woken(), "it sleeps while its inbox is empty");
            }
        });
        assert_eq!(woken(), asleep);
        other.collect();
        assert_eq!(other.replies, counts(1..=1));
        mailbox.before_sleep();
        assert_eq!(woken(), asleep, "a worker with an empty inbox may sleep");
    }
}

#[test]
fn a_worker_does_not_fall_asleep_if_its_inbox_is_not_empty() {
    let (shared, mut one, mut other) = Worker::pair();
    let flag = Arc::new(Flag(false.into()));
    let mailbox = shared.mailbox(WorkerId(1));
    mailbox.set_waker(Some(Waker::from(Arc::clone(&flag))));
    while_taken(&mut one, "a", || {
        other.count(1, &["a"], Source::Connection(KEY));
    });
    mailbox.before_sleep();
    assert!(flag.0.load(Ordering::Relaxed));
}

#[test]
fn without_credit_a_worker_is_congested_until_a_batch_comes_back() {
    let (_, mut one, mut other) = Worker::pair();
    let credit = HAND_OVER_CREDIT as u32;
    while_taken(&mut one, "a", || {
        for id in 1..=credit {
            assert!(!other.router.congested());
            other.count(id, &["a"], Source::Connection(KEY));
        }
        // The last batch finds no credit and stays in the overflow.
        other.count(credit + 1, &["a"], Source::Connection(KEY));
        assert!(other.router.congested());
        other.collect();
        assert!(!other.router.has_deferred(), "it can only wait");
    });
    other.collect();
    assert!(other.router.has_deferred());
    other.router.run_deferred();
    assert!(!other.router.congested());
    other.collect();
    assert_eq!(other.replies, counts(1..=u64::from(credit) + 1));
}

#[test]
fn a_visit_ends_at_its_limit_and_the_rest_is_deferred() {
    // Seven workers push more batches into one channel than one visit runs.
    let shards = Shards::new(8).unwrap();
    let shared = Shared::new(shards, 1_000, Ceilings::NONE);
    let shared = Arc::new(shared);
    let mut workers: Vec<Worker> = (0..8)
        .map(|id| Worker {
            router: Router::new(WorkerId(id), Arc::clone(&shared)),
            requests: Requests::new(shards),
            replies: Vec::new(),
        })
        .collect();
    let (first, others) = workers.split_first_mut().unwrap();
    while_taken(first, "a", || {
        for id in 0..HAND_OVER_CREDIT as u32 {
            for other in &mut *others {
                other.count(id, &["a"], Source::Connection(KEY));
            }
        }
    });
    let count_returned = |others: &mut [Worker]| -> usize {
        others
            .iter_mut()
            .map(|other| {
                other.collect();
                other.replies.len()
            })
            .sum()
    };
    let pushed = others.len() * HAND_OVER_CREDIT;
    let ran = count_returned(others);
    assert!(ran < pushed, "one visit ran all {pushed}");
    assert!(first.router.has_deferred());
    while first.router.has_deferred() {
        first.router.run_deferred();
    }
    assert_eq!(count_returned(others), pushed);
    for other in others {
        assert!(other.replies.is_sorted_by_key(|&(id, _)| id));
    }
}

#[test]
fn datagrams_are_answered_by_the_worker_that_ran_them() {
    let (_, mut one, mut other) = Worker::pair();
    let mut datagrams = Datagrams::default();
    datagrams.begin_message(crate::server::net::sys::Peer::connected());
    datagrams.push(ReplyFormat::Classic);
    while_taken(&mut one, "a", || {
        other.count(1, &["a"], Source::Datagrams(&datagrams));
    });
    assert!(other.router.take_datagrams().is_none());
    let batch = one.router.take_datagrams().expect("the batch ran here");
    let replies: Vec<_> = batch.replies().map(|(_, reply)| reply).collect();
    assert_eq!(replies, [Reply::Count(1)]);
    assert_eq!(batch.datagrams.len(), 1);

    let id = batch.shard.index();
    assert_eq!(other.router.credit[id], HAND_OVER_CREDIT - 1);
    one.router.return_to_sender(batch);
    other.collect();
    assert_eq!(other.router.credit[id], HAND_OVER_CREDIT);
    assert_eq!(other.replies, [], "its own worker has nothing to answer");
}

#[test]
fn a_refusal_is_returned_like_any_reply() {
    let shards = Shards::ONE;
    let shared = Shared::new(shards, 1, Ceilings::NONE);
    let mut only = Worker {
        router: Router::new(WorkerId(0), Arc::new(shared)),
        requests: Requests::new(shards),
        replies: Vec::new(),
    };
    only.count(1, &["a", "b", "a"], Source::Connection(KEY));
    let refused = Reply::Error(ErrorCode::TooManyTopics);
    assert_eq!(
        only.replies,
        [(1, Reply::Count(1)), (2, refused), (3, Reply::Count(2))]
    );
}

const EXACT: Ceilings = Ceilings {
    durability: Durability::Exact,
    ticks: || 0,
};

/// Takes the changes of the next commit, which is due, and returns the sums that they store.
fn stored_sums(shared: &Shared) -> Vec<u64> {
    let (mut changes, mut shards) = (Vec::new(), Vec::new());
    let mut taken = TakenChanges::default();
    let next =
        shared
            .change_queue()
            .next_commit(&mut taken, 1_000, &mut changes, &mut shards, None);
    assert_eq!(next, NextCommit::Due);
    let records = changes.iter().filter_map(Change::after);
    records.map(|record| record.sum).collect()
}

#[test]
fn the_requests_of_a_turn_wait_for_one_commit() {
    let (shared, mut one, _) = Worker::pair_with(EXACT);
    for id in 1..=3 {
        one.count(id, &["a"], Source::Connection(KEY));
        assert!(one.router.has_deferred());
    }
    one.router.run_deferred();
    assert!(!one.router.has_deferred());
    assert_eq!(stored_sums(&shared), [3]);
}

#[test]
fn changes_that_many_requests_wait_for_are_pushed_at_once() {
    let (shared, mut one, _) = Worker::pair_with(EXACT);
    one.count(1, &["a"; PUSH_AT], Source::Connection(KEY));
    assert!(!one.router.has_deferred());
    assert_eq!(stored_sums(&shared), [PUSH_AT as u64]);
}

#[test]
fn changes_left_in_a_shard_that_is_taken_are_pushed_by_the_worker_that_has_it() {
    let (shared, mut one, mut other) = Worker::pair_with(EXACT);
    other.count(1, &["a", "a"], Source::Connection(KEY));
    while_taken(&mut one, "a", || {
        other.router.run_deferred();
        assert!(!other.router.has_deferred());
    });
    assert_eq!(stored_sums(&shared), [2]);
}

/// Makes both shards part of a cluster with one range, and returns what it counts.
fn join(shared: &Shared) -> Arc<Membership> {
    let membership = Membership::for_tests(shared.shards(), 1);
    let never = Moment::new(std::time::Duration::from_nanos(u64::MAX));
    membership.deadline.set(never);
    let membership = Arc::new(membership);
    shared.join(Arc::clone(&membership));
    membership
}

#[test]
fn requests_for_other_nodes_are_outside_of_the_shards_until_they_are_back() {
    let (shared, mut first, mut second) = Worker::pair();
    let membership = join(&shared);
    let range = RangeId::new(0, 1).unwrap();
    first.count(0, &["a", "a"], Source::Connection(KEY));
    while_taken(&mut second, "a", || {
        first.count(2, &["a"], Source::Connection(KEY));
    });
    assert!(!membership.outside.is_empty(range));
    first.router.collect(|_| {});
    let mut elsewhere = first.router.take_elsewhere();
    let ids = |elsewhere: &[Parked<Origin>]| -> Vec<u32> {
        elsewhere.iter().map(|parked| parked.waiter.id.0).collect()
    };
    assert_eq!(ids(&elsewhere), [0, 1, 2]);
    let load = LoadId::NONE.next();
    for shard in shared.shards().ids() {
        shared.with_idle(shard, |shard| shard.begin_load(range, load));
    }

    // One is answered by another node, and the others come back while a later one is held already.
    membership.outside.of_worker(ShardId::new(0)).done(range);
    elsewhere.remove(0);
    first.count(3, &["a"], Source::Connection(KEY));
    assert!(!membership.outside.is_empty(range));
    first.router.resubmit(elsewhere);
    assert!(membership.outside.is_empty(range));
    let mut served = Vec::new();
    for shard in shared.shards().ids() {
        shared.with_idle(shard, |shard| shard.serve_range(range, load, &mut served));
    }
    let served: Vec<_> = served
        .iter()
        .map(|(origin, reply)| (origin.id.0, *reply))
        .collect();
    let sums = [1, 2, 3].map(Reply::Count);
    assert_eq!(served, [(1, sums[0]), (2, sums[1]), (3, sums[2])]);
}

#[test]
fn a_request_that_comes_back_and_is_for_another_node_again_stays_outside() {
    let (shared, mut first, _second) = Worker::pair();
    let membership = join(&shared);
    let range = RangeId::new(0, 1).unwrap();
    first.count(0, &["a"], Source::Connection(KEY));
    for _ in 0..3 {
        let elsewhere = first.router.take_elsewhere();
        assert_eq!(elsewhere.len(), 1);
        first.router.resubmit(elsewhere);
        first.router.collect(|_| {});
        assert!(!membership.outside.is_empty(range));
    }
}
