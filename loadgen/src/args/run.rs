//! The flags of a run, and the [`Plan`] that they come to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use globalcounter::protocol::Op;

use crate::drive::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_BY_ID16};
use crate::plan::{Pace, Plan, Until};
use crate::report::ReportFile;
use crate::target::{self, Matching, Target, Transport};
use crate::values::{
    Bounds, parse_count, parse_milliseconds, parse_processor, parse_rate, parse_seconds,
    parse_seconds_or_none, parse_server,
};
use crate::workload::{Distribution, Mix, Names, Spacing, Workload, method_name};

/// Requests in flight on each connection where a pipeline is possible.
const PIPELINE: usize = 64;

/// How long a run warms up unless told: that part of its duration.
const WARM_UP_SHARE: u32 = 10;

/// The longest payload of UDP over IPv4: 65,535 bytes with the headers of both.
const DATAGRAM_LEN: usize = 65_507;

/// How long a datagram's reply may take.
const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a server may say nothing over TCP.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to speak: framed, udp, classic-udp, classic-tcp, resp, memcached or memcached-udp
    #[arg(long, value_name = "NAME", default_value = "framed", value_parser = parse_target,
        help_heading = "Target")]
    target: &'static dyn Target,
    /// The server's address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999", value_parser = parse_server,
        help_heading = "Target")]
    server: SocketAddr,
    /// Requests in one datagram [target udp]
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count,
        help_heading = "Target")]
    frames_per_datagram: usize,
    /// Send and receive runs of datagrams as one (UDP GSO and GRO)
    #[arg(long, help_heading = "Target")]
    gso: bool,
    /// Learn which shard owns which topic, and give each connection one shard [target framed]
    #[arg(long, help_heading = "Target")]
    shard_aware: bool,

    /// How many connections
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_count,
        help_heading = "Load")]
    connections: usize,
    /// Requests in flight on each connection [default: 64, or 1 where replies have no ids over UDP]
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["rate", "ramp"],
        help_heading = "Load")]
    pipeline: Option<usize>,
    /// Open loop: so many requests a second, whatever the server does; latency counts from when a
    /// request was due
    #[arg(long, value_name = "R", value_parser = parse_rate, conflicts_with = "ramp",
        help_heading = "Load")]
    rate: Option<f64>,
    /// Find the highest rate that keeps --slo, in open loops between two rates
    ///
    /// The rate is raised in steps until one is not kept, then the interval below that one is
    /// halved. A rate is kept if p99 is at most --slo, nothing is lost or refused, and 98% of the
    /// requests are answered while they are measured. A rate that fails is tried again: it counts as
    /// kept if one of three tries keeps it, so that one unlucky second does not end the search. A
    /// rate that overloads the server therefore takes up to three times --duration, and each try
    /// up to --timeout longer.
    #[arg(long, value_name = "FROM..TO", help_heading = "Load")]
    ramp: Option<Bounds>,
    /// The most that p99 may be in a ramp, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1", value_parser = parse_milliseconds,
        requires = "ramp", help_heading = "Load")]
    slo: Duration,
    /// How the requests of an open loop are spaced [default: poisson]
    #[arg(long, value_name = "HOW", help_heading = "Load")]
    arrivals: Option<Spacing>,
    /// How long to measure, in seconds; of a ramp, each rate
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds,
        help_heading = "Load")]
    duration: Duration,
    /// Measure so many requests instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["duration", "ramp"], help_heading = "Load")]
    requests: Option<u64>,
    /// How long to go before measuring begins, in seconds [default: a tenth of --duration]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds_or_none, help_heading = "Load")]
    warmup: Option<Duration>,
    /// After how many seconds a datagram is lost [default: 1], or a TCP server is given up for
    /// saying nothing [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Load")]
    timeout: Option<Duration>,

    /// How many topics
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Requests")]
    topics: u32,
    /// Bytes of a topic's name
    #[arg(long, value_name = "BYTES", default_value = "16", value_parser = parse_count,
        help_heading = "Requests")]
    topic_len: usize,
    /// How often each topic: uniform, zipf, zipf:EXPONENT, or hot, hot:SHARE for one topic
    #[arg(
        long,
        value_name = "HOW",
        default_value = "uniform",
        help_heading = "Requests"
    )]
    distribution: Distribution,
    /// Which methods, with their weights: count, add, get, reset, delete, advance
    #[arg(
        long,
        value_name = "METHOD=N,…",
        default_value = "count",
        help_heading = "Requests"
    )]
    mix: Mix,
    /// Where all that is random comes from: the same seed sends the same requests
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Requests")]
    seed: u64,
    /// Count every topic once before, so that all exist (always so for memcached)
    #[arg(long, help_heading = "Requests")]
    prepare: bool,

    /// How many threads make requests
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count,
        help_heading = "This machine")]
    threads: usize,
    /// Keep the threads on these processors, in turn
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor,
        help_heading = "This machine")]
    pin: Vec<usize>,
    /// The server's process, for its processor time and memory [default: whoever listens there]
    #[arg(long, value_name = "PID", help_heading = "This machine")]
    pid: Option<i32>,

    /// Check what every reply said: no sum twice, real-time order, no gaps. Nobody else may count
    /// these topics meanwhile
    #[arg(long, conflicts_with = "ramp", help_heading = "Report")]
    verify: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,
}

/// Where reports go.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: Option<ReportFile>,
    pub(crate) html: Option<ReportFile>,
}

