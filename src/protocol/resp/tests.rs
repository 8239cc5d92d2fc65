//! Tests of the codec: commands and replies as bytes. Their meaning is tested in `commands`.

use proptest::prelude::*;

use super::*;
use crate::protocol::{Condition, ErrorCode, Op, Reply};

mod commands;

const MAX_TOPIC: usize = 100;

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_command(arguments, &mut out);
    out
}

type Decoded = (Vec<Vec<u8>>, usize);

/// Decodes the command at the start of `input`: its arguments and its length.
fn decoded(input: &[u8]) -> Result<Option<Decoded>, ProtocolError> {
    let mut input = input.to_vec();
    let mut arguments = Arguments::default();
    let len = decode(&mut input, &mut Progress::default(), &mut arguments)?;
    Ok(len.map(|len| (owned(&arguments, &input), len)))
}

fn owned(arguments: &Arguments, input: &[u8]) -> Vec<Vec<u8>> {
    (0..arguments.len())
        .map(|i| arguments.at(i, input).to_vec())
        .collect()
}

fn words(input: &str) -> Vec<String> {
    let (arguments, len) = decoded(input.as_bytes()).unwrap().unwrap();
    assert_eq!(len, input.len());
    let text = |argument| String::from_utf8(argument).unwrap();
    arguments.into_iter().map(text).collect()
}

#[test]
fn arrays_are_read() {
    let incr = b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n";
    assert_eq!(command(&[b"INCR", b"a"]), incr);
    assert_eq!(words("*2\r\n$4\r\nINCR\r\n$0\r\n\r\n"), ["INCR", ""]);
    assert_eq!(words("*0\r\n"), [""; 0]);
    assert_eq!(words("*-1\r\n"), [""; 0]);
    let long = "x".repeat(100);
    assert_eq!(words(&format!("*1\r\n$100\r\n{long}\r\n")), [long]);
}

#[test]
fn lines_are_read() {
    assert_eq!(words("PING\r\n"), ["PING"]);
    assert_eq!(words("  INCR \t a\n"), ["INCR", "a"]);
    assert_eq!(words("\r\n"), [""; 0]);
    assert_eq!(words("INCR \"a b\"\r\n"), ["INCR", "a b"]);
    assert_eq!(words("INCR 'a \\' \\x41'\n"), ["INCR", "a ' \\x41"]);
    assert_eq!(words("a \"\\x41\\n\\\"\\\\\" b\n"), ["a", "A\n\"\\", "b"]);
    assert_eq!(words("a \"\" ''\n"), ["a", "", ""]);
    assert_eq!(words("\"\\xzz\" x\"y\"\n"), ["xzz", "xy"]);
}

/// A connection may begin with an empty line: somebody pressed Enter in netcat.
#[test]
fn empty_lines_are_skipped() {
    for line in ["\r\n", "\n"] {
        assert_eq!(decoded(line.as_bytes()), Ok(Some((vec![], line.len()))));
        let followed = format!("{line}PING\r\n");
        assert_eq!(
            decoded(followed.as_bytes()),
            Ok(Some((vec![], line.len()))),
            "only the empty line is consumed"
        );
    }
    assert_eq!(decoded(b"\r"), Ok(None), "the line may go on");
}

#[test]
fn invalid_commands_get_the_error_texts_of_redis() {
    let cases: [(&[u8], &str); 19] = [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*65537\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*2\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$524289\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx", "expected CR LF"),
        (b"*1\rx", "expected CR LF"),
        (&[b'*'; 40], "too big mbulk count string"),
        (
            b"*1\r\n$111111111111111111111111111111111",
            "too big bulk count string",
        ),
        (&[b'a'; MAX_INLINE], "too big inline request"),
        (b"INCR \"a\n", "unbalanced quotes in request"),
        (b"INCR 'a\n", "unbalanced quotes in request"),
        (b"INCR \"a\"b\n", "unbalanced quotes in request"),
        (b"INCR \"\\\n", "unbalanced quotes in request"),
    ];
    for (input, text) in cases {
        let error = decoded(input).expect_err(text);
        assert_eq!(error.to_string(), text, "{}", input.escape_ascii());
    }
}

#[test]
fn commands_up_to_the_limits_are_read() {
    let one = [b"x".as_slice(); MAX_ARGUMENTS];
    assert!(decoded(&command(&one)).unwrap().is_some());
    let long = vec![b'x'; MAX_ARGUMENT];
    assert!(decoded(&command(&[&long])).unwrap().is_some());
    let error = decoded(&command(&[&long, &long, &long]));
    assert_eq!(error, Err(ProtocolError::CommandLength));
    // A command that never ends is refused.
    let mut endless = b"*65536\r\n".to_vec();
    endless.resize(MAX_COMMAND + 9, b'$');
    assert!(decoded(&endless).is_err());
}

