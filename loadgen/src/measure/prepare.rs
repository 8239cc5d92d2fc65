//! Steps that all measurements share: the nodes of a Redis Cluster are found and topics are prepared
//! before a run, and a run that served nothing is an error.

use anyhow::{Context, Result, bail, ensure};
use globalcounter::protocol::Op;

use crate::drive::{self, Measured};
use crate::plan::Plan;

/// Returns the plan with all nodes of the cluster among its servers, if requests are sent to owners.
///
/// # Errors
///
/// No server knows a cluster, or there are too few connections for its nodes.
pub(crate) fn with_nodes(plan: &Plan) -> Result<Plan> {
    let mut plan = plan.clone();
    if plan.redis_cluster {
        plan.servers = drive::nodes(&plan)?;
        plan.in_use = (0..).take(plan.servers.len()).collect();
        // Each thread needs a connection to every owner.
        let most = plan.connections / plan.threads;
        ensure!(
            plan.servers.len() <= most,
            "--redis-cluster needs a connection to each of {} nodes on each thread, and \
             --connections is {}",
            plan.servers.len(),
            plan.connections
        );
    }
    Ok(plan)
}

/// Creates every topic, if the plan says so or counting does not create topics.
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
        verify: None,
        ..plan.clone()
    };
    let created = drive::each_topic(&plan, op, None).context("preparing the topics")?;
    ensure_served(&created).context("preparing the topics")
}

/// Makes sure that requests were served.
///
/// # Errors
///
/// No request was served; the error has the refusals.
pub(crate) fn ensure_served(measured: &Measured) -> Result<()> {
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
