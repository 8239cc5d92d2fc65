//! Runs over TLS, and the flags for it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use globalcounter::server::{Config, ServeError, Server, Stop, TlsConfig, TlsFiles};
use globalcounter::topic::Shards;

use crate::support::{load, row};

/// A server that speaks TLS, and its certificate, which is its own authority.
struct TlsServer {
    address: SocketAddr,
    certificate: PathBuf,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TlsServer {
    fn start(name: &str) -> Self {
        let file = |kind| {
            let name = format!("{name}-{}-{kind}.pem", std::process::id());
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
        };
        let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (file("cert"), file("key"));
        fs::write(&certificate, issued.cert.pem()).unwrap();
        fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let files = TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            clients: None,
        };
        let server = Server::bind(Config {
            tcp: None,
            udp: None,
            tls: Some(TlsConfig {
                address: ([127, 0, 0, 1], 0).into(),
                files,
            }),
            shards: Shards::new(2).unwrap(),
            ..Config::default()
        })
        .unwrap();
        fs::remove_file(key).unwrap();
        Self {
            address: server.tls_addr().unwrap(),
            certificate,
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stop.stop();
        let result = self.thread.take().unwrap().join().unwrap();
        let _ = fs::remove_file(&self.certificate);
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

#[test]
fn targets_with_streams_are_measured_over_tls() {
    let server = TlsServer::start("measured");
    let ca = format!("--tls --tls-ca {}", server.certificate.display());
    for (flags, requests) in [
        (
            format!("--target framed {ca} --verify --requests 20000"),
            "20,000 in",
        ),
        (
            format!("--target framed {ca} --shard-aware --requests 20000"),
            "20,000 in",
        ),
        (
            "--target framed --tls --tls-insecure --pipeline 5000 --requests 50000".into(),
            "50,000 in",
        ),
        (
            format!("--target resp {ca} --pipeline 1 --requests 2000"),
            "2,000 in",
        ),
        (
            format!("--target resp {ca} --rate 20000 --requests 2000"),
            "2,000 in",
        ),
    ] {
        let ended = load(server.address, &flags);
        let table = ended.measured();
        assert!(
            row(table, "requests").starts_with(requests),
            "{flags}: {table}"
        );
        assert_eq!(row(table, "errors"), "none");
    }
}

#[test]
fn mistakes_are_named() {
    let (server, other) = (TlsServer::start("right"), TlsServer::start("wrong"));
    let run = |flags: &str| load(server.address, flags);
    run("--tls").refused(2, "--tls-insecure");
    run("--tls --tls-insecure --target udp").refused(2, "not udp");
    run("--tls --tls-ca none.pem").refused(2, "none.pem");
    let wrong = format!("--tls --tls-ca {}", other.certificate.display());
    run(&wrong).refused(1, "certificate");
    // A server without TLS at this address, and a run without TLS.
    run("--requests 10").refused(1, "reply");
}
