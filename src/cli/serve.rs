//! `globalcounter serve`: flags and environment to a [`Config`], then the server until a signal.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::BoolishValueParser;
use globalcounter::server::{Config, Loaded, Server};
use globalcounter::shard::Durability;
use globalcounter::store::LastEnd;
use globalcounter::topic::{DEFAULT_MAX_TOPIC_LEN, Shards};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info, warn};
use tracing_subscriber::EnvFilter;

use super::data_dir;
use super::usage::BadUsage;

/// Descriptors that are not connections: listeners, runtimes, standard streams, with room to
/// spare.
const OTHER_DESCRIPTORS_PER_SHARD: u64 = 16;
const OTHER_DESCRIPTORS: u64 = 32;

const DATA_DIR: &str = "GLOBALCOUNTER_DATA_DIR";
const DURABILITY: &str = "GLOBALCOUNTER_DURABILITY";

/// What is logged unless told otherwise. What the database says is said again, in our words, where it
/// matters.
const LOG: &str = "info,fjall=off,lsm_tree=off";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter serve --tcp 0.0.0.0:9999 --udp 0.0.0.0:9999\n  \
    globalcounter serve --udp off --shards 4 --pin\n  \
    globalcounter serve --data-dir /var/lib/globalcounter --durability exact\n\n\
    RUST_LOG=debug logs more, on standard error. SIGTERM and SIGINT stop it: it answers what it \
    has read, then exits with 0.")]
pub(super) struct Arguments {
    /// Where to listen for TCP, or "off"
    #[arg(
        long,
        value_name = "ADDR|off",
        env = "GLOBALCOUNTER_TCP",
        default_value_t = Listen(Some(Config::DEFAULT_ADDRESS))
    )]
    tcp: Listen,
    /// Where to receive UDP, or "off"
    #[arg(
        long,
        value_name = "ADDR|off",
        env = "GLOBALCOUNTER_UDP",
        default_value_t = Listen(Some(Config::DEFAULT_ADDRESS))
    )]
    udp: Listen,
    /// How many workers, and as many shards of topics [default: the processors it may use]
    #[arg(long, value_name = "N", env = "GLOBALCOUNTER_SHARDS", value_parser = parse_shards)]
    shards: Option<Shards>,
    /// Keep each worker on one processor
    #[arg(long, env = "GLOBALCOUNTER_PIN", value_parser = BoolishValueParser::new())]
    pin: bool,
    /// Have the kernel give classic datagrams to the worker that owns their topic
    #[arg(
        long,
        value_name = "on|off",
        env = "GLOBALCOUNTER_STEERING",
        default_value = "on",
        action = clap::ArgAction::Set,
        hide_possible_values = true,
        value_parser = BoolishValueParser::new()
    )]
    steering: bool,
    /// Where topics are kept over restarts and crashes [default: globalcounter in the user's state
    /// directory]
    #[arg(long, value_name = "DIR", env = DATA_DIR)]
    data_dir: Option<PathBuf>,
    /// Keep nothing: all topics start over with each start
    #[arg(long, env = "GLOBALCOUNTER_IN_MEMORY", value_parser = BoolishValueParser::new())]
    in_memory: bool,
    /// What a crash may cost: "monotonic", a topic skips numbers up to its reserve; "exact", none,
    /// and each reply waits for the disk. Neither ever repeats one
    #[arg(
        long,
        value_name = "PROMISE",
        env = DURABILITY,
        default_value_t = Durability::Monotonic,
        value_parser = parse_durability
    )]
    durability: Durability,
    /// The most topics; a new one over it is refused, none is evicted
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_TOPICS",
        default_value_t = Config::DEFAULT_MAX_TOPICS
    )]
    max_topics: usize,
    /// The longest topic, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        env = "GLOBALCOUNTER_MAX_TOPIC_LEN",
        default_value_t = DEFAULT_MAX_TOPIC_LEN
    )]
    max_topic_len: usize,
    /// The most TCP connections at a time; one over it is closed at once
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_CONNECTIONS",
        default_value_t = Config::DEFAULT_MAX_CONNECTIONS
    )]
    max_connections: usize,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy)]
struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(address) => Ok(Self(Some(address))),
            Err(_) => Err("it must be an address and a port, as in 127.0.0.1:9999, or off".into()),
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

fn parse_shards(text: &str) -> Result<Shards, String> {
    text.parse()
        .ok()
        .and_then(Shards::new)
        .ok_or_else(|| format!("it must be a number from 1 to {}", Shards::MAX))
}

