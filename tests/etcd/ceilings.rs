//! Commits and loads compare epochs.

use globalcounter::cluster::Epoch;
use globalcounter::etcd::{Ceiling, Ceilings, Change, Error, MAX_OPERATIONS};

use crate::cluster::{Node, applied, range};
use crate::etcd::Etcd;

fn change(number: u16, topic: &str, ceiling: u64) -> Change<'_> {
    Change {
        range: range(number),
        topic,
        ceiling: Some(Ceiling {
            ceiling,
            exact: false,
        }),
    }
}

#[tokio::test]
async fn a_commit_and_a_load_need_the_epoch() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let ceilings = Ceilings::new(etcd.client());
    let (first, second) = (a.claim_new(1).await, a.claim_new(2).await);
    let epochs = [(range(1), first), (range(2), second)];
    let changes = [change(1, "x", 10), change(2, "y", 20)];
    let committed = ceilings.commit(&epochs, &changes).await.unwrap();
    assert!(committed.unwrap() > second.0);

    // One of two epochs is over: nothing is changed.
    let wrong = [(range(1), first), (range(2), first)];
    let later = [change(1, "x", 11), change(2, "y", 21)];
    assert_eq!(ceilings.commit(&wrong, &later).await.unwrap(), None);
    assert_eq!(ceilings.load(range(2), first).await.unwrap(), None);
    assert_eq!(ceilings.load(range(3), first).await.unwrap(), None);

    let estimate = Ceiling {
        ceiling: 10,
        exact: false,
    };
    let loaded = ceilings.load(range(1), first).await.unwrap().unwrap();
    assert_eq!(loaded, [("x".to_owned(), estimate)]);
}

#[tokio::test]
async fn exact_sums_replace_ceilings_and_topics_are_deleted() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let ceilings = Ceilings::new(etcd.client());
    let epochs = [(range(1), a.claim_new(1).await)];
    let written = [
        change(1, "", 10),
        change(1, "a/b", 20),
        change(1, "\u{10ffff}", u64::MAX),
    ];
    ceilings.commit(&epochs, &written).await.unwrap().unwrap();
    let exact = Ceiling {
        ceiling: 7,
        exact: true,
    };
    let changes = [("", Some(exact)), ("a/b", None)].map(|(topic, ceiling)| Change {
        range: range(1),
        topic,
        ceiling,
    });
    ceilings.commit(&epochs, &changes).await.unwrap().unwrap();
    let last = Ceiling {
        ceiling: u64::MAX,
        exact: false,
    };
    let loaded = ceilings.load(range(1), epochs[0].1).await.unwrap().unwrap();
    assert_eq!(
        loaded,
        [(String::new(), exact), ("\u{10ffff}".to_owned(), last)]
    );
}

#[tokio::test]
async fn the_largest_commit_has_a_range_for_each_change() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let ceilings = Ceilings::new(etcd.client());
    let numbers: Vec<u16> = (0..MAX_OPERATIONS as u16).collect();
    let mut epochs = Vec::new();
    for some in numbers.chunks(32) {
        let epoch = Epoch(applied(&a.request(a.claim(some)).await));
        epochs.extend(some.iter().map(|&number| (range(number), epoch)));
    }
    let long = "x".repeat(1_024);
    let changes: Vec<Change<'_>> = numbers
        .iter()
        .map(|&number| change(number, &long, 1))
        .collect();
    assert_eq!(Ceilings::fitting(&changes), MAX_OPERATIONS);
    ceilings.commit(&epochs, &changes).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_longest_topics_fit() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let ceilings = Ceilings::new(etcd.client());
    let epochs = [(range(1), a.claim_new(1).await)];
    let names: Vec<String> = (0..100).map(|number| format!("{number:0>65000}")).collect();
    let changes: Vec<Change<'_>> = names.iter().map(|name| change(1, name, 1)).collect();
    let mut left = &changes[..];
    while !left.is_empty() {
        let (some, others) = left.split_at(Ceilings::fitting(left));
        ceilings.commit(&epochs, some).await.unwrap().unwrap();
        left = others;
    }
    let loaded = ceilings.load(range(1), epochs[0].1).await.unwrap().unwrap();
    assert!(loaded.iter().map(|(topic, _)| topic).eq(&names));
}

#[tokio::test]
async fn a_large_range_is_loaded_in_pages() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let ceilings = Ceilings::new(etcd.client());
    let epochs = [
        (range(1), a.claim_new(1).await),
        (range(2), a.claim_new(2).await),
    ];
    let names: Vec<String> = (0..2_500)
        .map(|number| format!("topic-{number:04}"))
        .collect();
    let changes: Vec<Change<'_>> = names.iter().map(|name| change(1, name, 5)).collect();
    for some in changes.chunks(MAX_OPERATIONS) {
        ceilings.commit(&epochs, some).await.unwrap().unwrap();
    }
    ceilings
        .commit(&epochs, &[change(2, "other", 1)])
        .await
        .unwrap()
        .unwrap();
    let loaded = ceilings.load(range(1), epochs[0].1).await.unwrap().unwrap();
    assert!(loaded.iter().map(|(topic, _)| topic).eq(&names));
}

#[tokio::test]
async fn a_ceiling_that_is_not_understood_is_named() {
    let Some(etcd) = Etcd::start() else { return };
    let a = Node::begin(etcd.client(), "a").await;
    let epoch = a.claim_new(1).await;
    etcd.put("/test/ceilings/0001/x", "12");
    let loaded = Ceilings::new(etcd.client()).load(range(1), epoch).await;
    assert!(
        matches!(&loaded, Err(Error::NotUnderstood { key, .. }) if key == "/test/ceilings/0001/x"),
        "{loaded:?}"
    );
}
