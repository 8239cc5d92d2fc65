//! The clients of a cluster, against nodes that do what a test tells them.
//!
//! - `scripted`: such a node
//! - `routes`: each request goes to the owner of its topic
//! - `failures`: nodes that are gone, that cannot serve, or that serve without an answer

#![allow(clippy::unwrap_used, missing_docs)]

mod failures;
mod routes;
mod scripted;
#[path = "../support/wait.rs"]
#[allow(dead_code, reason = "these tests use only a part")]
mod wait;

use globalcounter::blocking::Client;
use globalcounter::client::Options;
use scripted::{LOWER, Node, UPPER, map};

/// The first sums of the two nodes: they tell who has served a request.
const A: u64 = 1_000_000;
const B: u64 = 2_000_000;

/// Two nodes of a cluster, of which the first owns the lower half of all slots and the second the upper
/// half.
struct Pair {
    a: Node,
    b: Node,
}

impl Pair {
    fn start() -> Self {
        let (a, b) = (Node::start(A), Node::start(B));
        let pair = Self { a, b };
        pair.set_owners(&[LOWER], &[UPPER]);
        pair
    }

    /// Makes both tell a new map.
    fn set_owners(&self, of_a: &[(u16, u16)], of_b: &[(u16, u16)]) {
        let [a, b] = [&self.a, &self.b].map(|node| node.address.to_string());
        self.a.set_map(map(7, &[(&a, of_a), (&b, of_b)]));
        self.b.set_map(map(7, &[(&b, of_b), (&a, of_a)]));
    }

    /// Returns a client that knows both.
    fn client(&self) -> Client {
        self.client_with(Options::default())
    }

    fn client_with(&self, options: Options) -> Client {
        Client::connect_with(&self.url(), options).unwrap()
    }

    fn url(&self) -> String {
        format!("tcp://{},{}", self.a.address, self.b.address)
    }

    /// Returns a client that has a connection to each of the two. Nothing that it sent for that is among
    /// what the nodes have received.
    fn connected(&self) -> Client {
        self.connected_with(Options::default())
    }

    fn connected_with(&self, options: Options) -> Client {
        let client = self.client_with(options);
        let topic = scripted::topic(UPPER);
        wait::eventually("the second node is connected", || {
            client.count(&topic).unwrap() > B
        });
        self.a.take_received();
        self.b.take_received();
        client
    }
}
