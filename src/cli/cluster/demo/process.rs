//! A process of the demo. Its lines are printed behind its name.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// How long a process may take to end after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a process is looked at: whether it is ready, and whether it has ended.
pub(super) const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// A process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    ended: bool,
}

impl Process {
    /// Starts a process. Each line that it prints is also passed to `line`, by one of two threads.
    ///
    /// It gets a process group of its own, so that Ctrl-C reaches the demo alone, which stops its
    /// processes one after the other.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        line: impl Fn(&str) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let out = child.stdout.take();
        let errors = child.stderr.take();
        let mut process = Self {
            child,
            ended: false,
        };
        let streams = [
            out.map(|out| Box::new(out) as Box<dyn Read + Send>),
            errors.map(|errors| Box::new(errors) as Box<dyn Read + Send>),
        ];
        for stream in streams.into_iter().flatten() {
            let line = line.clone();
            let printing = move || print_lines(name, stream, line);
            let spawned = std::thread::Builder::new().spawn(printing);
            if let Err(error) = spawned {
                process.kill();
                return Err(error);
            }
        }
        Ok(process)
    }

    /// Returns its number, for `kill`.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the process ended, once after it has.
    pub(super) fn has_just_ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended {
            return Ok(None);
        }
        let status = self.child.try_wait();
        let status = status.context("cannot find out whether a process runs")?;
        self.ended = status.is_some();
        Ok(status)
    }

    /// Returns whether [`has_just_ended`](Self::has_just_ended) has found that it ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Asks it to end.
    pub(super) fn terminate(&mut self) {
        // Its number is that of no other process until it has been waited for.
        if matches!(self.has_just_ended(), Ok(None)) && !self.ended {
            let _ = kill(Pid::from_raw(self.id() as i32), Signal::SIGTERM);
        }
    }

    /// Waits until it has ended, and kills it if that takes too long.
    pub(super) async fn wait(&mut self) {
        let end = Instant::now() + STOP_TIMEOUT;
        while !self.ended && Instant::now() < end {
            match self.has_just_ended() {
                Ok(None) => sleep(LOOK_PERIOD).await,
                Ok(Some(_)) | Err(_) => return,
            }
        }
        self.kill();
    }

    fn kill(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Prints each line of a stream behind a name until it ends.
fn print_lines(name: &str, stream: impl Read, line: impl Fn(&str)) {
    for bytes in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(&bytes);
        // If nobody reads what the demo prints, its processes go on.
        let _ = writeln!(io::stdout().lock(), "{name:<4} | {text}");
        line(&text);
    }
}
