//! The framed dialect: its methods, its test vectors, pipelines, HELLO, and datagrams of many
//! frames.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::AsFd;

use globalcounter::protocol::framed::{self, Answer, Call, Hello, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::sys::{Outgoing, Peer, knows_segmentation};
use globalcounter::topic::{OWNER_KEY, OWNER_MULTIPLIER, ShardId, owner};

use crate::support::{Embedded, Framed, add, datagrams, exchange, exchange_to_end, frame};

/// Decodes all reply frames in `bytes`.
fn replies(mut bytes: &[u8]) -> Vec<(u32, Reply)> {
    let mut replies = Vec::new();
    while let Some(frame) = framed::decode_reply(bytes).unwrap() {
        match frame.answer {
            Answer::Reply(reply) => replies.push((frame.id.0, reply)),
            other => panic!("a reply expected, not {other:?}"),
        }
        bytes = &bytes[frame.len..];
    }
    assert!(bytes.is_empty(), "an incomplete frame: {bytes:?}");
    replies
}

#[test]
fn the_test_vectors_of_the_protocol() {
    let framed: [(&[u8], &[u8]); 4] = [
        (
            b"\x10\x00\x01\x00\x00\x00\x2aa",
            b"\x90\x00\x08\x00\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x01",
        ),
        (
            b"\x12\x00\x05\x00\x00\x00\x01\x00\x00\x00\x0aa",
            b"\x92\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0b",
        ),
        (
            b"\x13\x00\x01\x00\x00\x00\x02b",
            b"\x93\x00\x08\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            b"\x18\x00\x04\x00\x00\x00\x09\x00\x00\x00\x00",
            b"\x98\x00\x14\x00\x00\x00\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\
              \x00\x00\x01\x00\x00\x3f\xff",
        ),
    ];
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    for (request, reply) in framed {
        assert_eq!(exchange(&socket, request), reply);
    }

    let classic: [(&[u8], &[u8]); 5] = [
        (b"\x00a", b"\x80\x01"),
        (b"\x01a", b"\x81"),
        (b"\x00", b"\x80\x01"),
        (b"\x00\xff", b"\xff\x02topic not UTF-8"),
        (b"\x07a", b"\xff\x01no method"),
    ];
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    for (request, reply) in classic {
        assert_eq!(exchange(&socket, request), reply);
    }
    let server = Embedded::start(2);
    for (request, reply) in classic {
        assert_eq!(exchange_to_end(server.tcp, request), reply);
    }
    for _ in 0..254 {
        assert_eq!(exchange(&datagrams(server.udp), b"\x00b").len(), 2);
    }
    exchange(&datagrams(server.udp), b"\x00b");
    assert_eq!(exchange_to_end(server.tcp, b"\x00b"), b"\x80\x01\x00");
}

#[test]
fn every_method_over_tcp_and_udp() {
    let expected = [
        (Op::Get, Reply::Get(Some(0))),
        (Op::Count, Reply::Count(1)),
        (add(10), Reply::Add(11)),
        (Op::Get, Reply::Get(Some(11))),
        (Op::Advance(5), Reply::Advance(11)),
        (Op::Advance(500), Reply::Advance(500)),
        (Op::Reset, Reply::Reset),
        (Op::Count, Reply::Count(1)),
        (Op::Delete, Reply::Delete { existed: true }),
        (Op::Delete, Reply::Delete { existed: false }),
        (Op::Advance(u64::MAX), Reply::Advance(u64::MAX)),
        (Op::Count, Reply::Error(ErrorCode::Overflow)),
        (add(1), Reply::Error(ErrorCode::Overflow)),
        (Op::Get, Reply::Get(Some(u64::MAX))),
    ];
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let mut connection = Framed::connect(server.tcp);
        let socket = datagrams(server.udp);
        for (op, reply) in expected {
            assert_eq!(connection.ask(op, "over tcp"), reply);
            let datagram = exchange(&socket, &frame(9, op, "over udp"));
            assert_eq!(replies(&datagram), [(9, reply)]);
        }
    }
}

#[test]
fn every_request_of_a_pipeline_is_answered_in_order() {
    const COUNTS: u32 = 100_000;
    const TOPICS: u32 = 1_000;
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let mut connection = Framed::connect(server.tcp);
        let mut requests = Vec::new();
        for id in 0..COUNTS {
            requests.extend(frame(id, Op::Count, &format!("topic {}", id % TOPICS)));
        }
        // All of it is sent before the first reply is read.
        connection.send(&requests);

        let mut seen = vec![false; COUNTS as usize];
        let mut sums = vec![0; TOPICS as usize];
        for _ in 0..COUNTS {
            let (id, reply) = connection.reply().expect("a reply to each");
            assert!(!seen[id as usize], "id {id} twice");
            seen[id as usize] = true;
            let sum = &mut sums[(id % TOPICS) as usize];
            *sum += 1;
            assert_eq!(reply, Reply::Count(*sum), "topic {}", id % TOPICS);
            assert_eq!(*sum, u64::from(id / TOPICS) + 1, "request order");
        }
    }
}

