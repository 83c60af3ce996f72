//! The public interface of a crate, read from its sources: one line for each public item.
//!
//! The lines contain what users of the crate can depend on: signatures, public fields, variants, trait items and
//! implementations, derives, `#[non_exhaustive]`, `#[deprecated]`, and the features that enable an item. Names that a macro
//! defines cannot be seen in the sources, so the lines contain the calls of such macros instead.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;
use syn::{Attribute, Generics, ImplItem, Item, ItemImpl, TraitItem, Visibility};

use crate::modules::{Definition, Modules, Place, attributes_of, leaves, name_of};
use crate::source::{
    attributes, fields, generics, is_pub, joined, text_of, variant_fields, without_documentation,
};

/// The macros of lesio-settings that define public methods and constants.
const DEFINING: &[&str] = &["named", "setters"];

/// The interface of a crate.
#[derive(Debug, Default)]
pub struct Interface {
    /// One line for each public item, in order.
    pub lines: BTreeSet<String>,
    /// The other crates whose types are in the interface, each with the lines that contain them.
    pub foreign: BTreeMap<String, BTreeSet<String>>,
}

impl Interface {
    /// The interface of the crate with these modules.
    #[must_use]
    pub fn of(modules: &Modules) -> Self {
        let mut reader =
            Reader { modules, public: BTreeMap::new(), unresolved: BTreeSet::new(), found: Self::default() };
        reader.export_module(&Vec::new(), "crate", 0);
        let public = reader.public.clone();
        for (definition, path) in &public {
            reader.add_item(definition, path);
        }
        for (place, module) in &modules.modules {
            for item in &module.items {
                match item {
                    Item::Impl(block) => reader.add_impl(place, block),
                    Item::Macro(call) => reader.add_macro(place, call),
                    _ => {}
                }
            }
        }
        reader.found
    }
}

struct Reader<'m> {
    modules: &'m Modules,
    /// Public items with their path.
    public: BTreeMap<Definition, String>,
    /// Modules from which names are exported that the sources do not define.
    unresolved: BTreeSet<Place>,
    found: Interface,
}

