//! A limit on log lines that peers can provoke.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::coarse_seconds;

/// For how many seconds after a line the same line is not logged again. An operator who watches sees
/// soon that it goes on; a flood that lasts a day takes less than 10,000 lines.
const PERIOD: u64 = 10;

/// Counts events of one kind, and tells which of them to log: the first at once, then at most one each
/// 10 seconds. Usually a `static`: the process has one log, however many workers write to it.
#[derive(Debug)]
pub(crate) struct LogLimit {
    /// The events since the last line.
    events: AtomicU64,
    /// When the next line may be logged, by [`coarse_seconds`].
    next: AtomicU64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self {
            events: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Counts an event. If it is to be logged, returns the number of events since the last line, this
    /// one included.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_at(coarse_seconds())
    }

    fn count_at(&self, now: u64) -> Option<u64> {
        self.events.fetch_add(1, Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        if now < next {
            return None;
        }
        // Of several threads, one logs.
        self.next
            .compare_exchange(next, now + PERIOD, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        Some(self.events.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_and_later_ones_are_counted() {
        let limit = LogLimit::new();
        assert_eq!(limit.count_at(100), Some(1));
        for now in [100, 101, 109] {
            assert_eq!(limit.count_at(now), None);
        }
        assert_eq!(limit.count_at(110), Some(4));
        assert_eq!(limit.count_at(119), None);
        assert_eq!(limit.count_at(1_000), Some(2));
    }

    #[test]
    fn a_clock_that_starts_at_0_does_not_delay_the_first_line() {
        assert_eq!(LogLimit::new().count_at(0), Some(1));
    }

    #[test]
    fn of_many_threads_one_logs_and_no_event_is_lost() {
        let limit = LogLimit::new();
        let logged = AtomicU64::new(0);
        let threads = 4;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if let Some(events) = limit.count_at(50) {
                            logged.fetch_add(1 + (events << 32), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let logged = logged.into_inner();
        assert_eq!(logged & 0xffff_ffff, 1);
        let rest = limit.count_at(60).unwrap();
        assert_eq!((logged >> 32) + rest, threads * 1_000 + 1);
    }
}
