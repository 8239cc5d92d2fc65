//! Which dependencies are found, which are not, and which cycles they form.

use super::super::checks;
use super::package;

/// Every dependency as `from -> to (what)`.
fn dependencies_of(files: &[(&str, &str)]) -> Vec<String> {
    let (_, dependencies) = package(files);
    let dependencies = dependencies.files.dependencies().map(|(from, to, what)| {
        let what: Vec<&str> = what.iter().map(String::as_str).collect();
        format!("{from} -> {to} ({})", what.join(", "))
    });
    dependencies.collect()
}

fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
    let (package, dependencies) = package(files);
    checks::cycles_of_files(&package, &dependencies.files)
}

#[test]
fn a_plain_cycle_is_found() {
    let cycles = cycles_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::{Name, Other}; pub struct Third;"),
        (
            "b.rs",
            "pub struct Name; pub struct Other; use super::c::C;",
        ),
        ("c.rs", "pub struct C(crate::a::Third);"),
    ]);
    assert_eq!(
        cycles,
        ["src: a.rs -> b.rs (Name, Other) -> c.rs (C) -> a.rs (Third)"]
    );
}

#[test]
fn files_that_point_one_way_are_no_cycle() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "pub struct B; impl B { fn own(self) -> Self { self } }",
        ),
    ];
    assert_eq!(dependencies_of(&files), ["a.rs -> b.rs (B)"]);
    assert!(cycles_of(&files).is_empty());
}

#[test]
fn a_cycle_through_a_re_export_is_found() {
    let cycles = cycles_of(&[
        ("lib.rs", "mod f; mod b;"),
        ("f/mod.rs", "mod a; pub(crate) use a::A;"),
        ("f/a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::f::A; pub struct B;"),
    ]);
    assert_eq!(cycles, ["src: b.rs -> f/a.rs (A) -> b.rs (B)"]);
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_name() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod f; mod user; mod other;"),
        (
            "f/mod.rs",
            "mod a; mod g; pub use g::*; pub use a::a; pub use crate::other::Other;",
        ),
        ("f/a.rs", "pub fn a() {}"),
        ("f/g.rs", "pub struct InGlob;"),
        ("other.rs", "pub struct Other;"),
        (
            "user.rs",
            "use crate::f; fn user() { f::a(); f::InGlob; f::Other; }",
        ),
    ]);
    // A re-export of anything but a child is a dependency of its own.
    assert_eq!(
        dependencies,
        [
            "f/mod.rs -> other.rs (Other)",
            "user.rs -> f/a.rs (a)",
            "user.rs -> f/g.rs (InGlob)",
            "user.rs -> other.rs (Other)",
        ]
    );
}

#[test]
fn a_mod_rs_that_uses_what_it_re_exports_takes_it() {
    let files = |body| {
        [
            ("lib.rs", "mod f;"),
            ("f/mod.rs", body),
            ("f/a.rs", "pub struct A; pub fn a() {}"),
        ]
    };
    let used = "mod a; pub use a::{A, a}; fn new() -> A { a() }";
    assert_eq!(dependencies_of(&files(used)), ["f/mod.rs -> f/a.rs (A, a)"]);
    let variable = "mod a; pub use a::{A, a}; fn add(a: u8) -> u8 { a + 1 }";
    assert!(dependencies_of(&files(variable)).is_empty());
}

#[test]
fn a_child_that_uses_an_item_of_its_mod_rs_is_a_cycle() {
    let cycles = cycles_of(&[
        ("lib.rs", "mod f;"),
        (
            "f/mod.rs",
            "mod a; use a::A; pub struct Top(A); const LIMIT: u8 = 1;",
        ),
        ("f/a.rs", "use super::LIMIT; pub struct A;"),
    ]);
    assert_eq!(cycles, ["src: f/a.rs -> f/mod.rs (LIMIT) -> f/a.rs (A)"]);
}

#[test]
fn a_name_that_a_mod_rs_imports_leads_to_its_definition_if_the_package_has_it() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod f; mod b;"),
        ("f/mod.rs", "mod a; use crate::b::B; use std::sync::Arc;"),
        ("f/a.rs", "use super::{Arc, B};"),
        ("b.rs", "pub struct B;"),
    ]);
    assert_eq!(
        dependencies,
        [
            "f/a.rs -> b.rs (B)",
            "f/a.rs -> f/mod.rs (Arc)",
            "f/mod.rs -> b.rs (B)",
        ]
    );
}

