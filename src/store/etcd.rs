//! A store that keeps ceilings in etcd, for a node of a cluster. Each commit compares the epochs of the
//! ranges that it touches (rule 6 of docs/cluster.md).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tracing::warn;

use super::completion::{Changes, Completion};
use super::error::StoreError;
use super::interface::Store;
use super::stored::{LastEnd, Stored};
use super::window::Window;
use crate::cluster::{Epoch, RangeId, Slot};
use crate::etcd::{self, Ceiling, Ceilings, MAX_OPERATIONS};
use crate::measure::LogLimit;
use crate::shard::{self, LoadId};
use crate::topic::Topic;

/// How often a transaction is tried again that certainly had no effect, and after which pause.
const RETRIES: usize = 10;
const RETRY_DELAY: Duration = Duration::from_millis(50);

static FAILED: LogLimit = LogLimit::new();

/// The loads of all ranges of a node, and the epoch of each.
#[derive(Debug)]
pub struct Loads {
    /// By range; `None` if it is not loaded.
    loads: Mutex<Vec<Option<(LoadId, Epoch)>>>,
}

/// Called when a commit for a range was refused, or its outcome is unknown: before any result that
/// might be mistaken for one of this load.
pub type RangeFailed = dyn Fn(RangeId, LoadId, Epoch) + Send + Sync;

/// See the [module](self).
pub struct EtcdStore {
    committer: Arc<Committer>,
    runtime: Handle,
}

struct Committer {
    ceilings: Ceilings,
    loads: Arc<Loads>,
    failed: Box<RangeFailed>,
    window: Window,
}

/// A change with its range and its topic as text.
type RangeChange<'a> = etcd::Change<'a>;

impl Loads {
    /// Creates the list of a cluster with this many ranges, none of which is loaded.
    #[must_use]
    pub fn new(ranges: u16) -> Self {
        Self {
            loads: Mutex::new(vec![None; ranges.into()]),
        }
    }

    /// Notes that a range is loaded, or `None`: that it is dropped.
    pub fn set(&self, range: RangeId, load: Option<(LoadId, Epoch)>) {
        self.loads.lock()[range.index()] = load;
    }

    /// Notes that all ranges are dropped.
    pub fn clear(&self) {
        self.loads.lock().fill(None);
    }

    /// Returns the load of a range under this epoch.
    #[must_use]
    pub fn load_at(&self, range: RangeId, epoch: Epoch) -> Option<LoadId> {
        let (load, of) = self.loads.lock()[range.index()]?;
        (of == epoch).then_some(load)
    }

    /// Returns the range and the epoch of a change; `None` if it is of a load that has ended.
    fn current(&self, change: &shard::Change) -> Option<(RangeId, LoadId, Epoch)> {
        let loads = self.loads.lock();
        let range = Slot::of(change.topic()).range(loads.len() as u16);
        let (load, epoch) = loads[range.index()]?;
        (load == change.load()).then_some((range, load, epoch))
    }
}

impl EtcdStore {
    /// Creates the store of a node. Its transactions run in `runtime`, to which the client of `ceilings`
    /// belongs.
    #[must_use]
    pub fn new(
        ceilings: Ceilings,
        runtime: Handle,
        loads: Arc<Loads>,
        failed: Box<RangeFailed>,
    ) -> Self {
        let committer = Committer {
            ceilings,
            loads,
            failed,
            window: Window::new(),
        };
        Self {
            committer: Arc::new(committer),
            runtime,
        }
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").finish_non_exhaustive()
    }
}

impl Store for EtcdStore {
    fn last_end(&self) -> LastEnd {
        LastEnd::New
    }

    /// Passes nothing: ranges are loaded when the node owns them.
    fn load(
        &self,
        _points: RangeInclusive<u16>,
        _found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit_limit(&self) -> usize {
        MAX_OPERATIONS
    }

    /// Commits at any later time. The completion reports success also if ranges failed: these were
    /// reported before.
    fn commit(&mut self, changes: Changes, completion: Completion) {
        let committer = Arc::clone(&self.committer);
        self.runtime.spawn(async move {
            committer.commit(&changes).await;
            completion.report(Ok(()));
        });
    }

    /// The topics of a node that leaves were taken out with their exact sums, and those of one that
    /// cannot leave belong to others by now.
    fn settles(&self) -> bool {
        false
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Committer {
    async fn commit(&self, changes: &[shard::Change]) {
        let mut loads = BTreeMap::new();
        let mut current = Vec::with_capacity(changes.len());
        for change in changes {
            if let Some((range, load, epoch)) = self.loads.current(change) {
                loads.insert(range, (load, epoch));
                current.push(range_change(range, change));
            }
        }
        for part in Ceilings::parts(&current) {
            self.commit_part(part, &loads).await;
        }
    }

    /// Commits changes in one transaction; if a range's epoch has ended, the others' in one for each.
    async fn commit_part(
        &self,
        changes: &[RangeChange<'_>],
        loads: &BTreeMap<RangeId, (LoadId, Epoch)>,
    ) {
        let mut ranges: Vec<RangeId> = changes.iter().map(|change| change.range).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let fail = |range: &RangeId| {
            let (load, epoch) = loads[range];
            (self.failed)(*range, load, epoch);
        };
        let epochs: Vec<_> = ranges
            .iter()
            .map(|range| (*range, loads[range].1))
            .collect();
        match self.transaction(&epochs, changes).await {
            Ok(true) => {}
            Ok(false) if ranges.len() == 1 => ranges.iter().for_each(fail),
            Ok(false) => {
                for range in &ranges {
                    let of_range = changes.iter().filter(|change| change.range == *range);
                    let of_range: Vec<_> = of_range.copied().collect();
                    let epochs = [(*range, loads[range].1)];
                    if !self.transaction(&epochs, &of_range).await.unwrap_or(false) {
                        fail(range);
                    }
                }
            }
            Err(()) => ranges.iter().for_each(fail),
        }
    }

    /// Makes a transaction. Returns whether it was applied; an error if that is unknown, or if etcd cannot
    /// be reached.
    async fn transaction(
        &self,
        epochs: &[(RangeId, Epoch)],
        changes: &[RangeChange<'_>],
    ) -> Result<bool, ()> {
        for attempt in 0.. {
            let committed = {
                let _transaction = self.window.begin().await;
                self.ceilings.commit(epochs, changes).await
            };
            match committed {
                Ok(applied) => return Ok(applied.is_some()),
                Err(error) if !error.is_unknown() && attempt < RETRIES => sleep(RETRY_DELAY).await,
                Err(error) => {
                    if let Some(times) = FAILED.count() {
                        warn!(%error, times, "a commit to etcd failed: its ranges are loaded again");
                    }
                    return Err(());
                }
            }
        }
        Err(())
    }
}

/// Returns a change as etcd takes it.
pub fn range_change(range: RangeId, change: &shard::Change) -> etcd::Change<'_> {
    let ceiling = change.after().map(|record| Ceiling {
        ceiling: record.ceiling,
        exact: record.ceiling == record.sum,
    });
    etcd::Change {
        range,
        topic: change.topic().as_str(),
        ceiling,
    }
}
