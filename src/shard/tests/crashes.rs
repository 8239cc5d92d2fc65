//! Simulates shards over a store that loses everything not synced in a power cut: seeded, on one
//! thread, with a crash possible at every boundary. A model checks every reply against the
//! promises. Tests with faulty shards and stores prove that the model notices broken promises.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::random::Random;
use crate::shard::topic_state::IGNORE_CEILINGS;
use crate::store::{MemoryStore, Store};
use crate::topic::Shards;

const TOPICS: [&str; 6] = ["a", "b", "hot", "hotter", "seldom", ""];

thread_local! {
    static TICK: Cell<u32> = const { Cell::new(0) };
}

/// A fault that is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The shard hands out sums above the ceiling.
    NoCeilingCheck,
    /// The store reports changes as durable before they are.
    ReportsBeforeSync,
}

/// What clients have seen of a topic.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// The greatest sum that was returned, or 0 after the reply to a RESET or DELETE.
    sum: u64,
    /// How many numbers the next sum may skip at most after a crash; `None` if there was no crash
    /// since `sum` was returned.
    skips: Option<u64>,
    /// Whether a RESET or DELETE was waiting in a crash: then it may be done or not.
    perhaps_reset: bool,
    /// Numbers handed out since the last start.
    counted: u64,
    /// Whether the topic exists; `None` if it may or may not, after a crash.
    exists: Option<bool>,
}

impl Seen {
    /// A topic with a sum of 0 that exists, or not.
    fn of(exists: bool) -> Self {
        Self {
            exists: Some(exists),
            ..Self::default()
        }
    }
}

/// A sequence of servers on one store.
struct World {
    random: Random,
    durability: Durability,
    fault: Fault,
    store: MemoryStore,
    shards: Vec<super::super::Shard<u64>>,
    ids: Shards,
    /// Changes that were fetched from a shard (by its number) and are not synced yet.
    fetched: VecDeque<(usize, Vec<Change>)>,
    /// Changes that are synced and whose result was not reported yet.
    synced: VecDeque<(usize, Vec<Change>)>,
    /// The waiting requests, in the order in which they were made.
    waiting: BTreeMap<u64, (usize, Op)>,
    next: u64,
    seen: Vec<Seen>,
}

/// A description of a broken promise.
type Broken = String;

impl World {
    fn new(seed: u64, durability: Durability, fault: Fault) -> Self {
        IGNORE_CEILINGS.set(fault == Fault::NoCeilingCheck);
        let mut world = Self {
            random: Random::new(seed),
            durability,
            fault,
            store: MemoryStore::new(),
            shards: Vec::new(),
            ids: Shards::ONE,
            fetched: VecDeque::new(),
            synced: VecDeque::new(),
            waiting: BTreeMap::new(),
            next: 0,
            seen: vec![Seen::of(false); TOPICS.len()],
        };
        world.start();
        world
    }

    /// Starts a server with a random number of shards, which loads the store.
    fn start(&mut self) {
        self.ids = Shards::new(1 + self.random.below(8) as usize).expect("1 to 8");
        let quota = TopicQuota::new(100);
        let ceilings = Ceilings {
            durability: self.durability,
            ticks: || TICK.get(),
        };
        self.shards.clear();
        for id in self.ids.ids() {
            let mut shard = super::super::Shard::new(quota.clone(), ceilings);
            let load = self.store.load(self.ids.points(id), &mut |topic, stored| {
                shard.restore(topic, stored.sum);
            });
            load.expect("it is in memory");
            self.shards.push(shard);
        }
        self.store.begin().expect("it is in memory");
    }

