//! Writes a file of a checkpoint.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::block::{self, HEADER, MAX_TOPICS};
use crate::store::directory::Part;
use crate::store::disk::{Disk, DiskFile};
use crate::store::encoding::{Rows, Seed};
use crate::store::error::StoreError;
use crate::store::fault::{Fault, planted};

/// A block is written when it has this many bytes.
const BLOCK: usize = 128 * 1024;

/// The file is synced each time that this many bytes were written. So the disk never has much more
/// to write before a commit of the log.
const SYNC: u64 = 4 * 1024 * 1024;

/// A file of a checkpoint that is being written.
#[derive(Debug)]
pub(in crate::store) struct PartWriter {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    seed: Seed,
    part: Part,
    /// The next block, with room for its header.
    block: Vec<u8>,
    block_topics: u32,
    not_synced: u64,
}

impl PartWriter {
    /// Creates the file at `path`, for the topics of `points`.
    pub(in crate::store) fn create(
        disk: &dyn Disk,
        path: PathBuf,
        points: RangeInclusive<u16>,
        seed: Seed,
    ) -> Result<Self, StoreError> {
        let file = disk
            .create(&path)
            .map_err(StoreError::io(&path, "create"))?;
        Ok(Self {
            path,
            file,
            seed,
            part: Part {
                points,
                topics: 0,
                bytes: 0,
                digest: 0,
            },
            block: vec![0; HEADER],
            block_topics: 0,
            not_synced: 0,
        })
    }

    /// Appends topics.
    pub(in crate::store) fn write(&mut self, rows: &Rows) -> Result<(), StoreError> {
        if self.block.len() + rows.len() > MAX_TOPICS {
            self.write_block()?;
        }
        self.block.extend_from_slice(rows.as_bytes());
        self.block_topics += rows.count();
        match self.block.len() >= BLOCK {
            true => self.write_block(),
            false => Ok(()),
        }
    }

    /// Makes the file durable, but not its name. Returns what the manifest says about it.
    pub(in crate::store) fn finish(mut self) -> Result<Part, StoreError> {
        if self.block_topics > 0 {
            self.write_block()?;
        }
        if !planted(Fault::ManifestBeforeFiles) {
            self.sync()?;
        }
        Ok(self.part)
    }

    fn write_block(&mut self) -> Result<(), StoreError> {
        let Part { digest, bytes, .. } = self.part;
        let checksum = block::seal(&mut self.block, self.block_topics, self.seed.after(digest));
        let written = self.file.write_at(&self.block, bytes);
        written.map_err(StoreError::io(&self.path, "write"))?;
        self.part.digest = checksum;
        self.part.bytes += self.block.len() as u64;
        self.part.topics += u64::from(self.block_topics);
        self.not_synced += self.block.len() as u64;
        self.block.truncate(HEADER);
        self.block_topics = 0;
        match self.not_synced >= SYNC {
            true => self.sync(),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.not_synced = 0;
        let synced = self.file.sync();
        synced.map_err(StoreError::io(&self.path, "sync"))
    }
}
