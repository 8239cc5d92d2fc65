//! The command line: what it prints, its exit codes, its error messages.

use assert_cmd::Command;

use crate::support::Process;

/// Returns the command without settings in its environment, but without an admin port.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    for (name, _) in std::env::vars() {
        if name.starts_with("GLOBALCOUNTER_") {
            command.env_remove(name);
        }
    }
    command.env("GLOBALCOUNTER_ADMIN", "off");
    command
}

/// Checks that `stderr` is exactly one line, without the backtrace of a panic or further lines of
/// an error chain, and returns it.
pub(crate) fn one_line(stderr: &[u8]) -> String {
    let text = String::from_utf8(stderr.to_vec()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("globalcounter: "), "{text}");
    text
}

#[test]
fn the_client_commands_print_only_their_numbers() {
    let server = Process::start(2);
    let tcp = format!("tcp://{}", server.tcp);
    let udp = format!("udp://{}", server.udp);
    let prints = |arguments: &[&str], expected: &str| {
        for url in [&tcp, &udp] {
            let url = if arguments.contains(&"udp") {
                &udp
            } else {
                url
            };
            let arguments: Vec<_> = arguments.iter().filter(|a| **a != "udp").collect();
            command()
                .args(arguments)
                .args(["--server", url])
                .assert()
                .success()
                .stdout(expected.to_owned())
                .stderr("");
            if !expected.is_empty() {
                break;
            }
        }
    };
    prints(&["count", "visits"], "1\n");
    prints(&["count", "visits"], "2\n");
    prints(&["udp", "count", "visits"], "3\n");
    prints(&["get", "visits"], "3\n");
    prints(&["add", "10", "visits"], "13\n");
    prints(&["count", "visits", "two words", "🎉", ""], "14\n1\n1\n1\n");
    prints(&["advance", "100", "visits"], "100\n");
    prints(&["advance", "50", "visits"], "100\n");
    prints(&["reset", "visits"], "");
    prints(&["get", "visits"], "0\n");
    prints(&["delete", "visits"], "1\n");
    prints(&["delete", "visits"], "0\n");

    let ping = command()
        .args(["ping", "--server", &tcp])
        .assert()
        .success();
    let printed = String::from_utf8(ping.get_output().stdout.clone()).unwrap();
    assert!(printed.trim().parse::<f64>().unwrap() > 0.0, "{printed}");
    command()
        .env("GLOBALCOUNTER_SERVER", &udp)
        .args(["count", "env"])
        .assert()
        .stdout("1\n");
}

#[test]
fn a_missing_server_is_reported_in_one_line() {
    for url in ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"] {
        let output = command()
            .args(["count", "a", "--server", url, "--attempts", "1"])
            .assert()
            .code(1)
            .stdout("");
        let line = one_line(&output.get_output().stderr);
        assert!(line.contains(url) && line.contains("refused"), "{line}");
    }
}

#[test]
fn a_refusal_of_the_server_is_reported_in_one_line() {
    let server = Process::with(&["--max-topic-len", "4"]);
    let output = command()
        .args([
            "count",
            "four",
            "fives",
            "never",
            "--server",
            &format!("tcp://{}", server.tcp),
        ])
        .assert()
        .code(1)
        .stdout("1\n");
    let line = one_line(&output.get_output().stderr);
    assert!(
        line.contains("fives") && line.contains("TOPIC_TOO_LONG"),
        "{line}"
    );
}

#[test]
fn bad_usage_exits_with_2_and_points_to_help() {
    for arguments in [
        &["count"][..],
        &["count", "a", "--shards", "2"],
        &["add", "0", "a"],
        &["add", "many", "a"],
        &["advance", "-1", "a"],
        &["frobnicate"],
        &["serve", "--shards", "0"],
        &["serve", "--shards", "257"],
        &["serve", "--tcp", "localhost"],
        &["serve", "--max-topics", "x"],
        &["count", "a", "--attempts", "0"],
        &[],
    ] {
        let output = command().args(arguments).assert().code(2).stdout("");
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        if arguments.is_empty() {
            assert!(text.contains("Usage"), "help is printed: {text}");
        } else {
            let line = one_line(&output.get_output().stderr);
            assert!(line.contains("--help"), "{arguments:?}: {line}");
        }
    }
    command()
        .args(["count", "a", "--server", "127.0.0.1:9999"])
        .assert()
        .code(2);
}

