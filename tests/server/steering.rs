//! The kernel delivers classic datagrams to the worker that owns their topic, if it supports that.

use std::net::SocketAddr;

use globalcounter::server::{Config, Steering};

use crate::support::{Embedded, config, datagrams, exchange, info, info_field};

/// Returns how many UDP requests arrived at their owner, and how many at another worker.
fn arrivals(address: SocketAddr) -> [u64; 2] {
    let info = info(address, "stats");
    ["udp_requests_at_owner", "udp_requests_forwarded"]
        .map(|name| info_field(&info, name).parse().unwrap())
}

/// Counts 64 topics once from each of four sockets.
fn count_topics(udp: SocketAddr) {
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
        let server = Embedded::with(Config {
            steering: Steering::On,
            ..config(shards)
        });
        count_topics(server.udp);
        let [at_owner, forwarded] = arrivals(server.tcp);
        assert_eq!(at_owner + forwarded, 256);
        if at_owner == 256 {
            continue;
        }
        // The server logs that it does not steer, and serves all the same.
        println!("{forwarded} of 256 arrived at another worker: this kernel does not steer");
        assert!(forwarded > 64, "only some datagrams were steered");
    }
}

#[test]
fn without_steering_requests_are_forwarded_to_their_owner() {
    let server = Embedded::with(Config {
        steering: Steering::Off,
        ..config(8)
    });
    count_topics(server.udp);
    let [at_owner, forwarded] = arrivals(server.tcp);
    assert_eq!(at_owner + forwarded, 256);
    assert!(forwarded > 128, "{forwarded} forwarded");
}
