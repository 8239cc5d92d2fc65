//! Ranges that move between the shards of two nodes, step by step, while requests come.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::super::*;
use crate::cluster::RangeId;
use crate::random::Random;

type Shard = super::super::Shard<usize>;

/// All topics are in one range.
const RANGE: RangeId = match RangeId::new(0, 1) {
    Some(range) => range,
    None => unreachable!(),
};

const TOPICS: [&str; 3] = ["a", "b", "c"];

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name.as_bytes(), 10).expect("a topic")
}

fn count(name: &str) -> Request<'_> {
    let topic = topic(name);
    Request {
        op: Op::Count,
        topic,
    }
}

fn node(durability: Durability) -> Shard {
    let ceilings = Ceilings {
        durability,
        ticks: || 0,
    };
    let mut shard = Shard::new(TopicQuota::new(100), ceilings);
    shard.join(1);
    shard
}

/// Loads the range with these topics, and serves it.
fn load(shard: &mut Shard, id: LoadId, topics: &[(&str, u64)]) -> Vec<(usize, Reply)> {
    let topics: Vec<_> = topics
        .iter()
        .map(|&(name, sum)| (topic(name), sum))
        .collect();
    let mut replies = Vec::new();
    shard.begin_load(RANGE, id);
    shard.restore_range(RANGE, id, &topics);
    shard.serve_range(RANGE, id, &mut replies);
    replies
}

/// Walks through all topics. Returns what it did.
fn sweep(shard: &mut Shard, replies: &mut Vec<(usize, Reply)>) -> Swept {
    let mut swept = Swept::default();
    let mut from = Some(Position::START);
    while let Some(position) = from {
        from = shard.sweep(position, &mut swept, replies);
    }
    swept
}

fn fetch(shard: &mut Shard) -> Vec<Change> {
    let mut changes = Vec::new();
    shard.fetch(&mut changes);
    changes
}

/// Returns the waiters of the requests for other nodes.
fn elsewhere(shard: &mut Shard) -> Vec<usize> {
    let mut taken = Vec::new();
    shard.take_elsewhere(&mut taken);
    taken.into_iter().map(|parked| parked.waiter).collect()
}

#[test]
fn a_request_waits_while_its_range_is_loaded_and_continues_above_the_ceiling() {
    let mut shard = node(Durability::Monotonic);
    assert_eq!(shard.apply(count("a"), || 1), None);
    assert_eq!(elsewhere(&mut shard), [1]);
    let id = LoadId::NONE.next();
    shard.begin_load(RANGE, id);
    for waiter in 2..5 {
        assert_eq!(shard.apply(count("a"), || waiter), None);
    }
    assert_eq!(shard.counts().held(), 3);
    shard.restore_range(RANGE, LoadId::NONE, &[(topic("a"), 1_000)]);
    shard.restore_range(RANGE, id, &[(topic("a"), 40)]);
    // Nothing overtakes those that came before the topic was restored.
    assert_eq!(shard.apply(count("a"), || 5), None);
    let get = Request {
        op: Op::Get,
        topic: topic("a"),
    };
    assert_eq!(shard.apply(get, || 6), None);
    assert!(fetch(&mut shard).is_empty());
    let mut replies = Vec::new();
    shard.serve_range(RANGE, LoadId::NONE, &mut replies);
    shard.serve_range(RANGE, id, &mut replies);
    assert_eq!(replies, [], "the ceiling has to be raised first");
    assert_eq!(shard.counts().held(), 0);
    let changes = fetch(&mut shard);
    assert!(changes.iter().all(|change| change.load() == id));
    shard.answered(&changes, true, &mut replies);
    let sums = (2..6).map(|waiter| (waiter, Reply::Count(39 + waiter as u64)));
    let all = sums.chain([(6, Reply::Get(Some(44)))]);
    assert!(replies.into_iter().eq(all));
    assert!(elsewhere(&mut shard).is_empty());
}

