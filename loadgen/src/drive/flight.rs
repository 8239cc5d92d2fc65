//! Requests in flight on one connection, and which of them a reply is for.

use std::collections::{HashMap, VecDeque};

use globalcounter::protocol::Op;

use crate::target::Matching;

/// The most requests that a connection has in flight: a backlog in an open loop waits outside, and
/// counts from when it was due all the same.
pub(crate) const MAX_IN_FLIGHT: usize = 1 << 16;

/// The same where ids have 16 bits: half of them tell a place's uses apart.
pub(crate) const MAX_IN_FLIGHT_BY_ID16: usize = 1 << 8;

/// The most requests without a reply that are remembered in case it comes late.
const MAX_OVERDUE: usize = 1 << 20;

/// How many ids of a place are tried for one that is not overdue: all of 16 bits.
const ID_TRIES: u32 = 255;

/// A request that was made. Times are nanoseconds of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) op: Op,
    pub(crate) topic: u32,
    /// When it should have been made.
    pub(crate) due: u64,
    /// When it was, or a little before.
    pub(crate) sent: u64,
}

/// What a reply was for.
#[derive(Debug)]
pub(super) enum Answered {
    /// A request in flight.
    InTime(Asked),
    /// One that was given up.
    Late(Asked),
    /// None.
    Unasked,
}

/// The requests in flight on one connection.
#[derive(Debug)]
pub(super) enum Flight {
    InOrder(VecDeque<Asked>),
    ById(Places),
}

/// Requests by id. An id is a place and, above it, how often the place was used: so the reply to a
/// request that was given up is not taken for the reply to the next one.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Place>,
    free: Vec<u32>,
    place_bits: u32,
    id_mask: u32,
    overdue: HashMap<u32, Asked>,
    /// None in flight was sent before that.
    oldest: u64,
    /// Were overdue, until their ids were needed or there were too many.
    forgotten: Vec<Asked>,
}

#[derive(Debug)]
struct Place {
    id: u32,
    asked: Option<Asked>,
}

impl Flight {
    pub(super) fn new(matching: Matching) -> Self {
        match matching {
            Matching::InOrder => Self::InOrder(VecDeque::new()),
            Matching::ById(bits) => {
                let most = if bits > u16::BITS {
                    MAX_IN_FLIGHT
                } else {
                    MAX_IN_FLIGHT_BY_ID16
                };
                Self::ById(Places {
                    places: Vec::new(),
                    free: Vec::new(),
                    place_bits: most.ilog2(),
                    id_mask: u32::MAX >> (u32::BITS - bits),
                    overdue: HashMap::new(),
                    oldest: 0,
                    forgotten: Vec::new(),
                })
            }
        }
    }

    /// The most that there can be at a time.
    pub(super) fn limit(&self) -> usize {
        match self {
            Self::InOrder(_) => MAX_IN_FLIGHT,
            Self::ById(places) => 1 << places.place_bits,
        }
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::InOrder(waiting) => waiting.len(),
            Self::ById(places) => places.places.len() - places.free.len(),
        }
    }

    /// Adds a request; returns its id.
    #[inline]
    pub(super) fn add(&mut self, asked: Asked) -> u32 {
        match self {
            Self::InOrder(waiting) => {
                waiting.push_back(asked);
                0
            }
            Self::ById(places) => places.add(asked),
        }
    }

    /// The request that a reply with `id` is for; it is in flight no more.
    #[inline]
    pub(super) fn take(&mut self, id: u32) -> Answered {
        match self {
            Self::InOrder(waiting) => waiting
                .pop_front()
                .map_or(Answered::Unasked, Answered::InTime),
            Self::ById(places) => places.take(id),
        }
    }

    /// Whether there may be some that were sent before `before`: mostly it takes no search to tell.
    pub(super) fn may_expire(&self, before: u64) -> bool {
        match self {
            Self::InOrder(waiting) => waiting.front().is_some_and(|first| first.sent < before),
            Self::ById(places) => places.oldest < before,
        }
    }

    /// Gives up those sent before `before`. In order, that is all of them as soon as the first one
    /// is: whose the next reply would be is then unknown.
    pub(super) fn expire(&mut self, before: u64, mut lost: impl FnMut(Asked)) {
        if !self.may_expire(before) {
            return;
        }
        match self {
            Self::InOrder(waiting) => {
                waiting.drain(..).for_each(lost);
            }
            Self::ById(places) => places.expire(before, &mut lost),
        }
    }

    /// Those that were given up and whose late reply would not be known any more.
    pub(super) fn take_forgotten(&mut self) -> Vec<Asked> {
        match self {
            Self::InOrder(_) => Vec::new(),
            Self::ById(places) => std::mem::take(&mut places.forgotten),
        }
    }

    /// Those that no reply came for yet: in flight, or given up.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Asked> {
        let (in_order, by_id) = match self {
            Self::InOrder(waiting) => (Some(waiting), None),
            Self::ById(places) => (None, Some(places)),
        };
        let by_id = by_id.into_iter().flat_map(|by_id| {
            let in_flight = by_id.places.iter().filter_map(|place| place.asked.as_ref());
            in_flight
                .chain(by_id.overdue.values())
                .chain(&by_id.forgotten)
        });
        in_order.into_iter().flatten().chain(by_id)
    }
}

