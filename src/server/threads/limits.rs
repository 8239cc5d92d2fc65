//! Limits of the machine that a server meets later: it says so when it starts.

use nix::sys::resource::{Resource, getrlimit};
use socket2::Socket;
use tracing::warn;

use crate::server::config::{self, Config};
use crate::server::net;

/// Logs a warning for each limit of the machine that is below what `config` asks for.
pub(crate) fn warn_of_limits(config: &Config, udp: &[Socket]) {
    let max_connections = config.max_connections;
    if config.tcp.is_some()
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
            "more workers (--shards) than processors: workers take turns, so requests cost more and \
             wait longer"
        );
    }
    if let Some(socket) = udp.first()
        && let Ok(granted) = net::udp_receive_buffer(socket)
        && granted < net::UDP_BUFFER
    {
        warn!(
            granted,
            wanted = net::UDP_BUFFER,
            "the kernel cut the UDP receive buffer, in bytes: bursts of datagrams may be dropped; \
             raise net.core.rmem_max (`sysctl`)"
        );
    }
}
