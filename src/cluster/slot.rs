//! Ranges: adjacent slots that have one owner.

use std::fmt;
use std::ops::RangeInclusive;

use crate::topic::{SLOTS, Slot};

/// The number of ranges of a new cluster. It is fixed when the cluster is created.
pub const RANGES: u16 = 1_024;

impl Slot {
    /// Returns the range of this slot in a cluster with this many ranges, a power of two up to
    /// [`SLOTS`].
    #[must_use]
    pub fn range(self, ranges: u16) -> RangeId {
        debug_assert!(ranges.is_power_of_two() && ranges <= SLOTS);
        // Without a division, which would take longer than all else here.
        RangeId(self.number() >> (SLOTS.trailing_zeros() - ranges.trailing_zeros()))
    }
}

/// Adjacent slots that have one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u16);

impl RangeId {
    /// Returns all ranges of a cluster with this many.
    pub fn all(ranges: u16) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..ranges).map(Self)
    }

    /// Returns the range with this number, or `None` if a cluster with `ranges` ranges does not have
    /// it.
    #[must_use]
    pub const fn new(number: u16, ranges: u16) -> Option<Self> {
        if number < ranges {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns the range's number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Returns the range's place in a list of all ranges.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Returns the slots of this range in a cluster with this many ranges.
    #[must_use]
    pub fn slots(self, ranges: u16) -> RangeInclusive<u16> {
        let each = SLOTS / ranges;
        self.0 * each..=self.0 * each + (each - 1)
    }
}

/// Four decimal digits, as in the keys of etcd.
impl fmt::Display for RangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_each_slot_once() {
        for ranges in [1, 8, RANGES, SLOTS] {
            let mut next = 0;
            for range in RangeId::all(ranges) {
                for number in range.slots(ranges) {
                    assert_eq!(number, next);
                    let slot = Slot::new(number).expect("a slot");
                    assert_eq!(slot.range(ranges), range);
                    next += 1;
                }
            }
            assert_eq!(next, SLOTS);
        }
    }
}
