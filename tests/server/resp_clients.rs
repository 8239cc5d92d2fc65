//! CLIENT KILL over all workers, CLIENT REPLY and RESET.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Embedded, assert_answered, command, connect, eventually};

/// The id of a connection.
fn id_of(stream: &mut TcpStream) -> u64 {
    stream.write_all(b"CLIENT ID\r\n").unwrap();
    let mut reply = [0; 32];
    let len = stream.read(&mut reply).unwrap();
    let text = std::str::from_utf8(&reply[1..len]).unwrap();
    text.trim_end().parse().unwrap()
}

/// Reads until the server closes the connection, and returns what came.
fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection does not end: {error}"),
    }
    rest
}

/// What CLIENT LIST says.
fn list(stream: &mut TcpStream) -> String {
    stream.write_all(b"CLIENT LIST\r\n").unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\n\r\n") {
        let mut buffer = [0; 4_096];
        let len = stream.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn killed_clients_of_every_worker_end_and_the_others_live_on() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let mut killer = connect(server.tcp);
        // Enough that each worker has some, which sleep while they are killed.
        let mut idle: Vec<TcpStream> = (0..4 * shards).map(|_| connect(server.tcp)).collect();
        let ids: Vec<u64> = idle.iter_mut().map(id_of).collect();
        for (i, (stream, id)) in idle.iter().zip(&ids).enumerate() {
            let address = stream.local_addr().unwrap().to_string();
            let (kill, reply) = match i % 4 {
                0 => (format!("CLIENT KILL ID {id}\r\n"), ":1\r\n"),
                1 => (format!("CLIENT KILL {address}\r\n"), "+OK\r\n"),
                2 => (
                    format!("CLIENT KILL ADDR {address} ID {id} TYPE normal USER default\r\n"),
                    ":1\r\n",
                ),
                // Filters that it does not match.
                _ => (format!("CLIENT KILL ID {id} MAXAGE 1000000\r\n"), ":0\r\n"),
            };
            assert_answered(&mut killer, kill.as_bytes(), reply);
        }
        for (i, stream) in idle.iter_mut().enumerate() {
            if i % 4 < 3 {
                assert_eq!(rest_of(stream), b"", "client {i} of {shards} shards");
            } else {
                assert_answered(stream, b"PING\r\n", "+PONG\r\n");
            }
        }
        eventually("killed clients are not listed", || {
            list(&mut killer).matches("id=").count() == 1 + shards
        });
        let all = format!(":{shards}\r\n");
        assert_answered(&mut killer, b"CLIENT KILL TYPE normal\r\n", &all);
        for stream in idle.iter().skip(3).step_by(4) {
            assert_eq!(rest_of(stream), b"");
        }
        assert_answered(&mut killer, b"PING\r\n", "+PONG\r\n");
    }
}

#[test]
fn a_client_that_does_not_read_is_killed() {
    let server = Embedded::start(2);
    let mut killer = connect(server.tcp);
    let mut not_reading = connect(server.tcp);
    let id = id_of(&mut not_reading);
    not_reading
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let info = b"INFO\r\n".repeat(10_000);
    while not_reading.write(&info).is_ok() {}
    let kill = format!("CLIENT KILL ID {id}\r\n");
    assert_answered(&mut killer, kill.as_bytes(), ":1\r\n");
    eventually("the killed client is not listed", || {
        list(&mut killer).matches("addr=").count() == 2 // addr and laddr of one
    });
    rest_of(&not_reading);
}

#[test]
fn a_client_that_kills_itself_gets_its_replies_first() {
    let server = Embedded::start(8);
    for words in [
        "CLIENT KILL {address}",
        "CLIENT KILL ADDR {address} SKIPME no",
    ] {
        let mut stream = connect(server.tcp);
        let address = stream.local_addr().unwrap().to_string();
        let kill = words.replace("{address}", &address);
        let incr: String = (0..50).map(|i| format!("INCR {i}\r\n")).collect();
        let spared = format!("CLIENT KILL ADDR {address}\r\n");
        let request = format!("DEL a\r\n{spared}{incr}{kill}\r\nPING\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let text = String::from_utf8(rest_of(&stream)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 53, "{text}");
        assert_eq!(
            lines[1], ":0",
            "without SKIPME no, a client does not kill itself"
        );
        let last = if words.contains("SKIPME") {
            ":1"
        } else {
            "+OK"
        };
        assert_eq!(lines[52], last);
    }
    let mut stream = connect(server.tcp);
    let unknown = "-ERR No such client\r\n";
    let no_user = "-ERR No such user 'x'\r\n";
    assert_answered(&mut stream, b"CLIENT KILL USER x\r\n", no_user);
    assert_answered(&mut stream, b"CLIENT KILL 127.0.0.1:1\r\n", unknown);
    assert_answered(&mut stream, b"CLIENT KILL nonsense\r\n", unknown);
}

/// Commands whose replies are not wanted are applied all the same, in order with the others.
#[test]
fn replies_are_not_sent_while_they_are_off() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    let mut request = command(&["CLIENT", "REPLY", "OFF"]);
    for i in 0..1_000 {
        request.extend(command(&["INCR", &i.to_string()]));
        request.extend(command(&["MGET", "1", "2", "3"]));
    }
    request.extend(b"nonsense\r\nKEYS *\r\nSCAN 0\r\nRANDOMKEY\r\nINFO\r\nCLIENT LIST\r\n");
    request.extend(b"CLIENT REPLY SKIP\r\nCLIENT KILL nonsense\r\n");
    request.extend(b"CLIENT REPLY ON\r\nDBSIZE\r\nINCR 7\r\n");
    assert_answered(&mut stream, &request, "+OK\r\n:1000\r\n:2\r\n");
    let skip =
        b"CLIENT REPLY SKIP\r\nMGET 1 2 3\r\nINCR 7\r\nCLIENT REPLY SKIP\r\nKEYS *\r\nPING\r\n";
    assert_answered(&mut stream, skip, ":3\r\n+PONG\r\n");
}

#[test]
fn reset_makes_a_connection_like_new() {
    let server = Embedded::start(8);
    let mut stream = connect(server.tcp);
    stream
        .write_all(b"CLIENT REPLY OFF\r\nHELLO 3 SETNAME somebody\r\nMULTI\r\nINCR a\r\n")
        .unwrap();
    let reset = b"RESET\r\nGET a\r\nCLIENT GETNAME\r\nINCR a\r\nEXEC\r\n";
    let expected = "+RESET\r\n$-1\r\n$-1\r\n:1\r\n-ERR EXEC without MULTI\r\n";
    assert_answered(&mut stream, reset, expected);
    assert!(list(&mut stream).contains(" name= "));
}
