//! The sources of one package: its files, and the modules that `mod` lines make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::{Item, ItemMod, Visibility};

use super::code::{Code, attributes, is_test, text};

/// An index into [`Package::modules`].
pub type ModuleId = usize;

/// A package: a library, a program, or both.
pub struct Package {
    /// The folder of its sources, such as `loadgen/src`, for messages.
    pub place: String,
    /// The library's name, by which the program calls it.
    pub name: String,
    /// Text of every source file by its path below `place`.
    pub files: BTreeMap<String, String>,
    pub modules: Vec<Module>,
    pub lib: Option<ModuleId>,
    /// Files that tests alone are compiled from, beside those named `tests`.
    test_files: BTreeSet<String>,
}

/// A module; an inline one has its parent's file.
pub struct Module {
    pub file: String,
    /// Where the files of its children are: empty for the root, else with a slash at the end.
    pub folder: String,
    /// The root's parent is itself.
    pub parent: ModuleId,
    pub root: ModuleId,
    pub children: BTreeMap<String, ModuleId>,
    /// Those of the children that are declared with a visibility.
    pub open: Vec<String>,
    pub code: Code,
}

impl Package {
    /// Reads the sources below `place`, a folder of the repository.
    pub fn read(place: &str, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let mut files = BTreeMap::new();
        collect(&folder, "", &mut files);
        Self::new(place, name, files)
    }

    pub fn new(place: &str, name: &str, files: BTreeMap<String, String>) -> Self {
        let mut package = Self {
            place: place.to_owned(),
            name: name.to_owned(),
            files,
            modules: Vec::new(),
            lib: None,
            test_files: BTreeSet::new(),
        };
        package.lib = package.load_root("lib.rs");
        package.load_root("main.rs");
        package
    }

    /// Files that no `mod` line leads to, so that no check would look at them.
    pub fn unread(&self) -> Vec<String> {
        let read: BTreeSet<&String> = self.modules.iter().map(|module| &module.file).collect();
        let files = self.files.keys();
        files
            .filter(|file| !read.contains(file) && !self.is_test_file(file))
            .map(|file| format!("{}/{file}", self.place))
            .collect()
    }

    /// Whether a file is compiled for tests only.
    pub fn is_test_file(&self, file: &str) -> bool {
        file.split('/')
            .any(|part| part == "tests" || part == "tests.rs")
            || self.test_files.iter().any(|test| {
                let folder = test.strip_suffix("mod.rs");
                test == file || folder.is_some_and(|folder| file.starts_with(folder))
            })
    }

    fn load_root(&mut self, file: &str) -> Option<ModuleId> {
        let exists = self.files.contains_key(file);
        exists.then(|| self.load(file, String::new(), None))
    }

    fn load(&mut self, file: &str, folder: String, parent: Option<ModuleId>) -> ModuleId {
        let parsed = syn::parse_file(&self.files[file]);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}/{file}: {error}", self.place));
        self.add(&parsed.items, file, folder, parent)
    }

    fn add(
        &mut self,
        items: &[Item],
        file: &str,
        folder: String,
        parent: Option<ModuleId>,
    ) -> ModuleId {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            folder,
            parent: parent.unwrap_or(id),
            root: parent.map_or(id, |parent| self.modules[parent].root),
            children: BTreeMap::new(),
            open: Vec::new(),
            code: Code::default(),
        });
        for item in items {
            if let Item::Mod(child) = item {
                self.add_child(id, child);
            } else if !is_test(attributes(item)) {
                self.modules[id].code.add(item);
            }
        }
        id
    }

    fn add_child(&mut self, parent: ModuleId, child: &ItemMod) {
        let name = text(&child.ident);
        let Module { file, folder, .. } = &self.modules[parent];
        let (file, folder) = (file.clone(), format!("{folder}{name}/"));
        let candidates = [
            format!("{}.rs", folder.trim_end_matches('/')),
            format!("{folder}mod.rs"),
        ];
        if is_test(&child.attrs) {
            self.test_files.extend(candidates);
            return;
        }
        let id = if let Some((_, items)) = &child.content {
            self.add(items, &file, folder, Some(parent))
        } else {
            let found = candidates
                .into_iter()
                .find(|one| self.files.contains_key(one));
            let found = found.unwrap_or_else(|| {
                panic!("{}/{file}: no file for `mod {name};`", self.place);
            });
            self.load(&found, folder, Some(parent))
        };
        let module = &mut self.modules[parent];
        if !matches!(child.vis, Visibility::Inherited) {
            module.open.push(name.clone());
        }
        module.children.insert(name, id);
    }
}

/// Reads the Rust files of a folder and the folders below it.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(
                format!("{prefix}{name}"),
                fs::read_to_string(&path).unwrap(),
            );
        }
    }
}
