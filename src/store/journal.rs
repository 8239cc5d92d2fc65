//! Checks fjall's journals before fjall opens them: everything in them that was durable must be
//! whole. The format is from the source of fjall 3.1 (`src/journal/entry.rs`); fjall's own numbers
//! are little-endian.
//!
//! ```text
//! start   01, how many items (4 bytes), sequence number (8)
//! item    02, kind (1), compression (1), keyspace (8), lengths of key (2), value (4), value as written
//!         (4); key, value
//! end     03, XXH3 of the items (8), "FJL" 03
//! ```
//!
//! A batch is a start, items and an end. After the last batch a journal has zeros, room for more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use super::error::StoreError;
use super::guard::StoreId;
use crate::topic::TOPIC_LEN_LIMIT;

const EXTENSION: &str = "jnl";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";

const START_LEN: usize = 13;
const ITEM_LEN: usize = 21;
const END_LEN: usize = 13;

/// How many bytes are read at once.
const PIECE: usize = 256 * 1024;

/// The longest key or value that a store writes. Bytes that claim a longer one are not an item.
const LONGEST: usize = TOPIC_LEN_LIMIT + 64;

/// Checks the journals in `directory` before the database opens them: it would forget everything
/// after the damage, and with it the evidence that there was any. Returns the highest number of a
/// witness, or 0 if there is none.
///
/// In the newest journal, cuts off what is not whole after the last witness: a commit that was
/// being written when the power failed, of which any part may be on the disk. Its result was never
/// reported.
///
/// # Errors
///
/// [`StoreError::Damaged`] if something that was durable is not whole; then nothing is changed.
/// [`StoreError::Io`] if the system refuses something.
pub(super) fn check(directory: &Path, id: &StoreId) -> Result<u64, StoreError> {
    let journals =
        journals(directory).map_err(StoreError::io(directory, "list the journals in"))?;
    let mut highest = 0;
    let mut torn = None;
    for (place, (_, path)) in journals.iter().enumerate() {
        let read = || -> io::Result<_> {
            let witness = last_witness(File::open(path)?, id)?;
            let mut file = File::open(path)?;
            let whole = whole_until(&mut file)?;
            Ok((witness, whole, has_more(&mut file, whole)?))
        };
        let (witness, whole, has_more) = read().map_err(StoreError::io(path, "read"))?;
        let is_newest = place + 1 == journals.len();
        // A witness may be torn itself, since it is synced with the next commit. What precedes it
        // was durable.
        if whole < witness.batch || has_more && !is_newest {
            let what = format!("it is unreadable from byte {whole} on, and this was durable");
            return Err(StoreError::damaged(path, what));
        }
        highest = highest.max(witness.number);
        if has_more {
            torn = Some((path, whole));
        }
    }
    if let Some((path, whole)) = torn {
        warn!(journal = %path.display(), at = whole, "discarding a commit that was never finished");
        let file = OpenOptions::new().write(true).open(path);
        let cut = file.and_then(|file| {
            file.set_len(whole)?;
            file.sync_all()
        });
        cut.map_err(StoreError::io(path, "truncate"))?;
    }
    Ok(highest)
}

/// Returns the journals, from the oldest to the newest, which is written to.
fn journals(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            journals.push((number.unwrap_or(0), path));
        }
    }
    journals.sort();
    Ok(journals)
}

/// A witness in a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Witness {
    number: u64,
    /// The offset of its batch.
    batch: u64,
}

/// Returns the last witness in a journal, or one with number 0 at its beginning if there is none.
fn last_witness(file: impl Read, id: &StoreId) -> io::Result<Witness> {
    let needed = id.len() + 8;
    let mut reader = BufReader::with_capacity(PIECE, file);
    let mut window = Vec::with_capacity(PIECE + needed);
    let mut before = 0; // bytes that have left the window
    let mut last = Witness::default();
    loop {
        let len = window.len();
        reader
            .by_ref()
            .take(PIECE as u64)
            .read_to_end(&mut window)?;
        if window.len() == len {
            return Ok(last);
        }
        let mut at = 0;
        while let Some(found) = find(&window[at..], id) {
            at += found;
            let Some(number) = window[at + id.len()..].first_chunk() else {
                break; // it is in the next piece
            };
            let number = u64::from_be_bytes(*number);
            if number > 0 && number.is_multiple_of(2) {
                // The witness is the value of its batch's only item, whose key has one byte.
                let batch = (before + at as u64).saturating_sub((START_LEN + ITEM_LEN + 1) as u64);
                last = Witness { number, batch };
            }
            at += id.len();
        }
        // A head may begin in this piece and end in the next.
        let keep = window.len().min(needed - 1);
        before += (window.len() - keep) as u64;
        window.drain(..window.len() - keep);
    }
}

