//! Measures one row: prepares its servers, measures each in turn, round by round.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use globalcounter::protocol::Op;

use super::results::{Round, RowResult};
use super::rows::{Entry, Load, Measure, Row};
use super::servers::{Build, Installed};
use super::summary::{Series, summarise};
use crate::drive::{self, Measured};
use crate::launch::{Folder, Running};
use crate::measure;
use crate::plan::{Pace, Plan, Until};
use crate::report::{Latency, Rounds};
use crate::target;
use crate::workload::{Distribution, Names, Workload};

/// How long a server is warmed up before each measurement.
const WARM_UP: Duration = Duration::from_millis(200);

/// The length of topic names: the targets were set for this length.
const TOPIC_LEN: usize = 16;

/// How long a server may send nothing over TCP.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After how long a datagram counts as lost and its slot is used again. A small part of a round, so
/// that a loss does not leave a socket idle; long compared with the latency of any reply.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(100);

/// What all rows are measured with.
pub(super) struct Bench<'a> {
    pub(super) servers: &'a Installed,
    pub(super) server_processor: usize,
    pub(super) load_processor: usize,
    pub(super) rounds: u32,
    pub(super) duration: Duration,
}

/// A server while its row is measured.
struct Contender {
    number: usize,
    entry: &'static Entry,
    build: Build,
    prepared: Result<Prepared>,
    rounds: Vec<Round>,
}

/// What is ready for an entry before its first measurement.
enum Prepared {
    /// A server that has the topics.
    Serving(Box<(Running, Plan)>),
    /// A server that has the topics, which take that much memory each. Nothing more is measured.
    Filled(f64),
    /// A data directory that has the topics, and the resident memory of a server without topics.
    Stored { folder: Arc<Folder>, empty: u64 },
    /// Each measurement starts a server of its own.
    Nothing,
}

impl Bench<'_> {
    pub(super) fn row(&self, row: &'static Row) -> RowResult {
        let mut contenders = self.contenders(row);
        let rounds = match row.measure {
            Measure::Memory => 1,
            _ => self.rounds,
        };
        let bar = Rounds::of(row.name, u64::from(rounds) * contenders.len() as u64);
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        for _ in 0..rounds {
            for &number in &order {
                let contender = &mut contenders[number];
                if let Ok(prepared) = &contender.prepared {
                    match self.measure(contender.entry, contender.build, prepared) {
                        Ok(round) => contender.rounds.push(round),
                        Err(error) => contender.prepared = Err(error),
                    }
                }
                bar.inc();
            }
            // Each round starts with another server, so that each follows every other's load.
            order.rotate_left(1);
        }
        let series: Vec<Series> = contenders.into_iter().map(Contender::series).collect();
        summarise(row, &series)
    }

    /// Prepares the row's entries, then those of the other build, if there is one.
    fn contenders(&self, row: &'static Row) -> Vec<Contender> {
        let mut contenders = Vec::new();
        for &build in self.servers.builds() {
            let entries = row.entries.iter().enumerate();
            let of_build =
                |&(_, entry): &(usize, &Entry)| build == Build::This || entry.server.has_builds();
            contenders.extend(entries.filter(of_build).map(|(number, entry)| Contender {
                number,
                entry,
                build,
                prepared: self.prepare(row.measure, entry, build),
                rounds: Vec::new(),
            }));
        }
        contenders
    }

    fn prepare(&self, measure: Measure, entry: &Entry, build: Build) -> Result<Prepared> {
        if measure == Measure::NewTopics {
            return Ok(Prepared::Nothing);
        }
        let folder = Folder::new()?;
        let running = match measure {
            Measure::Start => self.start_on_both(entry, build, &folder)?,
            _ => self.start(entry, build, &folder)?,
        };
        let empty = resident(&running)?;
        let plan = self.plan(&entry.load, &running)?;
        measure::prepare(&plan)?;
        Ok(match measure {
            Measure::Memory => Prepared::Filled(per_topic(resident(&running)?, empty, &entry.load)),
            Measure::Start => {
                running.stop()?;
                Prepared::Stored { folder, empty }
            }
            _ => Prepared::Serving(Box::new((running, plan))),
        })
    }

    fn measure(&self, entry: &Entry, build: Build, prepared: &Prepared) -> Result<Round> {
        match prepared {
            Prepared::Serving(serving) => {
                let (running, plan) = &**serving;
                let measured = drive::run(plan, Some(running.process()), &mut |_| {})?;
                round(&measured)
            }
            Prepared::Filled(bytes) => Ok(Round {
                bytes_per_topic: Some(*bytes),
                ..Round::default()
            }),
            Prepared::Stored { folder, empty } => {
                let running = self.start_on_both(entry, build, folder)?;
                let bytes = per_topic(resident(&running)?, *empty, &entry.load);
                let start_time = running.start_time();
                running.stop()?;
                Ok(Round {
                    start_seconds: Some(start_time.as_secs_f64()),
                    bytes_per_topic: Some(bytes),
                    ..Round::default()
                })
            }
            Prepared::Nothing => {
                let running = self.start(entry, build, &Folder::new()?)?;
                let plan = self.plan(&entry.load, &running)?;
                let process = Some(running.process());
                round(&drive::each_topic(&plan, Op::Count, process)?)
            }
        }
    }

    fn start(&self, entry: &Entry, build: Build, folder: &Arc<Folder>) -> Result<Running> {
        let processors = [self.server_processor];
        let folder = Arc::clone(folder);
        self.servers
            .start(&entry.server, build, folder, &processors)
    }

    /// Starts a server on the processors of the servers and of the load.
    fn start_on_both(&self, entry: &Entry, build: Build, folder: &Arc<Folder>) -> Result<Running> {
        let processors = [self.server_processor, self.load_processor];
        let folder = Arc::clone(folder);
        self.servers
            .start(&entry.server, build, folder, &processors)
    }

    fn plan(&self, load: &Load, running: &Running) -> Result<Plan> {
        let target =
            target::named(load.target).context("a row names a target that does not exist")?;
        Ok(Plan {
            target,
            servers: vec![running.address(target.transport())],
            in_use: vec![0],
            tls: None,
            workload: Workload {
                names: Names::new(load.topics, TOPIC_LEN)?,
                distribution: Distribution::Uniform,
                mix: "count".parse().map_err(anyhow::Error::msg)?,
                seed: 1,
            },
            pace: Pace::Closed {
                pipeline: load.pipeline,
            },
            connections: load.connections,
            per_datagram: load.per_datagram,
            gso: load.gso,
            shard_aware: load.shard_aware,
            redis_cluster: false,
            token: None,
            threads: 1,
            processors: vec![self.load_processor],
            prepare: true,
            warm_up: WARM_UP,
            until: Until::Elapsed(self.duration),
            timeout: if target.transport().is_udp() {
                DATAGRAM_TIMEOUT
            } else {
                TIMEOUT
            },
            reconnect: None,
            verify: None,
        })
    }
}

