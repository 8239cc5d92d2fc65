//! The settings of `serve` from defaults, file, environment and flags, as `--check` prints them, and their
//! documentation.

use std::collections::BTreeMap;

use crate::command::{command, one_line};
use crate::support::Directory;

const REFERENCE: &str = include_str!("../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../packaging/globalcounter.toml");

/// The keys that have no value unless one is given.
const WITHOUT_DEFAULT: [&str; 12] = [
    "advertise",
    "allow",
    "etcd_ca",
    "etcd_cert",
    "etcd_key",
    "etcd_password_file",
    "etcd_tls_name",
    "etcd_user",
    "node",
    "node_ca",
    "node_token_file",
    "tokens",
];

/// Writes a configuration file into a new directory.
fn file(directory: &Directory, text: &str) -> String {
    std::fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("test.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs `serve --check` and returns its exit code, its output and its errors.
pub(crate) fn check(environment: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let output = command()
        .env_remove("GLOBALCOUNTER_ADMIN")
        .env_remove("RUST_LOG")
        .env("HOME", "/home/nobody")
        .env_remove("XDG_STATE_HOME")
        .env_remove("STATE_DIRECTORY")
        .envs(environment.iter().copied())
        .args(["serve", "--check"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// Returns the lines of `--check`, by key: the value and what stands behind `#`.
fn settings(
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> BTreeMap<String, (String, String)> {
    let (code, out, errors) = check(environment, arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let lines = out.lines().map(|line| {
        let (setting, source) = line.split_once("  # ").expect(line);
        let (key, value) = setting.split_once(" =").expect(line);
        let value = (value.trim().to_owned(), source.to_owned());
        (key.to_owned(), value)
    });
    lines.collect()
}

/// Returns the mistakes that `--check` names, one a line, without the file's path.
fn mistakes(directory: &Directory, text: &str) -> Vec<String> {
    let path = file(directory, text);
    let (code, out, errors) = check(&[], &["--config", &path]);
    assert_eq!((code, out.as_str()), (2, ""), "{errors}");
    let lines = errors.lines().map(|line| {
        let line = line.strip_prefix("globalcounter: ").expect(line);
        line.strip_prefix(&path).unwrap_or(line).to_owned()
    });
    lines.collect()
}

#[test]
fn all_mistakes_of_a_file_are_named_with_their_lines() {
    let directory = Directory::new("three-mistakes");
    let found = mistakes(
        &directory,
        "# three mistakes\n\
         max_topic = 5\n\
         max_topics = 5\n\
         shards = 0\n\n\
         tcp = \"localhost\"\n",
    );
    assert_eq!(
        found,
        [
            ":2: unknown key `max_topic`; did you mean `max_topics`?",
            ":4: shards: expected a number from 1 to 256, not 0",
            ":6: tcp: expected an address and a port, as in 127.0.0.1:9999, or off, not \"localhost\"",
        ]
    );
}

#[test]
fn each_mistake_says_what_is_expected() {
    let directory = Directory::new("each-mistake");
    for (text, expected) in [
        (
            "max_topics = -1",
            ":1: max_topics: expected a whole number, not -1",
        ),
        (
            "max_topics = 1.5",
            ":1: max_topics: expected a single value, not a TOML float",
        ),
        (
            "max_topics = [1]",
            ":1: max_topics: expected a single value, not a TOML array",
        ),
        (
            "\nmax_topic_len = 70000",
            ":2: max_topic_len: expected a number of bytes up to 65000, not 70000",
        ),
        (
            "checkpoint_log = true",
            ":1: checkpoint_log: expected a whole number, not true",
        ),
        (
            "pin = \"yes\"",
            ":1: pin: expected true or false, not \"yes\"",
        ),
        ("pin = 1", ":1: pin: expected true or false, not 1"),
        (
            "data_dir = 5",
            ":1: data_dir: expected a path in quotes, not 5",
        ),
        (
            "steering = \"perhaps\"",
            ":1: steering: expected auto, on or off, not \"perhaps\"",
        ),
        (
            "log = \"xml\"",
            ":1: log: expected one of text, json, not \"xml\"",
        ),
        (
            "durability = \"none\"",
            ":1: durability: expected monotonic or exact (to store nothing, use --in-memory), not \"none\"",
        ),
        (
            "max-topics = 5",
            ":1: unknown key `max-topics`; did you mean `max_topics`?",
        ),
        ("config = \"x\"", ":1: unknown key `config`"),
        ("quorum = 2", ":1: unknown key `quorum`"),
        (
            "[limits]\nmax_topics = 5",
            ":1: unknown table `limits`; keys stand at the top, without tables",
        ),
        ("shards = 1\nshards = 2", ":2: duplicate key"),
        (
            "tcp = \"off\"\nudp = \"off\"",
            "nothing to serve: both TCP and UDP are off, and so is TLS",
        ),
        (
            "in_memory = true\ndata_dir = \"x\"",
            ":1: in_memory stores nothing, so it cannot be combined with data_dir",
        ),
        // Text of the file reaches no terminal as it is.
        (
            "\"a\\u001b[31m\\nb\" = 1",
            ":1: unknown key `a\\u{1b}[31m\\nb`",
        ),
        (
            "tcp = \"\\u001b[31m\"",
            ":1: tcp: expected an address and a port, as in 127.0.0.1:9999, or off, not \"\\u{1b}[31m\"",
        ),
    ] {
        assert_eq!(mistakes(&directory, text), [expected], "{text}");
    }
    let syntax = mistakes(&directory, "shards = = 2\nmax_topics = x\npin = 7\n");
    assert_eq!(syntax.len(), 3, "{syntax:?}");
    for (line, mistake) in (1..).zip(syntax) {
        assert!(mistake.starts_with(&format!(":{line}: ")), "{mistake}");
    }
}

#[test]
fn a_start_names_all_mistakes_too() {
    let directory = Directory::new("start-mistakes");
    let path = file(&directory, "quorum = 1\nshards = 0\n");
    let output = command()
        .env("GLOBALCOUNTER_PIN", "perhaps")
        .args(["serve", "--in-memory", "--config", &path])
        .assert()
        .code(2)
        .stdout("");
    let errors = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    let expected = [
        "globalcounter: GLOBALCOUNTER_PIN: expected true or false, not \"perhaps\"".to_owned(),
        format!("globalcounter: {path}:1: unknown key `quorum`"),
        format!("globalcounter: {path}:2: shards: expected a number from 1 to 256, not 0"),
    ];
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let directory = Directory::new("unreadable");
    let path = file(&directory, "");
    std::fs::write(&path, b"tcp = \"\xff\"").unwrap();
    let folder = directory.as_str();
    for path in ["/nonexistent/file.toml", folder, &path, "/dev/zero"] {
        let (code, out, errors) = check(&[], &["--config", path]);
        assert_eq!((code, out.as_str()), (2, ""), "{errors}");
        let line = one_line(errors.as_bytes());
        assert!(
            line.contains("cannot read") && line.contains(path),
            "{line}"
        );
    }
}

#[test]
fn later_layers_have_precedence() {
    let directory = Directory::new("layers");
    let path = file(
        &directory,
        "max_topics = 1\nmax_connections = 2\nshards = 3\n",
    );
    let found = settings(
        &[
            ("GLOBALCOUNTER_CONFIG", &path),
            ("GLOBALCOUNTER_MAX_CONNECTIONS", "20"),
            ("GLOBALCOUNTER_SHARDS", "30"),
        ],
        &["--shards", "33"],
    );
    for (key, value, source) in [
        ("max_topic_len", "1024", "default"),
        ("max_topics", "1", &format!("{path}:1")),
        (
            "max_connections",
            "20",
            "environment GLOBALCOUNTER_MAX_CONNECTIONS",
        ),
        ("shards", "33", "flag --shards"),
        (
            "data_dir",
            "\"/home/nobody/.local/state/globalcounter\"",
            "default",
        ),
    ] {
        assert_eq!(found[key], (value.to_owned(), source.to_owned()), "{key}");
    }
    // A flag also has precedence over a variable that is no value.
    let found = settings(&[("GLOBALCOUNTER_SHARDS", "none")], &["--shards", "2"]);
    assert_eq!(found["shards"].1, "flag --shards");
}

#[test]
fn of_contradicting_settings_the_one_with_precedence_is_used() {
    let directory = Directory::new("contradictions");
    let stored = file(&directory, "data_dir = \"/file\"\ndurability = \"exact\"\n");
    let found = settings(&[], &["--config", &stored, "--in-memory"]);
    assert_eq!(found["in_memory"].0, "true");
    for key in ["#data_dir", "#durability"] {
        assert!(
            found[key].1.ends_with("; not used because of in_memory"),
            "{found:?}"
        );
    }
    let path = file(&directory, "in_memory = true\n");
    let found = settings(&[("GLOBALCOUNTER_DATA_DIR", "/e")], &["--config", &path]);
    assert_eq!(found["data_dir"].0, "\"/e\"");
    assert!(
        found["#in_memory"]
            .1
            .ends_with("; not used because of data_dir"),
        "{found:?}"
    );
    let found = settings(&[], &["--config", &path, "--durability", "exact"]);
    assert!(
        found["#in_memory"]
            .1
            .ends_with("; not used because of durability"),
        "{found:?}"
    );

    let environment = [
        ("GLOBALCOUNTER_IN_MEMORY", "1"),
        ("GLOBALCOUNTER_DURABILITY", "exact"),
    ];
    let (code, _, errors) = check(&environment, &[]);
    assert_eq!(code, 2);
    let line = one_line(errors.as_bytes());
    for name in ["GLOBALCOUNTER_IN_MEMORY", "GLOBALCOUNTER_DURABILITY exact"] {
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn a_check_starts_and_creates_nothing() {
    let directory = Directory::new("checked");
    // An address that is taken does not matter.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.as_str();
    let found = settings(
        &[],
        &["--data-dir", data, "--tcp", &address, "--admin", &address],
    );
    assert_eq!(found["data_dir"].0, format!("{data:?}"));
    assert!(!directory.0.exists());
}

/// What `--check` prints is a configuration file with the same meaning.
#[test]
fn a_check_prints_a_configuration_file() {
    let values = |found: BTreeMap<String, (String, String)>| -> Vec<(String, String)> {
        let used = found.into_iter().filter(|(key, _)| !key.starts_with('#'));
        used.map(|(key, (value, _))| (key, value)).collect()
    };
    let odd = "/a \"b\" \\ \u{1b}é 5";
    for arguments in [
        &["--data-dir", odd, "--pin", "--udp", "off"][..],
        &["--data-dir", "5"],
        &["--in-memory", "--steering", "on"],
    ] {
        let directory = Directory::new("round");
        let (_, printed, _) = check(&[], arguments);
        let path = file(&directory, &printed);
        let again = values(settings(&[], &["--config", &path]));
        assert_eq!(again, values(settings(&[], arguments)), "{printed}");
    }
}

#[test]
fn a_check_says_if_a_variable_decides_what_is_logged() {
    let note = |value| {
        check(&[("RUST_LOG", value)], &[])
            .1
            .contains("RUST_LOG is set")
    };
    assert!(note("debug"));
    assert!(!note("a=b=c"), "no filter, so it is not used");
}

/// Returns the rows of the reference: the cells of each, without those of its head.
fn reference() -> Vec<Vec<String>> {
    let rows = REFERENCE.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| {
        let row = row.replace("\\|", "/");
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    });
    cells.collect()
}

#[test]
fn the_reference_has_each_key_with_its_default() {
    let found = settings(&[], &[]);
    let rows = reference();
    let documented: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    // A key without a value is printed as a comment.
    let mut keys: Vec<&str> = found
        .keys()
        .map(|key| key.trim_start_matches('#'))
        .collect();
    keys.sort_unstable();
    assert_eq!(sorted, keys);
    for row in &rows {
        let [key, flag, variable, default, _, reload] = &row[..] else {
            panic!("{row:?}");
        };
        assert_eq!(
            flag.split(' ').next().unwrap(),
            format!("--{}", key.replace('_', "-"))
        );
        assert_eq!(*variable, format!("GLOBALCOUNTER_{}", key.to_uppercase()));
        assert!(["yes", "no"].contains(&reload.as_str()), "{row:?}");
        match key.as_str() {
            "shards" | "data_dir" => {} // they depend on the machine
            key if WITHOUT_DEFAULT.contains(&key) => {
                assert_eq!(
                    (default.as_str(), &*found[&format!("#{key}")].0),
                    ("none", "")
                );
            }
            _ => assert_eq!(*default, found[key].0, "{key}"),
        }
    }
}

#[test]
fn variables_are_named_as_the_reference_says() {
    for row in reference() {
        let (key, variable) = (&row[0], &row[2]);
        let (code, _, errors) = check(&[(variable, "\u{1b}")], &[]);
        match key.as_str() {
            "data_dir" => assert_eq!(settings(&[(variable, "/x")], &[])["data_dir"].0, "\"/x\""),
            "tokens" => assert!(errors.contains("cannot read the tokens file"), "{errors}"),
            // Any text is a path. Without TLS it is not used.
            "tls_cert" | "tls_key" | "tls_ca" => {
                let (value, source) = &settings(&[(variable, "/x")], &[])[&format!("#{key}")];
                assert_eq!(value, "\"/x\"");
                assert!(source.contains("not used because of tls"), "{source}");
            }
            "etcd_ca" | "etcd_cert" | "etcd_key" | "etcd_password_file" | "node_ca"
            | "node_token_file" => {
                let (value, source) = &settings(&[(variable, "/x")], &[])[&format!("#{key}")];
                assert_eq!(value, "\"/x\"");
                assert!(source.contains("not used because of cluster"), "{source}");
            }
            _ => assert!(
                code == 2 && errors.contains(&format!("{variable}: ")),
                "{errors}"
            ),
        }
    }
}

#[test]
fn the_example_has_each_key_with_its_default() {
    let directory = Directory::new("example");
    let has_default = |line: &str| {
        let mut keys = WITHOUT_DEFAULT.iter();
        !keys.any(|key| line.starts_with(&format!("#{key} = ")))
    };
    let is_commented_out =
        |line: &str| line.starts_with('#') && !line.starts_with("# ") && has_default(line);
    for key in WITHOUT_DEFAULT {
        assert!(
            EXAMPLE.contains(&format!("\n#{key} = ")),
            "{key} is not in the example"
        );
    }
    let lines = EXAMPLE.lines().map(|line| match is_commented_out(line) {
        true => &line[1..],
        false => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let path = file(&directory, &text);
    let (example, defaults) = (settings(&[], &["--config", &path]), settings(&[], &[]));
    assert_eq!(example.len(), defaults.len());
    for (key, (value, source)) in example {
        if WITHOUT_DEFAULT.contains(&key.trim_start_matches('#')) {
            continue;
        }
        assert!(
            source.starts_with(&path),
            "{key} is not in the example: {source}"
        );
        match key.as_str() {
            "shards" | "data_dir" => {} // they depend on the machine
            _ => assert_eq!(value, defaults[&key].0, "{key}"),
        }
    }
    // As it is, it changes nothing.
    let path = file(&directory, EXAMPLE);
    assert_eq!(settings(&[], &["--config", &path]), defaults);
}
