//! Rights of addresses, and the start of a server that everybody could reach.

use std::fs;

use globalcounter::access::Policy;
use globalcounter::protocol::Op;
use globalcounter::protocol::framed::{self, Answer};

use super::{DENIED, guarded, hello, ranges, tokens_file};
use crate::command::{command as program, one_line};
use crate::support::{Directory, Framed, datagrams, exchange, frame};

fn is_allowed_frame(reply: &[u8]) -> bool {
    let frame = framed::decode_reply(reply).unwrap().expect("a whole frame");
    !matches!(frame.answer, Answer::Reply(DENIED))
}

#[test]
fn resets_in_datagrams_need_their_own_word() {
    let (server, guard) = guarded(1, Vec::new(), &["127.0.0.1=count,reset,advance"]);
    let socket = datagrams(server.udp);
    assert_eq!(exchange(&socket, b"\x00a"), [128, 1]);
    assert_eq!(exchange(&socket, b"\x01a"), b"\xff\x09denied");
    for op in [Op::Reset, Op::Delete] {
        assert!(!is_allowed_frame(&exchange(&socket, &frame(1, op, "a"))));
        assert!(
            Framed::connect(server.tcp).ask(op, "b") != DENIED,
            "TCP cannot be forged"
        );
    }
    assert_eq!(exchange(&socket, b"\x00a"), [128, 2]);
    assert!(!is_allowed_frame(&exchange(
        &socket,
        &hello(1, None, "token")
    )));
    guard.set_policy(Policy::new(
        Vec::new(),
        ranges(&["127.0.0.1=count,udp-reset"]),
    ));
    assert_eq!(exchange(&socket, b"\x01a"), [129]);
}

#[test]
fn a_server_for_everybody_has_to_be_asked_for() {
    // Client certificates say who may connect, not who may do what.
    const TLS: [&str; 4] = [
        "--tls=0.0.0.0:9443",
        "--tls-cert=a",
        "--tls-key=a",
        "--tls-ca=a",
    ];
    for (exposed, arguments) in [
        ("tcp://0.0.0.0:0", &["--tcp=0.0.0.0:0"][..]),
        ("tcp://[::]:9999", &["--tcp=[::]:9999"]),
        ("udp://192.0.2.1:9999", &["--udp=192.0.2.1:9999"]),
        ("tls://0.0.0.0:9443", &TLS),
        ("http://0.0.0.0:9998", &["--admin=0.0.0.0:9998"]),
    ] {
        let program = |more: &[&str]| {
            let mut command = program();
            command
                .args(["serve", "--in-memory", "--check"])
                .args(arguments)
                .args(more);
            command.output().unwrap()
        };
        let refused = program(&[]);
        assert_eq!(refused.status.code(), Some(2));
        let line = one_line(&refused.stderr);
        for word in [
            exposed,
            "--tokens FILE",
            "--allow CIDR=RIGHTS",
            "--insecure",
        ] {
            assert!(line.contains(word), "{line}");
        }
        for way_out in [&["--insecure"][..], &["--allow", "10.0.0.0/8=count"]] {
            let started = program(way_out);
            let error = String::from_utf8_lossy(&started.stderr).into_owned();
            assert!(started.status.success(), "{error}");
        }
    }
    for loopback in ["[::1]:0", "127.1.2.3:0", "[::ffff:127.0.0.1]:0", "off"] {
        let mut command = program();
        command.args(["serve", "--in-memory", "--check", "--udp", loopback]);
        assert!(command.output().unwrap().status.success(), "{loopback}");
    }
}

#[test]
fn ranges_come_from_flags_a_list_in_the_file_and_the_environment() {
    let directory = Directory::new("ranges");
    let path = tokens_file(
        &directory,
        "allow = [\"10.0.0.0/8=count\", \"10.1.0.0/16=read:a/\"]\n",
    );
    let printed = |arguments: &[&str], variable: Option<&str>| {
        let mut command = program();
        command
            .args(["serve", "--in-memory", "--check"])
            .args(arguments);
        command.envs(variable.map(|value| ("GLOBALCOUNTER_ALLOW", value)));
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("allow"))
            .unwrap()
            .to_owned();
        line.split("  #").next().unwrap().trim().to_owned()
    };
    let both = "allow = \"10.0.0.0/8=count 10.1.0.0/16=read:a/\"";
    assert_eq!(printed(&["--config", &path], None), both);
    let flags = [
        "--allow",
        "10.0.0.0/8=count",
        "--allow",
        "10.1.0.0/16=read:a/",
    ];
    assert_eq!(printed(&flags, None), both);
    assert_eq!(
        printed(&[], Some("10.0.0.0/8=count 10.1.0.0/16=read:a/")),
        both
    );
    let other = ["--config", &path, "--allow", "::1=admin"];
    assert_eq!(printed(&other, None), "allow = \"::1=admin\"");

    fs::write(
        &path,
        "max_topics = 1\nallow = [\"10.0.0.0/8=count\", \"10.0.0.1/8=count\"]\n",
    )
    .unwrap();
    let line = printed(&["--config", &path], None);
    let expected = ":2: allow: the address has bits outside of the range; did you mean 10.0.0.0/8?";
    assert!(line.contains(expected), "{line}");
}
