//! The power goes: a store that forgets what was not synced, at each boundary of a commit in turn. And
//! stores that lie, to see that the checker finds out.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use globalcounter::server::Config;
use globalcounter::shard::{Change, Durability};
use globalcounter::store::{Answer, MemoryStore, StoreError};

use crate::load::{self, DIALECTS};
use crate::rounds;
use crate::support::{Embedded, Random, ScriptedStore, SetOnDrop, config, eventually};
use crate::topics::{Skips, Topics};

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
    lie: Lie,
    at: u64,
    moment: Moment,
    commits: u64,
    unsynced: Vec<Change>,
    /// Once the power is gone: all that is there.
    kept: Arc<Mutex<Option<MemoryStore>>>,
}

impl PowerCut {
    fn commit(&mut self, store: &MemoryStore, changes: &[Change], answer: Answer) {
        self.commits += 1;
        let now = |moment| self.commits == self.at && self.moment == moment;
        let [before_sync, before_answer, after_answer] = MOMENTS.map(now);
        if before_sync {
            self.power_goes(store);
        }
        if self.is_gone() {
            return answer.give(Err(StoreError::Failed));
        }
        self.sync(store, changes);
        if before_answer {
            self.power_goes(store);
            return answer.give(Err(StoreError::Failed));
        }
        answer.give(Ok(()));
        if after_answer {
            // The clients hear of it, or of much of it.
            thread::sleep(Duration::from_millis(1));
            self.power_goes(store);
        }
    }

    fn power_goes(&self, store: &MemoryStore) {
        let mut kept = self.kept.lock().unwrap();
        kept.get_or_insert_with(|| store.copy());
    }

    fn is_gone(&self) -> bool {
        self.kept.lock().unwrap().is_some()
    }

    fn sync(&mut self, store: &MemoryStore, changes: &[Change]) {
        let changes = match self.lie {
            // Which also checks what is said of the records before.
            Lie::None => return store.apply(changes),
            Lie::AnswersBeforeSync => std::mem::replace(&mut self.unsynced, changes.to_vec()),
            Lie::KeepsLess => changes.iter().map(lowered).collect(),
        };
        store.apply_unchecked(&changes);
    }
}

fn lowered(change: &Change) -> Change {
    let after = change.after().map(|mut record| {
        record.ceiling = record.ceiling.saturating_sub(3).max(record.sum);
        record
    });
    Change::new(change.topic(), change.before(), after)
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
        let mut power_cut = PowerCut {
            lie,
            at: 1 + random.below(60),
            moment: MOMENTS[(round % 3) as usize],
            commits: 0,
            unsynced: Vec::new(),
            kept: Arc::clone(&kept),
        };
        let config = Config {
            durability,
            ..config(1 + random.below(4) as usize)
        };
        let power_cut = ScriptedStore::new(store.clone(), move |store, changes, answer| {
            power_cut.commit(store, &changes, answer);
        });
        let server = Embedded::with_store(config, Box::new(power_cut));
        let (tcp, udp) = (server.tcp, server.udp);
        for (number, sum) in load::sums(tcp, &topics).into_iter().enumerate() {
            topics.restarted(number, sum, skips);
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = SetOnDrop(&stop);
            for client in 0..6 {
                let seed = random.fork();
                let (topics, stop) = (&topics, &stop);
                let dialect = DIALECTS[client % 3];
                scope.spawn(move || load::run(dialect, (tcp, udp), topics, stop, seed));
            }
            eventually("the power goes, or something is broken", || {
                kept.lock().unwrap().is_some() || !topics.broken().is_empty()
            });
        });
        // It says that it has no clean end; or, where the power went after an answer, it may not know.
        let _ = server.stop_and_join();
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
