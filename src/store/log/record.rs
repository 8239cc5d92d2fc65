//! The encoding of a record. docs/durability.md has the format.

use crate::store::encoding::{Rows, Seed};

/// Records start at multiples of this many bytes, the smallest unit that a disk writes. So writing a
/// record never touches the sectors of the one before.
pub(super) const SECTOR: usize = 512;

/// The length of a record before its changes.
pub(super) const HEADER: usize = 32;

const CHECKSUM: usize = 8;

/// What the header of a record says, beside its checksum and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The checksum of the record before.
    pub(super) previous: u64,
    /// One more than the number of the record before.
    pub(super) number: u64,
    /// The run of the server that wrote the record.
    pub(super) run: u32,
}

/// A whole record, as it is found in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) checksum: u64,
    /// The length of the changes in bytes.
    pub(super) changes: usize,
}

impl Record {
    /// Returns the length of the record in its segment, with the unused rest of its last sector.
    pub(super) fn padded(self) -> usize {
        padded(self.changes)
    }
}

/// Returns the length of a record whose changes take `changes` bytes.
pub(super) fn padded(changes: usize) -> usize {
    (HEADER + changes).next_multiple_of(SECTOR)
}

/// Encodes a record into `buffer`. Returns its checksum.
pub(super) fn encode(buffer: &mut Vec<u8>, header: Header, changes: &Rows, seed: Seed) -> u64 {
    let Header {
        previous,
        number,
        run,
    } = header;
    let changes = changes.as_bytes();
    buffer.clear();
    buffer.extend_from_slice(&[0; CHECKSUM]);
    buffer.extend_from_slice(&previous.to_be_bytes());
    buffer.extend_from_slice(&number.to_be_bytes());
    buffer.extend_from_slice(&run.to_be_bytes());
    // A record lies within a segment, so its length fits.
    buffer.extend_from_slice(&(changes.len() as u32).to_be_bytes());
    buffer.extend_from_slice(changes);
    let checksum = seed.checksum(&buffer[CHECKSUM..]);
    buffer[..CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    buffer.resize(padded(changes.len()), 0);
    checksum
}

/// Returns the record that starts at the first of `bytes`, if it is whole and its number is in
/// `numbers`.
pub(super) fn decode(
    bytes: &[u8],
    numbers: std::ops::RangeInclusive<u64>,
    seed: Seed,
) -> Option<Record> {
    let (&checksum, rest) = bytes.split_first_chunk::<CHECKSUM>()?;
    let (&previous, fields) = rest.split_first_chunk()?;
    let (&number, fields) = fields.split_first_chunk()?;
    let (&run, fields) = fields.split_first_chunk()?;
    let (&len, fields) = fields.split_first_chunk()?;
    let header = Header {
        previous: u64::from_be_bytes(previous),
        number: u64::from_be_bytes(number),
        run: u32::from_be_bytes(run),
    };
    let checksum = u64::from_be_bytes(checksum);
    let changes = u32::from_be_bytes(len) as usize;
    if !numbers.contains(&header.number) || changes > fields.len() {
        return None;
    }
    let checked = &rest[..HEADER - CHECKSUM + changes];
    (seed.checksum(checked) == checksum).then_some(Record {
        header,
        checksum,
        changes,
    })
}
