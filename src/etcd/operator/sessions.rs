//! Marks of draining: placement leaves the nodes that have one out, so their ranges move to the others.

use super::Operator;
use crate::cluster::{NodeName, SessionId};
use crate::etcd::error::Error;
use crate::etcd::proto::{RangeRequest, TxnRequest};
use crate::etcd::transaction::{put_keeping_lease, written_at};
use crate::etcd::values::{remarked_session, session};

/// How often a mark is set again because the node wrote its key at the same time. A node writes it twice in
/// its life.
const ATTEMPTS: usize = 5;

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// The node with this session has the mark now.
    Changed(SessionId),
    /// It had the mark before.
    Unchanged(SessionId),
    /// No session has this name.
    NoSession,
}

impl Operator {
    /// Marks a node as draining, or takes the mark away. Its session stays as it is.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, or the session's key is not understood.
    pub async fn mark(&self, node: &NodeName, draining: bool) -> Result<Marked, Error> {
        let key = self.keys.session(node);
        for _ in 0..ATTEMPTS {
            let read = RangeRequest {
                key: key.clone().into_bytes(),
                ..RangeRequest::default()
            };
            let answer = self.client.range(read).await?;
            let Some(pair) = answer.kvs.first() else {
                return Ok(Marked::NoSession);
            };
            let id = session(pair)?.id;
            let Some(value) = remarked_session(pair, draining)? else {
                return Ok(Marked::Unchanged(id));
            };
            let request = TxnRequest {
                compare: vec![written_at(key.clone(), pair.mod_revision as u64)],
                success: vec![put_keeping_lease(key.clone(), value)],
                failure: Vec::new(),
            };
            if self.client.transaction(request).await?.succeeded {
                return Ok(Marked::Changed(id));
            }
        }
        Err(Error::Contended { key })
    }
}
