//! Slots and ranges: which part of all topics a topic belongs to.

use std::fmt;
use std::ops::RangeInclusive;

use crate::topic::Topic;

/// The number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// The number of ranges of a new cluster. It is fixed when the cluster is created.
pub const RANGES: u16 = 1_024;

/// A part of all topics, 0 to 16383. Clients of Redis Cluster compute the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Returns the slot of a topic: CRC-16 of its name modulo 16384, or, if the name has a `{` and
    /// behind it a `}` with something between them, of what is between the first `{` and the first
    /// `}` behind it. Source: the Redis Cluster specification, "Hash tags".
    #[must_use]
    pub fn of(topic: Topic<'_>) -> Self {
        Self(crc16(hashed_part(topic.as_bytes())) % SLOTS)
    }

    /// Returns the slot with this number, or `None` if there is none.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// Returns the slot's number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Returns the range of this slot in a cluster with this many ranges, a power of two up to
    /// [`SLOTS`].
    #[must_use]
    pub fn range(self, ranges: u16) -> RangeId {
        debug_assert!(ranges.is_power_of_two() && ranges <= SLOTS);
        RangeId(self.0 / (SLOTS / ranges))
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

fn hashed_part(name: &[u8]) -> &[u8] {
    let Some(open) = name.iter().position(|&byte| byte == b'{') else {
        return name;
    };
    let tag = &name[open + 1..];
    match tag.iter().position(|&byte| byte == b'}') {
        Some(len) if len > 0 => &tag[..len],
        _ => name,
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

static CRC16: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str) -> u16 {
        Slot::of(Topic::new(name.as_bytes(), 100).expect("a topic")).number()
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The check value of CRC-16/XMODEM, and answers of `CLUSTER KEYSLOT`.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("bar"), 5_061);
        assert_eq!(slot(""), 0);
    }

    #[test]
    fn only_the_first_tag_counts() {
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
        // An empty tag, or one that is not closed, is none.
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_ne!(slot("foo{bar"), slot("bar"));
    }

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
