//! One server a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::layout::LOCK_FILE;

/// How long somebody else may have it: a process that the last one started has its files, and so the
/// lock, until it has become the program that it is to be.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(10);

/// Held as long as the directory is.
#[derive(Debug)]
pub(super) struct DirectoryLock(#[expect(dead_code, reason = "dropping it unlocks")] File);

impl DirectoryLock {
    /// Takes the directory, for `owner`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] where somebody has it; what the system says otherwise.
    pub(super) fn take(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        let path = directory.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io(&path, "open it"))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who it is is a help, no more.
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
                return Err(StoreError::io(&path, "lock it")(source));
            }
        }
        let say = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {}, {owner}", std::process::id()));
        // A full disk must not keep a server from starting that may have nothing to write.
        if let Err(error) = say {
            tracing::debug!(%error, "could not say who has the data directory");
        }
        Ok(Self(file))
    }
}

fn try_lock(file: &File) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(LOOK),
            result => return result,
        }
    }
}
