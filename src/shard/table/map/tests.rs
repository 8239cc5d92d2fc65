use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use proptest::prelude::*;

use super::*;
use crate::shard::table::segment;

/// The rows of a full segment.
const SEGMENT_ROWS: usize = 896;

/// A hasher that takes the position from the digits of the name, so that a test decides where each
/// topic is. The other bits are mixed from the whole name, like those of a good hash, or the same
/// for all names.
#[derive(Default)]
struct PositionInName<const MIXED: bool>(u64);

impl<const MIXED: bool> Hasher for PositionInName<MIXED> {
    fn write(&mut self, bytes: &[u8]) {
        let digits = bytes.iter().filter(|byte| byte.is_ascii_digit());
        let position = digits.fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
        let mixed = RandomState::with_seeds(1, 2, 3, 4).hash_one(bytes);
        let others = if MIXED {
            mixed & 0xfe00_0000_0000_0fff
        } else {
            0
        };
        // The first of the hashes with these bits that have this position or a later one.
        let (mut before, mut after) = (0, (1 << 45) - 1);
        while before < after {
            let middle = u64::midpoint(before, after);
            if Position::of(others | middle << 12).number() < position {
                before = middle + 1;
            } else {
                after = middle;
            }
        }
        self.0 = others | after << 12;
    }

    // The length of the name adds nothing to the name itself.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type PositionsInNames = BuildHasherDefault<PositionInName<true>>;

/// All topics have the same tag, and their searches begin in the same group.
type SameFingerprints = BuildHasherDefault<PositionInName<false>>;

/// Counts hashes, to count the rows that move: each is hashed again. The key is always the same.
struct CountingHasher {
    made: Cell<usize>,
    hasher: RandomState,
}

impl BuildHasher for CountingHasher {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.made.set(self.made.get() + 1);
        self.hasher.build_hasher()
    }
}

fn counting() -> CountingHasher {
    CountingHasher {
        made: Cell::new(0),
        hasher: RandomState::with_seeds(1, 2, 3, 4),
    }
}

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name.as_bytes(), 1_024).expect("a topic")
}

/// Returns the number with letters as digits.
fn letters(i: usize) -> String {
    let digits = i.to_string().into_bytes();
    let letters = digits.iter().map(|digit| char::from(digit - b'0' + b'a'));
    letters.collect()
}

/// Inserts a topic, unless it is there already. Returns its value.
fn insert<S: BuildHasher>(table: &mut Table<u64, S>, name: &str, value: u64) -> u64 {
    let (topic, key) = (topic(name), table.key(topic(name)));
    let place = table.find(topic, &key);
    let place = place.unwrap_or_else(|| table.insert_new(topic, &key, value));
    table.value(place).get()
}

fn remove<S: BuildHasher>(table: &mut Table<u64, S>, name: &str) -> Option<u64> {
    let key = table.key(topic(name));
    table.remove(topic(name), &key)
}

fn value<S: BuildHasher>(table: &mut Table<u64, S>, name: &str) -> Option<u64> {
    let key = table.key(topic(name));
    let place = table.find(topic(name), &key)?;
    Some(table.value(place).get())
}

fn filled<S: BuildHasher>(hasher: S, names: impl IntoIterator<Item = String>) -> Table<u64, S> {
    let mut table = Table::with_hasher(hasher);
    for (value, name) in (0..).zip(names) {
        assert_eq!(insert(&mut table, &name, value), value);
    }
    assert_invariants(&table);
    table
}

/// Makes one step. Returns the names that it reports, and the position for the next step.
fn step<S: BuildHasher>(
    table: &Table<u64, S>,
    from: Position,
    count: usize,
    bytes: usize,
) -> (Vec<String>, Option<Position>) {
    let mut names = Vec::new();
    let next = table.scan(from, count, bytes, |topic| {
        names.push(String::from_utf8(topic.as_bytes().to_vec()).expect("UTF-8"));
    });
    assert!(
        next.is_none_or(|next| next > from),
        "the next position does not advance"
    );
    (names, next)
}

/// Makes all steps of a scan. Returns the names that each step reports.
fn steps<S: BuildHasher>(table: &Table<u64, S>, count: usize, bytes: usize) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut from = Some(Position::START);
    while let Some(position) = from {
        let (names, next) = step(table, position, count, bytes);
        all.push(names);
        from = next;
    }
    all
}