impl Contender {
    fn series(self) -> Series {
        let error = self.prepared.err();
        Series {
            entry: self.number,
            build: self.build,
            missing: error.map(|error| format!("{error:#}")),
            rounds: self.rounds,
        }
    }
}

fn resident(running: &Running) -> Result<u64> {
    let usage = running.process().usage().context("the server is gone")?;
    Ok(usage.resident)
}

/// Returns the resident memory beyond that of an empty server, per topic.
fn per_topic(resident: u64, empty: u64, load: &Load) -> f64 {
    resident.saturating_sub(empty) as f64 / f64::from(load.topics)
}

fn round(measured: &Measured) -> Result<Round> {
    ensure!(
        measured.refused.is_empty(),
        "requests were refused: {:?}",
        measured.refused
    );
    let nanos = measured.processor_nanos();
    let latency = Latency::of(&measured.latency);
    Ok(Round {
        rate: Some(measured.rate()),
        nanos_per_reply: Some(nanos.context("the server answered nothing")?),
        user_nanos_per_reply: measured.user_nanos(),
        p50: Some(latency.p50),
        p99: Some(latency.p99),
        lost: measured.lost + measured.late,
        ..Round::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::{ROWS, Target};
    use super::super::servers::Server;
    use super::*;

    #[test]
    fn rows_name_targets_that_exist() {
        for row in ROWS {
            assert!(row.ours < row.entries.len());
            for entry in row.entries {
                assert!(
                    entry.bases.iter().all(|&base| base < row.entries.len()),
                    "{}",
                    row.name
                );
                assert!(target::named(entry.load.target).is_some(), "{}", row.name);
                assert!(Names::new(entry.load.topics, TOPIC_LEN).is_ok());
            }
        }
    }

    #[test]
    fn every_row_has_targets_that_it_can_measure() {
        for row in ROWS {
            let name = row.name;
            assert!(row.entries[row.ours].server.has_builds(), "{name}");
            assert!(!row.targets.is_empty(), "{name}");
            let requests = matches!(row.measure, Measure::Requests | Measure::NewTopics);
            for target in row.targets {
                let measured = match *target {
                    Target::CpuTime { of, .. } | Target::UserTime { of, .. } => {
                        requests && of < row.entries.len() && of != row.ours
                    }
                    Target::BeyondBaseline { .. } => {
                        let is_null = |entry: &Entry| matches!(entry.server, Server::Null { .. });
                        requests && row.entries.iter().any(is_null)
                    }
                    Target::Rate { .. } => requests,
                    Target::Start { .. } => row.measure == Measure::Start,
                    Target::Memory { .. } => {
                        matches!(row.measure, Measure::Memory | Measure::Start)
                    }
                };
                assert!(measured, "{name}: {target:?}");
            }
        }
    }
}
