//! What a node does with its ranges: claims, loads, hands over and drops them, until each is in the state
//! that view and placement call for.

use super::action::{Action, Request};
use super::event::Answer;
use super::fault::{Fault, planted};
use super::lease::{Live, Phase};
use super::node::{Node, RETRY_DELAY, SETTLING_TIME};
use super::ownership::Ownership;
use super::requests::{ClaimAttempt, Purpose};
use super::slot::RangeId;
use super::time::Moment;
use super::view::{Claim, Epoch, NodeName, SessionId};

/// The most ranges that one transaction claims: with the comparisons of old sessions, less than the 128
/// that etcd allows in a transaction.
const MAX_CLAIMS: usize = 32;

/// The most ranges that are handed over at a time. Requests for a range wait while it moves, so few at a
/// time keep the wait short.
const MAX_MOVES: usize = 8;

impl Node {
    // --- what a range is brought to ---

    pub(super) fn advance_ranges(&mut self, now: Moment, session: SessionId) {
        let settled = self.settled_at <= now;
        let mut moves = self.ranges.iter().filter(|range| range.is_moving()).count();
        let mut attempts = Vec::new();
        for range in RangeId::all(self.config.ranges) {
            if self.lost(range, session) {
                let epoch = self.ranges[range.index()].epoch().unwrap_or_default();
                self.drop_range(range, epoch);
                continue;
            }
            match self.ranges[range.index()] {
                Ownership::Absent { fenced, retry_at } if retry_at <= now => {
                    if let Some(attempt) = self.begin_range(range, session, fenced, settled) {
                        attempts.push(attempt);
                    }
                }
                Ownership::Serving(epoch) if settled && moves < MAX_MOVES => {
                    moves += usize::from(self.begin_move(range, epoch));
                }
                _ => {}
            }
        }
        for attempts in attempts.chunks(MAX_CLAIMS) {
            self.send_claims(session, attempts);
        }
    }

    /// Returns whether the range's memory is of an epoch that has ended.
    fn lost(&self, range: RangeId, session: SessionId) -> bool {
        let (Some(epoch), Some(claim)) =
            (self.ranges[range.index()].epoch(), self.view.claim(range))
        else {
            return false;
        };
        // A claim of an earlier epoch in the view means that the view is behind.
        claim.epoch > epoch || (claim.epoch == epoch && claim.session != session)
    }

    /// Begins to own a range that this node has no memory of, if it is to own it. Returns what to
    /// claim, or `None` if the range needs no claim or is not this node's.
    fn begin_range(
        &mut self,
        range: RangeId,
        session: SessionId,
        fenced: Epoch,
        settled: bool,
    ) -> Option<ClaimAttempt> {
        let claim = self.view.claim(range).cloned();
        if let Some(claim) = claim.as_ref().filter(|claim| claim.session == session) {
            let epoch = claim.epoch;
            if self.leaving && self.no_successor() {
                return None;
            }
            if epoch > fenced || planted(Fault::UnknownOutcomeIgnored) {
                self.load(range, epoch);
            } else {
                *self.range(range) = Ownership::Reclaiming;
                let request = Request::Reclaim {
                    session,
                    range,
                    epoch,
                };
                self.send(Purpose::Reclaim(range, fenced), request);
            }
            return None;
        }
        let free = claim.as_ref().is_none_or(|claim| !self.view.is_live(claim));
        let assigned = self.placement[range.index()].as_ref() == Some(&self.config.name);
        (settled && free && assigned && !self.leaving).then(|| {
            *self.range(range) = Ownership::Claiming;
            ClaimAttempt {
                range,
                previous: claim,
            }
        })
    }

    /// Begins to hand over a range if it is assigned to another node, or if this node leaves as the
    /// last one. Returns whether it did.
    fn begin_move(&mut self, range: RangeId, epoch: Epoch) -> bool {
        let successor = match &self.placement[range.index()] {
            Some(node) if *node != self.config.name => {
                let Some(session) = self.view.session(node) else {
                    return false;
                };
                Some((node.clone(), session.id))
            }
            _ if self.leaving && self.no_successor() => None,
            _ => return false,
        };
        *self.range(range) = Ownership::Freezing(epoch, successor);
        self.actions.push(Action::Freeze(range, epoch));
        true
    }

    pub(super) fn drop_range(&mut self, range: RangeId, fenced: Epoch) {
        *self.range(range) = Ownership::Dropping { fenced };
        self.actions.push(Action::Drop(range));
    }

