//! The full state of a topic: its sum and ceiling, the change in flight to the store, and the
//! waiting requests, in order. The rules of durable order are here.

use super::change::Record;
use super::counter::{CompactState, Counter};
use super::durability::{Durability, Ticks};
use super::reserve::Reserve;
use super::waiting::{Queue, Waiting};
use crate::protocol::{Condition, ErrorCode, Op, Reply, resp};

#[cfg(test)]
thread_local! {
    /// If true, sums above the ceiling are handed out. A crash test sets it to show that it detects
    /// this fault.
    pub(super) static IGNORE_CEILINGS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// See the [module](self). The waiting requests themselves are in the shard's [`Waiting`], which
/// methods that need them take as an argument. There, `W` says where the reply to a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicState {
    sum: u64,
    /// The ceiling that the store has: no sum above it is handed out.
    ceiling: u64,
    /// Whether the topic exists, and so the store, if there is one, has a record of it. A new topic
    /// does not exist until its first change is durable.
    exists: bool,
    reserve: Reserve,
    pending: Option<PendingChange>,
    /// The number of the pending change, if it is a raise for the waiting requests and all of them
    /// only add: as long as it is not fetched, it can cover further ones. Otherwise 0.
    extensible: u64,
    /// How many numbers [`hand_out`](Self::hand_out) may hand out, as "left" in a [`Counter`]. Set
    /// by [`placement`](Self::placement) if the state is in the ledger only because it does not fit
    /// into the word, else 0.
    left: u64,
    /// Whether the topic is to be taken out once no change is pending. Further requests are held
    /// elsewhere.
    frozen: bool,
    /// Requests that cannot be served yet. Empty unless a change is pending.
    waiting: Queue,
}

/// A change that the store has not reported a result for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingChange {
    /// A higher ceiling.
    Raise,
    /// A ceiling and a sum of 0.
    Reset,
    /// The removal of the topic.
    Delete,
}

/// Where the state is stored after a step.
#[derive(Debug)]
pub(super) enum Placement {
    /// In the word that the table has for the topic.
    InTable(Counter),
    /// In the ledger, since it does not fit into the word.
    InLedger,
    /// Nowhere: the topic is gone.
    Gone,
}

impl TopicState {
    /// Creates the state of a topic that does not exist yet.
    pub(super) fn new(tick: u32) -> Self {
        Self {
            sum: 0,
            ceiling: 0,
            exists: false,
            reserve: Reserve::first(tick),
            pending: None,
            extensible: 0,
            left: 0,
            frozen: false,
            waiting: Queue::EMPTY,
        }
    }

    /// Creates the state of a topic from its word in the table.
    pub(super) fn from_compact(compact: CompactState, durability: Durability) -> Self {
        let CompactState {
            sum,
            ceiling,
            reserve,
            released,
        } = compact;
        let in_memory = durability == Durability::Memory;
        Self {
            sum,
            ceiling: if in_memory { u64::MAX } else { ceiling },
            exists: true,
            reserve,
            // After a store failure, `released` is set although no change is in flight. No change is
            // requested any more then.
            pending: (released && !in_memory).then_some(PendingChange::Raise),
            extensible: 0,
            left: 0,
            frozen: false,
            waiting: Queue::EMPTY,
        }
    }

    /// Creates the state of a topic that the store has.
    pub(super) fn restored(sum: u64) -> Self {
        Self {
            sum,
            ceiling: sum,
            exists: true,
            ..Self::new(0)
        }
    }

    /// Returns the ceiling that the store has, or `None` if it has no record of the topic.
    pub(super) fn stored_ceiling(&self) -> Option<u64> {
        self.exists.then_some(self.ceiling)
    }

    /// Returns the last sum handed out.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns what GET returns: the sum, or `None` if the topic does not exist.
    pub(super) fn visible_sum(&self) -> Option<u64> {
        self.exists.then_some(self.sum)
    }

    /// Returns whether a request waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns whether a change has no result yet.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Marks the topic as one that is to be taken out: its waiting requests are served, but it asks for
    /// no reserve any more.
    pub(super) fn freeze(&mut self) {
        self.frozen = true;
        self.left = 0;
    }

