//! A server that reads every dialect and answers each request, but counts nothing: every sum is 1. It
//! costs what the kernel's sockets cost, the least that any server can cost, and is the baseline of
//! measurements. One thread, plain epoll, one read and one write for all requests that have arrived,
//! `recvmmsg` and `sendmmsg`.

mod answer;
mod command;
mod server;

pub(crate) use command::{Arguments, run};
