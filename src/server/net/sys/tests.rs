//! Tests over loopback, where a datagram has arrived when the send call returns.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::outgoing::{MESSAGE_LEN, limit_after};
use super::*;

const LOCALHOST: &str = "127.0.0.1:0";

/// Binds a socket with a receive timeout.
fn bound(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // As large as the server's buffers, so that many small datagrams fit.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    socket
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// Receives, having waited for something to receive.
fn receive(socket: &UdpSocket) -> Received {
    socket.peek(&mut [0]).unwrap();
    let mut received = Received::new();
    assert_ne!(received.receive(socket.as_fd()).unwrap(), 0);
    received
}

/// Returns `other` as a peer of `socket`: `other` sends a datagram to `address`, and `socket`
/// receives it.
fn peer(socket: &UdpSocket, other: &UdpSocket, address: &str) -> Peer {
    let address: SocketAddr = format!("{address}:{}", port(socket)).parse().unwrap();
    other.send_to(b"hello", address).unwrap();
    receive(socket).peer(0)
}

/// `count` datagrams of `len` bytes each, no two the same.
fn payloads(count: usize, len: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |i| {
        let mut payload = vec![i as u8; len];
        payload[len / 2] = (i >> 8) as u8;
        payload
    })
}

fn segmenting() -> Outgoing {
    let mut outgoing = Outgoing::new();
    outgoing.set_segmentation(true);
    outgoing
}

fn put(outgoing: &mut Outgoing, payload: &[u8], to: Peer) {
    outgoing.open().extend_from_slice(payload);
    outgoing.close(&to);
}

/// How the datagrams that wait are grouped.
fn runs(outgoing: &Outgoing) -> Vec<usize> {
    let mut runs = Vec::new();
    let mut first = 0;
    while first < outgoing.datagrams.len() {
        let run = outgoing.run(first, outgoing.start_of(first));
        runs.push(run);
        first += run;
    }
    runs
}

/// The next `count` datagrams, and how many messages they came in.
fn arrived(socket: &UdpSocket, count: usize) -> (Vec<Vec<u8>>, usize) {
    let mut datagrams = Vec::new();
    let mut messages = 0;
    while datagrams.len() < count {
        let received = receive(socket);
        messages += received.count();
        for i in 0..received.count() {
            let spans = received.datagrams(i);
            datagrams.extend(spans.map(|span| received.bytes()[span].to_vec()));
        }
    }
    (datagrams, messages)
}

/// Returns a peer at port 0, to which the kernel refuses to send.
fn unreachable(socket: &UdpSocket) -> Peer {
    let mut peer = peer(socket, &bound(LOCALHOST), "127.0.0.1");
    peer.name[2..4].fill(0);
    peer
}

#[test]
fn equal_datagrams_to_one_peer_go_together() {
    let socket = bound(LOCALHOST);
    let one = Peer::connected();
    let two = peer(&socket, &bound(LOCALHOST), "127.0.0.1");
    let grouped = |datagrams: &[(usize, Peer)]| {
        let mut outgoing = segmenting();
        for &(len, to) in datagrams {
            put(&mut outgoing, &vec![0; len], to);
        }
        runs(&outgoing)
    };
    let to_one = |lens: &[usize]| grouped(&lens.iter().map(|&len| (len, one)).collect::<Vec<_>>());
    assert_eq!(to_one(&[5]), [1]);
    assert_eq!(to_one(&[5, 5, 5]), [3]);
    assert_eq!(to_one(&[5, 5, 4, 4]), [3, 1], "a shorter one is the last");
    assert_eq!(to_one(&[4, 5, 5]), [1, 2]);
    assert_eq!(to_one(&[5, 0, 0, 5, 5]), [1, 1, 1, 2], "none is empty");
    assert_eq!(to_one(&[1; 150]), [64, 64, 22]);
    assert_eq!(to_one(&[30_000; 5]), [2, 2, 1]);
    assert_eq!(to_one(&[32_754, 32_753]), [2]);
    assert_eq!(to_one(&[32_754, 32_754]), [1, 1]);
    assert_eq!(
        grouped(&[(5, one), (5, two), (5, two), (5, one)]),
        [1, 2, 1]
    );
}

