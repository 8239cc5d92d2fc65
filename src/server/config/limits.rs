//! The limits on what a connection may use, and on what the connections of a worker may use together.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::BindError;

/// The least [`ConnectionLimits::held`]: one connection must be able to send its longest command, and to
/// get the replies to one read.
const LEAST_HELD: usize = 4 * 1024 * 1024;

/// Limits on what peers can use. When one is reached, the server stops reading from the connection, or
/// closes it and counts that: docs/operations.md has a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most open TCP connections from one IPv4 address, or from one IPv6 network of 64 bits; a
    /// further one is closed at once. `None`, the default: no limit of its own.
    pub per_address: Option<usize>,
    /// The most TLS handshakes in progress. Further connections wait in the listener's queue.
    pub handshakes: usize,
    /// How long a TLS handshake may take, from when the connection is accepted.
    pub handshake_timeout: Duration,
    /// How long a connection may wait before its first byte, of plaintext with TLS. `None`, the default:
    /// for ever. Clients of the original Python project connect early and send late.
    pub first_byte_timeout: Option<Duration>,
    /// How long a peer may take to send the rest of a request that it has begun.
    pub request_timeout: Option<Duration>,
    /// How long a connection may be silent between requests. `None`, the default: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long replies may wait without the peer reading any byte of them. After 60 s the kernel drops the
    /// connection in any case.
    pub unread_timeout: Option<Duration>,
    /// A connection is not read while it has this many requests in flight: handed over to other workers,
    /// or waiting for the store.
    pub in_flight: usize,
    /// A connection is not read while it has this many bytes of replies that are not sent.
    pub unsent: usize,
    /// The most bytes that the connections of one worker hold together: requests that are incomplete or
    /// wait, and replies that are not sent. From half of it on, a connection may hold little; above it
    /// those that hold most are closed.
    pub held: usize,
}

impl ConnectionLimits {
    /// The default of [`handshakes`](Self::handshakes). Each takes some 10 KiB (measured), and the peer
    /// decides how long it lasts, up to the time limit.
    pub const DEFAULT_HANDSHAKES: usize = 1024;

    /// The default of [`handshake_timeout`](Self::handshake_timeout): several repetitions of a lost
    /// packet.
    pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

    /// The default of [`request_timeout`](Self::request_timeout): enough for the longest request, 1 MiB,
    /// at 35 KiB a second.
    pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

    /// The default of [`unread_timeout`](Self::unread_timeout): half of the time after which the kernel drops
    /// such a connection without a count.
    pub const DEFAULT_UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

    /// The default of [`in_flight`](Self::in_flight): about as many as one full read brings.
    pub const DEFAULT_IN_FLIGHT: usize = 8 * 1024;

    /// The default of [`unsent`](Self::unsent). A client may well write 100,000 requests before it reads a
    /// reply; those replies are 1.5 MB.
    pub const DEFAULT_UNSENT: usize = 4 * 1024 * 1024;

    /// The default of [`held`](Self::held).
    pub const DEFAULT_HELD: usize = 256 * 1024 * 1024;

    /// Checks that every limit is in its range.
    pub(super) fn check(&self) -> Result<(), BindError> {
        let least = |setting, value, least| match value < least {
            true => Err(BindError::Setting {
                setting,
                value,
                range: format!("at least {least}"),
            }),
            false => Ok(()),
        };
        least("--max-handshakes", self.handshakes, 1)?;
        least("--max-in-flight", self.in_flight, 1)?;
        least("--max-unsent", self.unsent, 1)?;
        least("--max-held", self.held, LEAST_HELD)?;
        if self.handshakes > Semaphore::MAX_PERMITS {
            return Err(BindError::Setting {
                setting: "--max-handshakes",
                value: self.handshakes,
                range: format!("at most {}", Semaphore::MAX_PERMITS),
            });
        }
        if self.handshake_timeout.is_zero() {
            return Err(BindError::Setting {
                setting: "--handshake-timeout",
                value: 0,
                range: "at least 1 second".to_owned(),
            });
        }
        Ok(())
    }

    /// Returns the shortest of the times that a worker watches; `None` if it watches none.
    pub(in crate::server) fn shortest_timeout(&self) -> Option<Duration> {
        let timeouts = [
            self.first_byte_timeout,
            self.request_timeout,
            self.idle_timeout,
            self.unread_timeout,
        ];
        timeouts.into_iter().flatten().min()
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            per_address: None,
            handshakes: Self::DEFAULT_HANDSHAKES,
            handshake_timeout: Self::DEFAULT_HANDSHAKE_TIMEOUT,
            first_byte_timeout: None,
            request_timeout: Some(Self::DEFAULT_REQUEST_TIMEOUT),
            idle_timeout: None,
            unread_timeout: Some(Self::DEFAULT_UNREAD_TIMEOUT),
            in_flight: Self::DEFAULT_IN_FLIGHT,
            unsent: Self::DEFAULT_UNSENT,
            held: Self::DEFAULT_HELD,
        }
    }
}