    fn run(&mut self, steps: u64) -> Result<(), Broken> {
        for _ in 0..steps {
            match self.random.below(1_000) {
                0..600 => self.ask()?,
                600..760 => self.fetch_changes(),
                760..880 => self.sync(),
                880..970 => self.report()?,
                970..985 => TICK.set(TICK.get() + self.random.below(4) as u32),
                985..997 => self.crash(),
                _ => self.restart()?,
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Broken> {
        // Some topics are counted more often.
        let topic = (self.random.below(6) * self.random.below(6) / 5) as usize;
        let op = match self.random.below(40) {
            0 => Op::Reset,
            1 => Op::Delete,
            2 => Op::Advance(self.seen[topic].sum + self.random.below(50)),
            3 => Op::GetDelete,
            4..6 => {
                let conditions = [Condition::Always, Condition::IfAbsent, Condition::IfPresent];
                let to = match self.random.below(4) {
                    0 => 0,
                    1 => self.random.below(10),
                    _ => self.seen[topic].sum + self.random.below(50),
                };
                set(to, conditions[self.random.below(3) as usize])
            }
            6..8 => Op::Get,
            8..14 => add(1 + self.random.below(20) as u32),
            _ => Op::Count,
        };
        let id = self.next;
        self.next += 1;
        let request = Request {
            op,
            topic: Topic::new(TOPICS[topic].as_bytes(), 10).expect("a topic"),
        };
        let shard = &mut self.shards[self.ids.owner(request.topic).index()];
        match shard.apply(request, || id) {
            Some(reply) => self.check(topic, op, reply),
            None => {
                self.waiting.insert(id, (topic, op));
                Ok(())
            }
        }
    }

    fn fetch_changes(&mut self) {
        for (number, shard) in self.shards.iter_mut().enumerate() {
            let mut changes = Vec::new();
            if shard.fetch(&mut changes).is_some() {
                self.fetched.push_back((number, changes));
            }
        }
    }

    fn sync(&mut self) {
        if let Some((number, changes)) = self.fetched.pop_front() {
            if self.fault != Fault::ReportsBeforeSync {
                self.store.apply(&changes);
            }
            self.synced.push_back((number, changes));
        }
    }

    /// Reports the result of the oldest synced changes to their shard.
    fn report(&mut self) -> Result<(), Broken> {
        let Some((number, changes)) = self.synced.pop_front() else {
            return Ok(());
        };
        let mut replies = Vec::new();
        self.shards[number].answered(&changes, true, &mut replies);
        for (id, reply) in replies {
            let (topic, op) = self.waiting.remove(&id).expect("the request waits");
            self.check(topic, op, reply)?;
        }
        if self.fault == Fault::ReportsBeforeSync {
            self.sync_late_or_never(&changes);
        }
        Ok(())
    }

    fn sync_late_or_never(&mut self, changes: &[Change]) {
        if self.random.below(4) > 0 {
            self.store.apply_unchecked(changes);
        }
    }

    /// Cuts the power, then starts the next server.
    fn crash(&mut self) {
        for (topic, seen) in self.seen.iter_mut().enumerate() {
            let waiting = self.waiting.values().filter(|(of, _)| *of == topic);
            let mut numbers = 0;
            for (_, op) in waiting {
                match op {
                    Op::Count => numbers += 1,
                    Op::Add(n) => numbers += u64::from(n.get()),
                    Op::Advance(floor) => numbers += floor.saturating_sub(seen.sum),
                    Op::Set { to: 0, .. } | Op::Reset | Op::Delete | Op::GetDelete => {
                        seen.perhaps_reset = true;
                    }
                    Op::Set { to, .. } => numbers += to.saturating_sub(seen.sum),
                    _ => continue,
                }
                seen.exists = None;
            }
            // At least half of a reserve is used before it doubles, and one and a half may be left.
            let reserve = match self.durability {
                Durability::Exact => 0,
                _ => 6 * (seen.counted + numbers) + 3,
            };
            seen.skips = Some(seen.skips.unwrap_or(0) + numbers + reserve);
            seen.counted = 0;
        }
        self.waiting.clear();
        self.fetched.clear();
        self.synced.clear();
        self.start();
    }

    /// Shuts the server down cleanly, then starts the next one.
    fn restart(&mut self) -> Result<(), Broken> {
        loop {
            self.fetch_changes();
            if self.fetched.is_empty() && self.synced.is_empty() {
                break;
            }
            self.sync();
            self.report()?;
        }
        if !self.waiting.is_empty() {
            return Err(format!("requests without a reply: {:?}", self.waiting));
        }
        for shard in &self.shards {
            let mut changes = Vec::new();
            assert!(shard.settle(|change| changes.push(change)));
            match self.fault {
                Fault::None => self.store.apply(&changes),
                _ => self.store.apply_unchecked(&changes),
            }
        }
        self.store.finish().expect("it is in memory");
        self.start();
        Ok(())
    }

    /// Checks a reply against what clients have seen before. The replies of a topic arrive in the
    /// order of its requests.
    fn check(&mut self, topic: usize, op: Op, reply: Reply) -> Result<(), Broken> {
        let seen = &mut self.seen[topic];
        let before = seen.clone();
        let broken = |what: &str| {
            let topic = TOPICS[topic];
            Err(format!(
                "{what}: {op:?} of {topic:?} got {reply:?} after {before:?}"
            ))
        };
        match (op, reply) {
            (Op::Count | Op::Add(_), Reply::Count(sum) | Reply::Add(sum)) => {
                let n = match op {
                    Op::Add(n) => n.get().into(),
                    _ => 1,
                };
                let goes_on = sum >= seen.sum + n;
                if !goes_on && !seen.perhaps_reset {
                    return broken("a sum was repeated or went back");
                }
                let skipped = (sum - n).saturating_sub(seen.sum);
                if skipped > seen.skips.unwrap_or(0) {
                    return broken("too many numbers were skipped");
                }
                *seen = Seen {
                    sum,
                    counted: before.counted + n,
                    ..Seen::of(true)
                };
            }
            (Op::Get, Reply::Get(found)) => {
                let sum = found.unwrap_or(0);
                if before
                    .exists
                    .is_some_and(|exists| exists != found.is_some())
                {
                    return broken("the topic came or went");
                }
                if sum < seen.sum && !seen.perhaps_reset {
                    return broken("the sum went back");
                }
                if sum - seen.sum.min(sum) > seen.skips.unwrap_or(0) {
                    return broken("too many numbers were skipped");
                }
                *seen = Seen {
                    sum,
                    counted: before.counted,
                    ..Seen::of(found.is_some())
                };
            }
            (
                Op::Set { .. } | Op::GetDelete,
                Reply::Set(sum)
                | Reply::Present(sum)
                | Reply::SumIsHigher(sum)
                | Reply::Deleted(sum),
            ) => {
                self.check(topic, Op::Get, Reply::Get(Some(sum)))?;
                self.check_set(topic, op, reply)?;
            }
            (Op::Set { .. }, Reply::Created) | (Op::Set { .. } | Op::GetDelete, Reply::Absent) => {
                self.check(topic, Op::Get, Reply::Get(None))?;
                self.check_set(topic, op, reply)?;
            }
            (Op::Advance(floor), Reply::Advance(sum)) => {
                if sum < floor || sum < seen.sum && !seen.perhaps_reset {
                    return broken("the sum went back");
                }
                *seen = Seen {
                    sum,
                    counted: before.counted + (sum - before.sum.min(sum)),
                    ..Seen::of(true)
                };
            }
            (Op::Reset, Reply::Reset) | (Op::Delete, Reply::Delete { .. }) => {
                *seen = Seen {
                    counted: before.counted,
                    ..Seen::of(op == Op::Reset)
                };
            }
            _ => return broken("unexpected reply"),
        }
        Ok(())
    }
}

impl World {
    /// Checks that a reply to SET or GETDEL is the one for the topic as it was found, and notes the
    /// change.
    fn check_set(&mut self, topic: usize, op: Op, reply: Reply) -> Result<(), Broken> {
        let seen = &mut self.seen[topic];
        let fits = match (op, reply) {
            (Op::GetDelete, Reply::Deleted(_) | Reply::Absent) => true,
            (Op::Set { when, .. }, Reply::Present(_)) => when == Condition::IfAbsent,
            (Op::Set { when, .. }, Reply::Absent) => when == Condition::IfPresent,
            (Op::Set { when, .. }, Reply::Created) => when != Condition::IfPresent,
            (Op::Set { to, when }, Reply::Set(sum)) => {
                when != Condition::IfAbsent && (to == 0 || to >= sum)
            }
            (Op::Set { to, when }, Reply::SumIsHigher(sum)) => {
                when != Condition::IfAbsent && (1..sum).contains(&to)
            }
            _ => false,
        };
        if !fits {
            return Err(format!(
                "unexpected reply: {op:?} got {reply:?} after {seen:?}"
            ));
        }
        match (op, reply) {
            (_, Reply::Deleted(_)) => {
                *seen = Seen {
                    counted: seen.counted,
                    ..Seen::of(false)
                };
            }
            (Op::Set { to, .. }, Reply::Set(_) | Reply::Created) => {
                *seen = Seen {
                    sum: to,
                    counted: seen.counted + to.saturating_sub(seen.sum),
                    ..Seen::of(true)
                };
            }
            _ => {}
        }
        Ok(())
    }
}

/// Runs worlds with this many seeds. Returns the first seed that breaks a promise, and how.
fn first_broken(seeds: u64, durability: Durability, fault: Fault) -> Option<(u64, Broken)> {
    let base = match std::env::var("GLOBALCOUNTER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => 0,
    };
    println!("{seeds} seeds from GLOBALCOUNTER_TEST_SEED={base} on");
    (base..base + seeds).find_map(|seed| {
        let broken = World::new(seed, durability, fault).run(3_000).err()?;
        Some((seed, broken))
    })
}

#[test]
fn no_crash_makes_a_topic_go_back_or_skip_more_than_its_reserve() {
    assert_eq!(first_broken(300, Durability::Monotonic, Fault::None), None);
}

#[test]
fn exact_sums_skip_only_waiting_requests() {
    assert_eq!(first_broken(300, Durability::Exact, Fault::None), None);
}

#[test]
fn a_shard_that_ignores_ceilings_is_noticed() {
    let broken = first_broken(20, Durability::Monotonic, Fault::NoCeilingCheck);
    let (_, broken) = broken.expect("the model notices sums above the ceiling");
    assert!(
        broken.contains("a sum was repeated or went back"),
        "{broken}"
    );
}

#[test]
fn a_store_that_reports_before_it_syncs_is_noticed() {
    for durability in [Durability::Monotonic, Durability::Exact] {
        let broken = first_broken(20, durability, Fault::ReportsBeforeSync);
        let (_, broken) = broken.expect("the model notices the early report");
        assert!(
            broken.contains("went back") || broken.contains("unexpected reply"),
            "{broken}"
        );
    }
}
