//! The modules of a crate, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, UseTree, Visibility};

/// A module: `crate::image::grid` is `["image", "grid"]`.
pub type Place = Vec<String>;

/// The modules of a crate, without its tests.
#[derive(Debug, Default)]
pub struct Modules {
    /// By their place in the crate.
    pub modules: BTreeMap<Place, Module>,
}

/// One module.
#[derive(Debug)]
pub struct Module {
    /// The file that contains it.
    pub file: PathBuf,
    /// Whether it is `pub` in its parent; the root is.
    pub is_public: bool,
    /// The attributes of the module and of its parents.
    pub attributes: Vec<Attribute>,
    /// Its items except modules and tests.
    pub items: Vec<Item>,
    /// Imported names with their paths.
    pub imports: BTreeMap<String, Vec<String>>,
    /// Paths of glob imports.
    pub globs: Vec<Vec<String>>,
    /// Names of the items that are defined here.
    pub defined: BTreeSet<String>,
}

/// A module, or an item in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Definition {
    /// The module.
    pub place: Place,
    /// The item; `None` for the module itself.
    pub name: Option<String>,
}

/// Whether a module is `pub`, and its attributes with those of its parents.
type Outside = (bool, Vec<Attribute>);

impl Modules {
    /// Reads the modules of the crate whose `lib.rs` is in the folder `source`.
    #[must_use]
    pub fn read(source: &Path) -> Self {
        let mut modules = Self::default();
        modules.add_file(Vec::new(), &source.join("lib.rs"), source, (true, Vec::new()));
        modules
    }

    fn add_file(&mut self, place: Place, file: &Path, folder: &Path, outside: Outside) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(place, file, folder, parsed.items, outside);
    }

    fn add(
        &mut self,
        place: Place,
        file: &Path,
        folder: &Path,
        items: Vec<Item>,
        (is_public, attributes): Outside,
    ) {
        let mut module = Module {
            file: file.to_owned(),
            is_public,
            attributes,
            items: Vec::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            defined: BTreeSet::new(),
        };
        for item in items {
            if attributes_of(&item).iter().any(is_of_tests) {
                continue;
            }
            if let Item::Mod(inner) = item {
                let name = inner.ident.to_string();
                let is_public = matches!(inner.vis, Visibility::Public(_));
                let outside = (is_public, [module.attributes.clone(), inner.attrs].concat());
                match inner.content {
                    Some((_, items)) => {
                        let place = [place.clone(), vec![name.clone()]].concat();
                        self.add(place, file, &folder.join(&name), items, outside);
                    }
                    None => self.add_declared(&place, folder, &name, outside),
                }
                continue;
            }
            if let Item::Macro(call) = &item
                && call.ident.is_none()
            {
                for name in modules_in(&call.mac.tokens.to_string()) {
                    self.add_declared(&place, folder, &name, (false, module.attributes.clone()));
                }
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

    /// Adds the file of the module `name`, which is declared in the module `place`, whose modules are in `folder`.
    fn add_declared(&mut self, place: &Place, folder: &Path, name: &str, outside: Outside) {
        let place = [place.clone(), vec![name.to_owned()]].concat();
        let below = folder.join(name);
        let file = below.with_extension("rs");
        let file = if file.is_file() { file } else { below.join("mod.rs") };
        self.add_file(place, &file, &below, outside);
    }

    /// The definition of a path that is used in the module `from`, if it is in this crate.
    #[must_use]
    pub fn find(&self, from: &Place, path: &[String]) -> Option<Definition> {
        self.find_within(from, path, 0)
    }

    fn find_within(&self, from: &Place, path: &[String], depth: usize) -> Option<Definition> {
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
                return Some(Definition { place, name: Some(segment.clone()) });
            }
            if depth > 8 {
                return None;
            }
            if let Some(path) = module.imports.get(segment)
                && path.as_slice() != rest
            {
                let path = [path.as_slice(), &rest[index + 1..]].concat();
                return self.find_within(&place, &path, depth + 1);
            }
            return module.globs.iter().find_map(|glob| {
                let path = [glob.as_slice(), &rest[index..]].concat();
                self.find_within(&place, &path, depth + 1)
            });
        }
        Some(Definition { place, name: None })
    }
}

/// The paths of an import, with the name of each; a glob has none.
#[must_use]
pub fn leaves(tree: &UseTree) -> Vec<(Option<String>, Vec<String>)> {
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

/// The modules that a call of a macro declares: each `mod` with the name after it. Their contents are files.
fn modules_in(tokens: &str) -> Vec<String> {
    let words: Vec<&str> = tokens.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "mod").map(|pair| pair[1].to_owned()).collect()
}

/// The name of an item, if it has one.
#[must_use]
pub fn name_of(item: &Item) -> Option<String> {
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

/// The attributes of an item.
#[must_use]
pub fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an attribute is `#[cfg(test)]`.
fn is_of_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
}
