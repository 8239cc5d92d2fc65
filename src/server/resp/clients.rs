//! CLIENT: the connections that speak the Redis protocol.

use std::sync::Arc;

use super::invocation::Invocation;
use crate::protocol::resp::{self, ClientFilter, Kill, Refusal, Replies, Verb, Writer};
use crate::server::status::{Client, DEFAULT_USER};
use crate::server::worker::{Link, Ring, Worker};

/// The refusal of a long reply while the worker's connections hold too many bytes: it grows with the
/// number of connections, or of topics, and each connection could ask for it.
pub(super) const NO_ROOM: &str = "TRYAGAIN too many replies wait for clients that do not read";

/// Appends the reply to CLIENT ID, GETNAME or INFO.
pub(super) fn answer(verb: Verb, client: &Client, writer: &mut Writer<'_>) {
    match verb {
        Verb::ClientId => writer.integer(client.id),
        Verb::ClientGetName => match client.labels.lock().name.as_str() {
            "" => writer.null(),
            name => writer.bulk(name.as_bytes()),
        },
        _ => writer.text(&format!("{client}\n")),
    }
}

/// CLIENT SETNAME.
pub(super) fn set_name(name: &str, client: &Client, ring: &mut Ring) {
    name.clone_into(&mut client.labels.lock().name);
    ring.push(|writer| writer.simple("OK"));
}

/// CLIENT SETINFO: sets the name of the client's library, or its version.
pub(super) fn set_library(version: bool, value: &str, client: &Client, ring: &mut Ring) {
    let mut labels = client.labels.lock();
    value.clone_into(match version {
        true => &mut labels.library_version,
        false => &mut labels.library,
    });
    ring.push(|writer| writer.simple("OK"));
}

/// CLIENT LIST.
pub(super) fn list(
    filter: ClientFilter,
    invocation: &Invocation<'_>,
    worker: &Worker,
    link: &Link,
    ring: &mut Ring,
) {
    if !link.worker_has_room() {
        return ring.refuse(NO_ROOM);
    }
    let clients = &worker.status.clients;
    let clients = match filter {
        ClientFilter::All => clients.list(),
        ClientFilter::Some => {
            let ids = invocation.arguments_from(3).filter_map(resp::number);
            clients.some(&ids.collect())
        }
        ClientFilter::None => Vec::new(),
    };
    ring.push(|writer| writer.text(&lines(&clients)));
}

fn lines(clients: &[Arc<Client>]) -> String {
    clients.iter().map(|client| format!("{client}\n")).collect()
}

/// CLIENT KILL. Returns whether the connection itself has to end.
pub(super) fn kill(
    kill: &Kill,
    invocation: &Invocation<'_>,
    worker: &Worker,
    client: &Client,
    ring: &mut Ring,
) -> bool {
    let user = kill.user_at.map(|at| invocation.argument(at.into()));
    if let Some(name) = user.filter(|name| !is_user(name, worker)) {
        ring.refuse(Refusal::KillUser(name));
        return false;
    }
    let user = user.and_then(|name| std::str::from_utf8(name).ok());
    let killed = worker.status.clients.kill(kill, user, client);
    if killed.others > 0 {
        worker.end_killed();
    }
    match (kill.replies_ok, killed.others + u64::from(killed.own)) {
        (false, count) => ring.push(|writer| writer.integer(count)),
        (true, 0) => ring.refuse("ERR No such client"),
        (true, _) => ring.push(|writer| writer.simple("OK")),
    }
    killed.own
}

/// Returns whether a client can have this user.
fn is_user(name: &[u8], worker: &Worker) -> bool {
    let guard = worker.status.config.access.as_ref();
    name == DEFAULT_USER.as_bytes() || guard.is_some_and(|guard| guard.has_token(name))
}

/// CLIENT REPLY.
pub(super) fn set_replies(replies: Replies, ring: &mut Ring) {
    ring.set_replies(replies);
    if replies == Replies::On {
        ring.push(|writer| writer.simple("OK"));
    }
}
