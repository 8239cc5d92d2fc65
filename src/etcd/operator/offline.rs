//! Changes of ceilings while no node is live.
//!
//! A former owner may have sent a commit that arrives late. It compares the epoch of its claim, so all
//! claims are written anew first, which ends their epochs. Each change then compares that no session is live
//! and that no claim was written since: so nobody else has changed a ceiling, or can change one later at an
//! old epoch.

use std::collections::BTreeMap;

use thiserror::Error as ErrorTrait;

use super::{Operator, StoredTopic};
use crate::cluster::{NodeName, RangeId, Revision};
use crate::etcd::ceilings::MAX_OPERATIONS;
use crate::etcd::client::revision;
use crate::etcd::error::Error;
use crate::etcd::pages::Pages;
use crate::etcd::proto::{Compare, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use crate::etcd::transaction::{keys_read, none_between, put, read, unchanged_between, written_at};
use crate::etcd::values::{Ceiling, ceiling, ceiling_value};

/// The comparisons of each change that are not about its topics.
const GUARDS: usize = 2;

/// The most bytes of topics in a transaction, which has each topic twice. etcd accepts requests of 1.5 MiB
/// by default.
const MAX_TOPIC_BYTES: usize = 512 * 1024;

/// Why ceilings cannot be changed from outside.
#[derive(Debug, ErrorTrait)]
#[non_exhaustive]
pub enum ChangeError {
    /// etcd failed.
    #[error(transparent)]
    Etcd(#[from] Error),
    /// Nodes are live, and own the topics.
    #[error(
        "{} live: stop all nodes, and wait until their sessions have ended (as long as their lease)",
        are(.0)
    )]
    Live(Vec<NodeName>),
    /// A node ran, or another change was made, since this one began.
    #[error(
        "the cluster changed meanwhile: a node ran, or another command was at work; make sure that \
         neither does, and run this one again"
    )]
    Changed,
}

/// A cluster whose nodes are all stopped, and whose ceilings may be changed.
#[derive(Debug)]
pub struct Offline {
    operator: Operator,
    /// No claim was written after this revision.
    fenced: Revision,
}

impl Operator {
    /// Makes sure that no node is live, and that no former owner can change a ceiling any more.
    ///
    /// # Errors
    ///
    /// A node is live, or etcd failed. Epochs may have ended, which does no harm.
    pub async fn take_offline(&self) -> Result<Offline, ChangeError> {
        let mut pages = Pages::of(self.keys.claims());
        let mut claims = Vec::new();
        while let Some(page) = pages.next(&self.client).await? {
            claims.extend(page);
        }
        let mut offline = Offline {
            operator: self.clone(),
            fenced: pages.revision(),
        };
        // Without claims, the guards alone are checked.
        for some in claims
            .chunks(MAX_OPERATIONS)
            .chain(claims.is_empty().then_some(&[][..]))
        {
            let written = some.iter().map(|claim| {
                // Both were read as text.
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                put(text(&claim.key), text(&claim.value))
            });
            let answer = offline.apply(Vec::new(), written.collect()).await?;
            offline.fenced = revision(&answer.header.ok_or(Error::Answer)?);
        }
        Ok(offline)
    }

    /// Returns the names of the live sessions.
    async fn live(&self) -> Result<Vec<NodeName>, Error> {
        let overview = self.overview().await?;
        Ok(overview.nodes.into_iter().map(|node| node.name).collect())
    }
}

impl Offline {
    /// Returns the number of ranges of the cluster.
    #[must_use]
    pub fn ranges(&self) -> u16 {
        self.operator.ranges
    }

    /// Raises topics to these sums at least, and creates those that are missing. No sum is lowered. Returns
    /// how many were changed.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. A part may have been changed; it is safe to do the same again.
    pub async fn raise(
        &self,
        sums: &BTreeMap<(RangeId, String), Ceiling>,
    ) -> Result<usize, ChangeError> {
        let mut changed = 0;
        let sums: Vec<_> = sums.iter().collect();
        let mut left = &sums[..];
        while !left.is_empty() {
            let (some, others) = left.split_at(fitting(left.iter().map(|((_, topic), _)| topic)));
            changed += self.raise_some(some).await?;
            left = others;
        }
        Ok(changed)
    }

