//! Permissions of the files that the server and the commands create, and warnings of others' access.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use globalcounter::protocol::Op;
use nix::sys::signal::Signal;

use crate::support::{Directory, Framed, Process};

/// Returns each directory and file below `path`, with its permissions.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let metadata = fs::metadata(path).unwrap();
    let mut all = vec![(path.to_owned(), metadata.permissions().mode() & 0o7777)];
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(modes(&entry.unwrap().path()));
        }
    }
    all
}

/// Checks that only the owner has access to what is below `path`, and returns the names of its files.
fn assert_private(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for (found, mode) in modes(path) {
        let expected = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}: {mode:o}", found.display());
        if found.is_file() {
            let name = found.strip_prefix(path).unwrap();
            names.push(name.to_str().unwrap().to_owned());
        }
    }
    names
}

/// Runs the command with a umask of 0.
fn run(arguments: &[&str]) {
    let program = env!("CARGO_BIN_EXE_globalcounter");
    let status = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\"", program])
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

#[test]
fn only_the_user_of_the_server_can_read_topics() {
    let parent = Directory::new("modes");
    let (data, backup) = (parent.0.join("new/data"), parent.0.join("backup"));
    let imported = parent.0.join("imported");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    // Small, so that segments and checkpoints are written while the server runs.
    let arguments = ["--data-dir", &text(&data), "--checkpoint-log", "4096"];
    let mut server = Process::with_umask_0(&arguments);
    let mut client = Framed::connect(server.tcp);
    let topics: Vec<String> = (0..1_000).map(|n| format!("topic{n}")).collect();
    for _ in 0..5 {
        client.ask_each(Op::Count, &topics);
    }
    run(&["backup", "--data-dir", &text(&data), &text(&backup)]);
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let names = assert_private(&data);
    for part in ["lock", "format", "manifest", "checkpoint/", "log/"] {
        assert!(names.iter().any(|name| name.starts_with(part)), "{names:?}");
    }
    assert!(!assert_private(&backup).is_empty());
    // The directories above it that were missing as well.
    assert_private(&parent.0.join("new"));

    let lines = parent.0.join("lines");
    fs::write(&lines, "{\"topic\":\"a\",\"sum\":1}\n").unwrap();
    let input = fs::File::open(&lines).unwrap();
    let program = env!("CARGO_BIN_EXE_globalcounter");
    let import = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\"", program])
        .args(["import", "--data-dir", &text(&imported)])
        .stdin(input)
        .status();
    assert!(import.unwrap().success());
    assert!(!assert_private(&imported).is_empty());
}

#[test]
fn a_data_directory_that_others_can_read_is_warned_of() {
    let directory = Directory::new("readable");
    fs::create_dir(&directory.0).unwrap();
    for (mode, warns) in [(0o755, true), (0o750, false)] {
        fs::set_permissions(&directory.0, Permissions::from_mode(mode)).unwrap();
        let (mut server, log) = Process::with_log(&["--data-dir", directory.as_str()]);
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        let mut lines = log.iter();
        let warning = lines.find(|line| line.contains("every user of this machine has access"));
        assert_eq!(warning.is_some(), warns, "{warning:?}");
        if let Some(warning) = warning {
            assert!(warning.contains("the data directory"), "{warning}");
            assert!(warning.contains(directory.as_str()), "{warning}");
        }
    }
}
