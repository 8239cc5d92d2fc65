//! Topics and their owners: defines what a valid topic is, which shard owns it, and its slot in a cluster. It knows no
//! protocol, no table and no socket.

use std::fmt;

use thiserror::Error;

mod slot;

pub use slot::{SLOTS, Slot};

/// The largest maximum topic length that a configuration may allow, in bytes. At this length, every
/// request frame (7 bytes of header, at most 8 of arguments) still fits one UDP datagram of 65,507
/// bytes.
pub const TOPIC_LEN_LIMIT: usize = 65_000;

/// The default maximum length of a topic, in bytes.
pub const DEFAULT_MAX_TOPIC_LEN: usize = 1_024;

/// A validated topic: borrowed UTF-8 text, no longer than the limit it was checked against. The
/// empty text is a topic like any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topic<'a>(&'a [u8]);

impl Slot {
    /// Returns the slot of a topic: CRC-16 of its name modulo 16384, or, if the name has a `{` and
    /// behind it a `}` with something between them, of what is between the first `{` and the first
    /// `}` behind it. Source: the Redis Cluster specification, "Hash tags".
    #[must_use]
    pub fn of(topic: Topic<'_>) -> Self {
        Self::of_name(topic.as_bytes())
    }
}

/// Why some bytes are not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Not UTF-8.
    #[error("the topic is not UTF-8")]
    NotUtf8,
    /// Longer than the limit.
    #[error("the topic is {len} bytes long, at most {max} are allowed")]
    TooLong {
        /// The length of the text, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

impl<'a> Topic<'a> {
    /// Checks that `name` is at most `max_len` bytes long and valid UTF-8.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says which check failed. The length is checked first.
    #[inline(always)]
    pub fn new(name: &'a [u8], max_len: usize) -> Result<Self, TopicError> {
        if name.len() > max_len {
            return Err(TopicError::TooLong {
                len: name.len(),
                max: max_len,
            });
        }
        // Most names are ASCII, which is faster to check than UTF-8.
        if is_ascii(name) || is_utf8(name) {
            Ok(Self(name))
        } else {
            Err(TopicError::NotUtf8)
        }
    }

    /// Returns the topic in `name`, which must be the bytes of an earlier `Topic`, kept in a batch
    /// or a table since.
    #[cfg(feature = "server")]
    pub(crate) fn checked_before(name: &'a [u8]) -> Self {
        debug_assert!(std::str::from_utf8(name).is_ok());
        Self(name)
    }

    /// Returns the topic's bytes, valid UTF-8.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the topic as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).expect("a topic was checked when it was made")
    }
}

impl fmt::Debug for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0), f)
    }
}

#[cold]
fn is_utf8(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok()
}

/// The same as [`slice::is_ascii`], which takes twice the instructions for names of 8 to 16 bytes.
#[inline]
fn is_ascii(name: &[u8]) -> bool {
    match (name.first_chunk(), name.last_chunk()) {
        // Together all bytes; some may be in both.
        (Some(&first), Some(&last)) if name.len() <= 16 => {
            (u64::from_ne_bytes(first) | u64::from_ne_bytes(last)) & 0x8080_8080_8080_8080 == 0
        }
        _ => name.is_ascii(),
    }
}

/// The number of one of a server's [`Shards`], from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

impl ShardId {
    /// Returns the id for `number`, unchecked. [`Shards::shard`] checks that a server has such a
    /// shard.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number, as in the protocol.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Returns the index in a table with one row per shard.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of shards of a server: 1 to [`Shards::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// The most shards that a server can have. Each worker has a share of every shard's channel
    /// (`HAND_OVER_CREDIT` in the server), so memory grows with the square: 256 shards take 32 MiB.
    pub const MAX: u16 = 256;

    /// One shard.
    pub const ONE: Self = Self(1);

    /// Returns `count` shards; `None` if a server cannot have that many.
    #[must_use]
    pub const fn new(count: usize) -> Option<Self> {
        if count >= 1 && count <= Self::MAX as usize {
            Some(Self(count as u16))
        } else {
            None
        }
    }

