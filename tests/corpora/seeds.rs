//! Inputs that a fuzzer starts from: messages and files of each kind.

use std::num::{NonZeroU32, NonZeroU64};

use globalcounter::protocol::framed::{
    self, Answer, Call, Hello, HelloReply, MapNode, NodeMap, RequestId,
};
use globalcounter::protocol::resp::{self, Version, Writer};
use globalcounter::protocol::{Condition, ErrorCode, Op, Reply, Request, classic};
use globalcounter::topic::{ShardId, Shards, Topic};

/// An input of a target's corpus.
pub(crate) struct Seed {
    pub(crate) target: &'static str,
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Returns all seeds.
pub(crate) fn seeds() -> Vec<Seed> {
    [
        ("framed", framed_requests()),
        ("framed_reply", framed_replies()),
        ("classic", classic_requests()),
        ("classic_reply", classic_replies()),
        ("resp", commands()),
        ("resp_reply", resp_replies()),
        ("hello", hellos()),
        ("tokens_file", tokens_files()),
        ("configuration", configurations()),
        ("log_record", rows()),
        ("checkpoint", rows()),
    ]
    .into_iter()
    .flat_map(|(target, seeds)| {
        let seeds = seeds.into_iter();
        seeds.map(move |(name, bytes)| Seed {
            target,
            name,
            bytes,
        })
    })
    .collect()
}

type Named = Vec<(&'static str, Vec<u8>)>;

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name.as_bytes(), 1024).unwrap()
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn framed_requests() -> Named {
    let add = Op::Add(NonZeroU32::new(1000).unwrap());
    let request = |id, op, name| {
        let topic = topic(name);
        let call = Call::Topic(Request { op, topic });
        encoded(|out| framed::encode_request(RequestId(id), &call, out))
    };
    let call = |call: Call<'_>| encoded(|out| framed::encode_request(RequestId(7), &call, out));
    let all = [add, Op::Get, Op::Reset, Op::Delete, Op::Advance(1 << 40)];
    let pipeline = (1..)
        .zip(all)
        .flat_map(|(id, op)| request(id, op, "orders"));
    let hello_of_a_node = Hello {
        node: true,
        ..hello(None, b"token")
    };
    let set = |when| Op::Set { to: 1 << 40, when };
    let between_nodes = [
        Op::Incr(NonZeroU64::MAX),
        set(Condition::Always),
        set(Condition::IfAbsent),
        set(Condition::IfPresent),
        Op::GetDelete,
    ];
    let between_nodes = (1..).zip(between_nodes).flat_map(|(id, op)| {
        let topic = topic("orders");
        let request = Request { op, topic };
        encoded(|out| framed::encode_node_request(RequestId(id), &request, out))
    });
    vec![
        ("count", request(1, Op::Count, "visits")),
        ("count_without_a_name", request(u32::MAX, Op::Count, "")),
        ("pipeline_of_each_method", pipeline.collect()),
        ("ping", call(Call::Ping(b"are you there?"))),
        ("hello", call(Call::Hello(hello(Some(3), b"token")))),
        ("nodes", call(Call::Nodes(b"room for a map"))),
        ("hello_of_a_node", call(Call::Hello(hello_of_a_node))),
        ("pipeline_between_nodes", between_nodes.collect()),
        ("unknown_method", vec![31, 0, 1, 0, 0, 0, 9, b'a']),
        ("invalid_utf8", vec![16, 0, 2, 0, 0, 0, 9, 0xc3, 0x28]),
    ]
}

fn hello(shard: Option<u16>, token: &[u8]) -> Hello<'_> {
    let shard = shard.map(ShardId::new);
    Hello {
        shard,
        node: false,
        token,
    }
}

