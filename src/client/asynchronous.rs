//! The client for asynchronous programs.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::address::{Address, Transport};
use super::error::{Error, Failure, Kind};
use super::options::Options;
use super::outcome::{Answered, Outcome};
use super::tcp::{Sharded, Tcp};
use super::udp::Udp;
use crate::protocol::framed::Call;
use crate::protocol::{Op, Reply, Request};
use crate::topic::{TOPIC_LEN_LIMIT, Topic};

/// The most characters of a topic that an error repeats.
const LONGEST_TOLD: usize = 60;

/// An asynchronous client of a globalcounter server.
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
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use globalcounter::Client;
///
/// let client = Client::connect(&url).await?; // "tcp://127.0.0.1:9999"
/// assert_eq!(client.count("visits").await?, 1);
/// assert_eq!(client.count("visits").await?, 2);
/// # Ok::<_, globalcounter::Error>(())
/// # })?;
/// # stop.stop();
/// # serving.join().unwrap()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A UDP client, here a patient one:
///
/// ```
/// # use globalcounter::server::{Config, Server};
/// # let config = Config { udp: Some(([127, 0, 0, 1], 0).into()), tcp: None, ..Config::default() };
/// # let server = Server::bind(config)?;
/// # let url = format!("udp://{}", server.udp_addr().unwrap());
/// # let stop = server.stop_handle();
/// # let serving = std::thread::spawn(|| server.run());
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use globalcounter::{Client, client::Options};
///
/// let options = Options::default().attempts(10);
/// let client = Client::connect_with(&url, options).await?; // "udp://127.0.0.1:9999"
/// assert_eq!(client.count("visits").await?, 1);
/// # Ok::<_, globalcounter::Error>(())
/// # })?;
/// # stop.stop();
/// # serving.join().unwrap()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    link: Link,
}

enum Link {
    Tcp(Tcp),
    Sharded(Sharded),
    Udp(Udp),
}

