//! The page that people open in a browser. It is four files without a build step; what it shows comes
//! from `/api`.

use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

/// The page loads nothing from elsewhere, and nobody can show it inside another page.
const POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
);

/// Returns the routes of the page. A client that does not ask for HTML gets `text` instead.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(text: &'static str) -> axum::Router<S> {
    axum::Router::new()
        .route("/", get(async move |headers| index(&headers, text)))
        .route("/page.css", get(async || file("text/css", CSS)))
        .route("/page.js", get(async || file("text/javascript", JS)))
        .route(
            "/cluster.js",
            get(async || file("text/javascript", CLUSTER_JS)),
        )
}

const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");
const CLUSTER_JS: &str = include_str!("page/cluster.js");

fn index(headers: &HeaderMap, text: &'static str) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    match accept.is_some_and(|accept| accept.contains("text/html")) {
        true => ([POLICY], Html(include_str!("page/index.html"))).into_response(),
        false => text.into_response(),
    }
}

fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
