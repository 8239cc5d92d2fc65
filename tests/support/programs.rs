//! Programs and packages of other languages, which tests try if they are installed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program with these arguments and this input. Returns `None` if it is not installed.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input may have ended by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Some(child.wait_with_output().unwrap())
}

/// Returns whether Python has the package `redis`.
pub(crate) fn has_python_package() -> bool {
    let import = run("python3", &["-c", "import redis"], "");
    let has = import.is_some_and(|output| output.status.success());
    if !has {
        println!("skipped: Python's redis package is not installed");
    }
    has
}

/// Returns whether Node.js has the package `ioredis`.
pub(crate) fn has_ioredis() -> bool {
    let require = run("node", &["-e", "require('ioredis')"], "");
    let has = require.is_some_and(|output| output.status.success());
    if !has {
        println!("skipped: Node.js's ioredis package is not installed");
    }
    has
}
