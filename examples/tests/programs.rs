//! Every program: its help, and its length.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use support::{manifest_folder, program, programs, ran, succeed};

/// Most lines of a program: it parses arguments, calls the libraries and prints.
const MOST_LINES: usize = 150;
/// Most lines of a program in the middle of all.
const MOST_MEDIAN_LINES: usize = 90;

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

#[test]
fn programs_are_short() {
    let mut lengths = Vec::new();
    for name in programs() {
        let source = std::fs::read_to_string(manifest_folder().join(format!("{name}.rs"))).unwrap();
        let lines = source.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{name}.rs has {lines} lines: what others may need belongs to lesio-study"
        );
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MOST_MEDIAN_LINES, "half of the programs have {median} lines or more");
}