    /// Returns the number of shards.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.0
    }

    /// Returns the shard with that number; `None` if there is none.
    #[must_use]
    pub fn shard(self, number: u16) -> Option<ShardId> {
        (number < self.0).then_some(ShardId(number))
    }

    /// Returns the shards, in order.
    pub fn ids(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }

    /// Returns the range of [`owner_point`]s whose topics `shard` owns.
    #[cfg(feature = "server")]
    pub(crate) fn points(self, shard: ShardId) -> std::ops::RangeInclusive<u16> {
        let first = |number: u32| (number << 16).div_ceil(self.0.into());
        let number = u32::from(shard.0);
        let last = first(number + 1) - 1;
        first(number) as u16..=last as u16
    }

    /// Returns the shard that owns `topic`: see [`owner`].
    #[must_use]
    #[inline]
    pub fn owner(self, topic: Topic<'_>) -> ShardId {
        if self == Self::ONE {
            return ShardId(0);
        }
        ShardId(owner(topic.as_bytes(), OWNER_KEY, OWNER_MULTIPLIER, self.0))
    }
}

/// The initial value of the owner hash (the 32-bit FNV offset basis). HELLO replies carry it. It is
/// neither a secret nor a defence, so it is the same at every start: with the same number of
/// shards, a topic always has the same owner, and benchmarks can be repeated.
pub const OWNER_KEY: u32 = 0x811c_9dc5;

/// The multiplier of the owner hash (from MurmurHash3's finaliser). Of seven well-known
/// multipliers, it spread eight kinds of made-up names (`topic-7`, `user:00000007`, …) most evenly
/// over 2 to 64 shards: in 126 trials it was at most 2.0 standard deviations from chance, the
/// others 2.1 to 33.
pub const OWNER_MULTIPLIER: u32 = 0x85eb_ca6b;

/// How many whole words from the start of the topic the owner hash reads. The limit exists because
/// the kernel runs the same function as a classic BPF program, which has no loops and a maximum
/// length.
pub(crate) const OWNER_WORDS: usize = 15;

/// Returns the number of the shard that owns a topic; it is below `shards`.
///
/// All dialects use this one function. The kernel runs it too, as a socket filter that chooses the
/// socket of a datagram.
///
/// The hash starts with `h = key`. For each of the topic's first 15 whole 4-byte big-endian words:
/// `h = (h ^ word) * multiplier; h ^= h >> 15`. Then once more for the topic's last 4 bytes, but
/// with `h ^= h >> 16`. The owner is the upper half of `h`, scaled to `shards`. A topic shorter
/// than 4 bytes has no whole word; its last word is all of its bytes, with zeros above them.
#[must_use]
pub fn owner(topic: &[u8], key: u32, multiplier: u32, shards: u16) -> u16 {
    scaled(point(topic, key, multiplier), shards)
}

/// Returns the topic's point: the upper half of its owner hash. Each shard owns one range of
/// points, so the point determines the owner among any number of shards. Stores keep topics in the
/// order of their points, so that each shard can load its range.
#[cfg(feature = "server")]
#[must_use]
pub(crate) fn owner_point(topic: &[u8]) -> u16 {
    point(topic, OWNER_KEY, OWNER_MULTIPLIER)
}

fn scaled(point: u16, shards: u16) -> u16 {
    ((u32::from(point) * u32::from(shards)) >> 16) as u16
}

// A call per request, so that a lone shard's decoder, which needs no owner, stays small.
#[inline(never)]
fn point(topic: &[u8], key: u32, multiplier: u32) -> u16 {
    let mut h = key;
    for word in topic.chunks_exact(4).take(OWNER_WORDS) {
        h = (h ^ big_endian(word)).wrapping_mul(multiplier);
        h ^= h >> 15;
    }
    let last = &topic[topic.len().saturating_sub(4)..];
    h = (h ^ big_endian(last)).wrapping_mul(multiplier);
    h ^= h >> 16;
    (h >> 16) as u16
}

