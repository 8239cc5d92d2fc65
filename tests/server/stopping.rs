//! When the server stops, it serves every connection that the kernel has accepted: it accepts the
//! connections in the listeners' queues and answers their requests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use globalcounter::server::{Config, Server};

use crate::support::config;

/// Connections that each worker's listener has in its queue, so that every queue has some.
const CONNECTIONS: usize = 64;

/// Connects and sends requests, then stops the server before it accepts any connection. Returns all
/// replies.
fn replies_of_a_stopping_server(request: &[u8]) -> Vec<Vec<u8>> {
    let server = Server::bind(Config {
        udp: None,
        ..config(4)
    })
    .unwrap();
    let address = server.tcp_addr().unwrap();
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(request).unwrap();
            client
        })
        .collect();
    server.stop_handle().stop();
    server.run().unwrap();
    let replies = clients.iter_mut().map(|client| {
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        reply
    });
    let replies = replies.collect();
    assert!(
        TcpStream::connect(address).is_err(),
        "the server no longer listens"
    );
    replies
}

/// Regression: such connections were closed without a reply, or reset.
#[test]
fn connections_that_the_kernel_accepted_are_served() {
    let mut sums: Vec<u8> = replies_of_a_stopping_server(b"\x00a")
        .into_iter()
        .map(|reply| match reply[..] {
            [128, sum] => sum,
            ref other => panic!("no reply to COUNT: {other:?}"),
        })
        .collect();
    sums.sort_unstable();
    let all: Vec<u8> = (1..=CONNECTIONS as u8).collect();
    assert_eq!(sums, all);
}

#[test]
fn connections_of_other_dialects_are_served() {
    for reply in replies_of_a_stopping_server(b"\x17\x00\x02\x00\x00\x00\x01hi") {
        assert_eq!(reply, b"\x97\x00\x02\x00\x00\x00\x01hi");
    }
    for reply in replies_of_a_stopping_server(b"PING\r\n") {
        assert_eq!(reply, b"+PONG\r\n");
    }
}

/// Neither a connection without a request nor one whose peer has shut down its side delays the stop.
#[test]
fn silent_connections_do_not_delay_a_stop() {
    let server = Server::bind(Config {
        udp: None,
        ..config(2)
    })
    .unwrap();
    let address = server.tcp_addr().unwrap();
    let mut silent = TcpStream::connect(address).unwrap();
    let mut half_closed = TcpStream::connect(address).unwrap();
    half_closed.write_all(b"\x00a").unwrap();
    half_closed.shutdown(Shutdown::Write).unwrap();
    server.stop_handle().stop();
    let start = std::time::Instant::now();
    server.run().unwrap();
    let took = start.elapsed();
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
    assert_eq!(silent.read(&mut [0; 9]).unwrap(), 0);
    let mut reply = Vec::new();
    half_closed.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x80\x01");
}
