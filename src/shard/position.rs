//! Where a topic stands in the order that a scan follows.

/// A place in the order of the topics' keyed hashes, by which a scan goes on: below 2^45.
///
/// It is a property of a topic's name and the shard's key, not of where the table keeps it: so it
/// stays good whatever comes, goes and grows meanwhile, and means nothing to another shard or
/// after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before every topic.
    pub const START: Self = Self(0);

    /// How many bits a position has: as many as two topics of millions hardly ever share, few
    /// enough to leave those alone that hashbrown works with.
    pub const BITS: u32 = 45;

    /// Where a position's bits begin in a hash. hashbrown takes a row's bucket from the lowest
    /// bits (12 for up to 4,096 buckets) and tells rows apart by the top 7. Those must not be the
    /// same for all rows of a segment, as the upper bits of the position are.
    const SHIFT: u32 = 12;

    /// The position of that number; `None` from 2^45 on.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number >> Self::BITS == 0 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number, below 2^45.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The position of the topic of that hash.
    pub(super) const fn of(hash: u64) -> Self {
        Self((hash >> Self::SHIFT) & ((1 << Self::BITS) - 1))
    }

    /// The one after it; `None` where it is the last.
    pub(super) const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// Its first `bits` bits, as a number.
    pub(super) const fn prefix(self, bits: u32) -> usize {
        (self.0 >> (Self::BITS - bits)) as usize
    }

    /// The bit after its first `bits` bits.
    pub(super) const fn bit(self, bits: u32) -> bool {
        self.prefix(bits + 1) & 1 == 1
    }

    /// The first one that differs from it in the first `bits` bits and comes after it.
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
    }
}
