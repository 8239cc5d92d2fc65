//! The work of other processes on this machine, which disturbs a measurement.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use procfs::{CurrentSI, KernelStats};

/// Observes what processes other than this one and its children use.
pub(crate) struct Others {
    since: Instant,
    /// The CPU time of others by then.
    used: Duration,
}

impl Others {
    /// Begins to observe. `None` if the system does not tell.
    pub(crate) fn watch() -> Option<Self> {
        Some(Self {
            since: Instant::now(),
            used: used()?,
        })
    }

    /// Returns how many cores others used on average since then. A child counts as another process
    /// until it was waited for.
    pub(crate) fn cores(&self) -> Option<f64> {
        let used = used()?.saturating_sub(self.used);
        Some(used.as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

/// Returns the CPU time of others since the system started. Interrupts do not count: those of this
/// process's own network traffic are among them.
fn used() -> Option<Duration> {
    let total = KernelStats::current().ok()?.total;
    let all = total.user_ms() + total.nice_ms() + total.system_ms() + total.steal_ms().unwrap_or(0);
    let own = own(UsageWho::RUSAGE_SELF)? + own(UsageWho::RUSAGE_CHILDREN)?;
    Some(Duration::from_millis(all).saturating_sub(own))
}

fn own(who: UsageWho) -> Option<Duration> {
    let usage = getrusage(who).ok()?;
    let duration = |time: TimeVal| {
        Duration::try_from_secs_f64(time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).ok()
    };
    Some(duration(usage.user_time())? + duration(usage.system_time())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps every processor busy: were this counted, there would be more work than processors.
    #[test]
    fn own_work_is_not_the_work_of_others() {
        const WORK: Duration = Duration::from_millis(300);
        let processors = KernelStats::current().unwrap().cpu_time.len();
        let used_here = || own(UsageWho::RUSAGE_SELF).unwrap();
        let (start, before) = (Instant::now(), used_here());
        let others = Others::watch().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..processors {
                scope.spawn(|| while used_here() - before < WORK {});
            }
        });
        let here = (used_here() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        let all = others.cores().unwrap() + here;
        assert!(all < processors as f64 + 0.5, "{all} of {processors}");
    }
}
