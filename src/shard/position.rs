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
    /// one, few enough that a cursor of them and a shard's number is below 2^53.
    pub const BITS: u32 = 45;

    /// The top bits of a hash that do not belong to the position, nor do the lowest 12. The table
    /// tells the rows of a segment apart by these; the upper bits of the position do not differ.
    const SKIPPED_BITS: u32 = 7;

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
    ///
    /// Positions are twice as dense at the start as at the end: the fraction `u` of the hash's range
    /// becomes the fraction `u (2 + u) / 3` of the positions'. If they were equally dense, all
    /// segments of a table would fill up and be split at the same time, and a table of 7.4 million
    /// topics would take 75 bytes a topic, just after it took 39. Like this, some are nearly full
    /// and others were just split at any time, and a table of any size takes about 55.
    #[inline]
    pub(crate) const fn of(hash: u64) -> Self {
        let u = hash << Self::SKIPPED_BITS;
        let factor = u64::MAX / 3 * 2 + u / 3;
        let position = (u as u128 * factor as u128) >> u64::BITS;
        Self((position as u64) >> (u64::BITS - Self::BITS))
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
    fn a_position_is_below_2_to_the_45() {
        assert_eq!(Position::new(1 << 45), None);
        let last = Position::new((1 << 45) - 1).expect("the last");
        assert_eq!(last.next(), None);
        assert_eq!(Position::START.next().map(Position::number), Some(1));
    }

    #[test]
    fn positions_follow_the_middle_bits_of_the_hash() {
        assert_eq!(Position::of(0xfe00_0000_0000_0fff), Position::START);
        let of = |fraction: f64| Position::of((fraction * 2_f64.powi(57)) as u64);
        let all = 2_f64.powi(45);
        let mut before = None;
        for i in 0..1_000 {
            let u = f64::from(i) / 1_000.0;
            let expected = u * (2.0 + u) / 3.0;
            let position = of(u);
            assert!((position.number() as f64 / all - expected).abs() < 1e-12);
            assert!(Some(position) > before);
            before = Some(position);
        }
        let last = Position::of(u64::MAX).number();
        assert!(((1 << 45) - 4..1 << 45).contains(&last));
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
