//! Tests of the store. Most run on a simulated disk, on one thread, from a seed.

mod directory;
mod flips;
mod power;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::Options;
use super::store::LogStore;
use crate::random::Random;
use crate::shard::{Change, Record};
use crate::store::disk::SimulatedDisk;
use crate::store::encoding::Rows;
use crate::store::error::StoreError;
use crate::store::interface::{Checkpoint, Store};
use crate::store::log::SegmentSize;
use crate::topic::{Topic, owner_point};

/// Topics and their ceilings.
type Ceilings = BTreeMap<String, u64>;

const SMALL: Options = Options {
    segment: SegmentSize::of_sectors(8),
    checkpoint_log: 12 * 512,
    ahead: false,
};

fn directory() -> &'static Path {
    Path::new("/data")
}

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name.as_bytes(), 1_000).unwrap()
}

/// The names of the topics. Some are so long that a commit takes more than a record.
fn names() -> Vec<String> {
    let name = |n: usize| format!("topic {n} {}", "long ".repeat([0, 3, 0, 70, 0, 180][n % 6]));
    (0..18).map(name).collect()
}

/// A checkpoint that is being written, and the next topic to copy to it.
struct Copying {
    checkpoint: Box<dyn Checkpoint>,
    next: usize,
}

/// A store on a simulated disk, and what its user knows.
struct World {
    disk: SimulatedDisk,
    store: Option<LogStore>,
    copying: Option<Copying>,
    /// The durable ceilings.
    acknowledged: Ceilings,
    /// The changes of a commit that has no result.
    in_flight: BTreeMap<String, Option<u64>>,
    names: Vec<String>,
    random: Random,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimulatedDisk::new(),
            store: None,
            copying: None,
            acknowledged: Ceilings::new(),
            in_flight: BTreeMap::new(),
            names: names(),
            random: Random::new(seed),
        }
    }

    fn store(&mut self) -> &mut LogStore {
        self.store.as_mut().unwrap()
    }

    /// Opens the directory, and begins to commit.
    fn start(&mut self) -> Result<(), StoreError> {
        let mut store = open(&self.disk)?;
        store.begin()?;
        self.store = Some(store);
        Ok(())
    }

    /// Makes some steps, until one fails.
    fn run(&mut self, steps: usize) -> Result<(), StoreError> {
        for _ in 0..steps {
            if self.store.is_none() {
                self.start()?;
            }
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), StoreError> {
        match self.random.below(40) {
            0 => return self.end_cleanly(),
            1 => {
                // The process ends.
                self.copying = None;
                self.store = None;
                return Ok(());
            }
            2..5 => self.store().idle(),
            5 => self.begin_checkpoint()?,
            _ => self.commit_some()?,
        }
        if self.store().checkpoint_due() {
            self.begin_checkpoint()?;
        }
        if self.copying.is_some() && self.random.below(2) == 0 {
            self.copy_some()?;
        }
        Ok(())
    }

    fn commit_some(&mut self) -> Result<(), StoreError> {
        let mut changes = BTreeMap::new();
        for _ in 0..=self.random.below(5) {
            let name = self.names[self.random.below(self.names.len() as u64) as usize].clone();
            let before = self.acknowledged.get(&name).copied();
            let after = match before {
                Some(_) if self.random.below(4) == 0 => None,
                before => Some(before.unwrap_or(0) + 1 + self.random.below(1_000)),
            };
            changes.insert(name, after);
        }
        self.commit(changes)
    }

    fn commit(&mut self, changes: BTreeMap<String, Option<u64>>) -> Result<(), StoreError> {
        let record = |ceiling| Record {
            ceiling,
            sum: ceiling / 2,
        };
        let change = |(name, after): (&String, &Option<u64>)| {
            let before = self.acknowledged.get(name).copied();
            Change::new(topic(name), before, after.map(record))
        };
        let list: Vec<Change> = changes.iter().map(change).collect();
        self.in_flight = changes;
        self.store().commit_and_wait(list)?;
        for (name, after) in std::mem::take(&mut self.in_flight) {
            match after {
                Some(ceiling) => self.acknowledged.insert(name, ceiling),
                None => self.acknowledged.remove(&name),
            };
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<(), StoreError> {
        let parts = vec![0..=32_767, 32_768..=65_535];
        let begun = self.store().begin_checkpoint(parts)?;
        assert_eq!(begun.is_some(), self.copying.is_none());
        if let Some(checkpoint) = begun {
            self.copying = Some(Copying {
                checkpoint,
                next: 0,
            });
        }
        Ok(())
    }

    /// Copies some topics to the checkpoint, as they are now. Makes it valid after the last.
    fn copy_some(&mut self) -> Result<(), StoreError> {
        let Some(copying) = &mut self.copying else {
            return Ok(());
        };
        for _ in 0..=self.random.below(6) {
            let Some(name) = self.names.get(copying.next) else {
                break;
            };
            copying.next += 1;
            if let Some(&ceiling) = self.acknowledged.get(name) {
                let mut rows = Rows::new();
                rows.push(topic(name), Some(Record::exact(ceiling)));
                let part = usize::from(owner_point(name.as_bytes()) > 32_767);
                copying.checkpoint.write(part, &rows)?;
            }
        }
        if copying.next == self.names.len() {
            let copying = self.copying.take().unwrap();
            copying.checkpoint.finish()?;
        }
        Ok(())
    }

    fn end_cleanly(&mut self) -> Result<(), StoreError> {
        self.copying = None;
        self.begin_checkpoint()?;
        while self.copying.is_some() {
            self.copy_some()?;
        }
        self.store().finish()?;
        self.store = None;
        Ok(())
    }

    /// Returns why `found` cannot be what is left of the acknowledged commits; `None` if it can.
    fn contradicts(&self, found: &Ceilings) -> Option<String> {
        self.names.iter().find_map(|name| {
            let found = found.get(name).copied();
            let acknowledged = self.acknowledged.get(name).copied();
            let in_flight = self.in_flight.get(name);
            let fits = found == acknowledged || in_flight.is_some_and(|after| *after == found);
            (!fits).then(|| {
                format!(
                    "{name:.20}: {found:?} is stored, {acknowledged:?} was acknowledged, {in_flight:?} was in flight"
                )
            })
        })
    }
}

fn open(disk: &SimulatedDisk) -> Result<LogStore, StoreError> {
    LogStore::open_on(Arc::new(disk.clone()), directory(), SMALL)
}

/// Returns what a store has, and checks that each topic is in the range of its point.
fn load(store: &LogStore) -> Result<Ceilings, StoreError> {
    let mut loaded = Ceilings::new();
    for points in [0..=9_999, 10_000..=40_000, 40_001..=65_535] {
        let within = points.clone();
        store.load(points, &mut |topic, stored| {
            assert!(within.contains(&owner_point(topic.as_bytes())));
            let name = String::from_utf8(topic.as_bytes().to_vec()).unwrap();
            loaded.entry(name).or_insert(stored.sum);
        })?;
    }
    Ok(loaded)
}

/// Returns what a server would serve from a disk.
fn served(disk: &SimulatedDisk) -> Result<Ceilings, StoreError> {
    let mut store = open(disk)?;
    let loaded = load(&store)?;
    store.begin()?;
    Ok(loaded)
}

fn in_directory(name: &str) -> PathBuf {
    directory().join(name)
}
