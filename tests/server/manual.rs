//! Manual pages and completion scripts. What reads them is tried where it is installed.

use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::Command as Run;

use crate::support::Directory;

fn globalcounter(arguments: &[&str]) -> Vec<u8> {
    let run = Run::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args(arguments)
        .assert();
    run.success().stderr("").get_output().stdout.clone()
}

/// Returns whether a program is installed.
fn installed(program: &str) -> bool {
    let command = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if command.is_err() {
        println!("{program} is not installed: not tried");
    }
    command.is_ok()
}

/// Returns what a shell prints when it has read the completion script and runs `commands`.
fn complete(shell: &str, arguments: &[&str], file: &str, commands: &str) -> Option<String> {
    if !installed(shell) {
        return None;
    }
    let directory = Directory::new(&format!("completions-{shell}"));
    std::fs::create_dir(&directory.0).unwrap();
    let script = globalcounter(&["completions", shell]);
    std::fs::write(directory.0.join(file), script).unwrap();
    let run = Run::new(shell)
        .args(arguments)
        .args(["-c", commands])
        .current_dir(&directory.0)
        .env("HOME", &directory.0)
        .env("TERM", "dumb")
        .assert();
    let run = run.success().stderr("");
    Some(String::from_utf8(run.get_output().stdout.clone()).unwrap())
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = Directory::new("manual");
    std::fs::create_dir(&directory.0).unwrap();
    globalcounter(&["man", directory.as_str()]);
    let page = |name: &str| std::fs::read_to_string(directory.0.join(name)).unwrap();
    assert!(page("globalcounter.1").contains("globalcounter\\-serve(1)"));
    assert!(page("globalcounter-count.1").contains(".TH"));
    let serve = page("globalcounter-serve.1");
    for text in [
        "\\-\\-durability",
        "GLOBALCOUNTER_MAX_TOPICS",
        "[default: 127.0.0.1:9999]",
    ] {
        assert!(serve.contains(text), "{text}");
    }
    if installed("mandoc") {
        for page in std::fs::read_dir(&directory.0).unwrap() {
            renders(&page.unwrap().path());
        }
    }
}

/// Checks that mandoc finds no error in a page and shows its sections.
fn renders(page: &Path) {
    let run = Run::new("mandoc").args(["-W", "error"]).arg(page).assert();
    let run = run.success().stderr("");
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    // A bold letter is written twice, with a backspace between.
    let heading: String = "SYNOPSIS".chars().flat_map(|c| [c, '\u{8}', c]).collect();
    assert!(text.contains(&heading), "{text}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let run = Run::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args(["man", "/dev/null/man"])
        .assert();
    let error = String::from_utf8(run.code(1).get_output().stderr.clone()).unwrap();
    let start = "globalcounter: cannot write manual pages to /dev/null/man: ";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn bash_completes() {
    let commands = "source ./script; complete -p globalcounter; \
        COMP_WORDS=(globalcounter co) COMP_CWORD=1; \
        _globalcounter globalcounter co globalcounter; echo \"${COMPREPLY[@]}\"; \
        COMP_WORDS=(globalcounter serve --dur) COMP_CWORD=2; \
        _globalcounter globalcounter --dur serve; echo \"${COMPREPLY[@]}\"";
    if let Some(out) = complete("bash", &["--norc"], "script", commands) {
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].contains("-F _globalcounter"), "{out}");
        assert_eq!(lines[1..], ["count completions", "--durability"]);
    }
}

#[test]
fn fish_completes() {
    let commands =
        "source ./script; complete -C 'globalcounter co'; complete -C 'globalcounter serve --dur'";
    if let Some(out) = complete("fish", &["--no-config"], "script", commands) {
        let words = out.lines().filter_map(|line| line.split('\t').next());
        let words: Vec<&str> = words.collect();
        assert_eq!(words, ["completions", "count", "--durability"]);
    }
}

#[test]
fn zsh_finds_the_completion() {
    let commands = "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; \
        echo $_comps[globalcounter]; autoload +X _globalcounter && whence -w _globalcounter";
    if let Some(out) = complete("zsh", &["-f"], "_globalcounter", commands) {
        assert_eq!(out, "_globalcounter\n_globalcounter: function\n");
    }
}
