//! What is on the screen, drawn into a terminal that is only a buffer.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::super::model::{Change, HotTopic, Model};
use super::{Theme, draw};
use crate::admin::Sample;

const COLORS: Theme = Theme { colors: true };

/// Returns a second of a server that keeps its topics in memory.
fn second(time: u32) -> Sample {
    serde_json::from_value(serde_json::json!({
        "time": f64::from(time), "uptime_seconds": time, "state": "ready",
        "requests": {"all": f64::from(time) * 1000.0, "framed": 3_000.0, "classic": 0.0, "resp": 12.0,
            "errors": 0.0, "batch": 1.25},
        "latency": {"p50": 12.3e-6, "p99": 81.2e-6, "p999": 1.2e-3},
        "workers": [
            {"requests": 2_000.0, "cpu": 0.25, "connections": 7, "waiting_batches": 0,
                "longest_turn": 0.002},
            {"requests": 1_012.0, "cpu": 0.05, "connections": 5, "waiting_batches": 3,
                "longest_turn": null},
        ],
        "connections": {"used": 12, "limit": 10_000}, "resp_connections": 2,
        "connections_accepted": 0.0, "connections_refused": 0.0,
        "topics": {"used": 850, "limit": 1_000}, "files": {"used": 40, "limit": 1_024},
        "topics_bytes": 65_536, "resident_bytes": 12_582_912, "cpu": 0.31,
        "received_bytes": 122_880.0, "sent_bytes": 61_440.0, "datagrams_dropped": 0.0, "stalls": 0.0,
        "durability": "memory", "skipped_numbers": 0, "commits": null,
    }))
    .unwrap()
}

fn durable() -> Sample {
    let mut second = second(3);
    second.durability = "monotonic".to_owned();
    second.skipped_numbers = 1_234;
    let commits = serde_json::json!({
        "commits": 20.0, "changes": 300.0, "seconds": 0.0012, "last_commit_seconds": 1,
        "last_checkpoint_seconds": 200, "checkpoints": 3, "checkpoints_failed": 0,
        "log": {"used": 12_582_912, "limit": 33_554_432}, "checkpoint_bytes": 31_457_280,
    });
    second.commits = serde_json::from_value(commits).unwrap();
    second
}

/// Returns a second of a node of a cluster.
fn node() -> Sample {
    let mut node = durable();
    let cluster = serde_json::json!({
        "node": "a", "in_session": true, "lease_seconds_left": 3.25, "map": 7, "nodes": 3,
        "ranges": {"serving": 340, "loading": 2, "leaving": 0, "others": 682, "without_owner": 0},
        "forwards": {"sent": 1_200.0, "received": 90.0, "not_applied": 0.0, "unavailable": 0.5,
            "unknown": 0.5, "waiting": 3, "in_flight": 40, "held_by_shards": 4, "connections": 4,
            "connections_failed": 0.0},
        "moves": {"loaded": 350, "longest_load_seconds": 0.2, "loads_failed": 0, "handed_over": 5,
            "lost": 3, "commits_failed": 1},
    });
    node.cluster = serde_json::from_value(cluster).unwrap();
    node
}

/// Returns a model of a server that was reached.
fn model(seconds: impl IntoIterator<Item = Sample>) -> Model {
    let mut model = Model::new("127.0.0.1:9998");
    let seconds = seconds.into_iter().collect();
    model.apply(Change::Reached("1.2.3".to_owned(), seconds));
    model.apply(Change::Hot(vec![
        hot("orders", 1_500.0, 0.5),
        hot("visits", 90.0, 0.03),
    ]));
    model
}

fn hot(topic: &str, requests_per_second: f64, share: f64) -> HotTopic {
    HotTopic {
        topic: topic.to_owned(),
        requests_per_second,
        share,
    }
}

fn buffer(model: &Model, theme: Theme, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, theme)).unwrap();
    terminal.backend().buffer().clone()
}

/// Returns the lines on the screen, without spaces at their ends.
fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let buffer = buffer(model, COLORS, width, height);
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| {
        let line: String = row.iter().map(Cell::symbol).collect();
        line.trim_end().to_owned()
    })
    .collect()
}

