//! How often the limits on requests and datagrams were reached.

use crate::access::Meter;
use crate::measure::Counter;

/// How often one worker reached limits. Only that worker writes it.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    connection_rate: Counter,
    token_rate: Counter,
    datagram_turns: Counter,
    unsent_errors: Counter,
}

/// How often limits were reached, by all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitsReached {
    /// Requests that were refused because their connection had made as many as it may in a second.
    pub requests_over_connection_rate: u64,
    /// Requests that were refused because the holders of their token had made as many as they may in a
    /// second.
    pub requests_over_token_rate: u64,
    /// Requests that were refused because the holders of their token had created as many topics as they
    /// may.
    pub topics_over_token_limit: u64,
    /// Turns in which a worker received as many datagrams as it may.
    pub full_datagram_turns: u64,
    /// Errors that were not sent, because the source of the datagram had got as many as it may in a second.
    pub unsent_datagram_errors: u64,
}

impl Reached {
    /// Counts the requests of a read that were over a rate.
    pub(crate) fn count_over_rates(&self, meter: &Meter<'_>) {
        self.connection_rate.add(meter.over_connection());
        self.token_rate.add(meter.over_token());
    }

    /// Counts a turn with as many datagrams as a turn may have.
    pub(crate) fn count_datagram_turn(&self) {
        self.datagram_turns.add(1);
    }

    /// Counts errors that are not sent to the sources of datagrams.
    pub(crate) fn count_unsent_errors(&self, errors: usize) {
        self.unsent_errors.add(errors as u64);
    }

    /// Adds these counts to `sum`.
    pub(super) fn add_to(&self, sum: &mut LimitsReached) {
        sum.requests_over_connection_rate += self.connection_rate.get();
        sum.requests_over_token_rate += self.token_rate.get();
        sum.full_datagram_turns += self.datagram_turns.get();
        sum.unsent_datagram_errors += self.unsent_errors.get();
    }
}
