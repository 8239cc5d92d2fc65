//! How a server takes part in a cluster (docs/cluster.md).

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::BindError;
use crate::cluster::NodeName;
use crate::etcd::Settings;

/// How a server takes part in a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Where etcd and the cluster's keys are, and how to reach them.
    pub etcd: Settings,
    /// The node's name, unique among the nodes of the cluster at any time. `None`: the advertised address.
    pub node: Option<NodeName>,
    /// Where clients and the other nodes reach this node: `host:port`. `None`: where the TCP listener is
    /// bound, or the TLS listener with [`node_tls`](Self::node_tls); it must not be a wildcard address.
    pub advertise: Option<Arc<str>>,
    /// How long the node's session outlives its last renewal, and so the time until others take over after
    /// it died. [`DEFAULT_LEASE`](Self::DEFAULT_LEASE) by default; in whole seconds within
    /// [`LEASES`](Self::LEASES).
    pub lease: Duration,
    /// How long a request that was not sent yet waits for the owner of its topic.
    /// [`DEFAULT_FORWARD_TIMEOUT`](Self::DEFAULT_FORWARD_TIMEOUT) by default.
    pub forward_timeout: Duration,
    /// The token that this node shows to the others. They must give it the right `node`. `None`: they let
    /// everybody do everything, or know this node by its certificate or its address.
    pub node_token: Option<NodeToken>,
    /// TLS of the connections to other nodes; `None`: they are plain TCP.
    pub node_tls: Option<NodeTls>,
}

/// TLS of the connections to other nodes. The files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTls {
    /// The authorities that the other nodes' certificates may be of.
    pub authorities: PathBuf,
    /// The certificate that this node shows, and its key. `None`: it shows none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The token of a node. It is a secret, so its `Debug` form does not have it.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeToken(Arc<str>);

impl NodeToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// Returns the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeToken(…)")
    }
}

impl ClusterConfig {
    /// The default of [`lease`](Self::lease).
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(4);

    /// The leases that a node may have, in seconds. etcd does not grant a shorter one with its usual time
    /// for elections. With a longer one, nobody would wait for the topics of a node that died.
    pub const LEASES: RangeInclusive<u64> = 2..=60;

    /// The default of [`forward_timeout`](Self::forward_timeout): longer than the default lease, so that
    /// most requests outlast the death of an owner.
    pub const DEFAULT_FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

    /// A node with the default settings.
    #[must_use]
    pub fn new(etcd: Settings) -> Self {
        Self {
            etcd,
            node: None,
            advertise: None,
            lease: Self::DEFAULT_LEASE,
            forward_timeout: Self::DEFAULT_FORWARD_TIMEOUT,
            node_token: None,
            node_tls: None,
        }
    }

    /// Returns the address to advertise if the listener for other nodes is bound to `listener`.
    #[must_use]
    pub fn advertised(&self, listener: SocketAddr) -> Arc<str> {
        match &self.advertise {
            Some(address) => address.clone(),
            None => listener.to_string().into(),
        }
    }

    /// Returns the node's name if it advertises this address.
    #[must_use]
    pub fn name(&self, advertised: &str) -> NodeName {
        match &self.node {
            Some(name) => name.clone(),
            None => NodeName::new(advertised),
        }
    }

    /// Returns the address to advertise, if the listener for other nodes is bound to `listener`.
    ///
    /// # Errors
    ///
    /// There is no such listener, or others cannot reach its address.
    pub(super) fn reachable(&self, listener: Option<SocketAddr>) -> Result<Arc<str>, BindError> {
        match listener {
            None if self.node_tls.is_some() => Err(BindError::Node(
                "other nodes reach this one over TLS (--node-tls), so it has to serve TLS",
            )),
            None => Err(BindError::Node(
                "other nodes reach this one over TCP, so it has to serve TCP",
            )),
            Some(listener) if self.advertise.is_none() && listener.ip().is_unspecified() => {
                Err(BindError::Node(
                    "the address of the listener is a wildcard: set the one at which clients and other \
                     nodes reach this node (--advertise HOST:PORT)",
                ))
            }
            Some(listener) => Ok(self.advertised(listener)),
        }
    }

    pub(super) fn check(&self) -> Result<(), BindError> {
        let seconds = self.lease.as_secs();
        if !Self::LEASES.contains(&seconds) || self.lease.subsec_nanos() > 0 {
            return Err(BindError::Setting {
                setting: "--lease",
                value: seconds as usize,
                range: format!(
                    "a whole number of seconds from {} to {}",
                    Self::LEASES.start(),
                    Self::LEASES.end()
                ),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClusterConfig {
        let location = "etcd://127.0.0.1:2379".parse().unwrap();
        ClusterConfig::new(Settings::new(location).login("root", "sesame"))
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = ClusterConfig {
            node_token: Some(NodeToken::new("open")),
            ..config()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("127.0.0.1:2379"), "{shown}");
        assert!(
            !shown.contains("open") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[test]
    fn address_and_name_have_defaults() {
        let listener: SocketAddr = "10.0.0.1:9999".parse().unwrap();
        let mut config = config();
        let advertised = config.advertised(listener);
        assert_eq!(
            (&*advertised, config.name(&advertised).as_str()),
            ("10.0.0.1:9999", "10.0.0.1:9999")
        );
        config.advertise = Some("a.example:9999".into());
        config.node = Some(NodeName::new("a"));
        let advertised = config.advertised(listener);
        assert_eq!(
            (&*advertised, config.name(&advertised).as_str()),
            ("a.example:9999", "a")
        );
    }

    #[test]
    fn leases_are_limited() {
        for (lease, accepted) in [
            (Duration::from_secs(1), false),
            (Duration::from_secs(2), true),
            (Duration::from_millis(2_500), false),
            (Duration::from_secs(60), true),
            (Duration::from_secs(61), false),
        ] {
            let config = ClusterConfig { lease, ..config() };
            assert_eq!(config.check().is_ok(), accepted, "{lease:?}");
        }
    }
}
