//! The library's clients, the command and the redis crate show their tokens.

use std::fs;

use globalcounter::blocking::Client;
use globalcounter::client::Options;
use globalcounter::protocol::ErrorCode;
use redis::Commands;

use super::{guarded, new_token, token, tokens_file};
use crate::command::{command as program, one_line};
use crate::support::{Directory, Process};

#[test]
fn the_clients_show_their_token() {
    let directory = Directory::new("client-tokens");
    let (token, line) = new_token(&["--name", "one", "--rights", "count", "--prefix", "in/"]);
    let path = tokens_file(&directory, &line);
    let server = Process::with(&["--tokens", &path, "--shards", "2"]);
    let url = format!("tcp://{}", server.tcp);
    for shard_aware in [false, true] {
        let options = || Options::default().shard_aware(shard_aware);
        let client = Client::connect_with(&url, options().token(&token)).unwrap();
        assert!(client.count("in/a").unwrap() > 0);
        let denied = client.get("in/a").unwrap_err();
        assert_eq!(denied.code(), Some(ErrorCode::Denied));
        let wrong = Client::connect_with(&url, options().token("wrong-token")).unwrap_err();
        assert_eq!(wrong.code(), Some(ErrorCode::Denied));
        assert!(!format!("{:?}", options().token(&token)).contains(&token));
    }
    let udp = format!("udp://{}", server.udp);
    let error = Client::connect_with(&udp, Options::default().token(&token)).unwrap_err();
    assert!(
        error.to_string().contains("a token needs tcp://"),
        "{error}"
    );

    let file = directory.0.join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    let count = ["count", "--server", &url, "in/b"];
    program()
        .args(count)
        .args(["--token-file", file])
        .assert()
        .success()
        .stdout("1\n");
    let by_variable = program()
        .args(count)
        .env("GLOBALCOUNTER_TOKEN", &token)
        .assert();
    by_variable.success().stdout("2\n");
    let output = program().args(count).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output.stderr).contains("DENIED"));
}

#[test]
fn the_redis_crate_logs_in() {
    let tokens = vec![token(
        "orders",
        "the-right-token",
        "count,read",
        &["orders/"],
    )];
    let (server, _) = guarded(2, tokens, &[]);
    let open = |login: &str, protocol: &str| {
        let url = format!("redis://{login}{}/{protocol}", server.tcp);
        redis::Client::open(url).unwrap().get_connection()
    };
    for protocol in ["", "?protocol=resp3"] {
        let mut connection = open("orders:the-right-token@", protocol).unwrap();
        assert!(connection.incr::<_, _, u64>("orders/1", 1).unwrap() > 0);
        let denied = connection.incr::<_, _, u64>("other", 1).unwrap_err();
        assert_eq!(denied.code(), Some("NOPERM"));
        let wrong = open("orders:a-wrong-token@", protocol)
            .err()
            .expect("it is refused");
        // The crate's own kind, or the server's word: it depends on the protocol.
        let kind = wrong.kind() == redis::ErrorKind::AuthenticationFailed;
        assert!(kind || wrong.code() == Some("WRONGPASS"), "{wrong}");
        let anonymous = open("", protocol).and_then(|mut open| open.get::<_, u64>("orders/1"));
        assert_eq!(anonymous.unwrap_err().code(), Some("NOAUTH"));
    }
}
