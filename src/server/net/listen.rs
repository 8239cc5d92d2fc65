//! Binds one socket per worker to the same address. The kernel distributes the peers among them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{SetSockOpt, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};

/// How many connections may wait to be accepted. The system may lower it (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// A peer that acknowledges nothing for this long is considered gone. TCP_USER_TIMEOUT detects it
/// while data is in flight or its window is closed, keep-alive probes while it is idle.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// The size of a datagram socket's buffers, in bytes, if the system allows it: room for a burst of
/// 10,000 small datagrams while the worker does something else.
pub(crate) const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Binds `count` TCP listeners to `address`. With port 0 the system chooses one port for all.
pub(crate) fn tcp_group(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let prepare = |socket: &Socket| {
        // Without this, a restarted server could not listen while old connections are in TIME_WAIT.
        // It lets two sockets bind the address, but only the first of them can listen.
        socket.set_reuse_address(true)?;
        prepare_listener(socket)
    };
    let listen = |socket: &Socket| socket.listen(BACKLOG);
    let group = bind_group(address, count, Type::STREAM, Protocol::TCP, prepare, listen)?;
    Ok(group.into_iter().map(TcpListener::from).collect())
}

/// Sets the options of a listener that accepted connections inherit.
pub(super) fn prepare_listener(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
    let probes = TcpKeepalive::new()
        .with_time(PEER_TIMEOUT)
        .with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&probes)
}

/// Makes the kernel drop packets that request a new connection from `listener`. Handshakes in
/// progress complete, so the queue of connections to accept comes to an end, and closing the
/// listener then resets no accepted connection. A peer whose packet was dropped repeats it after a
/// second.
///
/// # Errors
///
/// The kernel's error, for example because it has no socket filters.
pub(crate) fn drop_new_connections(listener: impl AsFd) -> io::Result<()> {
    // The filter sees a packet from its TCP header on. Byte 13 holds the flags.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),        // drop
        SockFilter::new(RETURN, 0, 0, u32::MAX), // pass, whole
    ];
    SockRef::from(&listener).attach_filter(&filter)
}

/// Binds `count` UDP sockets to `address`. With port 0 the system chooses one port for all.
pub(crate) fn udp_group(address: SocketAddr, count: usize) -> io::Result<Vec<Socket>> {
    let prepare = |socket: &Socket| prepare_datagrams(socket, address);
    bind_group(address, count, Type::DGRAM, Protocol::UDP, prepare, |_| {
        Ok(())
    })
}

/// Sets the buffers of a UDP socket, and what it needs to answer on `address`.
pub(super) fn prepare_datagrams(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // A buffer that systemd has made may be larger than this process is permitted to make it: only
    // a smaller one is changed. The system may grant less: `udp_receive_buffer` tells.
    if udp_receive_buffer(socket).is_ok_and(|granted| granted < UDP_BUFFER) {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    }
    if socket
        .send_buffer_size()
        .is_ok_and(|size| size / 2 < UDP_BUFFER)
    {
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
    }
    if !address.ip().is_unspecified() {
        return Ok(());
    }
    // On a wildcard address, a reply must leave from the address that its request was sent to.
    match address {
        SocketAddr::V4(_) => nix_option(socket, sockopt::Ipv4PacketInfo),
        SocketAddr::V6(_) => nix_option(socket, sockopt::Ipv6RecvPacketInfo),
    }
}

/// Returns the size of a socket's receive buffer, in bytes, as the kernel granted it to
/// [`udp_group`].
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn udp_receive_buffer(socket: &Socket) -> io::Result<usize> {
    // Linux doubles the requested size for its own bookkeeping and reports the double: socket(7).
    Ok(socket.recv_buffer_size()? / 2)
}

fn nix_option<O>(socket: &Socket, option: O) -> io::Result<()>
where
    O: SetSockOpt<Val = bool>,
{
    Ok(setsockopt(socket, option, &true)?)
}

/// Binds `count` sockets to one address; `open` makes a bound socket ready for peers.
///
/// The first socket is bound and opened alone and only then shares its address, so binding fails if
/// another process uses the address. If SO_REUSEPORT were set earlier, a second server could bind
/// the address as well; the kernel would distribute the peers between the two servers, and both
/// would hand out the same numbers.
fn bind_group(
    address: SocketAddr,
    count: usize,
    kind: Type,
    protocol: Protocol,
    prepare: impl Fn(&Socket) -> io::Result<()>,
    open: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Vec<Socket>> {
    let bind = |address: SocketAddr, share: bool| {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        socket.set_reuse_port(share)?;
        socket.bind(&address.into())?;
        open(&socket)?;
        socket.set_reuse_port(true)?;
        Ok::<_, io::Error>(socket)
    };
    let first = bind(address, false)?;
    let bound = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket is not bound to an IP address"))?;
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

    #[test]
    fn of_servers_that_start_at_once_one_gets_the_address() {
        for _ in 0..50 {
            let free = tcp_group(([127, 0, 0, 1], 0).into(), 1).unwrap();
            let address = free[0].local_addr().unwrap();
            drop(free);
            let start = std::sync::Barrier::new(4);
            let held: Vec<_> = std::thread::scope(|scope| {
                let racing: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            (tcp_group(address, 3), udp_group(address, 3))
                        })
                    })
                    .collect();
                racing.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(held.iter().filter(|(tcp, _)| tcp.is_ok()).count() <= 1);
            assert!(held.iter().filter(|(_, udp)| udp.is_ok()).count() <= 1);
        }
    }

    #[test]
    fn the_granted_receive_buffer_is_what_was_asked_for() -> io::Result<()> {
        let sockets = udp_group(([127, 0, 0, 1], 0).into(), 1)?;
        sockets[0].set_recv_buffer_size(10_000)?;
        assert_eq!(udp_receive_buffer(&sockets[0])?, 10_000);
        Ok(())
    }

    #[test]
    fn connections_inherit_the_options_of_their_listener() -> io::Result<()> {
        let listeners = tcp_group(([127, 0, 0, 1], 0).into(), 2)?;
        let address = listeners[0].local_addr()?;
        assert_eq!(listeners[1].local_addr()?, address);
        let _client = TcpStream::connect(address)?;
        let accepted = loop {
            if let Some((accepted, _)) = listeners.iter().find_map(|l| l.accept().ok()) {
                break Socket::from(accepted);
            }
        };
        assert!(accepted.tcp_nodelay()?);
        assert!(accepted.keepalive()?);
        assert_eq!(accepted.tcp_keepalive_time()?, PEER_TIMEOUT);
        assert_eq!(accepted.tcp_keepalive_interval()?, PROBE_INTERVAL);
        assert_eq!(accepted.tcp_user_timeout()?, Some(PEER_TIMEOUT));
        Ok(())
    }
}
