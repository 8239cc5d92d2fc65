//! A server that reads every dialect and answers each request, but counts nothing: what is left is
//! what the kernel's sockets cost, the least that any server can. One thread, plain epoll, one read
//! and one write for all requests of a turn, `recvmmsg` and `sendmmsg`. To measure against, and for
//! nothing else: every sum is 1.

mod answer;
mod command;
mod server;

pub(crate) use command::{Arguments, run};
