//! Several servers beside each other: each pinned to the same processor, the load on another, the
//! same load in turn and again, so that whatever else the machine does meets all of them alike.

mod rows;
mod servers;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use globalcounter::server::affinity;
use serde::Serialize;

use crate::drive;
use crate::measure;
use crate::observe::{self, Environment, Process};
use crate::plan::{Pace, Plan, Until};
use crate::print::print;
use crate::report::progress::Rounds;
use crate::report::{self, ReportFile};
use crate::target;
use crate::values::{parse_processor, parse_seconds};
use crate::workload::{Distribution, Names, Workload};
use rows::{Entry, Load, Measure, ROWS, Row};
use servers::{Installed, Running};

/// How long a server is warmed up before each measurement.
const WARM_UP: Duration = Duration::from_millis(200);

/// The topics' names: as long as the ones that the targets were set for.
const TOPIC_LEN: usize = 16;

/// How long a server may say nothing over TCP.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After how long a datagram is lost, and its place is used again. Little of a round, so that a loss
/// does not idle a socket; long beside any reply that comes.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(
    after_help = "Each server has one processor and the load another, so two are needed. A row's \
    ratio is the median of its rounds' ratios, of server processor time a request."
)]
pub(crate) struct Arguments {
    /// Only this row; can be given several times [default: all]
    #[arg(long, value_name = "NAME", value_parser = parse_row)]
    row: Vec<&'static str>,
    /// Name the rows and say what they measure
    #[arg(long)]
    list: bool,
    /// How many times each server is measured
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each time, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    duration: Duration,
    /// The globalcounter binary [default: the one beside this program, else the one in PATH]
    #[arg(long, value_name = "FILE")]
    server_bin: Option<PathBuf>,
    /// The processor that servers are kept on [default: the first]
    #[arg(long, value_name = "CPU", value_parser = parse_processor)]
    server_cpu: Option<usize>,
    /// The processor that the load is kept on [default: the last]
    #[arg(long, value_name = "CPU", value_parser = parse_processor)]
    load_cpu: Option<usize>,
    /// Write everything that was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_row(name: &str) -> Result<&'static str, String> {
    match ROWS.iter().find(|row| row.name == name) {
        Some(row) => Ok(row.name),
        None => Err("there is no such row; loadgen compare --list names them".into()),
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Comparison {
    environment: Environment,
    rounds: u32,
    seconds: f64,
    server_processor: usize,
    load_processor: usize,
    servers: Installed,
    rows: Vec<RowResult>,
}

/// What a row came to.
#[derive(Debug, Serialize)]
struct RowResult {
    name: &'static str,
    about: &'static str,
    /// The ratio that globalcounter should stay under.
    to_reach: Option<f64>,
    entries: Vec<EntryResult>,
}

/// What a server came to in a row.
#[derive(Debug, Serialize)]
struct EntryResult {
    server: String,
    /// Whether it is the one that the row's goal is for.
    ours: bool,
    /// What its ratio is to: the entry of that number.
    base: Option<usize>,
    /// Why there is nothing here.
    missing: Option<String>,
    rounds: Vec<Round>,
    /// Medians.
    rate: Option<f64>,
    nanos_per_reply: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
    bytes_per_topic: Option<f64>,
    /// Datagrams without a reply, in all rounds.
    lost: u64,
    /// Of processor time a request, or of memory a topic, to that of the base.
    ratio: Option<f64>,
}

/// One measurement. Latencies are microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Round {
    rate: f64,
    nanos_per_reply: f64,
    p50: f64,
    p99: f64,
    /// Datagrams without a reply in time.
    lost: u64,
}

/// Measures the rows that were asked for.
///
/// # Errors
///
/// There is no globalcounter to run, no second processor, or nothing could be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        return print(&table::list(ROWS));
    }
    let processors = affinity::processors();
    let (Some(&first), Some(&last)) = (processors.first(), processors.last()) else {
        bail!("the processors of this machine can't be told");
    };
    let server_processor = arguments.server_cpu.unwrap_or(first);
    let load_processor = arguments.load_cpu.unwrap_or(last);
    ensure!(
        server_processor != load_processor,
        "the servers and the load need a processor each, and there is only {server_processor}"
    );
    let file = arguments.json.as_deref().map(ReportFile::open);
    let file = file.transpose()?;
    let servers = Installed::find(arguments.server_bin.as_deref())?;
    servers::stop_all_on_signals()?;
    print(&table::servers(&servers))?;
    // So that this program's other threads don't disturb the server either.
    observe::pin(load_processor)?;
    let bench = Bench {
        servers: &servers,
        server_processor,
        load_processor,
        rounds: arguments.rounds,
        duration: arguments.duration,
    };
    let mut rows = Vec::new();
    let wanted = |row: &&Row| arguments.row.is_empty() || arguments.row.contains(&row.name);
    for row in ROWS.iter().filter(wanted) {
        let result = bench.row(row);
        print(&table::row(&result))?;
        rows.push(result);
    }
    let measured_any = rows
        .iter()
        .flat_map(|row| &row.entries)
        .any(|entry| entry.missing.is_none());
    let comparison = Comparison {
        environment: Environment::here(),
        rounds: arguments.rounds,
        seconds: arguments.duration.as_secs_f64(),
        server_processor,
        load_processor,
        servers,
        rows,
    };
    if let Some(file) = file {
        file.write(&report::json(&comparison)?)?;
    }
    ensure!(measured_any, "nothing could be measured");
    Ok(())
}

