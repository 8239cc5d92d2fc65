//! Ceilings: commits and loads that compare epochs (rule 6 of docs/cluster.md).

use super::client::{Client, revision};
use super::error::Error;
use super::keys::Keys;
use super::pages::{PAGE, following};
use super::proto::{RangeRequest, TxnRequest};
use super::transaction::{delete, keys_read, put, read, written_at};
use super::values::{Ceiling, ceiling_value};
use crate::cluster::{Epoch, RangeId, Revision};

/// The most changes of a transaction: etcd's default for `--max-txn-ops`. It allows as many comparisons,
/// so each change may be in a range of its own.
pub const MAX_OPERATIONS: usize = 128;

/// The most bytes of topics in a transaction. etcd accepts requests of 1.5 MiB by default.
const MAX_TOPIC_BYTES: usize = 1024 * 1024;

/// A change of a topic's ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The range of the topic.
    pub range: RangeId,
    /// The topic.
    pub topic: &'a str,
    /// The new ceiling; `None` if the topic is deleted.
    pub ceiling: Option<Ceiling>,
}

/// Reads and writes the ceilings of a cluster.
#[derive(Debug, Clone)]
pub struct Ceilings {
    client: Client,
    keys: Keys,
}

impl Ceilings {
    /// Uses the cluster that the client's settings name.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let keys = Keys::new(client.location());
        Self { client, keys }
    }

    /// Returns how many of these changes, from the first, fit into one commit: at least one.
    #[must_use]
    pub fn fitting(changes: &[Change<'_>]) -> usize {
        let mut bytes = 0;
        let fitting = changes.iter().take(MAX_OPERATIONS).take_while(|change| {
            bytes += change.topic.len();
            bytes <= MAX_TOPIC_BYTES
        });
        fitting.count().max(1).min(changes.len())
    }

    /// Splits changes into parts that each fit into one commit.
    pub fn parts<'a, 'b>(
        mut changes: &'a [Change<'b>],
    ) -> impl Iterator<Item = &'a [Change<'b>]> + use<'a, 'b> {
        std::iter::from_fn(move || {
            let (part, rest) = changes.split_at(Self::fitting(changes));
            changes = rest;
            (!part.is_empty()).then_some(part)
        })
    }

    /// Makes all changes in one transaction if the claim of each range has its epoch. Returns the
    /// revision, or `None` if a claim has another epoch: then nothing was changed.
    ///
    /// There must be as many changes as [fit](Self::fitting), of different topics, and an epoch for the
    /// range of each.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused; [`Error::is_unknown`] tells whether the changes may take effect.
    pub async fn commit(
        &self,
        epochs: &[(RangeId, Epoch)],
        changes: &[Change<'_>],
    ) -> Result<Option<Revision>, Error> {
        debug_assert!(
            changes
                .iter()
                .all(|change| epochs.iter().any(|(range, _)| *range == change.range))
        );
        let compare = epochs
            .iter()
            .map(|&(range, epoch)| written_at(self.keys.claim(range), epoch.0.0));
        let success = changes.iter().map(|change| {
            let key = self.keys.ceiling(change.range, change.topic);
            match change.ceiling {
                Some(ceiling) => put(key, ceiling_value(ceiling)),
                None => delete(key),
            }
        });
        let request = TxnRequest {
            compare: compare.collect(),
            success: success.collect(),
            failure: Vec::new(),
        };
        let answer = self.client.transaction(request).await?;
        let header = answer.header.ok_or(Error::Answer)?;
        Ok(answer.succeeded.then(|| revision(&header)))
    }

    /// Loads all topics of a range, in pages, each of which compares the epoch. Nobody else writes them
    /// meanwhile, so the pages fit together although each is of a later revision. Returns `None` if the
    /// claim has another epoch.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, or a key is not understood.
    pub async fn load(
        &self,
        range: RangeId,
        epoch: Epoch,
    ) -> Result<Option<Vec<(String, Ceiling)>>, Error> {
        let (first, end) = self.keys.ceilings(range);
        let (mut next, end) = (first.into_bytes(), end.into_bytes());
        let mut topics = Vec::new();
        loop {
            let page = RangeRequest {
                key: next,
                range_end: end.clone(),
                limit: PAGE,
                ..RangeRequest::default()
            };
            let request = TxnRequest {
                compare: vec![written_at(self.keys.claim(range), epoch.0.0)],
                success: vec![read(page)],
                failure: Vec::new(),
            };
            let answer = self.client.transaction(request).await?;
            if !answer.succeeded {
                return Ok(None);
            }
            let response = answer.responses.into_iter().next().ok_or(Error::Answer)?;
            let (pairs, more) = keys_read(response).ok_or(Error::Answer)?;
            for pair in &pairs {
                topics.push(self.keys.topic(range, pair)?);
            }
            match pairs.into_iter().next_back() {
                Some(last) if more => next = following(last.key),
                _ => return Ok(Some(topics)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_bounded_by_changes_and_bytes() {
        let range = RangeId::new(0, 1).unwrap();
        let long = "x".repeat(65_000);
        let change = |topic| Change {
            range,
            topic,
            ceiling: None,
        };
        assert_eq!(Ceilings::fitting(&[]), 0);
        let changes = [change("a"); 300];
        let parts = Ceilings::parts(&changes).map(<[_]>::len);
        assert_eq!(parts.collect::<Vec<_>>(), [128, 128, 44]);
        assert_eq!(Ceilings::fitting(&[change("a"); 300]), MAX_OPERATIONS);
        assert_eq!(
            Ceilings::fitting(&vec![change(&long); 300]),
            MAX_TOPIC_BYTES / 65_000
        );
    }
}
