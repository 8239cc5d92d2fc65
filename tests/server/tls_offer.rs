//! What TLS offers: every version, cipher suite, group and signature scheme is tried, and what the server
//! accepts is what docs/security.md lists. A handshake goes as far as the server's first answer, which is
//! enough to know.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use crate::support::{TlsDirectory, connect};

const DOCUMENT: &str = include_str!("../../docs/security.md");

const SSL3: u16 = 0x0300;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// Versions with their names; TLS 1.3 is offered by an extension.
const VERSIONS: [(u16, &str); 5] = [
    (SSL3, "SSL 3.0"),
    (0x0301, "TLS 1.0"),
    (0x0302, "TLS 1.1"),
    (TLS12, "TLS 1.2"),
    (TLS13, "TLS 1.3"),
];

/// The suites that the server may accept, with their names. Others are shown as numbers.
const SUITES: [(u16, &str); 6] = [
    (0x1301, "TLS13_AES_128_GCM_SHA256"),
    (0x1302, "TLS13_AES_256_GCM_SHA384"),
    (0x1303, "TLS13_CHACHA20_POLY1305_SHA256"),
    (0xc02b, "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xcca9, "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Groups that are registered: of elliptic curves, finite fields (ffdhe) and hybrids.
fn groups() -> impl Iterator<Item = u16> {
    (1..=41).chain(256..=260).chain(0x11eb..=0x11ed)
}

const GROUPS: [(u16, &str); 3] = [(23, "secp256r1"), (24, "secp384r1"), (29, "X25519")];

const SCHEMES: [(u16, &str); 1] = [(0x0403, "ECDSA_NISTP256_SHA256")];

/// Suites in one ClientHello. A record has room for twice as many.
const SUITES_AT_A_TIME: usize = 4096;

/// Values that are signals and no suites: RFC 5746, section 3.3, and RFC 7507, section 2.
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];

/// What a client offers.
struct Offer {
    version: u16,
    suites: Vec<u16>,
    compressions: Vec<u8>,
    groups: Vec<u16>,
    schemes: Vec<u16>,
}

/// What the server has chosen.
#[derive(Debug)]
struct Chosen {
    version: u16,
    suite: u16,
    compression: u8,
}

fn offer(version: u16) -> Offer {
    Offer {
        version,
        suites: SUITES.map(|(suite, _)| suite).to_vec(),
        compressions: vec![0],
        groups: groups().collect(),
        schemes: SCHEMES.map(|(scheme, _)| scheme).to_vec(),
    }
}

/// Appends a list with its length in `width` bytes before it.
fn list(width: usize, bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u32).to_be_bytes();
    [&len[4 - width..], bytes].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

impl Offer {
    /// Returns a ClientHello (RFC 8446, section 4.1.2). It has no share of a key, so TLS 1.3 answers with
    /// HelloRetryRequest, which names the group.
    fn client_hello(&self) -> Vec<u8> {
        let legacy = self.version.min(TLS12);
        let extension =
            |number: u16, bytes: Vec<u8>| [numbers(&[number]), list(2, &bytes)].concat();
        let mut extensions = [
            extension(10, list(2, &numbers(&self.groups))),
            extension(11, list(1, &[0])),
            extension(13, list(2, &numbers(&self.schemes))),
        ]
        .concat();
        if self.version == TLS13 {
            extensions.extend(extension(43, list(1, &numbers(&[TLS13]))));
            extensions.extend(extension(51, list(2, &[])));
        }
        let body = [
            numbers(&[legacy]),
            vec![7; 32],
            list(1, &[]),
            list(2, &numbers(&self.suites)),
            list(1, &self.compressions),
            list(2, &extensions),
        ]
        .concat();
        let message = [vec![1], list(3, &body)].concat();
        let record = legacy.min(0x0301);
        [vec![22], numbers(&[record]), list(2, &message)].concat()
    }

    /// Returns what the server chooses; `None` if it refuses with an alert, or ends the connection.
    fn ask(&self, address: SocketAddr) -> Option<Chosen> {
        let mut stream = connect(address);
        stream.write_all(&self.client_hello()).unwrap();
        let mut header = [0; 5];
        match stream.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            read => read.unwrap(),
        }
        let mut record = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
        stream.read_exact(&mut record).unwrap();
        if header[0] == 21 {
            assert_eq!(record[0], 2, "a fatal alert: {record:?}");
            return None;
        }
        assert_eq!((header[0], record[0]), (22, 2), "ServerHello");
        let two = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
        let suite = 4 + 2 + 32 + 1 + usize::from(record[38]);
        let mut version = two(4);
        let mut at = suite + 5;
        while at + 4 <= record.len() {
            if two(at) == 43 {
                version = two(at + 4);
            }
            at += 4 + usize::from(two(at + 2));
        }
        Some(Chosen {
            version,
            suite: two(suite),
            compression: record[suite + 2],
        })
    }
}