/// Asserts that the directory's runs match the depths of the segments, that each row is in the
/// segment of its position, and that the counts of rows and places are right.
fn assert_invariants<S: BuildHasher>(table: &Table<u64, S>) {
    assert_eq!(table.directory.len(), 1 << table.depth);
    assert_eq!(table.segments.len(), table.memory.segments());
    let mut runs = HashMap::new();
    for pair in table.directory.chunk_by(|one, other| one == other) {
        assert_eq!(runs.insert(pair[0].index(), pair.len()), None, "two runs");
    }
    let mut len = 0;
    let mut continued = 0;
    for (number, info) in table.segments.iter().enumerate() {
        let id = SegmentId::of_index(number);
        let segment = table.memory.segment(id).expect("it was added");
        assert_eq!(segment::rows(segment).count(), usize::from(info.rows));
        assert!(info.rows <= info.used);
        assert!(usize::from(info.used) <= table.groups.limit());
        len += usize::from(info.rows);
        continued += usize::from(info.next.is_some());
        let Some(&run) = runs.get(&number) else {
            continue; // it continues another one
        };
        assert_eq!(run, 1 << (table.depth - info.depth));
        for row in table.rows(id) {
            assert_eq!(table.segment(Position::of(table.hash_of(row))), id);
        }
    }
    assert_eq!(table.len(), len);
    if len > 0 {
        assert_eq!(table.segments.len(), runs.len() + continued);
    }
}

#[test]
fn an_empty_table_allocates_almost_nothing() {
    let mut table = Table::<u64>::new();
    assert_eq!((table.directory.len(), table.segments.capacity()), (1, 0));
    let mut keys = [Key::NONE];
    table.find_all(&mut keys, [topic("a")].into_iter());
    assert_eq!(table.find(topic("a"), &keys[0]), None);
    assert!(table.first_match(topic("a"), &keys[0]).is_none());
    assert_eq!(remove(&mut table, "a"), None);
    assert_eq!(step(&table, Position::START, 10, 100), (vec![], None));
    assert_eq!(table.memory.segments(), 0);
    assert_eq!(table.iter().count(), 0);
}

/// A page of 4 KiB has the tags and 96 rows.
#[test]
fn the_first_segment_uses_few_pages_while_there_are_few_rows() {
    let mut table = filled(counting(), (0..56).map(|i| format!("topic-{i}")));
    assert_eq!(table.groups.get(), 4);
    for i in 56..SEGMENT_ROWS as u64 {
        insert(&mut table, &format!("topic-{i}"), i);
    }
    assert_eq!((table.groups.get(), table.segments.len()), (64, 1));
    assert_invariants(&table);
}

/// Counts all memory that grows with the topics, unused places and the directory included. The
/// table's segments must not be split all at the same time: then the worst size takes 75 bytes.
#[test]
fn a_topic_takes_at_most_58_bytes_at_any_size() {
    let mut table = Table::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
    let mut most: f64 = 0.0;
    for i in 0..400_000 {
        insert(&mut table, &format!("topic-{i:010}"), i);
        if table.len() >= 100_000 && table.len().is_multiple_of(10_000) {
            most = most.max(table.bytes() as f64 / table.len() as f64);
        }
    }
    assert!((50.0..58.0).contains(&most), "{most} bytes");
}

/// A regression test: one insert took a second when all rows moved at once.
#[test]
fn growing_never_moves_more_than_a_segment_at_once() {
    let mut table = Table::with_hasher(counting());
    let mut most = 0;
    for i in 0..200_000 {
        let before = table.hasher.made.get();
        insert(&mut table, &format!("topic-{i}"), i);
        most = most.max(table.hasher.made.get() - before);
    }
    assert_invariants(&table);
    assert!(table.segments.len() > 200);
    // One hash to find the segment, one for each row that moves.
    assert_eq!(most, 1 + SEGMENT_ROWS);
}

#[test]
fn a_full_segment_is_split_for_a_new_topic_only() {
    let mut table = filled(counting(), (0..SEGMENT_ROWS).map(|i| format!("{i}")));
    assert_eq!(table.groups.limit(), SEGMENT_ROWS);
    assert_eq!(insert(&mut table, "7", 1), 7, "there before");
    assert_eq!((table.len(), table.segments.len()), (SEGMENT_ROWS, 1));
    assert_eq!(insert(&mut table, "x", 1), 1);
    assert_eq!((table.len(), table.segments.len()), (SEGMENT_ROWS + 1, 2));
    assert_invariants(&table);
}

