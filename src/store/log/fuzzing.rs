//! The fuzz target of a record of the log, and the replay of its corpus.

use super::record::{self, Header};
use crate::store::encoding::{Rows, Seed, decode};

/// Reads `bytes` as a segment of the log, then as the changes of a record. What was encoded must be
/// found again, and not if a bit of it is wrong.
pub fn log_record(bytes: &[u8]) {
    let seed = Seed::of(7);
    let found = record::decode(bytes, 0..=u64::MAX, seed);
    assert!(found.is_none_or(|found| found.changes <= bytes.len()));

    let mut changes = Rows::new();
    for (topic, record) in decode(bytes).map_while(|row| row) {
        changes.push(topic, record);
    }
    let header = Header {
        previous: 1,
        number: 2,
        run: 3,
    };
    let mut segment = Vec::new();
    let checksum = record::encode(&mut segment, header, &changes, seed);
    assert_eq!(segment.len(), record::padded(changes.len()));
    let found = record::decode(&segment, 2..=2, seed).expect("it is whole");
    assert_eq!(
        (found.header, found.checksum, found.changes),
        (header, checksum, changes.len())
    );
    let body = &segment[record::HEADER..][..found.changes];
    assert!(decode(body).eq(decode(changes.as_bytes())));
    assert_eq!(decode(body).count(), changes.count() as usize);
    assert_eq!(
        record::decode(&segment, 3..=9, seed),
        None,
        "another number"
    );
    assert_eq!(
        record::decode(&segment, 2..=2, Seed::of(8)),
        None,
        "another directory"
    );
    let wrong = bytes.len() % (record::HEADER + found.changes);
    segment[wrong] ^= 1 << (bytes.len() % 8);
    assert_eq!(record::decode(&segment, 2..=2, seed), None, "byte {wrong}");
}

#[cfg(test)]
mod tests {
    use super::log_record;

    #[test]
    fn its_corpus_is_read() {
        crate::corpus::replay("log_record", log_record);
    }
}
