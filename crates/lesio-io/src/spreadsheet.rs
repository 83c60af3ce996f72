//! Comma-separated tables that are safe to open in spreadsheets.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use crate::atomic::{self, Existing, WriteError};

/// A comma-separated table (RFC 4180) of `N` columns, safe to open in a spreadsheet.
///
/// ```
/// use lesio_io::spreadsheet::CommaTable;
///
/// let mut table = CommaTable::new(["case", "volume_ml", "findings"]);
/// table.row(["=ann".into(), Some(2.5).into(), 3_usize.into()]);
/// table.row(["bob".into(), None::<f64>.into(), 0_usize.into()]);
/// assert_eq!(table.as_str(), "case,volume_ml,findings\n'=ann,2.5,3\nbob,,0\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommaTable<const N: usize> {
    text: String,
}

impl<const N: usize> CommaTable<N> {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: [&str; N]) -> Self {
        Self::with_further(columns, [])
    }

    /// A table without rows, with further columns whose names are known only at run time.
    #[must_use]
    pub fn with_further(columns: [&str; N], further: impl IntoIterator<Item = String>) -> Self {
        Self { text: heading(columns, further) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.row_with(cells, []);
    }

    /// Adds a row with values of the further columns.
    pub fn row_with(&mut self, cells: [Cell; N], further: impl IntoIterator<Item = Cell>) {
        self.text += &line(cells, further);
    }

    /// The table as text, with a heading and a line for each row.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Writes the table atomically.
    ///
    /// # Errors
    /// If the file system fails, and with [`Existing::Refuse`] if the file exists.
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        atomic::write(path.as_ref(), existing, |out| out.write_all(self.text.as_bytes()))
    }
}

/// A [`CommaTable`] that is written row by row, because it may be too large for memory.
///
/// ```
/// use lesio_io::spreadsheet::CommaWriter;
///
/// let mut table = CommaWriter::new(Vec::new(), ["case", "findings"], ["site".to_owned()])?;
/// table.row(["ann".into(), 3_usize.into()], ["Bern".into()])?;
/// assert_eq!(table.into_inner(), b"case,findings,site\nann,3,Bern\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CommaWriter<W, const N: usize> {
    out: W,
}

impl<W: Write, const N: usize> CommaWriter<W, N> {
    /// Writes the heading, with further columns whose names are known only at run time.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(
        mut out: W,
        columns: [&str; N],
        further: impl IntoIterator<Item = String>,
    ) -> io::Result<Self> {
        out.write_all(heading(columns, further).as_bytes())?;
        Ok(Self { out })
    }

    /// Writes a row with values of the further columns.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&mut self, cells: [Cell; N], further: impl IntoIterator<Item = Cell>) -> io::Result<()> {
        self.out.write_all(line(cells, further).as_bytes())
    }

    /// What was written to. It is not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn heading<const N: usize>(columns: [&str; N], further: impl IntoIterator<Item = String>) -> String {
    line(columns.map(Cell::from), further.into_iter().map(|name| Cell::from(&name)))
}

fn line<const N: usize>(cells: [Cell; N], further: impl IntoIterator<Item = Cell>) -> String {
    let mut text = cells.map(|cell| cell.0).join(",");
    for cell in further {
        text.push(',');
        text += &cell.0;
    }
    text + "\n"
}

/// A value of a [`CommaTable`]: text, a number or a boolean. `None` and numbers that are not finite become empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell(String);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(field(text).into_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self(if value.is_finite() { value.to_string() } else { String::new() })
    }
}

impl From<f32> for Cell {
    fn from(value: f32) -> Self {
        Self(if value.is_finite() { value.to_string() } else { String::new() })
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self(String::new()), Into::into)
    }
}

/// Values that are written as they are printed.
macro_rules! printed {
    ($($value:ty),*) => {
        $(impl From<$value> for Cell {
            fn from(value: $value) -> Self {
                Self(value.to_string())
            }
        })*
    };
}

printed!(bool, u8, u32, u64, usize);

/// Characters that a spreadsheet treats as the start of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Encodes a value of a comma-separated table: in quotes if it contains a comma, a quote or a line break (RFC 4180),
/// and after an apostrophe if a spreadsheet would run it as a formula. [`plain`] removes the apostrophe.
///
/// For text only, such as names of cases: a negative number is not a formula.
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
    // A formula after apostrophes gets one more, so that exactly one can be removed.
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
