//! What programs and the page ask: JSON under `/api`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use globalcounter::server::{Monitor, SearchError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::watched::Watched;
use crate::json;

/// The most topics of one reply.
const MAX_TOPICS: usize = 1_000;

/// Topics of one reply if the request does not say.
const TOPICS: usize = 100;

/// Hot topics of one reply if the request does not say.
const HOT_TOPICS: usize = 10;

/// The most searches at a time. Others wait.
static SEARCHES: Semaphore = Semaphore::const_new(2);

pub(super) fn routes() -> axum::Router<Arc<Watched>> {
    axum::Router::new()
        .route("/stats", get(stats))
        .route("/history", get(history))
        .route("/live", get(live))
        .route("/topics", get(topics))
        .route("/topics/{topic}", get(topic))
        .route("/hot", get(hot))
        .route("/cluster", get(cluster))
}

/// A reply in JSON.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match json::without_controls(&self.0) {
            Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// Why a request is not answered.
enum Refusal {
    Loading,
    Query(QueryRejection),
    Search(SearchError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Loading => (
                StatusCode::SERVICE_UNAVAILABLE,
                "loading the data directory".to_owned(),
            ),
            Self::Query(rejection) => (StatusCode::BAD_REQUEST, rejection.body_text()),
            Self::Search(error @ SearchError::NoAnswer) => {
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Self::Search(error) => (StatusCode::BAD_REQUEST, error.to_string()),
        };
        (status, Json(json!({"error": reason}))).into_response()
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::Query(rejection)
    }
}

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        Self::Search(error)
    }
}

fn monitor(watched: &Watched) -> Result<&Monitor, Refusal> {
    watched.monitor().ok_or(Refusal::Loading)
}

async fn stats(State(watched): State<Arc<Watched>>) -> Response {
    let Some(monitor) = watched.monitor() else {
        let loading = Json(json!({"ready": false}));
        return (StatusCode::SERVICE_UNAVAILABLE, loading).into_response();
    };
    let mut stats = json!(monitor.snapshot());
    stats["ready"] = json!(watched.not_ready().is_none());
    stats["version"] = json!(env!("CARGO_PKG_VERSION"));
    Json(stats).into_response()
}

async fn history(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    Json(watched.live.history())
}

async fn live(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    watched.live.clone().events()
}

#[derive(Deserialize)]
struct TopicsQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    cursor: u64,
    limit: Option<usize>,
}

async fn topics(
    State(watched): State<Arc<Watched>>,
    query: Result<Query<TopicsQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(TOPICS).clamp(1, MAX_TOPICS);
    // The semaphore is never closed.
    let _turn = SEARCHES.acquire().await;
    let monitor = monitor(&watched)?;
    let page = monitor.topics(&query.prefix, query.cursor, limit).await?;
    Ok(Json(page))
}

async fn topic(
    State(watched): State<Arc<Watched>>,
    Path(topic): Path<String>,
) -> Result<Response, Refusal> {
    let _turn = SEARCHES.acquire().await;
    let sum = monitor(&watched)?.sum(&topic).await?;
    Ok(match sum {
        Some(sum) => Json(json!({"topic": topic, "sum": sum})).into_response(),
        None => {
            let error = Json(json!({"error": "there is no such topic"}));
            (StatusCode::NOT_FOUND, error).into_response()
        }
    })
}

/// Which node owns which range; 404 on a server alone.
async fn cluster(State(watched): State<Arc<Watched>>) -> Result<Response, Refusal> {
    Ok(match monitor(&watched)?.cluster_map() {
        Some(map) => Json(map).into_response(),
        None => {
            let error = Json(json!({"error": "the server is no node of a cluster"}));
            (StatusCode::NOT_FOUND, error).into_response()
        }
    })
}

#[derive(Deserialize)]
struct HotQuery {
    limit: Option<usize>,
}

async fn hot(
    State(watched): State<Arc<Watched>>,
    query: Result<Query<HotQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(HOT_TOPICS).min(MAX_TOPICS);
    let topics = monitor(&watched)?.hot_topics(limit);
    Ok(Json(json!({"topics": topics})))
}
