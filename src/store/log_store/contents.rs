//! What a data directory contains: its manifest, its log, and the files of its checkpoint.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::checkpoint::{part_path, read_part};
use crate::store::directory::{Found, Manifest, read_format};
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
        match read_format(&*disk, directory)? {
            Found::Directory(id) => Self::read_from(disk, directory, id),
            Found::Nothing | Found::Unfinished => Err(StoreError::Missing {
                path: directory.to_owned(),
            }),
        }
    }

    /// Reads the manifest and the log of the data directory with this id.
    pub(super) fn read_from(
        disk: Arc<dyn Disk>,
        directory: &Path,
        id: StoreId,
    ) -> Result<Self, StoreError> {
        let seed = Seed::of(id);
        let manifest = Manifest::read(&*disk, directory, seed)?;
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
        // The numbers that earlier runs skipped were reported by later ones.
        let skipping_run = (self.last_end() == LastEnd::Crash).then(|| self.runs());
        let all = points == (0..=u16::MAX);
        let is_in = |topic: Topic<'_>| all || points.contains(&owner_point(topic.as_bytes()));
        let mut deleted: HashSet<Vec<u8>> = HashSet::new();
        let mut take = |(topic, record): Row<'_>, run: u32| {
            if !is_in(topic) || !deleted.is_empty() && deleted.contains(topic.as_bytes()) {
                return;
            }
            match record {
                Some(record) if skipping_run == Some(run) => {
                    found(topic, Stored::after_crash(record));
                }
                Some(record) => found(topic, Stored::exact(record.ceiling)),
                None if planted(Fault::DeletionMissed) => {}
                None => {
                    deleted.insert(topic.as_bytes().to_owned());
                }
            }
        };
        self.log.for_each_newest_first(&mut take)?;
        let Manifest {
            checkpoint, run, ..
        } = self.manifest;
        for (i, part) in self.manifest.parts.iter().enumerate() {
            if part.points.start() <= points.end() && points.start() <= part.points.end() {
                let path = part_path(&self.directory.join(CHECKPOINTS), checkpoint, i);
                read_part(&*self.disk, &path, part, self.seed, |row| take(row, run))?;
            }
        }
        Ok(())
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
