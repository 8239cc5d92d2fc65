//! The position of a topic in the order that a scan follows.

/// A position in the order of the topics' keyed hashes, from which a scan continues: below 2^45.
///
/// It depends on the topic's name and the shard's key, not on where the table stores the topic. So
/// it stays valid whatever is inserted or removed and however the table grows. It means nothing to
/// another shard or after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The first position: at or before every topic.
    pub const START: Self = Self(0);

    /// The number of bits of a position: enough that two topics out of millions hardly ever share
    /// one, few enough to leave hashbrown the bits that it uses.
    pub const BITS: u32 = 45;

    /// The lowest bit of a hash that belongs to the position. hashbrown takes a row's bucket from
    /// the lowest bits (12 for up to 4,096 buckets) and its tag from the top 7. These must differ
    /// between the rows of a segment, and the upper bits of the position do not.
    const SHIFT: u32 = 12;

    /// Creates the position with this number; `None` if it is 2^45 or more.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number >> Self::BITS == 0 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns the number, below 2^45.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the position of the topic with this hash.
    pub(super) const fn of(hash: u64) -> Self {
        Self((hash >> Self::SHIFT) & ((1 << Self::BITS) - 1))
    }

    /// Returns the next position, or `None` after the last.
    pub(super) const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// Returns the first `bits` bits as a number.
    pub(super) const fn prefix(self, bits: u32) -> usize {
        (self.0 >> (Self::BITS - bits)) as usize
    }

    /// Returns the bit that follows the first `bits` bits.
    pub(super) const fn bit(self, bits: u32) -> bool {
        self.prefix(bits + 1) & 1 == 1
    }

    /// Returns whether this is the first position with the same first `bits` bits.
    pub(super) const fn starts_prefix(self, bits: u32) -> bool {
        self.0.trailing_zeros() >= Self::BITS - bits
    }

    /// Returns the first later position whose first `bits` bits differ, if there is one.
    pub(super) const fn after_prefix(self, bits: u32) -> Option<Self> {
        let rest = Self::BITS - bits;
        Self::new(((self.0 >> rest) + 1) << rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_45_bits_of_the_hash() {
        assert_eq!(Position::of(u64::MAX).number(), (1 << 45) - 1);
        assert_eq!(Position::of(0xfe00_0000_0000_0fff), Position::START);
        assert_eq!(Position::new(1 << 45), None);
        let last = Position::new((1 << 45) - 1).expect("the last");
        assert_eq!(last.next(), None);
        assert_eq!(Position::START.next().map(Position::number), Some(1));
    }

    #[test]
    fn prefixes_cut_the_order_into_ranges() {
        let number = 0b1011 << 41 | 7;
        let position = Position::new(number).expect("below 2^45");
        assert_eq!(position.prefix(0), 0);
        assert_eq!(position.prefix(3), 0b101);
        assert!(position.bit(0) && !position.bit(1) && position.bit(2));
        assert_eq!(position.after_prefix(0), None);
        assert_eq!(position.after_prefix(1), None);
        assert_eq!(
            position.after_prefix(2).map(Position::number),
            Some(0b11 << 43)
        );
        assert_eq!(position.after_prefix(45), position.next());
        assert!(Position::START.starts_prefix(0) && position.starts_prefix(45));
        assert!(!position.starts_prefix(44));
        let third = Position::new(0b11 << 43).expect("below 2^45");
        assert!(third.starts_prefix(2) && third.starts_prefix(3) && !third.starts_prefix(1));
    }
}
