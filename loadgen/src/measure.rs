//! Carries out what a plan says from beginning to end, and puts it into a [`Report`]: topics made
//! beforehand, the run or the ramp, the check of its order.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use globalcounter::protocol::Op;

use crate::drive::{self, Measured};
use crate::observe::{Environment, Process};
use crate::plan::{Pace, Plan};
use crate::report::{Latency, Load, Progress, Ramp, Report, Step, Summary};
use crate::values::Bounds;
use crate::verify::{self, History, Verdict};

/// The rates of a ramp before it is known between which two the highest lies, about.
const RAMP_STEPS: i32 = 8;
/// And how often what is between those two is halved.
const RAMP_HALVINGS: i32 = 4;

/// A rate is achieved where at least this share of what was due while it was measured was also
/// answered by then.
const ACHIEVED: f64 = 0.98;

/// The server's process: the one that was told, or whoever listens there.
///
/// # Errors
///
/// There is no process with that number.
pub(crate) fn process_of(plan: &Plan, pid: Option<i32>) -> Result<Option<Process>> {
    if let Some(pid) = pid {
        return Process::with_pid(pid).map(Some);
    }
    let udp = plan.target.transport().is_udp();
    Ok(Process::listening_at(plan.server, udp))
}

/// Makes every topic, where that was asked for or counting alone makes none.
///
/// # Errors
///
/// Those of a run.
pub(crate) fn prepare(plan: &Plan) -> Result<()> {
    let op = match plan.target.creates_with() {
        Some(op) => op,
        None if plan.prepare => Op::Count,
        None => return Ok(()),
    };
    let plan = Plan {
        verify: false,
        ..plan.clone()
    };
    let made = drive::each_topic(&plan, op).context("preparing the topics")?;
    refuse_nothing(&made).context("preparing the topics")
}

/// One run, checked where that was asked for.
///
/// # Errors
///
/// The server failed, answered nothing, or its order does not hold.
pub(crate) fn run(plan: &Plan, process: Option<&Process>) -> Result<Report> {
    prepare(plan)?;
    let before = sums(plan)?;
    let mut progress = Progress::of(plan, plan.target.name());
    let mut measured = drive::run(plan, process, &mut |tick| progress.tick(tick))?;
    drop(progress);
    refuse_nothing(&measured)?;
    let verified = match before {
        None => None,
        Some(before) => Some(verified(
            plan,
            before,
            std::mem::take(&mut measured.history),
            measured.full,
        )?),
    };
    Ok(Report {
        environment: Environment::here(),
        load: Load::of(plan),
        result: Some(Summary::of(&measured, process)),
        ramp: None,
        verified,
    })
}

/// Fails where no request was served.
fn refuse_nothing(measured: &Measured) -> Result<()> {
    if measured.replies > measured.refused.values().sum() {
        return Ok(());
    }
    if measured.refused.is_empty() {
        bail!(
            "no request was answered while it was measured ({} were lost)",
            measured.lost
        );
    }
    let codes: Vec<&str> = measured.refused.keys().map(String::as_str).collect();
    let first = measured.first_refusal.as_deref().unwrap_or_default();
    match codes[..] {
        [code] if code == first => bail!("the server refused every request: {code}"),
        _ => bail!(
            "the server refused every request: {} (the first: {first})",
            codes.join(", ")
        ),
    }
}

/// What every topic's sum is, where that is to be checked.
fn sums(plan: &Plan) -> Result<Option<History>> {
    if !plan.verify {
        return Ok(None);
    }
    // Without GET, one more count tells.
    let op = if plan.target.has(Op::Get) {
        Op::Get
    } else {
        Op::Count
    };
    let seen = drive::each_topic(plan, op).context("asking for the sums of all topics")?;
    refuse_nothing(&seen).context("asking for the sums of all topics")?;
    Ok(Some(seen.history))
}

/// Checks the order of a run.
fn verified(plan: &Plan, before: History, during: History, full: bool) -> Result<Verdict> {
    if full {
        eprintln!(
            "loadgen: ended after {} replies, as many as --verify keeps ({} bytes each)",
            verify::RECORDS,
            verify::RECORD_LEN
        );
    }
    let mut history = before;
    history.then(during);
    if let Some(after) = sums(plan)? {
        history.then(after);
    }
    let replies = history.len();
    verify::check(history, &plan.workload.names).map_err(|violation| {
        anyhow!("the order is broken ({replies} replies checked): {violation}")
    })
}

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

/// Tries rates, each higher than the one before by the same factor, until one is not kept; then
/// halves what is between.
fn search(bounds: Bounds, try_rate: &mut impl FnMut(f64) -> Result<bool>) -> Result<()> {
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

fn at_rate(plan: &Plan, rate: f64) -> Plan {
    let mut plan = plan.clone();
    if let Pace::Open { rate: asked, .. } = &mut plan.pace {
        *asked = rate;
    }
    plan
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
