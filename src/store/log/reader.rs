//! Reads the log at the start, and tells a commit that was not finished from damage.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::record::{self, Record, SECTOR};
use super::segments::{SegmentSize, Segments};
use crate::store::disk::Disk;
use crate::store::encoding::{Row, Seed, decode};
use crate::store::error::StoreError;
use crate::store::fault::{Fault, planted};

/// What the log contains from some place on.
#[derive(Debug)]
pub(in crate::store) struct LogContents {
    directory: PathBuf,
    /// All segments.
    segments: Vec<Segment>,
    /// The records, in their order.
    records: Vec<FoundRecord>,
    /// The segments that contain them, by number, in their order.
    live: VecDeque<u32>,
    /// The place behind the last record.
    end: Place,
    /// The run of the last record; `None` if there is no record.
    run: Option<u32>,
}

#[derive(Debug)]
struct Segment {
    number: u32,
    bytes: Vec<u8>,
    /// The part that the records were found in.
    found: Range<usize>,
}

/// A record, and where it is.
#[derive(Debug)]
struct FoundRecord {
    /// The index of the segment.
    segment: usize,
    changes: Range<usize>,
    run: u32,
}

impl LogContents {
    /// Reads the log in `directory` from the place `from` on. The record `durable` is known to be
    /// durable, unless it is before that place.
    ///
    /// # Errors
    ///
    /// A segment cannot be read, or a record that was durable is damaged or missing.
    pub(in crate::store) fn read(
        disk: &dyn Disk,
        directory: &Path,
        seed: Seed,
        size: SegmentSize,
        from: Place,
        durable: u64,
    ) -> Result<Self, StoreError> {
        let segments = read_segments(disk, directory, size)?;
        let mut log = Self {
            directory: directory.to_owned(),
            segments,
            records: Vec::new(),
            live: VecDeque::new(),
            end: from,
            run: None,
        };
        log.follow_chain(seed)?;
        log.check_nothing_follows(seed, size, durable)?;
        Ok(log)
    }

    /// Finds the records, each behind the one before or at the beginning of another segment.
    fn follow_chain(&mut self, seed: Seed) -> Result<(), StoreError> {
        let position = |number| move |segment: &Segment| segment.number == number;
        let mut current = self.segments.iter().position(position(self.end.segment));
        let Some(first) = current else {
            let path = self.directory.join(self.end.segment.to_string());
            return Err(StoreError::damaged(&path, "it is missing"));
        };
        self.live.push_back(self.end.segment);
        self.segments[first].found = range_from(self.end.offset);
        while let Some(segment) = current {
            let offset = self.end.offset as usize;
            if let Some(record) = self.segments[segment].record_at(offset, self.end, seed) {
                self.add(segment, offset, record);
                continue;
            }
            current = (0..self.segments.len())
                .filter(|&other| other != segment)
                .find(|&other| self.segments[other].record_at(0, self.end, seed).is_some());
            if let Some(next) = current {
                self.end.segment = self.segments[next].number;
                self.end.offset = 0;
                self.segments[next].found = 0..0;
                self.live.push_back(self.end.segment);
            }
        }
        Ok(())
    }

    fn add(&mut self, segment: usize, offset: usize, record: Record) {
        let changes = offset + record::HEADER;
        self.records.push(FoundRecord {
            segment,
            changes: changes..changes + record.changes,
            run: record.header.run,
        });
        self.run = Some(record.header.run);
        let end = offset + record.padded();
        self.segments[segment].found.end = end;
        self.end = Place {
            segment: self.end.segment,
            offset: end as u64,
            number: record.header.number + 1,
            previous: record.checksum,
        };
    }

