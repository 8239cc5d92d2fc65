//! A package for each check that breaks its rule.

use super::super::checks;
use super::package;

#[test]
fn a_cycle_of_folders_without_a_cycle_of_files_is_found() {
    let (package, dependencies) = package(&[
        ("lib.rs", "mod f; mod g;"),
        ("f/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("f/a.rs", "use crate::g::D; pub struct A;"),
        ("f/b.rs", "pub struct B;"),
        ("g/mod.rs", "mod d; pub use d::D;"),
        ("g/d.rs", "use crate::f::B; pub struct D;"),
    ]);
    assert!(checks::cycles_of_files(&package, &dependencies.files).is_empty());
    assert_eq!(
        checks::cycles_of_entries(&package, &dependencies.files),
        ["src: f/ -> g/ (D) -> f/ (B)"]
    );
}

#[test]
fn a_dependency_against_the_order_is_found() {
    let (package, dependencies) = package(&[
        (
            "lib.rs",
            "pub mod low; mod left; mod right; mod extra; pub struct InLib;",
        ),
        ("low.rs", "use crate::left::Left;"),
        ("left/mod.rs", "use crate::right::Right; pub struct Left;"),
        (
            "right.rs",
            "use crate::low::Low; use crate::InLib; pub struct Right;",
        ),
        ("extra.rs", ""),
    ]);
    let chains: [&[&str]; 2] = [&["low", "left"], &["low", "right", "gone"]];
    assert_eq!(
        checks::out_of_order(&package, &dependencies.files, &chains),
        [
            "src: extra is not in the declared order",
            "src: gone is in the declared order but does not exist",
            "src: left/mod.rs -> right.rs (Right)",
            "src: low.rs -> left/mod.rs (Left)",
            "src: right.rs -> lib.rs (InLib)",
        ]
    );
}

#[test]
fn a_part_that_knows_tokio_is_found() {
    let (package, dependencies) = package(&[
        ("lib.rs", "mod core; mod io; mod pure;"),
        ("core/mod.rs", "mod task;"),
        ("core/task.rs", "fn task() { tokio::spawn(async {}); }"),
        ("io.rs", "use tokio::net::TcpStream;"),
        ("pure.rs", "/// Not tokio::spawn.\nfn pure() {}"),
    ]);
    assert_eq!(
        checks::knows_crate(&package, &dependencies.outside, &["core", "pure"], "tokio"),
        ["src: core/task.rs names tokio"]
    );
}

#[test]
fn unsafe_code_outside_sys_is_found() {
    let (package, _) = package(&[
        ("lib.rs", "mod server; mod sys;"),
        ("sys.rs", "fn one() { unsafe { two() } }"),
        (
            "server/mod.rs",
            "//! No unsafe here.\n#![allow(unsafe_code)] mod net; mod a;",
        ),
        ("server/net/mod.rs", "mod sys;"),
        ("server/net/sys.rs", "fn one() { unsafe { two() } }"),
        ("server/net/sys/tests.rs", "fn one() { unsafe { two() } }"),
        (
            "server/a.rs",
            "#[cfg(test)] mod tests { unsafe fn one() {} }",
        ),
    ]);
    assert_eq!(
        checks::unsafe_code(&package, "server/", &[]),
        ["src: server/a.rs has `unsafe`", "src: sys.rs has `unsafe`"]
    );
}

#[test]
fn a_crowded_folder_is_found() {
    let (package, _) = package(&[
        ("lib.rs", "mod server;"),
        ("server/mod.rs", "mod a; mod f; #[cfg(test)] mod tests;"),
        ("server/a.rs", ""),
        ("server/f/mod.rs", "mod one; mod two;"),
        ("server/f/one.rs", ""),
        ("server/f/two.rs", ""),
        ("server/tests.rs", ""),
        ("server/tests/more.rs", ""),
    ]);
    assert!(checks::crowded(&package, "server/", 3).is_empty());
    assert_eq!(
        checks::crowded(&package, "server/", 2),
        [
            "src: server/ has 3 entries, at most 2 are allowed: server/a.rs, server/f/, server/mod.rs"
        ]
    );
}

#[test]
fn an_open_module_is_found() {
    let (package, _) = package(&[
        ("lib.rs", "pub mod server; pub mod client;"),
        ("client.rs", ""),
        ("server/mod.rs", "mod net;"),
        (
            "server/net/mod.rs",
            "pub mod sys; pub(crate) mod tcp; mod udp; pub(super) mod io;",
        ),
        ("server/net/sys.rs", ""),
        ("server/net/tcp.rs", ""),
        ("server/net/udp.rs", ""),
        ("server/net/io.rs", ""),
    ]);
    assert_eq!(
        checks::open_modules(&package, "server/", &["sys"]),
        [
            "src: server/net/mod.rs opens `mod tcp`",
            "src: server/net/mod.rs opens `mod io`"
        ]
    );
}

#[test]
fn a_file_that_no_mod_line_leads_to_is_found() {
    let (package, _) = package(&[
        ("lib.rs", "mod a; #[cfg(test)] mod checked;"),
        ("a.rs", ""),
        ("checked.rs", ""),
        ("lost.rs", ""),
    ]);
    assert_eq!(package.unread(), ["src/lost.rs"]);
}

#[test]
fn the_print_goes_from_top_to_bottom() {
    let (package, dependencies) = package(&[
        ("lib.rs", "mod a; mod b; mod f;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::f::F;"),
        ("f/mod.rs", "mod top; mod low; pub use top::F;"),
        ("f/top.rs", "use super::low::Low; pub struct F;"),
        ("f/low.rs", "use crate::a::A; pub struct Low;"),
    ]);
    assert_eq!(
        checks::print(&package, &dependencies.files),
        "\nsrc/\n  lib.rs\n  b.rs -> f/\n  f/ -> a.rs\n  a.rs\n\
         \nsrc/f/\n  top.rs -> low.rs\n  mod.rs\n  low.rs\n"
    );
}
