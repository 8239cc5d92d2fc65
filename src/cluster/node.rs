//! A node: takes events, keeps its session and its view, and returns what is to be done.

use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Request};
use super::event::{Answer, Event};
use super::lease::{Live, Phase, deadline};
use super::ownership::Ownership;
use super::placement::place;
use super::requests::{Pending, Purpose, Ticket};
use super::slot::RangeId;
use super::time::Moment;
use super::view::{Leadership, LeaseId, NodeName, SessionId, View};

/// How long the set of sessions must not have changed before a node acts on it. A node that restarts, or
/// several that start together, cause one move of ranges instead of many.
pub(super) const SETTLING_TIME: Duration = Duration::from_secs(1);

/// How long a node waits before it repeats what failed.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(200);

/// What a node has to know of itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub name: NodeName,
    /// The time to live of its lease.
    pub lease: Duration,
    /// The number of ranges of the cluster, as stored in etcd.
    pub ranges: u16,
}

/// Where requests for a range go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// To the shards of this node, which may have to hold them for a moment.
    ThisNode,
    /// To another node.
    Other(NodeName, Arc<str>),
    /// Nowhere now: the owner's session has ended, or there never was an owner.
    Nobody,
}

/// See the [module documentation](super) and docs/cluster.md.
#[derive(Debug)]
pub struct Node {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) pending: Pending,
    pub(super) view: View,
    /// Whether a watch continues the view.
    watching: bool,
    read_at: Moment,
    /// The assigned node of each range.
    pub(super) placement: Vec<Option<NodeName>>,
    /// When the set of sessions counts as settled.
    pub(super) settled_at: Moment,
    pub(super) ranges: Vec<Ownership>,
    pub(super) leaving: bool,
    /// The moment of the last event.
    pub(super) now: Moment,
    pub(super) actions: Vec<Action>,
    /// Whether what [`owner`](Self::owner) returns may have changed in this event.
    pub(super) owners_changed: bool,
}

impl Node {
    /// Creates a node that has no session yet. It begins with the first event, a
    /// [`Timer`](Event::Timer).
    #[must_use]
    pub fn new(config: Config) -> Self {
        let ranges = usize::from(config.ranges);
        Self {
            phase: Phase::Idle {
                retry_at: Moment::START,
            },
            pending: Pending::default(),
            view: View::new(config.ranges),
            watching: false,
            read_at: Moment::START,
            placement: vec![None; ranges],
            settled_at: Moment::START,
            ranges: vec![Ownership::NONE; ranges],
            leaving: false,
            now: Moment::START,
            actions: Vec::new(),
            owners_changed: false,
            config,
        }
    }