    /// Returns whether the topic is to be taken out.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Answers the waiting requests UNKNOWN: the pending change may be durable.
    pub(super) fn discard_waiting<W>(
        mut self,
        waiting: &mut Waiting<W>,
        replies: &mut Vec<(W, Reply)>,
    ) {
        while let Some(waiter) = waiting.pop(&mut self.waiting) {
            replies.push((waiter, Reply::Error(ErrorCode::Unknown)));
        }
    }

    /// Hands out `n` numbers (at least 1) and returns the sum, if `n` numbers are left and the sum
    /// is at most `max_sum`.
    pub(super) fn hand_out(&mut self, n: u64, max_sum: u64) -> Option<u64> {
        let sum = self.sum.checked_add(n).filter(|&sum| sum <= max_sum)?;
        self.left = self.left.checked_sub(n)?;
        self.sum = sum;
        Some(sum)
    }

    /// Serves a request. Returns `None` if it has to wait, for the store or behind other requests.
    pub(super) fn serve(&mut self, op: Op, durability: Durability) -> Option<Reply> {
        if !self.waiting.is_empty() {
            return None;
        }
        self.serve_now(op, durability)
    }

    /// Appends a request to the waiting requests.
    pub(super) fn add_waiting<W>(&mut self, waiting: &mut Waiting<W>, op: Op, waiter: W) {
        waiting.push(&mut self.waiting, op, waiter);
    }

    /// Returns the number of the pending change, to which [`extend`](Self::extend) may add `op` if
    /// the change is not fetched yet. Called when `op` begins to wait behind other requests; if it
    /// does not only add, later requests cannot be added any more.
    pub(super) fn extensible(&mut self, op: Op) -> u64 {
        if !only_adds(op) {
            self.extensible = 0;
        }
        self.extensible
    }

    /// Raises `after`, the record of the pending change, so that it covers `op` as well.
    pub(super) fn extend(&self, op: Op, after: &mut Record) {
        after.sum = checked_sum(after.sum, op).unwrap_or(after.sum);
        let needed = after.sum.saturating_add(self.reserve.ahead());
        after.ceiling = after.ceiling.max(needed);
    }

    /// Serves the topic's next request. Returns `None` if it has to wait for the store.
    fn serve_now(&mut self, op: Op, durability: Durability) -> Option<Reply> {
        let in_memory = durability == Durability::Memory;
        if in_memory {
            self.ceiling = u64::MAX;
        }
        Some(match op {
            Op::Get => Reply::Get(self.visible_sum()),
            Op::Count | Op::Add(_) | Op::Incr(_) => match checked_sum(self.sum, op) {
                Ok(sum) if !self.may_hand_out(sum) => return None,
                Ok(sum) => {
                    self.exists = true;
                    self.sum = sum;
                    sum_reply(op, sum)
                }
                Err(error) => Reply::Error(error),
            },
            Op::Advance(floor) if in_memory || self.exists && floor <= self.ceiling => {
                self.exists = true;
                self.sum = self.sum.max(floor);
                Reply::Advance(self.sum)
            }
            Op::Reset
                if in_memory || self.exists && self.ceiling == 0 && self.pending.is_none() =>
            {
                self.exists = true;
                self.sum = 0;
                Reply::Reset
            }
            Op::Delete if in_memory || !self.exists => {
                let existed = std::mem::take(&mut self.exists);
                self.sum = 0;
                Reply::Delete { existed }
            }
            Op::GetDelete if !self.exists => Reply::Absent,
            Op::GetDelete if in_memory => {
                self.exists = false;
                Reply::Deleted(std::mem::take(&mut self.sum))
            }
            Op::Set { to, when } => return self.set_now(to, when, in_memory),
            Op::Advance(_) | Op::Reset | Op::Delete | Op::GetDelete => return None,
        })
    }

    /// Serves [`Op::Set`], the topic's next request. Returns `None` if it has to wait for the store.
    fn set_now(&mut self, to: u64, when: Condition, in_memory: bool) -> Option<Reply> {
        if self.exists && when == Condition::IfAbsent {
            return Some(Reply::Present(self.sum));
        }
        if !self.exists && when == Condition::IfPresent {
            return Some(Reply::Absent);
        }
        if 0 < to && to < self.sum {
            return Some(Reply::SumIsHigher(self.sum));
        }
        let needs_store = match to {
            0 => !self.exists || self.ceiling > 0 || self.pending.is_some(),
            to => !self.exists || to > self.ceiling,
        };
        if needs_store && !in_memory {
            return None;
        }
        Some(self.set_to(to))
    }

