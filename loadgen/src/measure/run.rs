//! One run and its report; with `--verify`, the check of its order.

use anyhow::{Context, Result, anyhow};
use globalcounter::protocol::Op;

use super::cpu_sharing::CpuSharing;
use super::prepare::{ensure_served, prepare};
use crate::drive;
use crate::observe::{Environment, Process};
use crate::plan::{Plan, Promise};
use crate::report::{Load, Progress, Report, Summary};
use crate::verify::{self, History, Rules, Verdict};

/// Returns the server's process: the given one, or the one that listens at the server's address.
/// `None` if that is not on this machine or may not be observed, or if there are several servers.
///
/// # Errors
///
/// There is no process with that id.
pub(crate) fn process_of(plan: &Plan, pid: Option<i32>) -> Result<Option<Process>> {
    if let Some(pid) = pid {
        return Process::with_pid(pid).map(Some);
    }
    let udp = plan.target.transport().is_udp();
    match plan.servers[..] {
        [server] => Ok(Process::listening_at(server, udp)),
        _ => Ok(None),
    }
}

/// Measures one run, and checks its order if the plan says so.
///
/// # Errors
///
/// The server failed, answered nothing, or broke its order.
pub(crate) fn run(plan: &Plan, process: Option<&Process>) -> Result<Report> {
    prepare(plan)?;
    let before = sums(plan)?;
    let sharing = CpuSharing::watch(plan, process);
    let mut progress = Progress::of(plan, plan.target.name());
    let mut measured = drive::run(plan, process, &mut |tick| progress.tick(tick))?;
    drop(progress);
    let shared_processors = sharing.shared_processors();
    ensure_served(&measured)?;
    let verified = match plan.verify.zip(before) {
        None => None,
        Some((promise, before)) => Some(verified(
            plan,
            promise,
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

/// Returns every topic's sum. `None` if the order is not checked.
fn sums(plan: &Plan) -> Result<Option<History>> {
    if plan.verify.is_none() {
        return Ok(None);
    }
    // Without GET, one more count returns the sum.
    let op = if plan.target.supports(Op::Get) {
        Op::Get
    } else {
        Op::Count
    };
    let measured =
        drive::each_topic(plan, op, None).context("asking for the sums of all topics")?;
    ensure_served(&measured).context("asking for the sums of all topics")?;
    Ok(Some(measured.history))
}

/// Checks the order of a run.
fn verified(
    plan: &Plan,
    promise: Promise,
    before: History,
    during: History,
    full: bool,
) -> Result<Verdict> {
    if full {
        eprintln!(
            "loadgen: ended after {} requests, as many as --verify keeps ({} bytes each)",
            verify::MAX_RECORDS,
            verify::RECORD_LEN
        );
    }
    let mut history = before;
    let began = history.append(during);
    let ended = history.append(sums(plan)?.unwrap_or_default());
    let replies = history.len();
    let rules = Rules {
        promise,
        names: &plan.workload.names,
        servers: &plan.servers,
        run: began..ended,
    };
    verify::check(history, &rules).map_err(|violation| {
        anyhow!("the order is broken ({replies} replies checked): {violation}")
    })
}
