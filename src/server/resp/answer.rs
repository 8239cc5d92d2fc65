//! What is said at once: commands that ask nothing of a shard.

use std::sync::Arc;

use super::info;
use crate::protocol::resp::{
    self, Arguments, COMMANDS, Command, Hello, Listed, Spec, Verb, Writer, commands, describe,
    explain, help,
};
use crate::server::status::Client;
use crate::server::worker::{Link, Ring, Worker};

/// A command, as it was read.
pub(super) struct Asked<'a> {
    pub(super) spec: &'static Spec,
    pub(super) command: Command<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) bytes: &'a [u8],
}

impl<'a> Asked<'a> {
    /// The arguments from `first` on.
    fn from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> {
        let Self {
            arguments, bytes, ..
        } = *self;
        (first..arguments.len()).map(move |i| arguments.at(i, bytes))
    }
}

/// Says what `asked` asks for, into `ring`.
pub(super) fn answer(
    asked: &Asked<'_>,
    worker: &Worker,
    client: &Client,
    link: &Link,
    ring: &mut Ring,
) {
    let status = &worker.status;
    match asked.command {
        Command::Ok => ring.say(|writer| writer.simple("OK")),
        Command::Ping(None) => ring.say(|writer| writer.simple("PONG")),
        Command::Ping(Some(message)) | Command::Echo(message) => {
            ring.say(|writer| writer.bulk(message));
        }
        Command::Hello(hello) => say_hello(hello, client, ring),
        Command::SetName(name) => {
            name.clone_into(&mut client.words.lock().name);
            ring.say(|writer| writer.simple("OK"));
        }
        Command::SetInfo { version, value } => {
            let mut words = client.words.lock();
            value.clone_into(match version {
                true => &mut words.library_version,
                false => &mut words.library,
            });
            ring.say(|writer| writer.simple("OK"));
        }
        Command::List(listed) => {
            if !link.worker_has_room() {
                // It grows with the number of connections, and each could ask for it.
                return ring.refuse("TRYAGAIN too many replies wait for clients that do not read");
            }
            let clients = match listed {
                Listed::All => status.clients.list(),
                Listed::Some => {
                    let ids = asked.from(3).filter_map(resp::number);
                    status.clients.some(&ids.collect())
                }
                Listed::None => Vec::new(),
            };
            ring.say(|writer| writer.text(&lines(&clients)));
        }
        Command::Topic { .. } | Command::Keys(_) | Command::Scan(_) => {
            unreachable!("the session asks shards")
        }
        Command::Other => ring.say(|writer| say_other(asked, worker, client, writer)),
    }
}

fn lines(clients: &[Arc<Client>]) -> String {
    clients.iter().map(|client| format!("{client}\n")).collect()
}

fn say_hello(hello: Hello<'_>, client: &Client, ring: &mut Ring) {
    if let Some(version) = hello.version {
        ring.set_version(version);
        client.speaks(version);
    }
    if let Some(name) = hello.name {
        name.clone_into(&mut client.words.lock().name);
    }
    let version = ring.version();
    ring.say(|writer| {
        writer.map(7);
        writer.entry("server", env!("CARGO_PKG_NAME"));
        writer.entry("version", info::REDIS_VERSION);
        writer.bulk(b"proto");
        writer.integer(version.number().into());
        writer.bulk(b"id");
        writer.integer(client.id);
        writer.entry("mode", "standalone");
        writer.entry("role", "master");
        writer.bulk(b"modules");
        writer.array(0);
    });
}

/// Commands that take their arguments as they are, or none.
fn say_other(asked: &Asked<'_>, worker: &Worker, client: &Client, writer: &mut Writer<'_>) {
    let status = &worker.status;
    match asked.spec.verb {
        Verb::DbSize => writer.integer(worker.shared().topics() as u64),
        Verb::Info => {
            let sections = asked.from(1);
            writer.text(&info::text(sections, status, worker.shared()));
        }
        Verb::ClientId => writer.integer(client.id),
        Verb::ClientGetName => match client.words.lock().name.as_str() {
            "" => writer.null(),
            name => writer.bulk(name.as_bytes()),
        },
        Verb::ClientInfo => writer.text(&format!("{client}\n")),
        Verb::ConfigGet => {
            let patterns: Vec<_> = asked.from(2).map(<[u8]>::to_ascii_lowercase).collect();
            let mut settings = info::settings(status);
            settings.retain(|(name, _)| {
                let fits = |pattern: &Vec<u8>| resp::glob(pattern, name.as_bytes());
                patterns.iter().any(fits)
            });
            writer.map(settings.len());
            for (name, value) in settings {
                writer.entry(name, &value);
            }
        }
        Verb::ClientHelp => help(Verb::Client.spec(), writer),
        Verb::CommandHelp => help(Verb::Command.spec(), writer),
        Verb::ConfigHelp => help(Verb::Config.spec(), writer),
        Verb::CommandCount => writer.integer(commands().count() as u64),
        Verb::CommandList => {
            writer.array(commands().count());
            for spec in commands() {
                writer.bulk(spec.name.as_bytes());
            }
        }
        Verb::CommandDocs => {
            let some = asked.from(2).filter_map(by_name);
            let specs: Vec<_> = match asked.arguments.len() {
                2 => commands().collect(),
                _ => some.collect(),
            };
            writer.map(specs.len());
            for spec in specs {
                explain(spec, writer);
            }
        }
        Verb::CommandInfo if asked.arguments.len() > 2 => {
            writer.array(asked.arguments.len() - 2);
            for name in asked.from(2) {
                match by_name(name) {
                    Some(spec) => describe(spec, writer),
                    None => writer.null(),
                }
            }
        }
        Verb::Command | Verb::CommandInfo => {
            writer.array(commands().count());
            for spec in commands() {
                describe(spec, writer);
            }
        }
        // The session closes the connection behind QUIT, and refuses what follows MULTI.
        Verb::Quit | Verb::Multi | Verb::Discard => writer.simple("OK"),
        // Their arguments are read; or, of a command that has subcommands alone, refused.
        verb => unreachable!("{verb:?} is answered elsewhere"),
    }
}

/// A command, or `command|subcommand`, by its name in any letters.
fn by_name(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS
        .iter()
        .find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}
