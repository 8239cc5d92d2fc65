//! Whether the server's threads and the load's compete for the same processors.

use std::collections::BTreeSet;

use globalcounter::server::affinity;

use crate::observe::{Process, Threads};
use crate::plan::Plan;

/// Observes which processors load and server may use, from the start of a measurement on.
pub(super) struct CpuSharing<'a> {
    load: BTreeSet<usize>,
    /// The server's process with its threads at the start. `None` if it is not on this machine.
    server: Option<(&'a Process, Threads)>,
}

impl<'a> CpuSharing<'a> {
    /// Notes the processors that the load may use, and what the server's threads have used so far.
    pub(super) fn watch(plan: &Plan, process: Option<&'a Process>) -> Self {
        let load = if plan.processors.is_empty() {
            affinity::processors().into_iter().collect()
        } else {
            plan.processors.iter().copied().take(plan.threads).collect()
        };
        Self {
            load,
            server: process.map(|process| (process, process.threads())),
        }
    }

    /// Returns the processors that load and server may both use, ascending.
    pub(super) fn shared_processors(&self) -> Vec<usize> {
        let Some((process, before)) = &self.server else {
            return Vec::new();
        };
        let server = process.threads().processors_since(before);
        self.load.intersection(&server).copied().collect()
    }
}