fn framed_replies() -> Named {
    let reply =
        |answer: Answer<'_>| encoded(|out| framed::encode_answer(RequestId(9), &answer, out));
    let replies = [
        Reply::Add(u64::MAX),
        Reply::Get(Some(0)),
        Reply::Advance(1 << 33),
        Reply::Reset,
        Reply::Delete { existed: true },
        Reply::Error(ErrorCode::Busy),
    ];
    let pipeline = replies
        .into_iter()
        .flat_map(|one| reply(Answer::Reply(one)));
    let node = |address: &str, slots| MapNode {
        address: address.to_owned(),
        slots,
    };
    let map = NodeMap {
        number: 7,
        own: 0,
        nodes: vec![
            node("10.0.0.1:9999", vec![(0, 8_191)]),
            node(
                "node-2.example:9999",
                vec![(8_192, 12_000), (16_000, 16_383)],
            ),
            node("", vec![]),
        ],
    };
    let between_nodes = [
        Reply::Absent,
        Reply::Set(9),
        Reply::Created,
        Reply::Present(u64::MAX),
        Reply::SumIsHigher(7),
        Reply::Deleted(1 << 33),
        Reply::Get(None),
    ];
    let between_nodes = between_nodes
        .into_iter()
        .flat_map(|reply| encoded(|out| framed::encode_node_reply(RequestId(9), reply, out)));
    let hello = HelloReply::new(Shards::new(8).unwrap(), ShardId::new(3), 1024);
    vec![
        ("count", reply(Answer::Reply(Reply::Count(42)))),
        ("pipeline_of_each_reply", pipeline.collect()),
        ("pipeline_between_nodes", between_nodes.collect()),
        ("hello", reply(Answer::Hello(hello))),
        ("nodes", reply(Answer::Nodes(&map.encode()))),
        ("pong", reply(Answer::Pong(b"here"))),
    ]
}

fn classic_requests() -> Named {
    let request = |op, name| {
        let topic = topic(name);
        encoded(|out| classic::encode_request(Request { op, topic }, out).unwrap())
    };
    vec![
        ("count", request(Op::Count, "visits")),
        ("reset", request(Op::Reset, "visits")),
        ("count_unicode", request(Op::Count, "Besuche/münchen/📈")),
    ]
}

fn classic_replies() -> Named {
    let reply = |reply| encoded(|out| classic::encode_reply(reply, out));
    vec![
        ("sum_of_one_byte", reply(Reply::Count(1))),
        ("sum_of_eight_bytes", reply(Reply::Count(u64::MAX))),
        ("reset", reply(Reply::Reset)),
        ("error", reply(Reply::Error(ErrorCode::BadOpcode))),
    ]
}

fn command(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    encoded(|out| resp::encode_command(&words, out))
}

fn commands() -> Named {
    let sets = [
        command(&["SET", "visits", "1000", "NX", "GET"]),
        command(&["SETNX", "visits", "5"]),
        command(&["GETSET", "visits", "7"]),
        command(&["GETDEL", "visits"]),
    ];
    let searches = [
        command(&[
            "SCAN", "0", "MATCH", "user:*", "COUNT", "100", "TYPE", "string",
        ]),
        command(&["KEYS", "[a-c]?\\*"]),
    ];
    let clients = [
        command(&["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"]),
        command(&["CLIENT", "KILL", "ID", "12", "SKIPME", "yes"]),
        command(&["CLIENT", "LIST", "TYPE", "normal"]),
        command(&["COMMAND", "DOCS", "incr"]),
    ];
    vec![
        ("incr", command(&["INCR", "visits"])),
        (
            "incrby_and_mget",
            [
                command(&["INCRBY", "a", "10"]),
                command(&["MGET", "a", "b"]),
            ]
            .concat(),
        ),
        ("sets", sets.concat()),
        ("searches", searches.concat()),
        ("clients", clients.concat()),
        (
            "lines",
            b"PING\r\nINCR \"page \\x41\"\r\nGET 'it''s'\r\n".to_vec(),
        ),
        ("unknown_command", command(&["LPUSH", "list", "a\r\nb"])),
        ("incomplete", b"*2\r\n$4\r\nINCR\r\n$6\r\nvis".to_vec()),
    ]
}

