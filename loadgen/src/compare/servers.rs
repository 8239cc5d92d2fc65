//! The servers of a comparison: where they are installed, how each is started so that all do the same
//! work, and how they are stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde::Serialize;

use crate::observe::{self, Process};
use crate::target::Transport;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to check whether a server has started, if it does not announce that.
const START_INTERVAL: Duration = Duration::from_millis(10);

/// Memory that memcached may use, in MiB: more than any row needs.
const MEMCACHED_MEMORY: &str = "4096";

/// A server to start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Server {
    /// This project's server, in memory.
    Globalcounter {
        shards: u16,
    },
    /// This project's server, one shard, with a data directory.
    Durable,
    /// `loadgen null`.
    Null {
        gso: bool,
    },
    Redis {
        options: &'static [&'static str],
    },
    Valkey {
        options: &'static [&'static str],
    },
    Memcached {
        threads: u16,
    },
}

impl Server {
    pub(super) const fn globalcounter(shards: u16) -> Self {
        Self::Globalcounter { shards }
    }
}

/// The path of each program.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    #[serde(skip)]
    globalcounter: PathBuf,
    pub(super) redis: Option<Program>,
    pub(super) valkey: Option<Program>,
    pub(super) memcached: Option<Program>,
}

/// An installed program.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Program {
    #[serde(skip)]
    path: PathBuf,
    /// The output of `--version`.
    pub(super) version: String,
}

/// The rivals' programs, which have the same names as their Debian packages.
pub(super) const RIVALS: [&str; 3] = ["redis-server", "valkey-server", "memcached"];

impl Installed {
    /// Looks for all programs; `own` is the path of this project's server, if it was given.
    ///
    /// # Errors
    ///
    /// There is no server of this project.
    pub(super) fn find(own: Option<&Path>) -> Result<Self> {
        let [redis, valkey, memcached] = RIVALS.map(Program::find);
        Ok(Self {
            globalcounter: find_own(own)?,
            redis,
            valkey,
            memcached,
        })
    }

    /// Returns the rivals' names and the programs found.
    pub(super) fn rivals(&self) -> [(&'static str, Option<&Program>); 3] {
        let [redis, valkey, memcached] = RIVALS;
        [
            (redis, self.redis.as_ref()),
            (valkey, self.valkey.as_ref()),
            (memcached, self.memcached.as_ref()),
        ]
    }

    /// Returns a server's name for a table.
    pub(super) fn name(&self, server: &Server) -> String {
        let with = |name: &str, options: &[&str]| {
            let options: Vec<&str> = options.iter().map(|o| o.trim_start_matches("--")).collect();
            [&[name], &options[..]].concat().join(" ")
        };
        match server {
            Server::Globalcounter { shards: 1 } => "globalcounter".to_owned(),
            Server::Globalcounter { shards } => format!("globalcounter, {shards} shards"),
            Server::Durable => "globalcounter, durable".to_owned(),
            Server::Null { gso: false } => "baseline (loadgen null)".to_owned(),
            Server::Null { gso: true } => "baseline (loadgen null --gso)".to_owned(),
            Server::Redis { options } => with("Redis", options),
            Server::Valkey { options } => with("Valkey", options),
            Server::Memcached { threads: 1 } => "memcached".to_owned(),
            Server::Memcached { threads } => format!("memcached, {threads} threads"),
        }
    }

    /// Starts a server on `processor` and waits until it serves.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not start; the error has its own message.
    pub(super) fn start(&self, server: &Server, processor: usize) -> Result<Running> {
        match server {
            Server::Globalcounter { shards } => {
                let mut command = Command::new(&self.globalcounter);
                command.args(["serve", "--in-memory", "--shards", &shards.to_string()]);
                if *shards > 1 {
                    // The workers share a processor here, but stand for workers that do not.
                    command.args(["--steering", "on"]);
                }
                start_announcing(command, Folder::new()?, processor)
            }
            Server::Durable => {
                let folder = Folder::new()?;
                let mut command = Command::new(&self.globalcounter);
                command
                    .args(["serve", "--shards", "1", "--data-dir"])
                    .arg(folder.data());
                start_announcing(command, folder, processor)
            }
            Server::Null { gso } => {
                let own = std::env::current_exe().context("finding this program")?;
                let mut command = Command::new(own);
                command.arg("null").args(gso.then_some("--gso"));
                start_announcing(command, Folder::new()?, processor)
            }
            Server::Redis { options } => start_redis(RIVALS[0], &self.redis, options, processor),
            Server::Valkey { options } => start_redis(RIVALS[1], &self.valkey, options, processor),
            Server::Memcached { threads } => {
                let program = installed(RIVALS[2], &self.memcached)?;
                let port = free_port()?.to_string();
                let mut command = Command::new(&program.path);
                command.args(["-l", "127.0.0.1", "-p", &port, "-U", &port]);
                command.args(["-t", &threads.to_string(), "-m", MEMCACHED_MEMORY]);
                // As root, memcached needs a user name.
                command.args(["-u", "root"]);
                start_listening(command, Folder::new()?, &port, processor)
            }
        }
    }
}

impl Program {
    fn find(name: &str) -> Option<Self> {
        let path = in_path(name)?;
        let output = Command::new(&path).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout);
        Some(Self {
            path,
            version: version.lines().next().unwrap_or_default().to_owned(),
        })
    }
}

fn installed<'a>(name: &str, program: &'a Option<Program>) -> Result<&'a Program> {
    program
        .as_ref()
        .ok_or_else(|| anyhow!("not installed (Debian package: {name})"))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Returns this project's server: the given path, else the one beside this program, else the one in
