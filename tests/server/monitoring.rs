//! The dashboard and the alerts name metrics that exist. If Prometheus is installed, it checks the
//! format of the metrics and of the alerts, and its answers fill the dashboard.

use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use globalcounter::protocol::Op;

use crate::support::{
    Directory, Framed, Process, TlsDirectory, assert_answered, command, eventually, get, is_ok,
    metrics,
};

const DASHBOARD: &str = include_str!("../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../docs/monitoring/alerts.yml");
const README: &str = include_str!("../../docs/monitoring/README.md");

/// Returns the names of metrics in a text: its words that begin as all names do.
fn names(text: &str) -> HashSet<&str> {
    text.split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("globalcounter_") || word.starts_with("process_"))
        .collect()
}

/// What the names of metrics of a cluster begin with. `tests/etcd` compares these with a node.
const OF_A_CLUSTER: &str = "globalcounter_cluster_";

/// Returns the queries of the dashboard, without those of a cluster.
fn queries(dashboard: &serde_json::Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .filter(|query| !query.contains(OF_A_CLUSTER))
        .collect()
}

/// Starts a server that has all metrics: those of a data directory, of TLS and of access control.
fn start(data: &Directory, files: &TlsDirectory) -> Process {
    let allow = ["--allow", "127.0.0.0/8=count,read"].map(str::to_owned);
    let arguments = [files.flags(), allow.to_vec()].concat();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--data-dir", data.as_str()]);
    Process::with_admin(&arguments)
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let directory = Directory::new("monitoring");
    let files = TlsDirectory::new("monitoring");
    let server = start(&directory, &files);
    Framed::connect(server.tcp).ask(Op::Count, "a");
    let metrics = metrics(server.admin.unwrap());
    let exist: HashSet<&str> = metrics
        .keys()
        .map(|sample| sample.split('{').next().expect("a name"))
        .collect();
    let dashboard = serde_json::from_str(DASHBOARD).expect("JSON");
    let queries = queries(&dashboard);
    assert!(queries.len() >= 20, "{queries:?}");
    for query in queries {
        let names = names(query);
        assert!(!names.is_empty() && names.is_subset(&exist), "{query}");
    }
    let in_alerts: HashSet<&str> = ALERTS
        .lines()
        .filter(|line| line.trim_start().starts_with("expr:"))
        .flat_map(names)
        .filter(|name| !name.starts_with(OF_A_CLUSTER))
        .collect();
    assert!(in_alerts.len() >= 12, "{in_alerts:?}");
    let unknown: Vec<_> = in_alerts.difference(&exist).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn each_alert_is_explained() {
    let alerts = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
        assert!(README.contains(&format!("| `{alert}` |")), "{alert}");
        count += 1;
    }
    assert_eq!(README.matches("| `Globalcounter").count(), count);
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Prometheus, which watches `admin` in short intervals; `None` if it is not installed.
fn prometheus(admin: SocketAddr, directory: &Directory) -> Option<(Killed, SocketAddr)> {
    std::fs::create_dir_all(&directory.0).unwrap();
    let (config, alerts) = (
        directory.0.join("prometheus.yml"),
        directory.0.join("alerts.yml"),
    );
    let text = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\n\
         scrape_configs:\n  - job_name: globalcounter\n    static_configs: [{{targets: [\"{admin}\"]}}]\n\
         rule_files: [{}]\n",
        alerts.display()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::write(&alerts, ALERTS).unwrap();
    // Prometheus does not tell which port it has chosen.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.0.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let process = Killed(started.ok()?);
    eventually("Prometheus is ready", || is_ok(address, "/-/ready"));
    Some((process, address))
}

/// Returns the number of series in Prometheus's answer to a query.
fn series(prometheus: SocketAddr, query: &str) -> usize {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (status, answer) = get(prometheus, &format!("/api/v1/query?query={encoded}"));
    assert_eq!(status, 200, "{query}: {answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let result = answer["data"]["result"].as_array();
    result.map_or(0, Vec::len)
}

#[test]
fn prometheus_fills_the_dashboard() {
    let directory = Directory::new("prometheus");
    let data = Directory::new("prometheus-data");
    let files = TlsDirectory::new("prometheus");
    let server = start(&data, &files);
    let admin = server.admin.unwrap();
    let Some((_prometheus, prometheus)) = prometheus(admin, &directory) else {
        eprintln!("prometheus is not installed: not tried");
        return;
    };
    let mut framed = Framed::connect(server.tcp);
    let mut redis = TcpStream::connect(server.tcp).unwrap();
    let dashboard = serde_json::from_str(DASHBOARD).expect("JSON");
    for query in queries(&dashboard) {
        let query = query
            .replace("$__rate_interval", "2s")
            .replace("$instance", ".*");
        let mut n = 0;
        eventually(&query, || {
            n += 1;
            framed.ask(Op::Count, &format!("{n}"));
            assert_answered(&mut redis, &command(&["PING"]), "+PONG\r\n");
            series(prometheus, &query) > 0
        });
    }
    let (_, rules) = get(prometheus, "/api/v1/rules");
    assert!(rules.contains("GlobalcounterStoreFailed"), "{rules}");
    assert!(!rules.contains("\"health\":\"err\""), "{rules}");

    let (_, text) = get(admin, "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it comes with Prometheus");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(promtool.wait().unwrap().success());
}
