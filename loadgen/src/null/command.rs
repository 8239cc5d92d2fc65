//! The command `loadgen null` and its flags.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;

use super::server::Server;
use crate::print::print;

/// The default address: next to the default port of globalcounter.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9997);

/// Run a server that answers every protocol and counts nothing
///
/// It costs what the kernel's sockets cost, the least that any server can cost, and so is the
/// baseline of measurements. Every sum in its replies is 1. It runs until it is stopped.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Listen for TCP at this address, or not at all
    #[arg(long, value_name = "ADDR|off", default_value_t = Listen(Some(ADDRESS)))]
    tcp: Listen,
    /// Receive UDP at this address, or not at all
    #[arg(long, value_name = "ADDR|off", default_value_t = Listen(Some(ADDRESS)))]
    udp: Listen,
    /// Let the kernel merge and split datagrams (UDP GRO and GSO)
    ///
    /// It merges received datagrams, and splits one large buffer into datagrams of the same size.
    #[arg(long)]
    gso: bool,
}

/// An address to listen on. `None` is "off".
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

/// Answers requests until the process is stopped.
///
/// # Errors
///
/// The server cannot start, or its sockets fail.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut server = Server::bind(arguments.tcp.0, arguments.udp.0, arguments.gso)?;
    for (transport, address) in server.addresses()? {
        print(&format!(
            "answering {transport}://{address}, counting nothing\n"
        ))?;
    }
    server.run()
}
