//! A store in a data directory on this machine, in the log-structured database `fjall`.
//!
//! ```text
//! lock      locked by the server that uses the directory; names it
//! format    the version of the layout, and the directory's number
//! clean     only after a clean shutdown: the number of the last commit
//! fjall/    the database: one key per topic, and the head
//! ```
//!
//! The key of a topic is `01`, its point (2 bytes, so that the topics of a shard are one range) and
//! its name. The value is its ceiling, its sum when the ceiling was requested (8 bytes each) and
//! the number of the run that requested it (4). The key of the [`Head`] is `00`. All numbers are
//! big-endian.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, OwnedWriteBatch, PersistMode};
use parking_lot::Mutex;

use super::completion::{Changes, Completion};
use super::error::StoreError;
use super::guard::{Digest, Head};
use super::interface::Store;
use super::layout::{DATABASE, FORMAT_FILE};
use super::lock::DirectoryLock;
use super::stored::{LastEnd, Stored};
use super::{directory, journal};
use crate::shard::{Change, Record};
use crate::topic::{TOPIC_LEN_LIMIT, Topic, owner_point};

const KEYSPACE: &str = "topics";

const HEAD_KEY: [u8; 1] = [0];
const TOPIC_PREFIX: u8 = 1;
/// The length of a key before the topic's name.
const PREFIX_LEN: usize = 3;

/// The size at which the database writes what it has collected in memory to a table; at times it
/// uses twice as much. The ceilings of a hot topic mostly replace one another in memory.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The number of the database's threads. A single thread would let memory and journal grow while it
/// merges tables; of two, the database keeps one free to write what is collected.
const WORKERS: usize = 2;

/// Nothing is read after the start.
const CACHE_BYTES: u64 = 1024 * 1024;

/// See the [module](self).
pub struct FjallStore {
    directory: PathBuf,
    database: Database,
    topics: Keyspace,
    head: Head,
    last_end: LastEnd,
    /// The digest of what was loaded so far.
    loaded: Mutex<Digest>,
    state: State,
    /// Dropped last.
    _lock: DirectoryLock,
}

/// Whether the store accepts commits.
enum State {
    Good,
    /// The store failed. Has the cause if it was not reported yet.
    Failed(Option<StoreError>),
}

impl FjallStore {
    /// Opens an existing data directory.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open), and an error if there is no data directory.
    pub fn open_existing(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        let format = directory.join(FORMAT_FILE);
        match fs::metadata(&format) {
            Ok(_) => Self::open(directory, owner),
            Err(source) => Err(StoreError::io(directory, "find a data directory at")(
                source,
            )),
        }
    }

    /// Opens a data directory, or creates it if it does not exist. `owner` says what this process
    /// does with it, for the error message of a second process.
    ///
    /// # Errors
    ///
    /// Another process uses the directory, it cannot be read, or it is not what was written.
    pub fn open(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        directory::create_directory(directory)?;
        let lock = DirectoryLock::take(directory, owner)?;
        let id = directory::read_id(directory)?;
        let (id, is_new) = match id {
            Some(id) => (id, false),
            None => (directory::begin_new(directory)?, true),
        };
        let path = directory.join(DATABASE);
        let witness = match is_new {
            true => 0,
            false => journal::check(&path, &id)?,
        };
        let (database, topics) = unless_it_panics(&path, || open_database(&path))?;
        let mut store = Self {
            head: Head {
                id,
                commit: 0,
                run: 0,
                digest: Digest::default(),
            },
            directory: directory.to_owned(),
            database,
            topics,
            last_end: LastEnd::New,
            loaded: Mutex::default(),
            state: State::Good,
            _lock: lock,
        };
        if is_new {
            store.try_commit(&[])?;
            store.check()?;
            directory::finish_new(directory, &id)?;
        } else {
            store.recover(witness)?;
        }
        Ok(store)
    }

