//! What clients know of each topic, and whether the next reply fits to it.
//!
//! A RESET or DELETE is made while no other request of its client program is under way for the topic,
//! so what belongs before it and what after is never in doubt: but for one that was under way when
//! the server ended, which may have been done.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};

use globalcounter::protocol::{Op, Reply};

/// How many numbers a crash may skip, beside those of requests that were under way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Skips {
    None,
    /// One and a half reserves, and a reserve doubles only when half of it is used.
    Reserve,
}

pub(crate) struct Topics {
    topics: Vec<Topic>,
    broken: Mutex<Vec<String>>,
    replies: AtomicU64,
}

pub(crate) struct Topic {
    pub(crate) name: String,
    /// Held for reading by those who count, for writing by who resets.
    pub(crate) turn: RwLock<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The greatest sum that was returned.
    greatest: u64,
    /// All sums that were returned since the last answered RESET, each for a COUNT or the last of
    /// an ADD, with how many it took.
    taken: HashSet<u64>,
    /// No more can have been handed out than so many: where the topic was when the server started,
    /// and what was asked for since.
    bound: u64,
    /// What was asked for since the start, answered or not, and never less than what was used.
    asked: u64,
    /// Whether a RESET or DELETE got no answer.
    perhaps_reset: bool,
}

impl Topics {
    pub(crate) fn new(count: usize) -> Self {
        let topic = |n| Topic {
            // Some longer than what a table keeps in its rows.
            name: format!("topic {n} {}", "long ".repeat(n % 7)),
            turn: RwLock::new(()),
            known: Mutex::default(),
        };
        Self {
            topics: (0..count).map(topic).collect(),
            broken: Mutex::default(),
            replies: AtomicU64::new(0),
        }
    }

    /// How many replies were checked.
    pub(crate) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn at(&self, number: usize) -> &Topic {
        &self.topics[number]
    }

    /// What was found broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().unwrap().clone()
    }

    fn report(&self, number: usize, known: &Known, what: &str) {
        let name = &self.topics[number].name;
        let Known {
            greatest,
            bound,
            asked,
            perhaps_reset,
            ..
        } = known;
        self.broken.lock().unwrap().push(format!(
            "{what}, topic {name:?}: greatest sum {greatest}, at most {bound}, {asked} asked for \
             since the start, perhaps reset: {perhaps_reset}"
        ));
    }

    fn known(&self, number: usize) -> MutexGuard<'_, Known> {
        self.topics[number].known.lock().unwrap()
    }

    /// A request is about to be sent; returns what its reply has to be above.
    pub(crate) fn asks(&self, number: usize, op: Op) -> u64 {
        let mut known = self.known(number);
        let n = match op {
            Op::Count => 1,
            Op::Add(n) => n.get().into(),
            Op::Advance(floor) => floor.saturating_sub(known.greatest),
            Op::Reset | Op::Delete => {
                known.perhaps_reset = true;
                0
            }
            _ => 0,
        };
        known.bound += n;
        known.asked += n;
        known.greatest
    }

    /// Its reply came.
    pub(crate) fn answered(&self, number: usize, op: Op, above: u64, reply: Reply) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        let mut known = self.known(number);
        let fits = match (op, reply) {
            (Op::Reset, Reply::Reset) | (Op::Delete, Reply::Delete { .. }) => {
                let asked = known.asked;
                *known = Known {
                    asked,
                    ..Known::default()
                };
                return;
            }
            (Op::Count, Reply::Count(sum)) => known.takes(above, sum, 1),
            (Op::Add(n), Reply::Add(sum)) => known.takes(above, sum, n.get().into()),
            (Op::Get, Reply::Get(sum)) => sum.unwrap_or(0) >= above,
            (Op::Advance(floor), Reply::Advance(sum)) => {
                known.greatest = known.greatest.max(sum);
                sum >= floor && sum >= above && sum <= known.bound
            }
            _ => false,
        };
        if !fits {
            self.report(
                number,
                &known,
                &format!("{op:?} above {above} got {reply:?}"),
            );
        }
    }

    /// A server started, and said in reply to GET where the topic is. No other request is under way.
    pub(crate) fn restarted(&self, number: usize, sum: u64, skips: Skips) -> u64 {
        let mut known = self.known(number);
        let allowed = match skips {
            Skips::None => 0,
            Skips::Reserve => 6 * known.asked + 3,
        };
        let skipped = sum.saturating_sub(known.bound);
        if sum < known.greatest {
            if known.perhaps_reset {
                // It was done, and something may have been counted since.
                known.taken.clear();
            } else {
                self.report(number, &known, &format!("gone back to {sum}"));
            }
        } else if skipped > allowed {
            self.report(number, &known, &format!("skipped to {sum}"));
        }
        let taken = std::mem::take(&mut known.taken);
        *known = Known {
            greatest: sum,
            taken,
            bound: sum,
            asked: 0,
            perhaps_reset: false,
        };
        skipped
    }
}

impl Known {
    /// Notes that a request got the last `n` numbers up to `sum`; false where that can't be.
    fn takes(&mut self, above: u64, sum: u64, n: u64) -> bool {
        self.greatest = self.greatest.max(sum);
        if sum < n || sum > self.bound || sum < above + n {
            return false;
        }
        let mut new = true;
        for number in sum - n + 1..=sum {
            new &= self.taken.insert(number);
        }
        new
    }
}