fn parse_target(name: &str) -> Result<&'static dyn Target, String> {
    target::named(name).ok_or_else(|| {
        let names: Vec<&str> = target::ALL.into_iter().map(Target::name).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

impl Arguments {
    /// Where reports go.
    ///
    /// # Errors
    ///
    /// A file that can't be written.
    pub(crate) fn output(&self) -> Result<Output> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(ReportFile::open).transpose();
        Ok(Output {
            json: open(&self.json)?,
            html: open(&self.html)?,
        })
    }

    /// The rates to try, and the limit on p99.
    pub(crate) fn ramp(&self) -> Option<(Bounds, Duration)> {
        self.ramp.map(|bounds| (bounds, self.slo))
    }

    /// The server's process, as it was told.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The plan.
    ///
    /// # Errors
    ///
    /// Flags that don't go together; the message names them.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let target = self.target;
        let transport = target.transport();
        let packed = transport == Transport::Datagrams { packed: true };
        let datagrams = transport.is_udp();
        ensure!(
            packed || self.frames_per_datagram == 1,
            "--frames-per-datagram is for the target udp, not {}",
            target.name()
        );
        ensure!(
            datagrams || !self.gso,
            "--gso is for targets over UDP, not {}",
            target.name()
        );
        ensure!(
            target.knows_shards() || !self.shard_aware,
            "--shard-aware is for the target framed, not {}",
            target.name()
        );
        for op in self.mix.ops() {
            ensure!(
                target.has(op),
                "{} has no method {}",
                target.name(),
                method_name(op)
            );
            let checked = matches!(op, Op::Count | Op::Add(_) | Op::Get);
            if self.verify && !checked {
                bail!(
                    "--verify checks count, add and get; {} would change sums",
                    method_name(op)
                );
            }
        }
        ensure!(
            self.threads <= self.connections,
            "--threads {} is more than --connections {}",
            self.threads,
            self.connections
        );
        ensure!(
            self.arrivals.is_none() || self.rate.is_some() || self.ramp.is_some(),
            "--arrivals is for open loops: it needs --rate or --ramp"
        );
        ensure!(
            self.json.is_none() || self.json != self.html,
            "--json and --html can't both be written to one file"
        );
        let pace = self.pace()?;
        if let Pace::Closed { pipeline } = pace {
            ensure!(
                self.frames_per_datagram <= pipeline,
                "--frames-per-datagram {} is more than --pipeline {pipeline} lets be in flight",
                self.frames_per_datagram
            );
        }
        ensure!(
            self.topic_len <= target.topic_len_limit(),
            "{} has names of at most {} bytes, not {}",
            target.name(),
            target.topic_len_limit(),
            self.topic_len
        );
        let names = Names::new(self.topics, self.topic_len)?;
        if datagrams {
            let len = self.longest_request(&names) * self.frames_per_datagram;
            ensure!(
                len <= DATAGRAM_LEN,
                "a datagram has at most {DATAGRAM_LEN} bytes, and these would have {len}"
            );
        }
        let warm_up = match (self.warmup, self.requests) {
            (Some(warm_up), _) => warm_up,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => self.duration / WARM_UP_SHARE,
        };
        Ok(Plan {
            target,
            server: self.server,
            workload: Workload {
                names,
                distribution: self.distribution,
                mix: self.mix.clone(),
                seed: self.seed,
            },
            pace,
            connections: self.connections,
            per_datagram: self.frames_per_datagram,
            gso: self.gso,
            shard_aware: self.shard_aware,
            threads: self.threads,
            processors: self.pin.clone(),
            prepare: self.prepare,
            warm_up,
            until: match self.requests {
                Some(requests) => Until::Requests(requests),
                None => Until::Elapsed(self.duration),
            },
            timeout: self.timeout.unwrap_or(if datagrams {
                DATAGRAM_TIMEOUT
            } else {
                STREAM_TIMEOUT
            }),
            verify: self.verify,
        })
    }

    /// Bytes of the longest of the requests.
    fn longest_request(&self, names: &Names) -> usize {
        let len = |op| {
            let mut request = Vec::new();
            self.target.encode(0, op, &names.buffer(), &mut request);
            request.len()
        };
        self.mix.ops().map(len).max().unwrap_or(0)
    }

    fn pace(&self) -> Result<Pace> {
        let transport = self.target.transport();
        let name = self.target.name();
        if let Some(rate) = self.rate.or(self.ramp.map(|bounds| bounds.from)) {
            return Ok(Pace::Open {
                rate,
                spacing: self.arrivals.unwrap_or(Spacing::Poisson),
            });
        }
        let (usual, most) = match (transport, self.target.matching()) {
            (Transport::OneShot, _) => (1, 1),
            (Transport::Datagrams { .. }, Matching::InOrder) => (1, MAX_IN_FLIGHT),
            (_, Matching::ById(u16::BITS)) => (PIPELINE, MAX_IN_FLIGHT_BY_ID16),
            _ => (PIPELINE, MAX_IN_FLIGHT),
        };
        let pipeline = self.pipeline.unwrap_or(usual);
        ensure!(
            pipeline <= most,
            "--pipeline is at most {most} for {name}, not {pipeline}"
        );
        ensure!(
            !self.verify || pipeline == 1 || usual > 1,
            "--verify needs --pipeline 1 for {name}: its replies don't say which request they are for"
        );
        Ok(Pace::Closed { pipeline })
    }
}
