//! Topics that are kept on disks that are full, or take no writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use globalcounter::protocol::{Op, Reply};

use crate::support::{Directory, Framed, STORE, add, info, info_field, listening_address};

/// A file system of its own that only some processes see, where the kernel lets us have one.
struct Mounted {
    shell: Child,
    commands: ChildStdin,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    _directory: Directory,
}

impl Mounted {
    fn new(name: &str, options: &str) -> Option<Self> {
        let directory = Directory::new(name);
        std::fs::create_dir_all(&directory.0).unwrap();
        let script = r#"
            mount -t tmpfs -o "$OPTIONS" tmpfs "$DIRECTORY" || exit 1
            echo mounted
            while read -r what options; do
                case $what in
                serve) "$SERVER" serve --tcp 127.0.0.1:0 --udp off --shards 2 \
                    --data-dir "$DIRECTORY/data" $options 2>"$DIRECTORY.log" & ;;
                stop) kill -TERM $!; wait $!; echo "ended $?" ;;
                kill) kill -KILL $! 2>/dev/null; wait $!; echo "ended $?" ;;
                refused) "$SERVER" serve --tcp 127.0.0.1:0 --udp off \
                    --data-dir "$DIRECTORY/data" $options 2>"$DIRECTORY.log"; echo "ended $?" ;;
                remount) mount -o "remount,$options" "$DIRECTORY"; echo "remounted $?" ;;
                esac
            done"#;
        let mut shell = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .env("DIRECTORY", &directory.0)
            .env("OPTIONS", options)
            .env("SERVER", env!("CARGO_BIN_EXE_globalcounter"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let commands = shell.stdin.take().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mounted = said.next().is_some_and(|line| line.unwrap() == "mounted");
        let mounted = mounted.then_some(Self {
            shell,
            commands,
            said,
            _directory: directory,
        });
        if mounted.is_none() {
            println!("not tried: no file system can be mounted here");
        }
        mounted
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.said.next().unwrap().unwrap()
    }

    fn serve(&mut self) -> Framed {
        let line = self.tell("serve");
        Framed::connect(listening_address(&line, "tcp"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(format!("{}.log", self._directory.as_str())).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Or the server would outlive the shell.
        if self.commands.write_all(b"kill\n").is_ok() {
            let _ = self.said.next();
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let _ = std::fs::remove_file(format!("{}.log", self._directory.as_str()));
    }
}

/// Counts new topics until the store fails; how many there are then.
fn count_until_it_fails(client: &mut Framed) -> u32 {
    let mut topics = 0;
    loop {
        let name = format!("{topics} {}", "long ".repeat(190));
        match client.ask(Op::Count, &name) {
            Reply::Count(1) => topics += 1,
            reply => {
                assert_eq!(reply, STORE);
                return topics;
            }
        }
        assert!(topics < 100_000, "the disk is never full");
    }
}

#[test]
fn a_full_disk_ends_durable_service_and_more_room_begins_it_again() {
    let Some(mut mounted) = Mounted::new("full", "size=400k") else {
        return;
    };
    let mut client = mounted.serve();
    client.ask(add(100), "kept");
    let topics = count_until_it_fails(&mut client);
    assert!(topics > 10, "{topics}");
    assert_eq!(client.ask(Op::Get, "kept"), Reply::Get(Some(100)));
    let address = client.stream.peer_addr().unwrap();
    let info = info(address, "persistence");
    assert_eq!(info_field(&info, "store_status"), "failed");
    let log = mounted.log();
    assert!(
        log.contains("the store failed") && log.contains("No space left"),
        "{log}"
    );
    assert_eq!(mounted.tell("stop"), "ended 1");
    let log = mounted.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("without a clean end") && last.contains("the store failed"),
        "{last}"
    );

    assert_eq!(mounted.tell("remount size=64m"), "remounted 0");
    let mut client = mounted.serve();
    let Reply::Count(sum) = client.ask(Op::Count, "kept") else {
        panic!("a sum expected")
    };
    assert!((101..400).contains(&sum), "{sum}");
    for n in 0..topics {
        let name = format!("{n} {}", "long ".repeat(190));
        assert_eq!(client.ask(Op::Count, &name), Reply::Count(2), "{name}");
    }
    assert_eq!(mounted.tell("stop"), "ended 0");
}

#[test]
fn a_disk_that_takes_no_more_writes_does_the_same() {
    let Some(mut mounted) = Mounted::new("read-only", "size=64m") else {
        return;
    };
    let mut client = mounted.serve();
    for n in 1..=100 {
        assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(n));
    }
    assert_eq!(mounted.tell("stop"), "ended 0");
    // As long as a file is open for writing, it can't be made read-only: so before the start.
    assert_eq!(mounted.tell("remount ro"), "remounted 0");
    assert_eq!(mounted.tell("refused"), "ended 1");
    let log = mounted.log();
    assert!(
        log.lines().count() == 1 && log.contains("Read-only"),
        "{log}"
    );
    assert_eq!(mounted.tell("remount rw"), "remounted 0");
    let mut client = mounted.serve();
    assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(101));
}