    /// Takes an event that happened at `now` and returns what is to be done. `now` never goes back.
    #[must_use]
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Timer => {}
            Event::Answer(ticket, answer) => self.answered(now, ticket, answer),
            Event::Watched {
                revision,
                sessions,
                claims,
            } => {
                let mut changed = false;
                for change in sessions {
                    changed |= self.view.change_session(revision, change);
                }
                if changed {
                    self.sessions_changed(now);
                }
                for (range, claim) in claims {
                    self.view.put_claim(range, claim);
                }
                self.owners_changed = true;
            }
            Event::WatchBroken => self.watching = false,
            Event::Loaded(range, epoch) => {
                if *self.range(range) == Ownership::Loading(epoch) {
                    *self.range(range) = Ownership::Serving(epoch);
                    self.owners_changed = true;
                }
            }
            Event::Frozen(range, epoch) => self.frozen(range, epoch),
            Event::RangeFailed(range, epoch) => {
                if self.range(range).epoch() == Some(epoch) {
                    self.drop_range(range, epoch);
                }
            }
            Event::Dropped(range) => {
                if let Ownership::Dropping { fenced } = *self.range(range) {
                    *self.range(range) = Ownership::Absent {
                        fenced,
                        retry_at: now,
                    };
                    self.owners_changed = true;
                }
            }
            Event::AllDropped => self.all_dropped(now),
            Event::Leave => self.leaving = true,
        }
        self.advance(now);
        if std::mem::take(&mut self.owners_changed) {
            self.actions.push(Action::OwnersChanged);
        }
        std::mem::take(&mut self.actions)
    }

    /// Returns when the next [`Timer`](Event::Timer) event is due, `None` if the node waits for
    /// something else.
    #[must_use]
    pub fn next_timer(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Idle { retry_at } => Some(*retry_at),
            Phase::Live(live) => {
                let retries = self.ranges.iter().filter_map(|range| match range {
                    Ownership::Absent { retry_at, .. } => Some(*retry_at),
                    _ => None,
                });
                // What was due by the last event was done then, or waits for something else.
                retries
                    .chain([self.settled_at, self.read_at])
                    .chain(live.renew_at())
                    .filter(|&at| at > self.now)
                    .min()
            }
            Phase::Granting { .. }
            | Phase::Creating { .. }
            | Phase::Ending { .. }
            | Phase::Left => None,
        }
    }

    /// Returns where requests for a range go, as far as this node knows.
    #[must_use]
    pub fn owner(&self, range: RangeId) -> Owner {
        if self.ranges[range.index()].epoch().is_some() {
            return Owner::ThisNode;
        }
        match self.view.claim(range) {
            Some(claim) if claim.node != self.config.name && self.view.is_live(claim) => {
                let address = self
                    .view
                    .session(&claim.node)
                    .map(|session| session.address.clone());
                address.map_or(Owner::Nobody, |address| {
                    Owner::Other(claim.node.clone(), address)
                })
            }
            _ => Owner::Nobody,
        }
    }

    /// Returns the deadline of the session, `None` if there is no session.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Live(live) => Some(live.deadline()),
            _ => None,
        }
    }

    pub(super) fn range(&mut self, range: RangeId) -> &mut Ownership {
        &mut self.ranges[range.index()]
    }

    pub(super) fn send(&mut self, purpose: Purpose, request: Request) {
        let ticket = self.pending.add(purpose);
        self.actions.push(Action::Send(ticket, request));
    }

    // --- answers of etcd ---

    fn answered(&mut self, now: Moment, ticket: Ticket, answer: Answer) {
        let Some(purpose) = self.pending.take(ticket) else {
            return;
        };
        match purpose {
            Purpose::Grant => self.granted(now, &answer),
            Purpose::CreateSession => self.session_created(now, &answer),
            Purpose::Renew => self.renewed(now, &answer),
            Purpose::ReadState => self.state_read(now, answer),
            Purpose::Claim(ranges) => self.claimed(now, &ranges, &answer),
            Purpose::Reclaim(range, epoch) => self.reclaimed(now, range, epoch, &answer),
            Purpose::HandOver(range, epoch, to, session) => {
                self.handed_over(range, epoch, to, session, &answer);
            }
            Purpose::MarkDraining | Purpose::Revoke => {}
        }
    }

    fn granted(&mut self, now: Moment, answer: &Answer) {
        let Phase::Granting { sent_at } = self.phase else {
            return;
        };
        let Answer::Granted(lease) = *answer else {
            self.phase = Phase::Idle {
                retry_at: now + RETRY_DELAY,
            };
            return;
        };
        self.phase = Phase::Creating {
            lease,
            deadline: deadline(sent_at, self.config.lease),
        };
        self.send(Purpose::CreateSession, Request::CreateSession { lease });
    }

    fn session_created(&mut self, now: Moment, answer: &Answer) {
        let Phase::Creating { lease, deadline } = self.phase else {
            return;
        };
        match *answer {
            Answer::Created(session, leadership) => {
                self.begin_session(now, lease, session, deadline, leadership);
            }
            // The key is of another process, or of this node's previous one; or the outcome is
            // unknown. The lease is of no use then.
            _ => {
                self.send(Purpose::Revoke, Request::Revoke { lease });
                self.phase = Phase::Idle {
                    retry_at: now + RETRY_DELAY,
                };
            }
        }
    }

    fn begin_session(
        &mut self,
        now: Moment,
        lease: LeaseId,
        session: SessionId,
        deadline: Moment,
        leadership: Leadership,
    ) {
        let live = Live::new(now, self.config.lease, lease, session, deadline, leadership);
        self.phase = Phase::Live(live);
        self.actions.push(Action::SetDeadline(deadline));
        self.watching = false;
        self.read_at = now;
    }

    fn renewed(&mut self, now: Moment, answer: &Answer) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        match *answer {
            Answer::Renewed(leadership) => {
                if live.renewed(now, self.config.lease, leadership) {
                    let deadline = live.deadline();
                    self.actions.push(Action::SetDeadline(deadline));
                }
            }
            Answer::Expired => self.end_session(),
            _ => live.renewal_failed(),
        }
    }

    fn state_read(&mut self, now: Moment, answer: Answer) {
        let Answer::State(snapshot) = answer else {
            self.read_at = now + RETRY_DELAY;
            return;
        };
        let after = snapshot.revision;
        if self.view.load(snapshot) {
            self.sessions_changed(now);
        }
        self.watching = true;
        self.actions.push(Action::Watch { after });
        self.owners_changed = true;
    }

    /// Reads sessions and claims again: the view was behind, or an outcome is unknown.
    pub(super) fn read_again(&mut self, now: Moment) {
        self.watching = false;
        self.read_at = self.read_at.max(now);
    }

    // --- the session ---

    fn end_session(&mut self) {
        let lease = match &self.phase {
            Phase::Live(live) => Some(live.lease),
            _ => None,
        };
        self.phase = Phase::Ending { lease };
        self.pending.forget_all();
        self.ranges.fill(Ownership::NONE);
        self.watching = false;
        self.actions.push(Action::DropAll);
    }

    /// All memory is gone, so a new session may begin: its deadline cannot cover a reply from old
    /// memory (rule 5).
    fn all_dropped(&mut self, now: Moment) {
        let Phase::Ending { lease } = self.phase else {
            return;
        };
        if let Some(lease) = lease {
            self.send(Purpose::Revoke, Request::Revoke { lease });
        }
        if self.leaving {
            self.phase = Phase::Left;
            self.actions.push(Action::Left);
        } else {
            self.phase = Phase::Idle { retry_at: now };
        }
    }

    fn sessions_changed(&mut self, now: Moment) {
        self.placement = place(&self.view, self.config.ranges, &self.config.name);
        self.settled_at = now + SETTLING_TIME;
    }

    // --- what is due ---

    fn advance(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Idle { retry_at } if *retry_at <= now => {
                if self.leaving {
                    self.phase = Phase::Left;
                    self.actions.push(Action::Left);
                    return;
                }
                self.phase = Phase::Granting { sent_at: now };
                let ttl = self.config.lease;
                self.send(Purpose::Grant, Request::Grant { ttl });
            }
            Phase::Live(live) => {
                let (lease, session) = (live.lease, live.session);
                if live.renew_at().is_some_and(|at| at <= now) {
                    live.renewal_sent(now, self.config.lease);
                    self.send(Purpose::Renew, Request::Renew { lease });
                }
                self.advance_session(now, session);
            }
            _ => {}
        }
    }

    fn advance_session(&mut self, now: Moment, session: SessionId) {
        if !self.watching
            && self.read_at <= now
            && !self.pending.any(|purpose| *purpose == Purpose::ReadState)
        {
            self.send(Purpose::ReadState, Request::ReadState);
        }
        match self.view.session(&self.config.name) {
            Some(own) if own.id == session => {}
            // The view is older than the session.
            _ if self.view.revision() < session.0 => return,
            _ => {
                self.end_session();
                return;
            }
        }
        if self.leaving {
            self.advance_leaving(session);
        }
        self.advance_ranges(now, session);
        if self.leaving && self.has_left(session) {
            self.end_session();
        }
    }

    fn advance_leaving(&mut self, session: SessionId) {
        let draining = self
            .view
            .session(&self.config.name)
            .is_some_and(|own| own.draining);
        if !draining
            && !self
                .pending
                .any(|purpose| *purpose == Purpose::MarkDraining)
        {
            self.send(Purpose::MarkDraining, Request::MarkDraining { session });
        }
    }
}
