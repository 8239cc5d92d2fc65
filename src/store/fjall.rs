//! A data directory of this machine, kept by `fjall`, a log-structured database.
//!
//! ```text
//! lock      locked by the server that has it; says which one
//! format    the version of all this, and the directory's number
//! clean     only after a clean end: the number of the last commit
//! fjall/    the database: one key a topic, and the head
//! ```
//!
//! A topic's key is `01`, its point (2 bytes, so that each shard's topics are one range), its name; the
//! value its ceiling, its sum when that was asked for (8 bytes each) and the number of the run that
//! asked (4). The [`Head`]'s key is `00`. All numbers are big-endian.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, OwnedWriteBatch, PersistMode};
use parking_lot::Mutex;

use super::answer::{Answer, Changes};
use super::error::StoreError;
use super::guard::{Digest, Head};
use super::interface::{LastEnd, Store, Stored};
use super::layout::{DATABASE, FORMAT_FILE};
use super::lock::DirectoryLock;
use super::{directory, journal};
use crate::shard::{Change, Record};
use crate::topic::{TOPIC_LEN_LIMIT, Topic, owner_point};

const KEYSPACE: &str = "topics";

const HEAD_KEY: [u8; 1] = [0];
const TOPIC_PREFIX: u8 = 1;
/// Of a key, what stands before the topic's name.
const PREFIX_LEN: usize = 3;

/// So much is collected in memory before it is written in order: twice that at times. A hot topic's
/// ceilings mostly replace one another there.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// With one thread alone, what is collected in memory and in the journal would grow as long as it merges
/// tables; of two, one is kept free for it.
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
    /// Of what was loaded so far.
    loaded: Mutex<Digest>,
    state: State,
    /// Given back last.
    _lock: DirectoryLock,
}

/// Whether it can be written to.
enum State {
    Good,
    /// No more; and why, if nobody was told yet.
    Failed(Option<StoreError>),
}

impl FjallStore {
    /// Opens a data directory that is there already.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and where there is none.
    pub fn open_existing(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        let format = directory.join(FORMAT_FILE);
        match fs::metadata(&format) {
            Ok(_) => Self::open(directory, owner),
            Err(source) => Err(StoreError::io(
                &format,
                "find it; is this a data directory?",
            )(source)),
        }
    }

    /// Opens a data directory, or makes one where there is nothing. `owner` tells a second server,
    /// which is refused, who has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: somebody has it, it can't be read, or is not what was written.
    pub fn open(directory: &Path, owner: &str) -> Result<Self, StoreError> {
        directory::make_directory(directory)?;
        let lock = DirectoryLock::take(directory, owner)?;
        let id = directory::identify(directory)?;
        let (id, is_new) = match id {
            Some(id) => (id, false),
            None => (directory::start_over(directory)?, true),
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

    /// Finds the head, and whether it is the last that was durable. `witness`: the last in the journals.
    fn recover(&mut self, witness: u64) -> Result<(), StoreError> {
        let path = self.directory.join(DATABASE);
        let head = unless_it_panics(&path, || self.topics.get(HEAD_KEY))?;
        let Some(head) = head.and_then(|head| Head::decode(&head)) else {
            return Err(StoreError::damaged(&path, "it has no head"));
        };
        if head.id != self.head.id {
            let what = "it belongs to another data directory";
            return Err(StoreError::damaged(&path, what));
        }
        if witness > head.commit + 1 {
            let what = format!(
                "its journal can be read up to commit {}, and {} was durable",
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

    /// What a topic's record is; `None` where it has none.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub fn get(&self, topic: Topic<'_>) -> Result<Option<Record>, StoreError> {
        let path = self.directory.join(DATABASE);
        let value = unless_it_panics(&path, || self.topics.get(key(topic)))?;
        let Some(value) = value else { return Ok(None) };
        let (record, _) = decode_record(&value)
            .ok_or_else(|| StoreError::damaged(&path, format!("the record of {topic:?}")))?;
        Ok(Some(record))
    }

    /// Whether what was loaded is all that was written; every point was loaded.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] where it is not.
    pub fn check_loaded(&self) -> Result<(), StoreError> {
        let loaded = *self.loaded.lock();
        if loaded == self.head.digest {
            return Ok(());
        }
        let what = format!(
            "{} topics were written, {} were read, or their ceilings differ",
            self.head.digest.topics(),
            loaded.topics()
        );
        Err(StoreError::damaged(&self.directory.join(DATABASE), what))
    }

    /// One durable commit of these changes. Its witness has to follow.
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        let mut changes: Vec<_> = changes
            .iter()
            .map(|change| (key(change.topic()), change))
            .collect();
        // Neighbours in the database's order, one after the other, wait for less far memory.
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
        // The next odd number: the last commit's witness may be missing.
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

    /// Whether it has not failed.
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
        // It is durable, whatever becomes of the witness; nothing is written behind one that failed.
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
                        format!("the record of {:?}", String::from_utf8_lossy(&key)),
                    )));
                };
                digest.add(&key, record.ceiling);
                // What an earlier run skipped was told then.
                let skips = self.last_end == LastEnd::Crash && run == self.head.run;
                let skipped = if skips {
                    record.ceiling - record.sum
                } else {
                    0
                };
                found(
                    topic,
                    Stored {
                        sum: record.ceiling,
                        skipped,
                    },
                );
            }
            Ok(Ok(()))
        })??;
        self.loaded.lock().merge(digest);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.check_loaded()?;
        directory::unmark_clean(&self.directory)?;
        self.head.run = self.head.run.wrapping_add(1);
        self.try_commit(&[])
    }

    fn commit(&mut self, changes: Changes, answer: Answer) {
        answer.give(self.try_commit(&changes));
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.check()?;
        // The last witness too: the mark names it.
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
            // They help only to find single keys, which nobody does while it serves.
            .filter_policy(FilterPolicy::disabled())
    })?;
    Ok((database, topics))
}

/// Runs `read`, which looks at the database's files. What it says of bytes that can't be is an error
/// of ours, and so is a panic over them.
fn unless_it_panics<T>(
    path: &Path,
    read: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, StoreError> {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failure(path, error)),
        Err(_) => {
            let what = "the database could make nothing of what it read";
            Err(StoreError::damaged(path, what))
        }
    }
}

/// What an error of the database means: the system refused something, or the files are damaged.
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
        _ => StoreError::io(path, "read or write it")(source),
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