#[test]
fn segmented_datagrams_arrive_one_by_one() {
    let socket = bound(LOCALHOST);
    let others = [bound(LOCALHOST), bound(LOCALHOST)];
    let peers = [0, 1].map(|i| peer(&socket, &others[i], "127.0.0.1"));
    // A run longer than a message, one with a shorter last, empty ones, and taking turns.
    let long = payloads(130, 24).map(|payload| (0, payload));
    let mixed = [40, 40, 12, 0, 0, 40, 41, 1_400, 1_400, 9].map(|len| (1, vec![len as u8; len]));
    let turns = payloads(20, 7).enumerate().map(|(i, p)| (i / 3 % 2, p));
    let sent: Vec<_> = long.chain(mixed).chain(turns).collect();

    let mut outgoing = segmenting();
    for (to, payload) in &sent {
        put(&mut outgoing, payload, peers[*to]);
    }
    assert_eq!(runs(&outgoing)[..4], [64, 64, 2, 3]);
    assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 0);
    assert!(outgoing.is_empty());
    assert_eq!(outgoing.segment_limit, MESSAGE_LEN, "nothing was refused");
    for (i, other) in others.iter().enumerate() {
        for (_, payload) in sent.iter().filter(|&&(to, _)| to == i) {
            let mut buffer = [0; 2_000];
            let len = other.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], *payload);
        }
    }
}

#[test]
fn coalesced_datagrams_are_taken_apart() {
    let (socket, other) = (bound(LOCALHOST), bound(LOCALHOST));
    assert!(knows_segmentation(socket.as_fd()));
    enable_gro(other.as_fd()).unwrap();
    socket.connect(other.local_addr().unwrap()).unwrap();
    let mut sent: Vec<_> = payloads(70, 100).collect(); // 64 and 6 …
    sent.extend([vec![7; 99], vec![], vec![], vec![1]]); // … and one, and three alone
    sent.extend(payloads(46, 1_400)); // all in one message, the largest
    let mut outgoing = segmenting();
    for payload in &sent {
        put(&mut outgoing, payload, Peer::connected());
    }
    assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 0);
    let (datagrams, messages) = arrived(&other, sent.len());
    assert!(datagrams == sent);
    assert_eq!(messages, 6);
}

#[test]
fn a_lone_datagram_is_as_long_as_its_message() {
    let (socket, other) = (bound(LOCALHOST), bound(LOCALHOST));
    enable_gro(other.as_fd()).unwrap();
    for len in [0, 1, 1_000, MESSAGE_LEN] {
        let address = other.local_addr().unwrap();
        socket.send_to(&vec![1; len], address).unwrap();
        let received = receive(&other);
        assert_eq!(received.segment_len(0), len);
        let spans: Vec<_> = received.datagrams(0).collect();
        assert_eq!(spans, [received.span(0)]);
    }
}

/// Both control messages at once, on the way in and on the way out.
#[test]
fn segmented_replies_leave_from_where_they_were_asked() {
    let socket = bound("0.0.0.0:0");
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
    replies_leave_from("127.0.0.2", &socket, &bound(LOCALHOST));
    let socket = bound("[::]:0");
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
    replies_leave_from("[::1]", &socket, &bound("[::1]:0"));
}

fn replies_leave_from(address: &str, socket: &UdpSocket, other: &UdpSocket) {
    let address: SocketAddr = format!("{address}:{}", port(socket)).parse().unwrap();
    enable_gro(socket.as_fd()).unwrap();
    other.connect(address).unwrap(); // it receives only from this address
    let mut requests = segmenting();
    for payload in [&b"one"[..], b"two", b"3"] {
        put(&mut requests, payload, Peer::connected());
    }
    requests.send(other.as_fd()).unwrap();
    let received = receive(socket);
    assert_eq!((received.count(), received.segment_len(0)), (1, 3));
    let mut replies = segmenting();
    for span in received.datagrams(0) {
        put(&mut replies, &received.bytes()[span], received.peer(0));
    }
    replies.send(socket.as_fd()).unwrap();
    assert_eq!(replies.runs[0], 3);
    for reply in [&b"one"[..], b"two", b"3"] {
        let mut buffer = [0; 10];
        let (len, from) = other.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (reply, address));
    }
}