    fn send_claims(&mut self, session: SessionId, attempts: &[ClaimAttempt]) {
        let mut replaced: Vec<(NodeName, Option<SessionId>)> = Vec::new();
        for claim in attempts
            .iter()
            .filter_map(|attempt| attempt.previous.as_ref())
        {
            if !replaced.iter().any(|(node, _)| *node == claim.node) {
                let other = self.view.session(&claim.node).map(|session| session.id);
                replaced.push((claim.node.clone(), other));
            }
        }
        let ranges = attempts.iter().map(|attempt| attempt.range).collect();
        let request = Request::Claim {
            session,
            attempts: attempts.to_vec(),
            replaced,
        };
        self.send(Purpose::Claim(ranges), request);
    }

    // --- answers of etcd and of the shards ---

    pub(super) fn claimed(&mut self, now: Moment, ranges: &[RangeId], answer: &Answer) {
        let (Answer::Applied(revision), Phase::Live(live)) = (answer, &self.phase) else {
            for &range in ranges {
                *self.range(range) = Ownership::Absent {
                    fenced: Epoch::default(),
                    retry_at: now + RETRY_DELAY,
                };
            }
            self.read_again(now);
            return;
        };
        let (session, epoch) = (live.session, Epoch(*revision));
        for &range in ranges {
            self.load_own(range, session, epoch);
        }
    }

    pub(super) fn reclaimed(
        &mut self,
        now: Moment,
        range: RangeId,
        fenced: Epoch,
        answer: &Answer,
    ) {
        if let (Answer::Applied(revision), Phase::Live(live)) = (answer, &self.phase) {
            let session = live.session;
            self.load_own(range, session, Epoch(*revision));
            return;
        }
        *self.range(range) = Ownership::Absent {
            fenced,
            retry_at: now + RETRY_DELAY,
        };
        self.read_again(now);
    }

    /// Loads a range whose claim this node has just written.
    fn load_own(&mut self, range: RangeId, session: SessionId, epoch: Epoch) {
        let claim = Claim {
            node: self.config.name.clone(),
            session,
            epoch,
        };
        self.view.put_claim(range, claim);
        self.load(range, epoch);
    }

    pub(super) fn handed_over(
        &mut self,
        range: RangeId,
        epoch: Epoch,
        to: NodeName,
        to_session: SessionId,
        answer: &Answer,
    ) {
        if *self.range(range) != Ownership::HandingOver(epoch) {
            return;
        }
        if let Answer::Applied(revision) = *answer {
            let claim = Claim {
                node: to,
                session: to_session,
                epoch: Epoch(revision),
            };
            self.view.put_claim(range, claim);
        } else if planted(Fault::FrozenRangeThaws) {
            *self.range(range) = Ownership::Serving(epoch);
            self.actions.push(Action::Load(range, epoch));
            self.settled_at = self.now + 2 * SETTLING_TIME; // and is handed over later
            return;
        }
        self.drop_range(range, epoch);
    }

    /// Lets the shards load a range at this epoch.
    fn load(&mut self, range: RangeId, epoch: Epoch) {
        *self.range(range) = Ownership::Loading(epoch);
        self.actions.push(Action::Load(range, epoch));
        self.owners_changed = true;
    }

    pub(super) fn frozen(&mut self, range: RangeId, epoch: Epoch) {
        let Phase::Live(Live { session, .. }) = self.phase else {
            return;
        };
        let Ownership::Freezing(of, successor) = self.range(range) else {
            return;
        };
        if *of != epoch {
            return;
        }
        let Some((to, to_session)) = successor.take() else {
            *self.range(range) = Ownership::Closed(epoch);
            return;
        };
        *self.range(range) = Ownership::HandingOver(epoch);
        let request = Request::HandOver {
            session,
            range,
            epoch,
            to: to.clone(),
            to_session,
        };
        self.send(Purpose::HandOver(range, epoch, to, to_session), request);
    }

    // --- leaving ---

    /// Returns whether all nodes drain, so that nobody takes over.
    pub(super) fn no_successor(&self) -> bool {
        self.view
            .sessions()
            .values()
            .all(|session| session.draining)
    }

    /// Returns whether nothing is left to hand over.
    pub(super) fn has_left(&self, session: SessionId) -> bool {
        let alone = self.no_successor();
        RangeId::all(self.config.ranges).all(|range| match &self.ranges[range.index()] {
            Ownership::Closed(_) => true,
            Ownership::Absent { .. } => {
                alone
                    || self
                        .view
                        .claim(range)
                        .is_none_or(|claim| claim.session != session)
            }
            _ => false,
        })
    }
}
