//! The commands that need no shard: their replies are appended at once.

use std::time::{SystemTime, UNIX_EPOCH};

use super::invocation::Invocation;
use super::{clients, cluster, command_info, info};
use crate::protocol::resp::{self, Command, Group, Hello, Verb, Writer, help};
use crate::server::status::Client;
use crate::server::worker::{Link, Ring, Worker};

/// What happens to the connection after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Continue,
    /// It ends once its replies are sent.
    Close,
}

/// Appends the reply to a command that needs no shard to `ring`.
pub(super) fn answer(
    invocation: &Invocation<'_>,
    worker: &Worker,
    client: &Client,
    link: &Link,
    ring: &mut Ring,
) -> Then {
    match invocation.command {
        Command::Ok | Command::Auth(_) => ring.push(|writer| writer.simple("OK")),
        Command::Zero => ring.push(|writer| writer.integer(0)),
        Command::EmptyList => ring.push(|writer| writer.array(0)),
        Command::Ping(None) => ring.push(|writer| writer.simple("PONG")),
        Command::Ping(Some(message)) | Command::Echo(message) => {
            ring.push(|writer| writer.bulk(message));
        }
        Command::Hello(hello) => answer_hello(hello, worker, client, ring),
        Command::SetName(name) => clients::set_name(name, client, ring),
        Command::SetInfo { version, value } => clients::set_library(version, value, client, ring),
        Command::List(filter) => clients::list(filter, invocation, worker, link, ring),
        Command::Kill(kill) => {
            if clients::kill(&kill, invocation, worker, client, ring) {
                return Then::Close;
            }
        }
        Command::Replies(replies) => clients::set_replies(replies, ring),
        Command::GetKeys { first, end } => ring.push(|writer| {
            writer.array(end - first);
            for key in invocation.arguments_from(first).take(end - first) {
                writer.bulk(key);
            }
        }),
        Command::Topic { .. }
        | Command::EachKey(_)
        | Command::Scan(_)
        | Command::Keys(_)
        | Command::RandomKey
        | Command::SlotKeys(_) => unreachable!("the session asks shards"),
        Command::Other if invocation.spec.verb == Verb::Reset => reset(client, ring),
        Command::Other if invocation.spec.group == Group::Cluster => {
            cluster::answer(invocation, worker, link, ring);
        }
        Command::Other => {
            ring.push(|writer| answer_other(invocation, worker, client, writer));
        }
    }
    match invocation.spec.verb {
        Verb::Quit => Then::Close,
        _ => Then::Continue,
    }
}

fn answer_hello(hello: Hello<'_>, worker: &Worker, client: &Client, ring: &mut Ring) {
    if let Some(version) = hello.version {
        ring.set_version(version);
        client.set_version(version);
    }
    if let Some(name) = hello.name {
        name.clone_into(&mut client.labels.lock().name);
    }
    let version = ring.version();
    ring.push(|writer| {
        writer.map(7);
        writer.entry("server", env!("CARGO_PKG_NAME"));
        writer.entry("version", info::REDIS_VERSION);
        writer.bulk(b"proto");
        writer.integer(version.number().into());
        writer.bulk(b"id");
        writer.integer(client.id);
        writer.entry("mode", info::mode(worker.shared()));
        writer.entry("role", "master");
        writer.bulk(b"modules");
        writer.array(0);
    });
}

/// RESET: makes the connection like a new one. The session ends the transaction.
fn reset(client: &Client, ring: &mut Ring) {
    let version = resp::Version::default();
    ring.set_version(version);
    ring.set_replies(resp::Replies::On);
    client.set_version(version);
    client.labels.lock().name.clear();
    ring.push(|writer| writer.simple("RESET"));
}

/// Appends the reply to a command without arguments, or with arguments that are taken as they are.
fn answer_other(
    invocation: &Invocation<'_>,
    worker: &Worker,
    client: &Client,
    writer: &mut Writer<'_>,
) {
    let status = &worker.status;
    let verb = invocation.spec.verb;
    match verb {
        Verb::DbSize => writer.integer(worker.shared().topics() as u64),
        Verb::Info => {
            let sections = invocation.arguments_from(1);
            writer.text(&info::text(sections, status, worker.shared()));
        }
        Verb::Role => {
            writer.array(3);
            writer.bulk(b"master");
            writer.integer(0);
            writer.array(0);
        }
        Verb::Time => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default(); // zero if the clock is set before 1970
            writer.array(2);
            writer.number(now.as_secs());
            writer.number(now.subsec_micros().into());
        }
        Verb::ConfigGet => {
            let patterns: Vec<_> = invocation
                .arguments_from(2)
                .map(<[u8]>::to_ascii_lowercase)
                .collect();
            let mut settings = info::settings(status, worker.shared());
            settings.retain(|(name, _)| {
                let matches = |pattern: &Vec<u8>| resp::glob(pattern, name.as_bytes());
                patterns.iter().any(matches)
            });
            writer.map(settings.len());
            for (name, value) in settings {
                writer.entry(name, &value);
            }
        }
        Verb::LatencyDoctor => writer.text(
            "Latencies are not recorded here. INFO commandstats estimates the time for each \
             command; redis-cli --latency measures the way to the server.\n",
        ),
        Verb::LatencyHistogram => writer.map(0),
        Verb::ClientHelp => help(Verb::Client.spec(), writer),
        Verb::CommandHelp => help(Verb::Command.spec(), writer),
        Verb::ConfigHelp => help(Verb::Config.spec(), writer),
        Verb::LatencyHelp => help(Verb::Latency.spec(), writer),
        Verb::MemoryHelp => help(Verb::Memory.spec(), writer),
        Verb::ObjectHelp => help(Verb::Object.spec(), writer),
        Verb::SlowLogHelp => help(Verb::SlowLog.spec(), writer),
        // The session closes the connection after QUIT, and refuses the commands after MULTI.
        Verb::Quit | Verb::Multi | Verb::Discard => writer.simple("OK"),
        Verb::ClientId | Verb::ClientGetName | Verb::ClientInfo => {
            clients::answer(verb, client, writer);
        }
        Verb::Command
        | Verb::CommandCount
        | Verb::CommandDocs
        | Verb::CommandInfo
        | Verb::CommandList => command_info::answer(invocation, writer),
        // Their arguments were interpreted, or they were refused, as a command that only has
        // subcommands is.
        verb => unreachable!("{verb:?} is answered elsewhere"),
    }
}
