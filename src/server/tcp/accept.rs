//! Accepts connections: one task per worker, each on a listener of its own. Also takes over the
//! connections that other workers move here.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use super::connection::Connection;
use super::context::TcpContext;
use super::handshake;
use super::moved::Moved;
use super::stream::Stream;
use crate::server::net::{self, HandshakeSlot, LogLimit, Tls};
use crate::server::status::{Accepting, OpenConnection, Refused};

// What peers can provoke, in all workers: a flood of connections must not become a flood of lines.
static REFUSED: LogLimit = LogLimit::new();
static REFUSED_BY_ADDRESS: LogLimit = LogLimit::new();
static FAILED: LogLimit = LogLimit::new();
static LOST: LogLimit = LogLimit::new();

/// How long to wait after an accept failed because the process has no file descriptor left. Until
/// one is free every accept fails at once, so without the pause the worker would do nothing else.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(100);

/// How long a stopping listener waits for handshakes in progress: a round trip within a data centre.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(2);

/// The longest time for emptying a listener's queue, in case connections keep coming or no file
/// descriptor becomes free.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// What a stopping server does with the connections in a listener's queue: those that the kernel has
/// completed and the server has not accepted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueAtStop {
    /// Serve them, because closing the listener resets them.
    Serve,
    /// Leave them to the next server: another process keeps the listener open. Nothing about the
    /// listener may change then, because the next server inherits it.
    Leave,
}

impl QueueAtStop {
    /// Returns what to do with the queue of a listener, `inherited` from a process that keeps it open or
    /// not.
    pub(crate) fn of(inherited: bool) -> Self {
        if inherited { Self::Leave } else { Self::Serve }
    }
}

/// Accepts connections, those of TLS if `tls` is given, and serves each in a task, until the server is
/// to stop. Then empties the listener's queue if `queue` says so, so that none of its connections is
/// closed without a reply, and closes the listener.
pub(crate) async fn accept(
    context: Rc<TcpContext>,
    listener: TcpListener,
    accepting: Accepting,
    tls: Option<Tls>,
    queue: QueueAtStop,
) {
    let mut acceptor = Acceptor {
        context: Rc::clone(&context),
        listener,
        accepting,
        tls,
    };
    tokio::select! {
        () = acceptor.accept_all() => {}
        () = context.stopping() => {}
    }
    if queue == QueueAtStop::Serve {
        acceptor.drain().await;
    }
}

/// One worker's listener.
struct Acceptor {
    context: Rc<TcpContext>,
    listener: TcpListener,
    accepting: Accepting,
    tls: Option<Tls>,
}

impl Acceptor {
    /// Accepts connections for ever.
    async fn accept_all(&mut self) {
        loop {
            let slot = match &self.tls {
                Some(tls) => Some(tls.slot().await),
                None => None,
            };
            let accepted = self.listener.accept().await;
            if let Err(error) = self.admit(accepted, slot) {
                self.warn_about(&error);
                sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
            }
        }
    }

    /// Makes the kernel drop new connection requests, then accepts the connections that are already
    /// in the listener's queue. Handshakes in progress have [`HANDSHAKE_GRACE`] to complete.
    async fn drain(&mut self) {
        if let Err(error) = net::drop_new_connections(&self.listener) {
            debug!(%error, "cannot filter new connections while the listener's queue is emptied");
        }
        let start = Instant::now();
        while start.elapsed() < DRAIN_LIMIT {
            let accepted = timeout_at(start + HANDSHAKE_GRACE, self.listener.accept());
            let Ok(accepted) = accepted.await else {
                return; // the queue is empty and the grace period is over
            };
            if let Err(error) = self.admit(accepted, None) {
                self.warn_about(&error);
                sleep(HANDSHAKE_GRACE).await; // connections that end free their descriptors
            }
        }
    }

    /// Serves a new connection here, or hands it to the worker with the fewest connections. With TLS
    /// it has `slot` for its handshake.
    ///
    /// # Errors
    ///
    /// The accept failed for a reason other than that the peer has left.
    fn admit(
        &self,
        accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>,
        slot: Option<HandshakeSlot>,
    ) -> io::Result<()> {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_about_the_peer(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut open = match self.accepting.open(peer.ip()) {
            Ok(open) => open,
            Err(reason) => {
                warn_of_refusal(reason, peer);
                return Ok(());
            }
        };
        open.move_to_fewest();
        let stream = match &self.tls {
            Some(tls) => Stream::tls(stream, tls.session(slot).map_err(io::Error::other)?),
            None => Stream::Plain(stream),
        };
        if open.worker() == self.context.worker.id {
            serve(&self.context, stream, open);
        } else if let Ok(moved) = Moved::accepted(stream, open) {
            self.context.move_away(moved);
        }
        Ok(())
    }

    fn warn_about(&self, error: &io::Error) {
        let Some(failed) = FAILED.count() else {
            return;
        };
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            warn!(
                failed,
                "cannot accept connections: too many open files; raise the descriptor limit \
                 (`ulimit -n`)"
            );
        } else {
            warn!(failed, %error, "cannot accept connections");
        }
    }
}

fn warn_of_refusal(reason: Refused, peer: SocketAddr) {
    match reason {
        Refused::Connections => {
            if let Some(refused) = REFUSED.count() {
                warn!(refused, "closed connections over --max-connections");
            }
        }
        Refused::Address => {
            if let Some(refused) = REFUSED_BY_ADDRESS.count() {
                let last = peer.ip();
                warn!(refused, %last, "refused connections over --max-connections-per-address");
            }
        }
    }
}

/// Returns whether an accept failed only because the peer left before.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Serves a new connection, after its handshake if it is one of TLS.
fn serve(context: &Rc<TcpContext>, stream: Stream, open: OpenConnection) {
    let (worker, context) = (&context.worker, Rc::clone(context));
    match stream {
        Stream::Plain(_) => {
            let connection = Connection::new(Rc::clone(&context), stream, open);
            worker.spawn(connection.serve());
        }
        Stream::Tls(stream) => {
            worker.spawn(handshake::serve(context, stream, open));
        }
    }
}

/// Serves the connections that other workers moved here.
pub(crate) async fn serve_arrivals(
    context: Rc<TcpContext>,
    mut arrivals: mpsc::UnboundedReceiver<Moved>,
) {
    while let Some(moved) = arrivals.recv().await {
        if let Err(error) = resume(&context, moved)
            && let Some(lost) = LOST.count()
        {
            warn!(lost, %error, "lost connections that moved to another worker");
        }
    }
}

fn resume(context: &Rc<TcpContext>, moved: Moved) -> io::Result<()> {
    if moved.stream.is_handshaking() {
        serve(context, moved.stream.attach()?, moved.open);
    } else {
        let connection = Connection::arrive(Rc::clone(context), moved)?;
        context.worker.spawn(connection.serve());
    }
    Ok(())
}
