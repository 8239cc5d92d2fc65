//! How a row stores its name and its value: three words for the name, one for the value.
//!
//! A name of up to 24 bytes is stored in the row itself. If it is shorter, zeros fill the rest, and
//! the last byte tells the length. So two names are equal if the three words are, and comparing
//! them needs no loop. A longer name is stored elsewhere ([`LongNames`]).

use super::long_names::LongNames;
use super::segment::Row;
use crate::topic::Topic;

/// The longest name that is stored in its row.
const INLINE: usize = 24;

/// The last byte is this plus the length if the name is shorter than [`INLINE`]. Otherwise the last
/// byte is the name's own, which is less: a name is UTF-8, whose last byte is below 0xc0.
const SHORTER: u8 = 0xc0;

/// The last byte if the name is elsewhere. The first word is the hash then, the second the number
/// among the long names plus 1, and the third the length as well.
const LONG: u8 = 0xff;

/// The words of a name, as rows store them; for a long name, the second is 0, as in no row.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameWords([u64; 3]);

impl NameWords {
    #[inline(always)]
    pub(super) fn new(name: &[u8], hash: u64) -> Self {
        let len = name.len();
        let [first, second, third] = match len {
            ..8 => [tail(name), 0, 0],
            8..16 => [word(name, 0), tail(&name[8..]), 0],
            16 => [word(name, 0), word(name, 8), 0],
            17..INLINE => [word(name, 0), word(name, 8), tail(&name[16..])],
            INLINE => return Self([word(name, 0), word(name, 8), word(name, 16)]),
            _ => return Self([hash, 0, last_byte(LONG) | len as u64]),
        };
        Self([first, second, third | last_byte(SHORTER + len as u8)])
    }

    #[inline]
    pub(super) fn is_long(self) -> bool {
        self.0[2] >= last_byte(LONG)
    }

    /// Returns whether a row has the same words: only if its name is the same, and never if that is
    /// a long one.
    #[inline]
    pub(super) fn are_in(self, row: &Row) -> bool {
        let [a, b, c] = self.0;
        let [x, y, z, _] = words(row);
        // Without branches, which would be mispredicted before the row has arrived from memory.
        (a ^ x) | (b ^ y) | (c ^ z) == 0
    }

    /// Returns the number of the row's name among the long names, if it is one of the same hash and
    /// length.
    #[inline]
    pub(super) fn long_name_in(self, row: &Row) -> Option<usize> {
        let [hash, _, end] = self.0;
        let [row_hash, _, row_end, _] = words(row);
        (hash == row_hash && end == row_end).then(|| number(row))
    }

    /// Returns whether this, the words of `name`, is the name of a row.
    #[inline]
    pub(super) fn is_name_of(self, row: &Row, name: &[u8], long_names: &LongNames) -> bool {
        if !self.is_long() {
            return self.are_in(row);
        }
        let number = self.long_name_in(row);
        number.is_some_and(|number| long_names.name(number) == name)
    }

    /// Makes a row of the name with these words.
    pub(super) fn row(self, name: &[u8], value: u64, long_names: &mut LongNames) -> Row {
        let [first, mut second, third] = self.0;
        if self.is_long() {
            second = long_names.insert(name) as u64 + 1;
        }
        let mut row = [0; _];
        let words = [first, second, third, value];
        for (bytes, word) in row.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        row
    }
}

/// Returns whether a name is too long for a row.
#[inline]
pub(super) fn is_long(name: &[u8]) -> bool {
    name.len() > INLINE
}

/// Returns the name that a row stores.
#[inline]
pub(super) fn topic<'a>(row: &'a Row, long_names: &'a LongNames) -> Topic<'a> {
    let name = match row[INLINE - 1] {
        LONG => long_names.name(number(row)),
        last @ SHORTER.. => &row[..usize::from(last - SHORTER)],
        _ => &row[..INLINE],
    };
    Topic::checked_before(name)
}

/// Returns the hash of the row's name: the stored one, or what `hash` returns for the name.
#[inline]
pub(super) fn hash(row: &Row, hash: impl FnOnce(&[u8]) -> u64) -> u64 {
    match row[INLINE - 1] {
        LONG => words(row)[0],
        last @ SHORTER.. => hash(&row[..usize::from(last - SHORTER)]),
        _ => hash(&row[..INLINE]),
    }
}