#[test]
fn everything_is_on_a_screen_of_80_columns_and_24_rows() {
    let expected = r"
globalcounter 1.2.3  127.0.0.1:9998  up 3 s                       ready  q quits
requests    3.00 k/s  framed 3.00 k  Redis 12  1.2 per read
latency     p99 81.2 µs  p50 12.3 µs  p99.9 1.20 ms  from read to reply
process     0.31 cores  12.0 MiB resident  receives 120 KiB/s  sends 60.0 KiB/s
durability  none  topics are only in memory
Requests/s, 3 s, max 3.00 k ───────────  p99 (log), 3 s, max 81.2 µs ───────────
                                      █                                      ███
                                     ██                                      ███
                                    ███                                      ███
Shards ────────────────────────────────  Hot topics, estimated ─────────────────
shard  req/s   CPU  conns wait  turn ≤   topic                      req/s  share
0     2.00 k  25 %      7    0 2.00 ms   orders                    1.50 k   50 %
1     1.01 k 5.0 %      5    3       –   visits                        90  3.0 %





Limits ────────────────────────────────  Trouble ───────────────────────────────
what               used    limit         what                   per s     in 3 s
connections          12   10,000  0.1 %  requests refused           0          0
topics              850    1,000   85 %  connections refused        0          0
open files           40    1,024  3.9 %  datagrams dropped          0          0
                                         reads put off              0          0
";
    let shown = screen(&model((1..=3).map(second)), 80, 24);
    assert_eq!(shown.join("\n"), expected.trim_matches('\n'));
}

#[test]
fn a_large_screen_has_more_rows_of_everything() {
    let mut now = second(3);
    let worker = now.workers[0].clone();
    now.workers = vec![worker; 28];
    let mut model = model([now]);
    let topics = (0..50).map(|i| hot(&format!("topic {i}"), 10.0, 0.01));
    model.apply(Change::Hot(topics.collect()));
    let shown = screen(&model, 200, 60);
    assert_eq!(shown.len(), 60);
    for text in ["27 ", "topic 25", "reads put off", "p99.9 1.20 ms"] {
        assert!(shown.iter().any(|line| line.contains(text)), "{text}");
    }
    assert!(shown.iter().all(|line| !line.contains("busiest")));
}

#[test]
fn shards_without_room_are_those_with_fewest_requests() {
    let mut now = second(3);
    now.workers = vec![now.workers[1].clone(); 64];
    now.workers[61].requests = 5_000.0;
    let shown = screen(&model([now]), 80, 24);
    let title = shown.iter().position(|line| line.starts_with("Shards"));
    let title = title.unwrap();
    assert!(shown[title].starts_with("Shards: the busiest 7 of 64"));
    assert!(shown[title + 2].starts_with("61    5.00 k"));
}

#[test]
fn a_durable_server_tells_of_commits_and_checkpoints() {
    let mut failing = durable();
    let shown = screen(&model([failing.clone()]), 80, 24);
    assert_eq!(
        shown[4..6],
        [
            "durability  monotonic  last commit 1 s ago  20 commits/s, 1.20 ms each",
            "            log 12.0 MiB  checkpoint 30.0 MiB 3 min 20 s ago  skipped ≤ 1,234",
        ]
    );
    failing.commits.as_mut().unwrap().checkpoints_failed = 2;
    let shown = screen(&model([failing]), 80, 24);
    assert!(shown[5].contains(", 2 failed"), "{}", shown[5]);
}

#[test]
fn a_node_tells_of_its_cluster() {
    let mut now = node();
    let shown = screen(&model([now.clone()]), 80, 24);
    assert_eq!(
        shown[4..7],
        [
            "durability  monotonic  last commit 1 s ago  20 commits/s, 1.20 ms each",
            "cluster     lease 3.2 s  serves 340 of 1024 ranges  2 loading  3 nodes",
            "            forwards 1.20 k/s, 7 waiting, 1 failed/s  takes 90/s  lost 3 ranges",
        ]
    );
    let cluster = now.cluster.as_mut().unwrap();
    cluster.lease_seconds_left = 0.0;
    cluster.ranges.without_owner = 12;
    let shown = screen(&model([now.clone()]), 80, 24);
    let over = "cluster     lease over  serves 340 of 1036 ranges  2 loading  12 without owner";
    assert!(shown[5].starts_with(over), "{}", shown[5]);
    now.cluster.as_mut().unwrap().in_session = false;
    let shown = screen(&model([now]), 80, 24);
    assert!(
        shown[5].starts_with("cluster     no session"),
        "{}",
        shown[5]
    );
}

#[test]
fn a_server_that_was_not_reached_or_has_no_figures_is_told_of() {
    let mut model = Model::new("127.0.0.1:9998");
    assert_eq!(screen(&model, 80, 24)[1].trim(), "connecting …");
    let at_once = model.apply(Change::Reached("1.2.3".to_owned(), Vec::new()));
    assert!(at_once);
    let shown = screen(&model, 80, 24);
    assert!(shown[0].starts_with("globalcounter 1.2.3  127.0.0.1:9998"));
    assert!(shown[1].contains("loading its topics"));
    assert!(model.apply(Change::Second(Box::new(second(1)))));
    assert!(screen(&model, 80, 24)[0].contains(" ready "));
}

