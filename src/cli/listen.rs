//! The value of a flag that turns a listener on or off.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address to listen on; `None` if off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listen(pub(super) Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(address) => Ok(Self(Some(address))),
            Err(_) => Err("expected an address and a port, as in 127.0.0.1:9999, or off".into()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}
