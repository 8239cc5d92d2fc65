//! The search for the highest rate that a server sustains. Knows no clock and no server.

use anyhow::Result;

use crate::values::Bounds;

/// Rates on the way up from the lower to the upper bound.
const STEPS_UP: i32 = 8;

/// How often the interval between the highest sustained and the lowest failed rate is halved.
const HALVINGS: i32 = 4;

/// Tries per rate. A rate is sustained if one of them succeeds: a single unlucky second, in which the
/// system ran something else, must not end the search far below the limit. The number is small
/// because a try that overloads the server takes longer than its duration.
const TRIES: u32 = 3;

/// What came of a try at a rate, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// The server did not answer all requests while they were due, or refused some.
    Overloaded,
    /// It answered all requests in time, but p99 was over the limit. If the system ran something else
    /// in that second, this says little about the rate.
    Late,
    /// It sustained the rate.
    Sustained,
}

/// Searches for the highest rate that `try_rate` sustains. Raises the rate by a constant factor, then
/// halves the interval between the highest sustained rate and the failed one above it. A failed rate
/// is tried again, up to [`TRIES`] times in all; `try_rate` gets the rate and the number of the try,
/// from 1.
///
/// One failed rate does not end the way up, because noise makes rates late far below the limit, and a
/// server that sustains the next rate sustains this one, too. The way up ends at a rate that overloads
/// the server, if the one before failed as well.
///
/// # Errors
///
/// Returns the first error of `try_rate`.
pub(super) fn search(
    bounds: Bounds,
    try_rate: &mut impl FnMut(f64, u32) -> Result<Outcome>,
) -> Result<()> {
    let Bounds { from, to } = bounds;
    let factor = (to / from).powf(1.0 / f64::from(STEPS_UP - 1));
    // The highest sustained rate, and the lowest failed rate above it.
    let (mut sustained, mut failed) = (None, None);
    for step in 0..STEPS_UP {
        let rate = from * factor.powi(step);
        match best_of_tries(rate, try_rate)? {
            Outcome::Sustained => (sustained, failed) = (Some(rate), None),
            Outcome::Overloaded if failed.is_some() => break,
            Outcome::Late | Outcome::Overloaded => failed = failed.or(Some(rate)),
        }
    }
    match (sustained, failed) {
        (Some(sustained), Some(failed)) => halve(sustained, failed, try_rate),
        // Every rate was sustained, or none: rates outside the bounds are not wanted.
        _ => Ok(()),
    }
}

/// Narrows the interval between a sustained and a failed rate.
fn halve(
    mut sustained: f64,
    mut failed: f64,
    try_rate: &mut impl FnMut(f64, u32) -> Result<Outcome>,
) -> Result<()> {
    for _ in 0..HALVINGS {
        let between = (sustained * failed).sqrt();
        if best_of_tries(between, try_rate)? == Outcome::Sustained {
            sustained = between;
        } else {
            failed = between;
        }
    }
    Ok(())
}

/// Returns the best outcome of up to [`TRIES`] tries at `rate`. The first that sustains it is the last.
fn best_of_tries(
    rate: f64,
    try_rate: &mut impl FnMut(f64, u32) -> Result<Outcome>,
) -> Result<Outcome> {
    let mut best = Outcome::Overloaded;
    for number in 1..=TRIES {
        best = best.max(try_rate(rate, number)?);
        if best == Outcome::Sustained {
            break;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    const LIMITS: [f64; 4] = [1_500.0, 40_000.0, 123_456.0, 900_000.0];

    /// Returns the highest rate that was sustained, and the number of tries, against a server that sustains
    /// every rate up to `limit`, except in tries that `is_unlucky`: those are late.
    fn searched(limit: f64, mut is_unlucky: impl FnMut(f64, u32) -> bool) -> (f64, u32) {
        let (mut highest, mut tries) = (0.0f64, 0);
        let bounds = "1000..1000000".parse().unwrap();
        search(bounds, &mut |rate, number| {
            tries += 1;
            if rate > limit {
                return Ok(Outcome::Overloaded);
            }
            if is_unlucky(rate, number) {
                return Ok(Outcome::Late);
            }
            highest = highest.max(rate);
            Ok(Outcome::Sustained)
        })
        .unwrap();
        (highest, tries)
    }

    fn is_close(highest: f64, limit: f64) -> bool {
        highest <= limit && highest > 0.92 * limit
    }

    #[test]
    fn a_search_ends_close_to_the_limit() {
        for limit in LIMITS {
            let (highest, tries) = searched(limit, |_, _| false);
            assert!(is_close(highest, limit), "{highest} of {limit}");
            let rates = (STEPS_UP + HALVINGS) as u32;
            let repeats = (TRIES - 1) * (2 + HALVINGS as u32);
            assert!(tries <= rates + repeats, "{tries} tries");
        }
    }

    /// Guards against a search that one unlucky second ends: it found 213,618 requests a second
    /// where the same server sustained 7.7 million.
    #[test]
    fn unlucky_tries_do_not_end_a_search() {
        let every_first_try = |_, number| number == 1;
        let all_but_the_last = |_, number| number < TRIES;
        for limit in LIMITS {
            for is_unlucky in [every_first_try, all_but_the_last] {
                let (highest, tries) = searched(limit, is_unlucky);
                assert!(is_close(highest, limit), "{highest} of {limit}");
                assert!(tries <= TRIES * (STEPS_UP + HALVINGS) as u32, "{tries}");
            }
        }
    }

    /// Every fifth try fails at random. Three in a row are rare, one in 125 rates.
    #[test]
    fn a_search_withstands_random_failures() {
        const SEARCHES: u64 = 250;
        for limit in LIMITS {
            let close = (0..SEARCHES).filter(|&seed| {
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let (highest, _) = searched(limit, |_, _| rng.random_bool(0.2));
                is_close(highest, limit)
            });
            let close = close.count() as u64;
            assert!(close * 10 >= SEARCHES * 9, "{close} of {SEARCHES}: {limit}");
        }
    }

    #[test]
    fn a_search_ends_after_two_overloaded_rates_of_three_tries() {
        assert_eq!(searched(500.0, |_, _| false), (0.0, 2 * TRIES));
    }

    /// Guards against a search that noise ends at low rates: load and server that share processors
    /// are late at rates that are a tenth of the limit.
    #[test]
    fn late_rates_do_not_end_a_search() {
        for limit in LIMITS {
            let (highest, _) = searched(limit, |rate, _| rate < limit / 10.0);
            assert!(is_close(highest, limit), "{highest} of {limit}");
        }
    }
}