#[test]
fn a_range_leaves_with_exact_sums_and_what_came_too_late_goes_elsewhere_in_order() {
    let mut shard = node(Durability::Monotonic);
    let id = LoadId::NONE.next();
    load(&mut shard, id, &[("a", 10), ("b", 20)]);
    let mut replies = Vec::new();
    for waiter in 1..=3 {
        assert_eq!(shard.apply(count("a"), || waiter), None);
    }
    let changes = fetch(&mut shard);
    shard.freeze_range(RANGE, id);
    let swept = sweep(&mut shard, &mut replies);
    assert_eq!(swept.exact, [], "b is exact, and a's ceiling is on its way");
    assert_eq!(swept.left.len(), 1);
    // Nothing is applied in a topic that is about to leave, nor in one that has left.
    for (waiter, name) in [(4, "a"), (5, "b"), (6, "c"), (7, "a")] {
        assert_eq!(shard.apply(count(name), || waiter), None);
    }
    shard.answered(&changes, true, &mut replies);
    assert_eq!(
        replies,
        [
            (1, Reply::Count(11)),
            (2, Reply::Count(12)),
            (3, Reply::Count(13))
        ]
    );
    let swept = sweep(&mut shard, &mut replies);
    assert!(swept.left.is_empty());
    assert_eq!(shard.topics(), 0);
    for change in &swept.exact {
        assert_eq!(change.after(), Some(Record::exact(13)));
    }
    assert_eq!(shard.counts().held(), 4);
    shard.begin_drop(RANGE);
    assert_eq!(shard.counts().held(), 0);
    assert_eq!(elsewhere(&mut shard), [4, 5, 6, 7]);
    shard.end_drop(RANGE);
    assert_eq!(replies.len(), 3);
}

#[test]
fn a_topic_that_was_about_to_leave_holds_nothing_while_its_range_is_dropped() {
    let mut shard = node(Durability::Monotonic);
    let id = LoadId::NONE.next();
    load(&mut shard, id, &[("a", 10)]);
    let mut replies = Vec::new();
    assert_eq!(shard.apply(count("a"), || 1), None);
    fetch(&mut shard);
    shard.freeze_range(RANGE, id);
    sweep(&mut shard, &mut replies);
    assert_eq!(shard.apply(count("a"), || 2), None);
    shard.begin_drop(RANGE);
    // Its row is still here.
    assert_eq!(shard.apply(count("a"), || 3), None);
    assert_eq!(shard.counts().held(), 0);
    assert_eq!(elsewhere(&mut shard), [2, 3]);
    sweep(&mut shard, &mut replies);
    assert_eq!(replies, [(1, Reply::Error(ErrorCode::Unknown))]);
}

#[test]
fn a_range_that_is_dropped_answers_what_waits_and_forgets_its_sums() {
    let mut shard = node(Durability::Exact);
    let first = LoadId::NONE.next();
    load(&mut shard, first, &[("a", 10)]);
    assert_eq!(shard.apply(count("a"), || 1), None);
    let failed = fetch(&mut shard);
    let mut replies = Vec::new();
    shard.fail_range(RANGE, first);
    shard.answered(&failed, true, &mut replies);
    assert_eq!(replies, [], "no result counts after a failure");
    assert_eq!(shard.apply(count("b"), || 3), None);
    let late = fetch(&mut shard);
    shard.begin_drop(RANGE);
    sweep(&mut shard, &mut replies);
    shard.end_drop(RANGE);
    replies.sort_unstable_by_key(|&(waiter, _)| waiter);
    let unknown = Reply::Error(ErrorCode::Unknown);
    assert_eq!(replies, [(1, unknown), (3, unknown)]);
    // Others counted meanwhile.
    let second = first.next();
    load(&mut shard, second, &[("a", 50)]);
    assert_eq!(shard.apply(count("a"), || 2), None);
    let changes = fetch(&mut shard);
    shard.answered(&late, true, &mut replies);
    assert_eq!(
        replies.len(),
        2,
        "a result of the earlier load concerns nobody"
    );
    shard.answered(&changes, true, &mut replies);
    assert_eq!(replies[2], (2, Reply::Count(51)));
}

