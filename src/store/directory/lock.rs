//! The lock that lets only one process use a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::store::disk::FILE_MODE;
use crate::store::error::StoreError;
use crate::store::layout::LOCK_FILE;

/// How long to retry while another process holds the lock. A process that the previous server
/// forked shares its open files, and so the lock, until it executes its own program.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The lock on a data directory; dropping it unlocks the directory.
#[derive(Debug)]
pub(in crate::store) struct DirectoryLock(
    #[expect(dead_code, reason = "dropping it unlocks")] File,
);

impl DirectoryLock {
    /// Locks the directory. `owner` describes what this process does with the directory. It is
    /// written to the lock file, and shown in the error of another process that tries to lock the
    /// directory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another process holds the lock; [`StoreError::Io`] if the system
    /// refuses something.
    pub(in crate::store) fn take(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        let path = directory.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(StoreError::io(&path, "open"))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The owner's name only helps the user: go on without it.
                let _ = file.read_to_string(&mut owner);
                let owner = match owner.trim() {
                    "" => "another process",
                    owner => owner,
                };
                return Err(StoreError::Locked {
                    path: directory.to_owned(),
                    owner: owner.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::io(&path, "lock")(source));
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {}, {owner}", std::process::id()));
        // A full disk must not keep the server from starting: it may have nothing to write.
        if let Err(error) = written {
            tracing::debug!(%error, "cannot write the owner of the data directory to its lock file");
        }
        Ok(Self(file))
    }
}

fn try_lock(file: &File) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(RETRY_INTERVAL);
            }
            result => return result,
        }
    }
}
