//! A node process: the [`Node`] under test, with a plain model of shards, of workers that hold and
//! forward requests, and of the store's thread. Each message is one step of one thread; the world
//! puts any delay between two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::fault::{Fault, planted};
use super::super::*;
use super::history::{OpId, Outcome};
use super::{RANGE_COUNT, TopicId, range_of};
use crate::random::Random;

/// How long a request is held or waits for another node.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a transaction may take before its outcome counts as unknown.
const ETCD_TIMEOUT: Duration = Duration::from_secs(1);

/// The most requests that are held.
const MAX_HELD: usize = 64;

/// The largest reserve: numbers that a ceiling is raised by.
const MAX_RESERVE: u64 = 8;

/// A COUNT on its way, and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) op: OpId,
    pub(super) topic: TopicId,
    /// The node that forwarded it, `None` if a client sent it to this node.
    pub(super) from: Option<usize>,
    /// How often it was forwarded without an answer in between.
    pub(super) hops: u32,
    /// Whether a node has refused it with NOT_OWNER before.
    pub(super) retried: bool,
}

/// One step of one thread.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// To the node: its timer may be due.
    Timer,
    /// To the node.
    Core(Event),
    /// To a worker: a request arrived.
    Count(Count),
    /// To a worker: apply a request that arrived before the deadline.
    Apply(Count),
    /// To a worker: a node answered a request that was forwarded to it.
    PeerReply(OpId, Outcome),
    /// To a worker: these requests were applied; look at the clock.
    Check {
        /// The deadline that was known before they were applied.
        deadline: Moment,
        counted: Vec<(Count, u64)>,
    },
    /// To a shard: a commit was applied or refused; `None` if its outcome is unknown.
    Committed(u64, Option<bool>),
    /// To a shard: the ceilings of a range, `None` if they could not be read at this epoch.
    RangeRead(RangeId, Epoch, Option<Vec<(TopicId, u64)>>),
    /// To a shard.
    DropRange(RangeId),
    /// To all shards.
    DropAll,
    /// To a worker: look at the held requests again.
    RetryHeld,
    /// To a worker: a request was held for too long.
    HoldTimeout(OpId),
    /// To a worker: another node did not answer in time.
    PeerTimeout(OpId),
}

/// What a step causes outside of its thread.
#[derive(Debug)]
pub(super) enum Output {
    Etcd(Call),
    /// A step of this process, after this time or a little later.
    Later(Duration, Message),
    /// A request for another node.
    Peer(usize, Count),
    Reply(Count, Outcome),
    /// A request was applied in a range that has this epoch.
    Applied(OpId, RangeId, Epoch),
    /// The node owns this range, and has not told the workers.
    Untold(RangeId),
    Left,
}

/// A request to etcd.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Core(Ticket, Request),
    Watch(Revision),
    Commit {
        id: u64,
        range: RangeId,
        epoch: Option<Epoch>,
        ceilings: Vec<(TopicId, u64)>,
    },
    Load(RangeId, Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Serving,
    Frozen,
    /// Dropped, but a fault keeps the memory.
    Kept,
}

/// The memory of a range.
#[derive(Debug)]
struct Memory {
    epoch: Epoch,
    state: State,
    topics: BTreeMap<TopicId, Topic>,
}

#[derive(Debug, Default)]
struct Topic {
    sum: u64,
    /// The ceiling that etcd has.
    ceiling: u64,
    reserve: u64,
    committing: bool,
    waiting: Vec<Count>,
}

#[derive(Debug)]
struct Commit {
    range: RangeId,
    epoch: Epoch,
    ceilings: Vec<(TopicId, u64)>,
    exact: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    index: usize,
    pub(super) node: Node,
    random: Random,
    deadline: Moment,
    memory: BTreeMap<RangeId, Memory>,
    held: Vec<Count>,
    forwarded: BTreeMap<OpId, Count>,
    commits: BTreeMap<u64, Commit>,
    last_commit: u64,
    /// The ranges that this node owned when it told the workers last.
    told: BTreeSet<RangeId>,
    out: Vec<Output>,
}

