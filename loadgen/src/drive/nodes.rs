//! The nodes of a Redis Cluster, before a run.

use std::net::SocketAddr;

use anyhow::{Context, Error, Result, anyhow};

use super::hello;
use super::routes::address_of;
use super::socket::Socket;
use crate::plan::Plan;

/// Returns the plan's servers and the nodes that the first of them that answers knows.
///
/// # Errors
///
/// No server answers, or it is no node of a cluster.
pub(crate) fn nodes(plan: &Plan) -> Result<Vec<SocketAddr>> {
    let mut failed: Option<Error> = None;
    for &server in &plan.servers {
        match ask(plan, server) {
            Ok(nodes) => {
                let mut servers = plan.servers.clone();
                for node in nodes {
                    if !servers.contains(&node) {
                        servers.push(node);
                    }
                }
                return Ok(servers);
            }
            Err(error) => {
                failed.get_or_insert(error.context(format!("asking {server} for its cluster")));
            }
        }
    }
    Err(failed.unwrap_or_else(|| anyhow!("there is no server to ask")))
}

fn ask(plan: &Plan, server: SocketAddr) -> Result<Vec<SocketAddr>> {
    let mut socket = Socket::connect(plan, server)?;
    if let Some(token) = &plan.token {
        hello::authenticate(&mut socket, token)?;
    }
    let mut nodes = Vec::new();
    for owned in hello::slots(&mut socket)? {
        let address = address_of(&owned, server)
            .with_context(|| format!("looking up the node {:?}", owned.host))?;
        nodes.extend(address);
    }
    Ok(nodes)
}
