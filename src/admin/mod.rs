//! The admin port: HTTP for those who watch a server and decide whether to send it requests. It runs
//! on a thread of its own and only reads counters, so it holds up no worker.
//!
//! - [`http`]: the listener, its limits, and which path is answered by what
//! - [`metrics`]: what each metric is called and means
//! - [`exposition`]: how metrics are written
//! - [`process`]: what the system says about this process

mod exposition;
mod http;
mod metrics;
mod process;

pub(crate) use http::Admin;
