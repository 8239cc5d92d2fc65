//! Slots: the parts of all topics of which each has one owner in a cluster. Servers and clients compute the
//! slot of a topic from its name.

/// The number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// A part of all topics, 0 to 16383. Clients of Redis Cluster compute the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Returns the slot of the topic with this name.
    pub(super) fn of_name(name: &[u8]) -> Self {
        Self(crc16(hashed_part(name)) % SLOTS)
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

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected. Eight bytes at a time ("slicing"), so
/// that the lookups of a step do not wait for each other.
fn crc16(bytes: &[u8]) -> u16 {
    let (steps, rest) = bytes.as_chunks();
    let crc = steps.iter().fold(0u16, |crc, step: &[u8; STEP]| {
        let [high, low] = crc.to_be_bytes();
        let mut step = *step;
        step[0] ^= high;
        step[1] ^= low;
        let parts = step.iter().zip(CRC16.iter().rev());
        parts.fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| {
        (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)]
    })
}

const STEP: usize = 8;

/// The CRC of each byte, followed by as many zero bytes as the number of the table.
static CRC16: [[u16; 256]; STEP] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
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
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str) -> u16 {
        Slot::of_name(name.as_bytes()).number()
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
    fn eight_bytes_at_a_time_give_the_same_as_one_bit_at_a_time() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(167) ^ 0x5a).collect();
        for len in 0..bytes.len() {
            let mut expected = 0u16;
            for byte in &bytes[..len] {
                expected ^= u16::from(*byte) << 8;
                for _ in 0..8 {
                    let carry = expected & 0x8000 != 0;
                    expected = (expected << 1) ^ if carry { 0x1021 } else { 0 };
                }
            }
            assert_eq!(crc16(&bytes[..len]), expected, "{len} bytes");
        }
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
}
