//! The flags of `loadgen null`, and what it does.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;

use super::server::Server;
use crate::print::print;

/// Where it listens unless told: next to the default of globalcounter.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9997);

#[derive(Debug, Args)]
#[command(after_help = "Every sum that it tells is 1. It runs until it is stopped.")]
pub(crate) struct Arguments {
    /// Where to listen for TCP, or "off"
    #[arg(long, value_name = "ADDR|off", default_value_t = Listen(Some(ADDRESS)))]
    tcp: Listen,
    /// Where to receive UDP, or "off"
    #[arg(long, value_name = "ADDR|off", default_value_t = Listen(Some(ADDRESS)))]
    udp: Listen,
    /// Receive and send runs of datagrams as one (UDP GRO and GSO)
    #[arg(long)]
    gso: bool,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy)]
struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| {
                    "it must be an address and a port, as in 127.0.0.1:9997, or off".into()
                }),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// Answers until the process is stopped.
///
/// # Errors
///
/// What kept it from starting, or from going on.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut server = Server::bind(arguments.tcp.0, arguments.udp.0, arguments.gso)?;
    for (transport, address) in server.addresses()? {
        print(&format!(
            "answering {transport}://{address}, counting nothing\n"
        ))?;
    }
    server.run()
}
