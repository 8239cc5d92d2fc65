//! Shared by the test binaries: servers under test, raw connections, stores
//! that misbehave, seeded random numbers. Knows no single test.

#![allow(dead_code, unused_imports)] // each test binary uses only a part

mod certificates;
mod connection;
mod directory;
mod embedded;
mod etcd;
mod framed;
mod http;
mod page;
mod process;
mod programs;
mod random;
mod resp;
mod store;
mod supervisor;
mod tls;
mod wait;

pub(crate) use certificates::{Authority, Issued, Validity};
pub(crate) use connection::{
    classic_sum, connect, connect_from, datagrams, exchange, exchange_to_end, write_until_blocked,
};
pub(crate) use directory::Directory;
pub(crate) use embedded::{Embedded, config, port_0};
pub(crate) use etcd::{etcd_is_healthy, etcd_is_installed, exchange_with_etcd, post_to_etcd};
pub(crate) use framed::{Framed, STORE, add, frame};
pub(crate) use http::{body, get, is_ok, metrics, request, try_request};
pub(crate) use page::Page;
pub(crate) use process::{Process, listening_address};
pub(crate) use programs::{has_ioredis, has_python_package, run};
pub(crate) use random::Random;
pub(crate) use resp::{assert_answered, command, info, info_field};
pub(crate) use store::ScriptedStore;
pub(crate) use supervisor::{Service, Supervisor};
pub(crate) use tls::{TlsClient, TlsDirectory, TlsStream, shown};
pub(crate) use wait::{PATIENCE, SetOnDrop, eventually};

/// Whether `sums` are the numbers 1 to `n`, each once, in any order.
pub(crate) fn is_one_to_n(mut sums: Vec<u64>, n: u64) -> bool {
    sums.sort_unstable();
    sums.into_iter().eq(1..=n)
}
