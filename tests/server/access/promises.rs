//! Each promise of docs/security.md names a test that exists.

const DOCUMENT: &str = include_str!("../../../docs/security.md");

/// The files with the tests, by the modules in which they are.
const SOURCES: [(&str, &str); 18] = [
    ("access::admin", include_str!("admin.rs")),
    ("admin_tls", include_str!("../admin_tls.rs")),
    ("access::certificates", include_str!("certificates.rs")),
    ("access::clients", include_str!("clients.rs")),
    ("access::credentials", include_str!("credentials.rs")),
    ("access::files", include_str!("files.rs")),
    ("access::ranges", include_str!("ranges.rs")),
    ("access::refusals", include_str!("refusals.rs")),
    ("access::scope", include_str!("scope.rs")),
    ("access::table", include_str!("table.rs")),
    ("files", include_str!("../files.rs")),
    ("rates", include_str!("../rates.rs")),
    ("secrets", include_str!("../secrets.rs")),
    ("tls", include_str!("../tls.rs")),
    ("tls_offer", include_str!("../tls_offer.rs")),
    ("tls_programs", include_str!("../tls_programs.rs")),
    ("token_floods", include_str!("../token_floods.rs")),
    (
        "access::guard::tests",
        include_str!("../../../src/access/guard.rs"),
    ),
];

#[test]
fn every_promise_names_a_test() {
    let (_, promises) = DOCUMENT.split_once("| promise | test |").unwrap();
    let lines = promises
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let words = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut named = 0;
    for test in words.filter(|word| word.contains("::")) {
        let (module, name) = test.rsplit_once("::").unwrap();
        let source = SOURCES.iter().find(|(of, _)| *of == module);
        let (_, source) = source.unwrap_or_else(|| panic!("{test}: no such module"));
        assert!(source.contains(&format!("fn {name}()")), "{test}");
        named += 1;
    }
    assert!(named >= 10, "{named}");
}
