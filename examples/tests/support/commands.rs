//! The commands of documents.

use std::path::{Path, PathBuf};

use super::manifest_folder;

/// A command of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentCommand {
    pub document: PathBuf,
    /// The first word that is no variable, such as `cargo`.
    pub words: Vec<String>,
}

/// What a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// A program of lesio with these arguments.
    Program(String, Vec<String>),
    /// `cargo test` or `cargo bench` of a package, and a file of its tests or benches.
    Cargo { package: Option<String>, target: Option<(&'static str, String)> },
    /// Something else, by its first word.
    Other(String),
}

/// The documents whose commands are checked: README.md, CONTRIBUTING.md, and all below docs.
pub fn documents() -> Vec<PathBuf> {
    let root = manifest_folder().parent().unwrap().to_owned();
    let mut found = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(ending) if ending == "md" => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The commands of the blocks of a document that are marked as `sh`, in order.
pub fn commands(document: &Path) -> Vec<DocumentCommand> {
    commands_of(&std::fs::read_to_string(document).unwrap(), document)
}

pub fn commands_of(text: &str, document: &Path) -> Vec<DocumentCommand> {
    let mut found = Vec::new();
    let blocks =
        text.split("\n```").enumerate().filter(|(place, block)| place % 2 == 1 && block.starts_with("sh\n"));
    for (_, block) in blocks {
        let script = block.trim_start_matches("sh\n").replace("\\\n", " ");
        // A loop is checked with its first value.
        let mut variable: Option<(String, String)> = None;
        for line in script.lines() {
            let mut words = words(line);
            if let [word, name, of, value, ..] = &words[..]
                && (word.as_str(), of.as_str()) == ("for", "in")
            {
                variable = Some((format!("${name}"), value.trim_end_matches(';').to_owned()));
                continue;
            }
            if let Some((name, value)) = &variable {
                words.iter_mut().for_each(|word| *word = word.replace(name, value));
            }
            let is_variable = |word: &str| {
                word.split_once('=')
                    .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            };
            let words: Vec<String> = words.into_iter().skip_while(|word| is_variable(word)).collect();
            if !words.is_empty() && words[0] != "done" {
                found.push(DocumentCommand { document: document.to_owned(), words });
            }
        }
    }
    found
}

/// The words of a line, as a shell reads them: quotes group, and `#` begins a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl DocumentCommand {
    /// What it runs, given the names of all programs.
    pub fn runs(&self, programs: &[String]) -> Runs {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let after =
            |name: &str| words.iter().position(|&word| word == name).and_then(|place| words.get(place + 1));
        let own = |word: &&str| (*word).to_owned();
        let rest = |from: usize| words[from..].iter().map(own).collect();
        match &words[..] {
            ["cargo", "run", ..] => {
                let name = after("--example").copied().unwrap_or_default().to_owned();
                let separator = words.iter().position(|&word| word == "--").unwrap_or(words.len() - 1);
                Runs::Program(name, rest(separator + 1))
            }
            ["cargo", ..] => {
                let target =
                    ["--test", "--bench"].into_iter().find_map(|kind| Some((kind, own(after(kind)?))));
                Runs::Cargo { package: after("-p").map(own), target }
            }
            ["/usr/bin/time", "-v", name, ..] if programs.iter().any(|own| own == name) => {
                Runs::Program((*name).to_owned(), rest(3))
            }
            [name, ..] if programs.iter().any(|own| own == name) => {
                Runs::Program((*name).to_owned(), rest(1))
            }
            [first, ..] => Runs::Other((*first).to_owned()),
            [] => Runs::Other(String::new()),
        }
    }
}
