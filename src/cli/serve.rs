//! `globalcounter serve`: turns the settings into a [`Config`] and runs the server until a signal.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::builder::BoolishValueParser;
use clap::{Args, FromArgMatches};
use globalcounter::access::{Guard, Policy, warn_of_readers};
use globalcounter::server::{Config, Loaded, Server, Steering, Tls, TlsConfig, TlsFiles};
use globalcounter::shard::Durability;
use globalcounter::store::{LastEnd, LogStore};
use globalcounter::topic::{DEFAULT_MAX_TOPIC_LEN, Shards, TOPIC_LEN_LIMIT};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::access::{self, AccessArguments};
use super::connection_limits::LimitArguments;
use super::data_dir;
use super::listen::Listen;
use super::log::{self, LogArguments};
#[cfg(feature = "cluster")]
use super::node::NodeArguments;
use super::number::parse_number;
use super::rates::{self, RateArguments};
use super::reload::{Reload, Wanted};
use super::settings::{CommandLine, Mistakes, Settings};
use super::signals;
use super::systemd::{self, Passed, PassedAddresses};
use super::tls::{Certificates, TlsArguments};
use crate::admin::{Admin, Protection};

/// The address of the admin port if none is given.
pub(super) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9998);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter serve --tcp 0.0.0.0:9999 --udp off --tokens tokens.toml\n  \
    globalcounter serve --udp 10.0.0.1:9999 --allow 10.0.0.0/8=count,read\n  \
    globalcounter serve --udp off --shards 4 --pin\n  \
    globalcounter serve --data-dir /var/lib/globalcounter --durability exact\n  \
    globalcounter serve --config globalcounter.toml --check\n\n\
    A file has the keys of the flags, with underscores: max_topics = 1000. The environment has \
    precedence over the file, and flags over both. On SIGHUP the server rereads the file. On SIGTERM \
    or SIGINT it finishes the \
    requests that it has received, then exits with 0.")]
pub(super) struct Arguments {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_CONFIG")]
    config: Option<PathBuf>,
    /// Print the settings, each with its source, as a configuration file, and exit without starting.
    /// Exits with 2 and all mistakes if there are any
    #[arg(long)]
    check: bool,
    /// Address to listen on for TCP, or "off"
    #[arg(
        long,
        value_name = "ADDR|off",
        env = "GLOBALCOUNTER_TCP",
        default_value_t = Listen(Some(Config::DEFAULT_ADDRESS))
    )]
    tcp: Listen,
    /// Address to receive UDP on, or "off"
    #[arg(
        long,
        value_name = "ADDR|off",
        env = "GLOBALCOUNTER_UDP",
        default_value_t = Listen(Some(Config::DEFAULT_ADDRESS))
    )]
    udp: Listen,
    #[command(flatten)]
    tls: TlsArguments,
    /// Number of workers and shards [default: the number of processors that the server may use]
    #[arg(long, value_name = "N", env = "GLOBALCOUNTER_SHARDS", value_parser = parse_shards)]
    shards: Option<Shards>,
    /// Pin each worker to one processor
    #[arg(long, env = "GLOBALCOUNTER_PIN", value_parser = BoolishValueParser::new())]
    pin: bool,
    /// Have the kernel deliver classic UDP datagrams to the worker that owns their topic. "auto":
    /// if there is a processor for each worker
    #[arg(
        long,
        value_name = "auto|on|off",
        env = "GLOBALCOUNTER_STEERING",
        default_value = "auto",
        value_parser = parse_steering
    )]
    steering: Steering,
    /// Directory that keeps the topics across restarts and crashes [default: globalcounter in the
    /// user's state directory]
    #[arg(long, value_name = "DIR", env = "GLOBALCOUNTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Store nothing: all topics start over whenever the server starts
    #[arg(long, env = "GLOBALCOUNTER_IN_MEMORY", value_parser = BoolishValueParser::new())]
    in_memory: bool,
    /// What a crash may cost. "monotonic": a topic may skip numbers, at most its reserve. "exact":
    /// no number is skipped, but each reply waits for the disk. Neither ever repeats a number
    #[arg(
        long,
        value_name = "monotonic|exact",
        env = "GLOBALCOUNTER_DURABILITY",
        default_value_t = Durability::Monotonic,
        value_parser = parse_durability
    )]
    durability: Durability,
    /// Write a checkpoint of all topics to the data directory after this many bytes of log, or half
    /// the last checkpoint's length if that is more. Less makes the next start faster but writes more
    #[arg(
        long,
        value_name = "BYTES",
        env = "GLOBALCOUNTER_CHECKPOINT_LOG",
        value_parser = parse_number::<u64>,
        default_value_t = LogStore::DEFAULT_CHECKPOINT_LOG
    )]
    checkpoint_log: u64,
    /// Maximum number of topics; further new topics are refused, none is evicted
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_TOPICS",
        value_parser = parse_number::<usize>,
        default_value_t = Config::DEFAULT_MAX_TOPICS
    )]
    max_topics: usize,
    /// Address of the admin port, which serves metrics and health over HTTP, or over HTTPS with
    /// --admin-tls, or "off". Without tokens, whoever reaches it can read them [default: 127.0.0.1:9998, unless another process uses it]
    #[arg(long, value_name = "ADDR|off", env = "GLOBALCOUNTER_ADMIN")]
    admin: Option<Listen>,
    /// Maximum length of a topic, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        env = "GLOBALCOUNTER_MAX_TOPIC_LEN",
        value_parser = parse_topic_len,
        default_value_t = DEFAULT_MAX_TOPIC_LEN
    )]
    max_topic_len: usize,
    /// Maximum number of open TCP connections; further ones are closed at once
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_CONNECTIONS",
        value_parser = parse_number::<usize>,
        default_value_t = Config::DEFAULT_MAX_CONNECTIONS
    )]
    max_connections: usize,
    #[command(flatten)]
    rates: RateArguments,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    access: AccessArguments,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    log: LogArguments,
}

