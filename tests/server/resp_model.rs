//! The Redis protocol compared with a plain model: over eight shards, any pipeline gets the replies
//! of the model, wherever it is cut.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use globalcounter::protocol::Op;

use crate::support::{Embedded, Framed, Random, SetOnDrop, assert_answered, command, connect};

/// The simplest correct server: one client, one table.
#[derive(Default)]
struct Model {
    topics: BTreeMap<String, u64>,
    /// The number of other clients' topics, which only DBSIZE shows.
    others: usize,
    resp3: bool,
    name: String,
    /// Whether the next command gets no reply.
    skips: bool,
}

impl Model {
    fn value(&self, key: &str) -> String {
        match self.topics.get(key) {
            Some(sum) => {
                let digits = sum.to_string();
                format!("${}\r\n{digits}\r\n", digits.len())
            }
            None => self.null(),
        }
    }

    fn null(&self) -> String {
        String::from(if self.resp3 { "_\r\n" } else { "$-1\r\n" })
    }

    fn raise(&mut self, key: &str, n: u64) -> String {
        let sum = self.topics.get(key).copied().unwrap_or(0);
        let raised = sum.checked_add(n).filter(|&sum| i64::try_from(sum).is_ok());
        match raised {
            Some(raised) => {
                self.topics.insert(key.to_owned(), raised);
                format!(":{raised}\r\n")
            }
            None => "-ERR increment or decrement would overflow\r\n".to_owned(),
        }
    }

    fn set(&mut self, key: &str, to: u64) -> String {
        let sum = self.topics.entry(key.to_owned()).or_default();
        match to {
            0 => *sum = 0,
            to if to >= *sum => *sum = to,
            _ => return "-ERR counters only go up: the sum is above that\r\n".to_owned(),
        }
        "+OK\r\n".to_owned()
    }

    /// SET with options.
    fn set_if(&mut self, key: &str, to: u64, options: &[&str]) -> String {
        let before = self.value(key);
        let exists = self.topics.contains_key(key);
        let met = !(exists && options.contains(&"NX") || !exists && options.contains(&"XX"));
        let reply = match met {
            true => self.set(key, to),
            false => self.null(),
        };
        match options.contains(&"GET") && !reply.starts_with('-') {
            true => before,
            false => reply,
        }
    }

    /// Returns the reply to a command; empty after CLIENT REPLY SKIP.
    fn reply(&mut self, words: &[&str]) -> String {
        let skips = std::mem::take(&mut self.skips);
        let reply = self.full_reply(words);
        if skips { String::new() } else { reply }
    }

    fn full_reply(&mut self, words: &[&str]) -> String {
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let upper = words[0].to_ascii_uppercase();
        match (upper.as_str(), &words[1..]) {
            ("INCR", [key]) => self.raise(key, 1),
            ("INCRBY", [key, n]) => self.raise(key, n.parse().unwrap()),
            ("SET", [key, n]) => self.set(key, n.parse().unwrap()),
            ("SET", [key, n, options @ ..]) => self.set_if(key, n.parse().unwrap(), options),
            ("GETSET", [key, n]) => self.set_if(key, n.parse().unwrap(), &["GET"]),
            ("SETNX", [key, n]) => match self.topics.contains_key(*key) {
                true => ":0\r\n".to_owned(),
                false => {
                    self.set(key, n.parse().unwrap());
                    ":1\r\n".to_owned()
                }
            },
            ("GETDEL", [key]) => {
                let value = self.value(key);
                self.topics.remove(*key);
                value
            }
            ("TTL", [key]) => match self.topics.contains_key(*key) {
                true => ":-1\r\n".to_owned(),
                false => ":-2\r\n".to_owned(),
            },
            ("STRLEN", [key]) => {
                let len = self.topics.get(*key).map_or(0, |sum| sum.to_string().len());
                format!(":{len}\r\n")
            }
            ("OBJECT", ["ENCODING", key]) => match self.topics.contains_key(*key) {
                true => bulk("int"),
                false => self.null(),
            },
            ("GET", [key]) => self.value(key),
            ("MGET", keys) => {
                let values: String = keys.iter().map(|key| self.value(key)).collect();
                format!("*{}\r\n{values}", keys.len())
            }
            ("DEL" | "UNLINK", keys) => {
                let existed = keys
                    .iter()
                    .filter(|&&key| self.topics.remove(key).is_some());
                format!(":{}\r\n", existed.count())
            }
            ("EXISTS" | "TOUCH", keys) => {
                let exist = keys.iter().filter(|&&key| self.topics.contains_key(key));
                format!(":{}\r\n", exist.count())
            }
            ("TYPE", [key]) => match self.topics.contains_key(*key) {
                true => "+string\r\n".to_owned(),
                false => "+none\r\n".to_owned(),
            },
            ("DBSIZE", []) => format!(":{}\r\n", self.topics.len() + self.others),
            ("PING", []) => "+PONG\r\n".to_owned(),
            ("PING" | "ECHO", [text]) => bulk(text),
            ("CLIENT", ["SETNAME", name]) => {
                self.name = (*name).to_owned();
                "+OK\r\n".to_owned()
            }
            ("CLIENT", ["REPLY", "SKIP"]) => {
                self.skips = true;
                String::new()
            }
            ("RESET", []) => {
                (self.resp3, self.name) = (false, String::new());
                "+RESET\r\n".to_owned()
            }
            ("CLIENT", ["GETNAME"]) if self.name.is_empty() => self.null(),
            ("CLIENT", ["GETNAME"]) => bulk(&self.name),
            ("SELECT", ["0"]) => "+OK\r\n".to_owned(),
            ("DECR", _) => "-ERR counters only go up\r\n".to_owned(),
            other => panic!("the model does not know {other:?}"),
        }
    }
}