impl Reader<'_> {
    /// Finds the public items of a module that is reachable at `path`.
    fn export_module(&mut self, place: &Place, path: &str, depth: usize) {
        if depth > 16 {
            return;
        }
        let modules = self.modules;
        let module = &modules.modules[place];
        for item in &module.items {
            if let Item::Use(item) = item
                && matches!(item.vis, Visibility::Public(_))
            {
                for (name, target) in leaves(&item.tree) {
                    self.export(place, path, name.as_deref(), &target, &item.attrs, depth);
                }
            } else if is_public(item)
                && let Some(name) = name_of(item)
            {
                let path = format!("{path}::{name}");
                self.public.entry(Definition { place: place.clone(), name: Some(name) }).or_insert(path);
            }
        }
        for (inner, found) in &modules.modules {
            if found.is_public && inner.len() == place.len() + 1 && inner.starts_with(place) {
                let path = format!("{path}::{}", inner[place.len()]);
                self.found.lines.insert(format!("{}mod {path}", attributes(&found.attributes)));
                self.export_module(inner, &path, depth + 1);
            }
        }
    }

    /// Exports the target of a `pub use` in a module.
    fn export(
        &mut self,
        place: &Place,
        path: &str,
        name: Option<&str>,
        target: &[String],
        attrs: &[Attribute],
        depth: usize,
    ) {
        let Some(definition) = self.modules.find(place, target) else {
            let text = target.join("::");
            let first = target.first().map(String::as_str).unwrap_or_default();
            let name = name.unwrap_or("*");
            let line = format!("{}use {text} as {path}::{name}", attributes(attrs));
            if self.modules.modules.contains_key(&vec![first.to_owned()])
                || ["crate", "self", "super"].contains(&first)
            {
                let module = self.modules.find(place, &target[..target.len() - 1]);
                self.unresolved.extend(module.map(|module| module.place));
            } else if !first.starts_with("lesio") {
                self.found.foreign.entry(first.to_owned()).or_default().insert(line.clone());
            }
            self.found.lines.insert(line);
            return;
        };
        match (&definition.name, name) {
            (None, None) => self.export_module(&definition.place, path, depth + 1),
            (None, Some(name)) => {
                self.export_module(&definition.place, &format!("{path}::{name}"), depth + 1)
            }
            (Some(_), name) => {
                let path = format!("{path}::{}", name.unwrap_or_default());
                self.public.entry(definition).or_insert(path);
            }
        }
    }

    /// Adds the lines of a public item.
    fn add_item(&mut self, definition: &Definition, path: &str) {
        let Definition { place, name } = definition;
        let module = &self.modules.modules[place];
        for item in module.items.iter().filter(|item| name_of(item) == *name) {
            let head = attributes(&[module.attributes.as_slice(), attributes_of(item)].concat());
            match item {
                Item::Fn(item) => {
                    let name = format!("fn {}", item.sig.ident);
                    let rest = text_of(&item.sig).replacen(&name, &format!("fn {path}"), 1);
                    self.add(place, format!("{head}{rest}"), &item.sig.generics, |v| {
                        v.visit_signature(&item.sig)
                    });
                }
                Item::Struct(item) => {
                    let text =
                        format!("{head}struct {path}{} {}", generics(&item.generics), fields(&item.fields));
                    self.add(place, text, &item.generics, |v| {
                        item.fields
                            .iter()
                            .filter(|field| is_pub(&field.vis))
                            .for_each(|field| v.visit_type(&field.ty));
                    });
                }
                Item::Enum(item) => {
                    let text = format!("{head}enum {path}{}", generics(&item.generics));
                    self.add(place, text, &item.generics, |_| {});
                    for variant in &item.variants {
                        let fields = variant_fields(&variant.fields);
                        let text = format!(
                            "{}variant {path}::{}{fields}",
                            attributes(&variant.attrs),
                            variant.ident
                        );
                        let fields = &variant.fields;
                        self.add(place, text, &item.generics, |v| {
                            fields.iter().for_each(|field| v.visit_type(&field.ty))
                        });
                    }
                }
                Item::Trait(item) => {
                    let bounds = text_of(&item.supertraits);
                    let text = format!("{head}trait {path}{}: {bounds}", generics(&item.generics));
                    self.add(place, text, &item.generics, |v| {
                        item.supertraits.iter().for_each(|bound| v.visit_type_param_bound(bound));
                    });
                    for part in &item.items {
                        let text = match part {
                            TraitItem::Fn(part) => {
                                let default = if part.default.is_some() { " {..}" } else { "" };
                                format!("{}{default}", text_of(&part.sig))
                            }
                            TraitItem::Type(part) => {
                                format!("type {}: {}", part.ident, text_of(&part.bounds))
                            }
                            TraitItem::Const(part) => format!("const {}: {}", part.ident, text_of(&part.ty)),
                            part => text_of(part),
                        };
                        self.add(
                            place,
                            format!("{head}trait {path}: {text}"),
                            &item.generics,
                            |v| match part {
                                TraitItem::Fn(part) => v.visit_signature(&part.sig),
                                part => v.visit_trait_item(part),
                            },
                        );
                    }
                }
                Item::Const(item) => {
                    let text = format!("{head}const {path}: {}", text_of(&item.ty));
                    self.add(place, text, &item.generics, |v| v.visit_type(&item.ty));
                }
                Item::Type(item) => {
                    let text =
                        format!("{head}type {path}{} = {}", generics(&item.generics), text_of(&item.ty));
                    self.add(place, text, &item.generics, |v| v.visit_type(&item.ty));
                }
                Item::Macro(item) => drop(
                    self.found.lines.insert(format!("{head}macro {path}! {}", text_of(&item.mac.tokens))),
                ),
                item => drop(self.found.lines.insert(format!("{head}{}", text_of(item)))),
            }
        }
    }

    /// Adds the public parts of an `impl` block.
    fn add_impl(&mut self, place: &Place, block: &ItemImpl) {
        let owner = self.public_path(place, &block.self_ty);
        let head = attributes(&[self.modules.modules[place].attributes.as_slice(), &block.attrs].concat());
        if let Some((_, path, _)) = &block.trait_ {
            let is_local_trait = self.path_of(place, path).is_some();
            if owner.is_some() || is_local_trait {
                let mut header = block.clone();
                header.items.clear();
                header.attrs.clear();
                let text = format!("{head}{}", text_of(&header).trim_end_matches([' ', '{', '}']));
                self.add(place, text.clone(), &block.generics, |v| {
                    v.visit_path(path);
                    v.visit_type(&block.self_ty);
                });
                for item in &block.items {
                    if let ImplItem::Type(item) = item {
                        let text = format!("{text}: type {} = {}", item.ident, text_of(&item.ty));
                        self.add(place, text, &block.generics, |v| v.visit_type(&item.ty));
                    }
                }
            }
            return;
        }
        let Some(owner) = owner else { return };
        let bounds = generics(&block.generics);
        for item in &block.items {
            match item {
                ImplItem::Fn(item) if is_pub(&item.vis) => {
                    let text = format!(
                        "{head}{}impl{bounds} {owner}: {}",
                        attributes(&item.attrs),
                        text_of(&item.sig)
                    );
                    let both = joined(&block.generics, &item.sig.generics);
                    self.add(place, text, &both, |v| v.visit_signature(&item.sig));
                }
                ImplItem::Const(item) if is_pub(&item.vis) => {
                    let text =
                        format!("{head}impl{bounds} {owner}: const {}: {}", item.ident, text_of(&item.ty));
                    self.add(place, text, &block.generics, |v| v.visit_type(&item.ty));
                }
                _ => {}
            }
        }
    }

    /// Adds the call of a macro that defines public items.
    fn add_macro(&mut self, place: &Place, call: &syn::ItemMacro) {
        let name = text_of(&call.mac.path);
        let defines = DEFINING.contains(&name.as_str()) || self.unresolved.contains(place);
        if call.ident.is_none() && defines {
            let head = attributes(&call.attrs);
            let text = without_documentation(&text_of(&call.mac.tokens));
            self.found.lines.insert(format!("{head}{name}!({text}) in {}", place.join("::")));
        }
    }

    /// Adds a line, and notes the foreign types in it.
    fn add(&mut self, place: &Place, line: String, generics: &Generics, visit: impl FnOnce(&mut Paths)) {
        let mut paths = Paths::default();
        paths.visit_generics(generics);
        visit(&mut paths);
        let parameters: BTreeSet<String> =
            generics.type_params().map(|one| one.ident.to_string()).chain(paths.parameters).collect();
        for path in &paths.found {
            let segments: Vec<String> = path.segments.iter().map(|one| one.ident.to_string()).collect();
            if path.leading_colon.is_some() && !segments[0].starts_with("lesio") && segments[0] != "std" {
                self.found.foreign.entry(segments[0].clone()).or_default().insert(line.clone());
            } else if let Some(owner) = self.foreign(place, &segments, &parameters) {
                self.found.foreign.entry(owner).or_default().insert(line.clone());
            }
        }
        self.found.lines.insert(line);
    }

    /// The crate of a path, if it belongs neither to lesio nor to the standard library.
    fn foreign(&self, place: &Place, path: &[String], parameters: &BTreeSet<String>) -> Option<String> {
        let first = path.first()?;
        if parameters.contains(first)
            || first == "Self"
            || self.modules.find(place, path).is_some_and(|one| one.name.is_some())
        {
            return None;
        }
        let module = &self.modules.modules[place];
        let first = match module.imports.get(first) {
            Some(import) => import.first()?,
            None if path.len() > 1 => first,
            None => return None,
        };
        let own = ["crate", "self", "super", "std", "core", "alloc"].contains(&first.as_str())
            || first.starts_with("lesio");
        let is_crate =
            first.starts_with(char::is_lowercase) && !self.modules.modules.contains_key(&vec![first.clone()]);
        (is_crate && !own).then(|| first.clone())
    }

    /// The public path of a type of this crate.
    fn public_path(&self, place: &Place, of: &syn::Type) -> Option<String> {
        match of {
            syn::Type::Path(path) => {
                let mut shown = text_of(path);
                let public = self.path_of(place, &path.path)?;
                if let Some(at) = shown.find('<') {
                    shown = shown.split_off(at);
                    return Some(format!("{public}{shown}"));
                }
                Some(public)
            }
            syn::Type::Reference(reference) => {
                Some(format!("&{}", self.public_path(place, &reference.elem)?))
            }
            _ => None,
        }
    }

    fn path_of(&self, place: &Place, path: &syn::Path) -> Option<String> {
        let segments: Vec<String> = path.segments.iter().map(|one| one.ident.to_string()).collect();
        self.public.get(&self.modules.find(place, &segments)?).cloned()
    }
}

/// The paths in signatures, types and bounds.
#[derive(Default)]
struct Paths {
    found: Vec<syn::Path>,
    /// Type parameters of the visited items.
    parameters: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.found.push(path.clone());
        syn::visit::visit_path(self, path);
    }

    fn visit_type_param(&mut self, parameter: &'ast syn::TypeParam) {
        self.parameters.insert(parameter.ident.to_string());
        syn::visit::visit_type_param(self, parameter);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn is_public(item: &Item) -> bool {
    match item {
        Item::Const(item) => is_pub(&item.vis),
        Item::Enum(item) => is_pub(&item.vis),
        Item::Fn(item) => is_pub(&item.vis),
        Item::Static(item) => is_pub(&item.vis),
        Item::Struct(item) => is_pub(&item.vis),
        Item::Trait(item) => is_pub(&item.vis),
        Item::Type(item) => is_pub(&item.vis),
        Item::Macro(item) => item.attrs.iter().any(|one| one.path().is_ident("macro_export")),
        _ => false,
    }
}