impl Machine {
    pub(super) fn new(index: usize, config: Config, random: Random) -> Self {
        Self {
            index,
            node: Node::new(config),
            random,
            deadline: Moment::START,
            memory: BTreeMap::new(),
            held: Vec::new(),
            forwarded: BTreeMap::new(),
            commits: BTreeMap::new(),
            last_commit: 0,
            told: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    /// Makes a step at `now` by this machine's clock.
    pub(super) fn handle(&mut self, now: Moment, message: Message) -> Vec<Output> {
        match message {
            Message::Timer => self.decide(now, Event::Timer),
            Message::Core(event) => self.decide(now, event),
            Message::Count(count) => self.count(now, count),
            Message::Apply(count) => self.apply(count),
            Message::PeerReply(op, outcome) => self.peer_replied(op, outcome),
            Message::Check { deadline, counted } => self.check(now, deadline, &counted),
            Message::Committed(id, applied) => self.committed(id, applied),
            Message::RangeRead(range, epoch, ceilings) => self.range_read(range, epoch, ceilings),
            Message::DropRange(range) => {
                self.discard(range);
                self.tell_node(Event::Dropped(range));
            }
            Message::DropAll => {
                for range in self.memory.keys().copied().collect::<Vec<_>>() {
                    self.discard(range);
                }
                self.tell_node(Event::AllDropped);
            }
            Message::RetryHeld => self.retry_held(now),
            Message::HoldTimeout(op) => {
                if let Some(at) = self.held.iter().position(|held| held.op == op) {
                    let count = self.held.remove(at);
                    self.reply(count, Outcome::Unavailable);
                }
            }
            Message::PeerTimeout(op) => {
                if let Some(count) = self.forwarded.remove(&op) {
                    self.reply(count, Outcome::Unknown);
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Returns whether a range is served by this process.
    pub(super) fn serves(&self, range: RangeId) -> bool {
        self.memory
            .get(&range)
            .is_some_and(|memory| memory.state == State::Serving)
    }

    fn reply(&mut self, count: Count, outcome: Outcome) {
        self.out.push(Output::Reply(count, outcome));
    }

    /// Another thread makes a step, up to `at_most` later.
    fn later(&mut self, at_most: Duration, message: Message) {
        let delay = self.random.below(at_most.as_micros() as u64 + 1);
        self.out
            .push(Output::Later(Duration::from_micros(delay), message));
    }

    fn tell_node(&mut self, event: Event) {
        self.later(Duration::from_millis(2), Message::Core(event));
    }

    fn decide(&mut self, now: Moment, event: Event) {
        let actions = self.node.handle(now, event);
        self.check_told(&actions);
        for action in actions {
            match action {
                Action::Send(ticket, request) => {
                    self.out.push(Output::Etcd(Call::Core(ticket, request)));
                    let unknown = Message::Core(Event::Answer(ticket, Answer::Unknown));
                    self.out.push(Output::Later(ETCD_TIMEOUT, unknown));
                }
                Action::Watch { after } => self.out.push(Output::Etcd(Call::Watch(after))),
                Action::SetDeadline(deadline) => self.deadline = deadline,
                Action::Load(range, epoch) => self.load(range, epoch),
                Action::Freeze(range, epoch) => self.freeze(range, epoch),
                Action::Drop(range) => {
                    self.later(Duration::from_millis(5), Message::DropRange(range));
                }
                Action::DropAll => self.later(Duration::from_millis(5), Message::DropAll),
                Action::OwnersChanged => self.later(Duration::from_millis(1), Message::RetryHeld),
                Action::Left => self.out.push(Output::Left),
            }
        }
    }

    /// Requests that wait for an owner would wait longer than they have to.
    fn check_told(&mut self, actions: &[Action]) {
        let owned =
            RangeId::all(RANGE_COUNT).filter(|&range| self.node.owner(range) == Owner::ThisNode);
        let owned: BTreeSet<_> = owned.collect();
        if actions.contains(&Action::OwnersChanged) {
            self.told = owned;
        } else {
            let untold = owned.difference(&self.told).copied();
            self.out.extend(untold.map(Output::Untold));
        }
    }

    // --- requests ---

    fn count(&mut self, now: Moment, count: Count) {
        // A request that cannot be answered in time is refused before it is applied.
        if now >= self.deadline && self.serves(range_of(count.topic)) {
            self.reply(count, Outcome::Unavailable);
        } else {
            self.later(Duration::from_micros(200), Message::Apply(count));
        }
    }

    fn apply(&mut self, count: Count) {
        let deadline = self.deadline;
        let range = range_of(count.topic);
        let Some(memory) = self.memory.get_mut(&range) else {
            self.count_elsewhere(range, count);
            return;
        };
        match memory.state {
            State::Kept => self.count_elsewhere(range, count),
            State::Loading | State::Frozen => self.hold(count),
            State::Serving => {
                memory
                    .topics
                    .entry(count.topic)
                    .or_default()
                    .waiting
                    .push(count);
                self.serve(range, count.topic, deadline);
            }
        }
    }

    fn count_elsewhere(&mut self, range: RangeId, mut count: Count) {
        if count.from.is_some() && !planted(Fault::ForwardedTwice) {
            self.reply(count, Outcome::NotOwner);
            return;
        }
        match self.node.owner(range) {
            Owner::Other(_, address) => {
                let peer = address.parse().expect("names of nodes are numbers");
                self.forwarded.insert(count.op, count);
                self.out.push(Output::Later(
                    FORWARD_TIMEOUT,
                    Message::PeerTimeout(count.op),
                ));
                count.from = Some(self.index);
                count.hops += 1;
                self.out.push(Output::Peer(peer, count));
            }
            Owner::ThisNode | Owner::Nobody => self.hold(count),
        }
    }

    fn hold(&mut self, count: Count) {
        if self.held.len() >= MAX_HELD {
            self.reply(count, Outcome::Unavailable);
            return;
        }
        self.held.push(count);
        self.out.push(Output::Later(
            FORWARD_TIMEOUT,
            Message::HoldTimeout(count.op),
        ));
    }

    fn retry_held(&mut self, now: Moment) {
        for count in std::mem::take(&mut self.held) {
            self.count(now, count);
            if planted(Fault::HeldAppliedTwice) && self.serves(range_of(count.topic)) {
                self.held.push(count);
            }
        }
    }

    fn peer_replied(&mut self, op: OpId, outcome: Outcome) {
        let Some(mut count) = self.forwarded.remove(&op) else {
            return;
        };
        match outcome {
            Outcome::NotOwner if count.retried => self.reply(count, Outcome::Unavailable),
            Outcome::NotOwner => {
                count.retried = true;
                self.hold(count);
                self.later(Duration::from_millis(100), Message::RetryHeld);
            }
            outcome => self.reply(count, outcome),
        }
    }

    /// Hands out numbers of a topic, and raises its ceiling if need be.
    fn serve(&mut self, range: RangeId, topic: TopicId, deadline: Moment) {
        let Some(memory) = self.memory.get_mut(&range) else {
            return;
        };
        let (epoch, state) = (memory.epoch, memory.state);
        let Some(row) = memory.topics.get_mut(&topic) else {
            return;
        };
        let ready = row.waiting.len().min((row.ceiling - row.sum) as usize);
        let mut counted = Vec::new();
        for count in row.waiting.drain(..ready) {
            row.sum += 1;
            counted.push((count, row.sum));
        }
        let short = !row.waiting.is_empty()
            || (state == State::Serving && row.ceiling - row.sum <= row.reserve / 2);
        let mut raise = None;
        if short && !row.committing {
            row.reserve = (row.reserve * 2).clamp(1, MAX_RESERVE);
            row.committing = true;
            raise = Some(row.sum + row.waiting.len() as u64 + row.reserve);
        }
        for (count, _) in &counted {
            self.out.push(Output::Applied(count.op, range, epoch));
        }
        if !counted.is_empty() {
            // Now and then, another thread gets the processor in between.
            let at_most = if self.random.below(10) == 0 { 50 } else { 3 };
            self.later(
                Duration::from_millis(at_most),
                Message::Check { deadline, counted },
            );
        }
        if let Some(ceiling) = raise {
            self.commit(range, epoch, vec![(topic, ceiling)], false);
        }
    }

    fn check(&mut self, now: Moment, known_before: Moment, counted: &[(Count, u64)]) {
        let deadline = match planted(Fault::DeadlineAfterApply) {
            true => self.deadline,
            false => known_before,
        };
        let in_time = now < deadline || planted(Fault::ClockBeforeApply);
        for &(count, sum) in counted {
            let outcome = if in_time {
                Outcome::Sum(sum)
            } else {
                Outcome::Unknown
            };
            self.reply(count, outcome);
        }
    }

    // --- ranges ---

    fn load(&mut self, range: RangeId, epoch: Epoch) {
        if let Some(memory) = self.memory.get_mut(&range) {
            // Only a fault leaves memory behind.
            memory.epoch = epoch;
            memory.state = State::Serving;
            self.tell_node(Event::Loaded(range, epoch));
            return;
        }
        let early = planted(Fault::ServedBeforeLoaded);
        let state = if early {
            State::Serving
        } else {
            State::Loading
        };
        let topics = BTreeMap::new();
        self.memory.insert(
            range,
            Memory {
                epoch,
                state,
                topics,
            },
        );
        if early {
            self.tell_node(Event::Loaded(range, epoch));
        }
        self.out.push(Output::Etcd(Call::Load(range, epoch)));
        let unknown = Message::RangeRead(range, epoch, None);
        self.out.push(Output::Later(ETCD_TIMEOUT, unknown));
    }

    fn range_read(&mut self, range: RangeId, epoch: Epoch, ceilings: Option<Vec<(TopicId, u64)>>) {
        let Some(memory) = self
            .memory
            .get_mut(&range)
            .filter(|memory| memory.state == State::Loading && memory.epoch == epoch)
        else {
            return;
        };
        let Some(ceilings) = ceilings else {
            self.tell_node(Event::RangeFailed(range, epoch));
            return;
        };
        memory.state = State::Serving;
        memory.topics = ceilings
            .into_iter()
            .map(|(topic, ceiling)| {
                let row = Topic {
                    sum: ceiling,
                    ceiling,
                    ..Topic::default()
                };
                (topic, row)
            })
            .collect();
        self.tell_node(Event::Loaded(range, epoch));
    }

    fn freeze(&mut self, range: RangeId, epoch: Epoch) {
        if let Some(memory) = self
            .memory
            .get_mut(&range)
            .filter(|memory| memory.epoch == epoch)
        {
            memory.state = State::Frozen;
            self.write_exact_sums(range);
        }
    }

    /// Writes the exact sums of a frozen range once no commit is in flight.
    fn write_exact_sums(&mut self, range: RangeId) {
        let Some(memory) = self.memory.get(&range) else {
            return;
        };
        if memory.topics.values().any(|row| row.committing) {
            return;
        }
        let epoch = memory.epoch;
        let sums: Vec<(TopicId, u64)> = memory
            .topics
            .iter()
            .filter(|(_, row)| row.sum != row.ceiling)
            .map(|(&topic, row)| (topic, row.sum))
            .collect();
        if sums.is_empty() {
            self.tell_node(Event::Frozen(range, epoch));
        } else {
            self.commit(range, epoch, sums, true);
        }
    }

    fn commit(&mut self, range: RangeId, epoch: Epoch, ceilings: Vec<(TopicId, u64)>, exact: bool) {
        self.last_commit += 1;
        let id = self.last_commit;
        let guard = (!planted(Fault::CommitUnguarded)).then_some(epoch);
        self.out.push(Output::Etcd(Call::Commit {
            id,
            range,
            epoch: guard,
            ceilings: ceilings.clone(),
        }));
        self.out
            .push(Output::Later(ETCD_TIMEOUT, Message::Committed(id, None)));
        let commit = Commit {
            range,
            epoch,
            ceilings,
            exact,
        };
        self.commits.insert(id, commit);
    }

    fn committed(&mut self, id: u64, applied: Option<bool>) {
        let deadline = self.deadline;
        let Some(commit) = self.commits.remove(&id) else {
            return;
        };
        let (range, epoch) = (commit.range, commit.epoch);
        let Some(memory) = self
            .memory
            .get_mut(&range)
            .filter(|memory| memory.epoch == epoch && memory.state != State::Kept)
        else {
            return;
        };
        let ignored = applied.is_none() && planted(Fault::UnknownOutcomeIgnored);
        if applied != Some(true) && !ignored {
            self.tell_node(Event::RangeFailed(range, epoch));
            return;
        }
        for &(topic, ceiling) in &commit.ceilings {
            if let Some(row) = memory.topics.get_mut(&topic) {
                row.committing = false;
                if !ignored {
                    row.ceiling = ceiling;
                }
            }
        }
        if commit.exact && !ignored {
            self.tell_node(Event::Frozen(range, epoch));
            return;
        }
        for &(topic, _) in &commit.ceilings {
            self.serve(range, topic, deadline);
        }
        if self
            .memory
            .get(&range)
            .is_some_and(|memory| memory.state == State::Frozen)
        {
            self.write_exact_sums(range);
        }
    }

    /// Discards the memory of a range.
    fn discard(&mut self, range: RangeId) {
        let Some(mut memory) = self.memory.remove(&range) else {
            return;
        };
        for row in memory.topics.values_mut() {
            row.committing = false;
            for count in row.waiting.drain(..) {
                self.out.push(Output::Reply(count, Outcome::Unknown));
            }
        }
        if planted(Fault::MemoryKept) && memory.state != State::Loading {
            memory.state = State::Kept;
            self.memory.insert(range, memory);
        }
    }
}