/// How all rows are measured.
struct Bench<'a> {
    servers: &'a Installed,
    server_processor: usize,
    load_processor: usize,
    rounds: u32,
    duration: Duration,
}

/// An entry while its row is measured.
struct Contender<'a> {
    entry: &'a Entry,
    running: Result<(Running, Plan)>,
    rounds: Vec<Round>,
    bytes_per_topic: Option<f64>,
}

impl Bench<'_> {
    fn row(&self, row: &'static Row) -> RowResult {
        let mut contenders: Vec<Contender<'_>> = row
            .entries
            .iter()
            .map(|entry| self.start(row, entry))
            .collect();
        if row.measure == Measure::Processor {
            let bar = Rounds::of(row.name, u64::from(self.rounds) * row.entries.len() as u64);
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            for _ in 0..self.rounds {
                for &number in &order {
                    let contender = &mut contenders[number];
                    if let Ok((running, plan)) = &contender.running {
                        match measure_once(plan, running.process()) {
                            Ok(measured) => contender.rounds.push(measured),
                            Err(error) => contender.running = Err(error),
                        }
                    }
                    bar.inc();
                }
                // Another one is first then: whoever is, comes after another's load.
                order.rotate_left(1);
            }
        }
        self.summarise(row, contenders)
    }

    /// Starts a server and has it hold the row's topics.
    fn start<'e>(&self, row: &Row, entry: &'e Entry) -> Contender<'e> {
        let mut bytes_per_topic = None;
        let mut start = || -> Result<(Running, Plan)> {
            let running = self.servers.start(&entry.server, self.server_processor)?;
            let plan = self.plan(&entry.load, &running)?;
            let resident =
                |running: &Running| running.process().usage().map_or(0, |usage| usage.resident);
            let before = resident(&running);
            measure::prepare(&plan)?;
            if row.measure == Measure::Memory {
                let grown = resident(&running).saturating_sub(before);
                bytes_per_topic = Some(grown as f64 / f64::from(entry.load.topics));
            }
            Ok((running, plan))
        };
        let running = start();
        Contender {
            entry,
            running,
            rounds: Vec::new(),
            bytes_per_topic,
        }
    }

    fn plan(&self, load: &Load, running: &Running) -> Result<Plan> {
        let target = target::named(load.target).context("a row names a target that is none")?;
        Ok(Plan {
            target,
            server: running.address(target.transport()),
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
            verify: false,
        })
    }

    fn summarise(&self, row: &'static Row, contenders: Vec<Contender<'_>>) -> RowResult {
        let costs: Vec<Vec<f64>> = contenders
            .iter()
            .map(|contender| match contender.bytes_per_topic {
                Some(bytes) => vec![bytes],
                None => contender
                    .rounds
                    .iter()
                    .map(|round| round.nanos_per_reply)
                    .collect(),
            })
            .collect();
        let measured: Vec<bool> = contenders
            .iter()
            .zip(&costs)
            .map(|(contender, costs)| contender.running.is_ok() && !costs.is_empty())
            .collect();
        let summarise = |(number, contender): (usize, Contender<'_>)| {
            let entry = contender.entry;
            // Round by round, so that what disturbed a round disturbed both.
            let base = entry.bases.iter().copied().find(|&base| measured[base]);
            let base_costs = base.map_or(&[][..], |base| &costs[base]);
            let pairs = costs[number].iter().zip(base_costs);
            let ratios: Vec<f64> = pairs.map(|(own, base)| own / base).collect();
            let of =
                |value: fn(&Round) -> f64| median(contender.rounds.iter().map(value).collect());
            EntryResult {
                server: self.servers.name(&entry.server),
                ours: number == row.ours,
                base,
                missing: contender
                    .running
                    .as_ref()
                    .err()
                    .map(|error| format!("{error:#}")),
                rate: of(|round| round.rate),
                nanos_per_reply: of(|round| round.nanos_per_reply),
                p50: of(|round| round.p50),
                p99: of(|round| round.p99),
                bytes_per_topic: contender.bytes_per_topic,
                lost: contender.rounds.iter().map(|round| round.lost).sum(),
                ratio: median(ratios),
                rounds: contender.rounds,
            }
        };
        RowResult {
            name: row.name,
            about: row.about,
            to_reach: row.to_reach,
            entries: contenders.into_iter().enumerate().map(summarise).collect(),
        }
    }
}

fn measure_once(plan: &Plan, process: &Process) -> Result<Round> {
    let measured = drive::run(plan, Some(process), &mut |_| {})?;
    ensure!(
        measured.refused.is_empty(),
        "requests were refused: {:?}",
        measured.refused
    );
    let latency = report::Latency::of(&measured.latency);
    Ok(Round {
        rate: measured.rate(),
        nanos_per_reply: measured.processor_nanos().context("it answered nothing")?,
        p50: latency.p50,
        p99: latency.p99,
        lost: measured.lost + measured.late,
    })
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
    Some((values[lower] + values[upper]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

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
}
