//! The flags of `globalcounter serve` for what a connection may use, and how long it may take.

use std::time::Duration;

use clap::Args;
use globalcounter::server::ConnectionLimits;

use super::number::parse_number;

#[derive(Debug, Args)]
pub(super) struct LimitArguments {
    /// Maximum number of open TCP connections from one IPv4 address or IPv6 /64; further ones are closed
    /// at once. 0: no limit of its own
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_CONNECTIONS_PER_ADDRESS",
        value_parser = parse_number::<usize>,
        default_value_t = 0
    )]
    max_connections_per_address: usize,
    /// Maximum number of TLS handshakes in progress; further connections wait to be accepted
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_HANDSHAKES",
        value_parser = parse_number::<usize>,
        default_value_t = ConnectionLimits::DEFAULT_HANDSHAKES
    )]
    max_handshakes: usize,
    /// Close a TLS connection whose handshake takes longer
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_HANDSHAKE_TIMEOUT",
        value_parser = parse_number::<u32>,
        default_value_t = seconds(ConnectionLimits::DEFAULT_HANDSHAKE_TIMEOUT)
    )]
    handshake_timeout: u32,
    /// Close a connection that does not send its first byte in this time. 0: never
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_FIRST_BYTE_TIMEOUT",
        value_parser = parse_number::<u32>,
        default_value_t = 0
    )]
    first_byte_timeout: u32,
    /// Close a connection that begins a request and does not send the rest in this time. 0: never
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_REQUEST_TIMEOUT",
        value_parser = parse_number::<u32>,
        default_value_t = seconds(ConnectionLimits::DEFAULT_REQUEST_TIMEOUT)
    )]
    request_timeout: u32,
    /// Close a connection that is silent between requests for this time. 0: never
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_IDLE_TIMEOUT",
        value_parser = parse_number::<u32>,
        default_value_t = 0
    )]
    idle_timeout: u32,
    /// Close a connection whose peer reads nothing of its replies for this time. 0: never
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GLOBALCOUNTER_UNREAD_TIMEOUT",
        value_parser = parse_number::<u32>,
        default_value_t = seconds(ConnectionLimits::DEFAULT_UNREAD_TIMEOUT)
    )]
    unread_timeout: u32,
    /// Stop reading from a connection that has this many requests in flight: handed over to other
    /// workers, or waiting for the store
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_IN_FLIGHT",
        value_parser = parse_number::<usize>,
        default_value_t = ConnectionLimits::DEFAULT_IN_FLIGHT
    )]
    max_in_flight: usize,
    /// Stop reading from a connection that has this many bytes of replies that are not sent
    #[arg(
        long,
        value_name = "BYTES",
        env = "GLOBALCOUNTER_MAX_UNSENT",
        value_parser = parse_number::<usize>,
        default_value_t = ConnectionLimits::DEFAULT_UNSENT
    )]
    max_unsent: usize,
    /// Maximum number of bytes that the connections of one worker hold together: incomplete requests, and
    /// replies that are not sent. Above it, those that hold most are closed
    #[arg(
        long,
        value_name = "BYTES",
        env = "GLOBALCOUNTER_MAX_HELD",
        value_parser = parse_number::<usize>,
        default_value_t = ConnectionLimits::DEFAULT_HELD
    )]
    max_held: usize,
}

/// Returns a default in whole seconds.
fn seconds(timeout: Duration) -> u32 {
    timeout.as_secs() as u32
}

impl LimitArguments {
    pub(super) fn limits(&self) -> ConnectionLimits {
        let timeout = |seconds: u32| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        let per_address = self.max_connections_per_address;
        ConnectionLimits {
            per_address: (per_address > 0).then_some(per_address),
            handshakes: self.max_handshakes,
            handshake_timeout: Duration::from_secs(self.handshake_timeout.into()),
            first_byte_timeout: timeout(self.first_byte_timeout),
            request_timeout: timeout(self.request_timeout),
            idle_timeout: timeout(self.idle_timeout),
            unread_timeout: timeout(self.unread_timeout),
            in_flight: self.max_in_flight,
            unsent: self.max_unsent,
            held: self.max_held,
        }
    }
}
