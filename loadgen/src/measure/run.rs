//! One run and its report; with `--verify`, the check of its order.

use anyhow::{Context, Result, anyhow};
use globalcounter::protocol::Op;

use super::neighbours::Neighbours;
use super::prepare::{ensure_served, prepare};
use crate::drive;
use crate::observe::{Environment, Process};
use crate::plan::Plan;
use crate::report::{Load, Progress, Report, Summary};
use crate::verify::{self, History, Verdict};

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

/// One run, checked where that was asked for.
///
/// # Errors
///
/// The server failed, answered nothing, or its order does not hold.
pub(crate) fn run(plan: &Plan, process: Option<&Process>) -> Result<Report> {
    prepare(plan)?;
    let before = sums(plan)?;
    let neighbours = Neighbours::watch(plan, process);
    let mut progress = Progress::of(plan, plan.target.name());
    let mut measured = drive::run(plan, process, &mut |tick| progress.tick(tick))?;
    drop(progress);
    let shared_processors = neighbours.shared_processors();
    ensure_served(&measured)?;
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
        shared_processors,
    })
}

/// What every topic's sum is, where that is to be checked.
fn sums(plan: &Plan) -> Result<Option<History>> {
    if !plan.verify {
        return Ok(None);
    }
    // Without GET, one more count tells.
    let op = if plan.target.supports(Op::Get) {
        Op::Get
    } else {
        Op::Count
    };
    let seen = drive::each_topic(plan, op).context("asking for the sums of all topics")?;
    ensure_served(&seen).context("asking for the sums of all topics")?;
    Ok(Some(seen.history))
}

/// Checks the order of a run.
fn verified(plan: &Plan, before: History, during: History, full: bool) -> Result<Verdict> {
    if full {
        eprintln!(
            "loadgen: ended after {} replies, as many as --verify keeps ({} bytes each)",
            verify::MAX_RECORDS,
            verify::RECORD_LEN
        );
    }
    let mut history = before;
    history.append(during);
    if let Some(after) = sums(plan)? {
        history.append(after);
    }
    let replies = history.len();
    verify::check(history, &plan.workload.names).map_err(|violation| {
        anyhow!("the order is broken ({replies} replies checked): {violation}")
    })
}
