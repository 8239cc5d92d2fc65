//! The README's examples work, and its table of flags is complete.

use std::process::Command;

use crate::support::Embedded;

const README: &str = include_str!("../../README.md");

/// Returns the README's first code block in a language.
fn block(language: &str) -> &str {
    let (_, rest) = README.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_python_example_counts() {
    let python = ["python3", "python"]
        .into_iter()
        .find(|python| Command::new(python).arg("--version").output().is_ok());
    let Some(python) = python else {
        println!("skipped: Python is not installed");
        return;
    };
    let server = Embedded::start(2);
    let program = block("python").replace("9999", &server.udp.port().to_string());
    for expected in ["1\n", "2\n"] {
        let output = Command::new(python)
            .args(["-c", &program])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

/// Every flag of `serve --help` is in the README.
#[test]
fn the_readme_names_every_flag() {
    let output = Command::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let flags = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.trim_end_matches([',', '.', ';']));
    for flag in flags.filter(|flag| *flag != "--help") {
        assert!(README.contains(&format!("`{flag}")), "{flag}");
    }
}
