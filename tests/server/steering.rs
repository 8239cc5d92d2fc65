//! Classic datagrams arrive at the worker that owns their topic, where the kernel lets them.

use std::net::SocketAddr;

use globalcounter::server::Config;

use crate::support::{Embedded, config, datagrams, exchange, info, info_field};

/// How many requests in datagrams arrived at their owner, and elsewhere.
fn arrived(address: SocketAddr) -> [u64; 2] {
    let info = info(address, "stats");
    ["udp_requests_at_owner", "udp_requests_forwarded"]
        .map(|name| info_field(&info, name).parse().unwrap())
}

/// Counts 64 topics by one peer, and by a few others.
fn count(udp: SocketAddr) {
    for _ in 0..4 {
        let socket = datagrams(udp);
        for i in 0..64 {
            let message = format!("\0topic {i}");
            assert_eq!(exchange(&socket, message.as_bytes())[0], 0x80);
        }
    }
}

#[test]
fn classic_datagrams_arrive_at_their_owner() {
    for shards in [2, 8, 64] {
        let server = Embedded::start(shards);
        count(server.udp);
        let [at_owner, forwarded] = arrived(server.tcp);
        assert_eq!(at_owner + forwarded, 256);
        if at_owner == 256 {
            continue;
        }
        // It says so on standard error, and serves all the same.
        println!("{forwarded} of 256 went elsewhere: this kernel does not steer");
        assert!(forwarded > 64, "some are steered, and some are not");
    }
}

#[test]
fn without_steering_a_peer_has_one_worker() {
    let server = Embedded::with(Config {
        steering: false,
        ..config(8)
    });
    count(server.udp);
    let [at_owner, forwarded] = arrived(server.tcp);
    assert_eq!(at_owner + forwarded, 256);
    assert!(forwarded > 128, "{forwarded} forwarded");
}