    /// Sets the sum, and returns the reply to the [`Op::Set`] that did it.
    fn set_to(&mut self, to: u64) -> Reply {
        let before = std::mem::replace(&mut self.sum, to);
        match std::mem::replace(&mut self.exists, true) {
            true => Reply::Set(before),
            false => Reply::Created,
        }
    }

    fn may_hand_out(&mut self, sum: u64) -> bool {
        #[cfg(test)]
        if IGNORE_CEILINGS.get() {
            self.ceiling = self.ceiling.max(sum);
        }
        sum <= self.ceiling
    }

    /// If a change is due, marks it as pending and returns the record that the store must have
    /// after it (`Some(None)`: no record). A change is due if a request waits, or if at most half
    /// of the reserve is left. The change gets this `number`, which is not 0.
    pub(super) fn request_change<W>(
        &mut self,
        waiting: &Waiting<W>,
        number: u64,
        durability: Durability,
        ticks: Ticks,
    ) -> Option<Option<Record>> {
        if self.pending.is_some() || durability == Durability::Memory {
            return None;
        }
        let mut covers_all = false;
        // `sum`: the sum to store, after the waiting requests. `needed`: the ceiling without a
        // reserve.
        let (sum, needed) = match waiting.first(self.waiting) {
            None if self.is_reserve_low() && !self.frozen => (self.sum, self.ceiling),
            None => return None,
            Some(Op::Reset | Op::Set { to: 0, .. }) => {
                self.pending = Some(PendingChange::Reset);
                return Some(Some(Record::exact(0)));
            }
            Some(Op::Delete | Op::GetDelete) => {
                self.pending = Some(PendingChange::Delete);
                return Some(None);
            }
            Some(op) => {
                let needed = match op {
                    Op::Advance(floor) | Op::Set { to: floor, .. } => floor.max(self.sum),
                    _ => {
                        let sum;
                        (sum, covers_all) = self.sum_after(waiting.ops(self.waiting));
                        sum
                    }
                };
                (needed, needed)
            }
        };
        self.pending = Some(PendingChange::Raise);
        self.extensible = if covers_all { number } else { 0 };
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

    /// Returns whether at most half of the reserve is left. A topic without a reserve requests only
    /// the ceilings that it needs.
    fn is_reserve_low(&self) -> bool {
        let half = self.reserve.half();
        half > 0 && self.ceiling - self.sum <= half && self.ceiling < u64::MAX
    }

    /// Returns the sum after these waiting requests, up to the first one that does not only add,
    /// and whether there is no such request.
    fn sum_after(&self, waiting: impl Iterator<Item = Op>) -> (u64, bool) {
        let mut sum = self.sum;
        for op in waiting {
            if !only_adds(op) {
                return (sum, false);
            }
            sum = checked_sum(sum, op).unwrap_or(sum);
        }
        (sum, true)
    }

    /// Called when the pending change is durable, so that the store has the record `after`. Serves
    /// the waiting requests in order, up to the first that needs another change.
    pub(super) fn change_committed<W>(
        &mut self,
        waiting: &mut Waiting<W>,
        after: Option<Record>,
        durability: Durability,
        replies: &mut Vec<(W, Reply)>,
    ) {
        let pending = self.pending.take();
        let first = waiting.first(self.waiting);
        match (pending, after) {
            (Some(PendingChange::Raise), Some(Record { ceiling, .. })) => {
                self.ceiling = ceiling;
                // If the topic did not exist, the first waiting request created it. A SET is served
                // here, before `exists` becomes true: after that, NX would no longer be met, and
                // the reply would be `Set` instead of `Created`.
                if let Some(Op::Set { to, .. }) = first.filter(|_| !self.exists) {
                    let reply = self.set_to(to);
                    self.reply_to_first(waiting, reply, replies);
                }
                self.exists = true;
            }
            (Some(PendingChange::Reset), Some(_)) => {
                let reply = match first {
                    Some(Op::Set { .. }) => self.set_to(0),
                    _ => Reply::Reset,
                };
                self.start_over(true);
                self.reply_to_first(waiting, reply, replies);
            }
            (Some(PendingChange::Delete), None) => {
                let reply = match first {
                    Some(Op::GetDelete) => Reply::Deleted(self.sum),
                    _ => Reply::Delete {
                        existed: self.exists,
                    },
                };
                self.start_over(false);
                self.reply_to_first(waiting, reply, replies);
            }
            _ => unreachable!("the result is that of the pending change"),
        }
        while let Some(op) = waiting.first(self.waiting) {
            let Some(reply) = self.serve_now(op, durability) else {
                return;
            };
            self.reply_to_first(waiting, reply, replies);
        }
    }

    /// Starts over with a sum of 0, or as a topic that does not exist. Keeps the waiting requests
    /// and the tick of the reserve.
    fn start_over(&mut self, exists: bool) {
        *self = Self {
            exists,
            waiting: self.waiting,
            frozen: self.frozen,
            ..Self::new(self.reserve.tick().into())
        };
    }

    /// Called when the store has failed: from now on no change becomes durable. Serves the waiting
    /// requests that need no store, and refuses the others.
    pub(super) fn change_failed<W>(
        &mut self,
        waiting: &mut Waiting<W>,
        durability: Durability,
        replies: &mut Vec<(W, Reply)>,
    ) {
        if let Some(PendingChange::Reset | PendingChange::Delete) = self.pending.take() {
            // The change may be durable although it failed. Then the topic starts over after a
            // restart, and a number handed out now could be handed out again. So no more numbers
            // are handed out.
            self.ceiling = self.sum;
        }
        while let Some(op) = waiting.first(self.waiting) {
            let served = self.serve_now(op, durability);
            let reply = served.unwrap_or(Reply::Error(ErrorCode::Store));
            self.reply_to_first(waiting, reply, replies);
        }
    }

    /// Replies to the first waiting request.
    fn reply_to_first<W>(
        &mut self,
        waiting: &mut Waiting<W>,
        reply: Reply,
        replies: &mut Vec<(W, Reply)>,
    ) {
        if let Some(waiter) = waiting.pop(&mut self.waiting) {
            replies.push((waiter, reply));
        }
    }

    /// Returns where the state is stored from now on, and updates `left`. If `store_failed`, no
    /// raise can be requested any more, so nothing is held back.
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
        if !self.exists || self.frozen {
            return Placement::InLedger;
        }
        let compact = CompactState {
            sum: self.sum,
            ceiling: self.ceiling,
            reserve: self.reserve,
            released: store_failed || self.pending.is_some(),
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

/// Returns how much `op` adds to a sum, and the greatest sum that is allowed afterwards. Returns
/// `None` if `op` does not add.
#[inline]
pub(super) fn addend_and_limit(op: Op) -> Option<(u64, u64)> {
    if op == Op::Count {
        return Some((1, u64::MAX)); // without a jump table
    }
    match op {
        Op::Count => Some((1, u64::MAX)),
        Op::Add(n) => Some((n.get().into(), u64::MAX)),
        Op::Incr(n) => Some((n.get(), resp::MAX_SUM)),
        Op::Get | Op::Reset | Op::Advance(_) | Op::Delete | Op::Set { .. } | Op::GetDelete => None,
    }
}

/// Returns whether `op` leaves the topic's sum as it is, or adds to it.
fn only_adds(op: Op) -> bool {
    op == Op::Get || addend_and_limit(op).is_some()
}

/// Returns the reply to `op`, an operation that added to a sum and made it `sum`.
#[inline]
pub(super) fn sum_reply(op: Op, sum: u64) -> Reply {
    match op {
        Op::Count => Reply::Count(sum),
        _ => Reply::Add(sum),
    }
}

/// Returns the sum after `op`, which only adds.
fn checked_sum(sum: u64, op: Op) -> Result<u64, ErrorCode> {
    let (n, max_sum) = addend_and_limit(op).unwrap_or((0, u64::MAX));
    let sum = sum.checked_add(n).filter(|&sum| sum <= max_sum);
    sum.ok_or(ErrorCode::Overflow)
}
