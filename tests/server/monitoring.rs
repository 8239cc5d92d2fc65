//! The dashboard and the alerts name metrics that exist.

use std::collections::HashSet;

use crate::admin::metrics;
use crate::support::{Directory, Framed, Process};
use globalcounter::protocol::Op;

const DASHBOARD: &str = include_str!("../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../docs/monitoring/alerts.yml");
const README: &str = include_str!("../../docs/monitoring/README.md");

/// Returns the names of metrics in a text: its words that begin as all names do.
fn names(text: &str) -> HashSet<&str> {
    text.split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("globalcounter_") || word.starts_with("process_"))
        .collect()
}

/// Returns the queries of the dashboard.
fn queries(dashboard: &serde_json::Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let directory = Directory::new("monitoring");
    let server = Process::with_admin(&["--data-dir", directory.as_str()]);
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
