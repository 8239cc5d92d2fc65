//! Calls of etcd's API, each within a time-out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;

use super::connection::{Connection, Connector, Settings};
use super::error::{Error, is_old_token};
use super::location::Location;
use super::proto::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, RangeRequest, RangeResponse, ResponseHeader, StatusRequest,
    StatusResponse, TxnRequest, TxnResponse,
};
use crate::cluster::{Leadership, LeaseId, Revision};

/// A client of etcd. It connects when it is needed, to one member at a time, and to the next one when
/// that fails or does not answer. Clones share the connection, and belong to the runtime that first
/// uses it.
#[derive(Debug, Clone)]
pub struct Client {
    connector: Arc<Connector>,
}

impl Client {
    /// Creates a client. It connects with its first request.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            connector: Arc::new(Connector::new(settings)),
        }
    }

    /// Returns where etcd is.
    #[must_use]
    pub fn location(&self) -> &Location {
        self.connector.location()
    }

    /// Returns how long a request may take.
    pub(super) fn request_timeout(&self) -> Duration {
        self.connector.request_timeout()
    }

    /// Discards the history before a revision, so that etcd's database does not grow with it. Watches
    /// and reads of earlier revisions fail.
    ///
    /// # Errors
    ///
    /// etcd refused, as it does for a revision that was compacted before, or did not answer.
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let request = CompactionRequest {
            revision: revision.0 as i64,
        };
        let compact =
            move |connection: Connection| async move { connection.kv().compact(request).await };
        self.call(compact).await.map(drop)
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let range = move |connection: Connection| {
            let request = request.clone();
            async move { connection.kv().range(request).await }
        };
        Ok(self.call(range).await?.into_inner())
    }

    pub(super) async fn transaction(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        let txn = move |connection: Connection| {
            let request = request.clone();
            async move { connection.kv().txn(request).await }
        };
        Ok(self.call(txn).await?.into_inner())
    }

    /// Grants a lease of at least `ttl`.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let request = LeaseGrantRequest {
            ttl: seconds as i64,
        };
        let grant = move |connection: Connection| async move {
            connection.lease().lease_grant(request).await
        };
        let granted = self.call(grant).await?.into_inner();
        // A shorter one would end before the deadline.
        if granted.ttl < request.ttl {
            return Err(Error::Answer);
        }
        Ok(LeaseId(granted.id))
    }

    pub(super) async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let request = LeaseRevokeRequest { id: lease.0 };
        let revoke = move |connection: Connection| async move {
            connection.lease().lease_revoke(request).await
        };
        self.call(revoke).await.map(drop)
    }

    /// Returns how long a lease lives unless it is renewed; `None` if it does not exist.
    pub(super) async fn time_to_live(&self, lease: LeaseId) -> Result<Option<Duration>, Error> {
        let request = LeaseTimeToLiveRequest { id: lease.0 };
        let ask = move |connection: Connection| async move {
            connection.lease().lease_time_to_live(request).await
        };
        let seconds = self.call(ask).await?.into_inner().ttl;
        Ok(u64::try_from(seconds).ok().map(Duration::from_secs))
    }

    /// Asks the member that the client is connected to for its state.
    pub(super) async fn status(&self) -> Result<StatusResponse, Error> {
        let ask = move |connection: Connection| async move {
            connection.maintenance().status(StatusRequest {}).await
        };
        Ok(self.call(ask).await?.into_inner())
    }

    /// Renews a lease, and then makes a linearizable read of `key` on the same member (rule 3 of
    /// docs/cluster.md). Returns who answered the read; `None` if etcd does not know the lease.
    pub(super) async fn renew(
        &self,
        lease: LeaseId,
        key: &str,
    ) -> Result<Option<Leadership>, Error> {
        let renewal = LeaseKeepAliveRequest { id: lease.0 };
        let read = RangeRequest {
            key: key.as_bytes().to_vec(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let renew = move |connection: Connection| {
            let read = read.clone();
            async move {
                let requests = futures_util::stream::iter([renewal]);
                let answers = connection.lease().lease_keep_alive(requests).await?;
                let Some(renewed) = answers.into_inner().message().await? else {
                    return Err(Status::unavailable("the stream of renewals ended"));
                };
                if renewed.ttl == 0 {
                    return Ok(None);
                }
                let answer = connection.kv().range(read).await?.into_inner();
                Ok(Some((renewed.header, answer.header)))
            }
        };
        let Some((renewed_by, read_by)) = self.call(renew).await? else {
            return Ok(None);
        };
        // etcd fills in the term of the first header before it renews, so only the read's counts. Its
        // member does not change meanwhile: two different ones mean that the connection was made anew,
        // through an address that several members share.
        let renewed_by = renewed_by.ok_or(Error::Answer)?;
        let read_by = read_by.ok_or(Error::Answer)?;
        if renewed_by.member_id != read_by.member_id {
            return Err(Error::Answer);
        }
        Ok(Some(leadership(&read_by)))
    }

    /// Returns the connection, for a stream. [`failed`](Self::failed) tells when it is of no more use.
    pub(super) async fn connection(&self) -> Result<Connection, Error> {
        let connecting = timeout(self.request_timeout(), self.connector.connection());
        connecting.await.map_err(|_| Error::TimedOut)?
    }

    pub(super) fn failed(&self, connection: &Connection) {
        self.connector.failed(connection);
    }

    /// Makes a call within the time-out of a request. A call that was refused because the token was too old is
    /// made a second time, with a new token.
    async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl Fn(Connection) -> F,
    ) -> Result<T, Error> {
        let mut used = None;
        let calling = async {
            let connection = used.insert(self.connector.connection().await?).clone();
            match call(connection.clone()).await {
                Err(status) if self.connector.has_login() && is_old_token(&status) => {
                    self.connector.failed(&connection);
                    let connection = used.insert(self.connector.connection().await?).clone();
                    call(connection).await.map_err(Error::of_call)
                }
                result => result.map_err(Error::of_call),
            }
        };
        let result = timeout(self.request_timeout(), calling)
            .await
            .unwrap_or(Err(Error::TimedOut));
        if let (Err(error), Some(connection)) = (&result, &used)
            && error.blames_connection()
        {
            self.connector.failed(connection);
        }
        result
    }
}

/// Returns who answered.
pub(super) fn leadership(header: &ResponseHeader) -> Leadership {
    Leadership {
        member: header.member_id,
        term: header.raft_term,
    }
}

/// Returns the revision of an answer.
pub(super) fn revision(header: &ResponseHeader) -> Revision {
    Revision(header.revision as u64)
}
