//! Who owns which topics in a cluster: sessions, claims, deadlines, placement and hand-over. It decides
//! and does no I/O: [`Node`] takes events with the time at which they happened and returns actions. It
//! must not know sockets, etcd's protocol, shards or the runtime. docs/cluster.md has the rules and why
//! they hold.

mod action;
mod event;
mod fault;
mod lease;
mod node;
mod ownership;
mod placement;
mod ranges;
mod requests;
mod slot;
mod time;
mod view;

#[cfg(test)]
mod simulation;

pub use action::{Action, Request};
pub use event::{Answer, Event};
pub use node::{Config, Node, Owner};
pub use placement::assignments;
pub use requests::{ClaimAttempt, Ticket};
pub use slot::{RANGES, RangeId};
pub use time::Moment;
pub use view::{
    Claim, Epoch, Leadership, LeaseId, NodeName, Revision, Session, SessionChange, SessionId,
    Snapshot,
};

pub use crate::topic::{SLOTS, Slot};
