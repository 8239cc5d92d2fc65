//! The listener of the admin port, its limits, and what each path returns.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use axum::extract::State as Handed;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, http};
use globalcounter::server::{Monitor, State};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::exposition::Format;
use super::metrics;

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
    /metrics    metrics for Prometheus\n\
    /healthz    200 as long as the process answers\n\
    /readyz     200 if every request can be expected to be answered, else 503 and the reason\n\
    /api/stats  the same numbers as JSON\n\
    /version    the version that runs\n";

/// The admin port of a server, which may still be loading its topics. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
    monitor: Arc<OnceLock<Monitor>>,
}

/// The server that is watched, once it has loaded its topics.
type Watched = Handed<Arc<OnceLock<Monitor>>>;

impl Admin {
    /// Listens on `address` and answers from now on; [`watch`](Self::watch) tells of the server.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the thread cannot be started.
    pub(crate) fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let monitor = Arc::default();
        let router = router(Arc::clone(&monitor));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("admin".to_owned());
        thread.spawn(move || {
            let Err(error) = runtime.block_on(accept_all(listener, router));
            warn!(%error, "the admin port does not answer any more");
        })?;
        Ok(Self { address, monitor })
    }

    /// Returns the address, with the port that the system chose for port 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells of a server that has loaded its topics.
    pub(crate) fn watch(&self, monitor: Monitor) {
        // It is called once.
        let _ = self.monitor.set(monitor);
    }
}

fn router(monitor: Arc<OnceLock<Monitor>>) -> Router {
    Router::new()
        .route("/", get(async || PATHS))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/api/stats", get(stats))
        .route("/version", get(version))
        .fallback(async || (StatusCode::NOT_FOUND, PATHS))
        .with_state(monitor)
}

async fn metrics_text(Handed(monitor): Watched, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    (content_type, metrics::text(monitor.get(), format))
}

async fn ready(Handed(monitor): Watched) -> (StatusCode, String) {
    match not_ready(monitor.get()) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Returns why the server may leave requests without an answer; `None` if it is ready.
fn not_ready(monitor: Option<&Monitor>) -> Option<String> {
    match monitor.map(Monitor::state) {
        None => Some("loading the data directory".to_owned()),
        Some(State::Ready) => None,
        Some(State::Stopping) => Some("stopping".to_owned()),
        Some(State::StoreFailed(reason)) => Some(format!("the store failed: {reason}")),
        Some(_) => Some("not ready".to_owned()),
    }
}

async fn stats(Handed(monitor): Watched) -> Response {
    let Some(monitor) = monitor.get() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"ready": false})),
        )
            .into_response();
    };
    let mut stats = json!(monitor.snapshot());
    stats["ready"] = json!(monitor.state() == State::Ready);
    stats["version"] = json!(env!("CARGO_PKG_VERSION"));
    Json(stats).into_response()
}

async fn version() -> impl IntoResponse {
    Json(json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")}))
}

async fn accept_all(listener: TcpListener, router: Router) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // For example, no file descriptor is free.
                debug!(%error, "cannot accept a connection on the admin port");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let router = router.clone();
            tokio::spawn(async move {
                serve(stream, router).await;
                drop(permit);
            });
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        router.clone().oneshot(request)
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
