//! Binding: as many sockets on one address as there are workers, each the kernel's choice for a
//! share of the peers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// How many connections may wait to be accepted, where the system allows as many.
const BACKLOG: i32 = 4096;

/// A peer that acknowledges nothing for this long is gone: with data under way, or a closed window
/// in front of it, by TCP_USER_TIMEOUT; while idle, by keep-alive probes.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// What a datagram socket's buffers hold, where the system allows as much: a burst of 10,000 small
/// datagrams while the worker does something else.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Binds `count` TCP listeners to `address`. With port 0 the system chooses one for all.
pub(super) fn tcp(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let group = bind_group(address, count, Type::STREAM, Protocol::TCP, |socket| {
        // Or a restarted server could not listen while old connections are still winding up. It
        // does not let two servers listen: the second's `listen` fails.
        socket.set_reuse_address(true)?;
        // Connections inherit these.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
        let probes = TcpKeepalive::new()
            .with_time(PEER_TIMEOUT)
            .with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&probes)
    })?;
    for socket in &group {
        socket.listen(BACKLOG)?;
    }
    Ok(group.into_iter().map(TcpListener::from).collect())
}

/// Binds `count` UDP sockets to `address`. With port 0 the system chooses one for all.
pub(super) fn udp(address: SocketAddr, count: usize) -> io::Result<Vec<Socket>> {
    bind_group(address, count, Type::DGRAM, Protocol::UDP, |socket| {
        // Larger buffers are a wish: the system may grant less.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
        if !address.ip().is_unspecified() {
            return Ok(());
        }
        // On a wildcard address a reply must leave from where its request was sent to.
        match address {
            SocketAddr::V4(_) => nix_option(socket, nix::sys::socket::sockopt::Ipv4PacketInfo),
            SocketAddr::V6(_) => nix_option(socket, nix::sys::socket::sockopt::Ipv6RecvPacketInfo),
        }
    })
}

fn nix_option<O>(socket: &Socket, option: O) -> io::Result<()>
where
    O: nix::sys::socket::SetSockOpt<Val = bool>,
{
    Ok(nix::sys::socket::setsockopt(socket, option, &true)?)
}

/// Binds `count` sockets to one address.
///
/// The first is bound alone and only then shares its address, so that an address that anybody has
/// is refused. With SO_REUSEPORT from the start a second server would bind as well, the kernel
/// would deal the peers out between the two, and each would hand out the same numbers.
fn bind_group(
    address: SocketAddr,
    count: usize,
    kind: Type,
    protocol: Protocol,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Vec<Socket>> {
    let bind = |address: SocketAddr, share: bool| {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        socket.set_reuse_port(share)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        Ok::<_, io::Error>(socket)
    };
    let first = bind(address, false)?;
    let bound = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("bound to what is no IP address"))?;
    let mut group = vec![first];
    for _ in 1..count {
        group.push(bind(bound, true)?);
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// What a connection is said to inherit, it does inherit here.
    #[test]
    fn connections_inherit_the_options_of_their_listener() {
        let listeners = tcp(([127, 0, 0, 1], 0).into(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert_eq!(listeners[1].local_addr().unwrap(), address);
        let _client = TcpStream::connect(address).unwrap();
        let accepted = loop {
            if let Some((accepted, _)) = listeners.iter().find_map(|l| l.accept().ok()) {
                break Socket::from(accepted);
            }
        };
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), PEER_TIMEOUT);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(PEER_TIMEOUT));
    }
}