/// Whether a value comes from the environment, which the command line overrides.
fn is_in_environment(name: &str, value: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|known| known == value)
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "monotonic" => Ok(Durability::Monotonic),
        "exact" => Ok(Durability::Exact),
        _ => Err("it must be monotonic or exact (--in-memory keeps nothing)".into()),
    }
}

impl Arguments {
    fn config(&self) -> Result<Config> {
        let data_dir = match (&self.data_dir, self.in_memory) {
            (Some(directory), true) if !is_in_environment(DATA_DIR, directory.as_os_str()) => {
                return Err(BadUsage("--in-memory keeps nothing, also not in a --data-dir").into());
            }
            (_, true) if self.durability != Durability::Monotonic => {
                let durability = self.durability.to_string();
                if !is_in_environment(DURABILITY, durability.as_ref()) {
                    return Err(BadUsage("--in-memory keeps nothing, whatever --durability").into());
                }
                None
            }
            (_, true) => None,
            (Some(directory), false) => Some(directory.clone()),
            (None, false) => Some(data_dir::default_dir()?),
        };
        Ok(Config {
            tcp: self.tcp.0,
            udp: self.udp.0,
            shards: self.shards.unwrap_or_else(Config::default_shards),
            pin: self.pin,
            steering: self.steering,
            data_dir,
            durability: self.durability,
            max_topics: self.max_topics,
            max_topic_len: self.max_topic_len,
            max_connections: self.max_connections,
        })
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// What kept it from starting, or from going on.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let config = arguments.config()?;
    raise_descriptor_limit(&config);
    let shards = config.shards.count();
    let kept = config
        .data_dir
        .clone()
        .map(|directory| (directory, config.durability));
    let server = match &kept {
        Some((directory, _)) => data_dir::reading(directory, || Server::bind(config)),
        None => Server::bind(config),
    }?;
    if let (Some((directory, durability)), Some(loaded)) = (kept, server.loaded()) {
        tell_what_was_kept(&directory, durability, loaded);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("starting a runtime")?;
    runtime.block_on(async {
        // Before the line that says ready: whoever reads it may send one at once.
        let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
        announce(&server, shards)?;
        let shutdown = async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!(signal = name, "stopping: answering what was read");
        };
        server.serve(shutdown).await?;
        info!("stopped");
        Ok(())
    })
}

/// What the server goes on with, and what the last one may have left out.
fn tell_what_was_kept(directory: &Path, durability: Durability, loaded: Loaded) {
    let Loaded {
        topics,
        last_end,
        skipped_topics,
        skipped_numbers,
        took,
    } = loaded;
    let directory = directory.display();
    match last_end {
        LastEnd::New => info!(%directory, %durability, "keeping topics in a new data directory"),
        LastEnd::Clean => info!(
            %directory, %durability, topics, ?took,
            "loaded; the last server ended cleanly, so every sum is exact"
        ),
        LastEnd::Crash => warn!(
            %directory, %durability, topics, ?took, skipped_topics, skipped_numbers,
            "loaded; the last server did not end cleanly, so these topics go on above numbers that \
             it may not have handed out, at most so many"
        ),
    }
}

/// One line a listener, for people and for scripts that wait until it is ready.
fn announce(server: &Server, shards: u16) -> Result<()> {
    let mut out = io::stdout().lock();
    let addresses = [("tcp", server.tcp_addr()), ("udp", server.udp_addr())];
    for (transport, address) in addresses {
        if let Some(address) = address {
            let plural = if shards == 1 { "" } else { "s" };
            writeln!(
                out,
                "serving {transport}://{address} with {shards} shard{plural}"
            )
            .context("writing to standard output")?;
        }
    }
    out.flush().context("writing to standard output")
}

/// Each connection takes a file descriptor: asks for as many as the system lets it have.
fn raise_descriptor_limit(config: &Config) {
    let others = u64::from(config.shards.count()) * OTHER_DESCRIPTORS_PER_SHARD + OTHER_DESCRIPTORS;
    let needed = (config.max_connections as u64).saturating_add(others);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = needed.min(hard);
    if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        warn!(
            soft,
            wanted, "could not raise the limit on file descriptors"
        );
    }
    if hard < needed {
        debug!(
            limit = hard,
            max_connections = config.max_connections,
            "the limit on file descriptors (ulimit -n) is below --max-connections"
        );
    }
}
