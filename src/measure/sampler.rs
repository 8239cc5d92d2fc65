//! Decides which of many events to measure.

use super::counter::Counter;

/// Chooses one event of some number, on average. The intervals are irregular, so that they do not coincide
/// with a rhythm of the events. One thread uses it.
#[derive(Debug)]
pub(crate) struct Sampler {
    interval: u64,
    choices: Counter,
    /// How many more events are not chosen.
    left: Counter,
}

impl Sampler {
    /// Creates one that chooses one event of `interval`, and the first at once.
    pub(crate) const fn new(interval: u64) -> Self {
        Self {
            interval,
            choices: Counter::new(),
            left: Counter::new(),
        }
    }

    /// Tells of an event. If it is chosen, returns for how many it stands: those up to the next one
    /// that is chosen.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        self.among(1).map(|_| self.left.get() + 1)
    }

    /// Tells of several events, those up to the first that is chosen. Returns how many came before it, or
    /// `None` if none of them is chosen.
    #[inline]
    pub(crate) fn among(&self, events: usize) -> Option<usize> {
        let left = self.left.get();
        if left >= events as u64 {
            self.left.set(left - events as u64);
            return None;
        }
        self.choose_next();
        Some(left as usize)
    }

    #[cold]
    fn choose_next(&self) {
        // Bits of a product with the golden ratio, less than twice the interval.
        self.choices.add(1);
        let irregular = self.choices.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.left.set(irregular % (2 * self.interval - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that alternate are chosen evenly: neither odd nor even ones are preferred.
    #[test]
    fn choices_are_irregular_and_stand_for_all_events() {
        let sampler = Sampler::new(64);
        let (mut chosen, mut stand_for, mut odd) = (0, 0, 0);
        for event in 0..100_000 {
            if let Some(events) = sampler.next() {
                chosen += 1;
                stand_for += events;
                odd += event % 2;
            }
        }
        let mean: u64 = 100_000 / chosen;
        assert!(mean.abs_diff(64) < 8, "one in {mean}");
        assert!((100_000..100_200).contains(&stand_for), "{stand_for}");
        assert!(
            (chosen / 3..2 * chosen / 3).contains(&odd),
            "{odd} of {chosen}"
        );
    }

    #[test]
    fn the_same_events_are_chosen_however_they_are_told() {
        let (one, many) = (Sampler::new(10), Sampler::new(10));
        let expected: Vec<_> = (0..1_000).filter(|_| one.next().is_some()).collect();
        let mut chosen = Vec::new();
        for batch in (0..1_000).step_by(50) {
            let mut told = 0;
            while let Some(before) = many.among(50 - told) {
                chosen.push(batch + told + before);
                told += before + 1;
            }
        }
        assert_eq!(chosen, expected);
    }
}
