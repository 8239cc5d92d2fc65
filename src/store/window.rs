//! How many transactions may be in flight at etcd at a time. It follows from how long they take, as the
//! congestion window of TCP does: requests of all nodes queue up at etcd, and the renewals of leases wait in
//! the same queue.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most that are in flight at a time. More would not be faster.
const MAX: usize = 32;

/// How many are in flight at first.
const FIRST: usize = 8;

/// A transaction that takes longer has waited: then half as many are in flight. A renewal takes about as
/// long as two transactions, and has to be done within a fraction of a lease of 2 s.
const SLOW: Duration = Duration::from_millis(200);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Window {
    room: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may be in flight.
    size: usize,
    /// How many more are in flight, or may begin, than that.
    surplus: usize,
    /// How many were not slow since the size has changed.
    made: usize,
    /// When the size was cut last. Transactions that began before say nothing about the new size.
    cut_at: Option<Instant>,
}

/// The right to have a transaction in flight.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    window: &'a Window,
    began: Instant,
    permit: Option<SemaphorePermit<'a>>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            room: Semaphore::new(FIRST),
            state: Mutex::new(State {
                size: FIRST,
                surplus: 0,
                made: 0,
                cut_at: None,
            }),
        }
    }

    /// Waits until a transaction may be in flight. It ends when what is returned is dropped.
    pub(super) async fn begin(&self) -> Transaction<'_> {
        // The semaphore is never closed.
        let permit = self.room.acquire().await.ok();
        Transaction {
            window: self,
            began: Instant::now(),
            permit,
        }
    }

    /// Learns from a transaction that has ended, and returns its permit.
    fn end(&self, began: Instant, now: Instant, permit: Option<SemaphorePermit<'_>>) {
        let mut state = self.state.lock();
        let before = state.size;
        state.learn(began, now);
        if state.size > before {
            self.room.add_permits(1);
        }
        if state.surplus > 0
            && let Some(permit) = permit
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

impl State {
    /// Sets the size after a transaction: half if it was slow, one more after as many in time as are in
    /// flight.
    fn learn(&mut self, began: Instant, now: Instant) {
        if now - began <= SLOW {
            self.made += 1;
            if self.made >= self.size && self.size < MAX && self.surplus == 0 {
                (self.size, self.made) = (self.size + 1, 0);
            }
        } else if self.cut_at.is_none_or(|cut_at| cut_at <= began) {
            let cut = self.size / 2;
            self.size -= cut;
            self.surplus += cut;
            (self.made, self.cut_at) = (0, Some(now));
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let permit = self.permit.take();
        self.window.end(self.began, Instant::now(), permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all the room there is.
    fn fill(window: &Window) -> Vec<SemaphorePermit<'_>> {
        std::iter::from_fn(|| window.room.try_acquire().ok()).collect()
    }

    /// Ends all, each after this time, and returns the room there is then.
    fn end_all(window: &Window, permits: Vec<SemaphorePermit<'_>>, took: Duration) -> usize {
        let began = Instant::now();
        for permit in permits {
            window.end(began, began + took, Some(permit));
        }
        window.room.available_permits()
    }

    #[test]
    fn it_grows_by_one_when_as_many_were_in_time_as_are_in_flight() {
        let window = Window::new();
        for expected in FIRST + 1..=MAX {
            let permits = fill(&window);
            assert_eq!(end_all(&window, permits, SLOW), expected);
        }
        let permits = fill(&window);
        assert_eq!(end_all(&window, permits, SLOW), MAX);
    }

    #[test]
    fn it_halves_once_for_all_that_were_in_flight_and_were_slow() {
        let window = Window::new();
        let slow = SLOW + Duration::from_millis(1);
        let began = Instant::now();
        let permits = fill(&window);
        for permit in permits {
            window.end(began, began + slow, Some(permit));
        }
        assert_eq!(window.room.available_permits(), FIRST / 2);
        // Those that begin later say whether it is enough; one may always be in flight.
        let mut began = began + slow;
        for expected in [2, 1, 1] {
            for permit in fill(&window) {
                window.end(began, began + slow, Some(permit));
            }
            assert_eq!(window.room.available_permits(), expected);
            began += slow;
        }
        assert_eq!(end_all(&window, fill(&window), SLOW), 2);
    }
}
