//! Topics with their records, encoded one after another: the changes of a commit, and the topics of
//! a checkpoint.

use crate::shard::Record;
use crate::topic::{TOPIC_LEN_LIMIT, Topic};

/// A topic with its record; `None` if the topic was deleted.
pub(in crate::store) type Row<'a> = (Topic<'a>, Option<Record>);

/// Encoded topics, each with its record or with a mark that it was deleted.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    bytes: Vec<u8>,
    count: u32,
}

impl Rows {
    /// The most bytes that the encoding adds to a topic's name: the length of the name takes at
    /// most 3, each of two numbers at most 10.
    pub(in crate::store) const MAX_OVERHEAD: usize = 3 + 10 + 10;

    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a topic with its record; `None` if the topic was deleted.
    #[inline]
    pub fn push(&mut self, topic: Topic<'_>, record: Option<Record>) {
        encode(&mut self.bytes, topic, record);
        self.count += 1;
    }

    /// Returns the number of topics.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns the length of the encoding in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether there are no topics.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Removes all topics. The room is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    pub(in crate::store) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends the encoding of a topic and its record to `bytes`. docs/durability.md has the format.
fn encode(bytes: &mut Vec<u8>, topic: Topic<'_>, record: Option<Record>) {
    let name = topic.as_bytes();
    let deleted = record.is_none();
    push_number(bytes, (name.len() as u64) << 1 | u64::from(deleted));
    bytes.extend_from_slice(name);
    if let Some(Record { ceiling, sum }) = record {
        push_number(bytes, ceiling);
        push_number(bytes, ceiling - sum);
    }
}

/// Decodes encoded rows. Yields `None` in place of a row that is invalid, and ends there.
pub(in crate::store) fn decode(bytes: &[u8]) -> impl Iterator<Item = Option<Row<'_>>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let decoded = decode_row(bytes);
        rest = decoded.map(|(_, rest)| rest);
        Some(decoded.map(|(row, _)| row))
    })
}

fn decode_row(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let (head, bytes) = take_number(bytes)?;
    let len = usize::try_from(head >> 1).ok()?;
    let (name, bytes) = bytes.split_at_checked(len)?;
    let topic = Topic::new(name, TOPIC_LEN_LIMIT).ok()?;
    if head & 1 == 1 {
        return Some(((topic, None), bytes));
    }
    let (ceiling, bytes) = take_number(bytes)?;
    let (ahead, bytes) = take_number(bytes)?;
    let sum = ceiling.checked_sub(ahead)?;
    Some(((topic, Some(Record { ceiling, sum })), bytes))
}

/// Appends a number, 7 bits a byte, the lowest first. The top bit of a byte says that another one
/// follows.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * i as u32;
        if shift >= 64 || bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_row() -> impl Strategy<Value = (String, Option<Record>)> {
        let ceiling = prop_oneof![0..300_u64, any::<u64>(), Just(u64::MAX)];
        let record = (ceiling, any::<u64>()).prop_map(|(ceiling, ahead)| Record {
            ceiling,
            sum: ceiling - ahead % ceiling.saturating_add(1).max(1),
        });
        (".{0,40}", prop::option::of(record))
    }

    proptest! {
        #[test]
        fn rows_are_decoded_as_they_were_encoded(expected in prop::collection::vec(any_row(), 0..20)) {
            let mut rows = Rows::new();
            for (name, record) in &expected {
                let before = rows.len();
                rows.push(Topic::new(name.as_bytes(), 1_000).unwrap(), *record);
                prop_assert!(rows.len() - before <= name.len() + Rows::MAX_OVERHEAD);
            }
            prop_assert_eq!(rows.count() as usize, expected.len());
            let found: Vec<_> = decode(rows.as_bytes())
                .map(|row| row.map(|(topic, record)| {
                    (String::from_utf8(topic.as_bytes().to_vec()).unwrap(), record)
                }))
                .collect();
            prop_assert_eq!(found, expected.into_iter().map(Some).collect::<Vec<_>>());
        }

        /// Any bytes are decoded without a panic, and an invalid row ends the list.
        #[test]
        fn other_bytes_end_with_an_invalid_row(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let rows: Vec<_> = decode(&bytes).collect();
            let valid = rows.iter().take_while(|row| row.is_some()).count();
            prop_assert!(rows.len() - valid <= 1);
        }
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_invalid() {
        let mut bytes = Vec::new();
        push_number(&mut bytes, u64::MAX);
        assert_eq!(bytes.len(), 10);
        assert_eq!(take_number(&bytes), Some((u64::MAX, &[][..])));
        bytes[9] = 2;
        assert_eq!(take_number(&bytes), None);
        assert_eq!(take_number(&[0x80; 11]), None);
        assert_eq!(take_number(&[0x80]), None);
    }
}
