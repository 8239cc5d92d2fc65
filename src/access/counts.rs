//! The counts of attempts to authenticate. Attempts are rare and dear, so all workers share a counter of
//! each kind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::verdict::{Denied, Verdict};

/// How a peer shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// HELLO of the framed dialect.
    Framed,
    /// AUTH or HELLO of the Redis protocol.
    Resp,
    /// A header of the admin port.
    Http,
    /// A client certificate.
    Certificate,
}

impl Login {
    const ALL: [Self; 4] = [Self::Framed, Self::Resp, Self::Http, Self::Certificate];

    fn name(self) -> &'static str {
        match self {
            Self::Framed => "framed",
            Self::Resp => "resp",
            Self::Http => "http",
            Self::Certificate => "tls",
        }
    }
}

/// How many attempts to authenticate ended in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LoginCount {
    /// How the peers tried: "framed", "resp", "http", or "tls": by a certificate.
    pub dialect: &'static str,
    /// "accepted"; "wrong"; "limited": not checked, or wrong, after too many failures of the address;
    /// "busy": not checked, because too many passwords were.
    pub result: &'static str,
    /// The number of attempts.
    pub attempts: u64,
}

/// The names of the results, in the order of their counters.
const RESULTS: [&str; 4] = ["accepted", "wrong", "limited", "busy"];

/// The counts of one server.
#[derive(Debug, Default)]
pub(super) struct Counts([[AtomicU64; RESULTS.len()]; Login::ALL.len()]);

impl Counts {
    /// Counts an attempt that ended.
    pub(super) fn add(&self, login: Login, verdict: &Verdict) {
        let result = match verdict {
            Ok(_) => 0,
            Err(Denied::Wrong) => 1,
            Err(Denied::TooManyFailures) => 2,
            Err(Denied::Busy) => 3,
        };
        self.0[login as usize][result].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns all counts, also those that are 0.
    pub(super) fn read(&self) -> Vec<LoginCount> {
        let logins = Login::ALL.iter().zip(&self.0);
        let of_login = |(login, counts): (&Login, &[AtomicU64; RESULTS.len()])| {
            let dialect = login.name();
            let counts = RESULTS.iter().zip(counts);
            let counts = counts.map(|(result, count)| LoginCount {
                dialect,
                result,
                attempts: count.load(Ordering::Relaxed),
            });
            counts.collect::<Vec<_>>()
        };
        logins.flat_map(of_login).collect()
    }
}
