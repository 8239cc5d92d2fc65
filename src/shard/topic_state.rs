//! A topic with all that may be known of it: its ceiling, what is under way to the store, and the
//! requests that wait, in order. The rules of durable order are here.

use std::collections::VecDeque;

use super::change::Record;
use super::counter::{CompactState, Counter};
use super::durability::{Durability, Ticks};
use super::reserve::Reserve;
use crate::protocol::{ErrorCode, Op, Reply, resp};

#[cfg(test)]
thread_local! {
    /// Whether sums are handed out whatever the ceiling: for tests of tests.
    pub(super) static IGNORE_CEILINGS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// One topic. `W` says where a reply goes that comes later.
#[derive(Debug)]
pub(super) struct TopicState<W> {
    sum: u64,
    /// What the store knows: no sum above it is handed out.
    ceiling: u64,
    /// Whether there is such a topic. One whose first change is not durable yet is none.
    exists: bool,
    reserve: Reserve,
    pending: Option<PendingChange>,
    /// How many numbers may be handed out before anything must be looked at, as in a word.
    left: u64,
    /// Requests that can't be served yet, with what they wait behind. Only with something asked.
    waiting: VecDeque<(Op, W)>,
}

/// What the store was asked to make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingChange {
    /// A higher ceiling.
    Raise,
    /// Ceiling and sum of 0.
    Reset,
    /// That there is no such topic.
    Delete,
}

/// How an state is kept from now on.
#[derive(Debug)]
pub(super) enum Placement {
    /// In the table's word.
    InTable(Counter),
    /// It does not fit there.
    InLedger,
    /// Not at all.
    Gone,
}

