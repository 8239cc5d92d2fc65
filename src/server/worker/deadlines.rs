//! The deadlines of a worker's connections, in ticks of a coarse clock. A connection has at most one entry,
//! and it is only moved when it is due: setting a later deadline costs nothing. Nobody reads the clock for
//! a request: the worker's task does it once a tick, while there are entries.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The longest tick. A connection is closed up to two ticks after its deadline.
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// How many ticks the shortest timeout has, at least.
const TICKS_OF_SHORTEST: u32 = 4;

/// A time in ticks since the worker started.
pub(super) type Tick = u64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Deadlines {
    tick: Duration,
    start: Instant,
    /// The time by the last [`update`](Self::update); out of date while there are no entries.
    now: Cell<Tick>,
    /// When each entry is due, and the connection's index in the worker's table.
    entries: RefCell<BTreeSet<(Tick, u32)>>,
}

impl Deadlines {
    /// Creates an empty set. `shortest` is the shortest timeout that it has to watch.
    pub(super) fn new(shortest: Option<Duration>) -> Self {
        let tick = shortest.map_or(LONGEST_TICK, |shortest| shortest / TICKS_OF_SHORTEST);
        Self {
            tick: tick.clamp(Duration::from_millis(1), LONGEST_TICK),
            start: Instant::now(),
            now: Cell::new(0),
            entries: RefCell::default(),
        }
    }

    /// Returns how long to wait between two updates; `None` as long as there are no entries.
    pub(super) fn period(&self) -> Option<Duration> {
        (!self.entries.borrow().is_empty()).then_some(self.tick)
    }

    /// Returns a timeout in ticks. One more than it takes, because the current tick has begun before.
    pub(super) fn ticks(&self, timeout: Duration) -> Tick {
        timeout.as_nanos().div_ceil(self.tick.as_nanos()) as Tick + 1
    }

    /// Returns the current tick.
    pub(super) fn now(&self) -> Tick {
        if self.entries.borrow().is_empty() {
            self.update();
        }
        self.now.get()
    }

    /// Reads the clock.
    pub(super) fn update(&self) {
        let elapsed = self.start.elapsed().as_nanos() / self.tick.as_nanos();
        self.now.set(elapsed as Tick);
    }

    /// Adds the entry of a connection that has none. Returns whether it is the only one.
    pub(super) fn insert(&self, due: Tick, index: u32) -> bool {
        let mut entries = self.entries.borrow_mut();
        entries.insert((due, index));
        entries.len() == 1
    }

    /// Removes the entry of a connection.
    pub(super) fn remove(&self, due: Tick, index: u32) {
        self.entries.borrow_mut().remove(&(due, index));
    }

    /// Removes an entry that is due. Returns the connection's index.
    pub(super) fn pop(&self) -> Option<u32> {
        let mut entries = self.entries.borrow_mut();
        let &(due, index) = entries.first()?;
        if due > self.now.get() {
            return None;
        }
        entries.pop_first();
        Some(index)
    }
}
