//! A checkpoint that is being written.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::options::Options;
use crate::store::checkpoint::{PartWriter, checkpoint_of, part_path};
use crate::store::directory::Manifest;
use crate::store::disk::Disk;
use crate::store::encoding::{Rows, Seed};
use crate::store::error::StoreError;
use crate::store::fault::{Fault, planted};
use crate::store::interface::Checkpoint;
use crate::store::layout::{CHECKPOINTS, LOG};
use crate::store::log::{Place, SegmentSize, Segments};

/// What a store shares with the checkpoint that it has begun.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) seed: Seed,
    pub(super) options: Options,
    /// The length of the log's segments.
    pub(super) segment: SegmentSize,
    /// The manifest on the disk.
    pub(super) manifest: Mutex<Manifest>,
    /// The number of the next checkpoint. None is used twice, since the manifest may name the files
    /// of one that failed.
    pub(super) next_checkpoint: AtomicU64,
    pub(super) segments: Arc<Segments>,
    /// Whether a checkpoint is being written.
    pub(super) running: AtomicBool,
    /// Whether the store failed. From then on no checkpoint becomes valid.
    pub(super) failed: AtomicBool,
}

/// See [`Checkpoint`].
#[derive(Debug)]
pub(super) struct LogCheckpoint {
    shared: Arc<Shared>,
    number: u64,
    run: u32,
    /// Where the log stood when the checkpoint began.
    log: Place,
    parts: Vec<Mutex<PartWriter>>,
    /// Whether the manifest on the disk may name the files. If replacing it fails, it may do so.
    files_needed: bool,
}

impl LogCheckpoint {
    /// Begins a checkpoint. The caller has set [`Shared::running`].
    pub(super) fn begin(
        shared: Arc<Shared>,
        run: u32,
        log: Place,
        points: Vec<RangeInclusive<u16>>,
    ) -> Result<Self, StoreError> {
        if planted(Fault::SegmentReusedEarly) {
            shared.segments.release_before(log.segment, usize::MAX);
        }
        let mut checkpoint = Self {
            number: shared.next_checkpoint.fetch_add(1, Ordering::Relaxed),
            shared,
            run,
            log,
            parts: Vec::with_capacity(points.len()),
            files_needed: false,
        };
        let Shared {
            disk,
            directory,
            seed,
            ..
        } = &*checkpoint.shared;
        let directory = directory.join(CHECKPOINTS);
        for (part, points) in points.into_iter().enumerate() {
            let path = part_path(&directory, checkpoint.number, part);
            let writer = PartWriter::create(&**disk, path, points, *seed)?;
            checkpoint.parts.push(Mutex::new(writer));
        }
        Ok(checkpoint)
    }

    /// Makes the files durable, then the manifest.
    fn make_valid(&mut self) -> Result<(), StoreError> {
        let Shared {
            disk,
            directory,
            seed,
            ..
        } = &*self.shared;
        let checkpoints = directory.join(CHECKPOINTS);
        let mut manifest = Manifest {
            segment: self.shared.segment,
            checkpoint: self.number,
            run: self.run,
            parts: Vec::new(),
            log: self.log,
            durable: self.log.number - 1,
            clean: false,
        };
        for part in self.parts.drain(..) {
            manifest.parts.push(part.into_inner().finish()?);
        }
        let synced = disk.sync_directory(&checkpoints);
        synced.map_err(StoreError::io(&checkpoints, "sync"))?;
        let mut current = self.shared.manifest.lock();
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed);
        }
        self.files_needed = true;
        manifest.write(&**disk, directory, *seed)?;
        *current = manifest;
        Ok(())
    }

    /// Frees what the last checkpoint and its log took.
    fn remove_old(&self) {
        let Shared {
            disk,
            directory,
            options,
            manifest,
            segments,
            ..
        } = &*self.shared;
        let keep = options.free_segments(manifest.lock().checkpoint_bytes(), self.shared.segment);
        let log = directory.join(LOG);
        for segment in segments.release_before(self.log.segment, keep) {
            remove(&**disk, &log.join(segment.to_string()));
        }
        remove_files(&**disk, directory, |number| number != self.number);
    }
}

impl Checkpoint for LogCheckpoint {
    fn write(&self, part: usize, topics: &Rows) -> Result<(), StoreError> {
        self.parts[part].lock().write(topics)
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.make_valid()?;
        self.remove_old();
        Ok(())
    }
}

impl Drop for LogCheckpoint {
    fn drop(&mut self) {
        if !self.files_needed {
            let Shared {
                disk, directory, ..
            } = &*self.shared;
            remove_files(&**disk, directory, |number| number == self.number);
        }
        self.shared.running.store(false, Ordering::Release);
    }
}

/// Removes the files of the checkpoints with these numbers.
pub(super) fn remove_files(disk: &dyn Disk, directory: &Path, numbers: impl Fn(u64) -> bool) {
    let directory = directory.join(CHECKPOINTS);
    for name in disk.entries(&directory).unwrap_or_default() {
        if checkpoint_of(&name).is_some_and(&numbers) {
            remove(disk, &directory.join(name));
        }
    }
}

/// Removes a file that is no longer needed. It only takes room, so an error is not one of the store.
pub(super) fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed");
    }
}
