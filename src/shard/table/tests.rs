use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use proptest::prelude::*;

use super::*;

/// A hasher that takes the position from the digits of the name, so that a test decides where each
/// topic is. The other bits are mixed from the whole name, like those of a good hash.
#[derive(Default)]
struct PositionInName(u64);

impl Hasher for PositionInName {
    fn write(&mut self, bytes: &[u8]) {
        let digits = bytes.iter().filter(|byte| byte.is_ascii_digit());
        let position = digits.fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
        let mixed = RandomState::with_seeds(1, 2, 3, 4).hash_one(bytes);
        self.0 = (mixed & 0xfe00_0000_0000_0fff) | position << 12;
    }

    // The length of the name adds nothing to the name itself.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type PositionsInNames = BuildHasherDefault<PositionInName>;

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

/// Inserts a topic, unless it is there already. Returns its value.
fn insert<S: BuildHasher>(table: &mut Table<u64, S>, name: &str, value: u64) -> u64 {
    let (topic, hash) = (topic(name), table.hash(topic(name)));
    let row = table.find_or_insert(topic, hash, || Ok::<_, Infallible>(value));
    *row.expect("inserting cannot fail")
}

fn remove<S: BuildHasher>(table: &mut Table<u64, S>, name: &str) -> Option<u64> {
    let hash = table.hash(topic(name));
    table.remove(topic(name), hash)
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

/// Asserts that the directory's runs match the depths of the segments, and that each row is in the
/// segment of its position.
fn assert_invariants<V, S: BuildHasher>(table: &Table<V, S>) {
    assert_eq!(table.directory.len(), 1 << table.depth);
    let mut runs = HashMap::new();
    for pair in table.directory.chunk_by(|one, other| one == other) {
        assert_eq!(runs.insert(pair[0] as usize, pair.len()), None, "two runs");
    }
    assert_eq!(runs.len(), table.segments.len());
    let mut len = 0;
    for (number, segment) in table.segments.iter().enumerate() {
        assert_eq!(runs[&number], 1 << (table.depth - segment.depth));
        assert!(segment.rows.len() <= SEGMENT_ROWS || segment.depth == MAX_DEPTH);
        for row in &segment.rows {
            let position = Position::of(row.hash(&table.hasher));
            assert_eq!(table.segment(position), number);
        }
        len += segment.rows.len();
    }
    assert_eq!(table.len(), len);
}

#[test]
fn an_empty_table_allocates_almost_nothing() {
    let mut table = Table::<u64>::new();
    assert_eq!(table.directory.len(), 1);
    assert_eq!(table.segments[0].rows.allocation_size(), 0);
    let hash = table.hash(topic("a"));
    table.prefetch(&[hash]);
    assert_eq!(table.find_mut(topic("a"), hash), None);
    assert_eq!(step(&table, Position::START, 10, 100), (vec![], None));
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
fn a_refused_topic_leaves_a_full_segment_as_it_is() {
    let mut table = filled(counting(), (0..SEGMENT_ROWS).map(|i| format!("{i}")));
    assert!(table.segments[0].is_full());
    let hash = table.hash(topic("x"));
    let refused = table.find_or_insert(topic("x"), hash, || Err("no"));
    assert_eq!(refused, Err("no"));
    assert_eq!(insert(&mut table, "7", 1), 7, "there before");
    assert_eq!((table.len(), table.segments.len()), (SEGMENT_ROWS, 1));
    assert_eq!(insert(&mut table, "x", 1), 1);
    assert_eq!((table.len(), table.segments.len()), (SEGMENT_ROWS + 1, 2));
    assert_invariants(&table);
}

#[test]
fn a_split_that_separates_no_rows_is_repeated() {
    // The first 17 bits of all positions are the same.
    let names = (0..2_000u64).map(|i| (i << 17).to_string());
    let mut table = filled(PositionsInNames::default(), names);
    assert!(table.depth > 17, "{}", table.depth);
    assert_eq!(insert(&mut table, &(1u64 << 44).to_string(), 7), 7);
    assert_invariants(&table);
    let names: Vec<String> = steps(&table, 500, usize::MAX).concat();
    let positions: Vec<u64> = names
        .iter()
        .map(|name| name.parse().expect("a number"))
        .collect();
    let expected: Vec<u64> = (0..2_000).map(|i| i << 17).chain([1 << 44]).collect();
    assert_eq!(positions, expected);
}

#[test]
fn positions_that_no_split_can_separate_share_a_segment() {
    // The digits give all names the same position.
    let name = |i: usize| format!("{}42", "x".repeat(i));
    let names = (0..1_000).map(name);
    let mut table = filled(PositionsInNames::default(), names);
    assert_eq!(table.depth, MAX_DEPTH);
    let all = steps(&table, 1, 1);
    assert_eq!(all.concat().len(), 1_000);
    assert_eq!(
        all[0].len(),
        1_000,
        "topics that share a position are reported in one step"
    );
    for name in all.concat() {
        assert!(remove(&mut table, &name).is_some());
    }
    assert_eq!(table.len(), 0);
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
    let table = filled(PositionsInNames::default(), [last.to_string()]);
    let from = Position::new(last).expect("below 2^45");
    assert_eq!(step(&table, from, 1, 0), (vec![last.to_string()], None));
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

/// Deleted rows occupy buckets until a segment is cleaned up or split: they must not make it grow.
#[test]
fn churn_neither_grows_segments_nor_splits_them_endlessly() {
    let mut table = filled(counting(), (0..20_000).map(|i| format!("topic-{i}")));
    for i in 20_000..200_000 {
        insert(&mut table, &format!("topic-{i}"), i);
        remove(&mut table, &format!("topic-{}", i - 20_000));
    }
    assert_invariants(&table);
    for segment in &table.segments {
        assert!(segment.rows.num_buckets() <= 1_024);
    }
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
            let hash = table.hash(topic(&name));
            prop_assert_eq!(table.find_mut(topic(&name), hash).copied(), model.get(&name).copied());
        }
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
    let table = filled(counting(), (0..3_000).map(|i| format!("topic-{i}")));
    let all = steps(&table, 1, usize::MAX);
    assert!(all.iter().all(|names| names.len() <= 1));
    let positions: Vec<Position> = all
        .concat()
        .iter()
        .map(|name| Position::of(hash(&table.hasher, name.as_bytes())))
        .collect();
    assert_eq!(positions.len(), 3_000);
    assert!(positions.is_sorted());
}
