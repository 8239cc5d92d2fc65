//! Requests in flight on one connection, and which of them a reply belongs to.

use std::collections::{HashMap, VecDeque};

use globalcounter::protocol::Op;

use crate::target::Matching;

/// The most requests in flight on a connection. The backlog of an open loop waits outside; its
/// latency counts from when it was due all the same.
pub(crate) const MAX_IN_FLIGHT: usize = 1 << 16;

/// The same limit if ids have 16 bits: half of the bits tell the uses of a slot apart.
pub(crate) const MAX_IN_FLIGHT_BY_ID16: usize = 1 << 8;

/// The most timed-out requests that are remembered in case their replies arrive late.
const MAX_OVERDUE: usize = 1 << 20;

/// How many ids of a slot are tried to find one that is not overdue: all of them with 16 bits.
const ID_TRIES: u32 = 255;

/// A request that was made. Times are nanoseconds since the run began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) op: Op,
    pub(crate) topic: u32,
    /// When it should have been made.
    pub(crate) due: u64,
    /// When it was made, or a little before.
    pub(crate) sent: u64,
}

/// The request that a reply belongs to.
#[derive(Debug)]
pub(super) enum ReplyMatch {
    /// A request in flight.
    InTime(Pending),
    /// A request that timed out.
    Late(Pending),
    /// No request.
    Unknown,
}

/// The requests in flight on one connection.
#[derive(Debug)]
pub(super) enum InFlight {
    InOrder(VecDeque<Pending>),
    ById(Slots),
}

/// Requests by id. The low bits of an id are the number of a slot, the high bits how often the slot
/// was used. So a late reply to a request that timed out is not taken for the reply to the next
/// request in the same slot.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    slot_bits: u32,
    id_mask: u32,
    /// Requests that timed out, by id.
    overdue: HashMap<u32, Pending>,
    /// No request in flight was sent before this time.
    oldest: u64,
    /// Requests that were overdue until their ids were needed again, or there were too many.
    forgotten: Vec<Pending>,
}

#[derive(Debug)]
struct Slot {
    id: u32,
    pending: Option<Pending>,
}

impl InFlight {
    pub(super) fn new(matching: Matching) -> Self {
        match matching {
            Matching::InOrder => Self::InOrder(VecDeque::new()),
            Matching::ById(bits) => {
                let limit = if bits > u16::BITS {
                    MAX_IN_FLIGHT
                } else {
                    MAX_IN_FLIGHT_BY_ID16
                };
                Self::ById(Slots {
                    slots: Vec::new(),
                    free: Vec::new(),
                    slot_bits: limit.ilog2(),
                    id_mask: u32::MAX >> (u32::BITS - bits),
                    overdue: HashMap::new(),
                    oldest: 0,
                    forgotten: Vec::new(),
                })
            }
        }
    }

    /// Returns the most requests that can be in flight at a time.
    pub(super) fn limit(&self) -> usize {
        match self {
            Self::InOrder(_) => MAX_IN_FLIGHT,
            Self::ById(slots) => 1 << slots.slot_bits,
        }
    }

    /// Returns the number of requests in flight.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::InOrder(queue) => queue.len(),
            Self::ById(slots) => slots.slots.len() - slots.free.len(),
        }
    }

    /// Adds a request and returns its id.
    #[inline]
    pub(super) fn add(&mut self, pending: Pending) -> u32 {
        match self {
            Self::InOrder(queue) => {
                queue.push_back(pending);
                0
            }
            Self::ById(slots) => slots.add(pending),
        }
    }

    /// Removes and returns the request that a reply with `id` belongs to.
    #[inline]
    pub(super) fn take(&mut self, id: u32) -> ReplyMatch {
        match self {
            Self::InOrder(queue) => queue
                .pop_front()
                .map_or(ReplyMatch::Unknown, ReplyMatch::InTime),
            Self::ById(slots) => slots.take(id),
        }
    }

    /// Returns whether requests sent before `before` may be in flight. Cheaper than a search, and
    /// mostly false.
    pub(super) fn may_expire(&self, before: u64) -> bool {
        match self {
            Self::InOrder(queue) => queue.front().is_some_and(|first| first.sent < before),
            Self::ById(slots) => slots.oldest < before,
        }
    }

    /// Times out the requests sent before `before` and calls `lost` for each. In order, all
    /// requests time out as soon as the first one does: it is then unknown which of them the next
    /// reply belongs to.
    pub(super) fn expire(&mut self, before: u64, mut lost: impl FnMut(Pending)) {
        if !self.may_expire(before) {
            return;
        }
        match self {
            Self::InOrder(queue) => {
                queue.drain(..).for_each(lost);
            }
            Self::ById(slots) => slots.expire(before, &mut lost),
        }
    }

    /// Returns the requests that timed out and whose late replies can no longer be matched.
    pub(super) fn take_forgotten(&mut self) -> Vec<Pending> {
        match self {
            Self::InOrder(_) => Vec::new(),
            Self::ById(slots) => std::mem::take(&mut slots.forgotten),
        }
    }

    /// Returns the requests without a reply, in flight or timed out.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Pending> {
        let (in_order, by_id) = match self {
            Self::InOrder(queue) => (Some(queue), None),
            Self::ById(slots) => (None, Some(slots)),
        };
        let by_id = by_id.into_iter().flat_map(|by_id| {
            let in_flight = by_id.slots.iter().filter_map(|slot| slot.pending.as_ref());
            in_flight
                .chain(by_id.overdue.values())
                .chain(&by_id.forgotten)
        });
        in_order.into_iter().flatten().chain(by_id)
    }
}

