use super::*;

fn outcome(input: &[u8]) -> Outcome {
    let decoded = TCP.decode(input).unwrap().unwrap();
    assert_eq!(decoded.len, input.len());
    decoded.outcome
}

#[test]
fn replies_are_decoded() {
    assert_eq!(outcome(b"12\r\n"), Outcome::Sum(12));
    assert_eq!(outcome(b"VALUE a 0 2\r\n12\r\nEND\r\n"), Outcome::Sum(12));
    assert_eq!(outcome(b"END\r\n"), Outcome::Missing);
    assert_eq!(outcome(b"NOT_FOUND\r\n"), Outcome::Missing);
    assert_eq!(outcome(b"STORED\r\n"), Outcome::Done);
    let refused = outcome(b"SERVER_ERROR out of memory\r\n");
    assert_eq!(
        refused,
        Outcome::Refused("SERVER_ERROR out of memory".into())
    );
    assert_eq!(TCP.decode(b"VALUE a 0 2\r\n12\r\nEN").unwrap(), None);
    assert!(TCP.decode(b"hello\r\n").is_err());
}

#[test]
fn a_datagram_has_a_header() {
    let mut out = Vec::new();
    UDP.encode(0x1234, Op::Count, b"a", &mut out);
    assert_eq!(out, b"\x12\x34\0\0\0\x01\0\0incr a 1\r\n");
    let decoded = UDP
        .decode(b"\x12\x34\0\0\0\x01\0\x0042\r\n")
        .unwrap()
        .unwrap();
    assert_eq!((decoded.id, decoded.outcome), (0x1234, Outcome::Sum(42)));
    assert!(
        UDP.decode(b"\x12\x34\0\0\0\x02\0\x0042\r\n").is_err(),
        "two datagrams"
    );
}
