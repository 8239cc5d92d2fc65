//! A process of etcd.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use globalcounter::etcd::{Client, Location, Settings};

pub(crate) use crate::support::etcd_is_installed as is_installed;
use crate::support::{Directory, etcd_is_healthy, eventually, post_to_etcd};

/// An etcd of one member. Dropping it kills it.
pub(crate) struct Etcd {
    process: Child,
    directory: Directory,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
}

impl Etcd {
    /// Starts etcd; `None` if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// Starts etcd with further arguments. With TLS, it does not wait until etcd serves.
    pub(crate) fn with(arguments: &[&str]) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let directory =
            Directory::new(&format!("etcd-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&directory.0).unwrap();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        // Another process may take a free port first; then etcd ends, and is started with others.
        loop {
            let (client_port, peer_port) = free_ports();
            let process = spawn(&directory.0, client_port, peer_port, &arguments);
            let mut etcd = Self {
                process,
                directory: Directory(directory.0.clone()),
                client_port,
                peer_port,
                arguments: arguments.clone(),
            };
            if etcd.serves() {
                std::mem::forget(directory);
                return Some(etcd);
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.client_port))
    }

    /// Settings for tests that are not about time-outs, on a machine that may be busy.
    pub(crate) fn settings(&self) -> Settings {
        settings(&[self.address()]).request_timeout(Duration::from_secs(20))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings())
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again with the data that it has.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(
            &self.directory.0,
            self.client_port,
            self.peer_port,
            &self.arguments,
        );
        assert!(self.serves(), "etcd does not start again");
    }

    /// Restarts it, and returns a copy of the data that it has.
    pub(crate) fn snapshot(&mut self) -> Directory {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let copy = Directory::new(&format!("etcd-snapshot-{number}"));
        self.kill();
        copy_all(&self.directory.0.join("data"), &copy.0);
        self.start_again();
        copy
    }

    /// Restarts it with the data of a snapshot.
    pub(crate) fn restore(&mut self, snapshot: &Directory) {
        self.kill();
        let data = self.directory.0.join("data");
        std::fs::remove_dir_all(&data).unwrap();
        copy_all(&snapshot.0, &data);
        self.start_again();
    }

    /// Calls etcd's gateway for HTTP, which takes JSON with base64.
    pub(crate) fn post(&self, path: &str, json: &str) {
        let answer = post_to_etcd(self.address(), path, json).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        let (key, value) = (base64(key), base64(value));
        self.post("kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    }

    pub(crate) fn delete(&self, key: &str) {
        self.post("kv/deleterange", &format!(r#"{{"key":"{}"}}"#, base64(key)));
    }

    /// Waits until it serves. Returns false if it ends instead.
    fn serves(&mut self) -> bool {
        let (address, with_tls) = (
            self.address(),
            self.arguments.iter().any(|one| one == "--cert-file"),
        );
        let mut ended = false;
        eventually("etcd serves", || {
            ended = self.process.try_wait().unwrap().is_some();
            let health = match with_tls {
                true => TcpStream::connect(address).is_ok(),
                false => etcd_is_healthy(address),
            };
            ended || health
        });
        !ended
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies a directory with what is in it. etcd wants it to be readable by its user alone.
fn copy_all(from: &Path, to: &Path) {
    let builder = &mut std::fs::DirBuilder::new();
    builder.mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match from.is_dir() {
            true => copy_all(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

/// Settings for these members and the prefix `/test`.
pub(crate) fn settings(members: &[SocketAddr]) -> Settings {
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    let location: Location = format!("etcd://{}/test", members.join(","))
        .parse()
        .unwrap();
    Settings::new(location)
}

fn spawn(directory: &Path, client_port: u16, peer_port: u16, arguments: &[String]) -> Child {
    let scheme = match arguments.iter().any(|argument| argument == "--cert-file") {
        true => "https",
        false => "http",
    };
    let clients = format!("{scheme}://127.0.0.1:{client_port}");
    let peers = format!("http://127.0.0.1:{peer_port}");
    let log = std::fs::File::create(directory.join("log")).unwrap();
    Command::new("etcd")
        .args(["--name", "one", "--unsafe-no-fsync", "--data-dir"])
        .arg(directory.join("data"))
        .args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ])
        .args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ])
        .args(["--initial-cluster", &format!("one={peers}")])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn free_ports() -> (u16, u16) {
    let one = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    (
        one.local_addr().unwrap().port(),
        other.local_addr().unwrap().port(),
    )
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks(3);
    let encoded = groups.flat_map(|group| {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(*group.get(at).unwrap_or(&0))
        });
        (0..4).map(move |at| match at <= group.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        })
    });
    encoded.collect()
}
