//! `--verify`: passes if the order holds, also when replies are lost, and fails if it does not.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;

use crate::liar::{Liar, Lie};
use crate::support::{Embedded, Null, answering_server, load, row, udp_server};

#[test]
fn the_order_of_this_server_holds_under_every_target() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        for target in [
            "framed --mix count=8,add,get --threads 2",
            "framed --shard-aware --distribution zipf",
            "framed --rate 5000 --distribution hot:0.5",
            "udp --frames-per-datagram 8 --mix count,get",
            "udp --gso --pipeline 8",
            "classic-udp",
            "classic-udp --rate 5000",
            "classic-tcp",
            "resp --mix count=8,add,get --threads 2",
            "resp --rate 5000 --distribution hot:0.5",
        ] {
            let flags = format!("--target {target} --verify --requests 3000 --topics 20");
            let ended = load(server.at(target), &flags);
            let verdict = row(ended.measured(), "verified");
            // The sums of all topics are requested before and after the run.
            assert_eq!(
                verdict, "3,040 replies of 20 topics in one order, no gaps",
                "{target}"
            );
        }
    }
}

fn lying_tcp(lie: Lie) -> SocketAddr {
    let liar = Mutex::new(Liar::new(lie));
    answering_server(move |input| Some(liar.lock().unwrap().answer(input)))
}

fn lying_udp(lie: Lie) -> SocketAddr {
    let mut liar = Liar::new(lie);
    udp_server(move |_, datagram| vec![liar.answer(datagram).1])
}

#[test]
fn a_server_that_breaks_the_order_is_found() {
    for (lie, found) in [
        (Lie::Repeat, "the same number went to two requests"),
        (Lie::GoBack, "went back"),
        (
            Lie::Skip,
            "numbers, and only 0 can have gone to requests without a reply",
        ),
        (Lie::Forget, "went back"),
    ] {
        for (server, target) in [(lying_tcp(lie), "framed"), (lying_udp(lie), "udp")] {
            let flags = "--verify --requests 5000 --topics 1 --connections 4 --pipeline 8";
            let ended = load(server, &format!("--target {target} {flags}"));
            assert_eq!(
                (ended.code, ended.out.as_str()),
                (1, ""),
                "{lie:?} {target}: {ended:?}"
            );
            assert!(
                ended.err.contains("the order is broken"),
                "{lie:?} {target}: {ended:?}"
            );
            assert!(ended.err.contains(found), "{lie:?} {target}: {ended:?}");
            // The two requests that contradict each other.
            let pair = ended.err.lines().skip(1);
            assert_eq!(
                pair.filter(|line| line.contains("sent at")).count(),
                2,
                "{ended:?}"
            );
        }
    }
}

#[test]
fn a_server_that_counts_nothing_has_no_order() {
    let null = Null::start(&[]);
    for target in [
        "framed",
        "udp",
        "classic-udp",
        "classic-tcp",
        "resp",
        "memcached",
    ] {
        let ended = load(
            null.at(target),
            &format!("--target {target} --verify --requests 500"),
        );
        assert_eq!(ended.code, 1, "{target}: {ended:?}");
        assert!(
            ended.err.contains("the order is broken"),
            "{target}: {ended:?}"
        );
    }
}

/// The server counts every datagram and loses the reply to some. This leaves gaps that the losses
/// explain.
#[test]
fn numbers_of_lost_replies_are_gaps_and_no_violations() {
    let mut counter = Liar::honest();
    let server = udp_server(move |number, datagram| {
        let (_, replies) = counter.answer(datagram);
        if number % 100 == 99 {
            vec![]
        } else {
            vec![replies]
        }
    });
    // Few requests in flight: the socket of this simple server must not overflow.
    let flags = "--target udp --verify --requests 2000 --topics 5 --timeout 0.2 --pipeline 4";
    let ended = load(server, flags);
    let table = ended.measured();
    let lost = row(table, "datagrams")
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let gaps = format!("{lost} numbers without a reply");
    assert!(lost.parse::<u32>().unwrap() >= 15, "{table}");
    assert!(row(table, "verified").ends_with(&gaps), "{table}");
}

/// Replies that come after the timeout are late, not lost, and are checked like others.
#[test]
fn late_replies_are_told_from_lost_ones() {
    let mut counter = Liar::honest();
    let mut held: Option<Vec<u8>> = None;
    let server = udp_server(move |number, datagram| {
        let (_, reply) = counter.answer(datagram);
        if number == 100 {
            held = Some(reply);
            return vec![];
        }
        // With one request in flight, the next one arrives after this one has timed out.
        held.take().into_iter().chain([reply]).collect()
    });
    let flags = "--target udp --verify --requests 300 --topics 3 --timeout 0.5";
    let ended = load(server, &format!("{flags} --connections 1 --pipeline 1"));
    let table = ended.measured();
    assert_eq!(row(table, "datagrams"), "0 lost, 1 late", "{table}");
    assert!(row(table, "verified").ends_with("no gaps"), "{table}");
}

/// Without ids, a late reply arrives at the socket that its request was sent from.
#[test]
fn late_classic_replies_are_told_from_lost_ones() {
    let (mut sums, mut held) = (HashMap::<Vec<u8>, u8>::new(), None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        for number in 0.. {
            let (len, peer) = socket.recv_from(&mut buffer).unwrap();
            let sum = sums.entry(buffer[..len].to_owned()).or_default();
            *sum += 1;
            let reply = [0x80, *sum];
            if number == 100 {
                held = Some((reply, peer));
                continue;
            }
            if let Some((late, peer)) = held.take() {
                socket.send_to(&late, peer).unwrap();
            }
            socket.send_to(&reply, peer).unwrap();
        }
    });
    let flags = "--target classic-udp --verify --requests 300 --topics 3 --timeout 0.5";
    let ended = load(address, &format!("{flags} --connections 1"));
    let table = ended.measured();
    assert_eq!(row(table, "datagrams"), "0 lost, 1 late", "{table}");
    assert!(row(table, "verified").ends_with("no gaps"), "{table}");
}
