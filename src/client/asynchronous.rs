//! The client for asynchronous programs: its methods, each one request over the transport of the
//! URL, and the check of each response.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::address::{Address, Scheme};
use super::cluster::Cluster;
use super::error::{Error, Failure, Kind};
use super::options::{Options, Secret};
use super::outcome::{Outcome, Response};
use super::tcp::{Endpoint, Sharded, Tcp};
use super::udp::Udp;
use crate::protocol::framed::Call;
use crate::protocol::{Op, Reply, Request};
use crate::topic::{TOPIC_LEN_LIMIT, Topic};

/// The most characters of a topic that an error message shows; a longer topic is cut.
const MAX_TOPIC_SHOWN: usize = 60;

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
/// A UDP client with more attempts than the default:
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
    transport: Transport,
}

enum Transport {
    Tcp(Tcp),
    Sharded(Sharded),
    Cluster(Cluster),
    Udp(Udp),
}

/// The longest token, in bytes: what a server checks.
const MAX_TOKEN: usize = 1024;

impl Client {
    /// Returns a client of the server at `url`: `tcp://host:port`, `tls://host:port` (feature `tls`;
    /// it needs [`Options::tls`]) or `udp://host:port`.
    ///
    /// Several hosts, as in `tcp://a:9999,b:9999`, are nodes of one cluster: see [the
    /// module](crate::client#a-cluster).
    ///
    /// Over TCP, it connects at once; over UDP, it sends nothing before the first call. It must be
    /// called inside a tokio runtime, which then runs the client's task.
    ///
    /// # Errors
    ///
    /// The URL is not valid, the host has no address, or the connection failed. With several hosts: none of
    /// them is a node of a cluster that answers.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, Options::default()).await
    }

    /// The same as [`connect`](Self::connect), with options.
    ///
    /// # Errors
    ///
    /// The same as those of [`connect`](Self::connect).
    pub async fn connect_with(url: &str, options: Options) -> Result<Self, Error> {
        let failed = |failure: Failure| failure.into_error(format!("connecting to {url:?}"));
        let address: Address = url
            .parse()
            .map_err(|why| failed(Failure::not_applied(Kind::Invalid(why))))?;
        if let Some(token) = &options.token {
            check_token(token, &address)
                .map_err(|why| failed(Failure::not_applied(Kind::Invalid(why.to_owned()))))?;
        }
        let transport = match (address.scheme, &address.hosts[..]) {
            (Scheme::Udp, hosts) => Udp::connect(&hosts[0], options).await.map(Transport::Udp),
            (scheme, [host]) => {
                let endpoint = Endpoint::new(scheme, host, &options).map_err(failed)?;
                if options.shard_aware {
                    let connected = Sharded::connect(&endpoint, &options).await;
                    connected.map(Transport::Sharded)
                } else {
                    Tcp::connect(endpoint, options).await.map(Transport::Tcp)
                }
            }
            (scheme, hosts) => Cluster::connect(scheme, hosts, options)
                .await
                .map(Transport::Cluster),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                transport: transport.map_err(failed)?,
                address,
            }),
        })
    }

    /// Adds one to the topic's sum and returns the new sum.
    ///
    /// It is greater than every sum of this topic whose reply had arrived at any client before this
    /// call began.
    ///
    /// # Errors
    ///
    /// [`Error`] if the request failed; the same holds for every method.
    pub async fn count(&self, topic: &str) -> Result<u64, Error> {
        match self.request("count", Op::Count, topic).await? {
            Reply::Count(sum) => Ok(sum),
            other => Err(self.wrong_reply("count", topic, other)),
        }
    }

    /// Adds `n` to the topic's sum and returns the range of the `n` numbers that the caller now
    /// owns.
    ///
    /// # Errors
    ///
    /// [`Error`]; an `n` of 0 is invalid.
    pub async fn add(&self, topic: &str, n: u32) -> Result<RangeInclusive<u64>, Error> {
        let Some(amount) = NonZeroU32::new(n) else {
            let kind = Kind::Invalid("the number to add must be at least 1".into());
            return Err(self.error("add", topic, Failure::not_applied(kind)));
        };
        match self.request("add", Op::Add(amount), topic).await? {
            Reply::Add(last) if last >= u64::from(n) => Ok(last - u64::from(n) + 1..=last),
            other => Err(self.wrong_reply("add", topic, other)),
        }
    }

    /// Returns the topic's sum without counting; 0 if the topic does not exist.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn get(&self, topic: &str) -> Result<u64, Error> {
        match self.request("get", Op::Get, topic).await? {
            Reply::Get(sum) => Ok(sum.unwrap_or(0)),
            other => Err(self.wrong_reply("get", topic, other)),
        }
    }

    /// Sets the topic's sum to 0, so that the next count returns 1.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn reset(&self, topic: &str) -> Result<(), Error> {
        match self.request("reset", Op::Reset, topic).await? {
            Reply::Reset => Ok(()),
            other => Err(self.wrong_reply("reset", topic, other)),
        }
    }

    /// Deletes the topic and returns whether it existed.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn delete(&self, topic: &str) -> Result<bool, Error> {
        match self.request("delete", Op::Delete, topic).await? {
            Reply::Delete { existed } => Ok(existed),
            other => Err(self.wrong_reply("delete", topic, other)),
        }
    }

    /// Raises the topic's sum to at least `floor` and returns the sum; never lowers it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn advance(&self, topic: &str, floor: u64) -> Result<u64, Error> {
        match self.request("advance", Op::Advance(floor), topic).await? {
            Reply::Advance(sum) => Ok(sum),
            other => Err(self.wrong_reply("advance", topic, other)),
        }
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn ping(&self) -> Result<(), Error> {
        let failed =
            |failure: Failure| failure.into_error(format!("ping to {}", self.inner.address));
        match self.inner.transport.call(&Call::Ping(b"")).await {
            Ok(Response::Pong) => Ok(()),
            Ok(other) => Err(failed(wrong_response(&other))),
            Err(failure) => Err(failed(failure)),
        }
    }

    /// Awaits `f`, then counts; returns the sum and the output of `f`. `f` has completed before the
    /// sum is taken, so every later count of this topic comes after `f`.
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
    /// [`Error`] if the count failed. `f` has run by then, and its output is dropped.
    pub async fn timestamp<T>(
        &self,
        topic: &str,
        f: impl Future<Output = T>,
    ) -> Result<(u64, T), Error> {
        let result = f.await;
        Ok((self.count(topic).await?, result))
    }

    /// Sends one request for a topic and returns its reply. `method` is for the error message.
    async fn request(&self, method: &str, op: Op, topic: &str) -> Result<Reply, Error> {
        let outcome = match Topic::new(topic.as_bytes(), TOPIC_LEN_LIMIT) {
            Ok(topic) => {
                let call = Call::Topic(Request { op, topic });
                self.inner.transport.call(&call).await
            }
            Err(error) => Err(Failure::not_applied(Kind::Invalid(error.to_string()))),
        };
        let failure = match outcome {
            Ok(Response::Reply(reply)) => return Ok(reply),
            Ok(other) => wrong_response(&other),
            Err(failure) => failure,
        };
        Err(self.error(method, topic, failure))
    }

    /// Returns the error for a failed request, with its method, topic and server.
    fn error(&self, method: &str, topic: &str, failure: Failure) -> Error {
        let address = &self.inner.address;
        failure.into_error(match topic.char_indices().nth(MAX_TOPIC_SHOWN) {
            None => format!("{method} {topic:?} at {address}"),
            Some((end, _)) => format!("{method} {:?}… at {address}", &topic[..end]),
        })
    }

    fn wrong_reply(&self, method: &str, topic: &str, reply: Reply) -> Error {
        self.error(method, topic, wrong_response(&reply))
    }
}

/// Returns the failure for a response that does not belong to the request's method.
fn wrong_response(response: &impl fmt::Debug) -> Failure {
    let why = format!("it answered with {response:?}");
    Failure::maybe_applied(Kind::NotAServer(why))
}

impl Transport {
    async fn call(&self, call: &Call<'_>) -> Outcome {
        let outcome = match self {
            Self::Tcp(tcp) => tcp.call(call).await,
            Self::Sharded(sharded) => sharded.call(call).await,
            Self::Cluster(cluster) => cluster.call(call).await,
            Self::Udp(udp) => udp.call(call).await,
        };
        match outcome {
            Ok(Response::Reply(Reply::Error(code))) => Err(Failure::refused(code)),
            outcome => outcome,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.inner.address)
    }
}

/// Checks that a connection to `address` can carry the token.
fn check_token(token: &Secret, address: &Address) -> Result<(), &'static str> {
    match address.scheme {
        Scheme::Udp => Err("a token needs tcp:// or tls://: datagrams carry none"),
        Scheme::Tcp if token.as_bytes().len() > MAX_TOKEN => {
            Err("the token is longer than 1,024 bytes")
        }
        Scheme::Tcp | Scheme::Tls => Ok(()),
    }
}