/// Returns a random command over a few keys.
fn random_command(random: &mut Random) -> Vec<String> {
    let key = |random: &mut Random| match random.below(20) {
        0 => "with spaces and a \"quote\"".to_owned(),
        1 => String::new(),
        _ => format!("key {}", random.below(12)),
    };
    let number = |random: &mut Random| match random.below(10) {
        0 => i64::MAX as u64,
        1 => random.next() >> 1,
        _ => 1 + random.below(50),
    };
    let (name, keys) = match random.below(36) {
        0..8 => ("INCR", 1),
        8..11 => ("INCRBY", 1),
        11..13 => ("SET", 1),
        13..15 => ("GET", 1),
        15..17 => ("MGET", 1 + random.below(20)),
        17 => ("DEL", 1 + random.below(4)),
        18 => ("unlink", 1),
        19 => ("Exists", 1 + random.below(20)),
        20 => ("TYPE", 1),
        21 => ("DBSIZE", 0),
        22 => ("PING", random.below(2)),
        23 => ("ECHO", 1),
        24 => ("DECR", 1),
        25..29 => ("SET options", 1),
        29 => ("SETNX", 1),
        30 => ("GETSET", 1),
        31 => ("GETDEL", 1),
        32 => ("TTL", 1),
        33 => ("STRLEN", 1),
        34 => ("touch", 1 + random.below(5)),
        _ => {
            let words: &[&str] = match random.below(6) {
                0 => &["CLIENT", "SETNAME", "somebody"],
                1 => &["CLIENT", "GETNAME"],
                2 => &["CLIENT", "REPLY", "SKIP"],
                3 => &["RESET"],
                4 => &["OBJECT", "ENCODING", "key 1"],
                _ => &["SELECT", "0"],
            };
            return words.iter().copied().map(str::to_owned).collect();
        }
    };
    let mut words = vec![name.to_owned()];
    words.extend((0..keys).map(|_| key(random)));
    match name {
        "INCRBY" => words.push(number(random).to_string()),
        "SET" | "SETNX" | "GETSET" => {
            words.push((number(random) * random.below(2)).to_string());
        }
        "SET options" => {
            words[0] = "SET".to_owned();
            words.push((number(random) * random.below(2)).to_string());
            let options: &[&str] = match random.below(6) {
                0 => &["NX"],
                1 => &["XX", "KEEPTTL"],
                2 => &["GET"],
                3 => &["NX", "GET"],
                4 => &["GET", "XX"],
                _ => &["KEEPTTL"],
            };
            words.extend(options.iter().copied().map(str::to_owned));
        }
        _ => {}
    }
    words
}