#[test]
fn test_code_is_not_looked_at() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod samples;"),
        (
            "a.rs",
            "#[cfg(test)] use crate::b::B; \
             #[cfg(all(test, unix))] fn one() { crate::b::one() } \
             #[cfg(test)] mod tests { use crate::b::B; } \
             struct A { #[cfg(test)] b: crate::b::B } \
             impl A { #[cfg(test)] fn b(&self) -> crate::b::B { crate::b::B } }",
        ),
        (
            "b.rs",
            "pub struct B; #[cfg(not(test))] use crate::a::A; #[cfg(test)] mod tests;",
        ),
        ("b/tests.rs", "use crate::a::A;"),
        ("samples.rs", "use crate::a::A;"),
    ]);
    assert_eq!(dependencies, ["b.rs -> a.rs (A)"]);
}

#[test]
fn super_and_self_and_crate_are_followed() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod a; mod f;"),
        ("a.rs", "pub struct A; pub enum Kind { One }"),
        ("f/mod.rs", "mod g; mod h; pub struct InMod;"),
        ("f/h.rs", "pub struct H;"),
        (
            "f/g/mod.rs",
            "mod deep; fn here() -> self::deep::Deep { todo!() }",
        ),
        (
            "f/g/deep.rs",
            "use super::super::super::a::A; use super::super::{h::{self, H}, InMod}; \
             pub struct Deep; fn one() { crate::a::Kind::One; h::H; }",
        ),
    ]);
    assert_eq!(
        dependencies,
        [
            "f/g/deep.rs -> a.rs (A, Kind)",
            "f/g/deep.rs -> f/h.rs (H)",
            "f/g/deep.rs -> f/mod.rs (InMod)",
            "f/g/mod.rs -> f/g/deep.rs (Deep)",
        ]
    );
}

#[test]
fn renamed_imports_are_followed() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub struct A; pub fn run() {}"),
        (
            "b.rs",
            "use crate::a as below; use crate::c::C as _; fn b() { below::run() }",
        ),
        ("c.rs", "pub use crate::a::A as C;"),
    ]);
    assert_eq!(dependencies, ["b.rs -> a.rs (A, run)", "c.rs -> a.rs (A)"]);
}

#[test]
fn a_glob_import_is_a_dependency_and_brings_names() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod a; mod b; mod f;"),
        ("a.rs", "use crate::f::*; fn a() -> B { todo!() }"),
        ("b.rs", "pub struct B; pub enum Kind { One }"),
        ("f/mod.rs", "mod g; pub use crate::b::B;"),
        ("f/g.rs", "use crate::b::Kind::*; fn g() { One; }"),
    ]);
    assert_eq!(
        dependencies,
        [
            "a.rs -> b.rs (B)",
            "a.rs -> f/mod.rs (*)",
            "f/g.rs -> b.rs (Kind)",
            "f/mod.rs -> b.rs (B)",
        ]
    );
}

#[test]
fn imports_in_functions_inline_modules_macros_and_attributes_count() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        (
            "a.rs",
            "pub struct A; pub fn say() {} pub const MOST: u8 = 1;",
        ),
        ("b.rs", "fn b() { use crate::a as low; low::say(); }"),
        (
            "c.rs",
            "mod inner { use crate::a::A; pub struct C; } use self::inner::C;",
        ),
        (
            "d.rs",
            "use super::a; fn d() { println!(\"{}\", 0..a::MOST); x.a::<u8>(); }",
        ),
        ("e.rs", "#[arg(value_parser = crate::a::say)] struct E;"),
    ]);
    assert_eq!(
        dependencies,
        [
            "b.rs -> a.rs (say)",
            "c.rs -> a.rs (A)",
            "d.rs -> a.rs (MOST)",
            "e.rs -> a.rs (say)",
        ]
    );
}

#[test]
fn a_module_and_a_crate_of_one_name_are_told_apart() {
    let (_, dependencies) = package(&[
        ("lib.rs", "mod store; mod json;"),
        ("store/mod.rs", "mod redb; pub use redb::RedbStore;"),
        (
            "store/redb.rs",
            "use redb::Table; use ::tokio::net; pub struct RedbStore;",
        ),
        ("json.rs", "use crate::store::RedbStore;"),
    ]);
    assert!(dependencies.outside["store/redb.rs"].contains("redb"));
    assert!(dependencies.outside["store/redb.rs"].contains("tokio"));
    assert_eq!(dependencies.files.targets("store/redb.rs").count(), 0);
    assert_eq!(
        dependencies.files.targets("json.rs").collect::<Vec<_>>(),
        ["store/redb.rs"]
    );
}

#[test]
fn the_program_calls_the_library_by_its_name() {
    let dependencies = dependencies_of(&[
        ("lib.rs", "pub mod a; pub use a::A;"),
        ("main.rs", "mod cli; fn main() { cli::run() }"),
        ("cli.rs", "use sample::A; pub fn run() { sample::a::go() }"),
        ("a.rs", "pub struct A; pub fn go() {}"),
    ]);
    assert_eq!(
        dependencies,
        ["cli.rs -> a.rs (A, go)", "main.rs -> cli.rs (run)"]
    );
}
