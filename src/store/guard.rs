//! Detects whether a store loads everything that was ever reported as durable. The database
//! verifies checksums, but it takes a journal that is unreadable from some byte on for one that was
//! being written when the power failed, and forgets what follows. This module tells the two apart,
//! and notices whatever else is missing or has come back.
//!
//! - **The head**: each commit also writes a record of how many topics there are, a sum of hashes
//!   of all of them, and the commit's number. What is loaded has to give the same values.
//! - **The witness**: after a commit is durable, and before its result is reported, a head with the
//!   next number is written behind it without a sync. Commits have odd numbers, witnesses even
//!   ones. A journal is searched for witnesses *before* the database opens it
//!   (`journal.rs`): if there is one, the commit before it was durable, and the
//!   database must find it. A commit without a witness may be torn.
//! - **The mark**: after a clean shutdown, a separate file says which commit was the last.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The number of a data directory: tells its heads from anything else in a journal.
pub(super) type StoreId = [u8; 16];

/// The state after all commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: StoreId,
    /// Odd for a commit, even for a witness; each greater than all before.
    pub(super) commit: u64,
    /// Counts the servers that have started on this directory.
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
    /// Adds a topic; `key` is its key in the database.
    pub(super) fn add(&mut self, key: &[u8], ceiling: u64) {
        self.topics = self.topics.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, ceiling));
    }

    /// Removes a topic.
    pub(super) fn remove(&mut self, key: &[u8], ceiling: u64) {
        self.topics = self.topics.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, ceiling));
    }

    /// Adds the topics of `other`, which has none in common with `self`.
    pub(super) fn merge(&mut self, other: Self) {
        self.topics = self.topics.wrapping_add(other.topics);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Returns the number of topics.
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
    fn a_head_is_decoded_as_it_was_encoded() {
        let mut head = head(7);
        head.digest.add(b"key", 9);
        assert_eq!(Head::decode(&head.encode()), Some(head));
        assert_eq!(Head::decode(&head.encode()[1..]), None);
        assert_eq!(Head::decode(b""), None);
    }

    #[test]
    fn a_digest_depends_on_the_set_alone() {
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
