//! Bad input: over every transport each gets the error that the protocol defines for it, and the
//! server goes on serving.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

use globalcounter::protocol::{Dialect, ErrorCode, Op, Reply};

use crate::support::{
    Embedded, Framed, Process, Random, connect, datagrams, eventually, exchange, exchange_to_end,
    frame,
};

/// Encodes a classic ERROR reply.
fn classic_error(code: ErrorCode) -> Vec<u8> {
    [&[255, code.code()], code.message().as_bytes()].concat()
}

/// Encodes a framed ERROR reply.
fn framed_error(id: u32, code: ErrorCode) -> Vec<u8> {
    let body = 1 + code.message().len() as u8;
    let header = [&[255, 0, body][..], &id.to_be_bytes()].concat();
    [&header, &[code.code()][..], code.message().as_bytes()].concat()
}

fn long_topic() -> Vec<u8> {
    vec![b'x'; 1_025]
}

/// Returns bad classic messages and the error that each gets.
fn bad_messages() -> Vec<(Vec<u8>, ErrorCode)> {
    let mut bad = vec![
        (vec![0, 0xff], ErrorCode::BadTopic),
        (vec![1, 0xc3, 0x28], ErrorCode::BadTopic),
        ([&[0], &long_topic()[..]].concat(), ErrorCode::TopicTooLong),
        ([&[1], &long_topic()[..]].concat(), ErrorCode::TopicTooLong),
        (
            [&[0], &[b'y'; 60_000][..]].concat(),
            ErrorCode::TopicTooLong,
        ),
    ];
    for op in (2..16).chain(32..128) {
        bad.push((vec![op, b'a'], ErrorCode::BadOpcode));
    }
    bad
}

/// Returns bad frames with id 77 and the error that each gets.
fn bad_frames() -> Vec<(Vec<u8>, ErrorCode)> {
    let encode = |op: u8, body: &[u8]| {
        let len = (body.len() as u16).to_be_bytes();
        [&[op], &len[..], &[0, 0, 0, 77], body].concat()
    };
    let mut bad = vec![
        (encode(18, &[0, 0, 0]), ErrorCode::BadFrame),
        (encode(18, &[0, 0, 0, 0, b'a']), ErrorCode::BadFrame),
        (encode(21, &[0; 7]), ErrorCode::BadFrame),
        (encode(22, &[1, 0, 255]), ErrorCode::BadFrame),
        (encode(22, &[0, 0, 255, 255]), ErrorCode::BadFrame),
        (encode(22, &[1, 0, 0, 200]), ErrorCode::BadFrame), // no such shard
    ];
    for op in 16..=21 {
        let arguments: &[u8] = match op {
            18 => &[0, 0, 0, 1],
            21 => &[0; 8],
            _ => &[],
        };
        bad.push((
            encode(op, &[arguments, &[0xff]].concat()),
            ErrorCode::BadTopic,
        ));
        let long = [arguments, &long_topic()].concat();
        bad.push((encode(op, &long), ErrorCode::TopicTooLong));
    }
    for op in 25..=31 {
        bad.push((encode(op, b"a"), ErrorCode::BadOpcode));
    }
    bad
}

#[test]
fn bad_classic_messages_over_udp_get_their_errors() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    for (message, code) in bad_messages() {
        assert_eq!(
            exchange(&socket, &message),
            classic_error(code),
            "{message:?}"
        );
    }
    assert_eq!(exchange(&socket, b""), classic_error(ErrorCode::BadOpcode));
    // RESP is spoken over TCP only.
    for resp in [&b"*1\r\n$4\r\nPING\r\n"[..], b"INCR a\r\n"] {
        assert_eq!(exchange(&socket, resp), classic_error(ErrorCode::BadOpcode));
    }
    assert_eq!(
        exchange(&socket, b"\x00a"),
        b"\x80\x01",
        "the server goes on and has counted nothing"
    );
}

#[test]
fn bad_classic_messages_over_tcp_get_their_errors() {
    let server = Embedded::start(2);
    // Over TCP, a star or a letter begins a command of the Redis protocol.
    let is_resp = |message: &[u8]| Dialect::of(message[0]) == Dialect::Resp;
    for (message, code) in bad_messages() {
        if is_resp(&message) {
            continue;
        }
        assert_eq!(
            exchange_to_end(server.tcp, &message),
            classic_error(code),
            "{message:?}"
        );
    }
    // A message that is longer than one read.
    let endless = [&[0], &vec![b'y'; 300_000][..]].concat();
    assert_eq!(
        exchange_to_end(server.tcp, &endless),
        classic_error(ErrorCode::TopicTooLong)
    );
    assert_eq!(exchange_to_end(server.tcp, b"\x00a"), b"\x80\x01");
}

