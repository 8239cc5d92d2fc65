//! The Redis protocol, byte for byte: limits, bad input, clients that never read, and one order
//! with the other dialects.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::protocol::resp::{
    COMMANDS, MAX_ARGUMENT, MAX_ARGUMENTS, MAX_COMMAND, MAX_INLINE, Verb,
};
use globalcounter::protocol::{Op, Reply};
use globalcounter::server::Config;

use crate::support::{
    Embedded, Framed, Process, add, assert_answered, classic_sum, command, config, connect,
    datagrams, eventually, exchange, exchange_to_end, is_one_to_n, write_until_blocked,
};

#[test]
fn the_test_vector_of_the_protocol() {
    let server = Embedded::start(2);
    let mut framed = Framed::connect(server.tcp);
    framed.ask(Op::Count, "a");
    framed.ask(add(10), "a");
    let mut stream = connect(server.tcp);
    assert_answered(&mut stream, b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n", ":12\r\n");
}

#[test]
fn classic_framed_and_redis_clients_share_one_order() {
    const COUNTS: u64 = 3_000;
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let topic = "one topic";
        let sums: Vec<u64> = thread::scope(|scope| {
            let classic = scope.spawn(|| {
                let socket = datagrams(server.udp);
                let message = [b"\0", topic.as_bytes()].concat();
                let count = |_| classic_sum(&exchange(&socket, &message));
                (0..COUNTS).map(count).collect::<Vec<u64>>()
            });
            let framed = scope.spawn(|| {
                let mut connection = Framed::connect(server.tcp);
                let count = |_| match connection.ask(Op::Count, topic) {
                    Reply::Count(sum) => sum,
                    other => panic!("{other:?}"),
                };
                (0..COUNTS).map(count).collect::<Vec<u64>>()
            });
            let redis = scope.spawn(|| {
                let mut stream = connect(server.tcp);
                let request = command(&["INCR", topic]).repeat(COUNTS as usize);
                let mut writer = stream.try_clone().unwrap();
                let writing = scope.spawn(move || writer.write_all(&request).unwrap());
                let mut replies = String::new();
                while replies.matches("\r\n").count() < COUNTS as usize {
                    let mut buffer = [0; 4_096];
                    let len = stream.read(&mut buffer).unwrap();
                    replies.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
                }
                writing.join().unwrap();
                let sum = |line: &str| line.strip_prefix(':').unwrap().parse().unwrap();
                let sums: Vec<u64> = replies.lines().map(sum).collect();
                assert!(sums.is_sorted(), "the sums of a pipeline rise");
                sums
            });
            [classic, framed, redis]
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(is_one_to_n(sums, 3 * COUNTS), "{shards} shards");
    }
}

#[test]
fn sums_above_the_range_of_redis_are_refused_by_incr_and_shown_by_get() {
    let server = Embedded::start(2);
    let mut framed = Framed::connect(server.tcp);
    let most = i64::MAX as u64;
    framed.ask(Op::Advance(most - 1), "a");
    let mut stream = connect(server.tcp);
    let incr = command(&["INCR", "a"]);
    let refused = "-ERR increment or decrement would overflow\r\n";
    assert_answered(&mut stream, &incr, ":9223372036854775807\r\n");
    assert_answered(&mut stream, &incr, refused);
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(most + 1));
    assert_answered(&mut stream, &incr, refused);
    assert_answered(&mut stream, &command(&["INCRBY", "a", "7"]), refused);
    let get = command(&["GET", "a"]);
    assert_answered(&mut stream, &get, "$19\r\n9223372036854775808\r\n");
    let set = command(&["SET", "a", "18446744073709551615"]);
    assert_answered(&mut stream, &set, "+OK\r\n");
    assert_answered(&mut stream, &get, "$20\r\n18446744073709551615\r\n");
}

#[test]
fn bad_keys_get_an_error_and_the_connection_stays_open() {
    let server = Embedded::with(Config {
        max_topics: 2,
        ..config(2)
    });
    let mut stream = connect(server.tcp);
    let long = "x".repeat(1_025);
    let longest = "y".repeat(MAX_ARGUMENT);
    for key in [&long, &longest] {
        let incr = command(&["INCR", key]);
        assert_answered(&mut stream, &incr, "-ERR the key is too long\r\n");
    }
    let bad = b"*2\r\n$4\r\nINCR\r\n$1\r\n\xff\r\n";
    assert_answered(&mut stream, bad, "-ERR the key is not UTF-8\r\n");
    let bad = b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\n\xff\r\n";
    assert_answered(&mut stream, bad, "-ERR the key is not UTF-8\r\n");
    assert_answered(&mut stream, &command(&["INCR", "a"]), ":1\r\n");
    assert_answered(&mut stream, &command(&["INCR", "b"]), ":1\r\n");
    let full = "-OOM the limit on topics is reached (--max-topics, or that of the token)\r\n";
    assert_answered(&mut stream, &command(&["INCR", "c"]), full);
    assert_answered(&mut stream, &command(&["SET", "c", "0"]), full);
    assert_answered(&mut stream, &command(&["INCR", "a"]), ":2\r\n");
    assert_answered(&mut stream, &command(&["DBSIZE"]), ":2\r\n");
}

/// Input that is no command gets an error, after the replies to earlier commands, and ends the
/// connection.
#[test]
fn protocol_errors_end_the_connection() {
    let server = Embedded::start(8);
    let too_many = format!("*{}\r\n", MAX_ARGUMENTS + 1);
    let too_long = format!("*1\r\n${}\r\n", MAX_ARGUMENT + 1);
    let endless = "x".repeat(MAX_INLINE);
    for (bad, message) in [
        ("*x\r\n", "invalid multibulk length"),
        (&too_many, "invalid multibulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        (&too_long, "invalid bulk length"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\n$4\r\nPINGPING", "expected CR LF"),
        ("INCR \"a\r\n", "unbalanced quotes in request"),
        (&endless, "too big inline request"),
    ] {
        let topic = bad.get(..1_000).unwrap_or(bad);
        let request = [&command(&["INCR", topic]), bad.as_bytes()].concat();
        let reply = exchange_to_end(server.tcp, &request);
        let expected = format!(":1\r\n-ERR Protocol error: {message}\r\n");
        assert_eq!(String::from_utf8_lossy(&reply), expected, "{bad:.40}");
    }
    // The end of the connection inside a command is a protocol error, too.
    let mut stream = connect(server.tcp);
    stream.write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\na").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let message = "-ERR Protocol error: unexpected end of the connection inside a command\r\n";
    assert_eq!(reply, message);
}

#[test]
fn a_command_up_to_the_limit_may_arrive_byte_by_byte() {
    let server = Embedded::start(2);
    let keys: Vec<String> = (0..40_000).map(|i| format!("some key {i:07}")).collect();
    let words: Vec<&str> = ["EXISTS"]
        .into_iter()
        .chain(keys.iter().map(String::as_str))
        .collect();
    let large = command(&words);
    assert!(large.len() > 900_000 && large.len() < MAX_COMMAND);
    let mut stream = connect(server.tcp);
    assert_answered(&mut stream, &command(&["INCR", &keys[39_999]]), ":1\r\n");
    // The last bytes arrive one by one. A server that parsed all of it again each time would take
    // minutes.
    let (most, rest) = large.split_at(large.len() - 2_000);
    stream.write_all(most).unwrap();
    for byte in rest {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_answered(&mut stream, b"", ":1\r\n");

    let argument = "x".repeat(MAX_ARGUMENT);
    let over = command(&["EXISTS", &argument, &argument]);
    assert!(over.len() > MAX_COMMAND);
    let reply = exchange_to_end(server.tcp, &over);
    let message = "-ERR Protocol error: too big command\r\n";
    assert_eq!(String::from_utf8_lossy(&reply), message);
}

/// Regression: the connection kept the buffer of a long command, outside of all accounting.
#[test]
fn the_buffer_of_a_long_command_is_freed() {
    let server = Process::start(1);
    let argument = "x".repeat(MAX_ARGUMENT - 1);
    let mut long = command(&["EXISTS", &argument]);
    long.push(b'*'); // the next command has begun
    let before = server.resident();
    let mut streams: Vec<TcpStream> = (0..100).map(|_| connect(server.tcp)).collect();
    for stream in &mut streams {
        assert_answered(stream, &long, "-ERR the key is too long\r\n");
    }
    let grown = server.resident().saturating_sub(before) / streams.len();
    assert!(grown < 128 * 1024, "{grown} bytes per connection");
}

#[test]
fn all_replies_arrive_before_quit_or_after_a_half_close() {
    let server = Embedded::start(8);
    let incr: Vec<u8> = (0..100)
        .flat_map(|i| command(&["INCR", &format!("key {i}")]))
        .collect();
    let ones = ":1\r\n".repeat(100);
    let quit = [&incr[..], &command(&["QUIT"]), &incr].concat();
    let reply = exchange_to_end(server.tcp, &quit);
    assert_eq!(String::from_utf8_lossy(&reply), format!("{ones}+OK\r\n"));

    let mut stream = connect(server.tcp);
    stream.write_all(&incr).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, ":2\r\n".repeat(100));
}

/// A browser that is made to send a form must not run the commands in its body.
#[test]
fn http_requests_are_refused() {
    let server = Embedded::start(2);
    for request in [
        "POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nINCR a\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nINCR a\r\n",
    ] {
        let reply = exchange_to_end(server.tcp, request.as_bytes());
        let reply = String::from_utf8(reply).unwrap();
        assert!(
            reply.starts_with("-ERR ") && !reply.contains("\r\n:"),
            "{reply}"
        );
    }
    let mut stream = connect(server.tcp);
    assert_answered(&mut stream, &command(&["EXISTS", "a"]), ":0\r\n");
}

#[test]
fn clients_that_never_read_cost_little_memory_and_delay_nobody() {
    let server = Process::start(8);
    let mut other = connect(server.tcp);
    let incr = command(&["INCR", "others"]);
    assert_answered(&mut other, &incr, ":1\r\n");
    let before = server.resident();
    let many: Vec<String> = (0..500).map(|i| i.to_string()).collect();
    let many: Vec<&str> = ["MGET"]
        .into_iter()
        .chain(many.iter().map(String::as_str))
        .collect();
    let requests = [
        command(&["INCR", "a"]),
        command(&many),
        b"INFO\r\n".to_vec(),
        b"COMMAND DOCS\r\n".to_vec(),
        b"CLIENT LIST\r\n".to_vec(),
        b"DBSIZE\r\nINCR b\r\n".to_vec(),
        b"SCAN 0 COUNT 1000\r\n".to_vec(),
        command(&["ECHO", &"x".repeat(10_000)]),
    ];
    let stalled: Vec<TcpStream> = (0..requests.len()).map(|_| connect(server.tcp)).collect();
    let slowest = thread::scope(|scope| {
        let floods: Vec<_> = stalled
            .iter()
            .zip(&requests)
            .map(|(stream, request)| scope.spawn(move || write_until_blocked(stream, request)))
            .collect();
        let mut slowest = Duration::ZERO;
        let mut sum = 1;
        while !floods.iter().all(thread::ScopedJoinHandle::is_finished) {
            sum += 1;
            let start = Instant::now();
            assert_answered(&mut other, &incr, &format!(":{sum}\r\n"));
            slowest = slowest.max(start.elapsed());
        }
        for flood in floods {
            flood.join().unwrap();
        }
        slowest
    });
    println!("the slowest count took {slowest:?}");
    assert!(
        slowest < Duration::from_secs(1),
        "one count took {slowest:?}"
    );
    let grown = server.resident().saturating_sub(before) / stalled.len();
    // 4 MiB of unsent replies, the contents of one read, and the memory that the allocator keeps of
    // a buffer that grew.
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes per connection");
    // Each gets replies as soon as it reads.
    for stream in &stalled {
        let mut stream = stream.try_clone().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let mut read = 0;
        while read < 1024 * 1024 {
            read += stream.read(&mut buffer).expect("more replies");
        }
    }
}

/// Each command of the table gets a reply.
#[test]
fn every_command_is_answered() {
    let server = Embedded::start(2);
    for spec in COMMANDS {
        let mut words: Vec<&str> = spec.name.split('|').collect();
        while !spec.takes(words.len()) {
            words.push("0");
        }
        let reply = exchange_to_end(server.tcp, &[command(&words), command(&["QUIT"])].concat());
        let reply = String::from_utf8(reply).unwrap();
        assert!(
            reply.len() > 5 || spec.verb == Verb::Quit,
            "{words:?}: {reply}"
        );
        assert!(!reply.contains("unknown command"), "{words:?}: {reply}");
    }
}

/// CLIENT LIST shows who is connected, and each client's last command.
#[test]
fn clients_are_listed_while_they_are_connected() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    let mut other = connect(server.tcp);
    assert_answered(
        &mut other,
        b"INCR a\r\nCLIENT SETNAME other\r\nGET a\r\n",
        ":1\r\n+OK\r\n$1\r\n1\r\n",
    );
    let mut ask = |line: &str| {
        stream.write_all(line.as_bytes()).unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"\n\r\n") {
            let mut buffer = [0; 1_024];
            let len = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..len]);
        }
        String::from_utf8(text).unwrap()
    };
    let list = ask("CLIENT LIST\r\n");
    let of_other = format!(
        "addr={} laddr={} name=other ",
        other.local_addr().unwrap(),
        server.tcp
    );
    let line = list
        .lines()
        .find(|line| line.contains(&of_other))
        .expect(&list);
    assert!(
        line.contains(" cmd=get ") && line.contains(" resp=2"),
        "{line}"
    );
    assert!(list.contains(" cmd=client|list "), "{list}");
    let id = line.split(' ').next().unwrap().trim_start_matches("id=");
    let some = ask(&format!("CLIENT LIST ID {id} {id} 999999\r\n"));
    assert_eq!(
        some.matches("addr=").count(),
        2,
        "addr and laddr of one client: {some}"
    );
    drop(other);
    eventually("the other client is not listed", || {
        !ask("CLIENT LIST\r\n").contains("name=other")
    });
}

/// No command of a transaction is run, and clients get errors.
#[test]
fn transactions_are_refused_as_a_whole() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    let refused = "-ERR transactions are not supported: send the command without MULTI\r\n";
    let transaction = b"MULTI\r\nINCR a\r\nMGET a b\r\nnonsense\r\nEXEC\r\nINCR a\r\n";
    let unknown = "-ERR unknown command 'nonsense', with args beginning with: \r\n";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let expected = format!("+OK\r\n{refused}{refused}{unknown}{aborted}:1\r\n");
    assert_answered(&mut stream, transaction, &expected);
    let discarded = format!("+OK\r\n{refused}-ERR MULTI calls can not be nested\r\n+OK\r\n:2\r\n");
    let discard = b"MULTI\r\nINCR a\r\nMULTI\r\nDISCARD\r\nINCR a\r\n";
    assert_answered(&mut stream, discard, &discarded);
    assert_answered(&mut stream, b"EXEC\r\n", "-ERR EXEC without MULTI\r\n");
    assert_answered(
        &mut stream,
        b"DISCARD\r\n",
        "-ERR DISCARD without MULTI\r\n",
    );
    assert_answered(&mut stream, b"MULTI\r\nQUIT\r\n", "+OK\r\n+OK\r\n");
}
