//! The source text of items, as it appears in interfaces.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{Attribute, Fields, Generics, Visibility};

/// Whether an item is `pub`.
pub(crate) fn is_pub(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The attributes that belong to the interface, each followed by a space.
pub(crate) fn attributes(all: &[Attribute]) -> String {
    let mut kept = BTreeSet::new();
    for attribute in all {
        let path = attribute.path();
        let text = text_of(&attribute.meta);
        let is_condition = (path.is_ident("cfg") || path.is_ident("cfg_attr")) && text.contains("feature");
        if is_condition || ["derive", "non_exhaustive", "deprecated"].iter().any(|name| path.is_ident(name)) {
            kept.insert(format!("#[{text}] "));
        }
    }
    kept.into_iter().collect()
}

/// Type parameters with their bounds.
pub(crate) fn generics(generics: &Generics) -> String {
    let bounds = generics.where_clause.as_ref().map(text_of).unwrap_or_default();
    let space = if bounds.is_empty() { "" } else { " " };
    format!("{}{space}{bounds}", text_of(generics))
}

/// The parameters of a block and of an item in it.
pub(crate) fn joined(outer: &Generics, inner: &Generics) -> Generics {
    let mut both = outer.clone();
    both.params.extend(inner.params.iter().cloned());
    both
}

/// The public fields of a struct.
pub(crate) fn fields(fields: &Fields) -> String {
    let mut shown: Vec<String> = Vec::new();
    for field in fields.iter().filter(|field| is_pub(&field.vis)) {
        let name = field.ident.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        shown.push(format!("{}{name}{}", attributes(&field.attrs), text_of(&field.ty)));
    }
    if shown.len() < fields.len() {
        shown.push("..".to_owned());
    }
    format!("{{ {} }}", shown.join(", "))
}

/// The tokens of a macro call without documentation comments, which are attributes in tokens.
pub(crate) fn without_documentation(text: &str) -> String {
    let mut parts = text.split("# [doc = \"");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once("\"] ").map_or("", |(_, rest)| rest));
    }
    kept
}

/// The fields of a variant, all of which are public.
pub(crate) fn variant_fields(fields: &Fields) -> String {
    let shown = |field: &syn::Field| {
        let name = field.ident.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{}{name}{}", attributes(&field.attrs), text_of(&field.ty))
    };
    let all = fields.iter().map(shown).collect::<Vec<_>>().join(", ");
    match fields {
        Fields::Unit => String::new(),
        Fields::Named(_) => format!(" {{ {all} }}"),
        Fields::Unnamed(_) => format!("({all})"),
    }
}

/// The source of a part in one line.
pub(crate) fn text_of(part: &(impl ToTokens + ?Sized)) -> String {
    let mut text = part.to_token_stream().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" :: ", "::"),
        (" : ", ": "),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        ("& ", "&"),
        (" ;", ";"),
        ("[ ", "["),
        (" ]", "]"),
        ("' ", "'"),
        ("->", " ->"),
        ("  ->", " ->"),
        (":: <", "::<"),
    ] {
        text = text.replace(from, to);
    }
    text
}
