//! `globalcounter cluster export`, `import` and `advance-all`.

use globalcounter::cluster::{Answer, ClaimAttempt, Epoch, RANGES, Request, Slot};
use globalcounter::etcd::{Ceiling, Ceilings, Change, ChangeError, Operator};
use globalcounter::topic::Topic;

use crate::cluster::{LEASE, Node, applied, grant, member, range};
use crate::etcd::Etcd;
use crate::run::{cluster, cluster_at, cluster_with_input};
use crate::support::{Directory, eventually};

/// Lines of an export, sorted by topic.
fn export(etcd: &Etcd, prefix: &str) -> Vec<String> {
    let printed = cluster_at(etcd, prefix, &["export", "-"]).printed();
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn import(etcd: &Etcd, prefix: &str, lines: &str) -> String {
    let ran = cluster_with_input(etcd, prefix, &["import", "-"], lines);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    ran.errors
}

fn range_of(topic: &str) -> u16 {
    let topic = Topic::new(topic.as_bytes(), 1_000).unwrap();
    Slot::of(topic).range(RANGES).number()
}

#[tokio::test]
async fn an_export_is_imported_elsewhere() {
    let Some(etcd) = Etcd::start() else { return };
    // More than a page, and more than one transaction has room for.
    let topics = (0..1_500).map(|number| {
        let ceiling = match number % 2 {
            0 => "",
            _ => r#","ceiling":true"#,
        };
        format!("{{\"topic\":\"topic {number}\",\"sum\":{number}{ceiling}}}\n")
    });
    let odd = [
        r#"{"topic":"","sum":5}"#,
        "\n",
        r#"{"topic":"a/b\n\u001b","sum":18446744073709551615}"#,
        "\n",
    ];
    let lines: String = topics.chain(odd.map(str::to_owned)).collect();
    let errors = import(&etcd, "/test", &lines);
    assert_eq!(errors, "1,502 topics added or raised, 1,502 lines read\n");
    let mut expected: Vec<&str> = lines.lines().collect();
    expected.sort_unstable();
    assert_eq!(export(&etcd, "/test"), expected);

    let directory = Directory::new("cluster-export");
    std::fs::create_dir_all(&directory.0).unwrap();
    let file = directory.0.join("topics");
    let file = file.to_str().unwrap();
    let ran = cluster(&etcd, &["export", file]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    assert_eq!(
        ran.errors,
        "1,502 topics written: 752 exact sums, 750 ceilings\n"
    );
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
    cluster_at(&etcd, "/other", &["import", file]).printed();
    assert_eq!(export(&etcd, "/other"), expected);
    // A node finds them where it looks for them.
    let a = Node::begin(etcd.client(), "a").await;
    let epoch = a.claim_new(range_of("topic 7")).await;
    let found = Ceilings::new(etcd.client());
    let found = found.load(range(range_of("topic 7")), epoch).await.unwrap();
    let ceiling = Ceiling {
        ceiling: 7,
        exact: false,
    };
    assert!(found.unwrap().contains(&("topic 7".to_owned(), ceiling)));
}

#[tokio::test]
async fn an_import_never_lowers() {
    let Some(etcd) = Etcd::start() else { return };
    import(
        &etcd,
        "/test",
        "{\"topic\":\"x\",\"sum\":10}\n{\"topic\":\"y\",\"sum\":10,\"ceiling\":true}\n",
    );
    let errors = import(
        &etcd,
        "/test",
        "{\"topic\":\"x\",\"sum\":9}\n{\"topic\":\"x\",\"sum\":7}\n{\"topic\":\"y\",\"sum\":10}\n",
    );
    assert_eq!(errors, "0 topics added or raised, 3 lines read\n");
    // Of a topic that is there twice, the larger sum counts.
    let errors = import(
        &etcd,
        "/test",
        "{\"topic\":\"x\",\"sum\":12}\n{\"topic\":\"x\",\"sum\":11,\"ceiling\":true}\n",
    );
    assert_eq!(errors, "1 topics added or raised, 2 lines read\n");
    assert_eq!(
        export(&etcd, "/test"),
        [
            r#"{"topic":"x","sum":12}"#,
            r#"{"topic":"y","sum":10,"ceiling":true}"#
        ]
    );
    // The lines before a mistake stay imported.
    let lines = "{\"topic\":\"z\",\"sum\":1}\nnonsense\n{\"topic\":\"z\",\"sum\":2}\n";
    let ran = cluster_with_input(&etcd, "/test", &["import", "-"], lines);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("line 2 is not a topic"), "{ran:?}");
    assert_eq!(export(&etcd, "/test")[2], r#"{"topic":"z","sum":1}"#);
}

#[tokio::test]
async fn all_topics_are_advanced() {
    let Some(etcd) = Etcd::start() else { return };
    let lines = (0..1_200).map(|number| format!("{{\"topic\":\"t{number}\",\"sum\":{number}}}\n"));
    import(&etcd, "/test", &lines.collect::<String>());
    let ran = cluster(&etcd, &["advance-all", "1000"]);
    assert_eq!(ran.errors, "");
    assert_eq!(ran.printed(), "1,200 topics raised by 1,000\n");
    let mut expected: Vec<String> = (0..1_200)
        .map(|number| {
            let sum = number + 1_000;
            format!(r#"{{"topic":"t{number}","sum":{sum},"ceiling":true}}"#)
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(export(&etcd, "/test"), expected);

    // The largest sum is not exceeded.
    let ran = cluster(&etcd, &["advance-all", &(u64::MAX - 1_001).to_string()]);
    assert!(
        ran.errors
            .starts_with("1,199 of them reached 18,446,744,073,709,551,615"),
        "{ran:?}"
    );
    assert_eq!(cluster(&etcd, &["advance-all", "0"]).code, 2);
}

#[tokio::test]
async fn a_live_node_is_named() {
    let Some(etcd) = Etcd::start() else { return };
    let line = "{\"topic\":\"x\",\"sum\":10}\n";
    import(&etcd, "/test", line);
    let a = Node::begin(etcd.client(), "a").await;
    for arguments in [&["import", "-"][..], &["advance-all", "5"]] {
        let error = cluster_with_input(&etcd, "/test", arguments, line).refused();
        assert!(error.contains("node a is live: stop all nodes"), "{error}");
    }
    let b = Node::begin(etcd.client(), "b").await;
    let error = cluster(&etcd, &["advance-all", "5"]).refused();
    assert!(error.contains("nodes a, b are live"), "{error}");
    // An export harms nobody.
    assert_eq!(export(&etcd, "/test"), [line.trim_end()]);
    a.end().await;
    b.end().await;
    cluster(&etcd, &["advance-all", "5"]).printed();
}

/// A node that runs in between, however shortly, ends the right to change ceilings.
#[tokio::test]
async fn a_node_that_starts_in_between_is_not_undercut() {
    let Some(etcd) = Etcd::start() else { return };
    let line = "{\"topic\":\"x\",\"sum\":10}\n";
    import(&etcd, "/test", line);
    let operator = Operator::open(etcd.settings()).await.unwrap().unwrap();
    let offline = operator.take_offline().await.unwrap();
    let page = offline.topics().next().await.unwrap().unwrap();

    let a = Node::begin(etcd.client(), "a").await;
    let refused = offline.advance(&page, 5).await;
    assert!(matches!(refused, Err(ChangeError::Live(_))), "{refused:?}");
    let number = range_of("x");
    let epochs = [(range(number), a.claim_new(number).await)];
    let change = Change {
        range: range(number),
        topic: "x",
        ceiling: Some(Ceiling {
            ceiling: 500,
            exact: false,
        }),
    };
    let ceilings = Ceilings::new(etcd.client());
    ceilings.commit(&epochs, &[change]).await.unwrap().unwrap();
    a.end().await;
    // What it read before is behind.
    let refused = offline.advance(&page, 5).await;
    assert!(matches!(refused, Err(ChangeError::Changed)), "{refused:?}");
    let sums = [((range(number), "x".to_owned()), page[0].ceiling)];
    let refused = offline.raise(&sums.into()).await;
    assert!(matches!(refused, Err(ChangeError::Changed)), "{refused:?}");
    let expected = r#"{"topic":"x","sum":500,"ceiling":true}"#;
    assert_eq!(export(&etcd, "/test"), [expected]);
}

/// A commit of a former owner that arrives after its session ended cannot undo a change.
#[tokio::test]
async fn a_late_commit_does_not_undo_a_change() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    // More claims than one transaction has room for.
    let numbers: Vec<u16> = (0..RANGES).collect();
    let mut epochs = Vec::new();
    for some in numbers.chunks(32) {
        let epoch = Epoch(applied(&a.request(a.claim(some)).await));
        epochs.extend(some.iter().map(|&number| (range(number), epoch)));
    }
    let before = a.state().await;
    a.end().await;
    import(&etcd, "/test", "{\"topic\":\"x\",\"sum\":100}\n");
    let of_x = [epochs[usize::from(range_of("x"))]];
    let late = Change {
        range: of_x[0].0,
        topic: "x",
        ceiling: Some(Ceiling {
            ceiling: 50,
            exact: false,
        }),
    };
    let ceilings = Ceilings::new(etcd.client());
    assert_eq!(ceilings.commit(&of_x, &[late]).await.unwrap(), None);
    assert_eq!(export(&etcd, "/test"), [r#"{"topic":"x","sum":100}"#]);

    // The claims say the same, with other epochs, and the next node replaces them.
    let b = Node::begin(etcd.client(), "b").await;
    let after = b.state().await;
    assert_eq!(after.claims.len(), usize::from(RANGES));
    for (range, claim) in &after.claims {
        let old = &before.claims[range];
        assert_eq!((&claim.node, claim.session), (&old.node, old.session));
        assert!(claim.epoch > old.epoch);
    }
}

/// The steps of docs/operations.md, "Restore etcd from a snapshot".
#[tokio::test]
async fn a_snapshot_that_was_restored_is_raised() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let a = member(etcd.client(), "a").await;
    let lease = grant(&a, LEASE).await;
    let created = a.request(Request::CreateSession { lease }).await.unwrap();
    let Answer::Created(session, _) = created else {
        panic!("{created:?}");
    };
    let number = range_of("x");
    let claim = Request::Claim {
        session,
        attempts: vec![ClaimAttempt {
            range: range(number),
            previous: None,
        }],
        replaced: Vec::new(),
    };
    let epoch = Epoch(applied(&a.request(claim).await.unwrap()));
    // A client of its own each time: etcd is started again in between.
    let raise_to = async |etcd: &Etcd, ceiling| {
        let exact = false;
        let change = Change {
            range: range(number),
            topic: "x",
            ceiling: Some(Ceiling { ceiling, exact }),
        };
        let ceilings = Ceilings::new(etcd.client());
        let committed = ceilings.commit(&[(range(number), epoch)], &[change]).await;
        committed.unwrap().unwrap();
    };
    raise_to(&etcd, 100).await;
    let snapshot = etcd.snapshot();
    raise_to(&etcd, 150).await;
    etcd.restore(&snapshot);
    assert_eq!(
        export(&etcd, "/test"),
        [r#"{"topic":"x","sum":100,"ceiling":true}"#]
    );
    // The session of the time of the snapshot is live for as long as its lease.
    let error = cluster(&etcd, &["advance-all", "60"]).refused();
    assert!(error.contains("node a is live"), "{error}");
    eventually("its session ends", || {
        let status = cluster(&etcd, &["status"]).printed();
        status.starts_with("down: ")
    });
    cluster(&etcd, &["advance-all", "60"]).printed();
    assert_eq!(
        export(&etcd, "/test"),
        [r#"{"topic":"x","sum":160,"ceiling":true}"#]
    );
}
