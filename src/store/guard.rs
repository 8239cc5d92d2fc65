//! Finds out whether what a store loads is all that was ever acknowledged. The database checks what
//! it reads by checksums, but takes a journal that can't be read on from some place for one that was
//! being written when the power went, and forgets what follows. This tells the two apart, and
//! whatever else went missing or came back.
//!
//! - **The head**: each commit also writes a record of how many topics there are, a sum of hashes of
//!   all of them, and the commit's number. What is loaded has to come to the same.
//! - **The witness**: after a commit is durable, and before it is acknowledged, a head with the next
//!   number is written behind it, and not waited for. Commits have odd numbers, witnesses even ones.
//!   A journal is searched for witnesses *before* the database opens it ([`journal`](super::journal)):
//!   where there is one, the commit before it was durable, and must be among what the database then
//!   comes to. A commit without one may be torn.
//! - **The mark**: after a clean end, a file of its own says which commit was the last.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Tells the heads of one data directory from anything else in a journal.
pub(super) type StoreId = [u8; 16];

/// Where all commits have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: StoreId,
    /// Odd for a commit, even for a witness; each greater than all before.
    pub(super) commit: u64,
    /// Counts servers that began with this directory.
    pub(super) run: u32,
    pub(super) digest: Digest,
}

/// A set of topics with their ceilings, in 16 bytes: the same for any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    topics: u64,
    sum: u64,
}

impl Digest {
    /// With a topic more. `key` is what it is stored under.
    pub(super) fn add(&mut self, key: &[u8], ceiling: u64) {
        self.topics = self.topics.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, ceiling));
    }

    /// With a topic less.
    pub(super) fn remove(&mut self, key: &[u8], ceiling: u64) {
        self.topics = self.topics.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, ceiling));
    }

    /// Both together, which have no topic in common.
    pub(super) fn merge(&mut self, other: Self) {
        self.topics = self.topics.wrapping_add(other.topics);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many topics.
    pub(super) fn topics(self) -> u64 {
        self.topics
    }
}

fn hash(key: &[u8], ceiling: u64) -> u64 {
    xxh3_64_with_seed(key, ceiling)
}

impl Head {
    const LEN: usize = 16 + 8 + 4 + 8 + 8;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut at = 0;
        for field in [
            &self.id[..],
            &self.commit.to_be_bytes(),
            &self.run.to_be_bytes(),
            &self.digest.topics.to_be_bytes(),
            &self.digest.sum.to_be_bytes(),
        ] {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (run, rest) = rest.split_first_chunk()?;
        let (topics, rest) = rest.split_first_chunk()?;
        let (sum, []) = rest.split_first_chunk()? else {
            return None;
        };
        Some(Self {
            id: *id,
            commit: u64::from_be_bytes(*commit),
            run: u32::from_be_bytes(*run),
            digest: Digest {
                topics: u64::from_be_bytes(*topics),
                sum: u64::from_be_bytes(*sum),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: StoreId = *b"0123456789abcdef";

    fn head(commit: u64) -> Head {
        Head {
            id: ID,
            commit,
            run: 3,
            digest: Digest::default(),
        }
    }

    #[test]
    fn a_head_is_what_was_written() {
        let mut head = head(7);
        head.digest.add(b"key", 9);
        assert_eq!(Head::decode(&head.encode()), Some(head));
        assert_eq!(Head::decode(&head.encode()[1..]), None);
        assert_eq!(Head::decode(b""), None);
    }

    #[test]
    fn a_digest_is_that_of_the_set() {
        let mut digest = Digest::default();
        for (key, ceiling) in [("a", 1), ("b", 2), ("c", 3)] {
            digest.add(key.as_bytes(), ceiling);
        }
        let [mut one, mut other] = [Digest::default(); 2];
        other.add(b"c", 3);
        one.add(b"b", 2);
        one.add(b"a", 7);
        one.remove(b"a", 7);
        one.add(b"a", 1);
        other.merge(one);
        assert_eq!((digest, digest.topics()), (other, 3));
        for (key, ceiling) in [("a", 2), ("b", 1)] {
            let mut other = digest;
            other.remove(key.as_bytes(), 3 - ceiling);
            other.add(key.as_bytes(), ceiling);
            assert_ne!(other, digest);
        }
    }
}
