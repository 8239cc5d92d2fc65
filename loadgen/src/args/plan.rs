//! From flags to a [`Plan`]: checks which flags go together, and fills in defaults that depend on
//! other flags.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use globalcounter::protocol::Op;

use super::load::LoadArguments;
use super::run::Arguments;
use crate::drive::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_BY_ID16};
use crate::plan::{Pace, Plan, Token, Until};
use crate::target::{Login, Matching, Target, Transport};
use crate::workload::{Names, Spacing, Workload, method_name};

/// Requests in flight on each connection of a target that supports pipelining.
const PIPELINE: usize = 64;

/// The default warm-up is the duration divided by this.
const WARM_UP_SHARE: u32 = 10;

/// The longest token, in bytes: what a server checks.
const MAX_TOKEN: usize = 1024;

/// The longest payload of UDP over IPv4: 65,535 bytes with the headers of both.
const DATAGRAM_LEN: usize = 65_507;

/// How long a datagram's reply may take by default.
const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a server may send nothing over TCP by default.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for one of several servers whose connections are opened again: twice what a node of a
/// cluster waits for a new owner.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most servers: a cluster has 1,024 ranges of topics, and so no more nodes that own topics.
const MAX_SERVERS: usize = 1024;

impl Arguments {
    /// Returns the plan that the flags describe.
    ///
    /// # Errors
    ///
    /// Flags contradict each other; the message names them.
    pub(crate) fn plan(&self) -> Result<Plan> {
        self.check_verify()?;
        self.check_arrivals()?;
        self.check_reports()?;
        self.check_servers()?;
        let plan = self
            .load
            .plan(self.server.clone(), self.pace()?, self.until())?;
        let goes_on = plan.has_several_servers() && self.reconnect.is_some();
        let timeout = if goes_on && !self.load.is_udp() {
            FAILOVER_TIMEOUT
        } else {
            plan.timeout
        };
        Ok(Plan {
            tls: self.tls.config(self.load.target)?,
            processors: self.pin.clone(),
            prepare: self.prepare,
            redis_cluster: self.redis_cluster,
            warm_up: self.warm_up(),
            timeout: self.timeout.unwrap_or(timeout),
            reconnect: self.reconnect,
            verify: self.verify,
            ..plan
        })
    }

    /// Requests whose sums can be verified.
    fn check_verify(&self) -> Result<()> {
        for op in self.load.mix.ops() {
            ensure!(
                self.verify.is_none() || matches!(op, Op::Count | Op::Add(_) | Op::Get),
                "--verify checks count, add and get; {} would change sums",
                method_name(op)
            );
        }
        let (target, pipeline) = (self.load.target, self.load.pipeline.unwrap_or(1));
        ensure!(
            self.verify.is_none() || pipeline == 1 || default_pipeline(target) > 1,
            "--verify needs --pipeline 1 for {}: its replies do not name their request",
            target.name()
        );
        Ok(())
    }

    fn check_servers(&self) -> Result<()> {
        let (servers, connections) = (self.server.len(), self.load.connections);
        ensure!(
            servers <= MAX_SERVERS,
            "--server is given {servers} times, at most {MAX_SERVERS} are possible"
        );
        ensure!(
            servers <= connections,
            "--connections {connections} is fewer than the {servers} servers"
        );
        ensure!(
            !self.redis_cluster || self.load.target.login() == Login::Auth,
            "--redis-cluster is for the target resp, not {}",
            self.load.target.name()
        );
        ensure!(
            servers == 1 || !self.load.shard_aware,
            "--shard-aware is for one server: each has its own shards"
        );
        Ok(())
    }

    fn check_arrivals(&self) -> Result<()> {
        ensure!(
            self.load.arrivals.is_none() || self.rate.is_some() || self.ramp.is_some(),
            "--arrivals is for open loops: it needs --rate or --ramp"
        );
        Ok(())
    }

    fn check_reports(&self) -> Result<()> {
        ensure!(
            self.json.is_none() || self.json != self.html,
            "--json and --html cannot both be written to one file"
        );
        Ok(())
    }

    fn pace(&self) -> Result<Pace> {
        match self.rate.or(self.ramp.map(|bounds| bounds.from)) {
            Some(rate) => Ok(self.load.open(rate)),
            None => self.load.closed(),
        }
    }

    fn warm_up(&self) -> Duration {
        match (self.warmup, self.requests) {
            (Some(warm_up), _) => warm_up,
            (None, Some(_)) => Duration::ZERO,
            (None, None) => self.duration / WARM_UP_SHARE,
        }
    }

    fn until(&self) -> Until {
        match self.requests {
            Some(requests) => Until::Requests(requests),
            None => Until::Elapsed(self.duration),
        }
    }
}

