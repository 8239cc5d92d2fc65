//! The settings of `globalcounter serve` that make it a node of a cluster.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use globalcounter::cluster::NodeName;
use globalcounter::etcd::Location;
use globalcounter::server::{ClusterConfig, NodeTls, NodeToken, TlsConfig};

use super::etcd::{EtcdArguments, parse_location, parse_name};
use super::secret::read_secret;
use super::settings::{Mistakes, Settings};

/// The longest address that is advertised: the map of a cluster (op 24 of the protocol) has its length in
/// one byte.
const MAX_ADDRESS: usize = 255;

/// The longest time that a request may wait for an owner, in seconds. Clients give up long before.
const MAX_FORWARD_TIMEOUT: u32 = 3_600;

#[derive(Debug, Args)]
pub(super) struct NodeArguments {
    /// Serve as a node of the cluster that these members of etcd store under this prefix
    /// (/globalcounter if there is none), or "off": serve all topics alone
    #[arg(
        long,
        value_name = "etcd://HOST:PORT,…/PREFIX|off",
        env = "GLOBALCOUNTER_CLUSTER",
        default_value_t = Cluster(None)
    )]
    cluster: Cluster,
    /// Name of this node, unique in the cluster [default: the advertised address]
    #[arg(
        long,
        value_name = "NAME",
        env = "GLOBALCOUNTER_NODE",
        value_parser = parse_name
    )]
    node: Option<String>,
    /// Address at which clients and the other nodes reach this node [default: the address of --tcp, or of
    /// --tls with --node-tls, if it is not a wildcard]
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "GLOBALCOUNTER_ADVERTISE",
        value_parser = parse_address
    )]
    advertise: Option<String>,
    /// How long the others wait after this node was last heard of before they take over its topics, in
    /// seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_LEASE",
        value_parser = parse_lease,
        default_value_t = ClusterConfig::DEFAULT_LEASE.as_secs()
    )]
    lease: u64,
    /// How long a request waits for the owner of its topic before it fails with UNAVAILABLE, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_FORWARD_TIMEOUT",
        value_parser = parse_forward_timeout,
        default_value_t = ClusterConfig::DEFAULT_FORWARD_TIMEOUT.as_secs() as u32
    )]
    forward_timeout: u32,
    /// File whose first line is the token that this node shows to the other nodes, which give it the
    /// right "node"
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_NODE_TOKEN_FILE")]
    node_token_file: Option<PathBuf>,
    /// Connect to the other nodes over TLS, with the certificate of --tls-cert if there is one. All nodes
    /// then advertise an address of TLS
    #[arg(long, env = "GLOBALCOUNTER_NODE_TLS", value_parser = BoolishValueParser::new())]
    node_tls: bool,
    /// Authorities that the certificates of the other nodes may be of, in PEM
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_NODE_CA")]
    node_ca: Option<PathBuf>,
    #[command(flatten)]
    etcd: EtcdArguments,
}

/// The value of `--cluster`; `None` if it is off.
#[derive(Debug, Clone)]
struct Cluster(Option<Location>);

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text => match parse_location(text) {
                Ok(location) => Ok(Self(Some(location))),
                Err(expected) => Err(format!("{expected}, or off")),
            },
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(location) => location.fmt(f),
            None => f.write_str("off"),
        }
    }
}

fn parse_address(text: &str) -> Result<String, String> {
    let is_valid = |(host, port): (&str, &str)| {
        let is_wildcard = ["0.0.0.0", "[::]"].contains(&host);
        let is_name = !host.is_empty() && !host.contains(|c: char| c.is_control() || c == ' ');
        !is_wildcard && is_name && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match text.rsplit_once(':').is_some_and(is_valid) && text.len() <= MAX_ADDRESS {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected a host and a port that others can connect to, as in 10.0.0.1:9999, of at most \
             {MAX_ADDRESS} bytes"
        )),
    }
}

fn parse_lease(text: &str) -> Result<u64, String> {
    let lease = text.parse().ok();
    lease
        .filter(|seconds| ClusterConfig::LEASES.contains(seconds))
        .ok_or_else(|| {
            let (shortest, longest) = ClusterConfig::LEASES.into_inner();
            format!("expected a whole number of seconds from {shortest} to {longest}")
        })
}

fn parse_forward_timeout(text: &str) -> Result<u32, String> {
    let timeout = text.parse().ok();
    timeout
        .filter(|seconds| (1..=MAX_FORWARD_TIMEOUT).contains(seconds))
        .ok_or_else(|| {
            format!("expected a whole number of seconds from 1 to {MAX_FORWARD_TIMEOUT}")
        })
}

