//! The power goes: a store that forgets what was not synced, at each boundary of a commit in turn. And
//! stores that lie, to see that the checker finds out.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use globalcounter::server::{Config, Server};
use globalcounter::shard::{Change, Durability};
use globalcounter::store::{Answer, Changes, LastEnd, MemoryStore, Store, StoreError, Stored};
use globalcounter::topic::{Shards, Topic};

use crate::load::{self, DIALECTS};
use crate::topics::{Skips, Topics};
use crate::{Random, rounds};

const TOPICS: usize = 48;

/// When the power goes, within a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Written, not synced: all of it is forgotten.
    BeforeSync,
    /// Durable, but nobody heard.
    BeforeAnswer,
    /// Everybody heard.
    AfterAnswer,
}

const MOMENTS: [Moment; 3] = [
    Moment::BeforeSync,
    Moment::BeforeAnswer,
    Moment::AfterAnswer,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// It says that a commit is durable, and syncs it with the next one.
    AnswersBeforeSync,
    /// It keeps lower ceilings than it says.
    KeepsLess,
}

/// A store on a machine whose power goes in commit `at`; `kept` is what the next one finds.
struct PowerCut {
    store: MemoryStore,
    lie: Lie,
    at: u64,
    moment: Moment,
    commits: u64,
    unsynced: Vec<Change>,
    /// Once the power is gone: all that is there.
    kept: Arc<Mutex<Option<MemoryStore>>>,
}

impl PowerCut {
    fn power_goes(&mut self) {
        let mut kept = self.kept.lock().unwrap();
        kept.get_or_insert_with(|| self.store.copy());
    }

    fn is_gone(&self) -> bool {
        self.kept.lock().unwrap().is_some()
    }

    fn sync(&mut self, changes: &[Change]) {
        let changes = match self.lie {
            // Which also checks what is said of the records before.
            Lie::None => return self.store.apply(changes),
            Lie::AnswersBeforeSync => std::mem::replace(&mut self.unsynced, changes.to_vec()),
            Lie::KeepsLess => changes.iter().map(lowered).collect(),
        };
        self.store.apply_unchecked(&changes);
    }
}

fn lowered(change: &Change) -> Change {
    let after = change.after().map(|mut record| {
        record.ceiling = record.ceiling.saturating_sub(3).max(record.sum);
        record
    });
    Change::new(change.topic(), change.before(), after)
}

impl Store for PowerCut {
    fn last_end(&self) -> LastEnd {
        self.store.last_end()
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        self.store.load(points, found)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin()
    }

    fn commit(&mut self, changes: Changes, answer: Answer) {
        self.commits += 1;
        let now = |moment| self.commits == self.at && self.moment == moment;
        let [before_sync, before_answer, after_answer] = MOMENTS.map(now);
        if before_sync {
            self.power_goes();
        }
        if self.is_gone() {
            return answer.give(Err(StoreError::Failed));
        }
        self.sync(&changes);
        if before_answer {
            self.power_goes();
            return answer.give(Err(StoreError::Failed));
        }
        answer.give(Ok(()));
        if after_answer {
            // The clients hear of it, or of much of it.
            thread::sleep(Duration::from_millis(1));
            self.power_goes();
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.finish()
    }
}

/// Rounds of load, each until the power goes. Returns what was broken.
fn cut(durability: Durability, lie: Lie, mut random: Random, rounds: u64) -> Vec<String> {
    let topics = Topics::new(TOPICS);
    let mut store = MemoryStore::new();
    let skips = match durability {
        Durability::Exact => Skips::None,
        _ => Skips::Reserve,
    };
    for round in 0..rounds {
        let kept = Arc::new(Mutex::new(None));
        let power_cut = PowerCut {
            store: store.clone(),
            lie,
            at: 1 + random.below(60),
            moment: MOMENTS[(round % 3) as usize],
            commits: 0,
            unsynced: Vec::new(),
            kept: Arc::clone(&kept),
        };
        let config = Config {
            tcp: Some(([127, 0, 0, 1], 0).into()),
            udp: Some(([127, 0, 0, 1], 0).into()),
            shards: Shards::new(1 + random.below(4) as usize).unwrap(),
            durability,
            ..Config::default()
        };
        let server = Server::bind_to(config, Box::new(power_cut)).unwrap();
        let (tcp, udp) = (server.tcp_addr().unwrap(), server.udp_addr().unwrap());
        let stop_server = server.stop_handle();
        let serving = thread::spawn(move || server.run());
        for (number, sum) in load::sums(tcp, &topics).into_iter().enumerate() {
            topics.restarted(number, sum, skips);
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for client in 0..6 {
                let seed = Random(random.next());
                let (topics, stop) = (&topics, &stop);
                let dialect = DIALECTS[client % 3];
                scope.spawn(move || load::run(dialect, (tcp, udp), topics, stop, seed));
            }
            while kept.lock().unwrap().is_none() && topics.broken().is_empty() {
                thread::sleep(Duration::from_micros(200));
            }
            stop.store(true, Ordering::Relaxed);
        });
        stop_server.stop();
        // It says that it has no clean end; or, where the power went after an answer, it may not know.
        let _ = serving.join().unwrap();
        let broken = topics.broken();
        if !broken.is_empty() {
            return broken;
        }
        store = kept.lock().unwrap().take().unwrap();
    }
    Vec::new()
}

#[test]
fn what_was_answered_outlives_the_power() {
    let random = Random::seeded(20_261_127);
    let broken = cut(Durability::Monotonic, Lie::None, random, rounds(45));
    assert_eq!(broken, [""; 0]);
}

#[test]
fn exact_sums_outlive_the_power() {
    let random = Random::seeded(20_261_128);
    let broken = cut(Durability::Exact, Lie::None, random, rounds(45));
    assert_eq!(broken, [""; 0]);
}

#[test]
fn a_store_that_answers_before_it_syncs_is_caught() {
    for durability in [Durability::Monotonic, Durability::Exact] {
        let random = Random::seeded(20_261_129);
        let broken = cut(
            durability,
            Lie::AnswersBeforeSync,
            random,
            rounds(60).max(60),
        );
        assert!(!broken.is_empty(), "{durability}: not noticed");
    }
}

/// As a server that hands out sums above its ceilings: the store knows of fewer than it does.
#[test]
fn sums_above_the_ceiling_are_caught() {
    let random = Random::seeded(20_261_130);
    let broken = cut(
        Durability::Monotonic,
        Lie::KeepsLess,
        random,
        rounds(60).max(60),
    );
    assert!(!broken.is_empty(), "not noticed");
}