#[test]
fn bad_frames_over_udp_get_their_errors() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    for (bad, code) in bad_frames() {
        assert_eq!(exchange(&socket, &bad), framed_error(77, code), "{bad:?}");
        // Good frames around it are served.
        let both = [frame(1, Op::Count, "a"), bad, frame(2, Op::Get, "b")].concat();
        let replies = exchange(&socket, &both);
        assert_eq!(replies.len(), 2 * 15 + framed_error(77, code).len());
    }
}

/// This also holds behind a frame, where the error may answer a single byte.
#[test]
fn no_error_is_much_larger_than_its_request() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    let count = frame(1, Op::Count, "");
    for op in 0..=127u8 {
        let datagram = [&count[..], &[op]].concat();
        let reply = exchange(&socket, &datagram);
        assert!(reply.len() <= 15 + 1 + 16, "op {op}: {} bytes", reply.len());
        assert!(exchange(&socket, &[op]).len() <= 1 + 16, "op {op}");
    }
}

#[test]
fn truncated_datagrams_get_an_error() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    let whole = frame(5, Op::Count, "topic");
    let mut sum = 0;
    for cut in 1..whole.len() {
        let datagram = [&whole[..], &whole[..cut]].concat();
        let reply = exchange(&socket, &datagram);
        sum += 1;
        let id = if cut < 7 { 0 } else { 5 };
        let broken = framed_error(id, ErrorCode::BadFrame);
        let error_at = reply.windows(broken.len()).position(|part| part == broken);
        assert!(error_at.is_some(), "cut at {cut}: {reply:?}");
        assert_eq!(reply.len(), 15 + broken.len());
        // The truncated frame alone gets an error that is at most 16 bytes longer than itself.
        let reply = exchange(&socket, &whole[..cut]);
        assert_eq!(reply, broken);
        assert!(reply.len() <= cut + 16);
    }
    assert_eq!(exchange(&socket, &frame(1, Op::Get, "topic"))[14], sum);
}

#[test]
fn bad_frames_over_tcp_get_their_errors() {
    let server = Embedded::start(2);
    let mut connection = Framed::connect(server.tcp);
    for (sum, (bad, code)) in (1..).zip(bad_frames()) {
        connection.send(&bad);
        assert_eq!(
            connection.reply(),
            Some((77, Reply::Error(code))),
            "{bad:?}"
        );
        assert_eq!(
            connection.ask(Op::Count, "a"),
            Reply::Count(sum),
            "the connection stays open"
        );
    }
}

#[test]
fn a_framed_connection_is_closed_after_garbage_between_frames() {
    let server = Embedded::start(2);
    let counted = frame(1, Op::Count, "a");
    for garbage in [
        &b"\x00a"[..],
        b"\x40\x00\x01\x00\x00\x00\x09a",
        b"INCR a\r\n",
    ] {
        let mut connection = Framed::connect(server.tcp);
        connection.send(&[&counted[..], garbage].concat());
        let mut replies = [connection.reply(), connection.reply()];
        replies.sort_by_key(|reply| matches!(reply, Some((_, Reply::Error(_)))));
        assert!(
            matches!(replies[0], Some((1, Reply::Count(_)))),
            "{replies:?}"
        );
        let id = if garbage.len() < 7 {
            0
        } else {
            u32::from_be_bytes(garbage[3..7].try_into().unwrap())
        };
        assert_eq!(replies[1], Some((id, Reply::Error(ErrorCode::BadOpcode))));
        assert_eq!(connection.reply(), None, "closed");
    }
    // A frame that is never completed.
    let mut connection = Framed::connect(server.tcp);
    connection.send(&[&counted[..], &counted[..7]].concat());
    assert!(matches!(connection.reply(), Some((1, Reply::Count(_)))));
    connection
        .stream
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(
        connection.reply(),
        Some((1, Reply::Error(ErrorCode::BadFrame)))
    );
    assert_eq!(connection.reply(), None);
}

