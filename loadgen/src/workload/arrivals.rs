//! When the requests of an open loop are due: a schedule that does not depend on the server.

use rand_distr::{Distribution, Exp1};

use super::rng::Rng;

/// The spacing of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spacing {
    /// Space all requests equally
    Fixed,
    /// Space them at random, as from many independent callers
    Poisson,
}

/// The times at which requests are due, ascending and endless.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Average time between two requests, in nanoseconds.
    interval: f64,
    spacing: Spacing,
    rng: Rng,
    /// When the next request is due, in nanoseconds. A fraction, so that rounding does not change the
    /// rate.
    due: f64,
}

impl Arrivals {
    /// Returns the arrivals of thread `number` out of `among`, from time 0. All threads together have
    /// `rate` arrivals per second.
    pub(super) fn new(rate: f64, number: usize, among: usize, spacing: Spacing, rng: Rng) -> Self {
        let interval = among as f64 * 1e9 / rate;
        let mut arrivals = Self {
            interval,
            spacing,
            rng,
            due: 0.0,
        };
        match spacing {
            // Threads take turns, so that the arrivals of all threads are equally spaced.
            Spacing::Fixed => arrivals.due = (number + 1) as f64 * 1e9 / rate,
            Spacing::Poisson => arrivals.advance(),
        }
        arrivals
    }

    /// Returns when the next request is due, in nanoseconds.
    #[inline]
    pub(crate) fn due(&self) -> u64 {
        self.due as u64
    }

    /// Moves on to the request after it.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.due += match self.spacing {
            Spacing::Fixed => self.interval,
            Spacing::Poisson => {
                let gap: f64 = Exp1.sample(&mut self.rng);
                gap * self.interval
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn times(spacing: Spacing) -> Vec<u64> {
        of_thread(0, 1, spacing)
    }

    fn of_thread(number: usize, among: usize, spacing: Spacing) -> Vec<u64> {
        let mut arrivals = Arrivals::new(1e6, number, among, spacing, Rng::seed_from_u64(1));
        let next = || {
            let due = arrivals.due();
            arrivals.advance();
            due
        };
        std::iter::repeat_with(next).take(10_000).collect()
    }

    #[test]
    fn arrivals_keep_their_rate() {
        let fixed = times(Spacing::Fixed);
        assert_eq!(fixed[..3], [1_000, 2_000, 3_000]);
        assert_eq!(fixed[9_999], 10_000_000);
        assert_eq!(of_thread(1, 3, Spacing::Fixed)[..3], [2_000, 5_000, 8_000]);
        let poisson = times(Spacing::Poisson);
        assert!(poisson.is_sorted());
        // The standard deviation is a hundredth of it.
        assert!(poisson[9_999].abs_diff(10_000_000) < 400_000);
        let gaps = poisson.windows(2).map(|pair| pair[1] - pair[0]);
        let short = gaps.filter(|&gap| gap < 693).count(); // half of them, by the median of Exp
        assert!(short.abs_diff(5_000) < 200, "{short}");
    }
}
