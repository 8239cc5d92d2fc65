//! The states that don't fit into the table's words, and what has to be asked of the store. Knows
//! no store: what it asks for is fetched, and answered later.

use slab::Slab;

use super::change::Change;
use super::counter::{Counter, Unpacked};
use super::durability::Ceilings;
use super::topic_state::{Placement, TopicState};
use crate::protocol::{ErrorCode, Reply, Request};
use crate::topic::Topic;

/// The most requests of a shard that wait for the store; one over it is refused with BUSY. As many
/// take some 50 MB.
pub(super) const WAITING_LIMIT: usize = 256 * 1024;

/// Whether a topic's row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum RowAction {
    Keep,
    /// There is no such topic (any more).
    Remove,
}

/// See the [module](self). `W` says where a reply goes that comes later.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    ceilings: Ceilings,
    states: Slab<TopicState<W>>,
    changes: Vec<Change>,
    /// Whether a request began to wait since changes were fetched last.
    urgent: bool,
    waiting: usize,
    /// How many changes are with the store, or on their way there and back.
    in_flight: usize,
    store_failed: bool,
}

impl<W> Ledger<W> {
    pub(super) fn new(ceilings: Ceilings) -> Self {
        Self {
            ceilings,
            states: Slab::new(),
            changes: Vec::new(),
            urgent: false,
            waiting: 0,
            in_flight: 0,
            store_failed: false,
        }
    }

    /// What stands for a topic that there is not yet.
    pub(super) fn create(&mut self) -> Counter {
        let state = TopicState::new((self.ceilings.ticks)());
        Counter::in_ledger(self.states.insert(state))
    }

    /// What stands for a topic that the store has.
    pub(super) fn restore(&mut self, sum: u64) -> Counter {
        let mut state = TopicState::restored(sum);
        match state.placement(self.ceilings.durability, self.store_failed) {
            Placement::InTable(counter) => counter,
            _ => Counter::in_ledger(self.states.insert(state)),
        }
    }

    /// What has to become durable, since the last time; and whether requests wait for that, or for
    /// what was fetched before. `None`: nothing new.
    pub(super) fn fetch(&mut self, changes: &mut Vec<Change>) -> Option<bool> {
        if self.changes.is_empty() && !self.urgent {
            return None;
        }
        self.in_flight += self.changes.len();
        changes.append(&mut self.changes);
        Some(std::mem::take(&mut self.urgent))
    }

    /// Adds to a topic that is not in its word, where nothing has to be looked at for that; `counter`
    /// says which.
    pub(super) fn take(&mut self, counter: Counter, n: u64, max_sum: u64) -> Option<u64> {
        match counter.unpack() {
            Unpacked::InLedger(index) => self.states[index].take(n, max_sum),
            Unpacked::Compact(_) => None,
        }
    }

    /// Serves a request, or has it wait; then there is no reply now.
    pub(super) fn serve(
        &mut self,
        counter: &mut Counter,
        Request { op, topic }: Request<'_>,
        waiter: impl FnOnce() -> W,
    ) -> (Option<Reply>, RowAction) {
        let full = self.waiting >= WAITING_LIMIT;
        let store_failed = self.store_failed;
        let Ceilings { durability, .. } = self.ceilings;
        let mut waits = false;
        let (reply, action) = self.with_state(counter, topic, |state| {
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
            state.add_waiting(op, waiter());
            waits = true;
            None
        });
        self.waiting += usize::from(waits);
        self.urgent |= waits;
        (reply, action)
    }

    /// The store answered a change of this topic. Serves, or refuses, what waited for it.
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
        let before = replies.len();
        let ((), action) = self.with_state(counter, change.topic(), |state| {
            if durable {
                state.change_committed(change.after(), durability, replies);
            } else {
                state.change_failed(durability, replies);
            }
        });
        self.waiting -= replies.len() - before;
        action
    }

    /// Whether every change that was fetched is answered.
    pub(super) fn nothing_in_flight(&self) -> bool {
        self.in_flight == 0
    }

    /// What the store has to have so that the topic skips nothing, where that is not what it has.
    pub(super) fn unsettled(&self, counter: Counter) -> Option<(Option<u64>, u64)> {
        let unpacked;
        let state = match counter.unpack() {
            Unpacked::Compact(compact) => {
                unpacked = TopicState::<W>::from_compact(compact, self.ceilings.durability);
                &unpacked
            }
            Unpacked::InLedger(index) => &self.states[index],
        };
        let durable = state.stored_ceiling();
        let exact = durable.is_none() || durable == Some(state.sum());
        (!exact).then(|| (durable, state.sum()))
    }

    /// Has `work` done on a topic's state, asks the store for what is due then, and sees to where
    /// the state is kept.
    fn with_state<T>(
        &mut self,
        counter: &mut Counter,
        topic: Topic<'_>,
        work: impl FnOnce(&mut TopicState<W>) -> T,
    ) -> (T, RowAction) {
        let Self {
            ceilings,
            states,
            changes,
            urgent,
            store_failed,
            ..
        } = self;
        let Ceilings { durability, ticks } = *ceilings;
        let place = counter.unpack();
        let mut unpacked = None;
        let state = match place {
            Unpacked::Compact(compact) => {
                unpacked.insert(TopicState::from_compact(compact, durability))
            }
            Unpacked::InLedger(index) => &mut states[index],
        };
        let done = work(state);
        let before = state.stored_ceiling();
        if !*store_failed && let Some(after) = state.request_change(durability, ticks) {
            changes.push(Change::new(topic, before, after));
            *urgent |= state.waiting() > 0;
        }
        let placement = state.placement(durability, *store_failed);
        if let (Unpacked::InLedger(index), Placement::InTable(_) | Placement::Gone) =
            (place, &placement)
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
            Placement::Gone => return (done, RowAction::Remove),
        }
        (done, RowAction::Keep)
    }
}
