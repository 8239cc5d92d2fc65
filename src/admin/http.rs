//! The listener of the admin port, its limits, and what each path returns.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::State as Handed;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use axum::{Router, http};
use globalcounter::access::Guard;
use globalcounter::server::{Monitor, Tls};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::exposition::Format;
use super::gate::Gate;
use super::watched::Watched;
use super::{api, metrics, page};

/// The most connections at a time. Further ones are closed at once.
const MAX_CONNECTIONS: usize = 64;

/// How long a request's header may take to arrive, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest header of a request, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// How long a connection may be used. Then it ends with the reply to its request.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// How long the peer may take to read its last reply.
const LAST_REPLY: Duration = Duration::from_secs(10);

const PATHS: &str = "globalcounter admin port\n\n\
    /                   a page that shows all this as it happens, in a browser\n\
    /metrics            metrics for Prometheus\n\
    /healthz            200 as long as the process answers\n\
    /readyz             200 if every request can be expected to be answered, else 503 and the reason\n\
    /version            the version that runs\n\
    /api/stats          the counts since the start, as JSON\n\
    /api/history        the last ten minutes, a sample for each second\n\
    /api/live           the same and each new second, as server-sent events\n\
    /api/topics         topics and sums: ?prefix=P&limit=N&cursor=C\n\
    /api/topics/TOPIC   the sum of one topic\n\
    /api/hot            the topics that most requests of the last seconds were for: ?limit=N\n\
    /api/cluster        which node of the cluster owns which range of topics\n";

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long input is discarded after a handshake that failed.
const LINGER: Duration = Duration::from_millis(500);

/// Who may read an admin port, and whether it speaks TLS. By default everybody reads it over HTTP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protection {
    /// Decides who may read; `None` for everybody.
    pub(crate) guard: Option<Arc<Guard>>,
    /// The certificates; `None` without TLS.
    pub(crate) tls: Option<Tls>,
}

/// The admin port of a server, which may still be loading its topics. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
    scheme: &'static str,
    watched: Arc<Watched>,
}

impl Admin {
    /// Listens on `address` and answers from now on those whom `protection` allows to read.
    /// [`watch`](Self::watch) tells of the server.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the thread cannot be started.
    pub(crate) fn start(address: SocketAddr, protection: Protection) -> io::Result<Self> {
        Self::start_on(TcpListener::bind(address)?, protection)
    }

    /// Does the same as [`start`](Self::start) on a listener that is already bound.
    ///
    /// # Errors
    ///
    /// The listener is not usable, or the thread cannot be started.
    pub(crate) fn start_on(listener: TcpListener, protection: Protection) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let watched = Arc::<Watched>::default();
        let served = Arc::clone(&watched);
        let scheme = if protection.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("admin".to_owned());
        thread.spawn(move || {
            let Err(error) = runtime.block_on(serve_all(listener, served, protection));
            warn!(%error, "the admin port does not answer any more");
        })?;
        Ok(Self {
            address,
            scheme,
            watched,
        })
    }

    /// Returns the address, with the port that the system chose for port 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Tells of a server that has loaded its topics.
    pub(crate) fn watch(&self, monitor: Monitor) {
        self.watched.set(monitor);
    }
}

fn router(watched: Arc<Watched>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .nest("/api", api::routes())
        .merge(page::routes(PATHS))
        .fallback(async || (StatusCode::NOT_FOUND, PATHS))
        .with_state(watched)
}

async fn metrics_text(
    Handed(watched): Handed<Arc<Watched>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    (content_type, metrics::text(watched.monitor(), format))
}

async fn ready(Handed(watched): Handed<Arc<Watched>>) -> (StatusCode, String) {
    match watched.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn version() -> impl IntoResponse {
    Json(json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")}))
}

/// Accepts connections, and records what the server does once it has loaded its topics, for ever.
async fn serve_all(
    listener: TcpListener,
    watched: Arc<Watched>,
    protection: Protection,
) -> io::Result<Infallible> {
    let router = router(Arc::clone(&watched));
    tokio::spawn(async move { watched.record().await });
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // For example, no file descriptor is free.
                debug!(%error, "cannot accept a connection on the admin port");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let router = router.clone();
            let protection = protection.clone();
            tokio::spawn(async move {
                admit(stream, peer.ip(), router, protection).await;
                drop(permit);
            });
        }
    }
}

/// Serves a new connection, after its handshake if the port speaks TLS.
async fn admit(stream: TcpStream, peer: IpAddr, router: Router, protection: Protection) {
    let Protection { guard, tls } = protection;
    let Some(tls) = tls else {
        return serve(stream, router, Gate::new(guard, peer, None)).await;
    };
    let handshake = TlsAcceptor::from(tls.server_config()).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake.into_fallible()).await {
        Ok(Ok(stream)) => {
            let (_, connection) = stream.get_ref();
            let certificate = Tls::client_name(connection);
            serve(stream, router, Gate::new(guard, peer, certificate)).await;
        }
        Ok(Err((error, stream))) => {
            debug!(%error, "a TLS handshake on the admin port failed");
            let _ = tokio::time::timeout(LINGER, discard(stream)).await;
        }
        Err(_) => debug!("a TLS handshake on the admin port took too long"),
    }
}

/// Shuts down our side, and reads until the peer has closed its own. Closing a socket with unread input
/// would reset the connection, and the peer could lose the alert.
async fn discard(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    gate: Gate,
) {
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let (router, gate) = (router.clone(), gate.clone());
        async move {
            match gate.admit(request.uri().path(), request.headers()).await {
                Ok(()) => router.oneshot(request).await,
                Err(refusal) => Ok(refusal),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::time::timeout(CONNECTION_LIFETIME, connection.as_mut()).await;
    if ended.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(LAST_REPLY, connection).await;
    }
}
