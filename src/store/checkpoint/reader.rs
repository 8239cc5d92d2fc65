//! Reads a file of a checkpoint, and checks that it is exactly what was written.

use std::io::ErrorKind;
use std::path::Path;

use super::block::{self, HEADER, MAX_TOPICS};
use crate::store::directory::Part;
use crate::store::disk::Disk;
use crate::store::encoding::{Row, Seed, decode};
use crate::store::error::StoreError;

/// Passes the topics of the file at `path` to `found`. `part` is what the manifest says about it.
///
/// # Errors
///
/// The file cannot be read, or is not what was written.
pub(in crate::store) fn read_part(
    disk: &dyn Disk,
    path: &Path,
    part: &Part,
    seed: Seed,
    mut found: impl FnMut(Row<'_>),
) -> Result<(), StoreError> {
    let damaged = |what: String| StoreError::damaged(path, what);
    let file = disk.open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => damaged("it is missing".to_owned()),
        _ => StoreError::io(path, "open")(error),
    })?;
    let len = file.len().map_err(StoreError::io(path, "read"))?;
    if len != part.bytes {
        return Err(damaged(format!(
            "it has {len} bytes instead of {}",
            part.bytes
        )));
    }
    let mut block = Vec::new();
    let (mut offset, mut topics, mut digest) = (0, 0, 0);
    while offset < len {
        let read = |bytes: &mut [u8], at: u64| {
            let read = file.read_at(bytes, at);
            let read = read.map_err(StoreError::io(path, "read"))?;
            match read == bytes.len() {
                true => Ok(()),
                false => Err(damaged(format!("it ends within the block at {offset}"))),
            }
        };
        let mut bytes = [0; HEADER];
        read(&mut bytes, offset)?;
        let header = block::header(&bytes);
        let block_len = header.len as usize;
        if block_len > MAX_TOPICS {
            return Err(damaged(format!("the block at {offset} has a wrong length")));
        }
        block.clear();
        block.extend_from_slice(&bytes[8..]);
        block.resize(HEADER - 8 + block_len, 0);
        read(&mut block[HEADER - 8..], offset + HEADER as u64)?;
        if seed.after(digest).checksum(&block) != header.checksum {
            return Err(damaged(format!(
                "the block at {offset} has a wrong checksum"
            )));
        }
        let before = topics;
        for row in decode(&block[HEADER - 8..]) {
            let row =
                row.ok_or_else(|| damaged(format!("the block at {offset} has an invalid topic")))?;
            topics += 1;
            found(row);
        }
        if topics - before != u64::from(header.topics) {
            return Err(damaged(format!(
                "the block at {offset} has a wrong number of topics"
            )));
        }
        digest = header.checksum;
        offset += (HEADER + block_len) as u64;
    }
    if (topics, digest) != (part.topics, part.digest) {
        return Err(damaged(
            "it is not the file that the manifest names".to_owned(),
        ));
    }
    Ok(())
}