#[test]
fn a_request_does_not_wait_for_ever() {
    let mut shard = node(Durability::Monotonic);
    shard.begin_load(RANGE, LoadId::NONE.next());
    let before = Instant::now();
    assert_eq!(shard.apply(count("a"), || 1), None);
    let mut replies = Vec::new();
    shard.expire_held(before, &mut replies);
    assert_eq!(replies, []);
    shard.expire_held(Instant::now(), &mut replies);
    assert_eq!(replies, [(1, Reply::Error(ErrorCode::Unavailable))]);
    assert_eq!(shard.counts().held(), 0);
    shard.drop_all_ranges(&mut replies);
    assert_eq!((elsewhere(&mut shard), replies.len()), (vec![], 1));
}

/// Two nodes, and a store that guards commits as etcd does.
struct World {
    random: Random,
    nodes: [Shard; 2],
    /// Changes that were fetched from each node, in order.
    commits: [VecDeque<Vec<Change>>; 2],
    stored: HashMap<String, u64>,
    /// Who owns the range, and under which load.
    owner: Option<(usize, LoadId)>,
    last_load: LoadId,
    moving: Moving,
    requests: Vec<Asked>,
    /// The largest number that was answered, of each topic.
    answered: [u64; TOPICS.len()],
    all: Vec<(usize, u64)>,
    may_skip: bool,
}

/// How far the owner is in giving the range away.
enum Moving {
    No,
    Freezing,
    Dropping,
}

struct Asked {
    topic: usize,
    /// The largest number that was answered before.
    floor: u64,
    done: bool,
}

impl World {
    fn new(seed: u64, durability: Durability) -> Self {
        Self {
            random: Random::new(seed),
            nodes: [node(durability), node(durability)],
            commits: Default::default(),
            stored: HashMap::new(),
            owner: None,
            last_load: LoadId::NONE,
            moving: Moving::No,
            requests: Vec::new(),
            answered: [0; TOPICS.len()],
            all: Vec::new(),
            may_skip: false,
        }
    }

    fn reply(&mut self, id: usize, reply: Reply) {
        let Asked { topic, floor, done } = &mut self.requests[id];
        assert!(!*done, "request {id} was answered twice");
        *done = true;
        if let Reply::Count(sum) = reply {
            assert!(
                sum > *floor,
                "{} went back: {floor} -> {sum}",
                TOPICS[*topic]
            );
            self.all.push((*topic, sum));
            self.answered[*topic] = self.answered[*topic].max(sum);
        }
    }

    fn replies(&mut self, replies: Vec<(usize, Reply)>) {
        for (id, reply) in replies {
            self.reply(id, reply);
        }
        // What is for the other node goes there.
        for from in 0..2 {
            let mut parked = Vec::new();
            self.nodes[from].take_elsewhere(&mut parked);
            for parked in parked {
                match self.owner {
                    Some((owner, _)) if owner != from => {
                        let mut replies = Vec::new();
                        self.nodes[owner].apply_parked(parked, &mut replies);
                        self.replies(replies);
                    }
                    _ => self.reply(parked.waiter, Reply::Error(ErrorCode::Unavailable)),
                }
            }
        }
    }

    fn ask(&mut self) {
        let at = self.random.below(2) as usize;
        let topic = self.random.below(TOPICS.len() as u64) as usize;
        let id = self.requests.len();
        self.requests.push(Asked {
            topic,
            floor: self.answered[topic],
            done: false,
        });
        let reply = self.nodes[at].apply(count(TOPICS[topic]), || id);
        self.replies(reply.map(|reply| (id, reply)).into_iter().collect());
    }

    fn fetch(&mut self) {
        for at in 0..2 {
            let changes = fetch(&mut self.nodes[at]);
            if !changes.is_empty() {
                self.commits[at].push_back(changes);
            }
        }
    }

    fn write(&mut self, change: &Change) {
        let name = change.topic().as_str().to_owned();
        self.stored
            .insert(name, change.after().expect("no deletes").ceiling);
    }