#[test]
fn settings_can_come_from_the_environment() {
    let serve = |name: &str, value: &str| {
        let output = command()
            .env(name, value)
            .args(["serve", "--tcp", "off", "--udp", "off"])
            .assert();
        let code = output.get_output().status.code();
        (
            code,
            String::from_utf8_lossy(&output.get_output().stderr).into_owned(),
        )
    };
    // Good settings get as far as the error that there is nothing to serve.
    for (name, value) in [
        ("GLOBALCOUNTER_SHARDS", "3"),
        ("GLOBALCOUNTER_PIN", "1"),
        ("GLOBALCOUNTER_PIN", "false"),
        ("GLOBALCOUNTER_MAX_TOPICS", "5"),
    ] {
        let (code, text) = serve(name, value);
        assert_eq!(code, Some(2), "{name}={value}: {text}");
        assert!(text.contains("both TCP and UDP are off"), "{text}");
    }
    for (name, value) in [
        ("GLOBALCOUNTER_SHARDS", "0"),
        ("GLOBALCOUNTER_PIN", "perhaps"),
    ] {
        let (code, text) = serve(name, value);
        assert_eq!(code, Some(2), "{name}={value}: {text}");
        let first = text.lines().next().unwrap();
        assert!(first.contains(name) && first.contains(value), "{text}");
    }
}

/// The command line has precedence over the environment; contradictions are refused.
#[test]
fn in_memory_and_data_directory_exclude_each_other() {
    let serve = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = command()
            .envs(environment.iter().copied())
            .args(["serve", "--tcp", "off", "--udp", "off"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let (directory, exact) = (
        ("GLOBALCOUNTER_DATA_DIR", "/nowhere"),
        ("GLOBALCOUNTER_DURABILITY", "exact"),
    );
    // These get as far as the error that there is nothing to serve.
    for (environment, arguments) in [
        (&[directory, exact][..], &["--in-memory"][..]),
        (&[directory, ("GLOBALCOUNTER_IN_MEMORY", "false")], &[]),
        (&[("GLOBALCOUNTER_IN_MEMORY", "1")], &[]),
        (&[directory], &["--durability", "exact"]),
        (
            &[("GLOBALCOUNTER_IN_MEMORY", "1")],
            &["--data-dir", "/nowhere", "--durability", "exact"],
        ),
    ] {
        let error = one_line(serve(environment, arguments).as_bytes());
        assert!(error.contains("both TCP and UDP are off"), "{error}");
    }
    for (arguments, expected) in [
        (&["--in-memory", "--data-dir", "/here"][..], "--data-dir"),
        (&["--in-memory", "--durability", "exact"], "--durability"),
        (&["--durability", "memory"], "monotonic or exact"),
    ] {
        let error = serve(&[directory], arguments);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_failed_start_is_reported_in_one_line() {
    let server = Process::start(1);
    let taken = server.tcp.to_string();
    let output = command()
        .args(["serve", "--in-memory", "--udp", "off", "--tcp", &taken])
        .assert()
        .code(1)
        .stdout("");
    let line = one_line(&output.get_output().stderr);
    assert!(line.contains(&taken) && line.contains("in use"), "{line}");
    assert_eq!(
        line.matches("in use").count(),
        1,
        "the cause appears once: {line}"
    );

    let output = command()
        .args(["serve", "--udp", "off", "--tcp", "off"])
        .assert()
        .code(2);
    assert!(one_line(&output.get_output().stderr).contains("both TCP and UDP are off"));
    let output = command()
        .args(["serve", "--max-topic-len", "65001"])
        .assert()
        .code(2);
    assert!(one_line(&output.get_output().stderr).contains("--max-topic-len"));
}

#[test]
fn help_shows_defaults_and_examples() {
    let help = |arguments: &[&str]| {
        let output = command().args(arguments).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let assert_says = |help: &str, parts: &[&str]| {
        for part in parts {
            assert!(help.contains(part), "{part} is not in:\n{help}");
        }
    };
    assert_says(
        &help(&["serve", "--help"]),
        &[
            "127.0.0.1:9999",
            "--tcp",
            "--udp",
            "--shards",
            "--pin",
            "--max-topics",
            "20000000",
            "--max-topic-len",
            "1024",
            "--max-connections",
            "65536",
            "--data-dir",
            "--in-memory",
            "--durability",
            "monotonic",
            "GLOBALCOUNTER_SHARDS",
            "Examples",
        ],
    );
    assert_says(
        &help(&["count", "--help"]),
        &[
            "--server",
            "tcp://127.0.0.1:9999",
            "GLOBALCOUNTER_SERVER",
            "--timeout",
            "--attempts",
        ],
    );
    assert_says(
        &help(&["--help"]),
        &[
            "serve",
            "count",
            "add",
            "get",
            "reset",
            "delete",
            "advance",
            "ping",
            "topics",
            "export",
            "import",
            "Exit codes",
        ],
    );
    assert!(help(&["--version"]).starts_with("globalcounter "));
}