#[test]
fn figures_stay_when_the_server_goes_away_and_are_new_when_it_is_back() {
    let mut model = model([second(3)]);
    let live = screen(&model, 80, 24);
    assert!(model.apply(Change::Gone("Connection refused".to_owned())));
    let gone = screen(&model, 80, 24);
    assert_eq!(
        gone[0],
        " no answer from 127.0.0.1:9998, trying again (q quits): Connection refused"
    );
    assert_eq!(gone[1..], live[1..]);
    let modifiers = buffer(&model, COLORS, 80, 24)[(0, 1)].modifier;
    assert!(modifiers.contains(Modifier::DIM));
    // Another failure is no news.
    assert!(!model.apply(Change::Gone("Connection refused".to_owned())));
    model.apply(Change::Reached("1.2.4".to_owned(), vec![second(1)]));
    assert!(screen(&model, 80, 24)[0].starts_with("globalcounter 1.2.4  127.0.0.1:9998  up 1 s"));
}

#[test]
fn no_control_character_is_drawn() {
    let hostile = "\u{1b}]0;title\u{7}\r\n\u{9b}31m";
    let mut now = durable();
    hostile.clone_into(&mut now.state);
    hostile.clone_into(&mut now.durability);
    let mut model = model([now]);
    model.apply(Change::Hot(vec![hot(hostile, 1.0, 0.5), hot("", 1.0, 0.5)]));
    let mut screens = vec![screen(&model, 80, 24)];
    model.apply(Change::Gone(hostile.to_owned()));
    screens.push(screen(&model, 80, 24));
    for shown in &screens {
        let text = shown.concat();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.contains(r"\u{1b}]0;title\u{7}"));
        assert!(text.contains("(empty)"));
    }
}

#[test]
fn a_long_topic_is_cut() {
    let mut model = model([second(3)]);
    model.apply(Change::Hot(vec![hot(&"長".repeat(100), 1.0, 0.5)]));
    let shown = screen(&model, 80, 24);
    // Each of these takes two columns.
    let cut = format!("{}…", "長 ".repeat(11));
    assert!(shown.iter().any(|line| line.contains(&cut)), "{shown:#?}");
}

#[test]
fn limits_that_are_near_and_trouble_stand_out() {
    let mut now = second(3);
    now.files.used = 1_000;
    now.requests.errors = 7.0;
    let buffer = buffer(&model([now]), COLORS, 80, 24);
    let color = |text: &str| {
        let rows = buffer.content.chunks(80);
        let mut cells = rows.flat_map(|row| {
            let line: String = row.iter().map(Cell::symbol).collect();
            // All text before it is ASCII or one column wide.
            let found = line.find(text).map(|at| line[..at].chars().count());
            found.map(|column| row[column].fg)
        });
        cells.next().unwrap()
    };
    assert_eq!(color("open files"), Color::Red);
    assert_eq!(color("topics   "), Color::Yellow);
    assert_eq!(color("requests refused"), Color::Yellow);
    assert_eq!(color("connections refused"), Color::Reset);
}

#[test]
fn no_colors_are_used_if_none_are_wanted() {
    let mut now = second(3);
    now.files.used = 1_024;
    now.requests.errors = 7.0;
    let mut model = model([now]);
    let theme = Theme { colors: false };
    for _ in 0..2 {
        let plain = buffer(&model, theme, 80, 24);
        let mut cells = plain.content.iter();
        assert!(cells.all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        model.apply(Change::Gone("refused".to_owned()));
    }
}

#[test]
fn any_size_can_be_drawn() {
    let model = model((1..=600).map(second));
    for (width, height) in [(20, 5), (40, 12), (60, 30), (71, 19), (80, 10), (500, 3)] {
        let shown = screen(&model, width, height);
        assert!(shown[0].starts_with('g'), "{width} × {height}: {shown:?}");
    }
    assert_eq!(screen(&model, 1, 1).len(), 1);
    let narrow = screen(&model, 60, 30);
    for text in ["Requests/s", "Shards", "Hot topics", "Trouble"] {
        assert!(narrow.iter().any(|line| line.contains(text)), "{text}");
    }
}

/// As many seconds are kept as the server keeps.
#[test]
fn the_oldest_seconds_are_forgotten() {
    let mut model = model((1..=600).map(second));
    model.apply(Change::Second(Box::new(second(601))));
    assert_eq!(model.seconds.len(), 600);
    assert_eq!(model.seconds.front().unwrap().uptime_seconds, 2);
}
