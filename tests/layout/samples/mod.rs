//! Small packages in memory: which dependencies are found, and that each check finds what it is for.

mod checks;
mod dependencies;

use std::collections::BTreeMap;

use super::dependencies::{Dependencies, find};
use super::package::Package;

/// A package called `sample` of (path, source) pairs.
fn package(files: &[(&str, &str)]) -> (Package, Dependencies) {
    let pair = |(file, source): &(&str, &str)| ((*file).to_owned(), (*source).to_owned());
    let files: BTreeMap<String, String> = files.iter().map(pair).collect();
    let package = Package::new("src", "sample", files);
    let dependencies = find(&package);
    (package, dependencies)
}