/// Returns the name of a number; the number if it has none.
fn name(number: u16, names: &[(u16, &str)]) -> String {
    let found = names.iter().find(|(named, _)| *named == number);
    found.map_or_else(|| format!("{number:#06x}"), |(_, name)| (*name).to_owned())
}

/// Returns what a row of the document's table lists.
fn listed(what: &str) -> BTreeSet<String> {
    let (_, table) = DOCUMENT.split_once("| TLS offers |").unwrap();
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("| {what} |")));
    let words = row.unwrap_or_else(|| panic!("no row {what}")).split('`');
    words.skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn only_strong_suites_of_two_versions_are_accepted() {
    let files = TlsDirectory::new("offer-suites");
    let server = files.start(2);
    let (address, _) = *server.tls.as_ref().unwrap();
    let mut versions = BTreeSet::new();
    for (version, name_of_version) in VERSIONS {
        let mut accepted = BTreeSet::new();
        let all: Vec<u16> = (0..=u16::MAX).filter(|n| !SIGNALS.contains(n)).collect();
        for suites in all.chunks(SUITES_AT_A_TIME) {
            let mut offer = offer(version);
            offer.suites = suites.to_vec();
            // The server chooses one at a time.
            while let Some(chosen) = offer.ask(address) {
                assert_eq!((chosen.version, chosen.compression), (version, 0));
                let before = offer.suites.len();
                offer.suites.retain(|&suite| suite != chosen.suite);
                assert_eq!(offer.suites.len(), before - 1, "{chosen:?} was offered");
                accepted.insert(name(chosen.suite, &SUITES));
            }
        }
        if !accepted.is_empty() {
            versions.insert(name_of_version.to_owned());
            let row = format!("suites of {name_of_version}");
            assert_eq!(accepted, listed(&row));
        }
    }
    assert_eq!(versions, listed("versions"));
}

#[test]
fn only_strong_groups_and_signatures_are_accepted() {
    let files = TlsDirectory::new("offer-groups");
    let server = files.start(2);
    let (address, _) = *server.tls.as_ref().unwrap();
    for version in [TLS12, TLS13] {
        let accepted = groups().filter(|&group| {
            let groups = vec![group];
            let offer = Offer {
                groups,
                ..offer(version)
            };
            offer.ask(address).is_some()
        });
        let accepted: BTreeSet<String> = accepted.map(|group| name(group, &GROUPS)).collect();
        assert_eq!(accepted, listed("groups"), "{version:#x}");
    }
    // Schemes: a hash and an algorithm each, or a number of its own (RFC 8446, section 4.2.3).
    let schemes = (0..=8_u16).flat_map(|high| (0..=16).map(move |low| high << 8 | low));
    let accepted = schemes.filter(|&scheme| {
        let schemes = vec![scheme];
        let offer = Offer {
            schemes,
            ..offer(TLS12)
        };
        offer.ask(address).is_some()
    });
    let accepted: BTreeSet<String> = accepted.map(|scheme| name(scheme, &SCHEMES)).collect();
    assert_eq!(accepted, listed("signatures"));
}

#[test]
fn nothing_is_compressed_and_no_older_hello_is_answered() {
    let files = TlsDirectory::new("offer-rest");
    let server = files.start(2);
    let (address, _) = *server.tls.as_ref().unwrap();
    // DEFLATE alone, and beside no compression.
    let with = |compressions| Offer {
        compressions,
        ..offer(TLS12)
    };
    assert!(with(vec![1]).ask(address).is_none());
    let chosen = with(vec![1, 0]).ask(address).expect("it is accepted");
    assert_eq!(chosen.compression, 0);
    assert_eq!(listed("compression"), BTreeSet::new());
    // A CLIENT-HELLO of SSL 2.0 that offers RC4 and 3DES: a record of 40 bytes.
    let mut hello = vec![0x80, 40, 1, 3, 0, 0, 15, 0, 0, 0, 16];
    hello.extend([1, 0, 0x80, 7, 0, 0xc0, 0, 0, 5, 0, 0, 10, 0, 0, 4]);
    hello.extend([7; 16]);
    let mut stream = connect(address);
    stream.write_all(&hello).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(reply.first(), Some(&21), "an alert: {reply:?}");
}