/// Several workers count the same few topics at once, so that they hand over batches all the time.
#[test]
fn concurrent_pipelines_keep_their_order() {
    const COUNTS: u32 = 20_000;
    let server = Embedded::start(4);
    let address = server.tcp;
    let clients: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(move || {
                let mut connection = Framed::connect(address);
                let mut last = [0; 3];
                for chunk in 0..COUNTS / 100 {
                    let ids = chunk * 100..(chunk + 1) * 100;
                    let mut requests = Vec::new();
                    for id in ids.clone() {
                        requests.extend(frame(id, Op::Count, ["a", "b", "hot"][id as usize % 3]));
                    }
                    connection.send(&requests);
                    let mut left: HashSet<u32> = ids.collect();
                    while !left.is_empty() {
                        let (id, reply) = connection.reply().expect("a reply to each");
                        assert!(left.remove(&id));
                        let Reply::Count(sum) = reply else {
                            panic!("{reply:?}")
                        };
                        let last = &mut last[id as usize % 3];
                        assert!(sum > *last, "{sum} after {last}");
                        *last = sum;
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let mut connection = Framed::connect(address);
    let total: u64 = ["a", "b", "hot"]
        .map(|topic| match connection.ask(Op::Get, topic) {
            Reply::Get(Some(sum)) => sum,
            other => panic!("{other:?}"),
        })
        .iter()
        .sum();
    assert_eq!(total, 6 * u64::from(COUNTS));
}

#[test]
fn frames_may_be_cut_anywhere() {
    let server = Embedded::start(2);
    let mut connection = Framed::connect(server.tcp);
    let mut requests = Vec::new();
    for id in 0..20 {
        requests.extend(frame(id, Op::Count, "cut"));
    }
    for byte in requests {
        connection.send(&[byte]);
    }
    for id in 0..20 {
        assert_eq!(
            connection.reply(),
            Some((id, Reply::Count(u64::from(id) + 1)))
        );
    }
}

#[test]
fn a_datagram_may_hold_many_frames() {
    const FRAMES: u32 = 200;
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let socket = datagrams(server.udp);
        let mut datagram = Vec::new();
        for id in 0..FRAMES {
            datagram.extend(frame(id, Op::Count, &format!("topic {}", id % 10)));
        }
        socket.send(&datagram).unwrap();
        let limit = datagram.len().max(1_400);
        let mut got = Vec::new();
        let mut buffer = vec![0; 65_536];
        while got.len() < FRAMES as usize {
            let len = socket.recv(&mut buffer).unwrap();
            assert!(len <= limit, "a datagram of {len} bytes");
            got.extend(replies(&buffer[..len]));
        }
        for id in 0..FRAMES {
            let sum = u64::from(id / 10) + 1;
            assert!(got.contains(&(id, Reply::Count(sum))), "id {id}");
        }
        assert_eq!(got.len(), FRAMES as usize);
    }
}

/// Replies are longer than short requests, so those to a large datagram do not fit into one.
#[test]
fn replies_are_packed_into_datagrams_that_fit() {
    let server = Embedded::start(1);
    let socket = datagrams(server.udp);
    let datagram = frame(5, Op::Count, "").repeat(300); // 2,100 bytes; 4,500 of replies
    socket.send(&datagram).unwrap();
    let mut buffer = vec![0; 65_536];
    let lens = [0; 3].map(|_| socket.recv(&mut buffer).unwrap());
    assert_eq!(
        lens,
        [2_100, 2_100, 300],
        "as few datagrams as the request's size allows"
    );
}

#[test]
fn ping_and_hello_are_answered() {
    let server = Embedded::start(4);
    let mut requests = Vec::new();
    framed::encode_request(RequestId(1), &Call::Ping(b"anything"), &mut requests);
    let socket = datagrams(server.udp);
    assert_eq!(
        exchange(&socket, &requests),
        b"\x97\x00\x08\x00\x00\x00\x01anything"
    );

    let mut connection = Framed::connect(server.tcp);
    connection.send(&requests);
    let pong = connection.receive(|answer| answer == Answer::Pong(b"anything"));
    assert_eq!(pong, Some((1, true)));

    let hello = connection.hello(None);
    assert_eq!(
        (
            hello.shards,
            hello.key,
            hello.multiplier,
            hello.max_topic_len
        ),
        (4, OWNER_KEY, OWNER_MULTIPLIER, 1024)
    );
}

#[test]
fn hello_moves_a_connection_to_the_shard_it_names() {
    let server = Embedded::start(4);
    let mut connection = Framed::connect(server.tcp);
    for (n, shard) in [3, 0, 0, 2, 1, 3].into_iter().enumerate() {
        // One write has a request, the HELLO that moves the connection, and more behind it.
        let mut requests = frame(1, Op::Count, "before");
        let hello = Hello {
            shard: Some(ShardId::new(shard)),
            node: false,
            token: b"a token",
        };
        framed::encode_request(RequestId(2), &Call::Hello(hello), &mut requests);
        requests.extend(frame(3, Op::Count, "after"));
        let (most, last) = requests.split_at(requests.len() - 4);
        connection.send(most);

        let sum = n as u64 + 1;
        // In any order: they are not of one topic.
        let mut answers = [(); 2].map(|()| {
            let answer = connection.receive(|answer| match answer {
                Answer::Hello(hello) => (hello.shard.number(), 0),
                Answer::Reply(Reply::Count(sum)) => (0, sum),
                other => panic!("{other:?}"),
            });
            answer.expect("two replies")
        });
        answers.sort_unstable();
        assert_eq!(answers, [(1, (0, sum)), (2, (shard, 0))]);
        // The frame that the move cut in two.
        connection.send(last);
        assert_eq!(connection.reply(), Some((3, Reply::Count(sum))));
    }
    assert_eq!(connection.hello(None).shard, ShardId::new(3));
}

/// A client computes a topic's owner from the reply to HELLO, and the server agrees.
#[test]
fn a_client_can_compute_the_owner_of_a_topic() {
    let server = Embedded::start(4);
    let mut connection = Framed::connect(server.tcp);
    let hello = connection.hello(None);
    for n in 0..50 {
        let topic = format!("topic {n}");
        let shard = owner(topic.as_bytes(), hello.key, hello.multiplier, hello.shards);
        let hello = connection.hello(Some(shard));
        assert_eq!(hello.shard, ShardId::new(shard));
        assert_eq!(connection.ask(Op::Count, &topic), Reply::Count(1));
    }
}

/// Half-closing after the last request tells the server that no more follows.
#[test]
fn a_half_closed_connection_gets_all_its_replies() {
    let server = Embedded::start(8);
    let mut connection = Framed::connect(server.tcp);
    for id in 0..1_000 {
        connection.send(&frame(id, Op::Count, &format!("topic {}", id % 16)));
    }
    connection
        .stream
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let mut ids = HashSet::new();
    while let Some((id, _)) = connection.reply() {
        ids.insert(id);
    }
    assert_eq!(ids.len(), 1_000);
    assert!(connection.stream.write_all(b"x").is_err());
}

/// Datagrams that a sender passes to the kernel as one message are served one by one, each in its
/// dialect, and an invalid one does not affect the others.
#[test]
fn coalesced_datagrams_are_served_one_by_one() {
    let server = Embedded::start(2);
    let socket = datagrams(server.udp);
    if !knows_segmentation(socket.as_fd()) {
        println!("skipped: this kernel has no UDP segmentation");
        return;
    }
    let mut outgoing = Outgoing::new();
    outgoing.set_segmentation(true);
    let framed = frame(7, Op::Count, "b");
    let classic = b"\x00topic a";
    assert_eq!(
        framed.len(),
        classic.len(),
        "the kernel joins only datagrams of one size"
    );
    let sent: [&[u8]; 6] = [
        classic,
        &framed,
        b"\x00bad \xff\xff!",
        b"\x80a reply",
        b"PING it!",
        classic,
    ];
    for datagram in sent {
        outgoing.open().extend_from_slice(datagram);
        outgoing.close(&Peer::connected());
    }
    assert_eq!(outgoing.send(socket.as_fd()).unwrap(), 0);
    let mut got = Vec::new();
    for _ in 0..5 {
        let mut buffer = [0; 100];
        let len = socket.recv(&mut buffer).unwrap();
        got.push(buffer[..len].to_vec());
    }
    got.sort_unstable();
    let mut counted = vec![0x90, 0, 8, 0, 0, 0, 7];
    counted.extend_from_slice(&1u64.to_be_bytes());
    let expected = [
        b"\x80\x01".to_vec(),
        b"\x80\x02".to_vec(),
        counted,
        b"\xff\x01no method".to_vec(),
        b"\xff\x02topic not UTF-8".to_vec(),
    ];
    assert_eq!(got, expected);
}
