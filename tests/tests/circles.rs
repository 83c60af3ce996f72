//! No two files of a crate use each other, directly or by way of others: whoever reads a file from the top of the
//! order has read all that it is built of.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

#[test]
fn no_crate_has_a_circle_of_files() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut found = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let source = entry.unwrap().path().join("src");
        for circle in circles(&uses(&Modules::read(&source))) {
            let names: Vec<_> =
                circle.iter().map(|file| file.strip_prefix(&crates).unwrap().display().to_string()).collect();
            found.push(names.join(" <-> "));
        }
    }
    assert!(found.is_empty(), "files that use each other:\n{}", found.join("\n"));
}

/// The test itself finds a circle where there is one, through a re-export, and none where there is none.
#[test]
fn a_circle_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::{B as Other, C};");
    write("a.rs", "use crate::Other; pub struct A(Other); #[cfg(test)] mod tests { use crate::c::D; }");
    write("b.rs", "pub struct B; pub struct C; pub fn of(c: &crate::c::D) {}");
    write("c.rs", "use crate::b; pub struct D; pub fn f() { b::of(&D) }");
    let circles = circles(&uses(&Modules::read(folder.path())));
    assert_eq!(circles, [["b.rs", "c.rs"].map(|name| folder.path().join(name)).to_vec()]);
}

/// A module: `crate::image::grid` is `["image", "grid"]`.
type Place = Vec<String>;

/// The modules of a crate.
#[derive(Default)]
struct Modules {
    modules: BTreeMap<Place, Module>,
}

struct Module {
    file: PathBuf,
    items: Vec<Item>,
    /// Names that the module gives to what stands elsewhere, with the path.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    defined: BTreeSet<String>,
}

impl Modules {
    fn read(source: &Path) -> Self {
        let mut modules = Self::default();
        modules.add_file(Vec::new(), &source.join("lib.rs"), source);
        modules
    }

    fn add_file(&mut self, place: Place, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(place, file, folder, parsed.items);
    }

    fn add(&mut self, place: Place, file: &Path, folder: &Path, items: Vec<Item>) {
        let mut module = Module {
            file: file.to_owned(),
            items: Vec::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            defined: BTreeSet::new(),
        };
        for item in items {
            if attributes(&item).iter().any(is_of_tests) {
                continue;
            }
            if let Item::Mod(inner) = item {
                let name = inner.ident.to_string();
                let place = [place.clone(), vec![name.clone()]].concat();
                let below = folder.join(&name);
                match inner.content {
                    Some((_, items)) => self.add(place, file, &below, items),
                    None if below.with_extension("rs").is_file() => {
                        self.add_file(place, &below.with_extension("rs"), &below);
                    }
                    None => self.add_file(place, &below.join("mod.rs"), &below),
                }
                continue;
            }
            match &item {
                Item::Use(item) => {
                    for (name, path) in leaves(&item.tree) {
                        match name {
                            Some(name) => drop(module.imports.insert(name, path)),
                            None => module.globs.push(path),
                        }
                    }
                }
                item => module.defined.extend(name_of(item)),
            }
            module.items.push(item);
        }
        self.modules.insert(place, module);
    }

    /// The file in which a path that stands in a module is defined, where it is of this crate.
    fn file_of(&self, from: &Place, path: &[String], depth: usize) -> Option<&Path> {
        let (first, mut rest) = path.split_first()?;
        let mut place = from.clone();
        match first.as_str() {
            "crate" => place.clear(),
            "self" => {}
            "super" => drop(place.pop()?),
            _ => rest = path,
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            place.pop()?;
            rest = &rest[1..];
        }
        for (index, segment) in rest.iter().enumerate() {
            let deeper = [place.clone(), vec![segment.clone()]].concat();
            if self.modules.contains_key(&deeper) {
                place = deeper;
                continue;
            }
            let module = &self.modules[&place];
            if module.defined.contains(segment) {
                return Some(&module.file);
            }
            if depth > 8 {
                return None;
            }
            if let Some(path) = module.imports.get(segment)
                && path.as_slice() != rest
            {
                let path = [path.as_slice(), &rest[index + 1..]].concat();
                return self.file_of(&place, &path, depth + 1);
            }
            return module.globs.iter().find_map(|glob| {
                let path = [glob.as_slice(), &rest[index..]].concat();
                self.file_of(&place, &path, depth + 1)
            });
        }
        Some(&self.modules[&place].file)
    }
}

/// Which files each file uses.
fn uses(modules: &Modules) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let mut uses: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for (place, module) in &modules.modules {
        let mut paths = Paths::default();
        for item in &module.items {
            match item {
                // A re-export uses nothing.
                Item::Use(item) if !matches!(item.vis, Visibility::Inherited) => {}
                Item::Use(item) => paths.0.extend(leaves(&item.tree).into_iter().map(|(_, path)| path)),
                item => paths.visit_item(item),
            }
        }
        let used = uses.entry(module.file.clone()).or_default();
        for path in &paths.0 {
            if let Some(file) = modules.file_of(place, path, 0)
                && file != module.file
            {
                used.insert(file.to_owned());
            }
        }
    }
    uses
}

/// The files that reach each other, each circle once.
fn circles(uses: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<Vec<PathBuf>> {
    let reached = |from: &PathBuf| {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&PathBuf> = uses[from].iter().collect();
        while let Some(file) = waiting.pop() {
            if reached.insert(file.clone()) {
                waiting.extend(uses.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let reached: BTreeMap<&PathBuf, BTreeSet<PathBuf>> =
        uses.keys().map(|file| (file, reached(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, ahead) in &reached {
        if ahead.contains(*file) {
            circles.insert(
                ahead.iter().filter(|other| reached[other].contains(*file)).cloned().collect::<Vec<_>>(),
            );
        }
    }
    circles.into_iter().collect()
}

/// The paths that code names, of two segments or more, or of one that is a type or a function.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        syn::visit::visit_path(self, path);
    }
}

/// The paths of an import, with the name that each gets; a glob has none.
fn leaves(tree: &UseTree) -> Vec<(Option<String>, Vec<String>)> {
    let under = |name: String, leaves: Vec<(Option<String>, Vec<String>)>| {
        leaves
            .into_iter()
            .map(|(given, mut path)| {
                path.insert(0, name.clone());
                (given, path)
            })
            .collect()
    };
    match tree {
        UseTree::Path(path) => {
            let mut inner: Vec<_> = under(path.ident.to_string(), leaves(&path.tree));
            for (given, path) in &mut inner {
                // `a::{self}` is `a`.
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                    *given = path.last().cloned();
                }
            }
            inner
        }
        UseTree::Name(name) => vec![(Some(name.ident.to_string()), vec![name.ident.to_string()])],
        UseTree::Rename(name) => vec![(Some(name.rename.to_string()), vec![name.ident.to_string()])],
        UseTree::Glob(_) => vec![(None, Vec::new())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an attribute is `#[cfg(test)]`.
fn is_of_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
}
