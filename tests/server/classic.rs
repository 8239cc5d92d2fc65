//! Clients of the original kind: one datagram or one connection a message, 0.1 s to answer, the sum
//! read as big-endian bytes of any width, a single read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::support::{Embedded, port_0};

/// How long the original client waits for a reply.
const TIMEOUT: Duration = Duration::from_millis(100);

/// How often it sends a datagram before it gives up. Only a machine that is busy with other tests
/// makes this one need it; it then counts again, as the original would.
const ATTEMPTS: usize = 5;

trait Original {
    fn ask(&mut self, message: &[u8]) -> Vec<u8>;

    fn count(&mut self, topic: &str) -> u64 {
        let reply = self.ask(&[&[0], topic.as_bytes()].concat());
        assert_eq!(reply[0], 128, "{topic:?}: {reply:?}");
        assert!((2..=9).contains(&reply.len()));
        reply[1..]
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    }

    fn reset(&mut self, topic: &str) {
        assert_eq!(self.ask(&[&[1], topic.as_bytes()].concat()), [129]);
    }
}

struct Udp(UdpSocket, SocketAddr);

impl Original for Udp {
    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        for _ in 0..ATTEMPTS {
            self.0.send_to(message, self.1).unwrap();
            let mut buffer = [0; 65_536];
            if let Ok((len, from)) = self.0.recv_from(&mut buffer) {
                assert_eq!(from, self.1, "the reply leaves from where the request went");
                return buffer[..len].to_vec();
            }
        }
        panic!("no reply");
    }
}

struct Tcp(SocketAddr);

impl Original for Tcp {
    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream
            .set_read_timeout(Some(TIMEOUT * ATTEMPTS as u32))
            .unwrap();
        stream.write_all(message).unwrap();
        let mut buffer = [0; 65_536];
        let len = stream.read(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }
}

fn counts_and_resets(client: &mut impl Original, suffix: &str) {
    let long = "x".repeat(1_000 - suffix.len());
    for name in [
        "",
        "visits",
        "with spaces in it",
        "🎉🧮",
        "a/b//c/",
        "z",
        &long,
    ] {
        let topic = format!("{name}{suffix}");
        assert_eq!(client.count(&topic), 1, "{topic:?}");
        assert_eq!(client.count(&topic), 2, "{topic:?}");
        client.reset(&topic);
        assert_eq!(client.count(&topic), 1, "{topic:?}");
    }
    let topic = format!("thousand{suffix}");
    for n in 1..=1_000 {
        assert_eq!(client.count(&topic), n);
    }
}

#[test]
fn the_original_clients_work_unchanged() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let socket = UdpSocket::bind(port_0().unwrap()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        counts_and_resets(&mut Udp(socket, server.udp), "");
        counts_and_resets(&mut Tcp(server.tcp), " over TCP");
    }
}

#[test]
fn both_transports_count_the_same_topics() {
    let server = Embedded::start(2);
    let socket = UdpSocket::bind(port_0().unwrap()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut udp = Udp(socket, server.udp);
    let mut tcp = Tcp(server.tcp);
    for n in 0..50 {
        assert_eq!(udp.count(""), 2 * n + 1);
        assert_eq!(tcp.count(""), 2 * n + 2);
    }
}

/// What came before the client shut down its side is the message, also without a topic.
#[test]
fn a_client_may_shut_down_its_side_first() {
    let server = Embedded::start(2);
    for expected in 1..=3 {
        let mut stream = TcpStream::connect(server.tcp).unwrap();
        stream.write_all(&[0]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, [128, expected]);
    }
}

/// A server on a wildcard address answers from the one that was asked, not from the one that the
/// route back would suggest.
#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    for (wildcard, asked) in [
        ("0.0.0.0:0", "127.0.0.77"),
        ("[::]:0", "127.0.0.77"),
        ("[::]:0", "::1"),
    ] {
        if wildcard.starts_with('[') && UdpSocket::bind("[::1]:0").is_err() {
            println!("skipped {wildcard}: this system has no IPv6");
            continue;
        }
        let mut config = crate::support::config(2);
        config.udp = Some(wildcard.parse().unwrap());
        let server = Embedded::with(config);
        let asked = SocketAddr::new(asked.parse().unwrap(), server.udp.port());
        let local = if asked.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        for n in 1..=20 {
            // On `Udp`, who asserts where the reply comes from.
            let mut client = Udp(socket.try_clone().unwrap(), asked);
            assert_eq!(client.count("visits"), n, "{wildcard} asked at {asked}");
        }
    }
}
