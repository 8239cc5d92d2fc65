//! Tests of commands: which there are, what their arguments mean, and how they are refused.

use super::*;

/// Passes the command of a line to `take`, or returns the error text.
fn read<T>(line: &str, take: impl FnOnce(Command<'_>) -> T) -> Result<T, String> {
    let mut input = format!("{line}\n").into_bytes();
    let mut arguments = Arguments::default();
    decode(&mut input, &mut Progress::default(), &mut arguments).unwrap();
    let spec = find(&arguments, &input).map_err(|refusal| refusal.to_string())?;
    Command::read(spec, &arguments, &input, MAX_TOPIC)
        .map(take)
        .map_err(|refusal| refusal.to_string())
}

fn refused(line: &str) -> String {
    read(line, |_| ()).expect_err(line)
}

/// Without tokens, the user `default` may send any password, and others are refused as by Redis.
#[test]
fn credentials_are_read_and_refused_without_tokens() {
    let auth = |line: &str| {
        read(line, |command| match command {
            Command::Auth(auth)
            | Command::Hello(Hello {
                auth: Some(auth), ..
            }) => {
                assert_eq!(auth.password, b"secret");
                assert!(!format!("{auth:?}").contains("secret"));
                auth.without_tokens().map_err(|refusal| refusal.to_string())
            }
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    for login in ["auth", "hello 3 auth", "hello 2 setname a auth"] {
        assert_eq!(auth(&format!("{login} default secret")), Ok(()));
        let refused = auth(&format!("{login} somebody secret")).unwrap_err();
        assert_eq!(
            refused,
            "WRONGPASS invalid username-password pair or user is disabled."
        );
    }
    let refused = auth("auth secret").unwrap_err();
    assert!(
        refused.starts_with("ERR AUTH <password> called without any"),
        "{refused}"
    );
}

#[test]
fn commands_are_read_as_the_protocol_says() {
    let request = |line: &str| {
        read(line, |command| match command {
            Command::Topic { request, form } => (request.op, form),
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    let incr = |n: u64| Op::Incr(n.try_into().unwrap());
    assert_eq!(request("incr a"), (incr(1), Form::Sum));
    assert_eq!(request("INCRBY a 7"), (incr(7), Form::Sum));
    let most = format!("incrby a {MAX_SUM}");
    assert_eq!(request(&most), (incr(MAX_SUM), Form::Sum));
    assert_eq!(request("Get a"), (Op::Get, Form::Value));
    assert_eq!(request("set a 0"), (Op::Reset, Form::Reset));
    assert_eq!(request("set a 5"), (Op::Advance(5), Form::Raise(5)));
    let highest = format!("set a {}", u64::MAX);
    let raised = (Op::Advance(u64::MAX), Form::Raise(u64::MAX));
    assert_eq!(request(&highest), raised);
    assert_eq!(request("type a"), (Op::Get, Form::Kind));

    let keys = |line: &str| {
        read(line, |command| match command {
            Command::EachKey(each) => (each.op, each.counted),
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    assert_eq!(keys("mget a b"), (Op::Get, false));
    assert_eq!(keys("exists a b"), (Op::Get, true));
    assert_eq!(keys("del a b"), (Op::Delete, true));
    assert_eq!(keys("unlink a b"), (Op::Delete, true));

    let scan = |line: &str| {
        read(line, |command| match command {
            Command::Scan(scan) => (scan.cursor, scan.pattern.map(<[u8]>::to_vec), scan.count),
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    assert_eq!(scan("scan 0"), (0, None, 10));
    let some = (7, Some(b"a*".to_vec()), 100);
    assert_eq!(scan("scan 7 count 100 match a* type STRING"), some);
}

#[test]
fn refused_commands_get_the_error_texts_of_redis() {
    let only_up = "ERR counters only go up";
    let not_an_integer = "ERR value is not an integer or out of range";
    let syntax = "ERR syntax error";
    for (line, text) in [
        ("incr", "ERR wrong number of arguments for 'incr' command"),
        (
            "incr a b",
            "ERR wrong number of arguments for 'incr' command",
        ),
        (
            "ping a b",
            "ERR wrong number of arguments for 'ping' command",
        ),
        (
            "client",
            "ERR wrong number of arguments for 'client' command",
        ),
        (
            "client id x",
            "ERR wrong number of arguments for 'client|id' command",
        ),
        (
            "client nonsense x",
            "ERR unknown subcommand 'nonsense'. Try CLIENT HELP.",
        ),
        ("incrby a 0", only_up),
        ("incrby a -3", only_up),
        ("decr a", only_up),
        ("DECRBY a 1", only_up),
        ("set a -1", only_up),
        ("incrby a 9223372036854775808", not_an_integer),
        ("incrby a 1.5", not_an_integer),
        ("incrby a +1", not_an_integer),
        ("incrby a 01", not_an_integer),
        ("set a x", not_an_integer),
        ("set a 18446744073709551616", not_an_integer),
        ("set a 1 NX XX", syntax),
        ("set a 1 xx get nx", syntax),
        ("set a 1 nonsense", syntax),
        ("set a 1 EX 10", "ERR topics do not expire"),
        ("set a 1 NX PXAT 10", "ERR topics do not expire"),
        ("set a -1 nx", only_up),
        ("set a x nx", not_an_integer),
        ("setnx a -1", only_up),
        ("getset a x", not_an_integer),
        (
            "getdel a b",
            "ERR wrong number of arguments for 'getdel' command",
        ),
        ("wait x 1", not_an_integer),
        ("wait 1 x", "ERR timeout is not an integer or out of range"),
        ("wait 1 -1", "ERR timeout is negative"),
        ("memory usage a samples x", not_an_integer),
        ("memory usage a samples", syntax),
        ("memory usage a nonsense 1", syntax),
        (
            "memory usage",
            "ERR wrong number of arguments for 'memory|usage' command",
        ),
        ("latency graph x", "ERR No samples available for event 'x'"),
        (
            "slowlog get -2",
            "ERR count should be greater than or equal to -1",
        ),
        ("client reply x", syntax),
        ("client no-evict x", syntax),
        ("client kill id x", "ERR client-id should be greater than 0"),
        ("client kill id 0", "ERR client-id should be greater than 0"),
        ("client kill type x", "ERR Unknown client type 'x'"),
        ("client kill skipme x", syntax),
        (
            "client kill maxage 0",
            "ERR maxage should be greater than 0",
        ),
        ("client kill nonsense x", syntax),
        ("client kill id 1 addr", syntax),
        (
            "command getkeys nonsense a",
            "ERR Invalid command specified",
        ),
        (
            "command getkeys get a b",
            "ERR Invalid number of arguments specified for command",
        ),
        (
            "command getkeys ping a",
            "ERR The command has no key arguments",
        ),
        ("scan x", "ERR invalid cursor"),
        ("scan -1", "ERR invalid cursor"),
        ("scan 0 match", syntax),
        ("scan 0 count 0", syntax),
        ("scan 0 count x", not_an_integer),
        ("scan 0 nonsense 1", syntax),
        ("select 1", "ERR DB index is out of range"),
        ("select x", not_an_integer),
        ("hello 4", "NOPROTO unsupported protocol version"),
        (
            "hello x",
            "ERR Protocol version is not an integer or out of range",
        ),
        ("select -1", "ERR DB index is out of range"),
        (
            "hello 3 nonsense",
            "ERR Syntax error in HELLO option 'nonsense'",
        ),
        (
            "hello 3 auth default",
            "ERR Syntax error in HELLO option 'auth'",
        ),
        ("auth a b c", syntax),
        (
            "client setname \"a b\"",
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ),
        (
            "client setinfo x y",
            "ERR Unrecognized option: lib-name or lib-ver expected",
        ),
        ("client list id", syntax),
        ("client list type", syntax),
        ("client list nonsense x", syntax),
        ("client list id x", "ERR Invalid client ID"),
        ("client list type x", "ERR Unknown client type 'x'"),
        ("scan 0 count -1", syntax),
        (
            "nonsense a \"b c\"",
            "ERR unknown command 'nonsense', with args beginning with: 'a' 'b c' ",
        ),
        ("incr \"\\xff\"", "ERR the key is not UTF-8"),
        ("mget a \"\\xff\"", "ERR the key is not UTF-8"),
    ] {
        assert_eq!(refused(line), text, "{line}");
    }
    let long = "x".repeat(1_025);
    let pattern = "ERR patterns have at most 1024 bytes";
    assert_eq!(refused(&format!("scan 0 match {long}")), pattern);
    assert_eq!(refused(&format!("config get a {long}")), pattern);
    assert_eq!(refused(&format!("keys {long}")), pattern);
    let many = "a* ".repeat(513);
    assert_eq!(refused(&format!("config get {many}")), pattern);
    let name = "ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(refused(&format!("client setname {long}")), name);
    let many = "incr ".repeat(257);
    assert_eq!(refused(&format!("command docs {many}")), syntax);
    let long = format!("incr {}", "x".repeat(MAX_TOPIC + 1));
    assert_eq!(refused(&long), "ERR the key is too long");
    let text = refused(&format!("x{}", "y".repeat(1_000)));
    assert!(text.len() < 300, "{text}");
}

#[test]
fn set_and_its_kin_are_read_as_the_protocol_says() {
    let request = |line: &str| {
        read(line, |command| match command {
            Command::Topic { request, form } => (request.op, form),
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    let set = |to, when| Op::Set { to, when };
    use Condition::{Always, IfAbsent, IfPresent};
    for (line, op, form) in [
        ("set a 5 keepttl", Op::Advance(5), Form::Raise(5)),
        ("set a 0 KEEPTTL", Op::Reset, Form::Reset),
        ("set a 5 nx", set(5, IfAbsent), Form::Set),
        ("set a 0 NX nx", set(0, IfAbsent), Form::Set),
        ("set a 5 xx KEEPTTL", set(5, IfPresent), Form::Set),
        ("set a 5 get", set(5, Always), Form::Before),
        ("set a 0 get", set(0, Always), Form::Before),
        ("set a 5 NX GET", set(5, IfAbsent), Form::Before),
        ("set a 5 get xx get", set(5, IfPresent), Form::Before),
        ("setnx a 5", set(5, IfAbsent), Form::Created),
        ("getset a 5", set(5, Always), Form::Before),
        ("getdel a", Op::GetDelete, Form::Before),
        ("pexpiretime a", Op::Get, Form::Expiry),
        ("object encoding a", Op::Get, Form::Encoding),
        ("memory usage a samples 0", Op::Get, Form::IfExists(56)),
    ] {
        assert_eq!(request(line), (op, form), "{line}");
    }
    let long = format!("memory usage {}", "x".repeat(30));
    assert_eq!(request(&long), (Op::Get, Form::IfExists(86)));
}

#[test]
fn the_filters_of_client_kill_are_read_as_in_redis() {
    let kill = |line: &str| {
        read(line, |command| match command {
            Command::Kill(kill) => kill,
            other => panic!("{line}: {other:?}"),
        })
        .unwrap()
    };
    let peer = "127.0.0.1:7".parse().ok();
    let old = kill("client kill 127.0.0.1:7");
    assert_eq!(
        (old.peer, old.skip_self, old.replies_ok),
        (peer, false, true)
    );
    assert!(!old.nobody);
    assert!(kill("client kill nonsense").nobody);
    let all = kill(
        "client kill id 9 addr 127.0.0.1:7 laddr [::1]:8 type Normal user default skipme NO maxage 5",
    );
    assert_eq!((all.id, all.peer, all.min_age), (Some(9), peer, Some(5)));
    assert_eq!(all.local, "[::1]:8".parse().ok());
    assert_eq!(all.user_at, Some(11));
    assert!(!all.skip_self && !all.replies_ok && !all.nobody);
    assert!(kill("client kill type replica").nobody);
    assert!(kill("client kill id 9").skip_self);
}

#[test]
fn the_keys_of_commands_are_where_getkeys_says() {
    let keys = |line: &str| {
        read(
            &format!("command getkeys {line}"),
            |command| match command {
                Command::GetKeys { first, end } => first..end,
                other => panic!("{line}: {other:?}"),
            },
        )
        .unwrap()
    };
    assert_eq!(keys("set a 1 NX"), 3..4);
    assert_eq!(keys("mget a b c"), 3..6);
    assert_eq!(keys("memory usage a"), 4..5);
    assert_eq!(keys("OBJECT ENCODING a"), 4..5);
}

/// What Redis has and this server does not is refused with a reason.
#[test]
fn known_commands_are_refused_by_name() {
    for (names, text) in [
        ("decr DECRBY", "ERR counters only go up"),
        (
            "expire pexpire expireat PEXPIREAT setex psetex getex",
            "ERR topics do not expire",
        ),
        ("incrbyfloat", "ERR not supported: sums are whole numbers"),
        (
            "append setrange",
            "ERR not supported: a sum is a number, not text or bits",
        ),
        (
            "mset msetnx",
            "ERR not supported: topics cannot be set together in one step; send a SET for each",
        ),
        (
            "rename renamenx copy",
            "ERR not supported: a sum cannot be moved or copied to another topic",
        ),
        (
            "flushall FlushDB",
            "ERR not supported: topics are deleted one by one, with DEL",
        ),
        (
            "lpush zadd",
            "ERR not supported: the only type is the counter",
        ),
    ] {
        for name in names.split(' ') {
            assert_eq!(refused(&format!("{name} a 1")), text, "{name}");
        }
    }
    for spec in commands() {
        let reason = unsupported::reason(spec.name.as_bytes());
        assert_eq!(reason, None, "{} is supported", spec.name);
    }
}

#[test]
fn commands_about_a_cluster_are_read_as_in_redis() {
    let keys = |line: &str| {
        read(line, |command| match command {
            Command::SlotKeys(SlotKeys { slot, max }) => (slot, max),
            other => panic!("{line}: {other:?}"),
        })
    };
    assert_eq!(keys("cluster countkeysinslot 0"), Ok((0, None)));
    assert_eq!(keys("CLUSTER GetKeysInSlot 16383 7"), Ok((16_383, Some(7))));
    for line in ["cluster slots", "cluster keyslot a", "READONLY", "asking"] {
        read(line, |command| {
            assert_eq!(command, Command::Other, "{line}");
        })
        .unwrap();
    }
    let changes =
        "ERR not supported: the nodes place slots themselves; see `globalcounter cluster`";
    let not_an_integer = "ERR value is not an integer or out of range";
    let no_such = "ERR Invalid slot or number of keys";
    for (line, text) in [
        (
            "cluster",
            "ERR wrong number of arguments for 'cluster' command",
        ),
        (
            "cluster nonsense",
            "ERR unknown subcommand 'nonsense'. Try CLUSTER HELP.",
        ),
        ("cluster meet 10.0.0.1 9999", changes),
        ("CLUSTER SET-CONFIG-EPOCH 1", changes),
        ("cluster countkeysinslot x", not_an_integer),
        ("cluster countkeysinslot 16384", "ERR Invalid slot"),
        ("cluster countkeysinslot -1", "ERR Invalid slot"),
        ("cluster getkeysinslot 1 x", not_an_integer),
        ("cluster getkeysinslot 16384 1", no_such),
        ("cluster getkeysinslot 1 -1", no_such),
        (
            "readonly x",
            "ERR wrong number of arguments for 'readonly' command",
        ),
    ] {
        assert_eq!(refused(line), text, "{line}");
    }
}

#[test]
fn commands_with_subcommands_are_known_as_such() {
    for spec in COMMANDS {
        let has = spec.subcommands().count() > 0;
        assert_eq!(spec.verb.has_subcommands(), has, "{}", spec.name);
    }
}

#[test]
fn every_command_is_found_by_its_name_in_any_case() {
    for spec in commands() {
        for name in [spec.name.to_owned(), spec.name.to_ascii_uppercase()] {
            let found = named(name.as_bytes()).map(|spec| spec.verb);
            assert_eq!(found, Some(spec.verb));
        }
        assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'));
    }
    let unknown: [&[u8]; 8] = [
        b"",
        b"incrx",
        b"inc",
        b"client|id",
        b"commands and more",
        b"\x09ncr",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\x01",
    ];
    for name in unknown {
        assert!(named(name).is_none(), "{}", name.escape_ascii());
    }
}