fn parse_shards(text: &str) -> Result<Shards, String> {
    text.parse()
        .ok()
        .and_then(Shards::new)
        .ok_or_else(|| format!("expected a number from 1 to {}", Shards::MAX))
}

fn parse_topic_len(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|len| *len <= TOPIC_LEN_LIMIT)
        .ok_or_else(|| format!("expected a number of bytes up to {TOPIC_LEN_LIMIT}"))
}

fn parse_steering(text: &str) -> Result<Steering, String> {
    match text {
        "auto" => Ok(Steering::Auto),
        // The words that a boolean flag in the environment accepts as well.
        "on" | "true" | "yes" | "1" => Ok(Steering::On),
        "off" | "false" | "no" | "0" => Ok(Steering::Off),
        _ => Err("expected auto, on or off".into()),
    }
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "monotonic" => Ok(Durability::Monotonic),
        "exact" => Ok(Durability::Exact),
        _ => Err("expected monotonic or exact (to store nothing, use --in-memory)".into()),
    }
}

/// Where topics are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    DataDir,
    Memory,
    /// In the cluster's etcd.
    #[cfg_attr(
        not(feature = "cluster"),
        allow(dead_code, reason = "there is no cluster")
    )]
    Etcd,
}

/// What the settings say.
struct Resolved {
    config: Config,
    /// Who may do what; `None` if everybody may do everything.
    policy: Option<Policy>,
    /// The certificates of the admin port; `None` if it speaks HTTP.
    admin_tls: Option<TlsFiles>,
}

