//! Data directories of the system: locks, foreign and old directories, skipped numbers.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::log_store::{Finding, check};
use crate::store::stored::LastEnd;

/// A temporary directory of this process; dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("globalcounter-store-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<LogStore, StoreError> {
        LogStore::open(&self.0, "a test")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn set(store: &mut LogStore, name: &str, record: Record) {
    store
        .commit_and_wait(vec![Change::new(topic(name), None, Some(record))])
        .unwrap();
}

fn copy_to_checkpoint(store: &mut LogStore, name: &str, record: Record) {
    let checkpoint = store.begin_checkpoint(vec![0..=u16::MAX]).unwrap().unwrap();
    let mut rows = Rows::new();
    rows.push(topic(name), Some(record));
    checkpoint.write(0, &rows).unwrap();
    checkpoint.finish().unwrap();
}

/// Returns how many numbers a start would report as skipped.
fn skipped(store: &LogStore) -> u64 {
    let mut skipped = BTreeMap::new();
    let loaded = store.load(0..=u16::MAX, &mut |topic, stored| {
        let name = topic.as_bytes().to_vec();
        skipped.entry(name).or_insert(stored.skipped);
    });
    loaded.unwrap();
    skipped.values().sum()
}

#[test]
fn a_directory_goes_through_its_states() {
    let folder = Folder::new();
    assert!(LogStore::open_existing(&folder.0, "a test").is_err());
    let mut store = folder.open().unwrap();
    assert_eq!(store.last_end(), LastEnd::New);
    drop(store);
    store = folder.open().unwrap();
    assert_eq!(store.last_end(), LastEnd::New, "nobody has served yet");
    store.begin().unwrap();
    set(&mut store, "a", Record::exact(5));
    drop(store);
    store = folder.open().unwrap();
    assert_eq!(store.last_end(), LastEnd::Crash);
    store.begin().unwrap();
    copy_to_checkpoint(&mut store, "a", Record::exact(5));
    store.finish().unwrap();
    drop(store);
    store = folder.open().unwrap();
    assert_eq!(store.last_end(), LastEnd::Clean);
    assert_eq!(load(&store).unwrap(), [("a".to_owned(), 5)].into());
    store.begin().unwrap();
    drop(store);
    store = LogStore::open_existing(&folder.0, "a test").unwrap();
    assert_eq!(store.last_end(), LastEnd::Crash);
    drop(store);
    let findings = check(&folder.0, &mut |_, _| ()).unwrap();
    let lines = findings.into_iter().skip(1);
    let lines: Vec<String> = lines
        .map(|Finding { name, found }| format!("{name}: {}", found.unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            "manifest: checkpoint 1, written in run 2",
            "checkpoint/1.0: 1 topics, 20 bytes",
            "log: 1 records (4 to 4), 512 bytes; 3 runs, the last server did not end cleanly",
        ]
    );
    fs::write(folder.0.join("checkpoint/1.0"), "nonsense").unwrap();
    let findings = check(&folder.0, &mut |_, _| ()).unwrap();
    let damaged = findings.iter().filter(|finding| finding.found.is_err());
    assert_eq!(damaged.count(), 1);
}

#[test]
fn skipped_numbers_are_reported_once() {
    let folder = Folder::new();
    let ahead = |sum, ceiling| Record { ceiling, sum };
    let mut store = folder.open().unwrap();
    store.begin().unwrap();
    set(&mut store, "a", ahead(10, 14));
    copy_to_checkpoint(&mut store, "a", ahead(12, 14));
    set(&mut store, "b", ahead(5, 6));
    drop(store);
    store = folder.open().unwrap();
    // Two of the four had been handed out when the topic was copied.
    assert_eq!(skipped(&store), 2 + 1);
    store.begin().unwrap();
    set(&mut store, "b", ahead(7, 12));
    drop(store);
    assert_eq!(skipped(&folder.open().unwrap()), 5);
}

#[test]
fn a_second_server_is_refused_with_the_name_of_the_first() {
    let folder = Folder::new();
    let _first = folder.open().unwrap();
    let error = folder.open().err().unwrap().to_string();
    let process = format!("process {}, a test", std::process::id());
    assert!(
        error.contains(&process) && error.contains("--data-dir"),
        "{error}"
    );
}

#[test]
fn foreign_and_old_directories_are_refused() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    for (text, expected) in [
        ("globalcounter data, format 3, number 7\n", "format 3"),
        ("# our project\n", "not written by globalcounter"),
        (
            "globalcounter data, format 1, number 7\n",
            "globalcounter export",
        ),
        (
            "globalcounter data, format 1, being made\n",
            "globalcounter export",
        ),
    ] {
        fs::write(folder.0.join("format"), text).unwrap();
        let error = folder.open().err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(folder.0.join("format")).unwrap();
    fs::create_dir(folder.0.join("log")).unwrap();
    assert!(matches!(folder.open(), Err(StoreError::Damaged { .. })));
}

#[test]
fn an_unfinished_directory_is_created_anew() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    store.begin().unwrap();
    set(&mut store, "a", Record::exact(5));
    drop(store);
    let text = "globalcounter data, format 2, being made\n";
    fs::write(folder.0.join("format"), text).unwrap();
    let store = folder.open().unwrap();
    assert_eq!(store.last_end(), LastEnd::New);
    assert_eq!(load(&store).unwrap(), Ceilings::new());
}

/// Segments are created ahead of need, and used again after a checkpoint; none is left over.
#[test]
fn the_log_takes_bounded_room() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    store.begin().unwrap();
    let name = "long".repeat(200);
    let mut most = 0;
    for round in 1..200_u64 {
        let changes = (0..2_000).map(|n| {
            let name = format!("{n} {name}");
            Change::new(topic(&name), None, Some(Record::exact(round)))
        });
        store.commit_and_wait(changes.collect()).unwrap();
        if store.checkpoint_due() {
            copy_to_checkpoint(&mut store, &name, Record::exact(round));
        }
        let segments = fs::read_dir(folder.0.join("log")).unwrap().count();
        most = most.max(segments);
    }
    assert!((5..=7).contains(&most), "{most} segments");
    drop(store);
    assert_eq!(load(&folder.open().unwrap()).unwrap().len(), 2_001);
}