impl Places {
    #[inline]
    fn add(&mut self, asked: Asked) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = self.places.len() as u32;
            self.places.push(Place {
                id: number,
                asked: None,
            });
            number
        });
        let place = &mut self.places[number as usize];
        if !self.overdue.is_empty() {
            // An id under which a late reply may come is used again only where all others are, too.
            let uses = (self.id_mask >> self.place_bits).min(ID_TRIES);
            for _ in 0..uses {
                if !self.overdue.contains_key(&place.id) {
                    break;
                }
                place.id = place.id.wrapping_add(1 << self.place_bits) & self.id_mask;
            }
            self.forgotten.extend(self.overdue.remove(&place.id));
        }
        place.asked = Some(asked);
        place.id
    }

    #[inline]
    fn take(&mut self, id: u32) -> Answered {
        let number = id & ((1 << self.place_bits) - 1);
        if let Some(place) = self.places.get_mut(number as usize)
            && place.id == id
            && let Some(asked) = place.asked.take()
        {
            place.id = place.id.wrapping_add(1 << self.place_bits) & self.id_mask;
            self.free.push(number);
            return Answered::InTime(asked);
        }
        self.overdue
            .remove(&id)
            .map_or(Answered::Unasked, Answered::Late)
    }

    fn expire(&mut self, before: u64, lost: &mut impl FnMut(Asked)) {
        // Those that are asked from now on are sent later than that.
        self.oldest = before;
        let in_flight = self.places.iter().filter_map(|place| place.asked.as_ref());
        if let Some(oldest) = in_flight.map(|asked| asked.sent).min() {
            self.oldest = oldest.max(before);
        }
        for number in 0..self.places.len() {
            let id = self.places[number].id;
            let due = self.places[number]
                .asked
                .is_some_and(|asked| asked.sent < before);
            if due && let Answered::InTime(asked) = self.take(id) {
                if self.overdue.len() < MAX_OVERDUE {
                    self.forgotten.extend(self.overdue.insert(id, asked));
                } else {
                    self.forgotten.push(asked);
                }
                lost(asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(topic: u32, sent: u64) -> Asked {
        Asked {
            op: Op::Count,
            topic,
            due: sent,
            sent,
        }
    }

    fn topic(answered: &Answered) -> Option<(bool, u32)> {
        match answered {
            Answered::InTime(asked) => Some((true, asked.topic)),
            Answered::Late(asked) => Some((false, asked.topic)),
            Answered::Unasked => None,
        }
    }

    #[test]
    fn replies_find_their_requests_by_id() {
        let mut flight = Flight::new(Matching::ById(32));
        let ids = [1, 2, 3].map(|topic| flight.add(asked(topic, 0)));
        assert_eq!(topic(&flight.take(ids[1])), Some((true, 2)));
        assert_eq!(topic(&flight.take(ids[1])), None, "answered twice");
        assert_ne!(
            flight.add(asked(4, 0)),
            ids[1],
            "the same place, another id"
        );
        assert_eq!(flight.len(), 3);
        assert_eq!(topic(&flight.take(77)), None);
        assert_eq!(flight.unanswered().count(), 3);
    }

    #[test]
    fn late_replies_are_told_from_new_ones() {
        for bits in [16, 32] {
            let mut flight = Flight::new(Matching::ById(bits));
            let id = flight.add(asked(1, 10));
            flight.expire(10, |_| panic!("not before"));
            let mut lost = Vec::new();
            flight.expire(11, |asked| lost.push(asked.topic));
            assert_eq!((lost, flight.len()), (vec![1], 0));
            assert_eq!(flight.unanswered().count(), 1, "it may still come");
            let next = flight.add(asked(2, 20));
            assert_eq!(topic(&flight.take(id)), Some((false, 1)));
            assert_eq!(topic(&flight.take(next)), Some((true, 2)));
        }
    }

    #[test]
    fn ids_stay_within_their_bits() {
        let mut flight = Flight::new(Matching::ById(16));
        for round in 0..1_000 {
            let id = flight.add(asked(round, 0));
            assert!(id <= u16::MAX.into());
            assert_eq!(topic(&flight.take(id)), Some((true, round)));
        }
        assert_eq!(flight.limit(), MAX_IN_FLIGHT_BY_ID16);
    }

    /// Every loss is told of at some time: still overdue, or forgotten.
    #[test]
    fn no_loss_is_swallowed_when_ids_come_round() {
        let mut flight = Flight::new(Matching::ById(16));
        let (mut lost, mut forgotten) = (0, 0);
        for round in 0..1_000 {
            flight.add(asked(0, round));
            flight.expire(round + 1, |_| lost += 1);
            forgotten += flight.take_forgotten().len();
        }
        assert_eq!(lost, 1_000);
        assert_eq!(flight.unanswered().count() + forgotten, 1_000);
    }

    #[test]
    fn in_order_one_loss_loses_all() {
        let mut flight = Flight::new(Matching::InOrder);
        flight.add(asked(1, 10));
        flight.add(asked(2, 20));
        assert_eq!(topic(&flight.take(0)), Some((true, 1)));
        flight.add(asked(3, 30));
        let mut lost = 0;
        flight.expire(21, |_| lost += 1);
        assert_eq!((lost, flight.len()), (2, 0));
    }
}
