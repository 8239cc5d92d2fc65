//! The flags that describe a load: the protocol, the connections and the requests. A run and
//! `loadgen tune` have them in common. [`super::plan`] checks how they go together.

use std::path::PathBuf;

use clap::Args;

use crate::target::{self, Target};
use crate::values::parse_count;
use crate::workload::{Distribution, Mix, Spacing};

#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// Select the protocol: framed, udp, classic-udp, classic-tcp, resp, memcached, memcached-udp
    ///
    /// framed is globalcounter's framed protocol over TCP, udp the same in datagrams. classic-udp
    /// and classic-tcp are its classic protocol; classic-tcp opens a connection for each request.
    /// resp is the protocol of Redis and Valkey, which globalcounter speaks as well. memcached and
    /// memcached-udp are memcached's text protocol.
    #[arg(long, value_name = "NAME", default_value = "framed", value_parser = parse_target,
        help_heading = "Target")]
    pub(super) target: &'static dyn Target,
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
    /// Authenticate each connection with the token in the first line of FILE (framed, resp)
    ///
    /// The line is a token, or NAME:PASSWORD.
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub(super) token_file: Option<PathBuf>,

    /// Open N connections, or UDP sockets
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_count,
        help_heading = "Load")]
    pub(super) connections: usize,
    /// Keep N requests in flight on each connection [default: 64, or 1]
    ///
    /// This is a closed loop: the next request is sent when a reply arrives. The default is 1 for
    /// classic-tcp and classic-udp, and 64 for all other targets.
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub(super) pipeline: Option<usize>,
    /// Space the requests of an open loop [default: poisson]
    #[arg(long, value_name = "HOW", help_heading = "Load")]
    pub(super) arrivals: Option<Spacing>,

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

    /// Send requests from N threads
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count,
        help_heading = "This machine")]
    pub(super) threads: usize,
}

fn parse_target(name: &str) -> Result<&'static dyn Target, String> {
    target::named(name).ok_or_else(|| {
        let names: Vec<&str> = target::ALL.into_iter().map(Target::name).collect();
        format!("it must be one of {}", names.join(", "))
    })
}
