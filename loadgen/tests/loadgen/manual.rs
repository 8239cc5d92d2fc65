//! Manual pages and completion scripts.

use crate::support::loadgen;

#[test]
fn each_command_has_a_manual_page() {
    let directory = std::env::temp_dir().join(format!("loadgen-manual-{}", std::process::id()));
    loadgen(&format!("man {}", directory.display())).measured();
    let page = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let main = page("loadgen.1");
    for text in [
        "loadgen\\-tune(1)",
        "\\-\\-reconnect",
        "\\-\\-verify",
        "\\-\\-redis\\-cluster",
        "failover",
        "Several servers must have one order together",
    ] {
        assert!(main.contains(text), "{text}");
    }
    assert!(page("loadgen-compare.1").contains("\\-\\-rounds"));
    std::fs::remove_dir_all(&directory).unwrap();
    loadgen("man /dev/null/man").refused(1, "cannot write manual pages to /dev/null/man");
}

#[test]
fn shells_can_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = loadgen(&format!("completions {shell}"));
        assert!(ended.measured().contains("reconnect"), "{ended:?}");
    }
    loadgen("completions csh").refused(2, "possible values");
}
