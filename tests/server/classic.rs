//! Clients of the original kind: one datagram or one connection per message, a timeout of 0.1 s, a
//! single read, and the sum as big-endian bytes of any width.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::{Embedded, PATIENCE, classic_sum, config, connect};

/// How long the original client waits for a reply before it sends its request again.
const TIMEOUT: Duration = Duration::from_millis(100);

/// A client of the original kind, except that it never sends a request again, since that would
/// count again. Instead it counts the replies that came too late for the original.
trait Original {
    fn exchange(&mut self, message: &[u8]) -> Vec<u8>;

    fn late(&mut self) -> &mut u32;

    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        let start = Instant::now();
        let reply = self.exchange(message);
        if start.elapsed() > TIMEOUT {
            *self.late() += 1;
        }
        reply
    }

    fn count(&mut self, topic: &str) -> u64 {
        let reply = self.ask(&[&[0], topic.as_bytes()].concat());
        assert_eq!(reply[0], 128, "{topic:?}: {reply:?}");
        assert!((2..=9).contains(&reply.len()));
        classic_sum(&reply)
    }

    fn reset(&mut self, topic: &str) {
        assert_eq!(self.ask(&[&[1], topic.as_bytes()].concat()), [129]);
    }
}

struct Udp {
    socket: UdpSocket,
    server: SocketAddr,
    late: u32,
}

impl Udp {
    fn new(server: SocketAddr) -> Self {
        let local = if server.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            server,
            late: 0,
        }
    }
}

impl Original for Udp {
    fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        self.socket.send_to(message, self.server).unwrap();
        let mut buffer = [0; 65_536];
        let (len, from) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(
            from, self.server,
            "the reply comes from the address that was asked"
        );
        buffer[..len].to_vec()
    }

    fn late(&mut self) -> &mut u32 {
        &mut self.late
    }
}

struct Tcp {
    server: SocketAddr,
    late: u32,
}

impl Original for Tcp {
    /// Opens a connection for each message and reads once.
    fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        let mut stream = connect(self.server);
        stream.write_all(message).unwrap();
        let mut buffer = [0; 65_536];
        let len = stream.read(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    fn late(&mut self) -> &mut u32 {
        &mut self.late
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
        let mut udp = Udp::new(server.udp);
        counts_and_resets(&mut udp, "");
        let mut tcp = Tcp {
            server: server.tcp,
            late: 0,
        };
        counts_and_resets(&mut tcp, " over TCP");
        // A few may be late because the machine is busy with other tests.
        println!(
            "{} replies over UDP and {} over TCP took more than {TIMEOUT:?}",
            udp.late, tcp.late
        );
        assert!(udp.late < 10 && tcp.late < 10);
    }
}

#[test]
fn both_transports_count_the_same_topics() {
    let server = Embedded::start(2);
    let mut udp = Udp::new(server.udp);
    let mut tcp = Tcp {
        server: server.tcp,
        late: 0,
    };
    for n in 0..50 {
        assert_eq!(udp.count(""), 2 * n + 1);
        assert_eq!(tcp.count(""), 2 * n + 2);
    }
}

/// The bytes that arrived before the client half-closed are the message, even without a topic.
#[test]
fn a_half_closed_connection_gets_its_reply() {
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

/// A server on a wildcard address replies from the address that was asked, not from the one that
/// the route back would choose.
#[test]
fn a_reply_comes_from_the_address_that_was_asked() {
    for (wildcard, asked) in [
        ("0.0.0.0:0", "127.0.0.77"),
        ("[::]:0", "127.0.0.77"),
        ("[::]:0", "::1"),
    ] {
        if wildcard.starts_with('[') && UdpSocket::bind("[::1]:0").is_err() {
            println!("skipped {wildcard}: this system has no IPv6");
            continue;
        }
        let mut config = config(2);
        config.udp = Some(wildcard.parse().unwrap());
        let server = Embedded::with(config);
        let asked = SocketAddr::new(asked.parse().unwrap(), server.udp.port());
        let mut client = Udp::new(asked); // it checks where replies come from
        for n in 1..=20 {
            assert_eq!(client.count("visits"), n, "{wildcard} asked at {asked}");
        }
    }
}
