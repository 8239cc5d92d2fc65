//! `--reconnect`: runs that go on when connections end, and what they report.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::liar::{Liar, Lie};
use crate::support::{load, row, tcp_server};

/// How many reads of a connection are answered before it ends.
const READS: usize = 20;

/// Starts a server that closes each connection after some reads. It counts the requests of the last one
/// and does not answer them.
fn forgetful_server(lie: Lie) -> SocketAddr {
    let liar = Mutex::new(Liar::new(lie));
    tcp_server(move |mut peer| {
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        for reads in 1..=READS {
            let Ok(n @ 1..) = peer.read(&mut buffer) else {
                return;
            };
            input.extend_from_slice(&buffer[..n]);
            let (taken, replies) = liar.lock().unwrap().answer(&input);
            input.drain(..taken);
            if reads == READS || peer.write_all(&replies).is_err() {
                return;
            }
        }
    })
}

/// Returns the numbers in a row of a table, without those in other words.
fn numbers(text: &str) -> Vec<u64> {
    let words = text.split([' ', ';']);
    words
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect()
}

/// Returns how many connections were lost, opened again, and refused.
#[track_caller]
fn connections(table: &str) -> [u64; 3] {
    numbers(row(table, "connections")).try_into().unwrap()
}

#[test]
fn a_run_goes_on_when_connections_end() {
    let server = forgetful_server(Lie::Never);
    let flags = "--verify --reconnect --requests 3000 --topics 3 --connections 4";
    let ended = load(server, &format!("{flags} --pipeline 4 --threads 2"));
    let table = ended.measured();
    let [lost, reopened, refused] = connections(table);
    assert!(lost >= 4, "{table}");
    // A connection that ended with its last request is not needed any more.
    assert!(lost - reopened <= 4, "{table}");
    assert_eq!(refused, 0, "{table}");
    let line = table
        .lines()
        .find(|line| line.ends_with(" requests without a reply"));
    let unanswered = numbers(line.unwrap())[0];
    assert!((lost..=lost * 4).contains(&unanswered), "{table}");
    assert!(row(table, "verified").contains("in one order, "), "{table}");
    assert!(
        row(table, "verified").ends_with(" numbers without a reply"),
        "{table}"
    );
}

#[test]
fn an_open_loop_goes_on_as_well() {
    let server = forgetful_server(Lie::Never);
    let flags = "--verify --reconnect --rate 3000 --requests 3000 --connections 4 --topics 3";
    let ended = load(server, flags);
    let [lost, ..] = connections(ended.measured());
    assert!(lost > 0, "{ended:?}");
}

/// Each lie is told several times, so one of them is answered.
#[test]
fn lost_connections_hide_no_lie() {
    for (lie, found) in [
        (Lie::Repeat, "the same number went to two requests"),
        (Lie::GoBack, "went back"),
    ] {
        let flags = "--verify --reconnect --requests 8000 --topics 1 --connections 4 --pipeline 4";
        let ended = load(forgetful_server(lie), flags);
        assert_eq!(ended.code, 1, "{lie:?}: {ended:?}");
        assert!(ended.err.contains(found), "{lie:?}: {ended:?}");
    }
}

/// A server of the classic dialect. It counts each tenth request and does not answer it. At the 50th it
/// skips 200 numbers.
fn skipping_server() -> SocketAddr {
    let sum = AtomicU64::new(0);
    tcp_server(move |mut peer| {
        let Ok(1..) = peer.read(&mut [0; 100]) else {
            return; // the peer only looked whether the server is there
        };
        let number = sum.fetch_add(1, Ordering::Relaxed) + 1;
        if number == 50 {
            sum.fetch_add(200, Ordering::Relaxed);
        }
        if !number.is_multiple_of(10) {
            let bytes = number.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let _ = peer.write_all(&[&[0x80], &bytes[zeros..]].concat());
        }
    })
}

#[test]
fn lost_connections_explain_no_large_gap() {
    let flags = "--target classic-tcp --reconnect --requests 200 --topics 1 --connections 1";
    let ended = load(skipping_server(), &format!("{flags} --verify"));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("skipped 2"), "{ended:?}");
    assert!(ended.err.contains("numbers, and only "), "{ended:?}");
    let allowed = load(skipping_server(), &format!("{flags} --verify=monotonic"));
    let verdict = row(allowed.measured(), "verified");
    assert!(verdict.contains("in one order"), "{allowed:?}");
    assert!(numbers(verdict)[2] > 200, "{allowed:?}");
}

#[test]
fn a_server_that_stays_away_ends_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        drop(listener);
        peer.read(&mut [0; 100]).unwrap()
    });
    load(server, "--reconnect=0.1 --connections 1").refused(1, "could not be opened again");
    assert!(serving.join().unwrap() > 0);
    load(server, "--reconnect=0.1").refused(1, "connecting to");
}

/// Without `--reconnect` the run would end with the first datagram that is refused.
#[test]
fn datagrams_that_nobody_receives_are_lost() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut liar, mut buffer) = (Liar::honest(), [0; 4096]);
        for _ in 0..100 {
            let (len, peer) = socket.recv_from(&mut buffer).unwrap();
            socket
                .send_to(&liar.answer(&buffer[..len]).1, peer)
                .unwrap();
        }
    });
    let flags = "--target udp --reconnect --timeout 0.1 --duration 0.5 --warmup 0";
    let ended = load(server, flags);
    serving.join().unwrap();
    let table = ended.measured();
    assert!(numbers(row(table, "datagrams"))[0] > 0, "{table}");
    assert!(
        table.contains(" refused: nobody received them\n"),
        "{table}"
    );
}
