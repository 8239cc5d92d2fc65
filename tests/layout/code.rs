//! What the code of one module defines, imports and names, read from its syntax tree. Code under
//! `#[cfg(test)]` is left out. Knows nothing of other modules.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, ForeignItem, Ident, ImplItem, Item, ItemUse, Meta, TraitItem, UseTree, Visibility,
};

/// A path as written: `crate::topic::Topic` is `["crate", "topic", "Topic"]`.
pub type Path = Vec<String>;

/// One name that a `use` brings into scope.
pub struct Import {
    /// The name in this module; `None` for a glob import.
    pub name: Option<String>,
    pub path: Path,
    /// `pub use`, `pub(crate) use` and the like.
    pub reexport: bool,
    /// Written inside a function: other modules cannot see it.
    pub local: bool,
}

/// One module, without the modules below it.
#[derive(Default)]
pub struct Code {
    /// Names of the items that are defined here.
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Every path in the code, single names too.
    pub paths: BTreeSet<Path>,
    /// Names of local variables and parameters.
    pub bound: BTreeSet<String>,
    /// Crates named with a leading `::`.
    pub crates: BTreeSet<String>,
}

impl Code {
    /// Adds an item of the module itself, which is not a `mod`.
    pub fn add(&mut self, item: &Item) {
        if let Item::Use(import) = item {
            self.import(import, false);
        } else {
            self.defined.extend(names(item));
            self.visit_item(item);
        }
    }

    fn import(&mut self, item: &ItemUse, local: bool) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &[], &mut leaves);
        for (name, path) in leaves {
            if item.leading_colon.is_some() {
                self.crates.extend(path.first().cloned());
                continue;
            }
            self.imports.push(Import {
                name,
                path,
                reexport: !matches!(item.vis, Visibility::Inherited),
                local,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            _ => return visit::visit_trait_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(item, true);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Path = path.segments.iter().map(|one| text(&one.ident)).collect();
        if path.leading_colon.is_some() {
            self.crates.extend(names.first().cloned());
        } else {
            self.paths.insert(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = text(&pattern.ident);
        if is_capitalised(&name) {
            // A constant, to compare with.
            self.paths.insert(vec![name]);
        } else {
            self.bound.insert(name);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        scan(call.tokens.clone(), &mut self.paths);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            // Its names are macros of other crates.
            Meta::List(list) if list.path.is_ident("derive") => {}
            Meta::List(list) => scan(list.tokens.clone(), &mut self.paths),
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
            Meta::Path(_) => {}
        }
    }

    /// A visibility such as `pub(in crate::server)` takes nothing from that module.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// An identifier without `r#`.
pub fn text(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn is_capitalised(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

/// Whether the code with these attributes is compiled for tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => needs_test(list.tokens.clone()),
        _ => false,
    })
}

/// `test`, or `all(…)` with such a condition in it.
fn needs_test(condition: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(test)] => test == "test",
        [TokenTree::Ident(all), TokenTree::Group(list)] if all == "all" => {
            let list: Vec<TokenTree> = list.stream().into_iter().collect();
            let is_comma = |token: &TokenTree| token.to_string() == ",";
            list.split(is_comma)
                .any(|one| needs_test(one.iter().cloned().collect()))
        }
        _ => false,
    }
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(syn::ItemConst { attrs, .. })
        | Item::Enum(syn::ItemEnum { attrs, .. })
        | Item::ExternCrate(syn::ItemExternCrate { attrs, .. })
        | Item::Fn(syn::ItemFn { attrs, .. })
        | Item::ForeignMod(syn::ItemForeignMod { attrs, .. })
        | Item::Impl(syn::ItemImpl { attrs, .. })
        | Item::Macro(syn::ItemMacro { attrs, .. })
        | Item::Mod(syn::ItemMod { attrs, .. })
        | Item::Static(syn::ItemStatic { attrs, .. })
        | Item::Struct(syn::ItemStruct { attrs, .. })
        | Item::Trait(syn::ItemTrait { attrs, .. })
        | Item::TraitAlias(syn::ItemTraitAlias { attrs, .. })
        | Item::Type(syn::ItemType { attrs, .. })
        | Item::Union(syn::ItemUnion { attrs, .. })
        | Item::Use(ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}

/// The names that an item defines.
fn names(item: &Item) -> Vec<String> {
    match item {
        Item::Const(syn::ItemConst { ident, .. })
        | Item::Enum(syn::ItemEnum { ident, .. })
        | Item::Fn(syn::ItemFn {
            sig: syn::Signature { ident, .. },
            ..
        })
        | Item::Static(syn::ItemStatic { ident, .. })
        | Item::Struct(syn::ItemStruct { ident, .. })
        | Item::Trait(syn::ItemTrait { ident, .. })
        | Item::TraitAlias(syn::ItemTraitAlias { ident, .. })
        | Item::Type(syn::ItemType { ident, .. })
        | Item::Union(syn::ItemUnion { ident, .. }) => vec![text(ident)],
        Item::Macro(item) => item.ident.iter().map(text).collect(),
        Item::ForeignMod(block) => {
            let name = |item: &ForeignItem| match item {
                ForeignItem::Fn(item) => Some(text(&item.sig.ident)),
                ForeignItem::Static(item) => Some(text(&item.ident)),
                _ => None,
            };
            block.items.iter().filter_map(name).collect()
        }
        _ => Vec::new(),
    }
}

/// The names that a `use` tree brings into scope (`None`: a glob), with their paths.
fn flatten(tree: &UseTree, prefix: &[String], leaves: &mut Vec<(Option<String>, Path)>) {
    let with = |ident: &Ident| match text(ident) {
        itself if itself == "self" && !prefix.is_empty() => prefix.to_vec(),
        name => [prefix, &[name]].concat(),
    };
    match tree {
        UseTree::Path(one) => flatten(&one.tree, &with(&one.ident), leaves),
        UseTree::Name(one) => {
            let path = with(&one.ident);
            leaves.push((path.last().cloned(), path));
        }
        UseTree::Rename(one) => leaves.push((Some(text(&one.rename)), with(&one.ident))),
        UseTree::Glob(_) => leaves.push((None, prefix.to_vec())),
        UseTree::Group(group) => {
            for one in &group.items {
                flatten(one, prefix, leaves);
            }
        }
    }
}

/// Collects the paths in the tokens of a macro call or an attribute. A single name counts if it is
/// capitalised: the others are mostly variables, fields and keywords.
fn scan(tokens: TokenStream, paths: &mut BTreeSet<Path>) {
    let mut path = Path::new();
    let (mut colons, mut dots) = (0, 0);
    let mut flush = |path: &mut Path| {
        let path = std::mem::take(path);
        if path.len() > 1 || path.first().is_some_and(|name| is_capitalised(name)) {
            paths.insert(path);
        }
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    flush(&mut path);
                }
                // After one dot it is a field or a method, after two a range ends with it.
                if dots != 1 {
                    path.push(text(&name));
                }
                (colons, dots) = (0, 0);
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                flush(&mut path);
                colons = 0;
                let is_dot = matches!(&other, TokenTree::Punct(mark) if mark.as_char() == '.');
                dots = if is_dot { dots + 1 } else { 0 };
                if let TokenTree::Group(group) = other {
                    groups.push(group.stream());
                }
            }
        }
    }
    flush(&mut path);
    for group in groups {
        scan(group, paths);
    }
}
