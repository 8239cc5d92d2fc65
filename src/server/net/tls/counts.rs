//! The counts of TLS connections and handshakes. Handshakes are rare and dear, so all workers share one
//! counter of each kind.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::HandshakeKind;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// What the peer sent is not TLS.
    NotTls,
    /// The peer offers no version, cipher suite or signature scheme that the server accepts.
    Incompatible,
    /// The client's certificate is missing or not accepted.
    Certificate,
    /// The peer refused, for example because it does not accept the server's certificate.
    Alert,
    /// The peer broke the protocol in another way.
    Protocol,
    /// It took too long.
    Timeout,
    /// The peer closed the connection.
    Closed,
    /// The server stopped.
    Stopped,
}

impl HandshakeFailure {
    const ALL: [Self; 8] = [
        Self::NotTls,
        Self::Incompatible,
        Self::Certificate,
        Self::Alert,
        Self::Protocol,
        Self::Timeout,
        Self::Closed,
        Self::Stopped,
    ];

    /// Returns the kind of an error of rustls.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::Certificate,
            Error::AlertReceived(_) => Self::Alert,
            _ => Self::Protocol,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of all workers together.
#[derive(Debug, Default)]
pub(super) struct Counts {
    open: AtomicU64,
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; HandshakeFailure::ALL.len()],
}

/// The counts of TLS at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TlsSnapshot {
    /// Open connections whose handshake is complete.
    pub connections: u64,
    /// Handshakes in progress, and for each worker one that may begin.
    pub handshake_slots_taken: u64,
    /// Handshakes that were completed in full.
    pub handshakes_full: u64,
    /// Handshakes that resumed an earlier session.
    pub handshakes_resumed: u64,
    /// Handshakes that failed, by reason: "not_tls", "incompatible", "certificate", "alert",
    /// "protocol", "timeout", "closed" or "stopped".
    pub handshakes_failed: Vec<(&'static str, u64)>,
}

/// Counts one connection whose handshake is complete, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenTls(Arc<Counts>);

impl Counts {
    /// Counts a completed handshake and the connection.
    pub(super) fn complete(self: &Arc<Self>, kind: Option<HandshakeKind>) -> OpenTls {
        let count = match kind {
            Some(HandshakeKind::Resumed) => &self.resumed,
            _ => &self.full,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenTls(Arc::clone(self))
    }

    /// Counts a failed handshake.
    pub(super) fn fail(&self, failure: HandshakeFailure) {
        self.failed[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, handshake_slots_taken: usize) -> TlsSnapshot {
        let failed = HandshakeFailure::ALL.iter().zip(&self.failed);
        TlsSnapshot {
            connections: self.open.load(Ordering::Relaxed),
            handshake_slots_taken: handshake_slots_taken as u64,
            handshakes_full: self.full.load(Ordering::Relaxed),
            handshakes_resumed: self.resumed.load(Ordering::Relaxed),
            handshakes_failed: failed
                .map(|(failure, count)| (failure.name(), count.load(Ordering::Relaxed)))
                .collect(),
        }
    }
}

impl Drop for OpenTls {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