impl<W> TopicState<W> {
    /// Of a topic that there is not.
    pub(super) fn new(tick: u32) -> Self {
        Self {
            sum: 0,
            ceiling: 0,
            exists: false,
            reserve: Reserve::first(tick),
            pending: None,
            left: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Of a topic whose state was in the word.
    pub(super) fn from_compact(compact: CompactState, durability: Durability) -> Self {
        let CompactState {
            sum,
            ceiling,
            reserve,
            raise_pending,
        } = compact;
        let in_memory = durability == Durability::Memory;
        Self {
            sum,
            ceiling: if in_memory { u64::MAX } else { ceiling },
            exists: true,
            reserve,
            pending: (raise_pending && !in_memory).then_some(PendingChange::Raise),
            left: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Of a topic that the store has.
    pub(super) fn restored(sum: u64) -> Self {
        Self {
            sum,
            ceiling: sum,
            exists: true,
            ..Self::new(0)
        }
    }

    /// What the store knows of it; `None` where it knows nothing.
    pub(super) fn stored_ceiling(&self) -> Option<u64> {
        self.exists.then_some(self.ceiling)
    }

    /// The last sum handed out.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Adds `n` (at least 1), where as many are left and the sum comes to no more than `most`.
    pub(super) fn take(&mut self, n: u64, max_sum: u64) -> Option<u64> {
        let sum = self.sum.checked_add(n).filter(|&sum| sum <= max_sum)?;
        self.left = self.left.checked_sub(n)?;
        self.sum = sum;
        Some(sum)
    }

    /// Serves one request, unless it has to wait: for a store, or for those that do.
    pub(super) fn serve(&mut self, op: Op, durability: Durability) -> Option<Reply> {
        if !self.waiting.is_empty() {
            return None;
        }
        self.serve_now(op, durability)
    }

    /// Has a request wait behind all that do.
    pub(super) fn add_waiting(&mut self, op: Op, waiter: W) {
        self.waiting.push_back((op, waiter));
    }

    /// The same where nothing waits before it.
    fn serve_now(&mut self, op: Op, durability: Durability) -> Option<Reply> {
        if durability == Durability::Memory {
            self.ceiling = u64::MAX;
        }
        let volatile = durability == Durability::Memory;
        Some(match op {
            Op::Get => Reply::Get(self.exists.then_some(self.sum)),
            Op::Count | Op::Add(_) | Op::Incr(_) => match checked_sum(self.sum, op) {
                Ok(sum) if !self.may_hand_out(sum) => return None,
                Ok(sum) => {
                    self.exists = true;
                    self.sum = sum;
                    sum_reply(op, sum)
                }
                Err(error) => Reply::Error(error),
            },
            Op::Advance(floor) if volatile || self.exists && floor <= self.ceiling => {
                self.exists = true;
                self.sum = self.sum.max(floor);
                Reply::Advance(self.sum)
            }
            Op::Reset if volatile || self.exists && self.ceiling == 0 && self.pending.is_none() => {
                self.exists = true;
                self.sum = 0;
                Reply::Reset
            }
            Op::Delete if volatile || !self.exists => {
                let existed = std::mem::take(&mut self.exists);
                self.sum = 0;
                Reply::Delete { existed }
            }
            Op::Advance(_) | Op::Reset | Op::Delete => return None,
        })
    }

    fn may_hand_out(&mut self, sum: u64) -> bool {
        #[cfg(test)]
        if IGNORE_CEILINGS.get() {
            self.ceiling = self.ceiling.max(sum);
        }
        sum <= self.ceiling
    }

    /// What to ask the store for, where that is due; it is under way then. Something that waits is,
    /// and where no more than half of the reserve is left.
    pub(super) fn request_change(
        &mut self,
        durability: Durability,
        ticks: Ticks,
    ) -> Option<Option<Record>> {
        if self.pending.is_some() || durability == Durability::Memory {
            return None;
        }
        // What the topic's sum is now, or is once those are served that wait; and what is wanted ahead
        // of.
        let (sum, needed) = match self.waiting.front() {
            None if self.is_reserve_low() => (self.sum, self.ceiling),
            None => return None,
            Some((Op::Reset, _)) => {
                self.pending = Some(PendingChange::Reset);
                return Some(Some(Record::exact(0)));
            }
            Some((Op::Delete, _)) => {
                self.pending = Some(PendingChange::Delete);
                return Some(None);
            }
            Some(&(op, _)) => {
                let needed = match op {
                    Op::Advance(floor) => floor.max(self.sum),
                    _ => self.sum_after_waiting(),
                };
                (needed, needed)
            }
        };
        self.pending = Some(PendingChange::Raise);
        let ahead = match durability {
            Durability::Exact => 0,
            _ => {
                if self.exists {
                    self.reserve = self.reserve.for_raise_at(ticks());
                }
                self.reserve.ahead()
            }
        };
        Some(Some(Record {
            ceiling: needed.saturating_add(ahead).max(self.ceiling),
            sum,
        }))
    }

    /// Whether no more than half of the reserve is left. A topic without a reserve asks only for
    /// what it needs.
    fn is_reserve_low(&self) -> bool {
        let half = self.reserve.half();
        half > 0 && self.ceiling - self.sum <= half && self.ceiling < u64::MAX
    }

    /// The sum after all that wait to add to it, up to the first request for something else.
    fn sum_after_waiting(&self) -> u64 {
        let mut sum = self.sum;
        for &(op, _) in &self.waiting {
            match op {
                Op::Count | Op::Add(_) | Op::Incr(_) => sum = checked_sum(sum, op).unwrap_or(sum),
                Op::Get => {}
                Op::Reset | Op::Delete | Op::Advance(_) => break,
            }
        }
        sum
    }

    /// What was asked for is durable: `after` is what the store has now. Serves those that waited for
    /// it, in order.
    pub(super) fn change_committed(
        &mut self,
        after: Option<Record>,
        durability: Durability,
        replies: &mut Vec<(W, Reply)>,
    ) {
        let pending = self.pending.take();
        match (pending, after) {
            (Some(PendingChange::Raise), Some(Record { ceiling, .. })) => {
                self.exists = true;
                self.ceiling = ceiling;
            }
            (Some(PendingChange::Reset), Some(_)) => {
                let reserve = Reserve::first(self.reserve.tick().into());
                let waiting = std::mem::take(&mut self.waiting);
                *self = Self {
                    exists: true,
                    reserve,
                    waiting,
                    ..Self::new(0)
                };
                self.reply_to_first(Reply::Reset, replies);
            }
            (Some(PendingChange::Delete), None) => {
                let existed = self.exists;
                let waiting = std::mem::take(&mut self.waiting);
                *self = Self {
                    waiting,
                    ..Self::new(self.reserve.tick().into())
                };
                self.reply_to_first(Reply::Delete { existed }, replies);
            }
            _ => unreachable!("the store answers what it was asked"),
        }
        while let Some(&(op, _)) = self.waiting.front() {
            let Some(reply) = self.serve_now(op, durability) else {
                return;
            };
            self.reply_to_first(reply, replies);
        }
    }

    /// The store failed: nothing that is asked for becomes durable any more. Refuses what waited for
    /// it; what needs no store is served.
    pub(super) fn change_failed(&mut self, durability: Durability, replies: &mut Vec<(W, Reply)>) {
        if let Some(PendingChange::Reset | PendingChange::Delete) = self.pending.take() {
            // It may be durable all the same: then a number that is handed out now could be handed
            // out again.
            self.ceiling = self.sum;
        }
        while let Some(&(op, _)) = self.waiting.front() {
            let served = self.serve_now(op, durability);
            self.reply_to_first(served.unwrap_or(Reply::Error(ErrorCode::Store)), replies);
        }
    }

    /// Answers the first that waits.
    fn reply_to_first(&mut self, reply: Reply, replies: &mut Vec<(W, Reply)>) {
        if let Some((_, waiter)) = self.waiting.pop_front() {
            replies.push((waiter, reply));
        }
    }

    /// How it is kept. `ends`: the store failed, so there is nothing left to ask for.
    pub(super) fn placement(&mut self, durability: Durability, store_failed: bool) -> Placement {
        self.left = 0;
        if !self.waiting.is_empty() {
            return Placement::InLedger;
        }
        match self.pending {
            Some(PendingChange::Reset | PendingChange::Delete) => return Placement::InLedger,
            None if !self.exists => return Placement::Gone,
            None | Some(PendingChange::Raise) => {}
        }
        if !self.exists {
            return Placement::InLedger;
        }
        let compact = CompactState {
            sum: self.sum,
            ceiling: self.ceiling,
            reserve: self.reserve,
            raise_pending: store_failed || self.pending.is_some(),
        };
        let counter = match durability {
            Durability::Memory => Counter::unbounded(self.sum),
            _ => Counter::pack(compact),
        };
        if let Some(counter) = counter {
            return Placement::InTable(counter);
        }
        self.left = compact.left().unwrap_or(0);
        Placement::InLedger
    }
}

/// How much `op` adds to a sum, and what that may come to at most; `None` where it does something else.
#[inline]
pub(super) fn addend(op: Op) -> Option<(u64, u64)> {
    match op {
        Op::Count => Some((1, u64::MAX)),
        Op::Add(n) => Some((n.get().into(), u64::MAX)),
        Op::Incr(n) => Some((n.get(), resp::MAX_SUM)),
        Op::Get | Op::Reset | Op::Advance(_) | Op::Delete => None,
    }
}

/// What is said to `op`, which added to a sum that is `sum` now.
#[inline]
pub(super) fn sum_reply(op: Op, sum: u64) -> Reply {
    match op {
        Op::Count => Reply::Count(sum),
        _ => Reply::Add(sum),
    }
}

/// What a sum is after `op`.
fn checked_sum(sum: u64, op: Op) -> Result<u64, ErrorCode> {
    let (n, max_sum) = addend(op).unwrap_or((0, u64::MAX));
    let raised = sum.checked_add(n).filter(|&sum| sum <= max_sum);
    raised.ok_or(ErrorCode::Overflow)
}
