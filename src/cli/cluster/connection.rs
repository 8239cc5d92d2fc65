//! Where a cluster is.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use globalcounter::etcd::{Location, Operator, Settings};

use crate::cli::etcd::{EtcdArguments, parse_location};
use crate::cli::settings::Mistakes;

/// How long a request may take. Nothing else waits for it, so it may be longer than a node's.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct ConnectionArguments {
    /// The members of etcd, and the prefix of the cluster's keys (/globalcounter if there is none)
    #[arg(
        long,
        value_name = "etcd://HOST:PORT,…/PREFIX",
        env = "GLOBALCOUNTER_CLUSTER",
        value_parser = parse_location
    )]
    cluster: Location,
    #[command(flatten)]
    etcd: EtcdArguments,
}

impl ConnectionArguments {
    pub(super) fn location(&self) -> &Location {
        &self.cluster
    }

    /// Returns how to reach etcd. A mistake in the flags is bad usage.
    pub(super) fn settings(&self) -> Result<Settings> {
        match self.etcd.settings(self.cluster.clone()) {
            Ok(settings) => Ok(settings.request_timeout(REQUEST_TIMEOUT)),
            Err(error) => {
                let mut mistakes = Mistakes::default();
                mistakes.add(format!("{error:#}"));
                Err(mistakes.into())
            }
        }
    }

    /// Opens the cluster.
    pub(super) async fn open(&self) -> Result<Operator> {
        match Operator::open(self.settings()?).await? {
            Some(operator) => Ok(operator),
            None => bail!(
                "there is no cluster at {}: no key has this prefix. The first node creates the cluster",
                self.cluster
            ),
        }
    }
}
