//! How a connection is made: dialled, and moved to a shard's worker by HELLO.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::owners::Owners;
use crate::client::error::{Failure, Kind, not_a_server};
use crate::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use crate::protocol::{ErrorCode, Reply};
use crate::topic::ShardId;

/// The id of a connection's HELLO, before any call's.
const HELLO_ID: RequestId = RequestId(0);

/// How a connection is made.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) host: String,
    pub(super) limit: Duration,
    /// The shard that it is for, and who is told what the server says of its shards.
    pub(super) shard: Option<(ShardId, Owners)>,
}

impl Dial {
    pub(super) async fn open(&self) -> Result<TcpStream, Failure> {
        within(self.limit, async {
            let mut stream = connected(&self.host).await?;
            if let Some((shard, owners)) = &self.shard {
                owners.learn(hello(&mut stream, Some(*shard)).await?);
            }
            Ok(stream)
        })
        .await
    }
}

/// What the server at `host` says of itself.
pub(super) async fn ask_hello(host: &str, limit: Duration) -> Result<HelloReply, Failure> {
    within(limit, async {
        let mut stream = connected(host).await?;
        hello(&mut stream, None).await
    })
    .await
}

/// What comes of `connecting`, if it does not take too long.
async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = Result<T, Kind>>,
) -> Result<T, Failure> {
    let too_late = || {
        let why = format!("no connection within {limit:?}");
        unreachable(io::Error::new(io::ErrorKind::TimedOut, why))
    };
    let connected = timeout(limit, connecting).await;
    let connected = connected.unwrap_or_else(|_| Err(too_late()));
    connected.map_err(Failure::not_applied)
}

fn unreachable(error: io::Error) -> Kind {
    Kind::Unreachable(Arc::new(error))
}

async fn connected(host: &str) -> Result<TcpStream, Kind> {
    let stream = TcpStream::connect(host).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

/// Says HELLO on a new connection, and moves it to the worker of the shard. A server that has no such
/// shard, since it has come back with fewer, serves it as any other.
async fn hello(stream: &mut TcpStream, shard: Option<ShardId>) -> Result<HelloReply, Kind> {
    match exchange_hello(stream, shard).await {
        Err(Kind::Refused(ErrorCode::BadFrame)) if shard.is_some() => {
            exchange_hello(stream, None).await
        }
        other => other,
    }
}

/// One HELLO and its reply, with nothing else in flight.
async fn exchange_hello(
    stream: &mut TcpStream,
    shard: Option<ShardId>,
) -> Result<HelloReply, Kind> {
    let mut request = Vec::new();
    let call = Call::Hello(Hello { shard, token: b"" });
    framed::encode_request(HELLO_ID, &call, &mut request);
    stream.write_all(&request).await.map_err(unreachable)?;
    let mut input = Vec::new();
    loop {
        if let Some(frame) = framed::decode_reply(&input).map_err(not_a_server)? {
            return told(frame.id, &frame.answer);
        }
        if stream.read_buf(&mut input).await.map_err(unreachable)? == 0 {
            return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn told(id: RequestId, answer: &Answer<'_>) -> Result<HelloReply, Kind> {
    match *answer {
        Answer::Hello(hello) if id == HELLO_ID && hello.shards > 0 => Ok(hello),
        Answer::Reply(Reply::Error(code)) if id == HELLO_ID => Err(Kind::Refused(code)),
        ref other => {
            let why = format!("it answered HELLO with {other:?}");
            Err(Kind::NotAServer(why))
        }
    }
}
