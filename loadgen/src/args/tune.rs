//! The flags of `loadgen tune`, and what they ask for.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use globalcounter::server::affinity;
use globalcounter::topic::Shards;

use super::load::LoadArguments;
use crate::launch::Storage;
use crate::plan::Until;
use crate::report::ReportFile;
use crate::tune::{Options, Output};
use crate::values::{parse_processor, parse_rate, parse_seconds};
use crate::workload::Spacing;

/// Find the best --shards, --pin and --steering of globalcounter for a load
///
/// Starts globalcounter with 1, 2, 4, … shards up to the number of CPUs, with and without --pin, and for
/// the target classic-udp with and without steering. Each setting is measured in a closed loop and in an
/// open loop, on a new server each time; settings take turns, round by round. Recommends a setting for
/// throughput, one for p99 and one for CPU time per request, and prints the command lines.
///
/// A setting that cannot be told from a simpler one is not recommended: fewer shards are simpler, then no
/// --pin, then --steering auto. With fewer than about 7 rounds, no setting can be told from another.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    loadgen tune                                     about a minute and a half on 2 CPUs\n  \
    loadgen tune --target classic-udp --rate 20000   also steering; p99 at the rate that you expect\n  \
    loadgen tune --server-cpus 0,1 --load-cpus 2,3   on CPUs of their own\n  \
    loadgen tune --durability exact --html tune.html on a disk, with a page of plots")]
pub(crate) struct Arguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Compare p99 and CPU time at R requests per second [default: 60% of the lowest throughput]
    #[arg(long, value_name = "R", value_parser = parse_rate, help_heading = "Load")]
    rate: Option<f64>,
    /// Measure for SECONDS each time
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds,
        help_heading = "Load")]
    duration: Duration,

    /// Try these numbers of shards [default: 1, 2, 4, … and the number of CPUs]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = parse_shards,
        help_heading = "Settings")]
    shards_list: Vec<u16>,
    /// Measure each setting N times
    #[arg(long, value_name = "N", default_value = "9",
        value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Settings")]
    rounds: u32,
    /// Keep topics in memory only; this is the default
    #[arg(long, conflicts_with = "durability", help_heading = "Settings")]
    in_memory: bool,
    /// Keep topics in a data directory, with this --durability
    ///
    /// The directory is temporary, in TMPDIR (/tmp if not set). It should be on the disk that is to be
    /// measured, not in memory.
    #[arg(
        long,
        value_name = "monotonic|exact",
        hide_possible_values = true,
        help_heading = "Settings"
    )]
    durability: Option<Durability>,
    /// Start this globalcounter binary [default: the one beside loadgen, else the one in PATH]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    server_bin: Option<PathBuf>,

    /// Let the servers use these CPUs [default: all, or those that --load-cpus leaves]
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor,
        help_heading = "This machine")]
    server_cpus: Vec<usize>,
    /// Let the load use these CPUs [default: all, or those that --server-cpus leaves]
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor,
        help_heading = "This machine")]
    load_cpus: Vec<usize>,

    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Write the report to FILE as an HTML page with plots
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Durability {
    Monotonic,
    Exact,
}

fn parse_shards(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .and_then(Shards::new)
        .map(Shards::count)
        .ok_or_else(|| format!("it must be a number from 1 to {}", Shards::MAX))
}

impl Arguments {
    /// Returns what the flags ask for.
    ///
    /// # Errors
    ///
    /// Flags contradict each other; the message names them.
    pub(crate) fn options(&self) -> Result<Options> {
        let target = self.load.target;
        ensure!(
            target.is_own(),
            "globalcounter, which is tuned, does not speak {}",
            target.name()
        );
        ensure!(
            self.json.is_none() || self.json != self.html,
            "--json and --html cannot both be written to one file"
        );
        let (server_processors, load_processors) = self.processors()?;
        // Each server that is started has an address of its own.
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let until = Until::Elapsed(self.duration);
        Ok(Options {
            load: self.load.plan(vec![server], self.load.closed()?, until)?,
            spacing: self.load.arrivals.unwrap_or(Spacing::Poisson),
            rate: self.rate,
            shards: self.shards(server_processors.len()),
            storage: match self.durability {
                Some(Durability::Exact) => Storage::Exact,
                Some(Durability::Monotonic) => Storage::Monotonic,
                None => Storage::Memory,
            },
            rounds: self.rounds,
            duration: self.duration,
            program: self.server_bin.clone(),
            server_processors,
            load_processors,
        })
    }

    /// Opens the files for reports.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn output(&self) -> Result<Output> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(ReportFile::open).transpose();
        Ok(Output {
            json: open(&self.json)?,
            html: open(&self.html)?,
        })
    }

    /// Returns the processors of the servers and those of the load.
    fn processors(&self) -> Result<(Vec<usize>, Vec<usize>)> {
        let all = affinity::processors();
        ensure!(
            !all.is_empty(),
            "cannot read which CPUs this process may use"
        );
        let or_the_rest = |own: &[usize], other: &[usize]| -> Vec<usize> {
            let is_chosen = |processor: &usize| match own {
                [] => !other.contains(processor),
                own => own.contains(processor),
            };
            all.iter().copied().filter(is_chosen).collect()
        };
        let servers = or_the_rest(&self.server_cpus, &self.load_cpus);
        let load = or_the_rest(&self.load_cpus, &self.server_cpus);
        if servers.is_empty() {
            bail!("--load-cpus leaves no CPU to the servers; choose theirs by --server-cpus");
        }
        if load.is_empty() {
            bail!("--server-cpus leaves no CPU to the load; choose its own by --load-cpus");
        }
        Ok((servers, load))
    }

    /// Returns the numbers of shards to try on a server with this many processors.
    fn shards(&self, processors: usize) -> Vec<u16> {
        if !self.shards_list.is_empty() {
            return self.shards_list.clone();
        }
        let most = u16::try_from(processors)
            .unwrap_or(u16::MAX)
            .min(Shards::MAX);
        let powers = (0..u16::BITS).map(|power| 1 << power);
        powers
            .take_while(|&shards| shards < most)
            .chain([most])
            .collect()
    }
}
