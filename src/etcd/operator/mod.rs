//! A cluster as an operator sees and changes it, from outside of its nodes: its state, marks of draining,
//! its topics, and changes of ceilings while no node is live.

mod members;
mod offline;
mod overview;
mod sessions;
mod topics;

pub use members::EtcdMember;
pub use offline::{ChangeError, Offline};
pub use overview::{NodeState, Overview};
pub use sessions::Marked;
pub use topics::{StoredTopic, Topics};

use super::client::Client;
use super::connection::Settings;
use super::error::Error;
use super::format::{check_only, create_or_check};
use super::keys::Keys;

/// Reads and changes a cluster without being one of its nodes.
#[derive(Debug, Clone)]
pub struct Operator {
    client: Client,
    keys: Keys,
    ranges: u16,
}

impl Operator {
    /// Opens a cluster; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused; or the cluster is of another format.
    pub async fn open(settings: Settings) -> Result<Option<Self>, Error> {
        let client = Client::new(settings);
        let keys = Keys::new(client.location());
        let ranges = check_only(&client, &keys).await?;
        Ok(ranges.map(|ranges| Self {
            client,
            keys,
            ranges,
        }))
    }

    /// Opens a cluster, and creates it if no key has its prefix.
    ///
    /// # Errors
    ///
    /// As of [`open`](Self::open).
    pub async fn open_or_create(settings: Settings) -> Result<Self, Error> {
        let client = Client::new(settings);
        let keys = Keys::new(client.location());
        let ranges = create_or_check(&client, &keys).await?;
        Ok(Self {
            client,
            keys,
            ranges,
        })
    }

    /// Returns the number of ranges of the cluster.
    #[must_use]
    pub fn ranges(&self) -> u16 {
        self.ranges
    }
}
