//! The settings of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use super::tls::TlsOptions;

/// The settings of a client. [`Client::connect`](crate::Client::connect) uses
/// `Options::default()`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// TCP: how long a call may take, including the time to connect, and, in a cluster, the attempts at
    /// other nodes. 5 s by default.
    pub timeout: Duration,
    /// UDP: how long to wait for the reply to one datagram. 0.1 s by default, as in the original
    /// Python client.
    pub attempt_timeout: Duration,
    /// UDP: how many datagrams a call sends before it gives up. 5 by default, as in the original
    /// Python client. With 1, no request is sent again.
    pub attempts: u32,
    /// TCP: whether to open a connection to each of the server's shards (in a cluster: of each node's) and to send each request to
    /// the shard that owns its topic, so that no request has to cross cores inside the server. Off
    /// by default: with a server of 64 shards, each client would hold 64 connections, and a plain
    /// connection that counts mostly one topic is moved to that topic's worker anyway.
    ///
    /// The client asks for the number of shards when it connects, which may take another `timeout`.
    /// If the server later restarts with another number of shards, everything still works; requests
    /// that arrive at the wrong worker take one hop inside the server. The host name is resolved
    /// for each connection, so it must not stand for several servers.
    pub shard_aware: bool,
    /// TCP: whether counts of one topic that wait to be sent at the same time are sent as one ADD.
    /// Each caller gets a sum of its own, in the order of the calls. On by default, because no call
    /// waits for others to join it.
    ///
    /// If the reply is lost, all of these calls fail together, as they would one by one. If the ADD
    /// would overflow the sum, its counts are sent again one by one, after calls that were made
    /// meanwhile.
    pub coalesce: bool,
    /// Whom to trust for `tls://`, which needs it. `None` by default.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsOptions>,
    /// TCP: the token of each connection, or `NAME:PASSWORD`; `None` by default. UDP carries no token.
    pub token: Option<Secret>,
    /// How long opening a connection may take, if that is less than `timeout`.
    pub(super) connect_timeout: Option<Duration>,
}

/// A token or a password. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text of a token, or `NAME:PASSWORD`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Options {
    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`attempt_timeout`](Self::attempt_timeout).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets [`attempts`](Self::attempts); 0 is taken as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets [`shard_aware`](Self::shard_aware).
    #[must_use]
    pub fn shard_aware(mut self, shard_aware: bool) -> Self {
        self.shard_aware = shard_aware;
        self
    }

    /// Sets [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets [`coalesce`](Self::coalesce).
    #[must_use]
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Sets [`token`](Self::token).
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Returns how long opening a connection may take.
    pub(super) fn connect_limit(&self) -> Duration {
        let limit = self.connect_timeout.unwrap_or(self.timeout);
        limit.min(self.timeout)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(100),
            attempts: 5,
            shard_aware: false,
            coalesce: true,
            #[cfg(feature = "tls")]
            tls: None,
            token: None,
            connect_timeout: None,
        }
    }
}