impl Arguments {
    /// Returns the configuration, and completes `settings` by what the server chooses itself.
    ///
    /// # Errors
    ///
    /// All mistakes: those of the layers, and settings that exclude each other.
    fn resolve(
        &self,
        settings: &mut Settings,
        passed: &PassedAddresses,
    ) -> Result<Resolved, Mistakes> {
        let mut mistakes = std::mem::take(&mut settings.mistakes);
        let place = self.place(settings, &mut mistakes);
        let data_dir = match &self.data_dir {
            _ if place != Place::DataDir => None,
            Some(directory) => Some(directory.clone()),
            None => match data_dir::default_dir() {
                Ok(directory) => Some(directory),
                Err(error) => {
                    mistakes.add(error.to_string());
                    None
                }
            },
        };
        let tls = self.tls.resolve(settings, &mut mistakes);
        let mut config = self.config(data_dir, tls.server);
        self.rates.complete(&mut config);
        let policy = self.access.policy(self.rates.token_limits(), &mut mistakes);
        let listeners = self.listeners(&config, passed);
        self.access.check_exposure(&listeners, &mut mistakes);
        #[cfg(feature = "cluster")]
        {
            let tls = config.tls.as_ref();
            config.cluster = self.node.config(&listeners, tls, settings, &mut mistakes);
        }
        if let Err(error) = config.check() {
            mistakes.add(error.to_string());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        settings.choose("shards", config.shards.count());
        settings.choose("admin", DEFAULT_ADMIN);
        match (&config.data_dir, place) {
            (Some(directory), _) => settings.choose("data_dir", directory.display()),
            (None, Place::Etcd) => {
                settings.overrule("data_dir", "cluster");
                settings.overrule("checkpoint_log", "cluster");
            }
            (None, _) => settings.overrule("data_dir", "in_memory"),
        }
        Ok(Resolved {
            config,
            policy,
            admin_tls: tls.admin,
        })
    }

    /// Decides where topics are kept.
    fn place(&self, settings: &mut Settings, mistakes: &mut Mistakes) -> Place {
        let mut contradicted = Vec::new();
        if self.data_dir.is_some() {
            contradicted.push(("data_dir", ""));
        }
        #[cfg(feature = "cluster")]
        {
            let mut other_places = contradicted.clone();
            if self.in_memory {
                other_places.push(("in_memory", ""));
            }
            if self.node.is_node(&other_places, settings, mistakes) {
                return Place::Etcd;
            }
        }
        if self.durability != Durability::Monotonic {
            contradicted.push(("durability", " exact"));
        }
        let in_memory = self.in_memory
            && settings.decide("in_memory", "stores nothing", &contradicted, mistakes);
        match in_memory {
            true => Place::Memory,
            false => Place::DataDir,
        }
    }

    fn config(&self, data_dir: Option<PathBuf>, tls: Option<TlsConfig>) -> Config {
        Config {
            tcp: self.tcp.0,
            udp: self.udp.0,
            tls,
            shards: self.shards.unwrap_or_else(Config::default_shards),
            pin: self.pin,
            steering: self.steering,
            data_dir,
            durability: self.durability,
            checkpoint_log: self.checkpoint_log,
            max_topics: self.max_topics,
            max_topic_len: self.max_topic_len,
            max_connections: self.max_connections,
            connection_limits: self.limits.limits(),
            ..Config::default()
        }
    }

    /// Returns the addresses on which the server will listen, each with its scheme: those of the sockets
    /// that systemd passed, else those of the settings.
    fn listeners(
        &self,
        config: &Config,
        passed: &PassedAddresses,
    ) -> Vec<(&'static str, SocketAddr)> {
        let admin = self.admin.unwrap_or(Listen(Some(DEFAULT_ADMIN))).0;
        let transports = [
            ("tcp", &passed.tcp, config.tcp),
            ("udp", &passed.udp, config.udp),
            (
                "tls",
                &passed.tls,
                config.tls.as_ref().map(|tls| tls.address),
            ),
            (self.tls.admin_scheme(), &passed.admin, admin),
        ];
        let of_each = transports.into_iter().flat_map(|(scheme, passed, own)| {
            let own = own.filter(|_| passed.is_empty());
            let addresses = passed.iter().copied().chain(own);
            addresses.map(move |address| (scheme, address))
        });
        of_each.collect()
    }

    /// Starts the admin port on the listener that systemd passed, or on its address, unless it is off. If
    /// no address was given, and another process listens on the default one, the server goes on
    /// without.
    fn start_admin(
        &self,
        passed: Option<TcpListener>,
        protection: Protection,
    ) -> Result<Option<Admin>> {
        if let Some(listener) = passed {
            let admin = Admin::start_on(listener, protection);
            return Ok(Some(admin.context(
                "cannot serve the admin port on the socket that systemd passed",
            )?));
        }
        let Listen(address) = self.admin.unwrap_or(Listen(Some(DEFAULT_ADMIN)));
        let Some(address) = address else {
            return Ok(None);
        };
        match Admin::start(address, protection) {
            Ok(admin) => Ok(Some(admin)),
            Err(error) if self.admin.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
                warn!(
                    %address,
                    "no admin port: another process listens on this address (choose one by --admin)"
                );
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot listen on {address} for the admin port"))
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT, or only checks the settings.
///
/// # Errors
///
/// The settings are wrong, or the server cannot start, or fails while it runs.
pub(super) fn run(
    command_line: CommandLine,
    arguments: &Arguments,
    mut settings: Settings,
) -> Result<()> {
    let passed = Passed::take()?;
    let addresses = passed.addresses();
    let Resolved {
        mut config,
        policy,
        admin_tls,
    } = arguments.resolve(&mut settings, &addresses)?;
    if arguments.check {
        return check(&settings).context("cannot write to standard output");
    }
    let log = arguments.log.start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    // Before the topics are loaded, which may take a while: the signal must not end the process then.
    let mut hangup = {
        let _runtime = runtime.enter();
        signal(SignalKind::hangup()).context("cannot catch SIGHUP")?
    };
    if let Some(tokens) = &arguments.access.tokens {
        warn_of_readers(tokens, "the tokens file"); // passwords can be guessed from their digests
    }
    if policy.is_some() || config.tls.is_some() || admin_tls.is_some() {
        forbid_core_files();
    }
    let guard = policy.map(|policy| Arc::new(Guard::new(policy)));
    config.access = guard.clone();
    // For the same reason: until the server has loaded, the admin port says so.
    let admin_tls = admin_tls.map(Tls::load).transpose()?;
    let protection = Protection {
        guard: guard.clone(),
        tls: admin_tls.clone(),
    };
    let admin = arguments.start_admin(passed.admin, protection)?;
    raise_descriptor_limit(&config);
    let shards = config.shards.count();
    let stored = config
        .data_dir
        .clone()
        .map(|directory| (directory, config.durability));
    systemd::loading();
    let mut server = Server::bind_inherited(config, passed.inherited)?;
    if let (Some((directory, durability)), Some(loaded)) = (stored, server.loaded()) {
        log_loaded(&directory, durability, loaded);
        warn_of_readers(&directory, "the data directory");
    }
    if let Some(admin) = &admin {
        admin.watch(server.monitor());
    }
    let limits = server.limits();
    let tokens = arguments.access.tokens.clone();
    let mut reload = Reload::new(settings, log, tokens, move || {
        read_again(&command_line, &addresses)
    });
    runtime.block_on(async {
        // Before the ready line is printed: its reader may send a signal at once.
        let stop = signals::stop()?;
        let mut certificates = Certificates::new(server.tls().into_iter().chain(admin_tls));
        announce(&server, shards, admin.as_ref())?;
        let watchdog = systemd::watchdog();
        let pulse = server.pulse(systemd::beat_period(watchdog));
        let attend = systemd::attend(pulse, server.monitor(), watchdog, status(&server, shards));
        let shutdown = async move {
            let mut stop = pin!(stop);
            let name = loop {
                tokio::select! {
                    name = &mut stop => break name,
                    () = certificates.changed() => certificates.reload(),
                    _ = hangup.recv() => {
                        certificates.reload();
                        reload.run(|config, policy| {
                            raise_descriptor_limit(config);
                            limits.set_max_connections(config.max_connections);
                            limits.set_max_topics(config.max_topics);
                            rates::apply(&limits, config);
                            access::replace_policy(guard.as_deref(), policy);
                        });
                    }
                }
            };
            info!(
                signal = name,
                "shutting down: finishing requests already received"
            );
            systemd::stopping();
        };
        tokio::select! {
            result = server.serve(shutdown) => result?,
            never = attend => match never {},
        }
        info!("shut down");
        Ok(())
    })
}

/// Prints the settings, with their sources, as a configuration file.
fn check(settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    settings.print(&mut out)?;
    if log::is_chosen_by_variable() {
        writeln!(out, "# RUST_LOG is set: it is used instead of log_level")?;
    }
    out.flush()
}

/// Reads the settings again; the flags and the environment are those of the start.
fn read_again(command_line: &CommandLine, passed: &PassedAddresses) -> Result<Wanted> {
    let mut parsed = command_line.parse()?;
    let matches = parsed.matches.subcommand_matches("serve");
    let matches = matches.context("the command line is not that of a server")?;
    let arguments = Arguments::from_arg_matches(matches)?;
    let Resolved { config, policy, .. } = arguments.resolve(&mut parsed.settings, passed)?;
    Ok(Wanted {
        config,
        policy,
        level: arguments.log.level(),
        settings: parsed.settings,
    })
}

/// Logs what the server loaded, and how many numbers may be skipped after a crash.
fn log_loaded(directory: &Path, durability: Durability, loaded: Loaded) {
    let Loaded {
        topics,
        last_end,
        skipped_topics,
        skipped_numbers,
        took,
    } = loaded;
    let directory = directory.display();
    match last_end {
        LastEnd::New => info!(%directory, %durability, "storing topics in a new data directory"),
        LastEnd::Clean => info!(
            %directory, %durability, topics, ?took,
            "loaded the data directory; the last server shut down cleanly, so every sum is exact"
        ),
        LastEnd::Crash => warn!(
            %directory, %durability, topics, ?took, skipped_topics, skipped_numbers,
            "loaded the data directory; the last server did not shut down cleanly, so some topics may \
             skip numbers (at most skipped_numbers in all)"
        ),
    }
}

/// Returns a line for `systemctl status`.
fn status(server: &Server, shards: u16) -> String {
    let tcp = server.tcp_addr().map(|address| format!("tcp://{address}"));
    let udp = server.udp_addr().map(|address| format!("udp://{address}"));
    let tls = server.tls_addr().map(|address| format!("tls://{address}"));
    let addresses: Vec<String> = tcp.into_iter().chain(udp).chain(tls).collect();
    let plural = if shards == 1 { "" } else { "s" };
    format!(
        "serving {} with {shards} shard{plural}",
        addresses.join(" and ")
    )
}

/// Prints one line per listener, for people and for scripts that wait until the server is ready.
fn announce(server: &Server, shards: u16, admin: Option<&Admin>) -> Result<()> {
    let mut out = io::stdout().lock();
    let addresses = [
        ("tcp", server.tcp_addr()),
        ("udp", server.udp_addr()),
        ("tls", server.tls_addr()),
    ];
    for (transport, address) in addresses {
        if let Some(address) = address {
            let plural = if shards == 1 { "" } else { "s" };
            writeln!(
                out,
                "serving {transport}://{address} with {shards} shard{plural}"
            )
            .context("cannot write to standard output")?;
        }
    }
    if let Some(admin) = admin {
        writeln!(out, "admin {}", admin.url()).context("cannot write to standard output")?;
    }
    out.flush().context("cannot write to standard output")
}

/// Makes the system write no core file of this process: its memory has secrets, and a core file would
/// outlive it.
fn forbid_core_files() {
    if setrlimit(Resource::RLIMIT_CORE, 0, 0).is_err() {
        warn!("cannot forbid core files, which would contain keys and tokens");
    }
}

/// Raises the file descriptor limit to what `max_connections` needs, or as far as the system
/// allows.
fn raise_descriptor_limit(config: &Config) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = config.descriptors().min(hard);
    if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        warn!(soft, wanted, "cannot raise the file descriptor limit");
    }
}
