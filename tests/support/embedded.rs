//! A server inside the test process.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use globalcounter::server::{Config, Monitor, ServeError, Server, Stop, Tls};
use globalcounter::store::Store;
use globalcounter::topic::Shards;

/// Returns the loopback address with a port that the system chooses.
pub(crate) fn port_0() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 0).into())
}

/// Returns settings for tests: TCP and UDP on free ports.
pub(crate) fn config(shards: usize) -> Config {
    Config {
        tcp: port_0(),
        udp: port_0(),
        shards: Shards::new(shards).unwrap(),
        ..Config::default()
    }
}

/// A running server. Dropping it stops the server and checks that it stopped without an error.
pub(crate) struct Embedded {
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// The address of TLS and its certificates; `None` if it is off.
    pub(crate) tls: Option<(SocketAddr, Tls)>,
    pub(crate) monitor: Monitor,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Embedded {
    pub(crate) fn start(shards: usize) -> Self {
        Self::with(config(shards))
    }

    /// Starts a server on the addresses of an earlier one.
    pub(crate) fn at(tcp: SocketAddr, udp: SocketAddr, shards: usize) -> Self {
        Self::with(Config {
            tcp: Some(tcp),
            udp: Some(udp),
            ..config(shards)
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::run(Server::bind(config).unwrap())
    }

    /// Starts a server that keeps its topics in `store`.
    pub(crate) fn with_store(config: Config, store: Box<dyn Store>) -> Self {
        Self::run(Server::bind_to(config, store).unwrap())
    }

    /// Runs a server that is bound.
    pub(crate) fn run(server: Server) -> Self {
        Self {
            tcp: server.tcp_addr().unwrap(),
            udp: server.udp_addr().unwrap(),
            tls: server.tls_addr().zip(server.tls()),
            monitor: server.monitor(),
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    /// Stops a server from an asynchronous test, whose thread must not block.
    pub(crate) async fn stop(self) {
        tokio::task::spawn_blocking(|| drop(self)).await.unwrap();
    }

    /// Stops a server whose store has failed, and checks that it reports the failure.
    pub(crate) fn stop_with_store_error(self) {
        let result = self.stop_and_join();
        assert!(matches!(result, Err(ServeError::Store(_))), "{result:?}");
    }

    /// Tells the server to stop, and does not wait.
    pub(crate) fn begin_stop(&self) {
        self.stop.stop();
    }

    /// Stops the server and returns how it ended.
    pub(crate) fn stop_and_join(mut self) -> Result<(), ServeError> {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.stop();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let result = thread.join().unwrap();
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}
