//! `globalcounter cluster status` and `topics` on clusters that the tests make by hand.

use globalcounter::cluster::Request;
use globalcounter::etcd::{Ceiling, Ceilings, Change, Error, Operator};
use serde_json::Value;

use crate::cluster::{Node, applied, member, range};
use crate::etcd::Etcd;
use crate::run::{Ran, cluster, cluster_at};

fn status(etcd: &Etcd) -> Value {
    serde_json::from_str(&cluster(etcd, &["status", "--json"]).printed()).unwrap()
}

#[tokio::test]
async fn status_tells_absent_down_and_incomplete_clusters_apart() {
    let Some(etcd) = Etcd::start() else { return };
    let absent = cluster(&etcd, &["status"]).printed();
    assert!(
        absent.starts_with("absent: there is no cluster yet"),
        "{absent}"
    );
    assert!(absent.contains(": leader, version "), "{absent}");
    assert_eq!(status(&etcd)["ranges"], Value::Null);

    let a = Node::begin(etcd.client(), "a").await;
    a.claim_new(1).await;
    let b = Node::begin(etcd.client(), "b").await;
    b.claim_new(2).await;
    b.end().await;
    applied(
        &a.request(Request::MarkDraining { session: a.session })
            .await,
    );
    let found = status(&etcd);
    assert_eq!(found["state"], "incomplete");
    assert_eq!(found["ranges"], 1_024);
    // The range of a session that has ended has no owner either.
    assert_eq!(found["ranges_without_owner"], 1_023);
    let nodes = found["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1);
    let node = &nodes[0];
    for (field, value) in [
        ("name", Value::from("a")),
        ("address", "a:9999".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("started", 1_800_000_000.into()),
        ("draining", true.into()),
        ("ranges_owned", 1.into()),
        ("ranges_assigned", 1_024.into()),
    ] {
        assert_eq!(node[field], value, "{field}");
    }
    let left = node["lease_seconds_left"].as_u64().unwrap();
    assert!((500..=600).contains(&left), "{left}");
    let text = cluster(&etcd, &["status"]).printed();
    assert!(text.contains("\na (draining)  a:9999 "), "{text}");

    a.end().await;
    assert_eq!(status(&etcd)["state"], "down");
}

#[tokio::test]
async fn what_is_not_a_cluster_is_named() {
    let Some(etcd) = Etcd::start() else { return };
    let absent = [
        "topics",
        "rebalance",
        "advance-all 1",
        "export -",
        "drain a",
    ];
    for arguments in absent {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let error = cluster(&etcd, &arguments).refused();
        assert!(error.contains("there is no cluster at etcd://"), "{error}");
    }
    // No command has created it.
    assert_eq!(status(&etcd)["state"], "absent");

    let a = Node::begin(etcd.client(), "a").await;
    a.claim_new(1).await;
    etcd.put("/test/ceilings/0001/x", "12");
    let error = cluster(&etcd, &["topics"]);
    assert!(error.errors.contains("/test/ceilings/0001/x"), "{error:?}");
    etcd.put("/test/claims/0002", "nonsense");
    let error = cluster(&etcd, &["status"]).refused();
    assert!(error.contains("/test/claims/0002"), "{error}");
    etcd.put("/test/format", "2");
    let error = cluster(&etcd, &["status"]).refused();
    assert!(error.contains("/test/format"), "{error}");
    etcd.put("/other/leader", "x");
    let error = cluster_at(&etcd, "/other", &["status"]).refused();
    assert!(error.contains("/other/leader"), "{error}");
}

#[test]
fn an_etcd_that_does_not_answer_is_named() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    etcd.kill();
    let error = cluster(&etcd, &["status"]).refused();
    let address = etcd.address().to_string();
    assert!(
        error.contains("cannot connect to etcd at") && error.contains(&address),
        "{error}"
    );
    let usage = cluster(&etcd, &["status", "--cluster", "http://a:1"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    assert!(usage.errors.contains("expected etcd://"), "{usage:?}");
    let usage = cluster(&etcd, &["status", "--etcd-user", "root"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    assert!(usage.errors.contains("--etcd-password-file"), "{usage:?}");
}

/// A cluster of one node `a` with topics in two ranges that it owns.
async fn with_topics(etcd: &Etcd) -> Node {
    let a = Node::begin(etcd.client(), "a").await;
    let epochs = [
        (range(1), a.claim_new(1).await),
        (range(700), a.claim_new(700).await),
    ];
    let changes = [
        (1, "", 3, true),
        (1, "orders/1", 10, false),
        (1, "other", 11, true),
        (700, "orders/a\nb", u64::MAX, false),
    ];
    let changes = changes.map(|(number, topic, ceiling, exact)| Change {
        range: range(number),
        topic,
        ceiling: Some(Ceiling { ceiling, exact }),
    });
    let ceilings = Ceilings::new(etcd.client());
    ceilings.commit(&epochs, &changes).await.unwrap().unwrap();
    a
}

#[tokio::test]
async fn topics_are_listed_with_their_owners() {
    let Some(etcd) = Etcd::start() else { return };
    let a = with_topics(&etcd).await;
    let printed = cluster(&etcd, &["topics"]).printed();
    let expected = "3\texact\t0001\ta\t\n\
        10\tceiling\t0001\ta\torders/1\n\
        11\texact\t0001\ta\tother\n\
        18446744073709551615\tceiling\t0700\ta\torders/a\\nb\n";
    assert_eq!(printed, expected);

    // Those with a prefix, in any range.
    let printed = cluster(&etcd, &["topics", "orders/"]).printed();
    let some: Vec<&str> = printed.lines().collect();
    assert_eq!(some.len(), 2, "{some:?}");
    assert!(some[1].ends_with("orders/a\\nb"), "{some:?}");
    let printed = cluster(&etcd, &["topics", "--json", "orders/1"]).printed();
    let expected =
        r#"{"topic":"orders/1","sum":10,"exact":false,"range":1,"owner":"a"}"#.to_owned() + "\n";
    assert_eq!(printed, expected);
    let nothing = Ran {
        code: 0,
        out: String::new(),
        errors: String::new(),
    };
    assert_eq!(cluster(&etcd, &["topics", "none"]), nothing);

    a.end().await;
    let printed = cluster(&etcd, &["topics", "other"]).printed();
    assert_eq!(printed, "11\texact\t0001\t-\tother\n");
}

#[tokio::test]
async fn many_topics_are_read_in_pages() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let epochs = [(range(5), a.claim_new(5).await)];
    let names: Vec<String> = (0..2_300).map(|number| format!("t{number:04}")).collect();
    let ceiling = Some(Ceiling {
        ceiling: 1,
        exact: true,
    });
    let changes: Vec<Change<'_>> = names
        .iter()
        .map(|topic| Change {
            range: range(5),
            topic,
            ceiling,
        })
        .collect();
    let ceilings = Ceilings::new(etcd.client());
    for some in changes.chunks(globalcounter::etcd::MAX_OPERATIONS) {
        ceilings.commit(&epochs, some).await.unwrap().unwrap();
    }
    // All pages are of one revision, or there is an error.
    let operator = Operator::open(etcd.settings()).await.unwrap().unwrap();
    let mut pages = operator.topics("");
    pages.next().await.unwrap().unwrap();
    let later = a.claim_new(6).await;
    etcd.client().compact(later.0).await.unwrap();
    let error = pages.next().await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }), "{error}");

    let printed = cluster(&etcd, &["topics"]).printed();
    let topics = printed
        .lines()
        .map(|line| line.rsplit('\t').next().unwrap());
    assert!(topics.eq(names.iter().map(String::as_str)));
    let printed = cluster(&etcd, &["topics", "t12"]).printed();
    assert_eq!(printed.lines().count(), 100);
}

#[tokio::test]
async fn a_watch_prints_again_and_outlives_an_outage() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let _member = member(etcd.client(), "a").await;
    let mut watch = crate::run::Watching::start(&etcd);
    watch.wait_for(r#""state":"down""#);
    watch.wait_for(r#""state":"down""#);
    etcd.kill();
    watch.wait_for("cannot connect to etcd");
    etcd.start_again();
    watch.wait_for(r#""state":"down""#);
}
