//! `globalcounter demo`: a server in memory and a small load, in one process, to look at.

mod load;

#[cfg_attr(
    not(feature = "cluster"),
    allow(unused_imports, reason = "the demo of a cluster uses it")
)]
pub(super) use load::Load;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use clap::Args;
use globalcounter::server::{BindError, Config, Server};
use tracing::info;

use super::log::LogArguments;
use super::serve::DEFAULT_ADMIN;
use super::signals;
use crate::admin::{Admin, Protection};

/// Any free port.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Enough for a demo, and within every usual limit on open files.
const MAX_CONNECTIONS: usize = 500;

#[derive(Debug, Args)]
#[command(
    after_help = "The server listens on loopback only: on the addresses that `serve` has by \
    default, or on free ports if they are in use. It stores nothing. Ctrl-C stops it."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: LogArguments,
}

/// Runs the demo until SIGTERM or SIGINT.
///
/// # Errors
///
/// The server cannot start, or fails while it runs.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    arguments.log.start();
    let server = bind()?;
    let admin = start_admin().context("cannot listen for the admin port")?;
    admin.watch(server.monitor());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let stop = signals::stop()?;
        let urls =
            addresses(&server).map(|(transport, address)| format!("{transport}://{address}"));
        let mut load = Load::start(urls.collect());
        print(&introduction(&server, admin.address()))?;
        let shutdown = async move {
            let name = stop.await;
            load.stop().await;
            info!(
                signal = name,
                "shutting down: finishing requests already received"
            );
        };
        server.serve(shutdown).await?;
        info!("shut down");
        Ok(())
    })
}

/// Binds a server that stores nothing to the default addresses, or to free ports if they are in use.
fn bind() -> Result<Server, BindError> {
    let config = |address| Config {
        tcp: Some(address),
        udp: Some(address),
        data_dir: None,
        max_connections: MAX_CONNECTIONS,
        ..Config::default()
    };
    match Server::bind(config(Config::DEFAULT_ADDRESS)) {
        Err(BindError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            Server::bind(config(ANY_PORT))
        }
        bound => bound,
    }
}

fn start_admin() -> io::Result<Admin> {
    match Admin::start(DEFAULT_ADMIN, Protection::default()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Admin::start(ANY_PORT, Protection::default())
        }
        started => started,
    }
}

/// Returns the transports with their addresses. Both are on.
fn addresses(server: &Server) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let addresses = [("tcp", server.tcp_addr()), ("udp", server.udp_addr())];
    let on = addresses.into_iter();
    on.filter_map(|(transport, address)| Some((transport, address?)))
}

/// Tells what runs, where to look, and how to count.
fn introduction(server: &Server, admin: SocketAddr) -> String {
    let mut text =
        "A demo of globalcounter: a server that keeps its topics in memory, and clients of a shop \
        that\ncount its orders, visits and tickets, a few thousand requests a second.\n\n"
            .to_owned();
    for (transport, address) in addresses(server) {
        text += &format!("serving {transport}://{address}\n");
    }
    let at = |flag: &str, address: &str, default: &str| match address {
        address if address == default => String::new(),
        address => format!(" {flag} {address}"),
    };
    let top = at("--admin", &admin.to_string(), &DEFAULT_ADMIN.to_string());
    let tcp = server.tcp_addr().map(|address| format!("tcp://{address}"));
    let default = format!("tcp://{}", Config::DEFAULT_ADDRESS);
    let count = at("--server", tcp.as_deref().unwrap_or(&default), &default);
    text += &format!(
        "\nwatch it in a browser     http://{admin}/\n\
        watch it in a terminal    globalcounter top{top}\n\
        count an order yourself   globalcounter count{count} orders\n\n\
        Ctrl-C stops it.\n"
    );
    text
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}
