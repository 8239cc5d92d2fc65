//! A ramp: runs at one rate after another, and their report.

use std::time::Duration;

use anyhow::Result;

use super::prepare::{prepare, refuse_nothing};
use super::search::search;
use crate::drive;
use crate::observe::{Environment, Process};
use crate::plan::{Pace, Plan};
use crate::report::{Latency, Load, Progress, Ramp, Report, Step, Summary};
use crate::values::Bounds;

/// A rate is achieved where at least this share of what was due while it was measured was also
/// answered by then.
const ACHIEVED: f64 = 0.98;

/// Searches for the highest rate at which p99 is at most `slo`.
///
/// # Errors
///
/// Those of a run; a rate that can't be kept is no error.
pub(crate) fn ramp(
    plan: &Plan,
    bounds: Bounds,
    slo: Duration,
    process: Option<&Process>,
) -> Result<Report> {
    prepare(plan)?;
    let slo_micros = slo.as_secs_f64() * 1e6;
    let mut steps = Vec::new();
    let mut best: Option<(f64, Summary)> = None;
    let mut try_rate = |rate: f64| -> Result<bool> {
        let plan = at_rate(plan, rate);
        let mut progress = Progress::of(&plan, &format!("{rate:.0}/s"));
        let measured = drive::run(&plan, process, &mut |tick| progress.tick(tick))
            .and_then(|measured| refuse_nothing(&measured).map(|()| measured));
        drop(progress);
        let measured = match measured {
            Ok(measured) => measured,
            // Where none was measured, it is not the rate.
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => {
                steps.push(Step::failed(rate, &error));
                return Ok(false);
            }
        };
        let latency = Latency::of(&measured.latency);
        let sound = measured.refused.is_empty() && measured.lost == 0;
        // Of those that were due: at random, they are some more or fewer than the rate says.
        let achieved = measured.replies as f64 >= ACHIEVED * measured.latency.len() as f64;
        let kept = sound && latency.p99 <= slo_micros && achieved;
        steps.push(Step {
            asked: rate,
            rate: measured.rate(),
            latency,
            kept,
            failed: None,
        });
        if kept && best.as_ref().is_none_or(|(highest, _)| rate > *highest) {
            best = Some((rate, Summary::of(&measured, process)));
        }
        Ok(kept)
    };
    search(bounds, &mut try_rate)?;
    let (highest, result) = best.unzip();
    Ok(Report {
        environment: Environment::here(),
        load: Load::of(&at_rate(plan, highest.unwrap_or(bounds.from))),
        result,
        ramp: Some(Ramp {
            slo: slo_micros,
            highest,
            steps,
        }),
        verified: None,
    })
}

fn at_rate(plan: &Plan, rate: f64) -> Plan {
    let mut plan = plan.clone();
    if let Pace::Open { rate: asked, .. } = &mut plan.pace {
        *asked = rate;
    }
    plan
}
