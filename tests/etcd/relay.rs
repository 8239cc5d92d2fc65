//! A connection that can be made to swallow what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a relay swallows. Connections stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swallow {
    Nothing,
    Answers,
    Everything,
}

/// A relay on a port of its own. Dropping it ends it.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    swallow: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let swallow = Arc::new(AtomicU8::new(0));
        let shared = swallow.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(target).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (swallow, also_swallow) = (shared.clone(), shared.clone());
                tokio::spawn(carry(from_client, to_server, swallow, Swallow::Everything));
                tokio::spawn(carry(
                    from_server,
                    to_client,
                    also_swallow,
                    Swallow::Answers,
                ));
            }
        });
        Self {
            address,
            swallow,
            task,
        }
    }

    pub(crate) fn swallow(&self, what: Swallow) {
        self.swallow.store(what as u8, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes one way, except while at least `not_from` is swallowed.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallow: Arc<AtomicU8>,
    not_from: Swallow,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await
        && count > 0
    {
        let carried = swallow.load(Ordering::Relaxed) < not_from as u8;
        if carried && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
