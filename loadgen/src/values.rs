//! Parsers for the values of flags, with the messages for values that are wrong. Knows no subcommand.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use globalcounter::server::affinity;

/// The lowest and the highest rate of a ramp, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once("..")
            .ok_or("it must be two rates, as in 10000..1000000")?;
        let bounds = Self {
            from: parse_rate(from)?,
            to: parse_rate(to)?,
        };
        if bounds.from >= bounds.to {
            return Err("the second rate must be the higher one".into());
        }
        Ok(bounds)
    }
}

pub(crate) fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let addresses = text.to_socket_addrs().map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => "it must be a host and a port, as in 127.0.0.1:9999".to_owned(),
        _ => format!("this host is not known ({error})"),
    })?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    // If a name has both kinds, IPv4 comes first: servers here listen on it by default.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| "it has no address".into())
}

pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&count| (1..=1_000_000).contains(&count))
        .ok_or_else(|| "it must be a number from 1 to 1000000".into())
}

/// Parses the number of a processor that this process may use.
pub(crate) fn parse_processor(text: &str) -> Result<usize, String> {
    let processors = affinity::processors();
    text.parse()
        .ok()
        .filter(|processor| processors.contains(processor))
        .ok_or_else(|| {
            let numbers: Vec<String> = processors.iter().map(usize::to_string).collect();
            format!("it must be a CPU of this machine: {}", numbers.join(", "))
        })
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| (0.1..=1e9).contains(rate))
        .ok_or_else(|| "it must be a number of requests per second, up to 1000000000".into())
}

pub(crate) fn parse_seconds_or_none(text: &str) -> Result<Duration, String> {
    /// A day: a longer time is a typing error.
    const MOST: f64 = 86_400.0;
    text.parse()
        .ok()
        .filter(|seconds: &f64| (0.0..=MOST).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "it must be a number of seconds, up to 86400".into())
}

/// Parses a duration in seconds, above 0.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    parse_seconds_or_none(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "it must be a number of seconds above 0, up to 86400".into())
}

pub(crate) fn parse_milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|millis: &f64| *millis > 0.0 && *millis < 1e6)
        .map(|millis| Duration::from_secs_f64(millis / 1e3))
        .ok_or_else(|| "it must be a number of milliseconds above 0".into())
}
