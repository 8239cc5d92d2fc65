//! The store itself: opens a data directory, and appends commits to its log.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::warn;

use super::checkpoint::{LogCheckpoint, Shared, remove, remove_files};
use super::contents::Contents;
use super::options::Options;
use crate::shard::Change;
use crate::store::completion::{Changes, Completion};
use crate::store::directory::{
    DirectoryLock, Found, Manifest, begin_new, existing_id, finish_new, read_format,
};
use crate::store::disk::{Disk, SystemDisk};
use crate::store::encoding::{Seed, StoreId};
use crate::store::error::StoreError;
use crate::store::interface::{Checkpoint, Store, StoreSize};
use crate::store::layout::{CHECKPOINTS, LOG};
use crate::store::log::LogWriter;
use crate::store::stored::{LastEnd, Stored};
use crate::topic::Topic;

/// A store in a data directory on this machine.
#[derive(Debug)]
pub struct LogStore {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    seed: Seed,
    options: Options,
    last_end: LastEnd,
    phase: Phase,
    /// Dropped last.
    _lock: Option<DirectoryLock>,
}

#[derive(Debug)]
enum Phase {
    /// The topics can be loaded.
    Loading(Contents),
    /// Changes can be committed.
    Serving(Serving),
    Failed,
}

/// The state of a store that commits.
#[derive(Debug)]
struct Serving {
    log: LogWriter,
    run: u32,
    /// The length of the log that was there at the start, in bytes.
    log_at_start: u64,
    /// [`log_bytes`](Self::log_bytes) when the last checkpoint began. If that one failed, the next
    /// one is due after as much log again.
    last_checkpoint_at: u64,
    /// Whether the last record makes nothing else durable than that the one before was.
    witnessed: bool,
    shared: Arc<Shared>,
}

impl LogStore {
    /// The log length after which [`open`](Self::open) has a checkpoint written, in bytes: 32 MiB,
    /// which a start applies in about a tenth of a second.
    pub const DEFAULT_CHECKPOINT_LOG: u64 = 32 * 1024 * 1024;

    /// Opens an existing data directory.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open), and an error if there is no data directory.
    pub fn open_existing(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        existing_id(&SystemDisk, directory)?;
        Self::open(directory, owner)
    }

    /// Opens a data directory, or creates it if it does not exist. `owner` says what this process
    /// does with it, for the error message of a second process.
    ///
    /// # Errors
    ///
    /// Another process uses the directory, it cannot be read, or it is not what was written.
    pub fn open(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        Self::open_with(directory, owner, Self::DEFAULT_CHECKPOINT_LOG)
    }

    /// Does the same as [`open`](Self::open). A checkpoint is due when the log has grown by
    /// `checkpoint_log` bytes since the last one, and by half of the last one's length. A new log
    /// gets segments of a quarter of that, but of 128 KiB to 8 MiB.
    ///
    /// # Errors
    ///
    /// The same as of [`open`](Self::open).
    pub fn open_with(
        directory: &Path,
        owner: &str,
        checkpoint_log: u64,
    ) -> Result<Self, StoreError> {
        let created = SystemDisk.create_directory(directory);
        created.map_err(StoreError::io(directory, "create"))?;
        let lock = DirectoryLock::take(directory, owner)?;
        let mut store = Self::open_on(
            Arc::new(SystemDisk),
            directory,
            Options::with_checkpoint_log(checkpoint_log),
        )?;
        store._lock = Some(lock);
        Ok(store)
    }

    /// Opens or creates a data directory on `disk`, without a lock.
    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: Options,
    ) -> Result<Self, StoreError> {
        let id = match read_format(&*disk, directory)? {
            Found::Directory(id) => id,
            found => {
                if found == Found::Unfinished {
                    warn!(
                        directory = %directory.display(),
                        "creating the data directory was interrupted; starting over"
                    );
                }
                create(&*disk, directory, options)?
            }
        };
        let contents = Contents::read_from(Arc::clone(&disk), directory, id)?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            seed: Seed::of(id),
            options,
            last_end: contents.last_end(),
            phase: Phase::Loading(contents),
            _lock: None,
        })
    }

    /// Prepares the log for commits, and removes files that no server needs.
    fn serve(&mut self) -> Result<Serving, StoreError> {
        let Phase::Loading(contents) = &self.phase else {
            return Err(StoreError::Failed);
        };
        // A server that was killed may not have made the last changes to the directories durable.
        for path in ["", LOG, CHECKPOINTS].map(|name| self.directory.join(name)) {
            let synced = self.disk.sync_directory(&path);
            synced.map_err(StoreError::io(&path, "sync"))?;
        }
        let manifest = contents.manifest().clone();
        remove_files(&*self.disk, &self.directory, |number| {
            number != manifest.checkpoint
        });
        let log = self.directory.join(LOG);
        for name in self.disk.entries(&log).unwrap_or_default() {
            if name.ends_with(".new") {
                remove(&*self.disk, &log.join(name));
            }
        }
        let run = contents.runs().wrapping_add(1);
        let log = LogWriter::open(
            Arc::clone(&self.disk),
            log,
            self.seed,
            manifest.segment,
            contents.log(),
            run,
            self.options.ahead,
        )?;
        let mut serving = Serving {
            run,
            log_at_start: contents.log().bytes(),
            last_checkpoint_at: 0,
            witnessed: true,
            shared: Arc::new(Shared {
                disk: Arc::clone(&self.disk),
                directory: self.directory.clone(),
                seed: self.seed,
                options: self.options,
                segment: manifest.segment,
                next_checkpoint: AtomicU64::new(manifest.checkpoint + 1),
                manifest: Mutex::new(manifest),
                segments: Arc::clone(log.segments()),
                running: AtomicBool::new(false),
                failed: AtomicBool::new(false),
            }),
            log,
        };
        serving.log.append(&[])?;
        Ok(serving)
    }

    /// Runs `work` on a store that commits. If it fails, the store has failed.
    fn serving<T>(
        &mut self,
        work: impl FnOnce(&mut Serving) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Phase::Serving(serving) = &mut self.phase else {
            return Err(StoreError::Failed);
        };
        let result = work(serving);
        if result.is_err() {
            serving.shared.failed.store(true, Ordering::Release);
            self.phase = Phase::Failed;
        }
        result
    }
}

