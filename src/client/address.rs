//! A server's URL: `tcp://host:port`, `tls://host:port` or `udp://host:port`.

use std::fmt;
use std::str::FromStr;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// `host:port`; resolved again for each connection.
    pub(super) host: String,
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
        let (scheme, host) = if let Some(host) = url.strip_prefix("tcp://") {
            (Scheme::Tcp, host)
        } else if let Some(host) = url.strip_prefix("tls://") {
            (Scheme::Tls, host)
        } else if let Some(host) = url.strip_prefix("udp://") {
            (Scheme::Udp, host)
        } else {
            return Err("the URL must begin with tcp://, tls:// or udp://".into());
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        match host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                scheme,
                host: host.into(),
            }),
            _ => Err("the URL must end with a host and a port, as in tcp://127.0.0.1:9999".into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
            Scheme::Udp => "udp",
        };
        write!(f, "{scheme}://{}", self.host)
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
        ] {
            assert!(url.parse::<Address>().is_err(), "{url}");
        }
    }
}
