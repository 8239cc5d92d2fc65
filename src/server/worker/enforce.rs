//! The task of a worker that closes connections which have reached a limit.

use std::cmp::Reverse;
use std::rc::Rc;

use super::link::Link;
use super::state::Worker;
use crate::server::status::CloseReason;

impl Worker {
    /// Closes the connections that reach a limit on their time, or that hold most when all together hold
    /// too much. Sleeps while no deadline is set. It never ends.
    pub(crate) async fn enforce_limits(self: Rc<Self>) {
        loop {
            self.limits.due().await;
            while let Some(index) = self.limits.deadlines.pop() {
                let link = self.connections.borrow().get(index as usize).cloned();
                if let Some(link) = link {
                    link.meet_deadline();
                }
            }
            self.free_held();
        }
    }

    /// Closes the connections that hold most until the others hold less than the limit.
    fn free_held(&self) {
        let mut excess = self.limits.excess();
        if excess == 0 {
            return;
        }
        let mut holders: Vec<Rc<Link>> = {
            let connections = self.connections.borrow();
            let links = connections.iter().map(|(_, link)| link);
            links.filter(|link| link.held() > 0).cloned().collect()
        };
        holders.sort_unstable_by_key(|link| Reverse(link.held()));
        for link in holders {
            excess = excess.saturating_sub(link.held());
            link.reach(CloseReason::Held);
            if excess == 0 {
                break;
            }
        }
    }
}
