//! What a server did in each of the last ten minutes' seconds, for the page and for `globalcounter top`.

mod cluster;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use globalcounter::server::{CommitSnapshot, Distribution, Monitor, Snapshot};
use serde::{Deserialize, Serialize};

use super::process::{self, Process};
pub(crate) use cluster::Cluster;

/// How many seconds are kept.
const SECONDS: usize = 600;

/// The seconds that are kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

/// What a server did in about one second. Rates are per second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The end of the second, in seconds since 1970.
    pub(crate) time: f64,
    pub(crate) uptime_seconds: u64,
    /// "ready", or why it is not.
    pub(crate) state: String,
    pub(crate) requests: Rates,
    pub(crate) latency: Latency,
    pub(crate) workers: Vec<WorkerLoad>,
    pub(crate) connections: Use,
    pub(crate) resp_connections: u64,
    pub(crate) connections_accepted: f64,
    pub(crate) connections_refused: f64,
    pub(crate) topics: Use,
    pub(crate) files: Use,
    /// Memory of the topics, and of the whole process, in bytes.
    pub(crate) topics_bytes: u64,
    pub(crate) resident_bytes: u64,
    /// Processors that the process kept busy.
    pub(crate) cpu: f64,
    pub(crate) received_bytes: f64,
    pub(crate) sent_bytes: f64,
    pub(crate) datagrams_dropped: f64,
    pub(crate) stalls: f64,
    /// "memory", "monotonic" or "exact".
    pub(crate) durability: String,
    pub(crate) skipped_numbers: u64,
    pub(crate) commits: Option<Commits>,
    /// `None` on a server alone.
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
}

/// Requests a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// Of every dialect, those that have a topic.
    pub(crate) all: f64,
    pub(crate) framed: f64,
    pub(crate) classic: f64,
    pub(crate) resp: f64,
    pub(crate) errors: f64,
    /// In one read, on average.
    pub(crate) batch: f64,
}

/// The time from a read until its requests have their replies, in seconds; `None` if none was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
}

/// What one worker did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerLoad {
    pub(crate) requests: f64,
    /// The share of the time that it was on a processor, 0 to 1.
    pub(crate) cpu: f64,
    pub(crate) connections: u64,
    pub(crate) waiting_batches: u64,
    /// The longest of the turns that were measured, in seconds.
    pub(crate) longest_turn: Option<f64>,
}

/// How much of something is used, and the most that may be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Use {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// What the store did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Commits {
    pub(crate) commits: f64,
    pub(crate) changes: f64,
    /// The time of a commit, in seconds, on average.
    pub(crate) seconds: Option<f64>,
    pub(crate) last_commit_seconds: Option<u64>,
    pub(crate) last_checkpoint_seconds: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) checkpoints_failed: u64,
    /// The log since the last checkpoint, and its length at which the next one is due.
    pub(crate) log: Use,
    pub(crate) checkpoint_bytes: u64,
}

