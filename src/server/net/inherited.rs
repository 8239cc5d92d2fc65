//! Sockets that this process was started with. Another process, such as systemd, has bound them and
//! keeps them open while servers come and go, so what arrives between two servers waits in their
//! queues.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use socket2::{SockRef, Socket, Type};

use super::listen::{prepare_datagrams, prepare_listener};
use crate::server::config::InheritedError;

/// Sockets that another process has bound and keeps open: those of systemd's socket activation, for
/// example. [`Server::bind_inherited`](crate::server::Server::bind_inherited) serves them.
#[derive(Debug, Default)]
pub struct Inherited {
    /// TCP listeners, all of one address. If empty, the server binds its own.
    pub tcp: Vec<TcpListener>,
    /// UDP sockets, all of one address, in the order in which they were bound: steering depends on
    /// it. If empty, the server binds its own.
    pub udp: Vec<UdpSocket>,
    /// Listeners of TLS, as those of `tcp`.
    pub tls: Vec<TcpListener>,
}

/// The sockets of one transport, one for each worker.
#[derive(Debug)]
pub(crate) struct Group<T> {
    pub(crate) sockets: Vec<T>,
    /// How many of them are different sockets. The others are duplicates of these, in turns.
    pub(crate) distinct: usize,
    /// Whether another process keeps them open. Then their queues outlive this server.
    pub(crate) inherited: bool,
}

impl<T> Group<T> {
    /// Returns a group that this process has bound.
    pub(crate) fn bound(sockets: Vec<T>) -> Self {
        Self {
            distinct: sockets.len(),
            sockets,
            inherited: false,
        }
    }
}

/// Checks inherited listeners, sets their options, and makes one for each of `workers`.
///
/// # Errors
///
/// Returns [`InheritedError`] if one is not a listener, if their addresses differ, or if there are
/// more listeners than workers.
pub(crate) fn inherited_tcp(
    listeners: Vec<TcpListener>,
    workers: usize,
) -> Result<Group<TcpListener>, InheritedError> {
    for (index, listener) in listeners.iter().enumerate() {
        let socket = SockRef::from(listener);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            let expected = "a listening TCP socket";
            return Err(InheritedError::Unsuitable { index, expected });
        }
        prepare_listener(&socket)?;
    }
    check_addresses(&listeners)?;
    each_worker(listeners, workers, TcpListener::try_clone)
}

/// Checks inherited UDP sockets, sets their options, and makes one for each of `workers`.
///
/// # Errors
///
/// Returns [`InheritedError`] if one is not a UDP socket, if their addresses differ, or if there are
/// more sockets than workers.
pub(crate) fn inherited_udp(
    sockets: Vec<UdpSocket>,
    workers: usize,
) -> Result<Group<Socket>, InheritedError> {
    check_addresses(&sockets)?;
    for (index, socket) in sockets.iter().enumerate() {
        let address = address(index, socket)?;
        let socket = SockRef::from(socket);
        if socket.r#type()? != Type::DGRAM {
            let expected = "a UDP socket";
            return Err(InheritedError::Unsuitable { index, expected });
        }
        prepare_datagrams(&socket, address)?;
    }
    let sockets = sockets.into_iter().map(Socket::from).collect();
    each_worker(sockets, workers, Socket::try_clone)
}

/// Checks that all sockets are bound to the same address and port.
fn check_addresses(sockets: &[impl AsFd]) -> Result<(), InheritedError> {
    let mut first = None;
    for (index, socket) in sockets.iter().enumerate() {
        let other = address(index, socket)?;
        let first = *first.get_or_insert(other);
        if other != first {
            return Err(InheritedError::Addresses { first, other });
        }
    }
    Ok(())
}

fn address(index: usize, socket: &impl AsFd) -> Result<SocketAddr, InheritedError> {
    let address = SockRef::from(socket).local_addr()?.as_socket();
    address
        .filter(|address| address.port() != 0)
        .ok_or(InheritedError::Unsuitable {
            index,
            expected: "bound to an IP address and a port",
        })
}

/// Makes a socket for each worker. If there are fewer sockets than workers, workers share them: each
/// has a duplicate, and whoever is first takes what has arrived. A socket without a worker would
/// keep what the kernel delivers to it, so more sockets than workers are an error.
fn each_worker<T: AsFd>(
    mut sockets: Vec<T>,
    workers: usize,
    duplicate: impl Fn(&T) -> io::Result<T>,
) -> Result<Group<T>, InheritedError> {
    let distinct = sockets.len();
    if distinct > workers {
        return Err(InheritedError::TooMany {
            sockets: distinct,
            workers,
        });
    }
    for socket in &sockets {
        SockRef::from(socket).set_nonblocking(true)?;
    }
    while sockets.len() < workers
        && let Some(next) = sockets.get(sockets.len() - distinct)
    {
        sockets.push(duplicate(next)?);
    }
    Ok(Group {
        sockets,
        distinct,
        inherited: true,
    })
}

#[cfg(test)]
mod tests {
    use super::super::listen::{tcp_group, udp_group};
    use super::*;

    const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    #[test]
    fn each_worker_gets_a_socket_and_duplicates_take_turns() {
        let listeners = tcp_group(ANY_PORT.into(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let group = inherited_tcp(listeners, 5).unwrap();
        assert_eq!((group.sockets.len(), group.distinct), (5, 2));
        assert!(group.inherited);
        for listener in &group.sockets {
            assert_eq!(listener.local_addr().unwrap(), address);
        }
        let sockets = udp_group(ANY_PORT.into(), 3).unwrap();
        let sockets = sockets.into_iter().map(UdpSocket::from).collect();
        let group = inherited_udp(sockets, 3).unwrap();
        assert_eq!((group.sockets.len(), group.distinct), (3, 3));
    }

    #[test]
    fn more_sockets_than_workers_are_refused() {
        let listeners = tcp_group(ANY_PORT.into(), 3).unwrap();
        let error = inherited_tcp(listeners, 2).unwrap_err();
        assert!(
            matches!(
                error,
                InheritedError::TooMany {
                    sockets: 3,
                    workers: 2
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn sockets_of_different_addresses_are_refused() {
        let mut listeners = tcp_group(ANY_PORT.into(), 1).unwrap();
        listeners.extend(tcp_group(ANY_PORT.into(), 1).unwrap());
        let error = inherited_tcp(listeners, 2).unwrap_err();
        assert!(matches!(error, InheritedError::Addresses { .. }), "{error}");
    }

    #[test]
    fn sockets_of_the_wrong_kind_are_refused() {
        let connected = {
            let listener = TcpListener::bind(SocketAddr::from(ANY_PORT)).unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
        };
        let connected = TcpListener::from(std::os::fd::OwnedFd::from(connected));
        let error = inherited_tcp(vec![connected], 1).unwrap_err();
        assert!(matches!(error, InheritedError::Unsuitable { index: 0, .. }));
        let unbound = Socket::new(socket2::Domain::IPV4, Type::DGRAM, None).unwrap();
        let error = inherited_udp(vec![unbound.into()], 1).unwrap_err();
        assert!(matches!(error, InheritedError::Unsuitable { index: 0, .. }));
        let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let unix = UdpSocket::from(std::os::fd::OwnedFd::from(unix));
        let error = inherited_udp(vec![unix], 1).unwrap_err();
        assert!(matches!(error, InheritedError::Unsuitable { index: 0, .. }));
    }
}