fn find(bytes: &[u8], id: &StoreId) -> Option<usize> {
    // Most of a journal is other bytes or zeros: comparing the first byte rules out nearly all of
    // it.
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|&byte| byte == id[0]) {
        at += found;
        if bytes[at..].starts_with(id) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Returns the end of the last batch such that it and all batches before it are whole. The sequence
/// numbers of batches, which decide what is newest, have no checksum, but must grow.
fn whole_until(file: &mut File) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(PIECE, file);
    let mut until = 0;
    let mut last = None;
    loop {
        match read_batch(&mut reader) {
            Ok(Some(batch)) if last.is_none_or(|last| batch.sequence > last) => {
                until += batch.len;
                last = Some(batch.sequence);
            }
            Ok(_) => return Ok(until),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(until),
            Err(error) => return Err(error),
        }
    }
}

/// A whole batch.
struct Batch {
    len: u64,
    sequence: u64,
}

/// Reads a batch, or returns `None` if it is not whole.
fn read_batch(reader: &mut impl Read) -> io::Result<Option<Batch>> {
    let start: [u8; START_LEN] = read(reader)?;
    if start[0] != START {
        return Ok(None);
    }
    let items = u32::from_le_bytes(start[1..5].try_into().expect("4 bytes"));
    let sequence = u64::from_le_bytes(start[5..].try_into().expect("8 bytes"));
    let mut len = (START_LEN + END_LEN) as u64;
    let mut hash = Xxh3::new();
    let mut rest = Vec::new();
    for _ in 0..items {
        let item: [u8; ITEM_LEN] = read(reader)?;
        let key = usize::from(u16::from_le_bytes([item[11], item[12]]));
        let value = u32::from_le_bytes(item[17..].try_into().expect("4 bytes")) as usize;
        if item[0] != ITEM || key > LONGEST || value > LONGEST {
            return Ok(None);
        }
        rest.resize(key + value, 0);
        reader.read_exact(&mut rest)?;
        hash.update(&item);
        hash.update(&rest);
        len += (ITEM_LEN + rest.len()) as u64;
    }
    let end: [u8; END_LEN] = read(reader)?;
    let whole = end[0] == END && end[1..9] == hash.digest().to_le_bytes() && end[9..] == TRAILER;
    Ok(whole.then_some(Batch { len, sequence }))
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether anything but zeros follows.
fn has_more(file: &mut File, from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(false),
            len if piece[..len].iter().any(|&byte| byte != 0) => return Ok(true),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::guard::{Digest, Head};

    const ID: StoreId = *b"0123456789abcdef";

    fn head(commit: u64) -> Vec<u8> {
        let head = Head {
            id: ID,
            commit,
            run: 3,
            digest: Digest::default(),
        };
        head.encode().to_vec()
    }

    #[test]
    fn the_last_witness_is_found_wherever_it_lies() {
        for gap in [100, 256 * 1024 - 40, 256 * 1024 - 10, 300_000] {
            let mut journal = vec![b'0'; gap];
            journal.extend(head(4));
            journal.extend(vec![0; gap]);
            let batch = (journal.len() - 35) as u64;
            journal.extend(head(6));
            journal.extend(head(7)); // a commit
            journal.extend(&ID[..9]);
            journal.extend(vec![0; 100]);
            let expected = Witness { number: 6, batch };
            assert_eq!(last_witness(&journal[..], &ID).unwrap(), expected, "{gap}");
        }
        let none = Witness::default();
        assert_eq!(last_witness(&b""[..], &ID).unwrap(), none);
        assert_eq!(last_witness(&ID[..], &ID).unwrap(), none);
    }
}
