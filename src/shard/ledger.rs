//! The topic states that do not fit into the table's words, and the changes that the store has to
//! make durable. It must not know the store: the server fetches changes and reports their results
//! later.

use slab::Slab;

use super::change::{Change, Record};
use super::counter::{Counter, Unpacked};
use super::durability::Ceilings;
use super::ranges::LoadId;
use super::topic_state::{Placement, TopicState};
use super::waiting::Waiting;
use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::topic::Topic;

/// The most waiting requests of a shard; further ones are refused with BUSY. This many take some
/// 50 MB.
pub(super) const WAITING_LIMIT: usize = 256 * 1024;

/// What happens to a topic's row in the table after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum RowAction {
    Keep,
    /// The topic does not exist, or no longer.
    Remove,
}

/// See the [module](self). `W` says where the reply to a waiting request goes.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    ceilings: Ceilings,
    states: Slab<TopicState>,
    waiting: Waiting<W>,
    /// Changes that were not fetched yet. The changes of a shard are numbered from 1 on.
    changes: Vec<Change>,
    /// How many of `changes`, from the first, have their [`LoadId`]; unused without a cluster.
    marked: usize,
    /// The number of the first change in `changes`.
    first_change: u64,
    /// Whether a request began to wait since the last fetch, or a change was added that one waits
    /// for.
    urgent: bool,
    /// The number of requests that began to wait since the last fetch.
    new_waiting: usize,
    /// The number of changes that were fetched and have no result yet.
    in_flight: usize,
    store_failed: bool,
}

impl<W> Ledger<W> {
    pub(super) fn new(ceilings: Ceilings) -> Self {
        Self {
            ceilings,
            states: Slab::new(),
            waiting: Waiting::new(),
            changes: Vec::new(),
            marked: 0,
            first_change: 1,
            urgent: false,
            new_waiting: 0,
            in_flight: 0,
            store_failed: false,
        }
    }

    /// Creates the state of a topic that does not exist yet, and returns its counter.
    pub(super) fn create(&mut self) -> Counter {
        let state = TopicState::new((self.ceilings.ticks)());
        Counter::in_ledger(self.states.insert(state))
    }

    /// Creates the state of a topic that the store has, and returns its counter.
    pub(super) fn restore(&mut self, sum: u64) -> Counter {
        let mut state = TopicState::restored(sum);
        match state.placement(self.ceilings.durability, self.store_failed) {
            Placement::InTable(counter) => counter,
            _ => Counter::in_ledger(self.states.insert(state)),
        }
    }

    /// Returns how many requests began to wait since the last fetch, or `None` if there is nothing
    /// to fetch.
    pub(super) fn unfetched(&self) -> Option<usize> {
        (self.urgent || !self.changes.is_empty()).then_some(self.new_waiting)
    }

    /// Appends the changes since the last fetch to `changes`; see `Shard::fetch` for what is
    /// returned.
    pub(super) fn fetch(&mut self, changes: &mut Vec<Change>) -> Option<bool> {
        if self.changes.is_empty() && !self.urgent {
            return None;
        }
        self.in_flight += self.changes.len();
        self.first_change += self.changes.len() as u64;
        self.new_waiting = 0;
        self.marked = 0;
        changes.append(&mut self.changes);
        Some(std::mem::take(&mut self.urgent))
    }

    /// Hands out `n` numbers (at least 1) of the topic of `counter` and returns the sum, if the
    /// topic's state is in the ledger, `n` numbers are left there, and the sum is at most
    /// `max_sum`.
    pub(super) fn hand_out(&mut self, counter: Counter, n: u64, max_sum: u64) -> Option<u64> {
        match counter.unpack() {
            Unpacked::InLedger(index) => self.states[index].hand_out(n, max_sum),
            Unpacked::Compact(_) => None,
        }
    }

