//! The settings of `serve` that make it a node of a cluster, as `--check` reads them. Nothing here connects
//! to etcd.

use crate::command::one_line;
use crate::configuration::check;
use crate::support::Directory;

const CLUSTER: &str = "etcd://127.0.0.1:1,127.0.0.1:2/test";

/// Returns the lines of the settings, without their sources.
fn printed(environment: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let (code, out, errors) = check(environment, arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let lines = out.lines().map(|line| line.split("  # ").next().unwrap());
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// Returns the one mistake.
fn mistake(environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let (code, out, errors) = check(environment, arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{errors}");
    one_line(errors.as_bytes()).trim_end().to_owned()
}

#[track_caller]
fn assert_has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
}

#[test]
fn address_and_name_follow_from_the_listener() {
    let lines = printed(&[], &["--cluster", CLUSTER]);
    for line in [
        "cluster = \"etcd://127.0.0.1:1,127.0.0.1:2/test\"",
        "advertise = \"127.0.0.1:9999\"",
        "node = \"127.0.0.1:9999\"",
        "lease = 4",
        "forward_timeout = 5",
    ] {
        assert_has(&lines, line);
    }
    // A cluster has no data directory.
    assert_has(&lines, "#data_dir =");
    let lines = printed(&[], &["--cluster", CLUSTER, "--tcp", "127.0.0.1:0"]);
    assert_has(&lines, "#advertise =");

    let advertised = [
        "--cluster",
        CLUSTER,
        "--insecure",
        "--tcp",
        "0.0.0.0:9999",
        "--advertise",
        "a.example:9999",
    ];
    let lines = printed(&[], &advertised);
    assert_has(&lines, "advertise = \"a.example:9999\"");
    assert_has(&lines, "node = \"a.example:9999\"");
    let named = [&advertised[..], &["--node", "a"]].concat();
    assert_has(&printed(&[], &named), "node = \"a\"");
}

#[test]
fn a_wildcard_address_is_no_address_for_others() {
    for address in ["0.0.0.0:9999", "[::]:9999"] {
        let line = mistake(&[], &["--cluster", CLUSTER, "--insecure", "--tcp", address]);
        assert!(
            line.contains(address) && line.contains("--advertise HOST:PORT"),
            "{line}"
        );
    }
    for address in ["0.0.0.0:9999", "[::]:1", "a.example", "a.example:0", ":1"] {
        let line = mistake(&[("GLOBALCOUNTER_ADVERTISE", address)], &[]);
        assert!(line.contains("a port that others can connect to"), "{line}");
    }
}

#[test]
fn other_nodes_need_a_listener() {
    let line = mistake(&[], &["--cluster", CLUSTER, "--tcp", "off"]);
    assert!(line.contains("turn --tcp on"), "{line}");
    let line = mistake(
        &[],
        &["--cluster", CLUSTER, "--node-tls", "--node-ca", "/ca"],
    );
    assert!(line.contains("turn --tls on"), "{line}");
    let tls = [
        "--cluster",
        CLUSTER,
        "--node-tls",
        "--tls",
        "127.0.0.1:9443",
        "--tls-cert",
        "/cert",
        "--tls-key",
        "/key",
    ];
    let line = mistake(&[], &tls);
    assert!(line.contains("--node-ca"), "{line}");
    let lines = printed(&[], &[&tls[..], &["--node-ca", "/ca"]].concat());
    assert_has(&lines, "advertise = \"127.0.0.1:9443\"");
    // Without --node-tls, its authorities are not used.
    let lines = printed(&[], &["--cluster", CLUSTER, "--node-ca", "/ca"]);
    assert_has(&lines, "#node_ca = \"/ca\"");
}

#[test]
fn a_cluster_keeps_topics_in_etcd_alone() {
    for contradicted in [&["--data-dir", "/data"][..], &["--in-memory"]] {
        let arguments = [&["--cluster", CLUSTER], contradicted].concat();
        let line = mistake(&[], &arguments);
        let expected = format!(
            "globalcounter: --cluster keeps topics in etcd, so it cannot be combined with {}",
            contradicted[0]
        );
        assert_eq!(line, expected);
    }
    // A node never serves alone because of a setting with precedence.
    let line = mistake(
        &[("GLOBALCOUNTER_CLUSTER", CLUSTER)],
        &["--data-dir", "/data"],
    );
    assert!(
        line.contains("cannot be combined with --data-dir"),
        "{line}"
    );
    // One of an earlier layer is not used: the image for containers names a directory.
    let lines = printed(
        &[
            ("GLOBALCOUNTER_DATA_DIR", "/data"),
            ("GLOBALCOUNTER_IN_MEMORY", "1"),
        ],
        &["--cluster", CLUSTER, "--durability", "exact"],
    );
    for line in [
        "#data_dir = \"/data\"",
        "#in_memory = true",
        "durability = \"exact\"",
    ] {
        assert_has(&lines, line);
    }
}

#[test]
fn what_belongs_together_is_asked_for() {
    let directory = Directory::new("node-settings");
    std::fs::create_dir_all(&directory.0).unwrap();
    let secret = directory.0.join("secret");
    std::fs::write(&secret, "sesame\n").unwrap();
    let secret = secret.to_str().unwrap();
    for (arguments, expected) in [
        (&["--etcd-user", "root"][..], "--etcd-password-file"),
        (&["--etcd-password-file", secret], "--etcd-user"),
        (&["--etcd-cert", secret, "--etcd-key", secret], "--etcd-ca"),
        (&["--etcd-tls-name", "etcd"], "--etcd-ca"),
        (&["--etcd-ca", secret, "--etcd-cert", secret], "--etcd-key"),
        (&["--etcd-ca", "/nonexistent"], "cannot read /nonexistent"),
        (
            &["--node-token-file", "/nonexistent"],
            "cannot read /nonexistent",
        ),
    ] {
        let line = mistake(&[], &[&["--cluster", CLUSTER], arguments].concat());
        assert!(line.contains(expected), "{line}");
    }
    let complete = [
        "--cluster",
        CLUSTER,
        "--etcd-user",
        "root",
        "--etcd-password-file",
        secret,
        "--node-token-file",
        secret,
    ];
    let (_, out, _) = check(&[], &complete);
    assert!(!out.contains("sesame"), "{out}");
    assert!(out.contains("etcd_user = \"root\""), "{out}");
}

#[test]
fn values_are_checked() {
    for (variable, value, expected) in [
        ("GLOBALCOUNTER_CLUSTER", "http://a:1", "expected etcd://"),
        ("GLOBALCOUNTER_CLUSTER", "etcd://a", "or off"),
        ("GLOBALCOUNTER_LEASE", "1", "from 2 to 60"),
        ("GLOBALCOUNTER_LEASE", "61", "from 2 to 60"),
        ("GLOBALCOUNTER_FORWARD_TIMEOUT", "0", "from 1 to 3600"),
        ("GLOBALCOUNTER_NODE", "a\nb", "without control characters"),
    ] {
        let line = mistake(&[(variable, value)], &[]);
        assert!(
            line.contains(&format!("{variable}: ")) && line.contains(expected),
            "{line}"
        );
    }
}
