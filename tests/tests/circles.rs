//! No two files of a crate use each other, directly or by way of others: whoever reads a file from the top of the
//! order has read all that it is built of.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lesio_tests::modules::{Modules, leaves};
use syn::visit::Visit;
use syn::{Item, Visibility};

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

/// A call of a macro may declare modules, as the table of predictors does.
#[test]
fn modules_of_a_macro_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "lib.rs",
        "macro_rules! table { ($(mod $m:ident { $w:literal })*) => { $(mod $m;)* } } \
        table! { mod a { \"one\" } mod b { \"two\" } }",
    );
    write("a.rs", "pub struct A(crate::b::B);");
    write("b.rs", "pub struct B; use crate::a::A;");
    let circles = circles(&uses(&Modules::read(folder.path())));
    assert_eq!(circles, [["a.rs", "b.rs"].map(|name| folder.path().join(name)).to_vec()]);
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
            if let Some(found) = modules.find(place, path) {
                used.insert(modules.modules[&found.place].file.clone());
            }
        }
        used.remove(&module.file);
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