    /// Checks that nothing durable is missing behind the last record: neither a record that the
    /// manifest knows of, nor one before a whole record with a higher number.
    fn check_nothing_follows(
        &self,
        seed: Seed,
        size: SegmentSize,
        durable: u64,
    ) -> Result<(), StoreError> {
        let missing = self.end.number;
        let damaged = |known: u64| {
            let what = format!(
                "record {missing} is damaged or missing, but it was durable: record {known} is known"
            );
            Err(StoreError::damaged(&self.directory, what))
        };
        if durable >= missing {
            return damaged(durable);
        }
        // Each record takes at least a sector, so no record of this log has a higher number. The
        // limit makes it unlikely that other bytes look like a record: names, for example.
        let last = missing.saturating_add((self.segments.len() * size.sectors()) as u64);
        if planted(Fault::DamageTakenForTear) {
            return Ok(());
        }
        for segment in &self.segments {
            for offset in (0..segment.bytes.len()).step_by(SECTOR) {
                if segment.found.contains(&offset) {
                    continue;
                }
                let bytes = &segment.bytes[offset..];
                if let Some(record) = record::decode(bytes, missing..=last, seed) {
                    return damaged(record.header.number);
                }
            }
        }
        Ok(())
    }

    /// Passes the changes to `found`, the newest first, each with the run that made it. A topic with
    /// several changes is passed several times.
    pub(in crate::store) fn for_each_newest_first(
        &self,
        mut found: impl FnMut(Row<'_>, u32),
    ) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        let first = usize::from(planted(Fault::ReplayOneRecordLate));
        for record in self.records.iter().skip(first).rev() {
            rows.clear();
            let segment = &self.segments[record.segment];
            for row in decode(&segment.bytes[record.changes.clone()]) {
                let row = row.ok_or_else(|| {
                    let path = self.directory.join(segment.number.to_string());
                    StoreError::damaged(&path, "a record contains an invalid change")
                })?;
                rows.push(row);
            }
            for &row in rows.iter().rev() {
                found(row, record.run);
            }
        }
        Ok(())
    }

    /// Returns the place behind the last record.
    pub(in crate::store) fn end(&self) -> Place {
        self.end
    }

    /// Returns the run of the last record; `None` if there is no record.
    pub(in crate::store) fn run(&self) -> Option<u32> {
        self.run
    }

    /// Returns the number of records.
    pub(in crate::store) fn records(&self) -> usize {
        self.records.len()
    }

    /// Returns the length of the records in bytes.
    pub(in crate::store) fn bytes(&self) -> u64 {
        let lens = self
            .segments
            .iter()
            .map(|segment| segment.found.len() as u64);
        lens.sum()
    }

    /// Returns the segments, and the first number that no segment has.
    pub(in crate::store) fn segments(&self) -> (Segments, u32) {
        let numbers = self.segments.iter().map(|segment| segment.number);
        let free = numbers.clone().filter(|number| !self.live.contains(number));
        let new = numbers.clone().max().map_or(0, |last| last + 1);
        (Segments::new(self.live.clone(), free.collect()), new)
    }
}

impl Segment {
    /// Returns the record at `offset` if it is the one that belongs to the place `next`.
    fn record_at(&self, offset: usize, next: Place, seed: Seed) -> Option<Record> {
        let bytes = self.bytes.get(offset..)?;
        let record = record::decode(bytes, next.number..=next.number, seed)?;
        let chained = record.header.previous == next.previous || planted(Fault::ChainNotChecked);
        chained.then_some(record)
    }
}

fn range_from(offset: u64) -> Range<usize> {
    offset as usize..offset as usize
}

/// Reads all segments. Files that are not segments are left out: a segment that is not finished has
/// another name.
fn read_segments(
    disk: &dyn Disk,
    directory: &Path,
    size: SegmentSize,
) -> Result<Vec<Segment>, StoreError> {
    let entries = disk
        .entries(directory)
        .map_err(StoreError::io(directory, "read"))?;
    let mut numbers: Vec<u32> = entries
        .iter()
        .filter_map(|name| name.parse().ok().filter(|n: &u32| n.to_string() == *name))
        .collect();
    numbers.sort_unstable();
    let read = |number: u32| {
        let path = directory.join(number.to_string());
        let bytes = disk.read(&path).map_err(StoreError::io(&path, "read"))?;
        if bytes.len() != size.bytes() {
            let what = format!("it has {} bytes instead of {}", bytes.len(), size.bytes());
            return Err(StoreError::damaged(&path, what));
        }
        Ok(Segment {
            number,
            bytes,
            found: 0..0,
        })
    };
    numbers.into_iter().map(read).collect()
}