impl Slots {
    #[inline]
    fn add(&mut self, pending: Pending) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = self.slots.len() as u32;
            self.slots.push(Slot {
                id: number,
                pending: None,
            });
            number
        });
        let slot = &mut self.slots[number as usize];
        if !self.overdue.is_empty() {
            // An overdue id, under which a late reply may arrive, is used again only if all ids of
            // the slot are overdue.
            let uses = (self.id_mask >> self.slot_bits).min(ID_TRIES);
            for _ in 0..uses {
                if !self.overdue.contains_key(&slot.id) {
                    break;
                }
                slot.id = slot.id.wrapping_add(1 << self.slot_bits) & self.id_mask;
            }
            self.forgotten.extend(self.overdue.remove(&slot.id));
        }
        slot.pending = Some(pending);
        slot.id
    }

    #[inline]
    fn take(&mut self, id: u32) -> ReplyMatch {
        let number = id & ((1 << self.slot_bits) - 1);
        if let Some(slot) = self.slots.get_mut(number as usize)
            && slot.id == id
            && let Some(pending) = slot.pending.take()
        {
            slot.id = slot.id.wrapping_add(1 << self.slot_bits) & self.id_mask;
            self.free.push(number);
            return ReplyMatch::InTime(pending);
        }
        self.overdue
            .remove(&id)
            .map_or(ReplyMatch::Unknown, ReplyMatch::Late)
    }

    fn expire(&mut self, before: u64, lost: &mut impl FnMut(Pending)) {
        // Requests made from now on are sent later than `before`.
        self.oldest = before;
        let in_flight = self.slots.iter().filter_map(|slot| slot.pending.as_ref());
        if let Some(oldest) = in_flight.map(|pending| pending.sent).min() {
            self.oldest = oldest.max(before);
        }
        for number in 0..self.slots.len() {
            let id = self.slots[number].id;
            let is_due = self.slots[number]
                .pending
                .is_some_and(|pending| pending.sent < before);
            if is_due && let ReplyMatch::InTime(pending) = self.take(id) {
                if self.overdue.len() < MAX_OVERDUE {
                    self.forgotten.extend(self.overdue.insert(id, pending));
                } else {
                    self.forgotten.push(pending);
                }
                lost(pending);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(topic: u32, sent: u64) -> Pending {
        Pending {
            op: Op::Count,
            topic,
            due: sent,
            sent,
        }
    }

    /// Returns whether a reply came in time, and its topic.
    fn topic(reply: &ReplyMatch) -> Option<(bool, u32)> {
        match reply {
            ReplyMatch::InTime(pending) => Some((true, pending.topic)),
            ReplyMatch::Late(pending) => Some((false, pending.topic)),
            ReplyMatch::Unknown => None,
        }
    }

    #[test]
    fn replies_find_their_requests_by_id() {
        let mut in_flight = InFlight::new(Matching::ById(32));
        let ids = [1, 2, 3].map(|topic| in_flight.add(request(topic, 0)));
        assert_eq!(topic(&in_flight.take(ids[1])), Some((true, 2)));
        assert_eq!(topic(&in_flight.take(ids[1])), None, "answered twice");
        assert_ne!(
            in_flight.add(request(4, 0)),
            ids[1],
            "the same slot, another id"
        );
        assert_eq!(in_flight.len(), 3);
        assert_eq!(topic(&in_flight.take(77)), None);
        assert_eq!(in_flight.unanswered().count(), 3);
    }

    #[test]
    fn late_replies_are_told_from_new_ones() {
        for bits in [16, 32] {
            let mut in_flight = InFlight::new(Matching::ById(bits));
            let id = in_flight.add(request(1, 10));
            in_flight.expire(10, |_| panic!("expired too early"));
            let mut lost = Vec::new();
            in_flight.expire(11, |pending| lost.push(pending.topic));
            assert_eq!((lost, in_flight.len()), (vec![1], 0));
            assert_eq!(in_flight.unanswered().count(), 1, "its reply may arrive");
            let next = in_flight.add(request(2, 20));
            assert_eq!(topic(&in_flight.take(id)), Some((false, 1)));
            assert_eq!(topic(&in_flight.take(next)), Some((true, 2)));
        }
    }

    #[test]
    fn ids_stay_within_their_bits() {
        let mut in_flight = InFlight::new(Matching::ById(16));
        for round in 0..1_000 {
            let id = in_flight.add(request(round, 0));
            assert!(id <= u16::MAX.into());
            assert_eq!(topic(&in_flight.take(id)), Some((true, round)));
        }
        assert_eq!(in_flight.limit(), MAX_IN_FLIGHT_BY_ID16);
    }

    /// Every lost request stays known: it is overdue or forgotten.
    #[test]
    fn no_loss_disappears_when_ids_wrap_around() {
        let mut in_flight = InFlight::new(Matching::ById(16));
        let (mut lost, mut forgotten) = (0, 0);
        for round in 0..1_000 {
            in_flight.add(request(0, round));
            in_flight.expire(round + 1, |_| lost += 1);
            forgotten += in_flight.take_forgotten().len();
        }
        assert_eq!(lost, 1_000);
        assert_eq!(in_flight.unanswered().count() + forgotten, 1_000);
    }

    #[test]
    fn in_order_one_loss_loses_all() {
        let mut in_flight = InFlight::new(Matching::InOrder);
        in_flight.add(request(1, 10));
        in_flight.add(request(2, 20));
        assert_eq!(topic(&in_flight.take(0)), Some((true, 1)));
        in_flight.add(request(3, 30));
        let mut lost = 0;
        in_flight.expire(21, |_| lost += 1);
        assert_eq!((lost, in_flight.len()), (2, 0));
    }
}
