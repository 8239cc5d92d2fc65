//! Connects to another node and introduces this one.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::framed::{self, Answer, Call, Hello, RequestId};
use crate::protocol::{ErrorCode, Reply};
use crate::server::cluster::{Membership, Peer, PeerStream};

/// A connection on which requests may be sent.
pub(super) struct Connected {
    pub(super) stream: Box<dyn PeerStream>,
    /// What was read behind the reply to HELLO.
    pub(super) input: Vec<u8>,
}

/// Connects to a node. Its reply to HELLO comes before the first request is sent: a node that does not
/// know what this connection is would forward the requests once more.
pub(super) async fn connect(membership: &Membership, peer: &Peer) -> io::Result<Connected> {
    let tcp = TcpStream::connect(&*peer.address).await?;
    tcp.set_nodelay(true)?;
    let mut stream = membership.peers.secure(tcp, &peer.address).await?;
    let hello = Hello {
        shard: None,
        node: true,
        token: membership.peers.token(),
    };
    let mut bytes = Vec::new();
    framed::encode_request(RequestId::NONE, &Call::Hello(hello), &mut bytes);
    stream.write_all(&bytes).await?;
    let mut input = Vec::new();
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let frame = framed::decode_reply(&input)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(frame) = frame else { continue };
        return match frame.answer {
            Answer::Hello(_) => {
                let len = frame.len;
                input.drain(..len);
                Ok(Connected { stream, input })
            }
            Answer::Reply(Reply::Error(ErrorCode::Denied)) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it does not accept this node: the token of this node needs the right `node` there",
            )),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it answered HELLO with {other:?}"),
            )),
        };
    }
}
