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

/// Searches for the highest rate at which `try_rate` succeeds. Raises the rate by a constant factor
/// until one fails, then halves the interval below it. A failed rate is tried again, up to [`TRIES`]
/// times in all; `try_rate` gets the rate and the number of the try, from 1.
///
/// # Errors
///
/// Returns the first error of `try_rate`.
pub(super) fn search(
    bounds: Bounds,
    try_rate: &mut impl FnMut(f64, u32) -> Result<bool>,
) -> Result<()> {
    let Bounds { from, to } = bounds;
    let factor = (to / from).powf(1.0 / f64::from(STEPS_UP - 1));
    let mut sustained = None;
    for step in 0..STEPS_UP {
        let rate = from * factor.powi(step);
        if sustains(rate, try_rate)? {
            sustained = Some(rate);
            continue;
        }
        let Some(sustained) = sustained else {
            return Ok(()); // Rates below the lower bound are not wanted.
        };
        return halve(sustained, rate, try_rate);
    }
    Ok(())
}

/// Narrows the interval between a sustained and a failed rate.
fn halve(
    mut sustained: f64,
    mut failed: f64,
    try_rate: &mut impl FnMut(f64, u32) -> Result<bool>,
) -> Result<()> {
    for _ in 0..HALVINGS {
        let between = (sustained * failed).sqrt();
        if sustains(between, try_rate)? {
            sustained = between;
        } else {
            failed = between;
        }
    }
    Ok(())
}

/// Returns whether one of up to [`TRIES`] tries at `rate` succeeds.
fn sustains(rate: f64, try_rate: &mut impl FnMut(f64, u32) -> Result<bool>) -> Result<bool> {
    for number in 1..=TRIES {
        if try_rate(rate, number)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    const LIMITS: [f64; 4] = [1_500.0, 40_000.0, 123_456.0, 900_000.0];

    /// Returns the highest rate that was sustained, and the number of tries, against a server that
    /// sustains every rate up to `limit`, except in tries that `is_unlucky`.
    fn searched(limit: f64, mut is_unlucky: impl FnMut(u32) -> bool) -> (f64, u32) {
        let (mut highest, mut tries) = (0.0f64, 0);
        let bounds = "1000..1000000".parse().unwrap();
        search(bounds, &mut |rate, number| {
            tries += 1;
            let sustained = rate <= limit && !is_unlucky(number);
            if sustained {
                highest = highest.max(rate);
            }
            Ok(sustained)
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
            let (highest, tries) = searched(limit, |_| false);
            assert!(is_close(highest, limit), "{highest} of {limit}");
            let rates = (STEPS_UP + HALVINGS) as u32;
            let repeats = (TRIES - 1) * (1 + HALVINGS as u32);
            assert!(tries <= rates + repeats, "{tries} tries");
        }
    }

    /// Guards against a search that one unlucky second ends: it found 213,618 requests a second
    /// where the same server sustained 7.7 million.
    #[test]
    fn unlucky_tries_do_not_end_a_search() {
        let every_first_try = |number| number == 1;
        let all_but_the_last = |number| number < TRIES;
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
                let (highest, _) = searched(limit, |_| rng.random_bool(0.2));
                is_close(highest, limit)
            });
            let close = close.count() as u64;
            assert!(close * 10 >= SEARCHES * 9, "{close} of {SEARCHES}: {limit}");
        }
    }

    #[test]
    fn a_rate_above_the_limit_is_tried_three_times_and_not_sustained() {
        assert_eq!(searched(500.0, |_| false), (0.0, TRIES));
    }
}