impl Client {
    /// A client of the server at `url`: `tcp://host:port` or `udp://host:port`.
    ///
    /// Over TCP it connects now; over UDP nothing is sent before the first call. Must be called on
    /// a tokio runtime, which carries the client's task.
    ///
    /// # Errors
    ///
    /// A URL that is none, a host that has no address, or no connection.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, Options::default()).await
    }

    /// [`connect`](Self::connect) with options.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(url: &str, options: Options) -> Result<Self, Error> {
        let failed = |failure: Failure| failure.of(format!("connecting to {url:?}"));
        let address: Address = url
            .parse()
            .map_err(|why| failed(Failure::not_applied(Kind::Invalid(why))))?;
        let link = match address.transport {
            Transport::Tcp if options.shard_aware => {
                let connected = Sharded::connect(&address.host, &options).await;
                connected.map(Link::Sharded)
            }
            Transport::Tcp => Tcp::connect(&address.host, options).await.map(Link::Tcp),
            Transport::Udp => Udp::connect(&address.host, options).await.map(Link::Udp),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                link: link.map_err(failed)?,
                address,
            }),
        })
    }

    /// Counts: adds one to the topic's sum and returns it.
    ///
    /// The sum is greater than every sum of this topic whose reply had arrived anywhere before this
    /// call began.
    ///
    /// # Errors
    ///
    /// [`Error`]; the same for every method.
    pub async fn count(&self, topic: &str) -> Result<u64, Error> {
        match self.ask("count", Op::Count, topic).await? {
            Reply::Count(sum) => Ok(sum),
            other => Err(self.mismatch("count", topic, other)),
        }
    }

    /// Adds `n` to the topic's sum; returns the `n` numbers that the caller now owns.
    ///
    /// # Errors
    ///
    /// [`Error`]; asking for none is invalid.
    pub async fn add(&self, topic: &str, n: u32) -> Result<RangeInclusive<u64>, Error> {
        let Some(at_least_one) = NonZeroU32::new(n) else {
            let why = Kind::Invalid("at least 1 must be added".into());
            return Err(self.failed("add", topic, Failure::not_applied(why)));
        };
        match self.ask("add", Op::Add(at_least_one), topic).await? {
            Reply::Add(last) if last >= u64::from(n) => Ok(last - u64::from(n) + 1..=last),
            other => Err(self.mismatch("add", topic, other)),
        }
    }

    /// The topic's sum, without counting; 0 where there is no such topic.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn get(&self, topic: &str) -> Result<u64, Error> {
        match self.ask("get", Op::Get, topic).await? {
            Reply::Get(sum) => Ok(sum.unwrap_or(0)),
            other => Err(self.mismatch("get", topic, other)),
        }
    }

    /// Sets the topic's sum to 0: its numbers begin anew.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn reset(&self, topic: &str) -> Result<(), Error> {
        match self.ask("reset", Op::Reset, topic).await? {
            Reply::Reset => Ok(()),
            other => Err(self.mismatch("reset", topic, other)),
        }
    }

    /// Forgets the topic; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn delete(&self, topic: &str) -> Result<bool, Error> {
        match self.ask("delete", Op::Delete, topic).await? {
            Reply::Delete { existed } => Ok(existed),
            other => Err(self.mismatch("delete", topic, other)),
        }
    }

    /// Raises the topic's sum to at least `floor`, and returns it; never lowers it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn advance(&self, topic: &str, floor: u64) -> Result<u64, Error> {
        match self.ask("advance", Op::Advance(floor), topic).await? {
            Reply::Advance(sum) => Ok(sum),
            other => Err(self.mismatch("advance", topic, other)),
        }
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn ping(&self) -> Result<(), Error> {
        let failed = |failure: Failure| failure.of(format!("ping to {}", self.inner.address));
        match self.inner.link.call(&Call::Ping(b"")).await {
            Ok(Answered::Pong) => Ok(()),
            Ok(other) => Err(failed(mismatch(&other))),
            Err(failure) => Err(failed(failure)),
        }
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
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let client = globalcounter::Client::connect(&url).await?;
    /// # async fn write_order() -> &'static str { "order 66" }
    /// let (at, order) = client.timestamp("orders", write_order()).await?;
    /// assert_eq!((at, order), (1, "order 66"));
    /// # Ok::<_, globalcounter::Error>(())
    /// # })?;
    /// # stop.stop();
    /// # serving.join().unwrap()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`] of the count; `f` was run, and what it came to is dropped.
    pub async fn timestamp<T>(
        &self,
        topic: &str,
        f: impl Future<Output = T>,
    ) -> Result<(u64, T), Error> {
        let result = f.await;
        Ok((self.count(topic).await?, result))
    }

    /// One request for a topic.
    async fn ask(&self, method: &str, op: Op, topic: &str) -> Result<Reply, Error> {
        let outcome = match Topic::new(topic.as_bytes(), TOPIC_LEN_LIMIT) {
            Ok(topic) => {
                self.inner
                    .link
                    .call(&Call::Topic(Request { op, topic }))
                    .await
            }
            Err(error) => Err(Failure::not_applied(Kind::Invalid(error.to_string()))),
        };
        let failure = match outcome {
            Ok(Answered::Reply(reply)) => return Ok(reply),
            Ok(other) => mismatch(&other),
            Err(failure) => failure,
        };
        Err(self.failed(method, topic, failure))
    }

    fn failed(&self, method: &str, topic: &str, failure: Failure) -> Error {
        let address = &self.inner.address;
        failure.of(match topic.char_indices().nth(LONGEST_TOLD) {
            None => format!("{method} {topic:?} at {address}"),
            Some((end, _)) => format!("{method} {:?}… at {address}", &topic[..end]),
        })
    }

    fn mismatch(&self, method: &str, topic: &str, reply: Reply) -> Error {
        self.failed(method, topic, mismatch(&reply))
    }
}

/// The server answered something else than it was asked.
fn mismatch(answer: &impl fmt::Debug) -> Failure {
    let why = format!("it answered with {answer:?}");
    Failure::maybe_applied(Kind::NotAServer(why))
}

impl Link {
    async fn call(&self, call: &Call<'_>) -> Outcome {
        let outcome = match self {
            Self::Tcp(tcp) => tcp.call(call).await,
            Self::Sharded(sharded) => sharded.call(call).await,
            Self::Udp(udp) => udp.call(call).await,
        };
        match outcome {
            Ok(Answered::Reply(Reply::Error(code))) => Err(Failure::refused(code)),
            outcome => outcome,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.inner.address)
    }
}
