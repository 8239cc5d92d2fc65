//! The layout of the sources of both packages: which files use which, read from `src/` and
//! `loadgen/src/` themselves. File A depends on file B for each name that A's code, without tests, uses
//! from B by an import or a path. A re-export of a child is no dependency.
//!
//! - `code`: what one module defines, imports and names
//! - `package`: files and modules
//! - `dependencies`: names resolved to the files that define them
//! - `graph`: the dependencies, and their cycles
//! - `checks`: what must hold
//! - `samples`: small packages that each break a rule, and so show that the checks can fail
//!
//! To see the order of a folder's entries from top to bottom, run
//! `LAYOUT_PRINT=1 cargo test --test layout -- --nocapture`.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod checks;
mod code;
mod dependencies;
mod graph;
mod package;
mod samples;

use std::sync::LazyLock;

use dependencies::Dependencies;
use package::Package;

/// The order of the library's and the command's parts, from the bottom to the top. The client knows
/// nothing of the server, nor the server of the client.
const ROOT_ORDER: [&[&str]; 2] = [
    &[
        "planting", "topic", "cluster", "protocol", "measure", "etcd", "access", "shard", "store",
        "server", "json", "admin", "cli", "main",
    ],
    &["topic", "protocol", "client", "json", "cli", "main"],
];

/// The order of the load generator's parts, from the bottom to the top.
const LOADGEN_ORDER: [&[&str]; 1] = [&[
    "print", "manual", "values", "stats", "sockets", "workload", "target", "plan", "verify",
    "observe", "launch", "drive", "report", "measure", "null", "compare", "tune", "args", "main",
]];

/// Parts that do no I/O and so must not know the crate that does it.
const WITHOUT_TOKIO: [&str; 5] = ["topic", "cluster", "protocol", "measure", "shard"];

/// The folder under which `sys` alone has `unsafe`.
const SERVER: &str = "server/";

/// The one other file with `unsafe`: two kinds of instructions have no safe function. Without it, a
/// request to one of 10 million topics takes 1.7 times as long.
const UNSAFE_FILES: [&str; 1] = ["shard/table/intrinsics.rs"];

/// A folder that fits on one screen is one that a reader can remember.
const SERVER_ENTRIES: usize = 12;

/// Modules of the server that are public, hidden from the documentation: `sys` and `affinity` for
/// the load generator and benches, `inbox` and `reach` for benches and the model test.
const OPEN_MODULES: [&str; 4] = ["affinity", "inbox", "reach", "sys"];

/// The two packages with their dependencies.
static PACKAGES: LazyLock<[(Package, Dependencies); 2]> = LazyLock::new(|| {
    [("src", "globalcounter"), ("loadgen/src", "loadgen")].map(|(place, name)| {
        let package = Package::read(place, name);
        let dependencies = dependencies::find(&package);
        (package, dependencies)
    })
});

/// Runs a check over both packages; `advice` says what to do about what it finds.
fn expect_nothing(advice: &str, check: impl Fn(&Package, &Dependencies) -> Vec<String>) {
    let packages = PACKAGES.iter();
    let found: Vec<String> = packages
        .flat_map(|(package, dependencies)| check(package, dependencies))
        .collect();
    assert!(found.is_empty(), "\n{}\n\n{advice}\n", found.join("\n"));
}

#[test]
fn every_file_is_read() {
    let advice = "add the `mod` line that is missing, or delete the file";
    expect_nothing(advice, |package, _| package.unread());
}

#[test]
fn no_cycle_of_files() {
    let advice = "move what both need into a file below them (the names in brackets are defined in \
        the file before them and used by the file before that)";
    expect_nothing(advice, |package, dependencies| {
        checks::cycles_of_files(package, &dependencies.files)
    });
}

#[test]
fn no_cycle_of_a_folders_entries() {
    let advice = "move what both need into a file below them, beside or inside the folder that all \
        of them may use";
    expect_nothing(advice, |package, dependencies| {
        checks::cycles_of_entries(package, &dependencies.files)
    });
}

#[test]
fn parts_keep_their_order() {
    let advice = "move what the lower part needs down to it, or hand it in as a value; a new part \
        gets its place in ROOT_ORDER or LOADGEN_ORDER (tests/layout/main.rs)";
    expect_nothing(advice, |package, dependencies| {
        let chains: &checks::Chains = match package.place.as_str() {
            "src" => &ROOT_ORDER,
            _ => &LOADGEN_ORDER,
        };
        checks::out_of_order(package, &dependencies.files, chains)
    });
}

#[test]
fn the_core_knows_no_tokio() {
    let advice = "keep I/O in `server` and `client`: the core takes bytes and values and returns \
        values";
    expect_nothing(advice, |package, dependencies| {
        match package.place.as_str() {
            "src" => checks::knows_crate(package, &dependencies.outside, &WITHOUT_TOKIO, "tokio"),
            _ => Vec::new(),
        }
    });
}

#[test]
fn unsafe_code_is_in_few_places() {
    let advice = "give `sys` under `src/server` a safe function for it, and call that";
    expect_nothing(advice, |package, _| {
        checks::unsafe_code(package, SERVER, &UNSAFE_FILES)
    });
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
        for (package, dependencies) in PACKAGES.iter() {
            println!("{}", checks::print(package, &dependencies.files));
        }
    }
}
