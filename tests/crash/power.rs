//! Power cuts: a store that loses changes which were not synced, cut at each boundary of a commit
//! in turn. Faulty stores show that the checker finds broken promises.

use std::sync::{Arc, Mutex};

use globalcounter::server::Config;
use globalcounter::shard::{Change, Durability};
use globalcounter::store::{Completion, MemoryStore, StoreError};

use crate::checker::{Checker, Skips};
use crate::load;
use crate::rounds;
use crate::support::{Embedded, Random, ScriptedStore, config, eventually};

const TOPICS: usize = 48;

/// The moment of the power cut within a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The commit is written but not synced: all of it is lost.
    BeforeSync,
    /// The commit is durable, but the server was not told.
    BeforeAnswer,
    /// The commit is durable and the server was told.
    AfterAnswer,
}

const MOMENTS: [Moment; 3] = [
    Moment::BeforeSync,
    Moment::BeforeAnswer,
    Moment::AfterAnswer,
];

/// What is wrong with the store on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It reports a commit as durable, and syncs it with the next one.
    AnswersBeforeSync,
    /// It stores lower ceilings than it reports.
    StoresLowerCeilings,
}

/// A power cut in commit `at`. `survived` receives a copy of what the store holds at that moment,
/// which the next server starts from.
struct PowerCut {
    fault: Fault,
    at: u64,
    moment: Moment,
    commits: u64,
    unsynced: Vec<Change>,
    survived: Arc<Mutex<Option<MemoryStore>>>,
}

impl PowerCut {
    fn commit(&mut self, store: &MemoryStore, changes: &[Change], completion: Completion) {
        self.commits += 1;
        let now = |moment| self.commits == self.at && self.moment == moment;
        let [before_sync, before_answer, after_answer] = MOMENTS.map(now);
        if before_sync {
            self.cut(store);
        }
        if self.is_cut() {
            return completion.report(Err(StoreError::Failed));
        }
        self.sync(store, changes);
        if before_answer {
            self.cut(store);
            return completion.report(Err(StoreError::Failed));
        }
        completion.report(Ok(()));
        if after_answer {
            // The server still sends the replies, and clients still check them.
            self.cut(store);
        }
    }

    fn cut(&self, store: &MemoryStore) {
        let mut survived = self.survived.lock().unwrap();
        survived.get_or_insert_with(|| store.copy());
    }

    fn is_cut(&self) -> bool {
        self.survived.lock().unwrap().is_some()
    }

    fn sync(&mut self, store: &MemoryStore, changes: &[Change]) {
        let changes = match self.fault {
            // This also checks what the changes say of the records before them.
            Fault::None => return store.apply(changes),
            Fault::AnswersBeforeSync => std::mem::replace(&mut self.unsynced, changes.to_vec()),
            Fault::StoresLowerCeilings => changes.iter().map(lowered).collect(),
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

/// Runs rounds of load, each until the power is cut. Returns the violations of the first round that
/// has any.
fn power_cut_rounds(
    durability: Durability,
    fault: Fault,
    mut random: Random,
    rounds: u64,
) -> Vec<String> {
    let checker = Checker::new(TOPICS);
    let mut store = MemoryStore::new();
    let skips = match durability {
        Durability::Exact => Skips::None,
        _ => Skips::Reserve,
    };
    for round in 0..rounds {
        let survived = Arc::new(Mutex::new(None));
        let mut power_cut = PowerCut {
            fault,
            at: 1 + random.below(60),
            moment: MOMENTS[(round % 3) as usize],
            commits: 0,
            unsynced: Vec::new(),
            survived: Arc::clone(&survived),
        };
        let config = Config {
            durability,
            ..config(1 + random.below(4) as usize)
        };
        let power_cut = ScriptedStore::new(store.clone(), move |store, changes, completion| {
            power_cut.commit(store, &changes, completion);
        });
        let server = Embedded::with_store(config, Box::new(power_cut));
        let (tcp, udp) = (server.tcp, server.udp);
        load::check_restarted(tcp, &checker, skips);
        load::with_clients((tcp, udp), &checker, &mut random, |_| {
            eventually("the power is cut or a promise is broken", || {
                survived.lock().unwrap().is_some() || !checker.violations().is_empty()
            });
        });
        // The server reports that it could not end cleanly. If the power was cut after an answer,
        // it may not have noticed.
        let _ = server.stop_and_join();
        let violations = checker.violations();
        if !violations.is_empty() {
            return violations;
        }
        store = survived.lock().unwrap().take().unwrap();
    }
    Vec::new()
}

#[test]
fn answered_requests_survive_a_power_cut() {
    let random = Random::seeded(20_261_127);
    let violations = power_cut_rounds(Durability::Monotonic, Fault::None, random, rounds(45));
    assert_eq!(violations, [""; 0]);
}

#[test]
fn exact_sums_survive_a_power_cut() {
    let random = Random::seeded(20_261_128);
    let violations = power_cut_rounds(Durability::Exact, Fault::None, random, rounds(45));
    assert_eq!(violations, [""; 0]);
}

#[test]
fn the_checker_finds_a_store_that_answers_before_it_syncs() {
    for durability in [Durability::Monotonic, Durability::Exact] {
        let random = Random::seeded(20_261_129);
        let rounds = rounds(60).max(60);
        let violations = power_cut_rounds(durability, Fault::AnswersBeforeSync, random, rounds);
        assert!(!violations.is_empty(), "{durability}: nothing was found");
    }
}

/// A store that holds lower ceilings than the server believes looks like a server that hands out
/// sums above its ceilings.
#[test]
fn the_checker_finds_sums_above_the_ceiling() {
    let random = Random::seeded(20_261_130);
    let (durability, rounds) = (Durability::Monotonic, rounds(60).max(60));
    let violations = power_cut_rounds(durability, Fault::StoresLowerCeilings, random, rounds);
    assert!(!violations.is_empty(), "nothing was found");
}
