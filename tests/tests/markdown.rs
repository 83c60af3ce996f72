//! What holds of every Markdown file: columns, links, phrases to avoid, and that the guide's programs are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most columns of a line of prose.
const COLUMNS: usize = 120;

/// Phrases that a reader must decode, with what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("whom", "name the person, or use \"who\""),
    ("counted from", "\"relative to\" or \"in standard deviations from\""),
    ("what is usual", "\"the mean of normal scores\", \"the default\""),
    ("of its own", "\"its own\", \"separate\""),
    ("of one's own", "\"your own\", \"user-defined\""),
    ("as it came", "\"unchanged\", \"original\""),
    ("refuses", "\"returns an error\", \"rejects\""),
    ("refused", "\"is an error\", \"rejected\""),
    ("is told", "\"is reported\", \"is stated\""),
    ("are told", "\"are reported\", \"are stated\""),
    ("was told", "\"was reported\", \"was stated\""),
    ("by itself", "\"separately\", \"alone\", \"automatically\""),
    ("come to be", "\"exist\", \"is created\""),
    ("in silence", "\"silently\""),
    ("but for", "\"except\""),
    ("who wants", "\"if you want\""),
    ("stands beside", "\"is reported beside\", \"is next to\""),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Markdown file below a folder; hidden folders and what is built are passed over.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(markdown(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A line of prose: not of a code block, with code spans blanked.
struct Line {
    number: usize,
    text: String,
    /// Code spans blanked.
    prose: String,
}

fn lines(text: &str) -> Vec<Line> {
    let (mut fenced, mut found) = (false, Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let parts = line.split('`').enumerate();
            let prose = parts.map(|(place, part)| if place % 2 == 0 { part } else { "code" }).collect();
            found.push(Line { number, text: line.to_owned(), prose });
        }
    }
    found
}

/// Lines of prose with too many columns. Tables, comments, pictures and long addresses have no line breaks.
fn too_long(text: &str) -> Vec<usize> {
    let is_address = |word: &str| word.contains("](") || word.contains("://");
    let long = lines(text).into_iter().filter(|line| {
        line.text.chars().count() > COLUMNS
            && !line.text.starts_with(['|', '<', '!'])
            && !line
                .text
                .split_whitespace()
                .any(|word| is_address(word) && word.chars().count() > COLUMNS / 2)
    });
    long.map(|line| line.number).collect()
}

/// Phrases to avoid, with their lines.
fn phrases(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    for line in lines(text) {
        let prose = line.prose.to_lowercase();
        for &(phrase, instead) in PHRASES {
            let word = |place: usize| {
                let before = prose[..place].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
                let after = prose[place + phrase.len()..].chars().next().is_none_or(|c| !c.is_alphanumeric());
                before && after
            };
            if prose.match_indices(phrase).any(|(place, _)| word(place)) {
                found.push((line.number, phrase, instead));
            }
        }
    }
    found
}

/// Targets of links and pictures, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in lines(text) {
        for (place, _) in line.text.match_indices("](") {
            let target = line.text[place + 2..].split(')').next().unwrap_or_default();
            found.push((line.number, target.to_owned()));
        }
    }
    found
}

/// The anchors of headings, as GitHub makes them: lower case, hyphens for spaces, without punctuation.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines(text).iter().filter(|line| line.text.starts_with('#')) {
        let heading = line.text.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(anchor.clone()).or_default();
        found.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    found
}

/// What is wrong with a link of a file.
fn fault(file: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let there = if path.is_empty() { file.to_owned() } else { file.parent().unwrap().join(path) };
    if !there.exists() {
        return Some(format!("{target}: there is no such file"));
    }
    let anchor = anchor.filter(|_| there.extension().is_some_and(|ending| ending == "md"))?;
    let all = anchors(&fs::read_to_string(&there).unwrap());
    (!all.iter().any(|own| own == anchor)).then(|| format!("{target}: there is no such heading, but {all:?}"))
}

/// Faults of all files, one a line.
fn report(check: impl Fn(&Path, &str) -> Vec<String>) -> String {
    let (root, mut found) = (root(), String::new());
    let files = markdown(&root);
    assert!(files.len() > 10, "only {} files found: is the search broken?", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for fault in check(&file, &text) {
            found.push_str(&format!("{}:{fault}\n", file.strip_prefix(&root).unwrap().display()));
        }
    }
    found
}

#[test]
fn lines_have_at_most_120_columns() {
    let found = report(|_, text| too_long(text).iter().map(|line| format!("{line}: too long")).collect());
    assert!(found.is_empty(), "more than {COLUMNS} columns:\n{found}");
}

#[test]
fn links_and_anchors_exist() {
    let found = report(|file, text| {
        let faults =
            links(text).into_iter().filter_map(|(line, to)| Some(format!("{line}: {}", fault(file, &to)?)));
        faults.collect()
    });
    assert!(found.is_empty(), "broken links:\n{found}");
}

#[test]
fn english_is_plain() {
    let found = report(|_, text| {
        let all = phrases(text).into_iter();
        all.map(|(line, phrase, instead)| format!("{line}: \"{phrase}\"; write {instead}")).collect()
    });
    assert!(found.is_empty(), "phrases to avoid:\n{found}");
}

#[test]
fn every_chapter_of_the_guide_is_listed_and_run() {
    let root = root();
    let index = fs::read_to_string(root.join("docs/guide/README.md")).unwrap();
    let run = fs::read_to_string(root.join("tests/src/lib.rs")).unwrap();
    for path in markdown(&root.join("docs/guide")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&format!("]({name})")), "docs/guide/README.md does not list {name}");
        let text = fs::read_to_string(&path).unwrap();
        let has_code = text.lines().any(|line| line.starts_with("```rust"));
        let included = run.contains(&format!("include_str!(\"../../docs/guide/{name}\")"));
        assert!(included || !has_code, "tests/src/lib.rs does not include {name}");
        assert!(!text.contains("```rust,ignore"), "{name}: code that is not compiled");
    }
}

#[test]
fn faults_are_found() {
    let long = "word ".repeat(30);
    let text = format!(
        "# A `b`, c!\n{long}\n| {long} |\n```sh\n{long}\nwhom\n```\n[x](https://{})\n",
        "y".repeat(130)
    );
    assert_eq!(too_long(&text), [2]);
    assert_eq!(anchors(&format!("{text}# A `b`, c!\n")), ["a-b-c", "a-b-c-1"]);
    let found = phrases("It refuses.\n`refuses`\nWho told whom? Refused!\nbuttressed by itselfish ones\n");
    assert_eq!(
        found.iter().map(|found| (found.0, found.1)).collect::<Vec<_>>(),
        [(1, "refuses"), (3, "whom"), (3, "refused")]
    );
    assert_eq!(links("[a](b.md#c) and ![p](q.png)\n"), [(1, "b.md#c".to_owned()), (1, "q.png".to_owned())]);
    let readme = root().join("README.md");
    for (target, expected) in [
        ("LICENSE-MIT", None),
        ("https://example.org/x", None),
        ("#use-it-in-your-program", None),
        ("#no-such-heading", Some("no such heading")),
        ("docs/no-such-file.md", Some("no such file")),
    ] {
        let found = fault(&readme, target);
        assert_eq!(found.is_some(), expected.is_some(), "{target}: {found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{target}");
    }
}
