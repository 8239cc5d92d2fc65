//! Whether the workers run, as a watchdog sees it: each worker counts up now and then, as one of its
//! tasks. A worker that hangs in another task no longer does.

use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};

use crate::server::exchange::WorkerId;

/// What the workers of a server beat.
#[derive(Debug)]
pub(crate) struct Beats {
    period: Option<Duration>,
    counts: Arc<[CachePadded<AtomicU64>]>,
    /// How many workers serve.
    serving: watch::Sender<usize>,
}

/// One worker's part.
#[derive(Debug)]
pub(super) struct Beat {
    worker: usize,
    period: Option<Duration>,
    counts: Arc<[CachePadded<AtomicU64>]>,
    serving: watch::Sender<usize>,
}

/// Tells whether every worker of a [`Server`](crate::server::Server) runs.
#[derive(Debug)]
pub struct Pulse {
    counts: Arc<[CachePadded<AtomicU64>]>,
    /// What [`counts`](Self::counts) were at the last look.
    seen: Box<[u64]>,
    serving: watch::Receiver<usize>,
}

impl Beats {
    /// Creates the beats of this many workers, which do not serve yet.
    pub(crate) fn new(workers: u16) -> Self {
        Self {
            period: None,
            counts: (0..workers).map(|_| CachePadded::default()).collect(),
            serving: watch::Sender::new(0),
        }
    }

    /// Sets how often each worker beats; `None`: once, when it serves.
    pub(crate) fn set_period(&mut self, period: Option<Duration>) {
        self.period = period;
    }

    /// Returns a handle that looks at the beats.
    pub(crate) fn pulse(&self) -> Pulse {
        Pulse {
            seen: self.counts.iter().map(|_| 0).collect(),
            counts: Arc::clone(&self.counts),
            serving: self.serving.subscribe(),
        }
    }

    /// Returns a worker's part.
    pub(super) fn beat(&self, worker: WorkerId) -> Beat {
        Beat {
            worker: usize::from(worker.0),
            period: self.period,
            counts: Arc::clone(&self.counts),
            serving: self.serving.clone(),
        }
    }
}

impl Beat {
    /// The task of a worker that beats. It is the worker's last task to start, so that the worker serves
    /// at its first beat. It never ends.
    pub(super) async fn run(self) {
        self.serving.send_modify(|serving| *serving += 1);
        let Some(period) = self.period else {
            return future::pending().await;
        };
        let mut beats = time::interval(period);
        // After a pause, one beat is enough.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.counts[self.worker].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Pulse {
    /// Waits until every worker serves. Never ends if one of them cannot start.
    pub async fn serving(&mut self) {
        let workers = self.counts.len();
        let serving = self.serving.wait_for(|&serving| serving == workers);
        if serving.await.is_err() {
            future::pending::<()>().await;
        }
    }

    /// Returns how often each worker has beaten.
    #[cfg(test)]
    pub(super) fn beats(&self) -> Vec<u64> {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Returns whether every worker has made progress since the last call. The time between two calls
    /// must be longer than the period of the beats.
    pub fn advanced(&mut self) -> bool {
        let mut all = true;
        for (seen, count) in self.seen.iter_mut().zip(&*self.counts) {
            let now = count.load(Ordering::Relaxed);
            all &= now != *seen;
            *seen = now;
        }
        all
    }
}