    /// Serves a request and returns its reply, or `None` if it waits from now on.
    pub(super) fn serve(
        &mut self,
        counter: &mut Counter,
        Request { op, topic }: Request<'_>,
        waiter: impl FnOnce() -> W,
    ) -> (Option<Reply>, RowAction) {
        let full = self.waiting.len() >= WAITING_LIMIT;
        if let Unpacked::InLedger(index) = counter.unpack()
            && self.states[index].has_waiting()
            && !(full || self.store_failed)
        {
            self.wait_behind(index, op, waiter());
            return (None, RowAction::Keep);
        }
        let store_failed = self.store_failed;
        let Ceilings { durability, .. } = self.ceilings;
        let mut waits = false;
        let (reply, action) = self.with_state(counter, topic, |state, waiting| {
            let reply = state.serve(op, durability);
            if reply.is_some() {
                return reply;
            }
            if store_failed {
                return Some(Reply::Error(ErrorCode::Store));
            }
            if full {
                return Some(Reply::Error(ErrorCode::Busy));
            }
            state.add_waiting(waiting, op, waiter());
            waits = true;
            None
        });
        self.new_waiting += usize::from(waits);
        self.urgent |= waits;
        (reply, action)
    }

    /// Makes a request wait behind other requests for its topic. If their change was not fetched
    /// yet, it covers this request as well, so that they become durable together.
    fn wait_behind(&mut self, index: usize, op: Op, waiter: W) {
        let state = &mut self.states[index];
        state.add_waiting(&mut self.waiting, op, waiter);
        let change = state.extensible(op).checked_sub(self.first_change);
        if let Some(change) = change.and_then(|change| self.changes.get_mut(change as usize)) {
            change.raise(|after| state.extend(op, after));
        }
        self.new_waiting += 1;
        self.urgent = true;
    }

    /// Applies the store's result for a change of this topic: serves or refuses the requests that
    /// waited for it.
    pub(super) fn apply_result(
        &mut self,
        counter: &mut Counter,
        change: &Change,
        durable: bool,
        replies: &mut Vec<(W, Reply)>,
    ) -> RowAction {
        self.store_failed |= !durable;
        self.in_flight -= 1;
        let Ceilings { durability, .. } = self.ceilings;
        let ((), action) = self.with_state(counter, change.topic(), |state, waiting| {
            if durable {
                state.change_committed(waiting, change.after(), durability, replies);
            } else {
                state.change_failed(waiting, durability, replies);
            }
        });
        action
    }

    /// Sets the load of the changes that were made since the last call, all of one topic.
    pub(super) fn mark_changes(&mut self, load: impl FnOnce() -> LoadId) {
        if let Some(unmarked) = self.changes.get_mut(self.marked..)
            && !unmarked.is_empty()
        {
            let load = load();
            unmarked.iter_mut().for_each(|change| change.set_load(load));
            self.marked = self.changes.len();
        }
    }

    /// Takes a result that concerns nobody any more.
    pub(super) fn ignore_result(&mut self) {
        self.in_flight -= 1;
    }

    /// Returns whether further requests for a topic are to be held.
    pub(super) fn is_frozen(&self, counter: Counter) -> bool {
        match counter.unpack() {
            Unpacked::Compact(_) => false,
            Unpacked::InLedger(index) => self.states[index].is_frozen(),
        }
    }

    /// Begins to take out a topic. Returns the change that makes the store's sum exact, if it is not
    /// (`Ok`), or, as long as a change of the topic is pending, its frozen counter: further requests are
    /// held, and it can be taken out after the result.
    pub(super) fn take_out(
        &mut self,
        topic: Topic<'_>,
        counter: Counter,
    ) -> Result<Option<Change>, Counter> {
        if self.read(counter, TopicState::has_pending) {
            let index = match counter.unpack() {
                Unpacked::InLedger(index) => index,
                Unpacked::Compact(compact) => {
                    let durability = self.ceilings.durability;
                    let state = TopicState::from_compact(compact, durability);
                    self.states.insert(state)
                }
            };
            self.states[index].freeze();
            return Err(Counter::in_ledger(index));
        }
        let unsettled = self.unsettled(counter);
        if let Unpacked::InLedger(index) = counter.unpack() {
            self.states.remove(index);
        }
        let exact = |(before, sum)| Change::new(topic, before, Some(Record::exact(sum)));
        Ok(unsettled.map(exact))
    }