/// Encodes a command as an array, or sometimes as a line of words.
fn encoded(random: &mut Random, words: &[&str]) -> Vec<u8> {
    if random.below(4) > 0 {
        return command(words);
    }
    let mut line = words[0].to_owned(); // a letter must come first, or it is another dialect
    for word in &words[1..] {
        let word = word.replace('"', "\\\"");
        line.push_str(&format!(" \"{word}\""));
    }
    format!("{line}\r\n").into_bytes()
}

/// Counts `topics` on all shards until `stop` is set, so that other workers at times find a shard
/// locked.
fn make_noise(address: SocketAddr, topics: &[String], stop: &AtomicBool) {
    let mut connection = Framed::connect(address);
    while !stop.load(Ordering::Relaxed) {
        connection.ask_each(Op::Count, topics);
    }
}

const NOISE: usize = 200;

/// Random pipelines, cut at random bytes, over eight shards that other clients use as well.
#[test]
fn pipelines_get_the_replies_of_the_model() {
    let mut random = Random::seeded(4);
    let server = Embedded::start(8);
    let stop = AtomicBool::new(false);
    let noise: Vec<String> = (0..NOISE).map(|n| format!("noise {n}")).collect();
    thread::scope(|scope| {
        let mut model = Model {
            others: NOISE,
            ..Model::default()
        };
        Framed::connect(server.tcp).ask_each(Op::Count, &noise);
        let _stop = SetOnDrop(&stop);
        for _ in 0..3 {
            scope.spawn(|| make_noise(server.tcp, &noise, &stop));
        }
        for _ in 0..150 {
            run_pipeline(server.tcp, &mut random, &mut model);
        }
    });
}

fn run_pipeline(address: SocketAddr, random: &mut Random, model: &mut Model) {
    model.resp3 = random.below(2) == 1;
    model.name.clear();
    model.skips = false;
    let mut stream = connect(address);
    if model.resp3 {
        let hello = command(&["HELLO", "3"]);
        stream.write_all(&hello).unwrap();
        let mut reply = [0; 512];
        let len = stream.read(&mut reply).unwrap();
        assert!(reply[..len].starts_with(b"%7\r\n"));
    }
    let (mut request, mut expected) = (Vec::new(), String::new());
    for _ in 0..1 + random.below(120) {
        let words = random_command(random);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        request.extend(encoded(random, &words));
        expected.push_str(&model.reply(&words));
    }
    let mut writer = stream.try_clone().unwrap();
    let cuts: Vec<usize> = {
        let mut cuts: Vec<usize> = (0..random.below(6))
            .map(|_| random.below(request.len() as u64) as usize)
            .collect();
        cuts.push(request.len());
        cuts.sort_unstable();
        cuts
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut at = 0;
            for cut in cuts {
                writer.write_all(&request[at..cut]).unwrap();
                at = cut;
                thread::yield_now();
            }
        });
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let mut buffer = [0; 4_096];
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                len => got.extend_from_slice(&buffer[..len]),
            }
        }
        assert_eq!(String::from_utf8_lossy(&got), expected);
    });
}

/// One pipeline, cut once at every byte. Commands that are complete get their replies before the
/// rest is sent.
#[test]
fn a_pipeline_may_be_cut_at_any_byte() {
    let commands: [&[&str]; 9] = [
        &["INCR", "a"],
        &["MGET", "a", "b", "c", "d"],
        &["PING"],
        &["DBSIZE"],
        &["INCRBY", "b", "10"],
        &["ECHO", ""],
        &["DEL", "a", "b", "c"],
        &["EXISTS", "a", "b", "c"],
        &["INCR", "last"],
    ];
    let mut random = Random::seeded(5);
    let server = Embedded::start(8);
    let encoded: Vec<Vec<u8>> = commands
        .iter()
        .map(|words| encoded(&mut random, words))
        .collect();
    let request = encoded.concat();
    let mut model = Model::default();
    for cut in 0..=request.len() {
        let mut stream = connect(server.tcp);
        let mut first = String::new();
        let mut rest = String::new();
        let mut end = 0;
        for (words, bytes) in commands.iter().zip(&encoded) {
            end += bytes.len();
            let reply = model.reply(words);
            match end <= cut {
                true => first.push_str(&reply),
                false => rest.push_str(&reply),
            }
        }
        assert_answered(&mut stream, &request[..cut], &first);
        assert_answered(&mut stream, &request[cut..], &rest);
    }
}
