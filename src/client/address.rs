//! A server's URL: `tcp://host:port`, `tls://host:port` or `udp://host:port`; or that of a cluster, with
//! several hosts separated by commas.

use std::fmt;
use std::str::FromStr;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// `host:port` of each server; resolved again for each connection.
    pub(super) hosts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Tcp,
    Tls,
    Udp,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, hosts) = if let Some(host) = url.strip_prefix("tcp://") {
            (Scheme::Tcp, host)
        } else if let Some(host) = url.strip_prefix("tls://") {
            (Scheme::Tls, host)
        } else if let Some(host) = url.strip_prefix("udp://") {
            (Scheme::Udp, host)
        } else {
            return Err("the URL must begin with tcp://, tls:// or udp://".into());
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        if !hosts.iter().all(|host| has_port(host)) {
            return Err("the URL must end with a host and a port, as in tcp://127.0.0.1:9999, or with several \
                        separated by commas"
                .into());
        }
        if scheme == Scheme::Udp && hosts.len() > 1 {
            return Err("only tcp:// and tls:// may have several hosts".into());
        }
        Ok(Self { scheme, hosts })
    }
}

/// Returns whether this is `host:port`.
fn has_port(host: &str) -> bool {
    let parts = host.rsplit_once(':');
    parts.is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
            Scheme::Udp => "udp",
        };
        write!(f, "{scheme}://{}", self.hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_was_parsed() {
        for url in [
            "tcp://127.0.0.1:9999",
            "tls://counter.example:9443",
            "udp://[::1]:1",
            "tcp://counter.example:80",
            "tcp://10.0.0.1:9999,[::1]:1,counter.example:80",
            "tls://a:1,b:2",
        ] {
            assert_eq!(
                url.parse::<Address>().map(|a| a.to_string()),
                Ok(url.into())
            );
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        for url in [
            "",
            "127.0.0.1:9999",
            "http://a:1",
            "tcp://",
            "tcp://a",
            "udp://:1",
            "tcp://a:x",
            "tcp://a:1,",
            "tcp://a:1,,b:1",
            "tcp://a:1, b",
            "tcp://a,b:1",
            "udp://a:1,b:1",
        ] {
            assert!(url.parse::<Address>().is_err(), "{url}");
        }
    }
}