    /// Discards a topic. The requests that wait in it are answered UNKNOWN: the store may have the change
    /// that they wait for.
    pub(super) fn discard(&mut self, counter: Counter, replies: &mut Vec<(W, Reply)>) {
        if let Unpacked::InLedger(index) = counter.unpack() {
            let state = self.states.remove(index);
            state.discard_waiting(&mut self.waiting, replies);
        }
    }

    /// Discards all topics, as [`discard`](Self::discard) does.
    pub(super) fn discard_all(&mut self, replies: &mut Vec<(W, Reply)>) {
        for state in self.states.drain() {
            state.discard_waiting(&mut self.waiting, replies);
        }
    }

    /// Returns whether every fetched change has a result.
    pub(super) fn nothing_in_flight(&self) -> bool {
        self.in_flight == 0
    }

    /// Returns the store's ceiling and the topic's sum if they differ, so that the topic would skip
    /// numbers after a restart.
    pub(super) fn unsettled(&self, counter: Counter) -> Option<(Option<u64>, u64)> {
        let (stored, sum) = self.stored_and_sum(counter);
        let exact = stored.is_none() || stored == Some(sum);
        (!exact).then_some((stored, sum))
    }

    /// Returns the topic's record in the store, with the sum that it has by now; `None` if the store
    /// has no record of it.
    pub(super) fn record(&self, counter: Counter) -> Option<Record> {
        let (stored, sum) = self.stored_and_sum(counter);
        let ceiling = stored?;
        Some(Record {
            ceiling,
            sum: sum.min(ceiling),
        })
    }

    /// Returns what GET returns for a topic; `None` if the topic does not exist.
    pub(super) fn sum(&self, counter: Counter) -> Option<u64> {
        self.read(counter, TopicState::visible_sum)
    }

    /// Returns the ceiling that the store has, or `None` if it has no record of the topic, and the
    /// topic's sum.
    fn stored_and_sum(&self, counter: Counter) -> (Option<u64>, u64) {
        self.read(counter, |state| (state.stored_ceiling(), state.sum()))
    }

    /// Passes a topic's state to `read`.
    fn read<T>(&self, counter: Counter, read: impl FnOnce(&TopicState) -> T) -> T {
        match counter.unpack() {
            Unpacked::Compact(compact) => {
                read(&TopicState::from_compact(compact, self.ceilings.durability))
            }
            Unpacked::InLedger(index) => read(&self.states[index]),
        }
    }

    /// Runs `step` on a topic's state, requests the change that is due then, and stores the state
    /// in its place.
    fn with_state<T>(
        &mut self,
        counter: &mut Counter,
        topic: Topic<'_>,
        step: impl FnOnce(&mut TopicState, &mut Waiting<W>) -> T,
    ) -> (T, RowAction) {
        let Self {
            ceilings,
            states,
            waiting,
            changes,
            first_change,
            urgent,
            store_failed,
            ..
        } = self;
        let Ceilings { durability, ticks } = *ceilings;
        let before_step = counter.unpack();
        let mut unpacked = None;
        let state = match before_step {
            Unpacked::Compact(compact) => {
                unpacked.insert(TopicState::from_compact(compact, durability))
            }
            Unpacked::InLedger(index) => &mut states[index],
        };
        let result = step(state, waiting);
        let before = state.stored_ceiling();
        let number = *first_change + changes.len() as u64;
        if !*store_failed
            && let Some(after) = state.request_change(waiting, number, durability, ticks)
        {
            changes.push(Change::new(topic, before, after));
            *urgent |= state.has_waiting();
        }
        let placement = state.placement(durability, *store_failed);
        if let (Unpacked::InLedger(index), Placement::InTable(_) | Placement::Gone) =
            (before_step, &placement)
        {
            states.remove(index);
        }
        match placement {
            Placement::InTable(word) => *counter = word,
            Placement::InLedger => {
                if let Some(state) = unpacked {
                    *counter = Counter::in_ledger(states.insert(state));
                }
            }
            Placement::Gone => return (result, RowAction::Remove),
        }
        (result, RowAction::Keep)
    }
}
