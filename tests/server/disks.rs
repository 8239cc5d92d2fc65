//! Disks that are full or read-only.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use globalcounter::protocol::{Op, Reply};

use crate::support::{Directory, Framed, STORE, add, info, info_field, listening_address};

/// A small file system that only the processes started here see. Needs a kernel that lets an
/// ordinary user mount one.
struct Mounted {
    shell: Child,
    commands: ChildStdin,
    output: std::io::Lines<BufReader<std::process::ChildStdout>>,
    directory: Directory,
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
            .env("GLOBALCOUNTER_ADMIN", "off")
            .env("SERVER", env!("CARGO_BIN_EXE_globalcounter"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let commands = shell.stdin.take().unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mounted = output.next().is_some_and(|line| line.unwrap() == "mounted");
        let mounted = mounted.then_some(Self {
            shell,
            commands,
            output,
            directory,
        });
        if mounted.is_none() {
            println!("skipped: no file system can be mounted here");
        }
        mounted
    }

    /// Gives the shell a command and returns the line that it prints.
    fn run(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.output.next().unwrap().unwrap()
    }

    fn serve(&mut self) -> Framed {
        let line = self.run("serve");
        Framed::connect(listening_address(&line, "tcp"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(format!("{}.log", self.directory.as_str())).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Otherwise the server would outlive the shell.
        if self.commands.write_all(b"kill\n").is_ok() {
            let _ = self.output.next();
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let _ = std::fs::remove_file(format!("{}.log", self.directory.as_str()));
    }
}

/// Counts new topics until the store fails. Returns how many there are then.
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
        assert!(topics < 1_000_000, "the disk is never full");
    }
}

#[test]
fn after_a_full_disk_a_restart_with_more_room_serves_again() {
    let Some(mut mounted) = Mounted::new("full", "size=20m") else {
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
    assert_eq!(mounted.run("stop"), "ended 1");
    let log = mounted.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("without a clean shutdown") && last.contains("the store failed"),
        "{last}"
    );

    assert_eq!(mounted.run("remount size=64m"), "remounted 0");
    let mut client = mounted.serve();
    let Reply::Count(sum) = client.ask(Op::Count, "kept") else {
        panic!("a reply to COUNT expected")
    };
    assert!((101..400).contains(&sum), "{sum}");
    for n in 0..topics {
        let name = format!("{n} {}", "long ".repeat(190));
        assert_eq!(client.ask(Op::Count, &name), Reply::Count(2), "{name}");
    }
    assert_eq!(mounted.run("stop"), "ended 0");
}

#[test]
fn on_a_read_only_disk_the_server_refuses_to_start() {
    let Some(mut mounted) = Mounted::new("read-only", "size=64m") else {
        return;
    };
    let mut client = mounted.serve();
    for n in 1..=100 {
        assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(n));
    }
    assert_eq!(mounted.run("stop"), "ended 0");
    // The file system cannot become read-only while a file is open for writing, so it does before
    // the start.
    assert_eq!(mounted.run("remount ro"), "remounted 0");
    assert_eq!(mounted.run("refused"), "ended 1");
    let log = mounted.log();
    assert!(
        log.lines().count() == 1 && log.contains("Read-only"),
        "{log}"
    );
    assert_eq!(mounted.run("remount rw"), "remounted 0");
    let mut client = mounted.serve();
    assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(101));
}