    /// Reads the head and checks that it is the last durable one. `witness` is the number of the
    /// last witness in the journals.
    fn recover(&mut self, witness: u64) -> Result<(), StoreError> {
        let path = self.directory.join(DATABASE);
        let head = unless_it_panics(&path, || self.topics.get(HEAD_KEY))?;
        let Some(head) = head.and_then(|head| Head::decode(&head)) else {
            return Err(StoreError::damaged(&path, "its head is missing"));
        };
        if head.id != self.head.id {
            let what = "it belongs to another data directory";
            return Err(StoreError::damaged(&path, what));
        }
        if witness > head.commit + 1 {
            let what = format!(
                "its journal is readable up to commit {}, but commit {} was durable",
                head.commit,
                witness - 1
            );
            return Err(StoreError::damaged(&path, what));
        }
        self.head = head;
        self.last_end = match directory::is_clean(&self.directory, &head)? {
            true => LastEnd::Clean,
            false if head.run == 0 => LastEnd::New,
            false => LastEnd::Crash,
        };
        Ok(())
    }

    /// Returns the record of a topic, or `None` if it has none.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn get(&self, topic: Topic<'_>) -> Result<Option<Record>, StoreError> {
        let path = self.directory.join(DATABASE);
        let value = unless_it_panics(&path, || self.topics.get(key(topic)))?;
        let Some(value) = value else { return Ok(None) };
        let (record, _) = decode_record(&value).ok_or_else(|| {
            StoreError::damaged(&path, format!("the record of {topic:?} is invalid"))
        })?;
        Ok(Some(record))
    }

    /// Checks that everything that was written was loaded, after every point was loaded.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if something is missing or differs.
    pub fn check_loaded(&self) -> Result<(), StoreError> {
        let loaded = *self.loaded.lock();
        if loaded == self.head.digest {
            return Ok(());
        }
        let what = format!(
            "{} topics were written and {} were read, or their ceilings differ",
            self.head.digest.topics(),
            loaded.topics()
        );
        Err(StoreError::damaged(&self.directory.join(DATABASE), what))
    }

    /// Writes a durable commit of these changes. Its witness has to follow.
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        let mut changes: Vec<_> = changes
            .iter()
            .map(|change| (key(change.topic()), change))
            .collect();
        // Inserting in the database's order waits for less far memory.
        changes.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        let Head { digest, run, .. } = &mut self.head;
        for (key, change) in changes {
            if let Some(ceiling) = change.before() {
                digest.remove(&key, ceiling);
            }
            match change.after() {
                Some(record) => {
                    digest.add(&key, record.ceiling);
                    batch.insert(&self.topics, key, encode_record(record, *run));
                }
                None => batch.remove(&self.topics, key),
            }
        }
        // The next odd number: the witness of the previous commit may be missing.
        self.head.commit = (self.head.commit + 1) | 1;
        self.put_head(batch, PersistMode::SyncData)
    }

    fn witness(&mut self) -> Result<(), StoreError> {
        self.head.commit += 1;
        self.put_head(self.database.batch(), PersistMode::Buffer)
    }

    fn put_head(&self, mut batch: OwnedWriteBatch, mode: PersistMode) -> Result<(), StoreError> {
        batch.insert(&self.topics, HEAD_KEY, self.head.encode());
        let committed = batch.durability(Some(mode)).commit();
        committed.map_err(|error| failure(&self.directory.join(DATABASE), error))
    }

    /// Returns an error if the store has failed.
    fn check(&mut self) -> Result<(), StoreError> {
        match &mut self.state {
            State::Good => Ok(()),
            State::Failed(why) => Err(why.take().unwrap_or(StoreError::Failed)),
        }
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.check()?;
        self.state = State::Failed(None);
        self.write(changes)?;
        // The commit is durable even if its witness fails; but then nothing is written after it.
        self.state = match self.witness() {
            Ok(()) => State::Good,
            Err(why) => State::Failed(Some(why)),
        };
        Ok(())
    }
}