    async fn raise_some(
        &self,
        sums: &[(&(RangeId, String), &Ceiling)],
    ) -> Result<usize, ChangeError> {
        let keys = &self.operator.keys;
        let reads = sums.iter().map(|((range, topic), _)| {
            read(RangeRequest {
                key: keys.ceiling(*range, topic).into_bytes(),
                ..RangeRequest::default()
            })
        });
        let answer = self.apply(Vec::new(), reads.collect()).await?;
        let (mut compare, mut written) = (Vec::new(), Vec::new());
        for (((range, topic), sum), response) in sums.iter().zip(answer.responses) {
            let (found, _) = keys_read(response).ok_or(Error::Answer)?;
            let known = found.first().map(ceiling).transpose()?;
            if known.is_some_and(|known| known.ceiling >= sum.ceiling) {
                continue;
            }
            let revision = found.first().map_or(0, |pair| pair.mod_revision as u64);
            compare.push(written_at(keys.ceiling(*range, topic), revision));
            written.push(put(keys.ceiling(*range, topic), ceiling_value(**sum)));
        }
        let changed = written.len();
        if changed > 0 {
            self.apply(compare, written).await?;
        }
        Ok(changed)
    }

    /// Raises each topic of a page by a number, or to the largest sum that there is. What was an exact sum
    /// is one no longer. Returns how many reached the largest sum.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. A part may have been changed.
    pub async fn advance(&self, page: &[StoredTopic], by: u64) -> Result<usize, ChangeError> {
        let keys = &self.operator.keys;
        let (mut left, mut largest) = (page, 0);
        while !left.is_empty() {
            let (some, others) = left.split_at(fitting(left.iter().map(|stored| &stored.topic)));
            let (mut compare, mut written) = (Vec::new(), Vec::new());
            for stored in some {
                let key = keys.ceiling(stored.range, &stored.topic);
                let raised = Ceiling {
                    ceiling: stored.ceiling.ceiling.saturating_add(by),
                    exact: false,
                };
                largest += usize::from(raised.ceiling == u64::MAX);
                compare.push(written_at(key.clone(), stored.written.0));
                written.push(put(key, ceiling_value(raised)));
            }
            self.apply(compare, written).await?;
            left = others;
        }
        Ok(largest)
    }

    /// Reads all topics.
    #[must_use]
    pub fn topics(&self) -> super::Topics {
        self.operator.topics("")
    }

    /// Does all of this if the cluster is still offline and all comparisons succeed.
    async fn apply(
        &self,
        mut compare: Vec<Compare>,
        success: Vec<RequestOp>,
    ) -> Result<TxnResponse, ChangeError> {
        let Operator { client, keys, .. } = &self.operator;
        let (sessions, claims) = (keys.sessions(), keys.claims());
        compare.push(none_between(sessions.0, sessions.1));
        compare.push(unchanged_between(claims.0, claims.1, self.fenced.0));
        let request = TxnRequest {
            compare,
            success,
            failure: Vec::new(),
        };
        let answer = client.transaction(request).await?;
        if answer.succeeded {
            return Ok(answer);
        }
        let live = self.operator.live().await?;
        Err(match live.is_empty() {
            true => ChangeError::Changed,
            false => ChangeError::Live(live),
        })
    }
}

/// Returns how many of these topics, from the first, fit into one transaction: at least one.
fn fitting<'a>(topics: impl Iterator<Item = &'a String>) -> usize {
    let mut bytes = 0;
    let fitting = topics.take(MAX_OPERATIONS - GUARDS).take_while(|topic| {
        bytes += topic.len();
        bytes <= MAX_TOPIC_BYTES
    });
    fitting.count().max(1)
}

/// Lists nodes, with the verb.
fn are(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    match &names[..] {
        [name] => format!("node {name} is"),
        names => format!("nodes {} are", names.join(", ")),
    }
}
