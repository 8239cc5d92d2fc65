//! The checks. Each returns a line for everything that is wrong; an empty list is a pass.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use super::graph::Graph;
use super::package::Package;

/// Parts of a package from the bottom to the top: each may use those before it in the same chain.
pub type Chains = [&'static [&'static str]];

/// Lists cycles of files anywhere in the package.
pub fn cycles_of_files(package: &Package, files: &Graph) -> Vec<String> {
    let cycles = files.cycles();
    let lines = cycles.iter().map(|cycle| files.line(cycle));
    lines
        .map(|line| format!("{}: {line}", package.place))
        .collect()
}

/// Lists cycles of a folder's entries that are not cycles of files, because they contain a sub-folder.
pub fn cycles_of_entries(package: &Package, files: &Graph) -> Vec<String> {
    let mut lines = Vec::new();
    for folder in folders(package) {
        let entries = among(files, folder);
        for cycle in entries.cycles() {
            if cycle.iter().any(|entry| entry.ends_with('/')) {
                lines.push(format!("{}: {}", package.place, entries.line(&cycle)));
            }
        }
    }
    lines
}

/// Lists dependencies between top-level parts that no chain allows, parts that no chain names, and
/// names in the chains that are no part. `lib.rs` only re-exports, so it is in no chain.
pub fn out_of_order(package: &Package, files: &Graph, chains: &Chains) -> Vec<String> {
    let place = &package.place;
    let parts: BTreeSet<&str> = package.files.keys().map(|file| part(file)).collect();
    let declared: BTreeSet<&str> = chains.iter().copied().flatten().copied().collect();
    let mut lines = Vec::new();
    for name in parts.difference(&declared).filter(|name| **name != "lib") {
        lines.push(format!("{place}: {name} is not in the declared order"));
    }
    for name in declared.difference(&parts) {
        lines.push(format!(
            "{place}: {name} is in the declared order but does not exist"
        ));
    }
    for (from, to, what) in files.dependencies() {
        let allows = |chain: &&[&str]| {
            let place = |file| chain.iter().position(|name| *name == part(file));
            matches!((place(from), place(to)), (Some(from), Some(to)) if to < from)
        };
        if part(from) != part(to) && !chains.iter().any(allows) {
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            lines.push(format!("{place}: {from} -> {to} ({})", what.join(", ")));
        }
    }
    lines
}

/// Files of the given parts that name a crate which they must not know.
pub fn knows_crate(
    package: &Package,
    outside: &BTreeMap<String, BTreeSet<String>>,
    parts: &[&str],
    name: &str,
) -> Vec<String> {
    let knowing = outside
        .iter()
        .filter(|(file, names)| parts.contains(&part(file)) && names.contains(name));
    knowing
        .map(|(file, _)| format!("{}: {file} names {name}", package.place))
        .collect()
}

/// Files with `unsafe` in them, tests too, other than `sys.rs` and a folder `sys` under `folder`, and
/// those in `allowed`.
pub fn unsafe_code(package: &Package, folder: &str, allowed: &[&str]) -> Vec<String> {
    let is_sys = |file: &str| {
        let mut parts = file.split('/');
        file.starts_with(folder) && parts.any(|part| part == "sys.rs" || part == "sys")
    };
    let mut lines = Vec::new();
    for (file, source) in &package.files {
        if is_sys(file) || allowed.contains(&file.as_str()) {
            continue;
        }
        let tokens = source.parse();
        let tokens = tokens.unwrap_or_else(|error| panic!("{}/{file}: {error}", package.place));
        if has_word(tokens, "unsafe") {
            lines.push(format!("{}: {file} has `unsafe`", package.place));
        }
    }
    lines
}

fn has_word(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => has_word(group.stream(), word),
        _ => false,
    })
}

/// A line if a folder has more than `limit` entries, not counting its own `tests.rs` and `tests/`.
pub fn crowded(package: &Package, folder: &str, limit: usize) -> Vec<String> {
    let mut entries = entries(package.files.keys(), folder);
    entries.remove(&*format!("{folder}tests.rs"));
    entries.remove(&*format!("{folder}tests/"));
    let count = entries.len();
    let line = || {
        let entries: Vec<&str> = entries.iter().copied().collect();
        let entries = entries.join(", ");
        format!(
            "{}: {folder} has {count} entries, at most {limit} are allowed: {entries}",
            package.place
        )
    };
    (count > limit).then(line).into_iter().collect()
}

/// Modules below a folder that are not private, other than those in `allowed`.
pub fn open_modules(package: &Package, folder: &str, allowed: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for module in &package.modules {
        if module.file.starts_with(folder) {
            let open = module.open.iter();
            for name in open.filter(|name| !allowed.contains(&name.as_str())) {
                lines.push(format!(
                    "{}: {} opens `mod {name}`",
                    package.place, module.file
                ));
            }
        }
    }
    lines
}

/// Every folder's entries without tests, those on top first, each with the entries that it uses.
pub fn print(package: &Package, files: &Graph) -> String {
    let mut text = String::new();
    for folder in folders(package) {
        let dependencies = among(files, folder);
        let files = package.files.keys();
        let entries = entries(files.filter(|file| !package.is_test_file(file)), folder);
        if entries.is_empty() {
            continue;
        }
        text += &format!("\n{}/{folder}\n", package.place);
        let name = |entry: &str| entry[folder.len()..].to_owned();
        for entry in dependencies.top_down(&entries) {
            let targets: Vec<String> = dependencies.targets(entry).map(name).collect();
            let arrow = if targets.is_empty() { "" } else { " -> " };
            text += &format!("  {}{arrow}{}\n", name(entry), targets.join(", "));
        }
    }
    text
}

/// The top-level part of a file: `server` of `server/tcp.rs`, `topic` of `topic.rs`.
fn part(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.trim_end_matches(".rs")
}

/// All folders with a slash at the end; the top one is empty.
fn folders(package: &Package) -> BTreeSet<&str> {
    let mut folders = BTreeSet::from([""]);
    for file in package.files.keys() {
        folders.extend(file.match_indices('/').map(|(slash, _)| &file[..=slash]));
    }
    folders
}

/// The entries of a folder by their whole paths; a sub-folder has a slash at the end.
fn entries<'a>(files: impl Iterator<Item = &'a String>, folder: &str) -> BTreeSet<&'a str> {
    files.filter_map(|file| entry(file, folder)).collect()
}

/// The entry of a folder that a file is or is in; `None` if it is not below the folder.
fn entry<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    let below = file.strip_prefix(folder)?;
    let end = below.find('/').map_or(below.len(), |slash| slash + 1);
    Some(&file[..folder.len() + end])
}

/// The dependencies between a folder's entries.
fn among(files: &Graph, folder: &str) -> Graph {
    let mut graph = Graph::default();
    for (from, to, what) in files.dependencies() {
        if let (Some(from), Some(to)) = (entry(from, folder), entry(to, folder)) {
            for name in what {
                graph.add(from, to, name);
            }
        }
    }
    graph
}