#[test]
fn rows_with_the_same_tag_are_told_apart_by_their_names() {
    let name = |i: u64| (i << 30).to_string();
    let mut table = filled(SameFingerprints::default(), (0..1_500).map(name));
    assert!(table.segments.len() > 1);
    for i in (0..1_500).step_by(2) {
        assert_eq!(remove(&mut table, &name(i)), Some(i));
    }
    for i in 0..1_500 {
        let expected = (i % 2 == 1).then_some(i);
        assert_eq!(value(&mut table, &name(i)), expected);
    }
    for i in 0..1_500 {
        insert(&mut table, &name(i), i);
    }
    assert_eq!(table.len(), 1_500);
    assert_invariants(&table);
}

/// What `find_all` found is only used while it is right.
#[test]
fn rows_that_were_found_together_are_found_after_others_moved() {
    let name = |i: u64| "long".repeat(i as usize % 9) + &i.to_string();
    let mut table = filled(counting(), (0..6_000).map(name));
    for first in (0..6_000).step_by(32) {
        let names: Vec<String> = (first..first + 32).map(name).collect();
        let mut keys = [Key::NONE; 32];
        table.find_all(&mut keys, names.iter().map(|name| topic(name)));
        let at_once = keys.iter().filter(|key| key.moves != NEVER).count();
        assert!(at_once > 0, "none of {} is found at once", keys.len());
        for (n, (i, (name, key))) in (first..).zip(names.iter().zip(&keys)).enumerate() {
            let expected = (i < 6_000).then_some(i);
            let at_once = table.first_match(topic(name), key).map(|slot| slot.get());
            assert!(at_once.is_none() || at_once == expected, "{name}");
            let place = table.find(topic(name), key);
            assert_eq!(place.map(|place| table.value(place).get()), expected);
            match n {
                // Remove one that was found, and one that comes later.
                4 => {
                    let removed = table.remove(topic(name), key);
                    assert_eq!((removed, table.find(topic(name), key)), (expected, None));
                    insert(&mut table, name, i);
                }
                8 if i + 1 < 6_000 => {
                    remove(&mut table, &names[n + 1]);
                    let place = table.find(topic(&names[n + 1]), &keys[n + 1]);
                    assert_eq!(place, None);
                    insert(&mut table, &names[n + 1], i + 1);
                }
                // Let segments be split.
                16 if first % 1_000 < 32 => {
                    for j in 0..2_000 {
                        insert(&mut table, &format!("{first}-{j}"), j);
                    }
                }
                _ => {}
            }
        }
    }
    assert_invariants(&table);
}

#[test]
fn long_names_are_freed_with_their_rows() {
    let name = |i: u64| format!("{i:030}");
    let mut table = filled(counting(), (0..2_000).map(name));
    for i in 2_000..10_000 {
        assert_eq!(remove(&mut table, &name(i - 2_000)), Some(i - 2_000));
        insert(&mut table, &name(i), i);
    }
    assert_eq!(table.long_names.len(), 2_000);
    let names: HashSet<String> = steps(&table, 100, usize::MAX)
        .concat()
        .into_iter()
        .collect();
    assert_eq!(names, (8_000..10_000).map(name).collect());
    assert_invariants(&table);
}

#[test]
fn a_split_that_separates_no_rows_is_repeated() {
    // The first 17 bits of all positions are the same.
    let names = (0..2_000u64).map(|i| (i << 17).to_string());
    let mut table = filled(PositionsInNames::default(), names);
    assert!(table.depth > 17, "{}", table.depth);
    assert_eq!(insert(&mut table, &(1u64 << 43).to_string(), 7), 7);
    assert_invariants(&table);
    let names: Vec<String> = steps(&table, 500, usize::MAX).concat();
    let positions: Vec<u64> = names
        .iter()
        .map(|name| name.parse().expect("a number"))
        .collect();
    let expected: Vec<u64> = (0..2_000).map(|i| i << 17).chain([1 << 43]).collect();
    assert_eq!(positions, expected);
}

