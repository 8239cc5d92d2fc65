//! Where a server is: `tcp://host:port` or `udp://host:port`.

use std::fmt;
use std::str::FromStr;

/// A server's transport and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) transport: Transport,
    /// `host:port`, resolved anew at each connection.
    pub(super) host: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (transport, host) = if let Some(host) = url.strip_prefix("tcp://") {
            (Transport::Tcp, host)
        } else if let Some(host) = url.strip_prefix("udp://") {
            (Transport::Udp, host)
        } else {
            return Err("it must begin with tcp:// or udp://".into());
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        match host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                transport,
                host: host.into(),
            }),
            _ => Err("it must end with a host and a port, as in tcp://127.0.0.1:9999".into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}://{}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_said_alike() {
        for url in [
            "tcp://127.0.0.1:9999",
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
    fn what_is_no_address_is_told() {
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
