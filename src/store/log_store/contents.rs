//! What a data directory contains: its manifest, its log, and the files of its checkpoint.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::checkpoint::{part_path, read_part};
use crate::store::directory::{Manifest, Part, existing_id};
use crate::store::disk::{Disk, SystemDisk};
use crate::store::encoding::{Row, Seed, StoreId};
use crate::store::error::StoreError;
use crate::store::fault::{Fault, planted};
use crate::store::layout::{CHECKPOINTS, LOG};
use crate::store::log::LogContents;
use crate::store::stored::{LastEnd, Stored};
use crate::topic::{Topic, owner_point};

/// The contents of a data directory, as they were at one moment.
#[derive(Debug)]
pub struct Contents {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    seed: Seed,
    manifest: Manifest,
    log: LogContents,
}

impl Contents {
    /// Reads the manifest and the log of a data directory, without its lock. A server may be using
    /// the directory: then the contents are complete up to the moment of the call, but if the server
    /// changes the manifest meanwhile, they may be refused as damaged, now or in
    /// [`load`](Self::load). [`is_current`](Self::is_current) tells.
    ///
    /// # Errors
    ///
    /// There is no data directory, it cannot be read, or it is not what was written.
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let id = existing_id(&*disk, directory)?;
        Self::read_from(disk, directory, id)
    }

    /// Reads the manifest and the log of the data directory with this id.
    pub(super) fn read_from(
        disk: Arc<dyn Disk>,
        directory: &Path,
        id: StoreId,
    ) -> Result<Self, StoreError> {
        let seed = Seed::of(id);
        let manifest = Manifest::read(&*disk, directory, seed)?;
        Self::read_log(disk, directory, seed, manifest)
    }

    /// Reads the log of the data directory with this manifest.
    pub(super) fn read_log(
        disk: Arc<dyn Disk>,
        directory: &Path,
        seed: Seed,
        manifest: Manifest,
    ) -> Result<Self, StoreError> {
        let log = LogContents::read(
            &*disk,
            &directory.join(LOG),
            seed,
            manifest.segment,
            manifest.log,
            manifest.durable,
        )?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            seed,
            manifest,
            log,
        })
    }

    /// Returns whether the manifest is still the one that was read. If it is not, a server has
    /// changed it, and the contents have to be read again.
    ///
    /// # Errors
    ///
    /// The manifest cannot be read.
    pub fn is_current(&self) -> Result<bool, StoreError> {
        let now = Manifest::read(&*self.disk, &self.directory, self.seed)?;
        Ok(now == self.manifest)
    }

    /// Passes every topic whose point lies in `points` to `found`, as
    /// [`Store::load`](crate::store::Store::load) does: if a topic is passed more than once, only the
    /// first time counts.
    ///
    /// # Errors
    ///
    /// A file of the checkpoint cannot be read, or is not what was written.
    pub fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        let checkpoints = self.directory.join(CHECKPOINTS);
        let overlaps = |part: &Part| {
            part.points.start() <= points.end() && points.start() <= part.points.end()
        };
        let mut taking = Taking::new(points.clone(), self.skipping_run(), found);
        self.take_log(&mut taking)?;
        for (i, part) in self.manifest.parts.iter().enumerate() {
            if overlaps(part) {
                let path = part_path(&checkpoints, self.manifest.checkpoint, i);
                read_part(&*self.disk, &path, part, self.seed, |row| {
                    taking.take(row, self.manifest.run);
                })?;
            }
        }
        Ok(())
    }

    /// Takes the topics of the log.
    pub(super) fn take_log(&self, taking: &mut Taking<'_>) -> Result<(), StoreError> {
        self.log
            .for_each_newest_first(|row, run| taking.take(row, run))
    }

    /// Returns the run whose ceilings may be above numbers that were never handed out: the last one, if
    /// it did not end cleanly. What earlier runs skipped was reported by later ones.
    pub(super) fn skipping_run(&self) -> Option<u32> {
        (self.last_end() == LastEnd::Crash).then(|| self.runs())
    }

    /// Returns how the last server on the directory ended.
    pub(super) fn last_end(&self) -> LastEnd {
        let Manifest { clean, durable, .. } = self.manifest;
        match self.runs() {
            0 => LastEnd::New,
            _ if clean && durable + 1 == self.log.end().number => LastEnd::Clean,
            _ => LastEnd::Crash,
        }
    }

    /// Returns how many servers have used the directory.
    pub(super) fn runs(&self) -> u32 {
        self.log.run().unwrap_or(self.manifest.run)
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn log(&self) -> &LogContents {
        &self.log
    }
}

/// Takes the topics of a data directory, the newest change of each first.
pub(super) struct Taking<'a> {
    /// The points of the topics to take; `None` if all are taken.
    points: Option<RangeInclusive<u16>>,
    /// See [`Contents::skipping_run`].
    skipping_run: Option<u32>,
    /// The topics whose newest change is a deletion.
    deleted: HashSet<Vec<u8>>,
    found: &'a mut dyn FnMut(Topic<'_>, Stored),
}

impl<'a> Taking<'a> {
    /// Begins to take the topics of `points`, and passes them to `found`.
    pub(super) fn new(
        points: RangeInclusive<u16>,
        skipping_run: Option<u32>,
        found: &'a mut dyn FnMut(Topic<'_>, Stored),
    ) -> Self {
        Self {
            points: Some(points).filter(|points| *points != (0..=u16::MAX)),
            skipping_run,
            deleted: HashSet::new(),
            found,
        }
    }

    /// Takes a topic with the record of this run, or notes that the topic was deleted.
    pub(super) fn take(&mut self, (topic, record): Row<'_>, run: u32) {
        let name = topic.as_bytes();
        let points = self.points.as_ref();
        if points.is_some_and(|points| !points.contains(&owner_point(name)))
            || !self.deleted.is_empty() && self.deleted.contains(name)
        {
            return;
        }
        match record {
            Some(record) if self.skipping_run == Some(run) => {
                (self.found)(topic, Stored::after_crash(record));
            }
            Some(record) => (self.found)(topic, Stored::exact(record.ceiling)),
            None if planted(Fault::DeletionMissed) => {}
            None => {
                self.deleted.insert(name.to_owned());
            }
        }
    }
}
