//! The last ten minutes, second by second, and each new second to everybody who listens
//! (server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use globalcounter::server::Monitor;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::history::{History, Sample, Sampling};

const SECOND: Duration = Duration::from_secs(1);

/// The seconds that are kept, and a signal whenever there is another.
#[derive(Debug)]
pub(super) struct Live {
    history: Mutex<History>,
    seconds: watch::Sender<u64>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            history: Mutex::default(),
            seconds: watch::Sender::new(0),
        }
    }
}

impl Live {
    /// Adds a second after each second, for ever. `state` tells how the server is.
    pub(super) async fn record(&self, monitor: Monitor, state: impl Fn() -> String) -> Infallible {
        let mut sampling = Sampling::new(monitor);
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await; // the first one comes at once
        loop {
            ticks.tick().await;
            let sample = sampling.sample(state());
            self.history.lock().push(sample);
            self.seconds.send_modify(|seconds| *seconds += 1);
        }
    }

    /// Returns all seconds that are kept.
    pub(super) fn history(&self) -> Vec<Sample> {
        self.history.lock().samples().cloned().collect()
    }

    /// Returns events: `history`, all seconds that are kept; then `second`, each new one.
    pub(super) fn events(
        self: Arc<Self>,
    ) -> Sse<impl Stream<Item = Result<Event, axum::Error>> + Send + 'static> {
        let seconds = self.seconds.subscribe();
        let events = unfold((self, seconds, true), async |(live, mut seconds, first)| {
            let event = if first {
                Event::default()
                    .event("history")
                    .json_data(json!(live.history()))
            } else {
                // The sender lives as long as `live`.
                seconds.changed().await.ok()?;
                let last = live.history.lock().last().cloned();
                Event::default().event("second").json_data(json!(last))
            };
            Some((event, (live, seconds, false)))
        });
        Sse::new(events)
    }
}
