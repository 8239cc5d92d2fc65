//! The dependencies between the files of a package: one of file A on file B for each name that A's
//! code uses from B by an import or a path. A name that comes through a re-export is a dependency on
//! the file that defines it. A re-export of a child is no dependency.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Graph;
use super::package::{ModuleId, Package};

/// The names that the files of a package use from each other, and the crates that they use.
pub struct Dependencies {
    pub files: Graph,
    /// By file, the first names of the paths that lead out of the package, such as `tokio`.
    pub outside: BTreeMap<String, BTreeSet<String>>,
}

/// The target of a path.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Module(ModuleId),
    Item { file: String, name: String },
}

/// Imports that are being followed, by module and number: none is followed within itself.
type Followed = BTreeSet<(ModuleId, usize)>;

/// Finds all dependencies of a package.
pub fn find(package: &Package) -> Dependencies {
    let mut dependencies = Dependencies {
        files: Graph::default(),
        outside: BTreeMap::new(),
    };
    for (id, module) in package.modules.iter().enumerate() {
        for import in &module.code.imports {
            for target in dependencies.resolve(package, id, &import.path) {
                let (file, name) = match target {
                    Target::Item { file, name } => (file, name),
                    Target::Module(of) if import.name.is_none() => {
                        (package.modules[of].file.clone(), "*".to_owned())
                    }
                    // The paths through it are dependencies, the import alone is none.
                    Target::Module(_) => continue,
                };
                if !(import.reexport && file.starts_with(&module.folder)) {
                    dependencies.files.add(&module.file, &file, &name);
                }
            }
        }
        for path in &module.code.paths {
            if path.len() == 1 && module.code.bound.contains(&path[0]) {
                continue; // a local variable
            }
            for target in dependencies.resolve(package, id, path) {
                if let Target::Item { file, name } = target {
                    dependencies.files.add(&module.file, &file, &name);
                }
            }
        }
        let outside = dependencies.outside.entry(module.file.clone()).or_default();
        outside.extend(module.code.crates.iter().cloned());
    }
    dependencies
}

impl Dependencies {
    /// Resolves a path in a module's code. If nothing in this package matches, records its first name
    /// as outside.
    fn resolve(&mut self, package: &Package, at: ModuleId, path: &[String]) -> Vec<Target> {
        let found = resolve(package, at, path, true, &mut Followed::new());
        if found.is_empty()
            && let Some(first) = path.first()
        {
            let outside = self.outside.entry(package.modules[at].file.clone());
            outside.or_default().insert(first.clone());
        }
        found
    }
}

/// Returns the targets of a path as written in module `at`: none if it leads out of the package. With
/// `local`, imports inside the module's functions count.
fn resolve(
    package: &Package,
    at: ModuleId,
    path: &[String],
    local: bool,
    followed: &mut Followed,
) -> Vec<Target> {
    let Some((first, rest)) = path.split_first() else {
        return vec![Target::Module(at)];
    };
    let start = match first.as_str() {
        "crate" => package.modules[at].root,
        "self" => at,
        "super" => package.modules[at].parent,
        _ => {
            let found = lookup(package, at, first, local, followed);
            return match package.lib {
                Some(lib) if found.is_empty() && *first == package.name => {
                    descend(package, lib, rest, followed)
                }
                _ => follow(package, found, rest, followed),
            };
        }
    };
    descend(package, start, rest, followed)
}

/// Returns the targets of a path below module `at`, which the part before it names. A name that
/// nothing in the package defines belongs to that module's file: a macro made it, or it is a re-export
/// from another crate.
fn descend(
    package: &Package,
    at: ModuleId,
    path: &[String],
    followed: &mut Followed,
) -> Vec<Target> {
    let Some((first, rest)) = path.split_first() else {
        return vec![Target::Module(at)];
    };
    match first.as_str() {
        "self" => return descend(package, at, rest, followed),
        "super" => return descend(package, package.modules[at].parent, rest, followed),
        _ => {}
    }
    let found = lookup(package, at, first, false, followed);
    if found.is_empty() {
        return vec![Target::Item {
            file: package.modules[at].file.clone(),
            name: first.clone(),
        }];
    }
    follow(package, found, rest, followed)
}

/// Follows the rest of a path from `found`, the targets that its first name can have: through a module
/// if the path continues, else to an item if there is one of that name.
fn follow(
    package: &Package,
    found: Vec<Target>,
    rest: &[String],
    followed: &mut Followed,
) -> Vec<Target> {
    let (modules, items): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|target| matches!(target, Target::Module(_)));
    if modules.is_empty() || (rest.is_empty() && !items.is_empty()) {
        return items;
    }
    let mut targets = Vec::new();
    for target in modules {
        if let Target::Module(module) = target {
            targets.extend(descend(package, module, rest, followed));
        }
    }
    targets
}

/// Returns all targets that a name can have in a module: a child, an item, or an import; if there are
/// none, those of glob imports.
fn lookup(
    package: &Package,
    at: ModuleId,
    name: &str,
    local: bool,
    followed: &mut Followed,
) -> Vec<Target> {
    let module = &package.modules[at];
    let mut found = Vec::new();
    found.extend(module.children.get(name).copied().map(Target::Module));
    if module.code.defined.contains(name) {
        found.push(Target::Item {
            file: module.file.clone(),
            name: name.to_owned(),
        });
    }
    for is_glob in [false, true] {
        if is_glob && !found.is_empty() {
            break;
        }
        let imports = module.code.imports.iter().enumerate();
        for (number, import) in imports.filter(|(_, import)| local || !import.local) {
            let is_meant = match &import.name {
                Some(imported) => !is_glob && imported == name,
                None => is_glob,
            };
            if !is_meant || !followed.insert((at, number)) {
                continue;
            }
            for target in resolve(package, at, &import.path, local, followed) {
                match target {
                    Target::Module(of) if is_glob => {
                        found.extend(lookup(package, of, name, false, followed));
                    }
                    // The variants of an enum: they come with its name.
                    Target::Item { .. } if is_glob => {}
                    target => found.push(target),
                }
            }
            followed.remove(&(at, number));
        }
    }
    found
}
