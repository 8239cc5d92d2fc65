//! The processes of servers: their folders, how they are started on given processors, how to know
//! that they serve, and how they are stopped.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use parking_lot::Mutex;

use crate::observe::{self, Process};
use crate::target::Transport;

/// How long a server may take to start. Loading 10 million topics takes seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to end after SIGTERM: it may have millions of topics to write.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to check whether a server has started, if it does not announce that, or has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// A server that accepts requests; killed when dropped.
pub(crate) struct Running {
    started: Started,
    process: Process,
    start_time: Duration,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Running {
    /// Returns the time from the start of the process until it served.
    pub(crate) fn start_time(&self) -> Duration {
        self.start_time
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Datagrams { .. } => self.udp,
            Transport::Stream | Transport::OneShot => self.tcp,
        }
    }

    /// Asks the server to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// It does not end in time, or reports a failure.
    pub(crate) fn stop(mut self) -> Result<()> {
        let child = &mut self.started.child;
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).context("stopping the server")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "the server failed when it was stopped");
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the server did not end within {STOP_TIMEOUT:?}"
            );
            std::thread::sleep(CHECK_INTERVAL);
        }
    }
}

/// A folder for a server's data and its standard error; removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates a folder among the system's temporary files.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let name = format!("loadgen-{}-{}", std::process::id(), free_port()?);
        let path = std::env::temp_dir().join(name);
        let data = path.join("data");
        RUNNING.lock().folders.insert(path.clone());
        let folder = Arc::new(Self(path));
        std::fs::create_dir_all(&data).with_context(|| format!("creating {}", data.display()))?;
        Ok(folder)
    }

    /// Returns the server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Returns the file for its standard error. A pipe that nobody reads would block it when full.
    fn errors(&self) -> PathBuf {
        self.0.join("errors")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut running = RUNNING.lock();
        let _ = std::fs::remove_dir_all(&self.0);
        running.folders.remove(&self.0);
    }
}

/// Returns an unused port. Another process may take it before it is used; then the start fails.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A process that was started, ready or not; stopped when dropped.
struct Started {
    child: Child,
    /// When it was started.
    at: Instant,
    folder: Arc<Folder>,
}

/// What a signal has to stop and to remove.
struct Leftovers {
    processes: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
}

static RUNNING: Mutex<Leftovers> = Mutex::new(Leftovers {
    processes: BTreeSet::new(),
    folders: BTreeSet::new(),
});

/// Makes SIGINT, SIGTERM and SIGHUP stop all servers and remove their files before the program ends.
///
/// # Errors
///
/// The signal handler cannot be installed.
pub(crate) fn stop_all_on_signals() -> Result<()> {
    /// The exit code that shells use for SIGINT: 128 plus the signal's number.
    const INTERRUPTED: i32 = 130;
    let stop_all = || {
        let running = RUNNING.lock();
        for &id in &running.processes {
            let process = Pid::from_raw(id as i32);
            let _ = kill(process, Signal::SIGKILL);
            // Until it has ended, it may still put files into its folder.
            let _ = waitpid(process, None);
        }
        for folder in &running.folders {
            let _ = std::fs::remove_dir_all(folder);
        }
        // `RUNNING` stays locked, so no other server starts.
        std::process::exit(INTERRUPTED);
    };
    ctrlc::set_handler(stop_all).context("handling signals")
}

impl Started {
    /// Starts a process on `processors`: a child inherits the affinity of the thread that starts it.
    fn new(mut command: Command, folder: Arc<Folder>, processors: &[usize]) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null());
        command.stderr(File::create(folder.errors())?);
        let processors = processors.to_vec();
        let starting = std::thread::spawn(move || -> Result<(Child, Instant)> {
            observe::pin_to(&processors)?;
            let mut running = RUNNING.lock();
            let at = Instant::now();
            let child = command.spawn()?;
            running.processes.insert(child.id());
            Ok((child, at))
        });
        let started = starting
            .join()
            .map_err(|_| anyhow!("starting it panicked"))?;
        let (child, at) = started.with_context(|| format!("starting {name}"))?;
        Ok(Self { child, at, folder })
    }

    /// Returns the server, which accepts requests at these addresses.
    fn running(self, tcp: SocketAddr, udp: SocketAddr) -> Result<Running> {
        let start_time = self.at.elapsed();
        Ok(Running {
            process: Process::with_pid(self.child.id() as i32)?,
            start_time,
            tcp,
            udp,
            started: self,
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
        running.processes.remove(&self.child.id());
    }
}

/// Starts a server of this project. It takes free ports and announces each in a line.
pub(crate) fn start_announcing(
    mut command: Command,
    folder: Arc<Folder>,
    processors: &[usize],
) -> Result<Running> {
    command.args(["--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    command.stdout(Stdio::piped());
    let mut started = Started::new(command, folder, processors)?;
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

/// Starts a server on a given port and waits until it accepts connections.
pub(crate) fn start_listening(
    mut command: Command,
    folder: Arc<Folder>,
    port: &str,
    processors: &[usize],
) -> Result<Running> {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse()?;
    command.stdout(Stdio::null());
    let mut started = Started::new(command, folder, processors)?;
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        if started.child.try_wait()?.is_some() || Instant::now() > deadline {
            return Err(started.did_not_start());
        }
        std::thread::sleep(CHECK_INTERVAL);
    }
    started.running(address, address)
}
