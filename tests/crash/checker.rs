//! What clients know of each topic, and whether the next reply contradicts it.
//!
//! While a RESET or DELETE is in flight, no client has another request for the topic in flight. So
//! it is always clear which requests came before it and which after. The one exception is a RESET
//! or DELETE that was in flight when the server ended: it may have been applied.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};

use globalcounter::protocol::{Op, Reply};

/// How many numbers a restart may skip, beside those of requests that were in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Skips {
    None,
    /// One and a half reserves. A reserve doubles only when half of it is used.
    Reserve,
}

pub(crate) struct Checker {
    topics: Vec<Topic>,
    violations: Mutex<Vec<String>>,
    replies: AtomicU64,
}

pub(crate) struct Topic {
    pub(crate) name: String,
    /// Clients hold it for writing during a RESET or DELETE, for reading during any other request.
    pub(crate) reset_lock: RwLock<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The greatest sum that was returned.
    greatest: u64,
    /// All numbers that were returned since the last answered RESET.
    returned: HashSet<u64>,
    /// The greatest number that can have been handed out: the sum at the server's start, or 0 after
    /// a RESET, plus all numbers requested since.
    bound: u64,
    /// How many numbers were requested since the server's start, answered or not; never less than
    /// the topic used.
    requested: u64,
    /// Whether a RESET or DELETE was sent and has no reply yet, so that it may have been applied.
    maybe_reset: bool,
}

impl Checker {
    pub(crate) fn new(topics: usize) -> Self {
        let topic = |n| Topic {
            // Some names are longer than what a table stores in its rows.
            name: format!("topic {n} {}", "long ".repeat(n % 7)),
            reset_lock: RwLock::new(()),
            known: Mutex::default(),
        };
        Self {
            topics: (0..topics).map(topic).collect(),
            violations: Mutex::default(),
            replies: AtomicU64::new(0),
        }
    }

    /// Returns the number of replies that were checked.
    pub(crate) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// Returns the number of topics.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn topic(&self, index: usize) -> &Topic {
        &self.topics[index]
    }

    /// Returns a description of each broken promise.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    fn report(&self, index: usize, known: &Known, what: &str) {
        let name = &self.topics[index].name;
        let Known {
            greatest,
            bound,
            requested,
            maybe_reset,
            ..
        } = known;
        self.violations.lock().unwrap().push(format!(
            "{what}, topic {name:?}: greatest sum {greatest}, at most {bound}, {requested} requested \
             since the start, maybe reset: {maybe_reset}"
        ));
    }

    fn known(&self, index: usize) -> MutexGuard<'_, Known> {
        self.topics[index].known.lock().unwrap()
    }

    /// Notes that a request is about to be sent. Returns the greatest sum known before it, which
    /// its reply must not contradict.
    pub(crate) fn sending(&self, index: usize, op: Op) -> u64 {
        let mut known = self.known(index);
        let n = match op {
            Op::Count => 1,
            Op::Add(n) => n.get().into(),
            Op::Advance(floor) => floor.saturating_sub(known.greatest),
            Op::Reset | Op::Delete => {
                known.maybe_reset = true;
                0
            }
            _ => 0,
        };
        known.bound += n;
        known.requested += n;
        known.greatest
    }

    /// Checks the reply to a request for which [`sending`](Self::sending) returned `before`.
    pub(crate) fn received(&self, index: usize, op: Op, before: u64, reply: Reply) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        let mut known = self.known(index);
        let fits = match (op, reply) {
            (Op::Reset, Reply::Reset) | (Op::Delete, Reply::Delete { .. }) => {
                let requested = known.requested;
                *known = Known {
                    requested,
                    ..Known::default()
                };
                return;
            }
            (Op::Count, Reply::Count(sum)) => known.accept(before, sum, 1),
            (Op::Add(n), Reply::Add(sum)) => known.accept(before, sum, n.get().into()),
            (Op::Get, Reply::Get(sum)) => sum.unwrap_or(0) >= before,
            (Op::Advance(floor), Reply::Advance(sum)) => {
                known.greatest = known.greatest.max(sum);
                sum >= floor && sum >= before && sum <= known.bound
            }
            _ => false,
        };
        if !fits {
            self.report(
                index,
                &known,
                &format!("{op:?} sent after sum {before} got {reply:?}"),
            );
        }
    }

    /// Checks the sum of a topic right after a server started, while no other request is in flight.
    /// Returns how many numbers were skipped.
    pub(crate) fn restarted(&self, index: usize, sum: u64, skips: Skips) -> u64 {
        let mut known = self.known(index);
        let allowed = match skips {
            Skips::None => 0,
            Skips::Reserve => 6 * known.requested + 3,
        };
        let skipped = sum.saturating_sub(known.bound);
        if sum < known.greatest {
            if known.maybe_reset {
                // It was applied, and numbers may have been handed out after it.
                known.returned.clear();
            } else {
                self.report(index, &known, &format!("gone back to {sum}"));
            }
        } else if skipped > allowed {
            self.report(index, &known, &format!("skipped to {sum}"));
        }
        let returned = std::mem::take(&mut known.returned);
        *known = Known {
            greatest: sum,
            returned,
            bound: sum,
            requested: 0,
            maybe_reset: false,
        };
        skipped
    }
}

impl Known {
    /// Notes that a request got the `n` numbers up to `sum`. Returns false if that is impossible or
    /// if one of them was returned before.
    fn accept(&mut self, before: u64, sum: u64, n: u64) -> bool {
        self.greatest = self.greatest.max(sum);
        if sum < n || sum > self.bound || sum < before + n {
            return false;
        }
        let mut new = true;
        for number in sum - n + 1..=sum {
            new &= self.returned.insert(number);
        }
        new
    }
}
