//! What comes before and after a run: topics made beforehand, and whether anything was served.

use anyhow::{Context, Result, bail};
use globalcounter::protocol::Op;

use crate::drive::{self, Measured};
use crate::plan::Plan;

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
    ensure_served(&made).context("preparing the topics")
}

/// Fails where no request was served.
pub(super) fn ensure_served(measured: &Measured) -> Result<()> {
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
