//! The admin port: HTTP for those who watch a server and decide whether to send it requests. It runs
//! on a thread of its own and only reads counters, so it holds up no worker.
//!
//! - [`http`]: the listener, its limits, and which path is answered by what
//! - [`page`]: the page for people
//! - [`api`]: JSON for programs and for the page
//! - [`watched`]: the server, once it has loaded its topics
//! - [`live`]: each second, as it happens
//! - [`history`]: what a server did in each of the last seconds
//! - [`metrics`]: what each metric is called and means
//! - [`exposition`]: how metrics are written
//! - [`process`]: what the system says about this process

mod api;
mod exposition;
mod gate;
mod history;
mod http;
mod live;
mod metrics;
mod page;
mod process;
mod watched;

pub(crate) use history::{Cluster, Commits, Sample, Use};
pub(crate) use http::{Admin, Protection};