/// Creates a data directory. Returns its id.
fn create(disk: &dyn Disk, directory: &Path, options: Options) -> Result<StoreId, StoreError> {
    let id = begin_new(disk, directory)?;
    for part in [LOG, CHECKPOINTS] {
        let path = directory.join(part);
        let created = disk.create_directory(&path);
        created.map_err(StoreError::io(&path, "create"))?;
    }
    LogWriter::create(disk, &directory.join(LOG), options.segment)?;
    Manifest::new(options.segment).write(disk, directory, Seed::of(id))?;
    finish_new(disk, directory, id)?;
    Ok(id)
}

impl Serving {
    fn append(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.log.append(changes)?;
        self.witnessed = changes.is_empty();
        Ok(())
    }

    /// Returns how much log was written since the checkpoint that was valid at the start, in bytes.
    fn log_bytes(&self) -> u64 {
        self.log_at_start + self.log.appended()
    }

    /// Returns how much the store keeps; `None` while a checkpoint is written. It holds the manifest
    /// while it replaces it, and a commit must not wait for that.
    fn size(&self) -> Option<StoreSize> {
        if self.shared.running.load(Ordering::Acquire) {
            return None;
        }
        let checkpoint_bytes = self.shared.manifest.lock().checkpoint_bytes();
        Some(StoreSize {
            log_bytes: self.log_bytes() - self.last_checkpoint_at,
            checkpoint_due_bytes: self.shared.options.checkpoint_after(checkpoint_bytes),
            checkpoint_bytes,
        })
    }

    fn checkpoint_due(&self) -> bool {
        self.size()
            .is_some_and(|size| size.log_bytes >= size.checkpoint_due_bytes)
    }
}

impl Store for LogStore {
    fn last_end(&self) -> LastEnd {
        self.last_end
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        match &self.phase {
            Phase::Loading(contents) => contents.load(points, found),
            Phase::Serving(_) | Phase::Failed => Err(StoreError::Failed),
        }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let serving = self.serve();
        // The contents are no longer needed; they take as much memory as the log.
        self.phase = Phase::Failed;
        self.phase = Phase::Serving(serving?);
        Ok(())
    }

    fn commit(&mut self, changes: Changes, completion: Completion) {
        completion.report(self.serving(|serving| serving.append(&changes)));
    }

    /// Writes the witness of the last commit.
    fn idle(&mut self) {
        let witnessed = self.serving(|serving| match serving.witnessed {
            true => Ok(()),
            false => serving.append(&[]),
        });
        if let Err(error) = witnessed {
            // The last commit is durable. The next one is refused.
            warn!(%error, "cannot write to the log");
        }
    }

    fn size(&self) -> Option<StoreSize> {
        match &self.phase {
            Phase::Serving(serving) => serving.size(),
            Phase::Loading(_) | Phase::Failed => None,
        }
    }

    fn checkpoint_due(&self) -> bool {
        match &self.phase {
            Phase::Serving(serving) => serving.checkpoint_due(),
            Phase::Loading(_) | Phase::Failed => false,
        }
    }

    fn begin_checkpoint(
        &mut self,
        parts: Vec<RangeInclusive<u16>>,
    ) -> Result<Option<Box<dyn Checkpoint>>, StoreError> {
        let Phase::Serving(serving) = &mut self.phase else {
            return Err(StoreError::Failed);
        };
        let shared = Arc::clone(&serving.shared);
        if shared.running.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        serving.last_checkpoint_at = serving.log_bytes();
        let next = serving.log.next();
        let checkpoint = LogCheckpoint::begin(shared, serving.run, next, parts)?;
        Ok(Some(Box::new(checkpoint)))
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let (disk, directory, seed) = (&self.disk, &self.directory, self.seed);
        let Phase::Serving(serving) = &self.phase else {
            return Err(StoreError::Failed);
        };
        let mut manifest = serving.shared.manifest.lock();
        manifest.durable = serving.log.next().number - 1;
        manifest.clean = true;
        manifest.write(&**disk, directory, seed)
    }
}
