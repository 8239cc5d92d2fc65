//! The members of etcd.

use futures_util::future::join_all;

use super::Operator;
use crate::etcd::client::Client;
use crate::etcd::connection::Settings;
use crate::etcd::error::Error;

/// What a member of etcd says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdMember {
    /// Its version.
    pub version: String,
    /// Whether it leads; `None` if it knows no leader.
    pub leads: Option<bool>,
    /// The size of its database's file, in bytes.
    pub database: u64,
    /// How much of that is in use, in bytes.
    pub in_use: u64,
    /// Its alarms, such as a database that is full.
    pub alarms: Vec<String>,
}

impl Operator {
    /// Asks each member that the settings name. There may be further ones.
    pub async fn members(settings: &Settings) -> Vec<(String, Result<EtcdMember, Error>)> {
        let asked = settings
            .for_each_member()
            .map(|(endpoint, settings)| async move {
                (endpoint.to_owned(), ask(&Client::new(settings)).await)
            });
        join_all(asked).await
    }
}

async fn ask(client: &Client) -> Result<EtcdMember, Error> {
    let status = client.status().await?;
    let own = status.header.ok_or(Error::Answer)?.member_id;
    Ok(EtcdMember {
        version: status.version,
        leads: (status.leader != 0).then_some(status.leader == own),
        database: status.db_size as u64,
        in_use: status.db_size_in_use as u64,
        alarms: status.errors,
    })
}
