//! Small packages in memory: what the arrows are, and that each check finds what it is there for.

mod arrows;
mod checks;

use std::collections::BTreeMap;

use super::arrows::{Arrows, draw};
use super::package::Package;

/// A package called `sample` of (path, source) pairs.
fn package(files: &[(&str, &str)]) -> (Package, Arrows) {
    let pair = |(file, source): &(&str, &str)| ((*file).to_owned(), (*source).to_owned());
    let files: BTreeMap<String, String> = files.iter().map(pair).collect();
    let package = Package::new("src", "sample", files);
    let arrows = draw(&package);
    (package, arrows)
}
