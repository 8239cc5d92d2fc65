//! The TLS handshake of a new connection, within limits. A peer that fails gets an alert that says why,
//! and its connection ends.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::connection::Connection;
use super::context::{Scratch, TcpContext};
use super::stream::{Stream, TlsStream};
use crate::server::net::{HandshakeFailure, LogLimit};
use crate::server::status::OpenConnection;

/// How long a handshake may take when the server stops: a few round trips, and the peer's calculations.
const STOPPING_LIMIT: Duration = Duration::from_millis(500);

/// After a failure, input is discarded for at most this time. Closing a socket with unread input would
/// reset the connection, and the peer could lose the alert.
const LINGER: Duration = Duration::from_millis(500);

static FAILED: LogLimit = LogLimit::new();

/// Completes the handshake, then serves the connection.
pub(super) async fn serve(
    context: Rc<TcpContext>,
    mut stream: Box<TlsStream>,
    open: OpenConnection,
) {
    let mut early = Vec::new();
    let result = tokio::select! {
        result = complete(&context, &mut stream, &mut early) => result,
        failure = too_late(&context) => Err((failure, None)),
    };
    match result {
        Ok(()) => {
            stream.session.complete();
            let stream = Stream::Tls(stream);
            let mut connection = Connection::new(context, stream, open);
            connection.set_received(early);
            connection.serve().await;
        }
        Err((failure, error)) => {
            report(&context, failure, error.as_ref());
            refuse(&context, stream).await;
        }
    }
}

/// Why a handshake failed, with the error if there was one.
type Failed = (HandshakeFailure, Option<io::Error>);

/// Exchanges messages until the handshake is complete and all of ours are written. What the peer
/// sends behind its own is appended to `early`.
async fn complete(
    context: &TcpContext,
    stream: &mut TlsStream,
    early: &mut Vec<u8>,
) -> Result<(), Failed> {
    poll_fn(|cx| {
        while stream.session.is_handshaking() {
            ready!(stream.poll_flush(cx))?;
            ready!(receive(context, stream, early, cx))?;
            if stream.session.is_handshaking() && stream.session.peer_has_closed() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        stream.poll_flush(cx)
    })
    .await
    .map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let failure = inner.map_or(HandshakeFailure::Closed, HandshakeFailure::of);
        (failure, Some(error))
    })
}

fn receive(
    context: &TcpContext,
    stream: &mut TlsStream,
    early: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let scratch = &mut *context.scratch.borrow_mut();
    let Scratch {
        input, ciphertext, ..
    } = scratch;
    let len = ready!(stream.poll_receive(cx, input, ciphertext))?;
    early.extend_from_slice(&input[..len]);
    Poll::Ready(Ok(()))
}

/// Waits until a handshake that begins now has taken too long.
async fn too_late(context: &TcpContext) -> HandshakeFailure {
    let limits = &context.worker.status.config.connection_limits;
    tokio::select! {
        () = sleep(limits.handshake_timeout) => HandshakeFailure::Timeout,
        () = context.stopping() => {
            sleep(STOPPING_LIMIT).await;
            HandshakeFailure::Stopped
        }
    }
}

fn report(context: &TcpContext, failure: HandshakeFailure, error: Option<&io::Error>) {
    if let Some(tls) = &context.worker.status.tls {
        tls.fail(failure);
    }
    let reason = error.map_or_else(|| failure.to_string(), ToString::to_string);
    debug!(reason, "a TLS handshake failed");
    if let Some(failed) = FAILED.count() {
        warn!(
            failed,
            last = %failure,
            "TLS handshakes failed; log level debug shows each reason"
        );
    }
}

/// Sends the alert, and waits until the peer has closed the connection, or for [`LINGER`].
async fn refuse(context: &TcpContext, mut stream: Box<TlsStream>) {
    let linger = poll_fn(|cx| {
        // An error means that the peer is gone.
        if ready!(stream.poll_flush(cx)).is_err()
            || ready!(stream.poll_shutdown_socket(cx)).is_err()
        {
            return Poll::Ready(());
        }
        let scratch = &mut *context.scratch.borrow_mut();
        while let Ok(1..) = ready!(stream.poll_discard(cx, &mut scratch.ciphertext)) {}
        Poll::Ready(())
    });
    let _ = timeout(LINGER, linger).await;
}