fn resp_replies() -> Named {
    let reply =
        |write: fn(&mut Writer<'_>)| encoded(|out| write(&mut Writer::new(Version::Resp2, out)));
    let null = |version| encoded(|out| Writer::new(version, out).null());
    vec![
        ("integer", reply(|writer| writer.integer(1 << 40))),
        ("bulk", reply(|writer| writer.bulk(b"42"))),
        ("null", null(Version::Resp2)),
        ("null_of_resp3", null(Version::Resp3)),
        ("error", reply(|writer| writer.error("ERR no such thing"))),
        ("simple_and_more", b"+OK\r\n:1\r\n$-1\r\n".to_vec()),
    ]
}

/// The body of a HELLO, which is also what separates the words of a command.
fn hellos() -> Named {
    let body = |hello: Hello<'_>| {
        let call = Call::Hello(hello);
        let frame = encoded(|out| framed::encode_request(RequestId(1), &call, out));
        frame[7..].to_vec()
    };
    vec![
        ("any_shard", body(hello(None, b""))),
        ("shard_and_token", body(hello(Some(3), b"gc_token"))),
        ("words", b"3\0AUTH\0orders\0secret\0SETNAME\0me".to_vec()),
        ("user_and_password", b"orders\0secret".to_vec()),
    ]
}

fn tokens_files() -> Named {
    let digest = "sha-256:".to_owned() + &"0a".repeat(32);
    let valid = format!(
        "# who may count\n\
         orders = {{ rights = [\"count\", \"read\"], prefixes = [\"orders/\"], digest = \"{digest}\" }}\n"
    );
    let mistakes = "orders = { rights = [\"cuont\"], digest = \"md5:00\" }\n\n[a]\nb = 1\n";
    vec![
        ("valid", valid.into_bytes()),
        ("mistakes_in_values", mistakes.into()),
        (
            "mistakes_in_syntax",
            b"orders = { rights = [\nusers = 7".to_vec(),
        ),
    ]
}

fn configurations() -> Named {
    let valid = "# a server\ntcp = \"127.0.0.1:9999\"\nshards = 4\nin_memory = false\n\
                 durability = \"exact\"\nallow = [\"10.0.0.0/8=count\", \"::1=read\"]\n\
                 tokens = \"/etc/globalcounter/tokens.toml\"\n";
    let mistakes = "shards = 0\ndurabilty = \"exact\"\nin_memory = \"yes\"\n[server]\ntcp = 1\n";
    vec![
        ("valid", valid.into()),
        ("mistakes_in_values", mistakes.into()),
        (
            "mistakes_in_syntax",
            b"shards = = 4\ntcp = \"\nshards = 2".to_vec(),
        ),
        (
            "numbers_and_escapes",
            b"shards = 0x10\ntokens = \"a\\u00e9\\n\"\n".to_vec(),
        ),
    ]
}

/// Topics as they are on the disk: docs/durability.md has the format.
fn rows() -> Named {
    let row = |name: &str, numbers: &[u8]| {
        let mut row = vec![(name.len() as u8) << 1];
        row.extend_from_slice(name.as_bytes());
        row.extend_from_slice(numbers);
        row
    };
    let deleted = |name: &str| {
        let mut row = row(name, &[]);
        row[0] |= 1;
        row
    };
    let many = (0..40).flat_map(|i| row(&format!("topic {i}"), &[i + 1, i]));
    let largest = [&[0xff; 9][..], &[1, 0]].concat();
    vec![
        ("one_topic", row("visits", &[10, 3])),
        ("deleted_topic", deleted("visits")),
        ("many_topics", many.collect()),
        ("largest_ceiling", row("visits", &largest)),
        ("sum_above_ceiling", row("visits", &[1, 2])),
        ("name_broken_off", vec![40, b'a']),
    ]
}
