//! How patient a client is.

use std::time::Duration;

/// A client's settings; `Options::default()` is what [`Client::connect`](super::Client::connect)
/// uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// TCP: how long a call may take, connecting included. 5 s by default.
    pub timeout: Duration,
    /// UDP: how long to wait for the reply to one datagram. 0.1 s by default, as in the original
    /// Python client.
    pub attempt_timeout: Duration,
    /// UDP: how many datagrams to send before giving up. 5 by default, as in the original Python
    /// client; 1: nothing is ever sent again.
    pub attempts: u32,
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

    /// Sets [`attempts`](Self::attempts); at least 1 is made.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(100),
            attempts: 5,
        }
    }
}
