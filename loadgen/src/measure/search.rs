//! The search for the highest rate that a server keeps. Knows no clock and no server.

use anyhow::Result;

use crate::values::Bounds;

/// The rates of a ramp before it is known between which two the highest lies, about.
const RAMP_STEPS: i32 = 8;
/// And how often what is between those two is halved.
const RAMP_HALVINGS: i32 = 4;

/// Tries rates, each higher than the one before by the same factor, until one is not kept; then
/// halves what is between.
pub(super) fn search(bounds: Bounds, try_rate: &mut impl FnMut(f64) -> Result<bool>) -> Result<()> {
    let Bounds { from, to } = bounds;
    let factor = (to / from).powf(1.0 / f64::from(RAMP_STEPS - 1));
    let mut kept = None;
    for step in 0..RAMP_STEPS {
        let rate = from * factor.powi(step);
        if try_rate(rate)? {
            kept = Some(rate);
            continue;
        }
        let Some(mut kept) = kept else {
            return Ok(()); // Lower ones were not asked for.
        };
        let mut not_kept = rate;
        for _ in 0..RAMP_HALVINGS {
            let between = (kept * not_kept).sqrt();
            if try_rate(between)? {
                kept = between;
            } else {
                not_kept = between;
            }
        }
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_close_to_the_limit() {
        for limit in [1_500.0, 40_000.0, 123_456.0, 900_000.0] {
            let (mut highest, mut tries) = (0.0f64, 0);
            let bounds = "1000..1000000".parse().unwrap();
            search(bounds, &mut |rate| {
                tries += 1;
                let kept = rate <= limit;
                if kept {
                    highest = highest.max(rate);
                }
                Ok(kept)
            })
            .unwrap();
            assert!(
                highest <= limit && highest > 0.92 * limit,
                "{highest} of {limit}"
            );
            assert!(tries <= RAMP_STEPS + RAMP_HALVINGS);
        }
    }
}