impl History {
    /// Appends a second, and forgets the oldest one if there are too many.
    pub(super) fn push(&mut self, sample: Sample) {
        if self.0.len() == SECONDS {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    pub(super) fn last(&self) -> Option<&Sample> {
        self.0.back()
    }
}

/// Makes samples out of what a monitor tells each time.
pub(super) struct Sampling {
    monitor: Monitor,
    before: Reading,
}

/// What was read at one time.
struct Reading {
    at: Instant,
    snapshot: Snapshot,
    process: Process,
    workers_cpu_seconds: BTreeMap<usize, f64>,
}

impl Sampling {
    pub(super) fn new(monitor: Monitor) -> Self {
        Self {
            before: Reading::now(&monitor),
            monitor,
        }
    }

    /// Returns what the server did since the last call.
    pub(super) fn sample(&mut self, state: String) -> Sample {
        let now = Reading::now(&self.monitor);
        let sample = now.since(&self.before, state);
        self.before = now;
        sample
    }
}

impl Reading {
    fn now(monitor: &Monitor) -> Self {
        Self {
            at: Instant::now(),
            snapshot: monitor.snapshot(),
            process: process::read(),
            workers_cpu_seconds: process::workers_cpu_seconds(),
        }
    }

    fn since(&self, before: &Self, state: String) -> Sample {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |count: fn(&Snapshot) -> u64| {
            count(&self.snapshot).saturating_sub(count(&before.snapshot)) as f64 / seconds
        };
        let latencies = self.snapshot.latencies.since(&before.snapshot.latencies);
        let batches = self.snapshot.batches.since(&before.snapshot.batches);
        let workers = self.snapshot.workers.iter().zip(&before.snapshot.workers);
        let workers = workers.enumerate().map(|(number, (now, then))| {
            let cpu = |reading: &Self| reading.workers_cpu_seconds.get(&number).copied();
            let cpu = cpu(self)
                .zip(cpu(before))
                .map_or(0.0, |(now, then)| now - then);
            WorkerLoad {
                requests: now.requests.saturating_sub(then.requests) as f64 / seconds,
                cpu: (cpu / seconds).clamp(0.0, 1.0),
                connections: now.connections,
                waiting_batches: now.waiting_batches,
                longest_turn: quantile(&now.turns.since(&then.turns), 1.0),
            }
        });
        let cpu_seconds = |reading: &Self| reading.process.cpu_seconds.unwrap_or_default();
        let process = &self.process;
        let Snapshot {
            connections,
            max_connections,
            topics,
            max_topics,
            ..
        } = self.snapshot;
        Sample {
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |time| time.as_secs_f64()),
            uptime_seconds: self.snapshot.uptime_seconds,
            state,
            requests: Rates {
                all: rate(|snapshot| snapshot.submitted),
                framed: rate(|snapshot| of_dialect(snapshot, "framed")),
                classic: rate(|snapshot| of_dialect(snapshot, "classic")),
                resp: rate(|snapshot| snapshot.commands.iter().map(|c| c.calls).sum()),
                errors: rate(|snapshot| {
                    let refused = snapshot.errors.iter().map(|count| count.requests);
                    refused.sum::<u64>().max(snapshot.resp_errors)
                }),
                batch: match batches.count() {
                    0 => 0.0,
                    count => batches.sum() as f64 / count as f64,
                },
            },
            latency: Latency {
                p50: quantile(&latencies, 0.5),
                p99: quantile(&latencies, 0.99),
                p999: quantile(&latencies, 0.999),
            },
            workers: workers.collect(),
            connections: Use {
                used: connections,
                limit: max_connections,
            },
            resp_connections: self.snapshot.resp_connections,
            connections_accepted: rate(|snapshot| snapshot.connections_accepted),
            connections_refused: rate(|snapshot| snapshot.connections_refused),
            topics: Use {
                used: topics,
                limit: max_topics,
            },
            files: Use {
                used: process.open_files.unwrap_or_default(),
                limit: process.max_files.unwrap_or_default(),
            },
            topics_bytes: self.snapshot.workers.iter().map(|w| w.table_bytes).sum(),
            resident_bytes: process.resident_bytes.unwrap_or_default(),
            cpu: (cpu_seconds(self) - cpu_seconds(before)) / seconds,
            received_bytes: rate(|s| s.bytes.tcp_received + s.bytes.udp_received),
            sent_bytes: rate(|s| s.bytes.tcp_sent + s.bytes.udp_sent),
            datagrams_dropped: rate(|s| s.datagrams_dropped.unwrap_or_default()),
            stalls: rate(|snapshot| snapshot.stalls),
            durability: self.snapshot.durability.clone(),
            skipped_numbers: self
                .snapshot
                .loaded
                .map_or(0, |loaded| loaded.skipped_numbers),
            commits: self
                .snapshot
                .commits
                .as_ref()
                .zip(before.snapshot.commits.as_ref())
                .map(|(now, then)| commits(now, then, seconds)),
            cluster: self
                .snapshot
                .cluster
                .as_ref()
                .zip(before.snapshot.cluster.as_ref())
                .map(|(now, then)| Cluster::between(then, now, seconds)),
        }
    }
}

fn of_dialect(snapshot: &Snapshot, dialect: &str) -> u64 {
    let of_dialect = snapshot.requests.iter().filter(|r| r.dialect == dialect);
    of_dialect.map(|count| count.requests).sum()
}

/// Returns a quantile of times in nanoseconds, in seconds.
fn quantile(times: &Distribution, fraction: f64) -> Option<f64> {
    Some(times.quantile(fraction)? as f64 / 1e9)
}

fn commits(now: &CommitSnapshot, before: &CommitSnapshot, seconds: f64) -> Commits {
    let commits = now.commits.saturating_sub(before.commits) as f64;
    Commits {
        commits: commits / seconds,
        changes: now.changes.saturating_sub(before.changes) as f64 / seconds,
        seconds: (commits > 0.0).then(|| (now.seconds - before.seconds) / commits),
        last_commit_seconds: now.last_commit_seconds,
        last_checkpoint_seconds: now.last_checkpoint_seconds,
        checkpoints: now.checkpoints,
        checkpoints_failed: now.checkpoints_failed,
        log: Use {
            used: now.log_bytes,
            limit: now.checkpoint_due_bytes,
        },
        checkpoint_bytes: now.checkpoint_bytes,
    }
}
