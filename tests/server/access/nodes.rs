//! Connections of other nodes of a cluster: they need the right `node`, and then no other.

use std::num::NonZeroU64;

use globalcounter::access::{Policy, TokenLimits};
use globalcounter::protocol::framed::{NodeMap, decode_reply};
use globalcounter::protocol::{ErrorCode, Op, Reply};

use super::{DENIED, INSIDE, OUTSIDE, guarded, ranges, token, try_hello};
use crate::nodes::{become_node, forward, map, nodes};
use crate::support::{Framed, datagrams, exchange};

const INCR: Op = Op::Incr(NonZeroU64::MIN);

#[test]
fn a_node_needs_its_right_on_all_topics() {
    let tokens = vec![
        token("client", "token-of-a-client", "count,admin", &[]),
        token("some", "token-for-some-topics", "node,count", &["in/"]),
    ];
    let (server, _) = guarded(2, tokens, &[]);
    let mut framed = Framed::connect(server.tcp);
    for secret in [
        "",
        "token-of-a-client",
        "token-for-some-topics",
        "a-wrong-token",
    ] {
        assert_eq!(
            become_node(&mut framed, Some(1), secret),
            Err(ErrorCode::Denied),
            "{secret}"
        );
        let refused = Reply::Error(ErrorCode::BadOpcode);
        assert_eq!(forward(&mut framed, INCR, INSIDE), refused);
    }
    // It has the rights of the last token that was right, as a client.
    assert_eq!(framed.ask(Op::Count, INSIDE), Reply::Count(1));
    assert_eq!(framed.ask(Op::Count, OUTSIDE), DENIED);
}

#[test]
fn a_node_may_forward_everything_without_limits() {
    let mut node = token("node", "token-of-a-node", "node", &[]);
    node.limits = TokenLimits {
        rate: Some(5),
        max_topics: Some(1),
    };
    let (server, guard) = guarded(2, vec![node.clone()], &[]);
    let mut framed = Framed::connect(server.tcp);
    // As a client, the token may do nothing.
    assert_eq!(try_hello(&mut framed, None, "token-of-a-node"), Ok(()));
    assert_eq!(framed.ask(Op::Count, "a"), DENIED);
    assert!(become_node(&mut framed, Some(1), "token-of-a-node").is_ok());
    for n in 0..50 {
        let topic = format!("topic {n}");
        assert_eq!(forward(&mut framed, INCR, &topic), Reply::Add(1));
    }
    // Without the right it is a client again, which must not send this.
    guard.set_policy(Policy::new(Vec::new(), ranges(&["127.0.0.1=count"])));
    let refused = Reply::Error(ErrorCode::BadOpcode);
    assert_eq!(forward(&mut framed, INCR, "a"), refused);
    assert_eq!(framed.ask(Op::Get, "a"), DENIED);
    assert_eq!(framed.ask(Op::Count, "a"), Reply::Count(1));
    guard.set_policy(Policy::new(vec![node], ranges(&[])));
    assert!(become_node(&mut framed, None, "token-of-a-node").is_ok());
    assert_eq!(forward(&mut framed, INCR, "a"), Reply::Add(2));
}

#[test]
fn whoever_may_do_something_may_see_the_map() {
    let tokens = vec![token("some", "token-for-some-topics", "read", &["in/"])];
    let (server, guard) = guarded(2, tokens, &[]);
    let mut framed = Framed::connect(server.tcp);
    let socket = datagrams(server.udp);
    let ask = |framed: &mut Framed| {
        framed.send(&nodes(0));
        framed.receive(map).unwrap().1
    };
    let in_datagram = || {
        let reply = exchange(&socket, &nodes(100));
        map(decode_reply(&reply).unwrap().unwrap().answer)
    };
    assert_eq!(ask(&mut framed), Err(ErrorCode::Denied));
    assert_eq!(in_datagram(), Err(ErrorCode::Denied));
    assert_eq!(
        try_hello(&mut framed, None, "token-for-some-topics"),
        Ok(())
    );
    assert_eq!(ask(&mut framed), Ok(NodeMap::alone()));
    guard.set_policy(Policy::new(Vec::new(), ranges(&["127.0.0.1=count:in/"])));
    assert_eq!(in_datagram(), Ok(NodeMap::alone()));
}