/// Returns the number of the row's name among the long names, if it is one.
pub(super) fn long_name(row: &Row) -> Option<usize> {
    (row[INLINE - 1] == LONG).then(|| number(row))
}

/// Returns the number among the long names that a row stores.
#[inline]
fn number(row: &Row) -> usize {
    (words(row)[1] - 1) as usize
}

/// Returns the row's value.
#[inline]
pub(super) fn value(row: &Row) -> u64 {
    words(row)[3]
}

/// Returns the bytes of the row's value, little-endian.
#[inline]
pub(super) fn value_mut(row: &mut Row) -> &mut [u8; 8] {
    &mut row.as_chunks_mut::<8>().0[3]
}

#[inline]
fn words(row: &Row) -> [u64; 4] {
    let (words, _) = row.as_chunks::<8>();
    let word = |i: usize| u64::from_le_bytes(words[i]);
    [word(0), word(1), word(2), word(3)]
}

const fn last_byte(byte: u8) -> u64 {
    (byte as u64) << 56
}

#[inline]
fn word(name: &[u8], at: usize) -> u64 {
    name[at..]
        .first_chunk()
        .map_or(0, |&word| u64::from_le_bytes(word))
}

/// Returns up to 7 bytes as a word, with zeros behind them.
#[inline]
fn tail(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(&first), Some(&last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let word = |half| u64::from(u32::from_le_bytes(half));
        // The two overlap, with the same bits.
        return word(first) | word(last) << (8 * (len - 4));
    }
    match *bytes {
        [] => 0,
        [a, .., c] => {
            u64::from(a)
                | u64::from(bytes[len / 2]) << (8 * (len / 2))
                | u64::from(c) << (8 * (len - 1))
        }
        [a] => a.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of every length, some with the bytes that fill up shorter ones.
    fn names() -> Vec<String> {
        let mut names = vec!["π/🎉".repeat(4), "\u{10ffff}".repeat(6)];
        for len in 0..80 {
            names.extend(["x".repeat(len), "\0".repeat(len), "\u{7f}".repeat(len)]);
            names.push(
                (0..len)
                    .map(|i| char::from(b'a' + (i % 26) as u8))
                    .collect(),
            );
        }
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn a_row_stores_its_name_and_value() {
        let mut long_names = LongNames::default();
        for (value, name) in (7..).zip(names()) {
            let words = NameWords::new(name.as_bytes(), 5);
            let mut row = words.row(name.as_bytes(), value, &mut long_names);
            assert_eq!(topic(&row, &long_names).as_bytes(), name.as_bytes());
            assert_eq!(super::value(&row), value);
            *value_mut(&mut row) = 1_u64.to_le_bytes();
            assert_eq!(super::value(&row), 1);
            assert_eq!(topic(&row, &long_names).as_bytes(), name.as_bytes());
            assert!(words.is_name_of(&row, name.as_bytes(), &long_names));
            assert_eq!(words.is_long(), name.len() > 24);
            assert_eq!(words.are_in(&row), !words.is_long());
            assert_eq!(long_name(&row).is_some(), name.len() > 24);
            let expected = if words.is_long() { 5 } else { 9 };
            let hash = hash(&row, |bytes| {
                assert_eq!(bytes, name.as_bytes());
                9
            });
            assert_eq!(hash, expected);
        }
    }

    #[test]
    fn names_are_equal_only_to_themselves() {
        let mut long_names = LongNames::default();
        let names = names();
        let rows: Vec<Row> = names
            .iter()
            .map(|name| NameWords::new(name.as_bytes(), 5).row(name.as_bytes(), 0, &mut long_names))
            .collect();
        for name in &names {
            let words = NameWords::new(name.as_bytes(), 5);
            for (row, other) in rows.iter().zip(&names) {
                let same = words.is_name_of(row, name.as_bytes(), &long_names);
                assert_eq!(same, name == other, "{name:?} {other:?}");
            }
        }
    }
}