    /// The oldest commit of a node is applied or refused; its answer may be lost.
    fn commit(&mut self) {
        let at = self.random.below(2) as usize;
        let Some(changes) = self.commits[at].pop_front() else {
            return;
        };
        let current = self.owner.filter(|&(owner, _)| owner == at);
        let Some((_, load)) = current.filter(|&(_, load)| changes[0].load() == load) else {
            return;
        };
        changes.iter().for_each(|change| self.write(change));
        if self.random.below(20) == 0 {
            self.may_skip = true;
            self.nodes[at].fail_range(RANGE, load);
            self.lose();
            return;
        }
        let mut replies = Vec::new();
        self.nodes[at].answered(&changes, true, &mut replies);
        self.replies(replies);
    }

    /// The owner loses the range with all that it knows.
    fn lose(&mut self) {
        let Some((owner, _)) = self.owner.take() else {
            return;
        };
        self.may_skip = true;
        self.moving = Moving::No;
        let mut replies = Vec::new();
        if self.random.below(2) == 0 {
            self.nodes[owner].drop_all_ranges(&mut replies);
        } else {
            self.nodes[owner].begin_drop(RANGE);
            sweep(&mut self.nodes[owner], &mut replies);
            self.nodes[owner].end_drop(RANGE);
        }
        self.replies(replies);
    }

    fn take_over(&mut self) {
        if self.owner.is_some() {
            return;
        }
        let owner = self.random.below(2) as usize;
        self.last_load = self.last_load.next();
        self.owner = Some((owner, self.last_load));
        let stored = self.stored.clone();
        let topics: Vec<_> = stored.iter().map(|(name, sum)| (&**name, *sum)).collect();
        let replies = load(&mut self.nodes[owner], self.last_load, &topics);
        self.replies(replies);
    }

    /// Makes the next step of giving the range to the other node.
    fn give_away(&mut self) {
        let Some((owner, load)) = self.owner else {
            return;
        };
        let mut replies = Vec::new();
        match self.moving {
            Moving::No => {
                self.nodes[owner].freeze_range(RANGE, load);
                self.moving = Moving::Freezing;
            }
            Moving::Freezing => {
                let swept = sweep(&mut self.nodes[owner], &mut replies);
                swept.exact.iter().for_each(|change| self.write(change));
                if swept.left.is_empty() {
                    self.moving = Moving::Dropping;
                }
            }
            Moving::Dropping => {
                self.nodes[owner].begin_drop(RANGE);
                sweep(&mut self.nodes[owner], &mut replies);
                self.nodes[owner].end_drop(RANGE);
                self.moving = Moving::No;
                self.owner = None;
                self.replies(replies);
                return self.take_over();
            }
        }
        self.replies(replies);
    }
}

/// No number is returned twice and none goes back, whatever happens; without losses none is skipped.
#[test]
fn one_order_while_ranges_move() {
    let mut counted = 0;
    for seed in 0..400 {
        let durability = [Durability::Monotonic, Durability::Exact][seed as usize % 2];
        let mut world = World::new(seed, durability);
        let faults = seed % 4 < 2;
        for _ in 0..400 {
            match world.random.below(20) {
                0..10 => world.ask(),
                10..13 => world.fetch(),
                13..16 if faults || world.commits.iter().any(|commits| !commits.is_empty()) => {
                    world.commit();
                }
                16..18 => world.give_away(),
                18 => world.take_over(),
                19 if faults && world.random.below(10) == 0 => world.lose(),
                _ => {}
            }
        }
        let mut numbers = std::mem::take(&mut world.all);
        numbers.sort_unstable();
        for pair in numbers.windows(2) {
            assert_ne!(pair[0], pair[1], "seed {seed}: a number was returned twice");
            let gap = pair[0].0 == pair[1].0 && pair[0].1 + 1 < pair[1].1;
            assert!(
                !gap || world.may_skip,
                "seed {seed}: {pair:?} skips numbers"
            );
        }
        counted += numbers.len();
    }
    assert!(counted > 400 * 50, "hardly anything was counted: {counted}");
}