/// Otherwise two servers could be made to answer each other forever.
#[test]
fn replies_are_never_answered() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    for op in 128..=255u8 {
        socket.send(&[op, 1]).unwrap();
        socket.send(&[op, 0, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(exchange_to_end(server.tcp, &[op, 1]), b"", "op {op}");
    }
    // One socket's datagrams are served in order, so the first reply received is to this one.
    assert_eq!(exchange(&socket, b"\x00a"), b"\x80\x01");
    // Behind a good frame: nothing from there on is answered.
    let datagram = [
        frame(1, Op::Count, "a"),
        vec![0x90, 0, 0, 0, 0, 0, 9],
        frame(2, Op::Count, "a"),
    ];
    let reply = exchange(&socket, &datagram.concat());
    assert_eq!(reply.len(), 15, "{reply:?}");
    assert_eq!(exchange(&socket, b"\x00a"), b"\x80\x03");
}

#[test]
fn limits_on_topics_are_enforced() {
    let server = Embedded::with(globalcounter::server::Config {
        max_topics: 3,
        max_topic_len: 4,
        ..crate::support::config(2)
    });
    let mut connection = Framed::connect(server.tcp);
    for topic in ["a", "b", "four"] {
        assert_eq!(connection.ask(Op::Count, topic), Reply::Count(1));
    }
    let too_many = Reply::Error(ErrorCode::TooManyTopics);
    assert_eq!(connection.ask(Op::Count, "d"), too_many);
    assert_eq!(
        exchange(&datagrams(server.udp), b"\x00d"),
        classic_error(ErrorCode::TooManyTopics)
    );
    let too_long = Reply::Error(ErrorCode::TopicTooLong);
    assert_eq!(connection.ask(Op::Count, "fives"), too_long);
    assert_eq!(
        connection.ask(Op::Count, "a"),
        Reply::Count(2),
        "nothing is evicted"
    );
    assert_eq!(
        connection.ask(Op::Delete, "a"),
        Reply::Delete { existed: true }
    );
    assert_eq!(connection.ask(Op::Count, "d"), Reply::Count(1));
}

/// Returns random bytes, or good requests with a few bits flipped.
fn garbage(random: &mut Random) -> Vec<u8> {
    let len = random.below(200) as usize;
    match random.below(3) {
        0 => random.bytes(len),
        1 => {
            let mut bytes = frame(1, Op::Count, "topic").repeat(1 + len / 20);
            for _ in 0..4 {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            bytes
        }
        _ => {
            let mut bytes = random.bytes(len + 1);
            bytes[0] = random.below(32) as u8;
            bytes
        }
    }
}

#[test]
fn millions_of_random_bytes_leave_the_server_working() {
    const BYTES: usize = 3_000_000;
    let server = Process::with(&["--shards", "2", "--max-topics", "100000"]);
    let mut random = Random::seeded(1);

    let mut sent = 0;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 65_536];
    while sent < BYTES {
        let datagram = garbage(&mut random);
        socket.send_to(&datagram, server.udp).unwrap();
        sent += datagram.len();
        while socket.recv(&mut buffer).is_ok() {}
    }

    let mut sent = 0;
    while sent < BYTES {
        let mut stream = connect(server.tcp);
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        for _ in 0..random.below(40) {
            let bytes = garbage(&mut random);
            sent += bytes.len();
            if stream.write_all(&bytes).is_err() {
                break; // the server has closed the connection
            }
        }
        match random.below(3) {
            0 => {} // closed without reading
            1 => {
                // There may be no reply: an incomplete frame gets none.
                stream
                    .set_read_timeout(Some(Duration::from_millis(1)))
                    .unwrap();
                let _ = stream.read(&mut buffer);
            }
            _ => {
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }

    let mut connection = Framed::connect(server.tcp);
    assert_eq!(connection.ask(Op::Reset, "alive"), Reply::Reset);
    assert_eq!(connection.ask(Op::Count, "alive"), Reply::Count(1));
    drop(connection);
    // Earlier datagrams may still be queued; the reply to this one has an id of its own.
    let socket = datagrams(server.udp);
    let reply = exchange(&socket, &frame(0x1234_5678, Op::Count, "alive"));
    assert_eq!(reply[3..7], [0x12, 0x34, 0x56, 0x78]);
    eventually("every connection is closed", || {
        server.descriptors() == server.idle_descriptors
    });
}