/// PATH.
fn find_own(given: Option<&Path>) -> Result<PathBuf> {
    const NAME: &str = "globalcounter";
    if let Some(path) = given {
        if !path.is_file() {
            bail!("there is no server at {}", path.display());
        }
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("finding this program")?;
    let beside = own.with_file_name(NAME);
    if beside.is_file() {
        return Ok(beside);
    }
    in_path(NAME).context(
        "no globalcounter beside this program or in PATH: build it with \
         `cargo build --release --workspace`, or name one with --server-bin",
    )
}

/// A server that accepts requests; stopped when dropped.
pub(super) struct Running {
    _started: Started,
    process: Process,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Running {
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Datagrams { .. } => self.udp,
            Transport::Stream | Transport::OneShot => self.tcp,
        }
    }
}

/// A folder for a server's data and its standard error; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let name = format!("loadgen-{}-{}", std::process::id(), free_port()?);
        let path = std::env::temp_dir().join(name);
        let data = path.join("data");
        let folder = Self(path);
        std::fs::create_dir_all(&data).with_context(|| format!("creating {}", data.display()))?;
        Ok(folder)
    }

    /// Returns the server's data directory.
    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Returns the file for its standard error. A pipe that nobody reads would block it when full.
    fn errors(&self) -> PathBuf {
        self.0.join("errors")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns an unused port. Another process may take it before it is used; then the start fails.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A process that was started, ready or not; stopped when dropped.
struct Started {
    child: Child,
    folder: Folder,
}

/// Every running process with its folder: a signal has to stop the one and remove the other.
static RUNNING: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());

/// Makes SIGINT, SIGTERM and SIGHUP stop all servers and remove their files before the program ends.
///
/// # Errors
///
/// The signal handler cannot be installed.
pub(super) fn stop_all_on_signals() -> Result<()> {
    /// The exit code that shells use for SIGINT: 128 plus the signal's number.
    const INTERRUPTED: i32 = 130;
    let stop_all = || {
        let running = RUNNING.lock();
        for (&id, folder) in running.iter() {
            let _ = kill(Pid::from_raw(id as i32), Signal::SIGKILL);
            let _ = std::fs::remove_dir_all(folder);
        }
        // `RUNNING` stays locked, so no other server starts.
        std::process::exit(INTERRUPTED);
    };
    ctrlc::set_handler(stop_all).context("handling signals")
}

impl Started {
    /// Starts a process on `processor`: a child inherits the affinity of the thread that starts it.
    fn new(mut command: Command, folder: Folder, processor: usize) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null());
        command.stderr(File::create(folder.errors())?);
        let path = folder.0.clone();
        let starting = std::thread::spawn(move || -> Result<Child> {
            observe::pin(processor)?;
            let mut running = RUNNING.lock();
            let child = command.spawn()?;
            running.insert(child.id(), path);
            Ok(child)
        });
        let started = starting
            .join()
            .map_err(|_| anyhow!("starting it panicked"))?;
        let child = started.with_context(|| format!("starting {name}"))?;
        Ok(Self { child, folder })
    }

    /// Returns the server, which accepts requests at these addresses.
    fn running(self, tcp: SocketAddr, udp: SocketAddr) -> Result<Running> {
        Ok(Running {
            process: Process::with_pid(self.child.id() as i32)?,
            tcp,
            udp,
            _started: self,
        })
    }

    /// Returns the error for a server that ended or did not become ready, with its own message.
    fn did_not_start(self) -> anyhow::Error {
        let output = std::fs::read_to_string(self.folder.errors()).unwrap_or_default();
        let line = output.lines().find(|line| !line.trim().is_empty());
        match line {
            Some(line) => anyhow!("it did not start: {}", line.trim()),
            None => {
                anyhow!("it did not start within {START_TIMEOUT:?}, or ended without a message")
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let mut running = RUNNING.lock();
        // It may have ended by itself. Its process id is not reused before `wait`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        running.remove(&self.child.id());
    }
}

/// Starts a server of this project. It takes free ports and announces each in a line.
fn start_announcing(mut command: Command, folder: Folder, processor: usize) -> Result<Running> {
    command.args(["--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    command.stdout(Stdio::piped());
    let mut started = Started::new(command, folder, processor)?;
    let stdout = started.child.stdout.take().context("no output to read")?;
    let (sender, lines) = mpsc::channel();
    // Ends with the server, or with the first line after the receiver is gone.
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let deadline = Instant::now() + START_TIMEOUT;
    let address = |transport: &str| -> Option<SocketAddr> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).ok()?;
        let (_, rest) = line.split_once(&format!("{transport}://"))?;
        rest.split([' ', ',']).next()?.parse().ok()
    };
    match (address("tcp"), address("udp")) {
        (Some(tcp), Some(udp)) => started.running(tcp, udp),
        _ => Err(started.did_not_start()),
    }
}

fn start_redis(
    name: &str,
    program: &Option<Program>,
    options: &[&str],
    processor: usize,
) -> Result<Running> {
    let program = installed(name, program)?;
    let port = free_port()?.to_string();
    let folder = Folder::new()?;
    let mut command = Command::new(&program.path);
    command.args([
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
    ]);
    command.arg(folder.data()).args(options);
    start_listening(command, folder, &port, processor)
}

/// Starts a server on a given port and waits until it accepts connections.
fn start_listening(
    mut command: Command,
    folder: Folder,
    port: &str,
    processor: usize,
) -> Result<Running> {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse()?;
    command.stdout(Stdio::null());
    let mut started = Started::new(command, folder, processor)?;
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        if started.child.try_wait()?.is_some() || Instant::now() > deadline {
            return Err(started.did_not_start());
        }
        std::thread::sleep(START_INTERVAL);
    }
    started.running(address, address)
}
