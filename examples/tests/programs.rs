//! Every program: its help, and that documents name options that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::{manifest_folder, program, programs, ran, succeed};

#[test]
fn every_program_explains_itself() {
    let programs = programs();
    assert!(programs.len() >= 6, "{programs:?}");
    for name in &programs {
        let help = succeed(program(name).arg("--help")).out;
        assert!(help.contains("Usage:"), "{name}: {help}");
        // More than a list of options: what it is for, above the usage.
        assert!(help.split("Usage:").next().unwrap().trim().len() > 40, "{name}: {help}");
        // Every option says what it does.
        let short = succeed(program(name).arg("-h")).out;
        for option in short.lines().filter(|line| line.trim_start().starts_with("--")) {
            assert!(
                option.trim().contains("  ") || option.len() > 60 || short.contains(option),
                "{name}: {option}"
            );
        }
        let refused = ran(program(name).arg("--no-such-option"));
        assert_eq!(refused.code, Some(2), "{name}: {}", refused.err);
        assert!(refused.err.contains("--no-such-option"), "{name}: {}", refused.err);
    }
}

/// Commands in documents and in the programs' own descriptions name programs and options that exist.
#[test]
fn documented_commands_can_be_typed() {
    let root = manifest_folder().parent().unwrap().to_owned();
    let mut documents: Vec<PathBuf> = vec![root.join("README.md")];
    for folder in [root.join("docs"), manifest_folder()] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md" || e == "rs")));
    }
    let programs = programs();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut seen = 0;
    for document in documents {
        for (name, options) in commands(&document) {
            assert!(programs.contains(&name), "{}: there is no program {name:?}", document.display());
            let help = helps.entry(name.clone()).or_insert_with(|| succeed(program(&name).arg("--help")).out);
            for option in options {
                let place = document.display();
                let known =
                    help.split(|c: char| c.is_whitespace() || ",[]=".contains(c)).any(|word| word == option);
                assert!(known, "{place}: {name} has no {option}");
            }
            seen += 1;
        }
    }
    assert!(seen >= programs.len() - 1, "only {seen} commands found: is the search broken?");
}

/// The programs that a document runs, with the options it gives them.
fn commands(document: &Path) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(document).unwrap().replace("\\\n", " ");
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.contains("cargo run")) {
        let Some(rest) = line.split("--example ").nth(1) else { continue };
        let command = rest.split('`').next().unwrap_or_default();
        let mut words = command.split_whitespace();
        let name = words.next().unwrap_or_default().trim_end_matches(['"', ',']).to_owned();
        // Placeholders, as in `--example NAME` or format strings, are no commands.
        if name.is_empty() || name.contains(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
            continue;
        }
        let options = words.skip_while(|&word| word != "--").skip(1);
        let options = options.filter(|word| word.starts_with("--")).map(|word| {
            word.split('=').next().unwrap_or_default().trim_end_matches([',', '.', ')']).to_owned()
        });
        found.push((name, options.collect()));
    }
    found
}
