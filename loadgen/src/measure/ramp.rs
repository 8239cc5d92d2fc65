//! A ramp: runs at one rate after another, and their report.

use std::time::Duration;

use anyhow::Result;

use super::cpu_sharing::CpuSharing;
use super::prepare::{ensure_served, prepare};
use super::search::{Outcome, search};
use crate::drive::{self, Measured};
use crate::observe::{Environment, Process};
use crate::plan::{Pace, Plan};
use crate::report::{Latency, Load, Progress, Ramp, Report, Step, Summary};
use crate::values::Bounds;

/// A rate is achieved if at least this share of the requests that were due while it was measured
/// was also answered by then.
const ACHIEVED: f64 = 0.98;

/// Searches for the highest rate at which p99 is at most `slo`.
///
/// # Errors
///
/// Returns the errors of a run, if not even one rate could be measured before. Later, such a rate
/// is a rate that is not sustained.
pub(crate) fn ramp(
    plan: &Plan,
    bounds: Bounds,
    slo: Duration,
    process: Option<&Process>,
) -> Result<Report> {
    prepare(plan)?;
    let sharing = CpuSharing::watch(plan, process);
    let slo_micros = slo.as_secs_f64() * 1e6;
    let mut steps: Vec<Step> = Vec::new();
    let mut best: Option<(f64, Summary)> = None;
    let mut try_rate = |rate: f64, number: u32| -> Result<Outcome> {
        let (step, outcome) = match measure(&at_rate(plan, rate), rate, number, process) {
            Ok(measured) => {
                let (step, outcome) = judge(&measured, rate, slo_micros);
                if step.sustained && best.as_ref().is_none_or(|(highest, _)| rate > *highest) {
                    best = Some((rate, Summary::of(&measured, process)));
                }
                (step, outcome)
            }
            // The reason is not the rate if nothing was ever measured.
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => (Step::failed(rate, &error), Outcome::Overloaded),
        };
        match steps.last_mut() {
            Some(last) if number > 1 => last.add_try(step),
            _ => steps.push(step),
        }
        Ok(outcome)
    };
    search(bounds, &mut try_rate)?;
    let (highest, result) = best.unzip();
    Ok(Report {
        environment: Environment::here(),
        load: Load::of(&at_rate(plan, highest.unwrap_or(bounds.from))),
        result,
        ramp: Some(Ramp::new(slo_micros, highest, steps)),
        verified: None,
        shared_processors: sharing.shared_processors(),
    })
}

/// Runs one try at a rate.
fn measure(plan: &Plan, rate: f64, number: u32, process: Option<&Process>) -> Result<Measured> {
    let name = match number {
        1 => format!("{rate:.0}/s"),
        _ => format!("{rate:.0}/s, try {number}"),
    };
    let mut progress = Progress::of(plan, &name);
    let measured = drive::run(plan, process, &mut |tick| progress.tick(tick))?;
    ensure_served(&measured)?;
    Ok(measured)
}

/// Returns whether the server answered the requests of an open loop while they were due. They are
/// compared with those that were due, not with the rate: random arrivals are a little more or fewer
/// than the rate says.
pub(crate) fn sustains(measured: &Measured) -> bool {
    measured.replies as f64 >= ACHIEVED * measured.latency.len() as f64
}

/// Judges one try at a rate.
fn judge(measured: &Measured, rate: f64, slo_micros: f64) -> (Step, Outcome) {
    let latency = Latency::of(&measured.latency);
    let sound = measured.refused.is_empty() && measured.lost == 0;
    let outcome = match sound && sustains(measured) {
        false => Outcome::Overloaded,
        true if latency.p99 > slo_micros => Outcome::Late,
        true => Outcome::Sustained,
    };
    let step = Step {
        target_rate: rate,
        tries: 1,
        rate: measured.rate(),
        latency,
        sustained: outcome == Outcome::Sustained,
        failed: None,
    };
    (step, outcome)
}

fn at_rate(plan: &Plan, rate: f64) -> Plan {
    let mut plan = plan.clone();
    if let Pace::Open { rate: target, .. } = &mut plan.pace {
        *target = rate;
    }
    plan
}
