//! Opening a connection, and moving it to a shard's worker with HELLO.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::owners::Owners;
use super::stream::Stream;
use crate::client::error::{Failure, Kind, not_a_server};
use crate::client::options::Secret;
use crate::protocol::framed::{self, Answer, Call, Hello, HelloReply, RequestId};
use crate::protocol::{ErrorCode, Reply};
use crate::topic::ShardId;

/// The id of a connection's HELLO, which is sent before any call.
const HELLO_ID: RequestId = RequestId(0);

/// Opens connections to one server.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) endpoint: Endpoint,
    /// How long opening a connection may take: the client's timeout.
    pub(super) limit: Duration,
    /// The shard whose worker is to serve the connections, and where each HELLO reply is stored.
    pub(super) shard: Option<(ShardId, Owners)>,
    /// What each connection is authenticated with.
    pub(super) token: Option<Secret>,
}

impl Connector {
    /// Opens a connection, ready for calls.
    pub(super) async fn connect(&self) -> Result<Stream, Failure> {
        within(self.limit, async {
            let mut stream = self.endpoint.open().await.map_err(unreachable)?;
            let token = self.token.as_ref();
            if let Some((shard, owners)) = &self.shard {
                owners.update(hello(&mut stream, Some(*shard), token).await?);
            } else if token.is_some() {
                hello(&mut stream, None, token).await?;
            }
            Ok(stream)
        })
        .await
    }
}

/// Opens a connection to `endpoint`, sends HELLO and returns the reply.
pub(super) async fn ask_hello(
    endpoint: &Endpoint,
    limit: Duration,
    token: Option<&Secret>,
) -> Result<HelloReply, Failure> {
    within(limit, async {
        let mut stream = endpoint.open().await.map_err(unreachable)?;
        hello(&mut stream, None, token).await
    })
    .await
}

/// Runs `connecting`; fails if it takes longer than `limit`.
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

/// Sends HELLO on a new connection, which moves it to the worker of `shard`. If the server has no
/// such shard, because it restarted with fewer, it serves the connection like any other.
async fn hello(
    stream: &mut Stream,
    shard: Option<ShardId>,
    token: Option<&Secret>,
) -> Result<HelloReply, Kind> {
    match exchange_hello(stream, shard, token).await {
        Err(Kind::Refused(ErrorCode::BadFrame)) if shard.is_some() => {
            exchange_hello(stream, None, token).await
        }
        other => other,
    }
}

/// Sends one HELLO and reads its reply, with nothing else in flight.
async fn exchange_hello(
    stream: &mut Stream,
    shard: Option<ShardId>,
    token: Option<&Secret>,
) -> Result<HelloReply, Kind> {
    let mut request = Vec::new();
    let token = token.map_or(&b""[..], Secret::as_bytes);
    let call = Call::Hello(Hello {
        shard,
        node: false,
        token,
    });
    framed::encode_request(HELLO_ID, &call, &mut request);
    stream.write_all(&request).await.map_err(unreachable)?;
    stream.flush().await.map_err(unreachable)?;
    let mut input = Vec::new();
    loop {
        if let Some(frame) = framed::decode_reply(&input).map_err(not_a_server)? {
            return hello_reply(frame.id, &frame.answer);
        }
        if stream.read_buf(&mut input).await.map_err(unreachable)? == 0 {
            return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Returns the HELLO reply in a frame, or why there is none.
fn hello_reply(id: RequestId, answer: &Answer<'_>) -> Result<HelloReply, Kind> {
    match *answer {
        Answer::Hello(hello) if id == HELLO_ID && hello.shards > 0 => Ok(hello),
        Answer::Reply(Reply::Error(code)) if id == HELLO_ID => Err(Kind::Refused(code)),
        ref other => {
            let why = format!("it answered HELLO with {other:?}");
            Err(Kind::NotAServer(why))
        }
    }
}