impl Store for FjallStore {
    fn last_end(&self) -> LastEnd {
        self.last_end
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        let path = self.directory.join(DATABASE);
        let from = [&[TOPIC_PREFIX], &points.start().to_be_bytes()[..]].concat();
        let to = match points.end().checked_add(1) {
            Some(end) => [&[TOPIC_PREFIX], &end.to_be_bytes()[..]].concat(),
            None => vec![TOPIC_PREFIX + 1],
        };
        let mut digest = Digest::default();
        unless_it_panics(&path, || {
            for row in self.topics.range(from..to) {
                let (key, value) = row.into_inner()?;
                let Some((topic, record, run)) = decode_row(&key, &value) else {
                    return Ok(Err(StoreError::damaged(
                        &path,
                        format!(
                            "the record of {:?} is invalid",
                            String::from_utf8_lossy(&key)
                        ),
                    )));
                };
                digest.add(&key, record.ceiling);
                // The numbers that earlier runs skipped were reported by later ones.
                let skips = self.last_end == LastEnd::Crash && run == self.head.run;
                let stored = match skips {
                    true => Stored::after_crash(record),
                    false => Stored::exact(record.ceiling),
                };
                found(topic, stored);
            }
            Ok(Ok(()))
        })??;
        self.loaded.lock().merge(digest);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.check_loaded()?;
        directory::remove_clean_mark(&self.directory)?;
        self.head.run = self.head.run.wrapping_add(1);
        self.try_commit(&[])
    }

    fn commit(&mut self, changes: Changes, completion: Completion) {
        completion.report(self.try_commit(&changes));
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.check()?;
        // Sync the last witness too, since the mark names it.
        let path = self.directory.join(DATABASE);
        let synced = self.database.persist(PersistMode::SyncAll);
        synced.map_err(|error| failure(&path, error))?;
        directory::mark_clean(&self.directory, &self.head)
    }
}

fn open_database(path: &Path) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .manual_journal_persist(true)
        .worker_threads(WORKERS)
        .cache_size(CACHE_BYTES)
        .open()?;
    let topics = database.keyspace(KEYSPACE, || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            // Filters only help to find single keys, which a server does not do.
            .filter_policy(FilterPolicy::disabled())
    })?;
    Ok((database, topics))
}

/// Runs `read`, which reads the database's files. Turns the database's errors about invalid bytes,
/// and its panics over them, into a [`StoreError`].
fn unless_it_panics<T>(
    path: &Path,
    read: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, StoreError> {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failure(path, error)),
        Err(_) => {
            let what = "the database panicked while reading it";
            Err(StoreError::damaged(path, what))
        }
    }
}

/// Converts an error of the database: the system refused an operation, or the files are damaged.
fn failure(path: &Path, error: fjall::Error) -> StoreError {
    let source = match error {
        fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => source,
        fjall::Error::Poisoned => {
            return StoreError::Background {
                path: path.to_owned(),
            };
        }
        other => return StoreError::damaged(path, format!("{other:?}")),
    };
    match source.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            StoreError::damaged(path, source.to_string())
        }
        _ => StoreError::io(path, "read or write")(source),
    }
}

fn key(topic: Topic<'_>) -> Vec<u8> {
    let topic = topic.as_bytes();
    let mut key = Vec::with_capacity(PREFIX_LEN + topic.len());
    key.push(TOPIC_PREFIX);
    key.extend(owner_point(topic).to_be_bytes());
    key.extend(topic);
    key
}

fn decode_row<'a>(key: &'a [u8], value: &[u8]) -> Option<(Topic<'a>, Record, u32)> {
    let (prefix, name) = key.split_at_checked(PREFIX_LEN)?;
    let topic = Topic::new(name, TOPIC_LEN_LIMIT).ok()?;
    if prefix[0] != TOPIC_PREFIX || prefix[1..] != owner_point(name).to_be_bytes() {
        return None;
    }
    let (record, run) = decode_record(value)?;
    Some((topic, record, run))
}

fn encode_record(record: Record, run: u32) -> [u8; 20] {
    let mut value = [0; 20];
    value[..8].copy_from_slice(&record.ceiling.to_be_bytes());
    value[8..16].copy_from_slice(&record.sum.to_be_bytes());
    value[16..].copy_from_slice(&run.to_be_bytes());
    value
}

fn decode_record(value: &[u8]) -> Option<(Record, u32)> {
    let (ceiling, rest) = value.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let run = rest.try_into().ok()?;
    let record = Record {
        ceiling: u64::from_be_bytes(*ceiling),
        sum: u64::from_be_bytes(*sum),
    };
    (record.sum <= record.ceiling).then_some((record, u32::from_be_bytes(run)))
}

#[cfg(test)]
mod tests;
