//! Datagrams in batches: `recvmmsg` and `sendmmsg`. Each datagram carries the local address that it was
//! sent to, so that its reply leaves from there. All `unsafe` code of the project is in this folder.
//!
//! One message of such a call is one datagram, or several datagrams of the same peer: those that the
//! kernel coalesced (GRO), or those that it is to segment (GSO). Both are off unless enabled.
//!
//! Also attaches the steering program to a group of sockets, which no crate wraps. nix wraps the two
//! calls, but its `sendmmsg` takes one list of control messages for all datagrams of a call, and here
//! each reply has its own local address.

#![allow(unsafe_code)]

mod control;
mod message;
mod options;
mod outgoing;
mod peer;
mod received;

pub use message::DATAGRAMS;
pub(crate) use options::attach_reuseport_filter;
pub use options::{enable_drop_count, enable_gro, knows_segmentation};
pub use outgoing::Outgoing;
pub(crate) use outgoing::Recipient;
pub use peer::Peer;
pub use received::Received;

#[cfg(test)]
mod tests;
