//! The command `loadgen compare` and its flags.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use globalcounter::server::affinity;

use super::bench::Bench;
use super::results::Comparison;
use super::rows::{ROWS, Row};
use super::servers::Installed;
use super::table;
use crate::launch;
use crate::observe::{self, Environment};
use crate::print::print;
use crate::report::{self, ReportFile};
use crate::values::{parse_processor, parse_seconds};

/// Compare globalcounter with a baseline that counts nothing, and with Redis, Valkey and memcached
///
/// Each row of the table is one load on several servers. All servers are pinned to one CPU and the
/// load to another, so two CPUs are needed. The servers of a row are measured in turn, round by round.
///
/// An entry's ratio is the median of its rounds' ratios of server CPU time per request. "Beyond the
/// baseline" is the CPU time per request that it needs more than the baseline (loadgen null) of the same
/// row in the same round, again the median of the rounds: unlike the ratio, it does not change with the
/// speed of the kernel. Each row's targets follow its entries.
///
/// Servers that store topics do so in a new directory in TMPDIR (/tmp if not set). It should be on the
/// disk that is to be measured, not in memory.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Measure only this row; repeat the flag for several rows [default: all]
    #[arg(long, value_name = "NAME", value_parser = parse_row)]
    row: Vec<&'static str>,
    /// List the rows and what they measure
    #[arg(long)]
    list: bool,
    /// Measure each server N times
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measure for SECONDS each time
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    duration: Duration,
    /// Start this globalcounter binary [default: the one beside loadgen, else the one in PATH]
    #[arg(long, value_name = "FILE")]
    server_bin: Option<PathBuf>,
    /// Also measure this other globalcounter binary, in the same rounds: measurements of different days
    /// cannot be compared
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Pin the servers to this CPU [default: the first]
    #[arg(long, value_name = "CPU", value_parser = parse_processor)]
    server_cpu: Option<usize>,
    /// Pin the load to this CPU [default: the last]
    #[arg(long, value_name = "CPU", value_parser = parse_processor)]
    load_cpu: Option<usize>,
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_row(name: &str) -> Result<&'static str, String> {
    match ROWS.iter().find(|row| row.name == name) {
        Some(row) => Ok(row.name),
        None => Err("there is no such row; loadgen compare --list names them".into()),
    }
}

/// Measures the selected rows and prints them.
///
/// # Errors
///
/// There is no globalcounter to start, no second processor, or nothing could be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        return print(&table::list(ROWS));
    }
    let processors = affinity::processors();
    let (Some(&first), Some(&last)) = (processors.first(), processors.last()) else {
        bail!("cannot read which CPUs this process may use");
    };
    let server_processor = arguments.server_cpu.unwrap_or(first);
    let load_processor = arguments.load_cpu.unwrap_or(last);
    ensure!(
        server_processor != load_processor,
        "the servers and the load need a CPU each, and there is only CPU {server_processor}"
    );
    let file = arguments.json.as_deref().map(ReportFile::open);
    let file = file.transpose()?;
    let servers = Installed::find(
        arguments.server_bin.as_deref(),
        arguments.against.as_deref(),
    )?;
    launch::stop_all_on_signals()?;
    print(&table::servers(&servers))?;
    // Keeps the other threads of this program away from the server's processor as well.
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
