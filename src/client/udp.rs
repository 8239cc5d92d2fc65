//! The UDP transport of a client: one datagram per request, sent again until its reply arrives.
//! Each caller sends its own datagrams; one task receives for all and matches replies by their ids.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::error::{Failure, Kind, runtime_ended};
use super::options::Options;
use super::outcome::{Outcome, Response};
use crate::protocol::Reply;
use crate::protocol::framed::{self, Call, RequestId};

/// The size of the receive buffer: more than the largest payload of a datagram, in bytes.
const BUFFER_LEN: usize = 65_536;

/// The pause after a receive error, which may be permanent.
const ERROR_PAUSE: Duration = Duration::from_millis(1);

/// The largest UDP payload over IPv4, in bytes.
const MAX_DATAGRAM: usize = 65_507;

/// The handle to a socket and its receiving task. Dropping it stops the task.
#[derive(Debug)]
pub(super) struct Udp {
    shared: Arc<Shared>,
    next_id: AtomicU32,
    options: Options,
    receiver: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    /// The latest error of sending or receiving; cleared when a call begins.
    last_error: Mutex<Option<Arc<io::Error>>>,
    /// The callers that wait, by the id of the reply.
    pending: Mutex<HashMap<RequestId, oneshot::Sender<Outcome>>>,
}

impl Udp {
    /// Resolves `host` and connects a socket to it; sends nothing yet.
    pub(super) async fn connect(host: &str, options: Options) -> Result<Self, Failure> {
        let socket = connected_socket(host)
            .await
            .map_err(|error| Failure::not_applied(Kind::Unreachable(Arc::new(error))))?;
        let shared = Arc::new(Shared {
            socket,
            last_error: Mutex::default(),
            pending: Mutex::default(),
        });
        let receiver = tokio::spawn(receive(Arc::clone(&shared))).abort_handle();
        Ok(Self {
            shared,
            next_id: AtomicU32::new(random_id()),
            options,
            receiver,
        })
    }

    /// Sends the request up to [`Options::attempts`] times, each time with the same id, so that a
    /// reply to any of the datagrams completes the call.
    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut datagram = Vec::new();
        framed::encode_request(id, call, &mut datagram);
        if datagram.len() > MAX_DATAGRAM {
            let why = format!(
                "the request takes {} bytes, but a datagram carries at most {MAX_DATAGRAM}",
                datagram.len()
            );
            return Err(Failure::not_applied(Kind::Invalid(why)));
        }
        let (sender, mut reply) = oneshot::channel();
        let _guard = self.shared.register(id, sender);

        *lock(&self.shared.last_error) = None;
        let mut sent = 0;
        for _ in 0..self.options.attempts.max(1) {
            match self.shared.socket.send(&datagram).await {
                Ok(_) => sent += 1,
                Err(error) => *lock(&self.shared.last_error) = Some(Arc::new(error)),
            }
            match timeout(self.options.attempt_timeout, &mut reply).await {
                Ok(Ok(Ok(Response::Reply(Reply::Error(code))))) => {
                    // An earlier datagram may have been applied and its reply lost.
                    let mut refused = Failure::refused(code);
                    refused.maybe_applied |= sent > 1;
                    return Err(refused);
                }
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(_)) => {
                    return Err(Failure {
                        kind: Kind::Unreachable(runtime_ended()),
                        maybe_applied: sent > 0,
                    });
                }
                Err(_) => {}
            }
        }
        let kind = match lock(&self.shared.last_error).take() {
            Some(error) => Kind::Unreachable(error),
            None => Kind::TimedOut(format!(
                "to {} datagrams, waited {:?} for each",
                self.options.attempts, self.options.attempt_timeout
            )),
        };
        Err(Failure {
            kind,
            maybe_applied: sent > 0,
        })
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

/// Removes a caller from [`Shared::pending`] when its call ends, even if it is cancelled.
struct PendingGuard<'a> {
    shared: &'a Shared,
    id: RequestId,
}

impl Shared {
    /// Registers a caller; its reply is sent to `sender` until the guard is dropped.
    fn register(&self, id: RequestId, sender: oneshot::Sender<Outcome>) -> PendingGuard<'_> {
        lock(&self.pending).insert(id, sender);
        PendingGuard { shared: self, id }
    }
}

/// Locks a mutex even if it is poisoned: every write under these locks is a single step, so a panic
/// cannot leave a half-written value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        lock(&self.shared.pending).remove(&self.id);
    }
}

/// Returns a random first id, so that the next process that gets this socket's port does not take
/// late replies for its own.
fn random_id() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

async fn connected_socket(host: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in lookup_host(host).await? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        // A connected socket receives only the server's datagrams, and the errors of its host.
        match UdpSocket::bind(any).await {
            Ok(socket) => match socket.connect(address).await {
                Ok(()) => return Ok(socket),
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Runs the receiving task: delivers each reply to its caller. Late replies, duplicates and invalid
/// datagrams are dropped.
async fn receive(shared: Arc<Shared>) {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = match shared.socket.recv(&mut buffer).await {
            Ok(len) => len,
            Err(error) => {
                // Usually "connection refused": nobody received a datagram. Its call keeps trying.
                *lock(&shared.last_error) = Some(Arc::new(error));
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let mut rest = &buffer[..len];
        while let Ok(Some(frame)) = framed::decode_reply(rest) {
            if let Some(caller) = lock(&shared.pending).remove(&frame.id) {
                // An error means that the caller has given up.
                let _ = caller.send(Ok(frame.answer.into()));
            }
            rest = &rest[frame.len..];
        }
    }
}
