//! The servers of a comparison: where they are installed, and with which options each is started so
//! that all do the same work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::launch::{
    Folder, Running, Storage, find_own, free_port, in_path, start_announcing, start_listening,
    start_own,
};

/// Memory that memcached may use, in MiB: more than any row needs.
const MEMCACHED_MEMORY: &str = "4096";

/// A server to start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Server {
    /// This project's server.
    Globalcounter {
        shards: u16,
        storage: Storage,
    },
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

/// Which build of this project's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Build {
    /// The one that is measured.
    This,
    /// The one that it is compared with (`--against`).
    Other,
}

impl Server {
    /// Returns this project's server, in memory.
    pub(super) const fn globalcounter(shards: u16) -> Self {
        Self::stored(shards, Storage::Memory)
    }

    pub(super) const fn stored(shards: u16, storage: Storage) -> Self {
        Self::Globalcounter { shards, storage }
    }

    /// Returns whether it is this project's server, of which there may be two builds.
    pub(super) fn has_builds(&self) -> bool {
        matches!(self, Self::Globalcounter { .. })
    }
}

/// The path of each program.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    #[serde(skip)]
    globalcounter: PathBuf,
    /// Another build of globalcounter, measured in the same rounds.
    #[serde(skip)]
    other_build: Option<PathBuf>,
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
    /// Looks for all programs; `own` and `other_build` are paths of this project's server, if they
    /// were given.
    ///
    /// # Errors
    ///
    /// There is no server of this project, or none at a given path.
    pub(super) fn find(own: Option<&Path>, other_build: Option<&Path>) -> Result<Self> {
        let [redis, valkey, memcached] = RIVALS.map(Program::find);
        Ok(Self {
            globalcounter: find_own(own)?,
            other_build: other_build.map(|path| find_own(Some(path))).transpose()?,
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

    /// Returns the builds of this project's server.
    pub(super) fn builds(&self) -> &'static [Build] {
        match self.other_build {
            None => &[Build::This],
            Some(_) => &[Build::This, Build::Other],
        }
    }

    /// Starts a server on `processors`, with its files in `folder`, and waits until it serves.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not start; the error has its own message.
    pub(super) fn start(
        &self,
        server: &Server,
        build: Build,
        folder: Arc<Folder>,
        processors: &[usize],
    ) -> Result<Running> {
        match server {
            Server::Globalcounter { shards, storage } => {
                let program = match (build, &self.other_build) {
                    (Build::Other, Some(other)) => other,
                    _ => &self.globalcounter,
                };
                let mut flags = vec!["--shards".to_owned(), shards.to_string()];
                if *shards > 1 && processors.len() == 1 {
                    // The workers share a processor here, but stand for workers that do not.
                    flags.extend(["--steering", "on"].map(str::to_owned));
                }
                start_own(program, &flags, *storage, folder, processors)
            }
            Server::Null { gso } => {
                let own = std::env::current_exe().context("finding this program")?;
                let mut command = Command::new(own);
                command.arg("null").args(gso.then_some("--gso"));
                start_announcing(command, folder, processors)
            }
            Server::Redis { options } => {
                let program = installed(RIVALS[0], &self.redis)?;
                start_redis(program, options, folder, processors)
            }
            Server::Valkey { options } => {
                let program = installed(RIVALS[1], &self.valkey)?;
                start_redis(program, options, folder, processors)
            }
            Server::Memcached { threads } => {
                let program = installed(RIVALS[2], &self.memcached)?;
                let port = free_port()?.to_string();
                let mut command = Command::new(&program.path);
                command.args(["-l", "127.0.0.1", "-p", &port, "-U", &port]);
                command.args(["-t", &threads.to_string(), "-m", MEMCACHED_MEMORY]);
                // As root, memcached needs a user name.
                command.args(["-u", "root"]);
                start_listening(command, folder, &port, processors)
            }
        }
    }
}

/// Returns a server's name for a table.
pub(super) fn name(server: &Server, build: Build) -> String {
    let with = |name: &str, options: &[&str]| {
        let options: Vec<&str> = options.iter().map(|o| o.trim_start_matches("--")).collect();
        [&[name], &options[..]].concat().join(" ")
    };
    match server {
        Server::Globalcounter { shards, storage } => {
            let mut name = "globalcounter".to_owned();
            if *shards > 1 {
                name += &format!(", {shards} shards");
            }
            name += match storage {
                Storage::Memory => "",
                Storage::Monotonic => ", monotonic",
                Storage::Exact => ", exact",
            };
            if build == Build::Other {
                name += " (other build)";
            }
            name
        }
        Server::Null { gso: false } => "baseline (loadgen null)".to_owned(),
        Server::Null { gso: true } => "baseline (loadgen null --gso)".to_owned(),
        Server::Redis { options } => with("Redis", options),
        Server::Valkey { options } => with("Valkey", options),
        Server::Memcached { threads: 1 } => "memcached".to_owned(),
        Server::Memcached { threads } => format!("memcached, {threads} threads"),
    }
}

fn start_redis(
    program: &Program,
    options: &[&str],
    folder: Arc<Folder>,
    processors: &[usize],
) -> Result<Running> {
    let port = free_port()?.to_string();
    let mut command = Command::new(&program.path);
    command.args(["--port", &port, "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--dir"]).arg(folder.data());
    command.args(options);
    start_listening(command, folder, &port, processors)
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
