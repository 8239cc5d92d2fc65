//! The names that occur most often among many: the space-saving sketch of Metwally, Agrawal and El
//! Abbadi ("Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005), over the last
//! 10 to 20 seconds.

use std::collections::HashMap;
use std::mem;

use ahash::RandomState;

/// The names that are counted at a time. A name that is more than one in this many is never missed.
const NAMES: usize = 64;

/// How long names are counted before the counts are set aside, in seconds.
const WINDOW: u64 = 10;

/// How often names occurred lately.
#[derive(Debug)]
pub(crate) struct HeavyHitters {
    hasher: RandomState,
    current: Window,
    previous: Window,
}

/// The counts of some seconds.
#[derive(Debug, Default)]
struct Window {
    /// When it began, in seconds, and how many names had occurred by then, counted or not.
    start: u64,
    start_events: u64,
    counted: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    /// At least how often the name occurred, plus how often others did whose entry it took over.
    count: u64,
    name: Box<[u8]>,
}

/// How often names occurred during some seconds, at several places together.
#[derive(Debug, Default)]
pub(crate) struct Occurrences {
    /// Occurrences of any name a second.
    all: f64,
    by_name: HashMap<Box<[u8]>, f64>,
}

impl HeavyHitters {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            current: Window::default(),
            previous: Window::default(),
        }
    }

    /// Counts a name at a time in seconds. `events`: how many names have occurred by now, most of which
    /// are not counted.
    pub(crate) fn count(&mut self, name: &[u8], now: u64, events: u64) {
        self.move_on(now, events);
        let hash = self.hasher.hash_one(name);
        let Window {
            counted, entries, ..
        } = &mut self.current;
        *counted += 1;
        let known = entries.iter_mut().find(|entry| entry.hash == hash);
        if let Some(entry) = known {
            entry.count += 1;
            return;
        }
        if entries.len() < NAMES {
            entries.push(Entry {
                hash,
                count: 1,
                name: name.into(),
            });
        } else if let Some(rarest) = entries.iter_mut().min_by_key(|entry| entry.count) {
            rarest.hash = hash;
            rarest.count += 1;
            rarest.name = name.into();
        }
    }

    /// Adds to `sum` how often names occurred up to `now`. Those that were counted stand for all
    /// `events`.
    pub(crate) fn add_to(&mut self, sum: &mut Occurrences, now: u64, events: u64) {
        self.move_on(now, events);
        let oldest = match self.previous.counted {
            0 => &self.current,
            _ => &self.previous,
        };
        let counted = self.current.counted + self.previous.counted;
        if counted == 0 {
            return;
        }
        let seconds = now.saturating_sub(oldest.start).max(1) as f64;
        let all = events.saturating_sub(oldest.start_events) as f64 / seconds;
        sum.all += all;
        let per_second = all / counted as f64;
        for window in [&self.current, &self.previous] {
            for entry in &window.entries {
                let rate = sum.by_name.entry(entry.name.clone()).or_default();
                *rate += entry.count as f64 * per_second;
            }
        }
    }

    /// Sets counts aside, and forgets the older ones, when their time is over.
    fn move_on(&mut self, now: u64, events: u64) {
        let age = now.saturating_sub(self.current.start);
        if age < WINDOW {
            return;
        }
        let next = Window {
            start: now,
            start_events: events,
            ..Window::default()
        };
        self.previous = mem::replace(&mut self.current, next);
        if age >= 2 * WINDOW {
            self.previous = Window::default();
        }
    }
}

impl Occurrences {
    /// Returns how often any name occurred a second.
    pub(crate) fn all(&self) -> f64 {
        self.all
    }

    /// Returns the most frequent names, at most `count`, the most frequent first, with how often each
    /// occurred a second.
    pub(crate) fn most_frequent(self, count: usize) -> Vec<(Box<[u8]>, f64)> {
        let mut names: Vec<_> = self.by_name.into_iter().collect();
        names.sort_by(|(a, one), (b, other)| other.total_cmp(one).then_with(|| a.cmp(b)));
        names.truncate(count);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_frequent(hitters: &mut HeavyHitters, now: u64, events: u64) -> Vec<(String, f64)> {
        let mut sum = Occurrences::default();
        hitters.add_to(&mut sum, now, events);
        let names = sum.most_frequent(2).into_iter();
        names
            .map(|(name, rate)| (String::from_utf8(name.into()).expect("UTF-8"), rate))
            .collect()
    }

    #[test]
    fn frequent_names_are_found_among_many_others() {
        let mut hitters = HeavyHitters::new();
        for i in 0..20_000 {
            hitters.count(format!("other-{i}").as_bytes(), 100, 0);
            if i % 4 == 0 {
                hitters.count(b"often", 100, 0);
            }
            if i % 8 == 0 {
                hitters.count(b"sometimes", 100, 0);
            }
        }
        // Each of the 27,500 that were counted stands for ten, which came in 5 seconds.
        let found = most_frequent(&mut hitters, 105, 275_000);
        assert_eq!([&*found[0].0, &found[1].0], ["often", "sometimes"]);
        // 5,000 of 27,500; at most a 64th of all too many.
        assert!((10_000.0..10_900.0).contains(&found[0].1), "{found:?}");
    }

    #[test]
    fn names_are_forgotten_after_two_windows() {
        let mut hitters = HeavyHitters::new();
        for _ in 0..10 {
            hitters.count(b"early", 100, 0);
        }
        hitters.count(b"late", 110, 100);
        assert_eq!(most_frequent(&mut hitters, 110, 110)[0].0, "early");
        // The last window began with the 100th name, ten seconds ago.
        let found = most_frequent(&mut hitters, 120, 150);
        assert_eq!(found, [("late".to_owned(), 5.0)]);
        assert_eq!(most_frequent(&mut hitters, 140, 150), []);
    }
}