#[test]
fn positions_that_no_split_can_separate_share_a_range() {
    // The digits give all names the same position.
    let name = |i: usize| letters(i) + "42";
    let names = (0..2_500).map(name);
    let mut table = filled(PositionsInNames::default(), names);
    assert_eq!(table.depth, MAX_DEPTH);
    let segments = table.segments.len();
    let all = steps(&table, 1, 1);
    assert_eq!(all.concat().len(), 2_500);
    assert_eq!(
        all[0].len(),
        2_500,
        "topics that share a position are reported in one step"
    );
    for i in 0..2_500 {
        assert_eq!(value(&mut table, &name(i as usize)), Some(i));
    }
    for name in all.concat() {
        assert!(remove(&mut table, &name).is_some());
    }
    assert_invariants(&table);
    assert_eq!(table.len(), 0);
    // Others take the places of those that were removed, again and again.
    for i in 2_500..20_000 {
        assert_eq!(insert(&mut table, &name(i as usize), i), i);
        if i >= 4_500 {
            assert_eq!(
                remove(&mut table, &name(i as usize - 2_000)),
                Some(i - 2_000)
            );
        }
    }
    assert_invariants(&table);
    assert_eq!(table.segments.len(), segments);
}

#[test]
fn a_step_keeps_to_its_limits() {
    let table = filled(
        PositionsInNames::default(),
        ["10", "20", "a30", "b30", "40", "50"].map(str::to_owned),
    );
    let from = |number| Position::new(number).expect("below 2^45");
    let next = |number| Some(from(number));
    assert_eq!(step(&table, from(0), 1, 99), (vec!["10".into()], next(11)));
    assert_eq!(step(&table, from(0), 0, 99), (vec!["10".into()], next(11)));
    assert_eq!(step(&table, from(0), 9, 0), (vec!["10".into()], next(20)));
    assert_eq!(
        step(&table, from(0), 9, 3),
        (vec!["10".into(), "20".into()], next(30))
    );
    let (mut tied, on) = step(&table, from(30), 1, 1);
    tied.sort();
    assert_eq!((tied, on), (vec!["a30".into(), "b30".into()], next(31)));
    assert_eq!(
        step(&table, from(31), 2, 99),
        (vec!["40".into(), "50".into()], None)
    );
    assert_eq!(step(&table, from(50), 9, 99), (vec!["50".into()], None));
    assert_eq!(step(&table, from(51), 9, 99), (vec![], None));
}

#[test]
fn the_last_position_has_no_next() {
    let last = (1u64 << 45) - 1;
    let table = filled(PositionsInNames::default(), []);
    let mut names = (0..).map(|i| letters(i) + &last.to_string());
    let is_last =
        |name: &String| Position::of(hash(&table.hasher, name.as_bytes())).number() == last;
    let name = names.find(is_last).expect("the lower bits differ");
    let table = filled(PositionsInNames::default(), [name.clone()]);
    let from = Position::new(last).expect("below 2^45");
    assert_eq!(step(&table, from, 1, 0), (vec![name], None));
}

/// If most topics were deleted, a step ends after a bounded number of segments.
#[test]
fn a_step_examines_a_bounded_number_of_empty_segments() {
    let name = |i| format!("topic-{i}");
    let mut table = filled(counting(), (0..100_000).map(name));
    for i in 1..100_000 {
        remove(&mut table, &name(i));
    }
    assert!(table.segments.len() > 100);
    let all = steps(&table, 10, 1_000);
    assert!(all.len() > 1 && all.len() < 10, "{} steps", all.len());
    assert_eq!(all.concat(), ["topic-0"]);
    assert_invariants(&table);
}

#[test]
fn a_step_examines_a_bounded_number_of_rows() {
    let table = filled(counting(), (0..50_000).map(|i| format!("topic-{i}")));
    let mut from = Position::START;
    loop {
        let before = table.hasher.made.get();
        let (_, next) = step(&table, from, usize::MAX, usize::MAX);
        let examined = table.hasher.made.get() - before;
        assert!(examined < 2_048 + SEGMENT_ROWS, "{examined}");
        let Some(next) = next else { break };
        from = next;
    }
}

/// Deleted rows occupy places until a segment is rebuilt or split: they must not make it be split.
#[test]
fn churn_does_not_split_segments_endlessly() {
    let mut table = filled(counting(), (0..20_000).map(|i| format!("topic-{i}")));
    for i in 20_000..200_000 {
        insert(&mut table, &format!("topic-{i}"), i);
        remove(&mut table, &format!("topic-{}", i - 20_000));
    }
    assert_invariants(&table);
    assert!(table.segments.len() <= 64, "{}", table.segments.len());
}

/// A change of consecutive names.
#[derive(Debug, Clone)]
enum Change {
    Insert { first: u16, names: u16 },
    Remove { first: u16, names: u16 },
}

impl Change {
    fn any(names: u16) -> impl Strategy<Value = Self> {
        (any::<u16>(), 0..names, 0..5).prop_map(|(first, names, kind)| {
            if kind < 3 {
                Self::Insert { first, names }
            } else {
                Self::Remove { first, names }
            }
        })
    }

