//! Text in tables that people open in spreadsheets.

use std::borrow::Cow;

/// What a spreadsheet takes for the start of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A value of a comma-separated table as it is written: in quotes where it holds a comma, a quote or a line break (RFC
/// 4180), and behind an apostrophe where a spreadsheet would run it as a formula. [`plain`] takes the apostrophe away.
///
/// For text alone, such as names of cases: a negative number is no formula.
///
/// ```
/// use lesio_io::spreadsheet::field;
///
/// assert_eq!(field("ann"), "ann");
/// assert_eq!(field("left, \"upper\""), "\"left, \"\"upper\"\"\"");
/// assert_eq!(field("=HYPERLINK(0)"), "'=HYPERLINK(0)");
/// ```
#[must_use]
pub fn field(text: &str) -> Cow<'_, str> {
    // A name that starts with apostrophes and a formula gets one more, so that one can be taken away.
    let guarded: Cow<'_, str> = if text.trim_start_matches('\'').starts_with(FORMULA) {
        format!("'{text}").into()
    } else {
        text.into()
    };
    if guarded.contains([',', '"', '\n', '\r']) || guarded.trim() != guarded {
        format!("\"{}\"", guarded.replace('"', "\"\"")).into()
    } else {
        guarded
    }
}

/// The text that [`field`] was given, of a value as a reader of comma-separated tables gives it.
///
/// ```
/// use lesio_io::spreadsheet::plain;
///
/// assert_eq!(plain("'=HYPERLINK(0)"), "=HYPERLINK(0)");
/// assert_eq!(plain("'quoted'"), "'quoted'");
/// ```
#[must_use]
pub fn plain(value: &str) -> &str {
    match value.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(FORMULA) => rest,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[\\PC\n\r\t=+@',\"-]{0,12}") {
            let table = format!("name\n{}\n", field(&text));
            let mut reader = csv::Reader::from_reader(table.as_bytes());
            let found = reader.records().next().map(|row| row.unwrap()[0].to_owned()).unwrap_or_default();
            prop_assert_eq!(plain(&found), text);
            prop_assert!(!found.starts_with(FORMULA));
        }
    }
}
