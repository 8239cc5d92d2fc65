//! The layout of the sources of both packages: who uses whom, read from `src/` and `loadgen/src/`
//! themselves. An arrow goes from file A to file B for each name that A's code, tests aside, takes
//! from B by an import or a path; a re-export of a child is none.
//!
//! - `code`: what one module defines, imports and names
//! - `package`: files and modules
//! - `arrows`: names resolved to the files that define them
//! - `graph`: circles
//! - `checks`: what must hold
//! - `samples`: small packages that each break a rule, and so show that the checks can fail
//!
//! To see the order of a folder's entries from top to bottom, run
//! `LAYOUT_PRINT=1 cargo test --test layout -- --nocapture`.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod arrows;
mod checks;
mod code;
mod graph;
mod package;
mod samples;

use std::sync::LazyLock;

use arrows::Arrows;
use package::Package;

/// The order of the library's and the command's parts, from the bottom to the top. The client knows
/// nothing of the server, nor the server of the client.
const ROOT_ORDER: [&[&str]; 2] = [
    &[
        "topic", "protocol", "shard", "store", "server", "cli", "main",
    ],
    &["topic", "protocol", "client", "cli", "main"],
];

/// The order of the load generator's parts, from the bottom to the top.
const LOADGEN_ORDER: [&[&str]; 1] = [&[
    "print", "values", "sockets", "workload", "target", "plan", "verify", "observe", "drive",
    "report", "measure", "null", "compare", "args", "main",
]];

/// Parts that do no I/O and so must not know the crate that does it.
const WITHOUT_TOKIO: [&str; 3] = ["topic", "protocol", "shard"];

/// The folder under which `sys` alone has `unsafe`.
const SERVER: &str = "server/";

/// A folder that fits on one screen is one that a reader can remember.
const SERVER_ENTRIES: usize = 12;

/// Modules of the server that are public, hidden from the documentation: `sys` and `affinity` for
/// the load generator and benches, `inbox` and `reach` for benches and the model test.
const OPEN_MODULES: [&str; 4] = ["affinity", "inbox", "reach", "sys"];

/// The two packages with their arrows.
static PACKAGES: LazyLock<[(Package, Arrows); 2]> = LazyLock::new(|| {
    [("src", "globalcounter"), ("loadgen/src", "loadgen")].map(|(place, name)| {
        let package = Package::read(place, name);
        let arrows = arrows::draw(&package);
        (package, arrows)
    })
});

/// Runs a check over both packages; `advice` says what to do about what it finds.
fn expect_nothing(advice: &str, check: impl Fn(&Package, &Arrows) -> Vec<String>) {
    let packages = PACKAGES.iter();
    let found: Vec<String> = packages
        .flat_map(|(package, arrows)| check(package, arrows))
        .collect();
    assert!(found.is_empty(), "\n{}\n\n{advice}\n", found.join("\n"));
}

#[test]
fn every_file_is_read() {
    let advice = "add the `mod` line that is missing, or delete the file";
    expect_nothing(advice, |package, _| package.unread());
}

#[test]
fn no_circle_of_files() {
    let advice = "move what both need into a file below them (the names in brackets are what each \
        arrow takes from the file before them)";
    expect_nothing(advice, |package, arrows| {
        checks::circles_of_files(package, &arrows.files)
    });
}

#[test]
fn no_arrow_back_up_in_a_folder() {
    let advice = "move what both need into a file below them, beside or inside the folder that all \
        of them may use";
    expect_nothing(advice, |package, arrows| {
        checks::circles_of_entries(package, &arrows.files)
    });
}

#[test]
fn parts_keep_their_order() {
    let advice = "move what the lower part needs down to it, or hand it in as a value; a new part \
        gets its place in ROOT_ORDER or LOADGEN_ORDER (tests/layout/main.rs)";
    expect_nothing(advice, |package, arrows| {
        let chains: &checks::Chains = match package.place.as_str() {
            "src" => &ROOT_ORDER,
            _ => &LOADGEN_ORDER,
        };
        checks::out_of_order(package, &arrows.files, chains)
    });
}

#[test]
fn the_core_knows_no_tokio() {
    let advice = "keep I/O in `server` and `client`: the core takes bytes and values and returns \
        values";
    expect_nothing(advice, |package, arrows| match package.place.as_str() {
        "src" => checks::knows_crate(package, &arrows.outside, &WITHOUT_TOKIO, "tokio"),
        _ => Vec::new(),
    });
}

#[test]
fn unsafe_code_is_in_sys() {
    let advice = "give `sys` under `src/server` a safe function for it, and call that";
    expect_nothing(advice, |package, _| checks::unsafe_code(package, SERVER));
}

#[test]
fn the_server_is_not_crowded() {
    let advice = "put files of one subject into a folder of their own, behind a mod.rs";
    expect_nothing(advice, |package, _| {
        checks::crowded(package, SERVER, SERVER_ENTRIES)
    });
}

#[test]
fn the_servers_modules_are_private() {
    let advice = "make the module private and re-export what others may use from its mod.rs";
    expect_nothing(advice, |package, _| {
        checks::open_modules(package, SERVER, &OPEN_MODULES)
    });
}

#[test]
fn prints_the_order_if_asked() {
    if std::env::var_os("LAYOUT_PRINT").is_some() {
        for (package, arrows) in PACKAGES.iter() {
            println!("{}", checks::print(package, &arrows.files));
        }
    }
}
