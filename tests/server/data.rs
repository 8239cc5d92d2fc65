//! The commands that check a data directory and back it up.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use assert_cmd::Command;
use globalcounter::protocol::{Op, Reply};

use crate::command::one_line;
use crate::support::{Directory, Framed, SetOnDrop, add, eventually};

/// Runs `globalcounter check`. Returns the exit code, standard output and standard error.
fn check(directory: &Directory) -> (Option<i32>, String, Vec<u8>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    let output = command
        .args(["check", directory.as_str()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text, output.stderr)
}

#[test]
fn check_says_what_is_there_and_what_is_damaged() {
    let directory = Directory::new("check");
    let (code, _, error) = check(&directory);
    assert_eq!(code, Some(1));
    assert!(one_line(&error).contains("there is no data directory"));

    let mut server = directory.serve("2");
    let mut client = Framed::connect(server.tcp);
    for topic in ["a", "b", "c"] {
        client.ask(add(5), topic);
    }
    let (code, _, error) = check(&directory);
    assert_eq!(code, Some(1), "a server uses it");
    assert!(one_line(&error).contains("in use by"));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let (code, text, error) = check(&directory);
    assert_eq!((code, error), (Some(0), Vec::new()), "{text}");
    let expected = [
        "ok       format: ",
        "ok       manifest: checkpoint 1",
        "ok       checkpoint/1.0: ",
    ];
    assert!(expected.iter().all(|line| text.contains(line)), "{text}");
    assert!(
        text.contains("ended cleanly") && text.ends_with("intact: 3 topics\n"),
        "{text}"
    );

    for file in ["manifest", "checkpoint/1.0", "checkpoint/1.1"] {
        let path = directory.0.join(file);
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 4;
        fs::write(&path, damaged).unwrap();
        let (code, text, error) = check(&directory);
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(&format!("damaged  {file}\n")), "{text}");
        assert!(one_line(&error).contains(file), "{error:?}");
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(check(&directory).0, Some(0));
}

/// A backup of a running server has every number that was returned before it began.
#[test]
fn a_backup_of_a_running_server_continues_above_everything_returned_before() {
    const TOPICS: [&str; 3] = ["one", "two", "three"];
    let directory = Directory::new("backed-up");
    let server = directory.serve("2");
    let returned = [const { AtomicU64::new(0) }; TOPICS.len()];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        for (topic, returned) in TOPICS.iter().zip(&returned) {
            scope.spawn(|| {
                let mut client = Framed::connect(server.tcp);
                while !stop.load(Ordering::Relaxed) {
                    let Reply::Count(sum) = client.ask(Op::Count, topic) else {
                        panic!("a sum expected")
                    };
                    returned.store(sum, Ordering::Release);
                }
            });
        }
        eventually("all topics are counted", || {
            returned.iter().all(|sum| sum.load(Ordering::Acquire) > 100)
        });
        for round in 0..5 {
            let copy = Directory::new(&format!("backup-{round}"));
            let before = returned.each_ref().map(|sum| sum.load(Ordering::Acquire));
            let output = directory
                .command(&["backup", copy.as_str()])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(check(&copy).0, Some(0));
            let restored = copy.serve("1");
            let mut client = Framed::connect(restored.tcp);
            for (topic, before) in TOPICS.iter().zip(before) {
                let Reply::Count(sum) = client.ask(Op::Count, topic) else {
                    panic!("a sum expected")
                };
                assert!(sum > before, "{topic}: {sum} after {before}");
            }
            // A copy is never written over another one.
            let output = directory
                .command(&["backup", copy.as_str()])
                .output()
                .unwrap();
            assert!(one_line(&output.stderr).contains("not empty"));
        }
    });
}
