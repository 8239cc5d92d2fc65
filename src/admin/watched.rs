//! The server that is watched: none as long as it loads its topics.

use std::sync::{Arc, OnceLock};

use globalcounter::server::{Monitor, State};
use tokio::sync::Notify;

use super::live::Live;

/// The server that is watched, and its last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Watched {
    monitor: OnceLock<Monitor>,
    loaded: Notify,
    pub(super) live: Arc<Live>,
}

impl Watched {
    /// Tells of the server, once it has loaded its topics.
    pub(super) fn set(&self, monitor: Monitor) {
        // It is called once.
        let _ = self.monitor.set(monitor);
        self.loaded.notify_one();
    }

    pub(super) fn monitor(&self) -> Option<&Monitor> {
        self.monitor.get()
    }

    /// Returns why the server may leave requests without an answer; `None` if it is ready.
    pub(super) fn not_ready(&self) -> Option<String> {
        match self.monitor().map(Monitor::state) {
            None => Some("loading the data directory".to_owned()),
            Some(State::Ready) => None,
            Some(State::Stopping) => Some("stopping".to_owned()),
            Some(State::StoreFailed(reason)) => Some(format!("the store failed: {reason}")),
            Some(State::Leaving) => {
                Some("leaving the cluster: handing over its ranges of topics".to_owned())
            }
            Some(State::NoSession) => {
                Some("has no session in the cluster: see its log and etcd".to_owned())
            }
            Some(State::LeaseOver) => {
                Some("its lease is over: etcd has not renewed it in time".to_owned())
            }
            Some(State::NoMap) => Some("does not know yet which nodes own the topics".to_owned()),
            Some(_) => Some("not ready".to_owned()),
        }
    }

    /// Records each second, once the server has loaded its topics, for ever.
    pub(super) async fn record(&self) {
        self.loaded.notified().await;
        if let Some(monitor) = self.monitor() {
            let state = || self.not_ready().unwrap_or_else(|| "ready".to_owned());
            self.live.record(monitor.clone(), state).await;
        }
    }
}
