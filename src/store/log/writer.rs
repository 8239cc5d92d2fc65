//! Appends records to the log: one write and one sync for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::Place;
use super::reader::LogContents;
use super::record::{self, HEADER, Header};
use super::segments::{SegmentSize, Segments};
use super::spare::{SpareSegments, create_segment};
use crate::shard::Change;
use crate::store::disk::{Disk, DiskFile};
use crate::store::encoding::{Rows, Seed};
use crate::store::error::StoreError;
use crate::store::fault::{Fault, planted};

/// The most bytes that the changes of a record take, unless a single change takes more. It bounds
/// the memory that a commit needs.
const RECORD_CHANGES: usize = 2 * 1024 * 1024;

/// The end of the log.
#[derive(Debug)]
pub(in crate::store) struct LogWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    seed: Seed,
    size: SegmentSize,
    segments: Arc<Segments>,
    spare: SpareSegments,
    /// The current segment.
    file: Box<dyn DiskFile>,
    /// The place of the next record.
    next: Place,
    run: u32,
    /// The length of all records that were appended, in bytes.
    appended: u64,
    rows: Rows,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Creates an empty log in `directory`.
    pub(in crate::store) fn create(
        disk: &dyn Disk,
        directory: &Path,
        size: SegmentSize,
    ) -> Result<(), StoreError> {
        create_segment(disk, directory, Place::START.segment, size)
    }

    /// Opens the log in `directory`, which `contents` was read from, for the server with the number
    /// `run`. Creates segments ahead of need if `ahead`.
    ///
    /// A server that was killed may have written the last record, but not synced it. So it is made
    /// durable here, before another one follows it.
    pub(in crate::store) fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        seed: Seed,
        size: SegmentSize,
        contents: &LogContents,
        run: u32,
        ahead: bool,
    ) -> Result<Self, StoreError> {
        let next = contents.end();
        let (segments, new_segment) = contents.segments();
        let segments = Arc::new(segments);
        let path = segment_path(&directory, next.segment);
        let file = disk.open(&path).map_err(StoreError::io(&path, "open"))?;
        if !planted(Fault::NoSyncAtStart) {
            file.sync().map_err(StoreError::io(&path, "sync"))?;
        }
        let spare = Arc::clone(&disk);
        Ok(Self {
            spare: SpareSegments::new(spare, directory.clone(), size, new_segment, ahead)?,
            disk,
            directory,
            seed,
            size,
            segments,
            file,
            next,
            run,
            appended: 0,
            rows: Rows::new(),
            buffer: Vec::new(),
        })
    }

    /// Returns the segments of the log.
    pub(in crate::store) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Returns the place of the next record.
    pub(in crate::store) fn next(&self) -> Place {
        self.next
    }

    /// Returns the length of all records that were appended since the log was opened, in bytes.
    pub(in crate::store) fn appended(&self) -> u64 {
        self.appended
    }

    /// Appends these changes and makes them durable. Several records are written if they are too
    /// many for one. After an error nothing may be appended any more.
    pub(in crate::store) fn append(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let limit = RECORD_CHANGES.min(self.size.bytes() - HEADER);
        self.rows.clear();
        for change in changes {
            let len = change.topic().as_bytes().len() + Rows::MAX_OVERHEAD;
            if self.rows.len() + len > limit {
                self.write_record()?;
                self.rows.clear();
            }
            self.rows.push(change.topic(), change.after());
        }
        self.write_record()
    }

    /// Writes the changes in `self.rows` as one record, and makes it durable.
    fn write_record(&mut self) -> Result<(), StoreError> {
        let Place {
            number, previous, ..
        } = self.next;
        let header = Header {
            previous,
            number,
            run: self.run,
        };
        let checksum = record::encode(&mut self.buffer, header, &self.rows, self.seed);
        let len = self.buffer.len() as u64;
        if self.next.offset + len > self.size.bytes() as u64 {
            self.begin_segment()?;
        }
        let Place {
            segment, offset, ..
        } = self.next;
        let path = || segment_path(&self.directory, segment);
        let written = self.file.write_at(&self.buffer, offset);
        written.map_err(|error| StoreError::io(&path(), "write")(error))?;
        let synced = match planted(Fault::NoSync) {
            false => self.file.sync(),
            true => Ok(()),
        };
        synced.map_err(|error| StoreError::io(&path(), "sync")(error))?;
        self.appended += len;
        self.next = Place {
            segment,
            offset: offset + len,
            number: number + 1,
            previous: checksum,
        };
        if self.next.offset > self.size.bytes() as u64 / 2 && !self.segments.has_free() {
            self.spare.prepare();
        }
        Ok(())
    }

    /// Goes on in another segment: a free one, or a new one.
    fn begin_segment(&mut self) -> Result<(), StoreError> {
        let segment = match self.segments.take_free() {
            Some(free) => free,
            None => {
                let new = self.spare.take()?;
                self.segments.add_new(new);
                new
            }
        };
        let path = segment_path(&self.directory, segment);
        self.file = self
            .disk
            .open(&path)
            .map_err(StoreError::io(&path, "open"))?;
        (self.next.segment, self.next.offset) = (segment, 0);
        Ok(())
    }
}

/// Returns the path of a segment.
fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(segment.to_string())
}
