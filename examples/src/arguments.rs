//! Arguments that programs check before they begin.

use std::error::Error;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::Path;

use lesio::io::atomic;

/// A parser of whole numbers between two bounds, both allowed.
pub fn whole(
    least: usize,
    most: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

/// A parser of numbers between two bounds, both allowed.
pub fn number(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

/// A parser of shares: numbers above 0 and below 1.
///
/// # Errors
/// Anything else.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number above 0 and below 1".to_owned()),
    }
}

/// Most replicates of a bootstrap: more change no digit that is printed, and would take hours.
pub const MOST_REPLICATES: usize = 100_000;

/// The command line, as a shell takes it.
#[must_use]
pub fn command(program: &str) -> String {
    let mut line = format!("cargo run --release --example {program} --");
    for argument in std::env::args_os().skip(1) {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// An argument in single quotes where a shell would read it otherwise.
fn quoted(argument: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_./=,:+@%".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Checks that all arguments are text, since reports hold them.
///
/// # Errors
/// The first that is not, with its place and what can be read of it.
pub(crate) fn check_text(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    for (place, argument) in arguments.into_iter().enumerate() {
        if argument.to_str().is_none() {
            let shown = argument.as_encoded_bytes().escape_ascii();
            return Err(format!("argument {place}, \"{shown}\", is not valid UTF-8"));
        }
    }
    Ok(())
}

/// Checks before any work that results can be written into a folder: it, or the nearest folder above it where it does
/// not exist yet, takes files. Nothing is left behind.
///
/// # Errors
/// A name that is taken by something else, or a folder in which nothing can be written; the error names it.
pub fn check_folder(folder: &Path) -> Result<(), Box<dyn Error>> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if !existing.is_dir() {
        let found = if existing == folder { String::new() } else { format!("{} ", existing.display()) };
        return Err(format!("{}: {found}is a file, expected a folder for results", folder.display()).into());
    }
    let failed = |what: &str, error: std::io::Error| format!("{}: {what}: {error}", existing.display());
    let probe = existing.join(format!(".lesio-probe-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    made.map_err(|error| failed("cannot write into the folder", error))?;
    std::fs::remove_file(&probe).map_err(|error| failed("cannot remove a file from the folder", error))?;
    Ok(())
}

/// Creates the folder of a program's results, and removes what writers that were killed left there.
///
/// # Errors
/// As [`check_folder`].
pub fn prepare_folder(folder: &Path) -> Result<(), Box<dyn Error>> {
    check_folder(folder)?;
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("{}: cannot create the folder: {error}", folder.display()))?;
    atomic::sweep_stale(folder)?;
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

    #[test]
    fn folders_for_results_are_checked_before_work() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("taken");
        std::fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = prepare_folder(&path).unwrap_err().to_string();
            assert!(error.contains("taken"), "{error}");
        }
        let folder = parent.path().join("a/b");
        check_folder(&folder).unwrap();
        assert!(!parent.path().join("a").exists());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        prepare_folder(&folder).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
