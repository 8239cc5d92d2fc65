//! The client for programs without a runtime: [`Client`] is the asynchronous one with a runtime of
//! its own, which runs while a call waits. It must not be called from asynchronous code: tokio
//! panics there rather than block a thread that others need.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::error::{Failure, Kind};
use super::{Error, Options};

/// A blocking client of a globalcounter server. Threads can share it, or clone it.
///
/// A TCP client:
///
/// ```
/// # use globalcounter::server::{Config, Server};
/// # let config = Config { tcp: Some(([127, 0, 0, 1], 0).into()), udp: None, ..Config::default() };
/// # let server = Server::bind(config)?;
/// # let url = format!("tcp://{}", server.tcp_addr().unwrap());
/// # let stop = server.stop_handle();
/// # let serving = std::thread::spawn(|| server.run());
/// use globalcounter::blocking::Client;
///
/// let client = Client::connect(&url)?; // "tcp://127.0.0.1:9999"
/// assert_eq!(client.count("visits")?, 1);
/// assert_eq!(client.add("visits", 10)?, 2..=11);
/// assert_eq!(client.get("visits")?, 11);
/// # stop.stop();
/// # serving.join().unwrap()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A UDP client; [what a retry can do to the count](crate::client#what-a-retry-can-do-to-the-count):
///
/// ```
/// # use globalcounter::server::{Config, Server};
/// # let config = Config { udp: Some(([127, 0, 0, 1], 0).into()), tcp: None, ..Config::default() };
/// # let server = Server::bind(config)?;
/// # let url = format!("udp://{}", server.udp_addr().unwrap());
/// # let stop = server.stop_handle();
/// # let serving = std::thread::spawn(|| server.run());
/// use globalcounter::blocking::Client;
///
/// let client = Client::connect(&url)?; // "udp://127.0.0.1:9999"
/// assert_eq!(client.count("visits")?, 1);
/// # stop.stop();
/// # serving.join().unwrap()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    // Dropped before the runtime that its task lives on.
    client: super::Client,
    runtime: Arc<Runtime>,
}

impl Client {
    /// As [`client::Client::connect`](super::Client::connect).
    ///
    /// # Errors
    ///
    /// As there, and where the system has no resources for a runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, Options::default())
    }

    /// [`connect`](Self::connect) with options.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_with(url: &str, options: Options) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                let kind = Kind::Unreachable(Arc::new(error));
                Failure::not_applied(kind).of(format!("connecting to {url:?}"))
            })?;
        Ok(Self {
            client: runtime.block_on(super::Client::connect_with(url, options))?,
            runtime: Arc::new(runtime),
        })
    }

    /// As [`client::Client::count`](super::Client::count).
    ///
    /// # Errors
    ///
    /// [`Error`]; the same for every method.
    pub fn count(&self, topic: &str) -> Result<u64, Error> {
        self.runtime.block_on(self.client.count(topic))
    }

    /// As [`client::Client::add`](super::Client::add).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn add(&self, topic: &str, n: u32) -> Result<RangeInclusive<u64>, Error> {
        self.runtime.block_on(self.client.add(topic, n))
    }

    /// As [`client::Client::get`](super::Client::get).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn get(&self, topic: &str) -> Result<u64, Error> {
        self.runtime.block_on(self.client.get(topic))
    }

    /// As [`client::Client::reset`](super::Client::reset).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn reset(&self, topic: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.reset(topic))
    }

    /// As [`client::Client::delete`](super::Client::delete).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn delete(&self, topic: &str) -> Result<bool, Error> {
        self.runtime.block_on(self.client.delete(topic))
    }

    /// As [`client::Client::advance`](super::Client::advance).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn advance(&self, topic: &str, floor: u64) -> Result<u64, Error> {
        self.runtime.block_on(self.client.advance(topic, floor))
    }

    /// As [`client::Client::ping`](super::Client::ping).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn ping(&self) -> Result<(), Error> {
        self.runtime.block_on(self.client.ping())
    }

    /// Runs `f`, then counts: returns the sum with what `f` came to. Whoever sees the sum knows
    /// that `f` was done by then.
    ///
    /// ```
    /// # use globalcounter::server::{Config, Server};
    /// # let config = Config { tcp: Some(([127, 0, 0, 1], 0).into()), udp: None, ..Config::default() };
    /// # let server = Server::bind(config)?;
    /// # let url = format!("tcp://{}", server.tcp_addr().unwrap());
    /// # let stop = server.stop_handle();
    /// # let serving = std::thread::spawn(|| server.run());
    /// # let client = globalcounter::blocking::Client::connect(&url)?;
    /// let (at, length) = client.timestamp("orders", || "order 66".len())?;
    /// assert_eq!((at, length), (1, 8));
    /// # stop.stop();
    /// # serving.join().unwrap()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`] of the count; `f` was run, and what it came to is dropped.
    pub fn timestamp<T>(&self, topic: &str, f: impl FnOnce() -> T) -> Result<(u64, T), Error> {
        let result = f();
        Ok((self.count(topic)?, result))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking::{:?}", self.client)
    }
}