/// Reads up to 4 bytes as a big-endian number.
fn big_endian(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_utf8_of_limited_length() {
        for name in ["", "a", "visits today", "π/🎉", &"x".repeat(1024)] {
            let topic = Topic::new(name.as_bytes(), 1024).expect("a topic");
            assert_eq!(topic.as_bytes(), name.as_bytes());
        }
        assert_eq!(Topic::new(&[0xff], 1024), Err(TopicError::NotUtf8));
        assert_eq!(
            Topic::new(&[b'x'; 1025], 1024),
            Err(TopicError::TooLong {
                len: 1025,
                max: 1024
            })
        );
    }

    /// Each byte of a name is checked, whatever the length of the name.
    #[test]
    fn a_byte_that_is_not_ascii_is_found_anywhere() {
        for len in 0..40 {
            assert!(is_ascii(&vec![b'x'; len]));
            for at in 0..len {
                let mut name = vec![b'x'; len];
                name[at] = 0x80;
                assert!(!is_ascii(&name), "byte {at} of {len}");
            }
        }
    }

    /// Computes the owners step by step, so that an optimisation cannot change who owns a topic.
    #[test]
    fn owner_follows_its_definition() {
        let step = |h: u32, word: u32| (h ^ word).wrapping_mul(0x85eb_ca6b);
        let scale = |h: u32, n: u32| (((h >> 16) * n) >> 16) as u16;

        // "abcdef": one whole word, then the last four bytes.
        let mut h = step(0x811c_9dc5, 0x6162_6364);
        h ^= h >> 15;
        h = step(h, 0x6364_6566);
        h ^= h >> 16;
        assert_eq!(
            owner(b"abcdef", OWNER_KEY, OWNER_MULTIPLIER, 64),
            scale(h, 64)
        );

        // "ab": no whole word, its bytes are the last word.
        let mut h = step(0x811c_9dc5, 0x6162);
        h ^= h >> 16;
        assert_eq!(owner(b"ab", OWNER_KEY, OWNER_MULTIPLIER, 64), scale(h, 64));
    }

    #[test]
    fn owner_reads_fifteen_words_and_the_end() {
        let of = |topic: &[u8]| owner(topic, OWNER_KEY, OWNER_MULTIPLIER, 256);
        let mut long = vec![b'x'; 100];
        let before = of(&long);
        long[70] = b'y'; // past word 15, before the last 4 bytes
        assert_eq!(of(&long), before);
        long[99] = b'y';
        assert_ne!(of(&long), before);
    }

    #[test]
    fn every_topic_has_one_owner_and_owners_are_spread() {
        for count in [1, 2, 3, 8, 64] {
            let shards = Shards::new(count).expect("a number of shards");
            let mut owned = vec![0u32; count];
            for i in 0..20_000 {
                let name = format!("topic-{i}");
                let topic = Topic::new(name.as_bytes(), 1024).expect("a topic");
                owned[shards.owner(topic).index()] += 1;
            }
            let mean = 20_000 / count as u32;
            for n in owned {
                assert!(n.abs_diff(mean) < mean / 2, "{n} topics, {mean} expected");
            }
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn each_shard_owns_one_range_of_points() {
        for count in [1, 2, 3, 7, 8, 64, 255, 256] {
            let shards = Shards::new(count).expect("a number of shards");
            let mut next = 0;
            for shard in shards.ids() {
                let range = shards.points(shard);
                assert_eq!(u32::from(*range.start()), next);
                for point in [*range.start(), *range.end()] {
                    assert_eq!(scaled(point, shards.count()), shard.number());
                }
                next = u32::from(*range.end()) + 1;
            }
            assert_eq!(next, 1 << 16);
        }
        let shards = Shards::new(7).expect("a number of shards");
        let topic = Topic::new(b"visits", 1024).expect("a topic");
        let owner = shards.owner(topic);
        assert!(shards.points(owner).contains(&owner_point(b"visits")));
    }

    #[test]
    fn shards_are_bounded() {
        assert_eq!(Shards::new(0), None);
        assert_eq!(Shards::new(257), None);
        assert_eq!(Shards::new(256).map(Shards::count), Some(256));
        assert_eq!(Shards::ONE.shard(1), None);
    }
}
