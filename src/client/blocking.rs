//! The client for programs without a runtime: [`Client`] is the asynchronous client with a runtime
//! of its own, which runs only during calls. Do not call it from asynchronous code: tokio panics
//! there, because the call would block a thread that other tasks need.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::error::{Failure, Kind};
use super::{Error, Options};

/// A blocking client of a globalcounter server. Threads can share it or clone it.
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
/// A UDP client (see [what a retry can do to the
/// count](crate::client#what-a-retry-can-do-to-the-count)):
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
    // Fields drop in order: the client must go before the runtime that runs its task.
    client: super::Client,
    runtime: Arc<Runtime>,
}

impl Client {
    /// The same as [`client::Client::connect`](super::Client::connect).
    ///
    /// # Errors
    ///
    /// The same as there, and if the system cannot create a runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, Options::default())
    }

    /// The same as [`connect`](Self::connect), with options.
    ///
    /// # Errors
    ///
    /// The same as those of [`connect`](Self::connect).
    pub fn connect_with(url: &str, options: Options) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                let kind = Kind::Unreachable(Arc::new(error));
                Failure::not_applied(kind).into_error(format!("connecting to {url:?}"))
            })?;
        Ok(Self {
            client: runtime.block_on(super::Client::connect_with(url, options))?,
            runtime: Arc::new(runtime),
        })
    }

    /// The same as [`client::Client::count`](super::Client::count).
    ///
    /// # Errors
    ///
    /// [`Error`] if the request failed; the same holds for every method.
    pub fn count(&self, topic: &str) -> Result<u64, Error> {
        self.runtime.block_on(self.client.count(topic))
    }

    /// The same as [`client::Client::add`](super::Client::add).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn add(&self, topic: &str, n: u32) -> Result<RangeInclusive<u64>, Error> {
        self.runtime.block_on(self.client.add(topic, n))
    }

    /// The same as [`client::Client::get`](super::Client::get).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn get(&self, topic: &str) -> Result<u64, Error> {
        self.runtime.block_on(self.client.get(topic))
    }

    /// The same as [`client::Client::reset`](super::Client::reset).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn reset(&self, topic: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.reset(topic))
    }

    /// The same as [`client::Client::delete`](super::Client::delete).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn delete(&self, topic: &str) -> Result<bool, Error> {
        self.runtime.block_on(self.client.delete(topic))
    }

    /// The same as [`client::Client::advance`](super::Client::advance).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn advance(&self, topic: &str, floor: u64) -> Result<u64, Error> {
        self.runtime.block_on(self.client.advance(topic, floor))
    }

    /// The same as [`client::Client::ping`](super::Client::ping).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn ping(&self) -> Result<(), Error> {
        self.runtime.block_on(self.client.ping())
    }

    /// Runs `f`, then counts; returns the sum and the output of `f`. `f` has completed before the
    /// sum is taken, so every later count of this topic comes after `f`.
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
    /// [`Error`] if the count failed. `f` has run by then, and its output is dropped.
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
