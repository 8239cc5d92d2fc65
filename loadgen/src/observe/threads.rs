//! The threads of a process, and the processors that they may use.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::Process;

/// A thread is busy if it used at least this fraction of the CPU time of the busiest one. It leaves
/// out threads that wait for signals or serve metrics: a server pins only its workers.
const BUSY: u64 = 10;

/// The threads of a process at one point in time, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Threads(BTreeMap<i32, Thread>);

#[derive(Debug)]
struct Thread {
    /// CPU time since the thread started, in clock ticks.
    used: u64,
    /// Ranges of processors, with their ends.
    allowed: Vec<(u32, u32)>,
}

impl Threads {
    /// Reads the threads of a process. None are returned if it is gone.
    pub(super) fn of(pid: i32) -> Self {
        let tasks = Process::new(pid).and_then(|process| process.tasks());
        let thread = |task: procfs::process::Task| {
            let stat = task.stat().ok()?;
            let thread = Thread {
                used: stat.utime + stat.stime,
                allowed: task.status().ok()?.cpus_allowed_list?,
            };
            Some((task.tid, thread))
        };
        let tasks = tasks.into_iter().flatten().flatten();
        Self(tasks.filter_map(thread).collect())
    }

    /// Returns the processors that the threads may use that were busy since `earlier`. If none used
    /// a whole clock tick, all threads count.
    pub(crate) fn processors_since(&self, earlier: &Self) -> BTreeSet<usize> {
        let used = |(tid, thread): (&i32, &Thread)| {
            let before = earlier.0.get(tid).map_or(0, |before| before.used);
            thread.used.saturating_sub(before)
        };
        let most = self.0.iter().map(used).max().unwrap_or(0);
        self.0
            .iter()
            .filter(|&thread| used(thread) * BUSY >= most)
            .flat_map(|(_, thread)| &thread.allowed)
            .flat_map(|&(first, last)| first as usize..=last as usize)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(list: &[(i32, u64, (u32, u32))]) -> Threads {
        let thread = |&(tid, used, allowed)| {
            let allowed = vec![allowed];
            (tid, Thread { used, allowed })
        };
        Threads(list.iter().map(thread).collect())
    }

    #[test]
    fn idle_threads_do_not_count() {
        // The main thread loaded data before, and idles now.
        let before = threads(&[(1, 500, (0, 7)), (2, 0, (3, 3))]);
        let after = threads(&[(1, 501, (0, 7)), (2, 100, (3, 3)), (4, 20, (5, 6))]);
        assert_eq!(after.processors_since(&before), [3, 5, 6].into());
        assert_eq!(before.processors_since(&before), (0..8).collect());
        assert_eq!(Threads::default().processors_since(&before), [].into());
    }

    #[test]
    fn the_threads_of_a_process_are_read() {
        let own = Threads::of(std::process::id() as i32);
        let processors = own.processors_since(&Threads::default());
        let usable = globalcounter::server::affinity::processors();
        assert!(usable.iter().all(|usable| processors.contains(usable)));
        assert!(Threads::of(i32::MAX).0.is_empty());
    }
}