impl NodeArguments {
    /// Returns whether the server is a node of a cluster. Then its topics are in etcd: settings that say
    /// otherwise are mistakes, or are not used if `--cluster` has precedence.
    pub(super) fn is_node(
        &self,
        contradicted: &[(&'static str, &str)],
        settings: &mut Settings,
        mistakes: &mut Mistakes,
    ) -> bool {
        if self.cluster.0.is_none() {
            for key in self.given() {
                settings.overrule(key, "cluster");
            }
            return false;
        }
        settings.exclude("cluster", "keeps topics in etcd", contradicted, mistakes);
        true
    }

    /// Returns the keys of the settings that have no effect without `--cluster`, and are given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("node", self.node.is_some()),
            ("advertise", self.advertise.is_some()),
            ("node_token_file", self.node_token_file.is_some()),
            ("node_tls", self.node_tls),
            ("node_ca", self.node_ca.is_some()),
        ];
        let own = all
            .into_iter()
            .filter_map(|(key, given)| given.then_some(key));
        own.chain(self.etcd.given())
    }

    /// Returns the configuration of the node; `None` without `--cluster`, or after a mistake. `listeners`
    /// has the addresses that the server listens on, each with its scheme.
    pub(super) fn config(
        &self,
        listeners: &[(&str, SocketAddr)],
        tls: Option<&TlsConfig>,
        settings: &mut Settings,
        mistakes: &mut Mistakes,
    ) -> Option<ClusterConfig> {
        let location = self.cluster.0.clone()?;
        let etcd = self.etcd.settings(location);
        let token = self.node_token_file.as_deref().map(read_secret).transpose();
        let (etcd, token) = match (etcd, token) {
            (Ok(etcd), Ok(token)) => (etcd, token),
            (Err(error), _) | (_, Err(error)) => {
                mistakes.add(format!("{error:#}"));
                return None;
            }
        };
        self.check_address(listeners, settings, mistakes);
        Some(ClusterConfig {
            node: self.node.as_deref().map(NodeName::new),
            advertise: self.advertise.as_deref().map(Into::into),
            lease: Duration::from_secs(self.lease),
            forward_timeout: Duration::from_secs(self.forward_timeout.into()),
            node_token: token.as_deref().map(NodeToken::new),
            node_tls: self.tls(tls, settings, mistakes),
            ..ClusterConfig::new(etcd)
        })
    }

    /// Checks that others can reach the address that the node advertises, and notes it in `settings`. The
    /// server itself finds out which port it got, if it may be any.
    fn check_address(
        &self,
        listeners: &[(&str, SocketAddr)],
        settings: &mut Settings,
        mistakes: &mut Mistakes,
    ) {
        let scheme = if self.node_tls { "tls" } else { "tcp" };
        let listener = listeners.iter().find(|(one, _)| *one == scheme);
        let Some((_, listener)) = listener else {
            let flag = if self.node_tls {
                "--node-tls: turn --tls on"
            } else {
                "--cluster: turn --tcp on, or use --tls and --node-tls"
            };
            mistakes.add(format!(
                "the other nodes could not connect to this one with {flag}"
            ));
            return;
        };
        let Some(advertise) = &self.advertise else {
            if listener.ip().to_canonical().is_unspecified() {
                mistakes.add(format!(
                    "the other nodes cannot connect to {listener}, which means all addresses of this \
                     machine: name one that they can reach with --advertise HOST:PORT"
                ));
            } else if listener.port() > 0 {
                settings.choose("advertise", listener);
                settings.choose("node", listener);
            }
            return;
        };
        settings.choose("node", advertise);
    }

    fn tls(
        &self,
        own: Option<&TlsConfig>,
        settings: &mut Settings,
        mistakes: &mut Mistakes,
    ) -> Option<NodeTls> {
        if !self.node_tls {
            if self.node_ca.is_some() {
                settings.overrule("node_ca", "node_tls");
            }
            return None;
        }
        let Some(authorities) = self.node_ca.clone() else {
            mistakes.add(
                "--node-tls needs the authorities of the other nodes' certificates: --node-ca",
            );
            return None;
        };
        let files = own.map(|own| &own.files);
        Some(NodeTls {
            authorities,
            identity: files.map(|files| (files.certificate.clone(), files.key.clone())),
        })
    }
}