    /// Returns the changed names, out of 20,000.
    fn names(&self) -> impl Iterator<Item = u16> {
        let (Self::Insert { first, names } | Self::Remove { first, names }) = *self;
        (0..names).map(move |i| first.wrapping_add(i) % 20_000)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_table_is_a_map(changes in prop::collection::vec(Change::any(4_000), 0..12)) {
        let mut table = Table::<u64>::new();
        let mut model = HashMap::new();
        for (change, value) in changes.iter().zip(0..) {
            for name in change.names() {
                let name = name.to_string();
                if let Change::Insert { .. } = change {
                    let expected = *model.entry(name.clone()).or_insert(value);
                    prop_assert_eq!(insert(&mut table, &name, value), expected);
                } else {
                    prop_assert_eq!(remove(&mut table, &name), model.remove(&name));
                }
                prop_assert_eq!(table.len(), model.len());
            }
        }
        assert_invariants(&table);
        for name in 0..20_000 {
            let name = name.to_string();
            prop_assert_eq!(value(&mut table, &name), model.get(&name).copied());
        }
    }

    /// Like a scan, and in any number of steps.
    #[test]
    fn visits_pass_each_topic_once(changes in prop::collection::vec(Change::any(4_000), 0..6)) {
        let mut table = Table::<u64>::new();
        let mut model = BTreeMap::new();
        for (change, value) in changes.iter().zip(0..) {
            for name in change.names().map(|name| name.to_string()) {
                if let Change::Insert { .. } = change {
                    insert(&mut table, &name, value);
                    model.entry(name).or_insert(value);
                } else {
                    remove(&mut table, &name);
                    model.remove(&name);
                }
            }
        }
        let mut visited = BTreeMap::new();
        let mut from = Some(Position::START);
        while let Some(position) = from {
            let next = table.visit(position, |topic, value| {
                let name = String::from_utf8(topic.as_bytes().to_vec()).expect("UTF-8");
                assert_eq!(visited.insert(name, value), None);
            });
            prop_assert!(next.is_none_or(|next| next > position));
            from = next;
        }
        prop_assert_eq!(visited, model);
    }

    /// Topics are inserted and removed between the steps.
    #[test]
    fn a_scan_reports_lasting_topics_once_and_others_at_most_once_per_stay(
        before in prop::collection::vec(Change::any(10_000), 0..3),
        between in prop::collection::vec((1usize..2_000, Change::any(1_000)), 1..12),
    ) {
        let mut table = Table::<u64>::new();
        // Each name in the table, with the number of its stay.
        let mut there = BTreeMap::new();
        let mut stays = 0;
        let mut apply = |table: &mut Table<u64>, there: &mut BTreeMap<String, u64>, change: &Change| {
            for name in change.names().map(|name| name.to_string()) {
                if let Change::Insert { .. } = change {
                    stays += 1;
                    insert(table, &name, stays);
                    there.entry(name).or_insert(stays);
                } else {
                    remove(table, &name);
                    there.remove(&name);
                }
            }
        };
        for change in &before {
            apply(&mut table, &mut there, change);
        }
        let mut throughout = there.clone();
        let mut reported = HashSet::new();
        let mut from = Some(Position::START);
        let mut between = between.iter().cycle();
        while let Some(position) = from {
            let (count, change) = between.next().expect("an endless cycle");
            let (names, next) = step(&table, position, *count, usize::MAX);
            for name in names {
                let stay = there.get(&name).copied();
                prop_assert!(stay.is_some(), "{} is not there", name);
                prop_assert!(reported.insert((name, stay)), "reported twice");
            }
            from = next;
            apply(&mut table, &mut there, change);
            throughout.retain(|name, stay| there.get(name) == Some(stay));
        }
        for (name, stay) in throughout {
            prop_assert!(reported.contains(&(name, Some(stay))), "a lasting topic was missed");
        }
        assert_invariants(&table);
    }
}

#[test]
fn single_steps_visit_all_in_order() {
    let table = filled(counting(), (0..6_000).map(|i| format!("topic-{i}")));
    let all = steps(&table, 1, usize::MAX);
    assert!(all.iter().all(|names| names.len() <= 1));
    let positions: Vec<Position> = all
        .concat()
        .iter()
        .map(|name| Position::of(hash(&table.hasher, name.as_bytes())))
        .collect();
    assert_eq!(positions.len(), 6_000);
    assert!(positions.is_sorted());
}