/// Asserts that decoding byte by byte gives the same as decoding all bytes at once.
fn assert_resumes(input: &[u8]) -> Result<(), TestCaseError> {
    let at_once = decoded(input);
    let mut progress = Progress::default();
    let mut arguments = Arguments::default();
    for end in 0..=input.len() {
        let mut so_far = input[..end].to_vec();
        match decode(&mut so_far, &mut progress, &mut arguments) {
            Ok(None) => {}
            Ok(Some(len)) => {
                prop_assert_eq!(len, end);
                let found = Some((owned(&arguments, &so_far), len));
                prop_assert_eq!(at_once, Ok(found));
                prop_assert_eq!(progress, Progress::default());
                return Ok(());
            }
            Err(error) => {
                prop_assert_eq!(at_once, Err(error));
                return Ok(());
            }
        }
    }
    prop_assert_eq!(at_once, Ok(None));
    Ok(())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*2\r\n".to_vec()),
        Just(b"$1\r\na\r\n".to_vec()),
        Just(b"$4\r\nINCR\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\"a b\"".to_vec()),
        Just(b"incr a\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..5),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn commands_round_trip_and_wait_for_their_last_byte(
        arguments in prop::collection::vec(any::<Vec<u8>>(), 1..8), next: Vec<u8>
    ) {
        let parts: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let bytes = command(&parts);
        for cut in 0..bytes.len() {
            prop_assert_eq!(decoded(&bytes[..cut]), Ok(None));
        }
        prop_assert_eq!(decoded(&bytes), Ok(Some((arguments.clone(), bytes.len()))));
        assert_resumes(&bytes)?;
        let followed = [bytes.clone(), next].concat();
        prop_assert_eq!(decoded(&followed), Ok(Some((arguments, bytes.len()))));
    }

    #[test]
    fn any_bytes_are_read_or_refused(input in any_bytes()) {
        if let Ok(Some((_, len))) = decoded(&input) {
            prop_assert!(0 < len && len <= input.len());
        }
        assert_resumes(&input)?;
    }

    #[test]
    fn escaped_words_round_trip(word: Vec<u8>) {
        let escaped: String = word.iter().map(|byte| format!("\\x{byte:02X}")).collect();
        let line = format!("incr \"{escaped}\" end\r\n");
        let expected = vec![b"incr".to_vec(), word, b"end".to_vec()];
        prop_assert_eq!(decoded(line.as_bytes()), Ok(Some((expected, line.len()))));
    }

    #[test]
    fn replies_round_trip_and_wait_for_their_last_byte(number in 0..=MAX_SUM, bytes: Vec<u8>) {
        let encoded = |write: &dyn Fn(&mut Writer<'_>)| {
            let mut out = Vec::new();
            write(&mut Writer::new(Version::Resp2, &mut out));
            out
        };
        let null = encoded(&|writer| writer.null());
        let digits = number.to_string();
        let cases = [
            (encoded(&|writer| writer.integer(number)), Value::Integer(number as i64)),
            (encoded(&|writer| writer.bulk(&bytes)), Value::Bulk(&bytes)),
            (encoded(&|writer| writer.number(number)), Value::Bulk(digits.as_bytes())),
            (encoded(&|writer| writer.simple("OK")), Value::Simple(b"OK")),
            (encoded(&|writer| writer.error("ERR no\r\nway")), Value::Error(b"ERR no  way")),
            (null, Value::Null),
        ];
        for (bytes, value) in cases {
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode_reply(&bytes[..cut]), Ok(None));
            }
            prop_assert_eq!(decode_reply(&bytes), Ok(Some((value, bytes.len()))));
        }
    }
}

