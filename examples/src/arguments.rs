//! Parsers of arguments, which check values before a program starts.

use std::ffi::OsString;
use std::time::Instant;

use lesio::report::Extra;
use serde_json::{Value, json};

/// Returns a parser of whole numbers from `least` to `most`, both included.
pub fn whole(
    least: usize,
    most: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

/// Returns a parser of numbers from `least` to `most`, both included.
pub fn number(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

/// Parses a fraction: a number above 0 and below 1.
///
/// # Errors
/// For any other text.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number above 0 and below 1".to_owned()),
    }
}

/// Parses two ascending fractions, such as `0.001,0.3`: above 0 and below 1.
///
/// # Errors
/// For any other text.
pub fn ascending_fractions(text: &str) -> Result<[f64; 2], String> {
    let failed = || "expected two ascending fractions above 0 and below 1, such as 0.001,0.3".to_owned();
    let (least, most) = text.split_once(',').ok_or_else(failed)?;
    let [least, most] = [share(least.trim())?, share(most.trim())?];
    if least <= most { Ok([least, most]) } else { Err(failed()) }
}

/// Largest number of bootstrap replicates: more would take hours and change no printed digit.
pub const MOST_REPLICATES: usize = 100_000;

/// Returns the command line, quoted for a shell.
#[must_use]
pub fn command(program: &str) -> String {
    let mut line = format!("cargo run --release --example {program} --");
    for argument in std::env::args_os().skip(1) {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// The command line of a program and the seconds since it started, for its report.
#[must_use]
pub fn stamp(program: &str, started: Instant) -> Extra {
    let seconds = json!(started.elapsed().as_secs_f64());
    [("command".to_owned(), json!(command(program))), ("seconds".to_owned(), seconds)].into()
}

/// A report of a program with its command line and the seconds since it started.
#[must_use]
pub fn stamped(mut report: Value, program: &str, started: Instant) -> Value {
    for (name, value) in stamp(program, started) {
        report[name] = value;
    }
    report
}

/// Puts an argument in single quotes where a shell would interpret it.
fn quoted(argument: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_./=,:+@%".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Checks that all arguments are valid UTF-8, since reports contain them.
///
/// # Errors
/// Names the first invalid argument with its position and its escaped bytes.
pub(crate) fn check_text(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    for (place, argument) in arguments.into_iter().enumerate() {
        if argument.to_str().is_none() {
            let shown = argument.as_encoded_bytes().escape_ascii();
            return Err(format!("argument {place}, \"{shown}\", is not valid UTF-8"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_to_their_bounds() {
        assert_eq!(whole(1, 9)("9"), Ok(9));
        for text in ["0", "10", "-1", "1.5", "", "1e3", "99999999999999999999999"] {
            assert!(whole(1, 9)(text).is_err(), "{text}");
        }
        assert_eq!(number(0.0, 10.0)("2.5"), Ok(2.5));
        for text in ["nan", "inf", "-0.1", "1e9", "x"] {
            assert!(number(0.0, 10.0)(text).is_err(), "{text}");
        }
        assert!(share("0").is_err() && share("1").is_err() && share("nan").is_err() && share("0.5").is_ok());
        assert_eq!(ascending_fractions("0.001, 0.3"), Ok([0.001, 0.3]));
        for text in ["0.1", "0.2,0.1", "0,0.1", "0.1,1", "nan,0.1", "0.1,0.2,0.3", ""] {
            assert!(ascending_fractions(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(quoted("--out"), "--out");
        assert_eq!(quoted("my scans/it's"), r"'my scans/it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(rm)"), "'$(rm)'");
    }

    #[cfg(unix)]
    #[test]
    fn arguments_that_are_no_text_are_named() {
        use std::os::unix::ffi::OsStringExt;
        let bad = OsString::from_vec(b"sc\xff.nii".to_vec());
        let error = check_text(["train".into(), bad]).unwrap_err();
        assert_eq!(error, r#"argument 1, "sc\xff.nii", is not valid UTF-8"#);
    }
}
