//! What Redis Cluster clients ask and get: the map of a cluster in the forms that they read, and redirects
//! for connections that have it. It knows the map of owners, and not how a request is forwarded.

mod answer;
mod map;
mod node;
mod redirect;

pub(super) use answer::{answer, shows_map};
pub(super) use redirect::{Redirect, redirect};