#[test]
fn replies_are_encoded_as_their_command_needs() {
    let error = Reply::Error(ErrorCode::Overflow);
    for (form, reply, expected) in [
        (Form::Sum, Reply::Add(7), ":7\r\n"),
        (
            Form::Sum,
            error,
            "-ERR increment or decrement would overflow\r\n",
        ),
        (
            Form::Value,
            Reply::Get(Some(u64::MAX)),
            "$20\r\n18446744073709551615\r\n",
        ),
        (Form::Value, Reply::Get(None), "$-1\r\n"),
        (Form::Reset, Reply::Reset, "+OK\r\n"),
        (Form::Raise(5), Reply::Advance(5), "+OK\r\n"),
        (
            Form::Raise(5),
            Reply::Advance(6),
            "-ERR counters only go up: the sum is above that\r\n",
        ),
        (Form::Kind, Reply::Get(Some(0)), "+string\r\n"),
        (Form::Kind, Reply::Get(None), "+none\r\n"),
        (Form::Set, Reply::Created, "+OK\r\n"),
        (Form::Set, Reply::Set(4), "+OK\r\n"),
        (Form::Set, Reply::Present(4), "$-1\r\n"),
        (Form::Set, Reply::Absent, "$-1\r\n"),
        (
            Form::Set,
            Reply::SumIsHigher(6),
            "-ERR counters only go up: the sum is above that\r\n",
        ),
        (Form::Before, Reply::Created, "$-1\r\n"),
        (Form::Before, Reply::Absent, "$-1\r\n"),
        (Form::Before, Reply::Set(4), "$1\r\n4\r\n"),
        (Form::Before, Reply::Present(40), "$2\r\n40\r\n"),
        (Form::Before, Reply::Deleted(0), "$1\r\n0\r\n"),
        (
            Form::Before,
            Reply::SumIsHigher(6),
            "-ERR counters only go up: the sum is above that\r\n",
        ),
        (Form::Created, Reply::Created, ":1\r\n"),
        (Form::Created, Reply::Present(0), ":0\r\n"),
        (
            Form::Created,
            Reply::Error(ErrorCode::TooManyTopics),
            "-OOM the limit on topics is reached (--max-topics, or that of the token)\r\n",
        ),
        (Form::Expiry, Reply::Get(Some(0)), ":-1\r\n"),
        (Form::Expiry, Reply::Get(None), ":-2\r\n"),
        (Form::Zero, Reply::Get(Some(5)), ":0\r\n"),
        (Form::Length, Reply::Get(None), ":0\r\n"),
        (Form::Length, Reply::Get(Some(0)), ":1\r\n"),
        (Form::Length, Reply::Get(Some(99)), ":2\r\n"),
        (Form::Length, Reply::Get(Some(100)), ":3\r\n"),
        (Form::Length, Reply::Get(Some(u64::MAX)), ":20\r\n"),
        (Form::Encoding, Reply::Get(Some(5)), "$3\r\nint\r\n"),
        (Form::Encoding, Reply::Get(None), "$-1\r\n"),
        (Form::IfExists(56), Reply::Get(Some(5)), ":56\r\n"),
        (Form::IfExists(56), Reply::Get(None), "$-1\r\n"),
    ] {
        let mut out = Vec::new();
        let mut writer = Writer::new(Version::Resp2, &mut out);
        let is_error = Tally::default().write(form.content(reply), &mut writer);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(is_error, expected.starts_with('-'));
    }
}

#[test]
fn versions_differ_in_maps_sets_nulls_and_text() {
    let encoded = |version| {
        let mut out = Vec::new();
        let mut writer = Writer::new(version, &mut out);
        writer.map(1);
        writer.set(2);
        writer.null();
        writer.text("hi");
        writer.signed(-7);
        String::from_utf8(out).unwrap()
    };
    let two = "*2\r\n*2\r\n$-1\r\n$2\r\nhi\r\n:-7\r\n";
    assert_eq!(encoded(Version::Resp2), two);
    let three = "%1\r\n~2\r\n_\r\n=6\r\ntxt:hi\r\n:-7\r\n";
    assert_eq!(encoded(Version::Resp3), three);
}

/// Returns the length of the value at the start of `input`, of any kind.
fn skip(input: &[u8]) -> usize {
    let end = input.windows(2).position(|pair| pair == b"\r\n").unwrap();
    let number = || -> i64 {
        std::str::from_utf8(&input[1..end])
            .unwrap()
            .parse()
            .unwrap()
    };
    let mut at = end + 2;
    match input[0] {
        b'$' | b'=' => at + (number() + 2).max(0) as usize,
        kind @ (b'*' | b'~' | b'%') => {
            let items = number() * if kind == b'%' { 2 } else { 1 };
            for _ in 0..items {
                at += skip(&input[at..]);
            }
            at
        }
        _ => at,
    }
}

/// The lists and maps of COMMAND, COMMAND DOCS and HELP have as many items as they announce.
#[test]
fn descriptions_have_the_announced_number_of_items() {
    for version in [Version::Resp2, Version::Resp3] {
        for spec in COMMANDS {
            let mut out = Vec::new();
            let mut writer = Writer::new(version, &mut out);
            writer.array(3);
            describe(spec, &mut writer);
            document(spec, &mut writer); // a name and a map
            assert_eq!(skip(&out), out.len(), "{}", spec.name);
            let mut out = Vec::new();
            help(spec, &mut Writer::new(version, &mut out));
            assert_eq!(skip(&out), out.len(), "{}", spec.name);
        }
    }
}
