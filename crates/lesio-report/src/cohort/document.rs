//! Pages with a script: text, data and links that cannot become anything else.

use std::io::{self, Write};
use std::path::{Component, Path};

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::text::printable;

/// A relative link to a file beside a page: its name cannot be read as another address, whatever it contains.
///
/// ```
/// use lesio_report::Link;
///
/// assert_eq!(Link::new("scans 1/a#b?.html").as_str(), "scans%201/a%23b%3F.html");
/// assert_eq!(Link::new("javascript:alert(1)").as_str(), "javascript%3Aalert%281%29");
/// assert_eq!(Link::new("../50%/ä.png").as_str(), "../50%25/%C3%A4.png");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Link(String);

impl Link {
    /// A link to a file, by its path from the folder of the page.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        let mut link = String::new();
        for part in path.as_ref().components() {
            let part = match part {
                Component::ParentDir => "..".into(),
                Component::Normal(name) => encoded(name.as_encoded_bytes()),
                // The root gives the empty name before the first slash.
                Component::RootDir => String::new(),
                Component::CurDir => continue,
                Component::Prefix(prefix) => encoded(prefix.as_os_str().as_encoded_bytes()),
            };
            if !link.is_empty() || part.is_empty() {
                link.push('/');
            }
            link.push_str(&part);
        }
        // An absolute path begins with one slash: two would name a host.
        if let Some(rest) = link.strip_prefix("//") {
            link = format!("/{}", rest.trim_start_matches('/'));
        }
        Self(link)
    }

    /// The link as an attribute holds it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name of which everything but letters, digits, `-`, `_`, `.` and `~` is a number behind a percent sign (RFC 3986).
fn encoded(name: &[u8]) -> String {
    let mut safe = String::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                safe.push(char::from(byte))
            }
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

/// A text as data of a page: characters that no page may hold are marked, see [`printable`].
pub(super) fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&printable(text))
}

/// As [`text`], or none.
pub(super) fn optional<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(printable).serialize(serializer)
}

/// As [`text`], several.
pub(super) fn texts<S: Serializer>(texts: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| printable(text)))
}

/// A value as JSON inside of a `script` element, which nothing in it can end.
pub(super) fn embedded(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut json = Vec::new();
    write_embedded(&mut json, value)?;
    String::from_utf8(json).map_err(serde_json::Error::custom)
}

/// Like [`embedded`], piece by piece.
pub(super) fn write_embedded(out: impl Write, value: &impl Serialize) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Embedded))
}

/// Escapes the characters of strings that mean something in a `script` element. In JSON, their escapes mean the same.
struct Embedded;

impl Formatter for Embedded {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(place) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, after) = rest.split_at(place);
            out.write_all(before.as_bytes())?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                write!(out, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Like [`filled`], written piece by piece: `last` writes the part of one more name.
pub(super) fn write_filled<W: Write>(
    out: &mut W,
    frame: &str,
    parts: &[(&str, &str)],
    last: (&str, impl FnOnce(&mut W) -> io::Result<()>),
) -> io::Result<()> {
    let (name, mut write_last) = (last.0, Some(last.1));
    for (place, piece) in frame.split("@@").enumerate() {
        match parts.iter().find(|(name, _)| place % 2 == 1 && *name == piece) {
            Some((_, text)) => out.write_all(text.as_bytes())?,
            None => match write_last.take_if(|_| place % 2 == 1 && piece == name) {
                Some(write_last) => write_last(out)?,
                None => out.write_all(piece.as_bytes())?,
            },
        }
    }
    Ok(())
}

/// A page from its frame: each `@@name@@` is replaced once by the text of that name, whatever these texts contain.
pub(super) fn filled(frame: &str, parts: &[(&str, &str)]) -> String {
    let mut page =
        String::with_capacity(frame.len() + parts.iter().map(|(_, text)| text.len()).sum::<usize>());
    for (place, piece) in frame.split("@@").enumerate() {
        match parts.iter().find(|(name, _)| place % 2 == 1 && *name == piece) {
            Some((_, text)) => page.push_str(text),
            None => page.push_str(piece),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_not_looked_into() {
        let page = filled("<a>@@one@@</a><b>@@two@@</b>", &[("one", "@@two@@"), ("two", "2")]);
        assert_eq!(page, "<a>@@two@@</a><b>2</b>");
    }

    #[test]
    fn data_cannot_leave_their_element() {
        let json = embedded(&["</script><script>alert(1)</script>", "<!--", "\u{2028}\"'&"]).unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let read: Vec<String> = serde_json::from_str(&json).unwrap();
        assert_eq!(read[0], "</script><script>alert(1)</script>");
    }

    #[test]
    fn absolute_paths_name_no_host() {
        assert_eq!(Link::new("/data/a b").as_str(), "/data/a%20b");
        assert_eq!(Link::new("//evil.example/a").as_str(), "/evil.example/a");
        assert_eq!(Link::new("./a/./b").as_str(), "a/b");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_from_a_page(text in "\\PC*|[<>&'\"/a-z!-]*") {
            let json = embedded(&text).unwrap();
            prop_assert!(!json.contains('<'));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn links_hold_only_harmless_characters(path in "[^\\x00]{1,20}") {
            let link = Link::new(&path);
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%/".contains(&byte);
            prop_assert!(link.as_str().bytes().all(harmless), "{:?}", link);
            prop_assert!(!link.as_str().starts_with("//"));
        }
    }
}