impl LoadArguments {
    /// Returns the plan of a run of this load, without preparing topics and without a warm-up.
    ///
    /// # Errors
    ///
    /// Flags contradict each other; the message names them.
    pub(super) fn plan(&self, servers: Vec<SocketAddr>, pace: Pace, until: Until) -> Result<Plan> {
        self.check_target()?;
        self.check_methods()?;
        self.check_counts()?;
        self.check_pipeline(pace)?;
        let names = self.names()?;
        self.check_datagrams(&names)?;
        Ok(Plan {
            target: self.target,
            in_use: (0..).take(servers.len()).collect(),
            servers,
            tls: None,
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
            redis_cluster: false,
            token: self.token()?,
            threads: self.threads,
            processors: Vec::new(),
            prepare: false,
            warm_up: Duration::ZERO,
            until,
            timeout: if self.is_udp() {
                DATAGRAM_TIMEOUT
            } else {
                STREAM_TIMEOUT
            },
            reconnect: None,
            verify: None,
        })
    }

    /// Returns the pace of a closed loop.
    ///
    /// # Errors
    ///
    /// The target does not support so many requests in flight.
    pub(super) fn closed(&self) -> Result<Pace> {
        let target = self.target;
        let limit = match (target.transport(), target.matching()) {
            (Transport::OneShot, _) => 1,
            (_, Matching::ById(u16::BITS)) => MAX_IN_FLIGHT_BY_ID16,
            _ => MAX_IN_FLIGHT,
        };
        let pipeline = self.pipeline.unwrap_or_else(|| default_pipeline(target));
        ensure!(
            pipeline <= limit,
            "--pipeline is at most {limit} for {}, not {pipeline}",
            target.name()
        );
        Ok(Pace::Closed { pipeline })
    }

    /// Returns the pace of an open loop.
    pub(super) fn open(&self, rate: f64) -> Pace {
        Pace::Open {
            rate,
            spacing: self.arrivals.unwrap_or(Spacing::Poisson),
        }
    }

    /// Flags that only some targets support.
    fn check_target(&self) -> Result<()> {
        let target = self.target;
        let packed = target.transport() == Transport::Datagrams { packed: true };
        ensure!(
            packed || self.frames_per_datagram == 1,
            "--frames-per-datagram is for the target udp, not {}",
            target.name()
        );
        ensure!(
            self.is_udp() || !self.gso,
            "--gso is for targets over UDP, not {}",
            target.name()
        );
        ensure!(
            target.knows_shards() || !self.shard_aware,
            "--shard-aware is for the target framed, not {}",
            target.name()
        );
        ensure!(
            target.login() != Login::None || self.token_file.is_none(),
            "--token-file is for the targets framed and resp, not {}",
            target.name()
        );
        Ok(())
    }

    fn token(&self) -> Result<Option<Token>> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        ensure!(
            (1..=MAX_TOKEN).contains(&line.len()),
            "the first line of {} is no token: it has {} bytes",
            path.display(),
            line.len()
        );
        Ok(Some(Token(line.to_owned())))
    }

    fn check_methods(&self) -> Result<()> {
        for op in self.mix.ops() {
            ensure!(
                self.target.supports(op),
                "{} has no method {}",
                self.target.name(),
                method_name(op)
            );
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<()> {
        ensure!(
            self.threads <= self.connections,
            "--threads {} is more than --connections {}",
            self.threads,
            self.connections
        );
        Ok(())
    }

    /// A datagram can hold no more requests than may be in flight.
    fn check_pipeline(&self, pace: Pace) -> Result<()> {
        if let Pace::Closed { pipeline } = pace {
            ensure!(
                self.frames_per_datagram <= pipeline,
                "--frames-per-datagram {} is more than --pipeline {pipeline} lets be in flight",
                self.frames_per_datagram
            );
        }
        Ok(())
    }

    /// The longest request, times the requests per datagram, must fit into a datagram.
    fn check_datagrams(&self, names: &Names) -> Result<()> {
        if self.is_udp() {
            let len = self.longest_request(names) * self.frames_per_datagram;
            ensure!(
                len <= DATAGRAM_LEN,
                "a datagram has at most {DATAGRAM_LEN} bytes, and these would have {len}"
            );
        }
        Ok(())
    }

    fn is_udp(&self) -> bool {
        self.target.transport().is_udp()
    }

    /// Returns the topics' names.
    fn names(&self) -> Result<Names> {
        let limit = self.target.topic_len_limit();
        ensure!(
            self.topic_len <= limit,
            "{} has names of at most {limit} bytes, not {}",
            self.target.name(),
            self.topic_len
        );
        Names::new(self.topics, self.topic_len)
    }

    /// Returns the length of the longest request, in bytes.
    fn longest_request(&self, names: &Names) -> usize {
        let len = |op| {
            let mut request = Vec::new();
            self.target.encode(0, op, &names.buffer(), &mut request);
            request.len()
        };
        self.mix.ops().map(len).max().unwrap_or(0)
    }
}

/// Returns how many requests are in flight on each connection of a closed loop by default.
fn default_pipeline(target: &dyn Target) -> usize {
    match (target.transport(), target.matching()) {
        (Transport::OneShot, _) | (Transport::Datagrams { .. }, Matching::InOrder) => 1,
        _ => PIPELINE,
    }
}
