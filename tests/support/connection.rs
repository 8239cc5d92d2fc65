//! Raw connections: bytes and datagrams, whatever the dialect.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{PATIENCE, port_0};

/// Opens a TCP connection.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Opens a TCP connection from another address of loopback, 127.0.0.0/8: failed attempts are limited by
/// address.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Opens a UDP socket that is connected to one server.
pub(crate) fn datagrams(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(port_0().unwrap()).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends one datagram and returns the next one received.
pub(crate) fn exchange(socket: &UdpSocket, datagram: &[u8]) -> Vec<u8> {
    socket.send(datagram).unwrap();
    let mut buffer = vec![0; 65_536];
    let len = socket.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

/// Writes `bytes` on a new connection and returns everything received until the server closes it.
pub(crate) fn exchange_to_end(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

/// Returns the sum in a classic reply to COUNT: big-endian bytes of any width.
pub(crate) fn classic_sum(reply: &[u8]) -> u64 {
    let bytes = reply[1..].iter();
    bytes.fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// Writes `request` again and again, and reads no replies, until the server has taken nothing for
/// half a second. Returns how many whole requests were written.
pub(crate) fn write_until_blocked(stream: &TcpStream, request: &[u8]) -> usize {
    const LIMIT: usize = 200_000_000;
    let mut stream = stream.try_clone().unwrap();
    let timeout = Some(Duration::from_millis(500));
    stream.set_write_timeout(timeout).unwrap();
    let chunk = request.repeat(64 * 1024 / request.len() + 1);
    let mut sent = 0;
    while sent < LIMIT {
        match stream.write(&chunk[sent % chunk.len()..]) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent / request.len(),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the server took {sent} bytes and still reads");
}
