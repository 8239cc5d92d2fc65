//! Limits of the machine that are lower than the settings. A server warns of them when it starts,
//! because they fail or slow down requests only later.

use std::net::TcpListener;

use nix::sys::resource::{Resource, getrlimit};
use socket2::Socket;
use tracing::warn;

use crate::server::config::{self, Config};
use crate::server::net::{self, Group};

/// Logs one warning for each limit of the machine that is below the settings.
pub(crate) fn warn_of_limits(
    config: &Config,
    [tcp, tls]: [&Group<TcpListener>; 2],
    udp: &Group<Socket>,
) {
    let max_connections = config.max_connections;
    if (config.tcp.is_some() || config.tls.is_some())
        && let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE)
        && limit < config.descriptors()
    {
        warn!(
            limit,
            max_connections,
            "the limit on open files is too low for --max-connections: connections over it cannot be \
             accepted; raise it (`ulimit -n`, or LimitNOFILE of a systemd unit)"
        );
    }
    let (workers, processors) = (config.shards.count(), config::processors());
    if usize::from(workers) > processors {
        warn!(
            workers,
            processors,
            "more workers (--shards) than processors: they share processors, so requests cost more CPU \
             time and wait longer"
        );
    }
    warn_of_sharing("tcp", tcp);
    warn_of_sharing("tls", tls);
    warn_of_sharing("udp", udp);
    if let Some(socket) = udp.sockets.first()
        && let Ok(granted) = net::udp_receive_buffer(socket)
        && granted < net::UDP_BUFFER
    {
        warn!(
            granted,
            wanted = net::UDP_BUFFER,
            "the UDP receive buffer is smaller than requested (in bytes): bursts of datagrams may be \
             dropped; raise net.core.rmem_max (`sysctl`)"
        );
    }
}

fn warn_of_sharing<T>(transport: &str, group: &Group<T>) {
    let (sockets, workers) = (group.distinct, group.sockets.len());
    if sockets < workers {
        warn!(
            transport,
            sockets,
            workers,
            "fewer inherited sockets than workers: what arrives at a socket wakes every worker that \
             shares it; declare one for each worker in the socket unit (and ReusePort=yes)"
        );
    }
}