#[test]
fn without_segmentation_each_datagram_is_a_message() {
    let (socket, other) = (bound(LOCALHOST), bound(LOCALHOST));
    enable_gro(other.as_fd()).unwrap();
    let to = peer(&socket, &other, "127.0.0.1");
    let sent: Vec<_> = payloads(70, 100).collect();
    let mut outgoing = Outgoing::new();
    for payload in &sent {
        put(&mut outgoing, payload, to);
    }
    assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 0);
    assert_eq!(arrived(&other, sent.len()), (sent, 70));
}

/// Makes the kernel refuse to segment: it segments only if it also computes the checksums.
fn without_checksums(socket: &UdpSocket) {
    const SO_NO_CHECK: libc::c_int = 11; // not in libc
    let on: libc::c_int = 1;
    // SAFETY: the value is an int, as the option's is, alive during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NO_CHECK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn refused_segmentation_loses_nothing() {
    let (socket, other) = (bound(LOCALHOST), bound(LOCALHOST));
    let to = peer(&socket, &other, "127.0.0.1");
    without_checksums(&socket);
    let sent: Vec<_> = payloads(1, 9)
        .chain(payloads(70, 50))
        .chain(payloads(20, 40))
        .collect();
    let mut outgoing = segmenting();
    for _ in 0..2 {
        for payload in &sent {
            put(&mut outgoing, payload, to);
        }
        assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 0);
        assert!(arrived(&other, sent.len()).0 == sent);
        assert_eq!(outgoing.segment_limit, 39, "40 bytes were refused as well");
    }
}

#[test]
fn a_peer_that_cannot_be_reached_does_not_end_segmentation() {
    let (socket, other) = (bound(LOCALHOST), bound(LOCALHOST));
    let to = peer(&socket, &other, "127.0.0.1");
    let nobody = unreachable(&socket);
    let mut outgoing = segmenting();
    for (payload, to) in [b"a", b"b", b"c", b"d", b"e"]
        .into_iter()
        .zip([nobody, nobody, nobody, to, to])
    {
        put(&mut outgoing, payload, to);
    }
    assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 3);
    assert_eq!(arrived(&other, 2).0, [b"d", b"e"]);
    assert_eq!(outgoing.segment_limit, MESSAGE_LEN);
}

#[test]
fn only_some_errors_end_segmentation() {
    let after = |code| limit_after(&io::Error::from_raw_os_error(code), 100);
    assert_eq!(after(libc::EMSGSIZE), Some(99));
    assert_eq!(after(libc::EINVAL), Some(99));
    assert_eq!(after(libc::EIO), Some(0));
    assert_eq!(after(libc::ECONNREFUSED), None);
    assert_eq!(after(libc::ENOBUFS), None);
}

#[test]
fn datagrams_that_did_not_fit_are_counted() {
    let socket = UdpSocket::bind(LOCALHOST).unwrap();
    enable_drop_count(socket.as_fd()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let sender = UdpSocket::bind(LOCALHOST).unwrap();
    let send = |count| {
        for _ in 0..count {
            sender
                .send_to(&[0; 1_000], socket.local_addr().unwrap())
                .unwrap();
        }
    };
    let mut received = Received::new();
    let mut receive_all = || {
        let mut messages = 0;
        while let Ok(count) = received.receive(socket.as_fd()) {
            messages += count;
        }
        (messages, received.dropped() as usize)
    };
    send(1);
    assert_eq!(receive_all(), (1, 0));
    send(10_000);
    let (arrived, _) = receive_all();
    assert!(
        arrived < 10_000,
        "the receive buffer is too large for this test"
    );
    // The next datagram tells.
    send(1);
    assert_eq!(receive_all(), (1, 10_000 - arrived));
}
