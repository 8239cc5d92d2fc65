//! The errors of requests to etcd.

use thiserror::Error;
use tonic::{Code, Status};

/// Why a request to etcd failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No member could be connected to. Nothing was sent.
    #[error("cannot connect to etcd at {endpoint}: {why}; check the address, and that etcd runs")]
    Connect {
        /// The member that was tried last.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The settings of TLS cannot be used. Nothing was sent.
    #[error("the TLS settings for etcd cannot be used: {0}")]
    Tls(String),
    /// There was no answer in time. The request may take effect later.
    #[error("etcd did not answer in time")]
    TimedOut,
    /// The connection failed, or etcd has no leader. The request may take effect later.
    #[error("etcd failed: {}", message(.0))]
    Failed(Box<Status>),
    /// etcd refused the request. It has no effect.
    #[error("etcd refused a request: {}", message(.0))]
    Refused(Box<Status>),
    /// A key or its value is not what this version writes.
    #[error(
        "the key {key:?} in etcd is not understood: {problem}; was it written by a newer version?"
    )]
    NotUnderstood {
        /// The key, with its prefix.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The cluster is of another format.
    #[error(
        "the key {key:?} in etcd is {found:?}, but this version reads {expected:?}: run the version that \
         created this cluster, or choose another prefix"
    )]
    Format {
        /// The key, with its prefix.
        key: String,
        /// Its value.
        found: String,
        /// The value that this version writes.
        expected: String,
    },
    /// The keys were not read before etcd discarded their revision.
    #[error(
        "etcd discarded its revision {revision} (compaction) before all keys were read at it: try again, \
         and if that is of no use, let etcd keep its history for longer"
    )]
    Compacted {
        /// The revision.
        revision: u64,
    },
    /// A key was written by somebody else again and again.
    #[error("the key {key:?} in etcd is written all the time by somebody else: try again")]
    Contended {
        /// The key, with its prefix.
        key: String,
    },
    /// An answer has not the form that etcd's API promises.
    #[error("etcd sent an answer that does not belong to the request")]
    Answer,
}

impl Error {
    /// Returns whether the request may have taken effect, or may take effect later.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Failed(_) | Self::Answer)
    }

    /// Sorts an error of a call by whether the request may take effect.
    pub(super) fn of_call(status: Status) -> Self {
        let status = Box::new(status);
        match status.code() {
            // etcd and gRPC say these before they do anything with a request.
            Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Unimplemented => Self::Refused(status),
            _ => Self::Failed(status),
        }
    }

    /// Returns whether another connection may do better.
    pub(super) fn blames_connection(&self) -> bool {
        match self {
            Self::TimedOut | Self::Failed(_) | Self::Answer => true,
            Self::Refused(status) => is_old_token(status),
            _ => false,
        }
    }
}

/// Returns whether a call was refused because its token has expired, or is older than a change of users or
/// roles. Sources: `ErrGRPCInvalidAuthToken` and `ErrGRPCAuthOldRevision` in etcd's `rpctypes`.
pub(super) fn is_old_token(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || status.message().ends_with("auth store is old")
}

/// What happened, with the cause that tonic keeps beside it.
fn message(status: &Status) -> String {
    let source = std::error::Error::source(status).map(|source| format!(" ({source})"));
    let text = match status.message() {
        "" => status.code().description(),
        text => text,
    };
    format!("{text}{}", source.unwrap_or_default())
}
