//! What the admin ports of nodes show, and the dashboard and the alerts of a cluster.

use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use globalcounter::protocol::Op;
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::support::{Directory, Framed, Page, Process, eventually, get, is_ok, metrics};

const DASHBOARD: &str = include_str!("../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../docs/monitoring/alerts.yml");

/// What the names of metrics of a cluster begin with.
const OF_A_CLUSTER: &str = "globalcounter_cluster_";

/// A process that is a node of a cluster.
struct Node {
    process: Process,
    admin: SocketAddr,
}

impl Node {
    fn start(etcd: &Etcd, name: &str) -> Self {
        let url = format!("etcd://{}/test", etcd.address());
        let mut arguments = vec!["--shards", "2", "--cluster", &url, "--node", name];
        // The shortest one: the tests wait until it is over.
        arguments.extend(["--lease", "2"]);
        let process = Process::with_admin(&arguments);
        let admin = process.admin.unwrap();
        Self { process, admin }
    }

    fn json(&self, path: &str) -> Value {
        let (status, text) = get(self.admin, path);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn ranges(&self, state: &str) -> f64 {
        let name = format!("globalcounter_cluster_ranges{{state=\"{state}\"}}");
        metrics(self.admin)[&name]
    }
}

/// Waits until all ranges are served by these nodes, and each of them knows it.
fn wait_until_shared(nodes: &[&Node]) {
    eventually("all ranges are served", || {
        let ranges = nodes.iter().map(|node| {
            let serving = node.ranges("serving");
            (serving, serving + node.ranges("others"))
        });
        let ranges: Vec<(f64, f64)> = ranges.collect();
        let served: f64 = ranges.iter().map(|(serving, _)| serving).sum();
        served == 1_024.0
            && ranges
                .iter()
                .all(|&(serving, known)| serving > 0.0 && known == 1_024.0)
    });
}

/// Returns the names of metrics of a cluster in a text.
fn names(text: &str) -> HashSet<&str> {
    text.split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with(OF_A_CLUSTER))
        .collect()
}

/// Checks that the dashboard and the alerts name metrics that exist.
fn check_names(admin: SocketAddr) {
    let samples = metrics(admin);
    let exist: HashSet<&str> = samples
        .keys()
        .map(|sample| sample.split('{').next().expect("a name"))
        .collect();
    for (what, text, least) in [("dashboard", DASHBOARD, 10), ("alerts", ALERTS, 5)] {
        let named = names(text);
        let unknown: Vec<_> = named.difference(&exist).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
        assert!(named.len() >= least, "{what}: {named:?}");
    }
}

/// Lets Prometheus's tool check the format of the metrics, if it is installed.
fn check_format(admin: SocketAddr) {
    let (_, text) = get(admin, "/metrics");
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        println!("promtool is not installed: the format is not checked");
        return;
    };
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(promtool.wait().unwrap().success());
}

/// Checks the panel of the cluster.
fn check_page(page: &mut Page) {
    page.wait_for("document.getElementById('cluster')?.hidden === false");
    page.wait_for("document.getElementById('nodes').rows.length === 2");
    let nodes = page.text("nodes");
    assert!(nodes.starts_with("a (this node)"), "{nodes}");
    let figures = page.text("cluster-figures");
    assert!(figures.contains("ranges without owner0"), "{figures}");
    // All ranges are drawn, in the colours of both nodes.
    let colors = page.value(
        "(() => { const canvas = document.getElementById('owners'); \
         const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); \
         const seen = new Set(); \
         for (let i = 0; i < data.length; i += 4) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`); \
         return seen.size; })()",
    );
    assert_eq!(colors, json!(2));
    for (width, scheme) in [(390, "dark"), (1_400, "light")] {
        page.show("cluster", width, scheme);
    }
}

fn stats(admin: SocketAddr) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args(["stats", "--admin", &admin.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn admin_ports_tell_of_the_cluster_until_nodes_and_etcd_are_gone() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let [a, mut b] = ["a", "b"].map(|name| Node::start(&etcd, name));
    wait_until_shared(&[&a, &b]);
    assert!(is_ok(a.admin, "/readyz") && is_ok(b.admin, "/readyz"));
    let mut framed = Framed::connect(a.process.tcp);
    for number in 0..64 {
        framed.ask(Op::Count, &format!("orders/{number}"));
    }

    let found = metrics(a.admin);
    let sent = found["globalcounter_cluster_forwards_sent_total"];
    assert!((1.0..64.0).contains(&sent), "{sent}");
    assert_eq!(
        found["globalcounter_cluster_forwards_total{result=\"answered\"}"],
        sent
    );
    let received = metrics(b.admin)["globalcounter_cluster_forwards_received_total"];
    assert_eq!(received, sent);
    let lease = found["globalcounter_cluster_lease_seconds"];
    assert!(lease > 0.0 && lease <= 2.0, "{lease}");
    assert_eq!(found["globalcounter_ready"], 1.0);
    let address = a.process.tcp;
    let info = format!("globalcounter_cluster_node_info{{node=\"a\",address=\"{address}\"}}");
    assert_eq!(found[&info], 1.0);
    assert!(found["globalcounter_commit_seconds_count"] > 0.0);
    check_names(a.admin);
    check_format(a.admin);

    let cluster = a.json("/api/stats")["cluster"].clone();
    assert_eq!(cluster["node"], "a");
    assert_eq!(cluster["forwards"]["sent"], sent as u64);
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 2);
    let map = a.json("/api/cluster");
    let owners = map["owners"].as_array().unwrap();
    let owned = |node: u64| owners.iter().filter(|owner| **owner == node).count() as f64;
    assert_eq!(
        (owned(0), owned(1)),
        (a.ranges("serving"), b.ranges("serving"))
    );
    assert_eq!(map["nodes"][1]["name"], "b");
    // The first second has to pass.
    eventually("stats tell of the cluster", || {
        let text = stats(a.admin);
        text.contains("node a: lease ") && text.contains(" served, 0 loading, 0 leaving, ")
    });

    let profile = Directory::new("cluster-page");
    let mut page = Page::open(&format!("http://{}/", a.admin), &profile);
    match &mut page {
        Some(page) => check_page(page),
        None => println!("chromium is not installed: the page is not tried"),
    }

    // One dies.
    let owned = b.ranges("serving");
    b.process.child.kill().unwrap();
    b.process.child.wait().unwrap();
    wait_until_shared(&[&a]);
    let found = metrics(a.admin);
    assert_eq!(found["globalcounter_cluster_nodes"], 1.0);
    assert!(found["globalcounter_cluster_ranges_loaded_total"] >= owned);
    assert!(found["globalcounter_cluster_load_seconds_total"] > 0.0);

    if let Some(page) = &mut page {
        page.wait_for("document.getElementById('nodes').rows.length === 1");
        assert_eq!(page.complaints, Vec::<Value>::new());
    }

    // etcd dies.
    etcd.kill();
    eventually("the lease of a is over", || !is_ok(a.admin, "/readyz"));
    let (status, reason) = get(a.admin, "/readyz");
    assert_eq!(
        (status, &*reason),
        (503, "its lease is over: etcd has not renewed it in time\n")
    );
    let found = metrics(a.admin);
    assert_eq!(found["globalcounter_cluster_lease_seconds"], 0.0);
    assert_eq!(
        (
            found["globalcounter_ready"],
            found["globalcounter_store_failed"]
        ),
        (0.0, 0.0)
    );
}
