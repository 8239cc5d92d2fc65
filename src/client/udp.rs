//! The UDP transport of a client: a datagram a request, sent again until its reply comes. Callers
//! send by themselves; one task receives for all, and knows each reply by its id.

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
use super::outcome::{Answered, Outcome};
use crate::protocol::Reply;
use crate::protocol::framed::{self, Call, RequestId};

/// A datagram's largest payload, and then some.
const BUFFER_LEN: usize = 65_536;

/// How long to wait after an error before receiving again, since it may be there to stay.
const AFTER_ERROR: Duration = Duration::from_millis(1);

/// The largest UDP payload over IPv4, in bytes.
const MAX_DATAGRAM: usize = 65_507;

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
    /// What the system last said of a datagram that it could not deliver.
    refusal: Mutex<Option<Arc<io::Error>>>,
    /// Who waits for which reply.
    waiting: Mutex<HashMap<RequestId, oneshot::Sender<Outcome>>>,
}

impl Udp {
    /// Resolves `host` and chooses a socket for it; nothing is sent yet.
    pub(super) async fn connect(host: &str, options: Options) -> Result<Self, Failure> {
        let socket = open(host)
            .await
            .map_err(|error| Failure::not_applied(Kind::Unreachable(Arc::new(error))))?;
        let shared = Arc::new(Shared {
            socket,
            refusal: Mutex::default(),
            waiting: Mutex::default(),
        });
        let receiver = tokio::spawn(receive(Arc::clone(&shared))).abort_handle();
        Ok(Self {
            shared,
            next_id: AtomicU32::new(random()),
            options,
            receiver,
        })
    }

    /// Sends the request up to [`Options::attempts`] times, each time with the same id, so that
    /// the reply to any of them will do.
    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut datagram = Vec::new();
        framed::encode_request(id, call, &mut datagram);
        if datagram.len() > MAX_DATAGRAM {
            let why = format!(
                "{} bytes are more than a datagram can carry",
                datagram.len()
            );
            return Err(Failure::not_applied(Kind::Invalid(why)));
        }
        let (sender, mut reply) = oneshot::channel();
        let _ticket = self.shared.enter(id, sender);

        *lock(&self.shared.refusal) = None;
        let mut sent = 0;
        for _ in 0..self.options.attempts.max(1) {
            match self.shared.socket.send(&datagram).await {
                Ok(_) => sent += 1,
                Err(error) => *lock(&self.shared.refusal) = Some(Arc::new(error)),
            }
            match timeout(self.options.attempt_timeout, &mut reply).await {
                Ok(Ok(Ok(Answered::Reply(Reply::Error(code))))) => {
                    // Of several datagrams another may have been applied, its reply lost.
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
        let kind = match lock(&self.shared.refusal).take() {
            Some(error) => Kind::Unreachable(error),
            None => Kind::TimedOut(format!(
                "to {} datagrams, {:?} after the last",
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

/// A call's place among those who wait; gone when the call is, also when it is cancelled.
struct Ticket<'a> {
    shared: &'a Shared,
    id: RequestId,
}

impl Shared {
    fn enter(&self, id: RequestId, sender: oneshot::Sender<Outcome>) -> Ticket<'_> {
        lock(&self.waiting).insert(id, sender);
        Ticket { shared: self, id }
    }
}

/// Locks what is written whole or not at all: a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.shared.waiting).remove(&self.id);
    }
}

/// Where ids begin. The next process to get this socket's port must not take replies that come late
/// for its own.
fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

async fn open(host: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in lookup_host(host).await? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        // Connected, so that only the server's datagrams come in, and its system's refusals.
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

/// Hands every reply to who waits for it. Late ones, second ones and rubbish are dropped.
async fn receive(shared: Arc<Shared>) {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = match shared.socket.recv(&mut buffer).await {
            Ok(len) => len,
            Err(error) => {
                // Mostly a datagram that found nobody; its call goes on trying.
                *lock(&shared.refusal) = Some(Arc::new(error));
                sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let mut rest = &buffer[..len];
        while let Ok(Some(frame)) = framed::decode_reply(rest) {
            if let Some(waiting) = lock(&shared.waiting).remove(&frame.id) {
                // Whoever gave up meanwhile is not told.
                let _ = waiting.send(Ok(frame.answer.into()));
            }
            rest = &rest[frame.len..];
        }
    }
}
