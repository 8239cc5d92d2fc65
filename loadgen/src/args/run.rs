//! The flags of a run. [`super::plan`] checks how they go together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::report::ReportFile;
use crate::target::{self, Target};
use crate::values::{
    Bounds, parse_count, parse_milliseconds, parse_processor, parse_rate, parse_seconds,
    parse_seconds_or_none, parse_server,
};
use crate::workload::{Distribution, Mix, Spacing};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Select the protocol: framed, udp, classic-udp, classic-tcp, resp, memcached, memcached-udp
    ///
    /// framed is globalcounter's framed protocol over TCP, udp the same in datagrams. classic-udp
    /// and classic-tcp are its classic protocol; classic-tcp opens a connection for each request.
    /// resp is the protocol of Redis and Valkey, which globalcounter speaks as well. memcached and
    /// memcached-udp are memcached's text protocol.
    #[arg(long, value_name = "NAME", default_value = "framed", value_parser = parse_target,
        help_heading = "Target")]
    pub(super) target: &'static dyn Target,
    /// Set the server's address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999", value_parser = parse_server,
        help_heading = "Target")]
    pub(super) server: SocketAddr,
    /// Put up to N requests into one datagram (target udp)
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count,
        help_heading = "Target")]
    pub(super) frames_per_datagram: usize,
    /// Let the kernel split and merge datagrams (UDP GSO and GRO)
    ///
    /// It splits one large buffer into datagrams of the same size, and merges received ones.
    #[arg(long, help_heading = "Target")]
    pub(super) gso: bool,
    /// Send each request to the shard that owns its topic (target framed)
    ///
    /// Asks the server for its shards before the run. Each connection is bound to one shard, so
    /// --connections must be at least the number of shards that own topics, and in an open loop that
    /// number for each of --threads.
    #[arg(long, help_heading = "Target")]
    pub(super) shard_aware: bool,

    /// Open N connections, or UDP sockets
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_count,
        help_heading = "Load")]
    pub(super) connections: usize,
    /// Keep N requests in flight on each connection [default: 64, or 1]
    ///
    /// This is a closed loop: the next request is sent when a reply arrives. The default is 1 for
    /// classic-tcp and classic-udp, and 64 for all other targets.
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["rate", "ramp"],
        help_heading = "Load")]
    pub(super) pipeline: Option<usize>,
    /// Send R requests per second, however fast the server replies (open loop)
    ///
    /// The latency of a request counts from the time at which it was due, so a pause of the server
    /// shows in all requests that were due meanwhile.
    #[arg(long, value_name = "R", value_parser = parse_rate, conflicts_with = "ramp",
        help_heading = "Load")]
    pub(super) rate: Option<f64>,
    /// Find the highest rate that meets --slo, in open loops between two rates
    ///
    /// The rate is raised in steps, then the interval between the highest sustained rate and the
    /// failed one above it is halved. A rate is sustained if p99 is at most --slo, nothing is lost or
    /// refused, and at least 98% of the requests that were due are answered during the measurement. A
    /// rate that fails is tried again: it counts as sustained if one of three tries succeeds. The steps
    /// end at a rate that overloads the server, if the one before failed as well; a rate that is only
    /// late does not end them, because noise can make it late. A rate that fails therefore takes up to
    /// three times --duration, and each try up to --timeout longer.
    #[arg(long, value_name = "FROM..TO", help_heading = "Load")]
    pub(super) ramp: Option<Bounds>,
    /// Set the limit on p99 in a ramp, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1", value_parser = parse_milliseconds,
        requires = "ramp", help_heading = "Load")]
    pub(super) slo: Duration,
    /// Space the requests of an open loop [default: poisson]
    #[arg(long, value_name = "HOW", help_heading = "Load")]
    pub(super) arrivals: Option<Spacing>,
    /// Measure for SECONDS (in a ramp, in each try)
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds,
        help_heading = "Load")]
    pub(super) duration: Duration,
    /// Measure N requests instead of a duration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["duration", "ramp"], help_heading = "Load")]
    pub(super) requests: Option<u64>,
    /// Warm up for SECONDS first [default: a tenth of --duration]
    ///
    /// With --requests, the default is no warm-up.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds_or_none, help_heading = "Load")]
    pub(super) warmup: Option<Duration>,
    /// Wait SECONDS for replies [default: 1 over UDP, 5 over TCP]
    ///
    /// Over UDP, a request without a reply by then counts as lost. Over TCP, the run fails if the
    /// server sends nothing for that long while requests are in flight.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Load")]
    pub(super) timeout: Option<Duration>,

    /// Spread the requests over N topics
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Requests")]
    pub(super) topics: u32,
    /// Make topic names BYTES long
    #[arg(long, value_name = "BYTES", default_value = "16", value_parser = parse_count,
        help_heading = "Requests")]
    pub(super) topic_len: usize,
    /// Choose topics: uniform, zipf, zipf:EXPONENT, hot or hot:SHARE
    ///
    /// uniform requests all topics equally often. zipf requests the topic of rank k in proportion
    /// to 1/k^EXPONENT (default 1). hot sends SHARE of all requests (default 1, every request) to
    /// one topic and the others to all topics equally.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "uniform",
        help_heading = "Requests"
    )]
    pub(super) distribution: Distribution,
    /// Send these methods, by weight, as in count=90,get=10
    ///
    /// The methods are count, add, get, reset, delete and advance; not every target has all of them.
    /// A method without a weight has the weight 1.
    #[arg(
        long,
        value_name = "METHOD=N,…",
        default_value = "count",
        help_heading = "Requests"
    )]
    pub(super) mix: Mix,
    /// Set the random seed: the same seed sends the same requests
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Requests")]
    pub(super) seed: u64,
    /// Count every topic once before the run, so that all of them exist
    ///
    /// For memcached this is always done, without counting: its incr does not create a topic.
    #[arg(long, help_heading = "Requests")]
    pub(super) prepare: bool,

    /// Send requests from N threads
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count,
        help_heading = "This machine")]
    pub(super) threads: usize,
    /// Pin the threads to these CPUs, in turn
    ///
    /// Pin the server to other CPUs if it runs on this machine (globalcounter serve --pin, or
    /// taskset): sharing CPUs makes the results noisy.
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor,
        help_heading = "This machine")]
    pub(super) pin: Vec<usize>,
    /// Report CPU time and memory of process PID [default: the listener]
    #[arg(long, value_name = "PID", help_heading = "This machine")]
    pub(super) pid: Option<i32>,

    /// Check every reply: no sum twice, real-time order, no gaps
    ///
    /// No other client may count these topics meanwhile. The replies are kept in memory; the run ends
    /// early at 67,108,864 of them (2 GiB).
    #[arg(long, conflicts_with = "ramp", help_heading = "Report")]
    pub(super) verify: bool,
    /// Write the report to FILE as JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) json: Option<PathBuf>,
    /// Write the report to FILE as an HTML page with plots
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) html: Option<PathBuf>,
}

/// The files for reports.
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

    /// Returns the rates of a ramp and the limit on p99. `None` if no ramp is wanted.
    pub(crate) fn ramp(&self) -> Option<(Bounds, Duration)> {
        self.ramp.map(|bounds| (bounds, self.slo))
    }

    /// Returns the id of the server's process, if it was given.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }
}
