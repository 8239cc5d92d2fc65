//! The accounts that don't fit into the table's words, and what has to be asked of the store. Knows
//! no store: what it asks for is fetched, and answered later.

use slab::Slab;

use super::account::{Account, Kept};
use super::change::Change;
use super::counter::{Counter, Place};
use super::durability::Ceilings;
use crate::protocol::{ErrorCode, Reply, Request};
use crate::topic::Topic;

/// The most requests of a shard that wait for the store; one over it is refused with BUSY. As many
/// take some 50 MB.
pub(super) const WAITING_LIMIT: usize = 256 * 1024;

/// Whether a topic's row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Row {
    Kept,
    /// There is no such topic (any more).
    Gone,
}

/// See the [module](self). `W` says where a reply goes that comes later.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    ceilings: Ceilings,
    accounts: Slab<Account<W>>,
    changes: Vec<Change>,
    /// Whether a request began to wait since changes were fetched last.
    urgent: bool,
    waiting: usize,
    /// How many changes are with the store, or on their way there and back.
    under_way: usize,
    failed: bool,
}

impl<W> Ledger<W> {
    pub(super) fn new(ceilings: Ceilings) -> Self {
        Self {
            ceilings,
            accounts: Slab::new(),
            changes: Vec::new(),
            urgent: false,
            waiting: 0,
            under_way: 0,
            failed: false,
        }
    }

    /// What stands for a topic that there is not yet.
    pub(super) fn open(&mut self) -> Counter {
        let account = Account::new((self.ceilings.ticks)());
        Counter::elsewhere(self.accounts.insert(account))
    }

    /// What stands for a topic that the store has.
    pub(super) fn restore(&mut self, sum: u64) -> Counter {
        let mut account = Account::restored(sum);
        match account.kept(self.ceilings.durability, self.failed) {
            Kept::Word(counter) => counter,
            _ => Counter::elsewhere(self.accounts.insert(account)),
        }
    }

    /// What has to become durable, since the last time; and whether requests wait for that, or for
    /// what was fetched before. `None`: nothing new.
    pub(super) fn fetch(&mut self, changes: &mut Vec<Change>) -> Option<bool> {
        if self.changes.is_empty() && !self.urgent {
            return None;
        }
        self.under_way += self.changes.len();
        changes.append(&mut self.changes);
        Some(std::mem::take(&mut self.urgent))
    }

    /// Adds to a topic that is not in its word, where nothing has to be looked at for that; `counter`
    /// says which.
    pub(super) fn take(&mut self, counter: Counter, n: u64, most: u64) -> Option<u64> {
        match counter.place() {
            Place::Account(number) => self.accounts[number].take(n, most),
            Place::Here(_) => None,
        }
    }

    /// Serves a request, or has it wait; then there is no reply now.
    pub(super) fn serve(
        &mut self,
        counter: &mut Counter,
        Request { op, topic }: Request<'_>,
        waiter: impl FnOnce() -> W,
    ) -> (Option<Reply>, Row) {
        let full = self.waiting >= WAITING_LIMIT;
        let failed = self.failed;
        let Ceilings { durability, .. } = self.ceilings;
        let mut waits = false;
        let (reply, row) = self.with_account(counter, topic, |account| {
            let reply = account.serve(op, durability);
            if reply.is_some() {
                return reply;
            }
            if failed {
                return Some(Reply::Error(ErrorCode::Store));
            }
            if full {
                return Some(Reply::Error(ErrorCode::Busy));
            }
            account.wait(op, waiter());
            waits = true;
            None
        });
        self.waiting += usize::from(waits);
        self.urgent |= waits;
        (reply, row)
    }

    /// The store answered a change of this topic. Serves, or refuses, what waited for it.
    pub(super) fn answer(
        &mut self,
        counter: &mut Counter,
        change: &Change,
        durable: bool,
        replies: &mut Vec<(W, Reply)>,
    ) -> Row {
        self.failed |= !durable;
        self.under_way -= 1;
        let Ceilings { durability, .. } = self.ceilings;
        let before = replies.len();
        let ((), row) = self.with_account(counter, change.topic(), |account| {
            if durable {
                account.acknowledged(change.after(), durability, replies);
            } else {
                account.failed(durability, replies);
            }
        });
        self.waiting -= replies.len() - before;
        row
    }

    /// Whether every change that was fetched is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    /// What the store has to have so that the topic skips nothing, where that is not what it has.
    pub(super) fn settled(&self, counter: Counter) -> Option<(Option<u64>, u64)> {
        let unpacked;
        let account = match counter.place() {
            Place::Here(small) => {
                unpacked = Account::<W>::unpacked(small, self.ceilings.durability);
                &unpacked
            }
            Place::Account(number) => &self.accounts[number],
        };
        let durable = account.durable();
        let exact = durable.is_none() || durable == Some(account.sum());
        (!exact).then(|| (durable, account.sum()))
    }

    /// Has `work` done on a topic's account, asks the store for what is due then, and sees to where
    /// the account is kept.
    fn with_account<T>(
        &mut self,
        counter: &mut Counter,
        topic: Topic<'_>,
        work: impl FnOnce(&mut Account<W>) -> T,
    ) -> (T, Row) {
        let Self {
            ceilings,
            accounts,
            changes,
            urgent,
            failed,
            ..
        } = self;
        let Ceilings { durability, ticks } = *ceilings;
        let place = counter.place();
        let mut unpacked = None;
        let account = match place {
            Place::Here(small) => unpacked.insert(Account::unpacked(small, durability)),
            Place::Account(number) => &mut accounts[number],
        };
        let done = work(account);
        let before = account.durable();
        if !*failed && let Some(after) = account.ask(durability, ticks) {
            changes.push(Change::new(topic, before, after));
            *urgent |= account.waiting() > 0;
        }
        let kept = account.kept(durability, *failed);
        if let (Place::Account(number), Kept::Word(_) | Kept::Gone) = (place, &kept) {
            accounts.remove(number);
        }
        match kept {
            Kept::Word(word) => *counter = word,
            Kept::Whole => {
                if let Some(account) = unpacked {
                    *counter = Counter::elsewhere(accounts.insert(account));
                }
            }
            Kept::Gone => return (done, Row::Gone),
        }
        (done, Row::Kept)
    }
}
