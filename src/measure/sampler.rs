//! Decides which of many events to measure.

use super::counter::Counter;

/// Chooses one event of [`INTERVAL`](Sampler::INTERVAL), on average. The intervals are irregular, so that
/// they do not coincide with a rhythm of the events. One thread uses it.
#[derive(Debug)]
pub(crate) struct Sampler {
    events: Counter,
    /// How many more events are not chosen.
    left: Counter,
}

impl Sampler {
    /// Reading the clock twice for one event in this many costs each event less than a nanosecond.
    pub(crate) const INTERVAL: u64 = 64;

    pub(crate) const fn new() -> Self {
        Self {
            events: Counter::new(),
            left: Counter::new(),
        }
    }

    /// Tells of an event. If it is chosen, returns for how many it stands: those up to the next one
    /// that is chosen.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        let left = self.left.get();
        if left > 0 {
            self.left.set(left - 1);
            return None;
        }
        self.choose()
    }

    #[cold]
    fn choose(&self) -> Option<u64> {
        // Bits of a product with the golden ratio, at most twice the interval.
        self.events.add(1);
        let irregular = self.events.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let stands_for = 1 + irregular % (2 * Self::INTERVAL - 1);
        self.left.set(stands_for - 1);
        Some(stands_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that alternate are chosen evenly: neither odd nor even ones are preferred.
    #[test]
    fn choices_are_irregular_and_stand_for_all_events() {
        let sampler = Sampler::new();
        let (mut chosen, mut stand_for, mut odd) = (0, 0, 0);
        for event in 0..100_000 {
            if let Some(events) = sampler.next() {
                chosen += 1;
                stand_for += events;
                odd += event % 2;
            }
        }
        let mean: u64 = 100_000 / chosen;
        assert!(mean.abs_diff(Sampler::INTERVAL) < 8, "one in {mean}");
        assert!((100_000..100_200).contains(&stand_for), "{stand_for}");
        assert!(
            (chosen / 3..2 * chosen / 3).contains(&odd),
            "{odd} of {chosen}"
        );
    }
}
