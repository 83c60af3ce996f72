//! A user's table, separated by commas or tabs, with line numbers.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::error::DatasetErrorKind;
use crate::error::ReadErrorKind;
use crate::source::read_all;
use crate::spreadsheet::plain;

/// The maximum number of bytes of a table, larger than the list of any data set.
const MOST_BYTES: u64 = 64 << 20;

/// A row after the last one of a table.
const END: &str = "\u{1}end of the table\u{1}";

/// The line of a table, from 1, and the problem in this line.
pub(super) type Fault = (u64, String);

/// A table: column names, and rows with their line numbers.
#[derive(Debug)]
pub(super) struct Sheet {
    header: StringRecord,
    header_line: u64,
    pub(super) rows: Vec<(u64, StringRecord)>,
}

impl Sheet {
    /// Reads a file; `bad` makes an error of a line number and a description of the problem.
    pub(super) fn read(
        path: &Path,
        bad: impl Fn(u64, String) -> DatasetErrorKind,
    ) -> Result<Self, DatasetErrorKind> {
        let bytes = bytes_of(path, MOST_BYTES, &bad)?;
        Self::parse(&bytes).map_err(|(line, reason)| bad(line, reason))
    }

    /// Reads a table whose columns are separated by tabs, without quotes.
    pub(super) fn read_tabs(
        path: &Path,
        bad: impl Fn(u64, String) -> DatasetErrorKind,
    ) -> Result<Self, DatasetErrorKind> {
        let bytes = bytes_of(path, MOST_BYTES, &bad)?;
        let mut reader = ReaderBuilder::new();
        reader.delimiter(b'\t').quoting(false);
        Self::parse_with(reader, &bytes).map_err(|(line, reason)| bad(line, reason))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        Self::parse_with(ReaderBuilder::new(), bytes)
    }

    fn parse_with(mut reader: ReaderBuilder, bytes: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            (line, "is not UTF-8".to_owned())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The reader takes the rest of the file for the last value if a quote is not closed, and then it finds no end.
        let closed = format!("{text}\n{END}\n");
        let mut reader =
            reader.has_headers(false).flexible(true).trim(Trim::All).from_reader(closed.as_bytes());
        // The reader states the position before the empty lines that it skips; these lines are added here.
        let line = |position: Option<&csv::Position>| {
            let (start, line) = position.map_or((0, 1), |position| (position.byte(), position.line()));
            let after =
                text.as_bytes().get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
            let skipped = after.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            line + skipped.filter(|&&byte| byte == b'\n').count() as u64
        };
        let mut header: Option<(u64, StringRecord)> = None;
        let mut rows = Vec::new();
        let (mut last, mut has_end) = (1, false);
        for row in reader.records() {
            let row = row.map_err(|error| (line(error.position()), error.to_string()))?;
            // A row of blanks is skipped like an empty line.
            if row.iter().all(str::is_empty) {
                continue;
            }
            let line = line(row.position());
            if row.len() == 1 && &row[0] == END {
                has_end = true;
                break;
            }
            last = line;
            match &header {
                None => header = Some((line, row)),
                Some((_, header)) => {
                    let beyond = row.iter().skip(header.len()).any(|value| !value.is_empty());
                    if row.len() < header.len() || beyond {
                        let (found, expected) = (row.len(), header.len());
                        return Err((
                            line,
                            format!("has {found} values, expected {expected} as in the header"),
                        ));
                    }
                    rows.push((line, row));
                }
            }
        }
        if !has_end {
            return Err((last, "a quote is opened here or in a later line, and not closed".to_owned()));
        }
        let (header_line, header) = header.ok_or((1, "is empty, expected column names".to_owned()))?;
        Ok(Self { header, header_line, rows })
    }

    /// The column names, unchanged.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.header.iter()
    }

    /// The first column with one of these names, in upper or lower case.
    pub(super) fn column(&self, wanted: &[&str]) -> Option<usize> {
        self.names().position(|name| wanted.contains(&name.to_ascii_lowercase().as_str()))
    }

    /// The error for a missing column, which `what` describes.
    pub(super) fn missing(&self, what: &str) -> Fault {
        let names: Vec<&str> = self.names().collect();
        let separated = match names[..] {
            [name] if name.contains([';', '\t']) => ", because values must be separated by commas",
            _ => "",
        };
        (self.header_line, format!("there is no column {what} among {names:?}{separated}"))
    }

    /// The error for a problem with the column names.
    pub(super) fn bad_header(&self, reason: String) -> Fault {
        (self.header_line, reason)
    }
}

/// The bytes of a user's file; `bad` makes an error if the file exceeds the limit.
pub(super) fn bytes_of(
    path: &Path,
    limit: u64,
    bad: impl Fn(u64, String) -> DatasetErrorKind,
) -> Result<Vec<u8>, DatasetErrorKind> {
    read_all(path, limit).map_err(|kind| match kind {
        ReadErrorKind::Io { operation, source } => DatasetErrorKind::Io { operation, source },
        ReadErrorKind::DanglingLink { .. } => DatasetErrorKind::DanglingLink,
        ReadErrorKind::NotRegularFile { found } => DatasetErrorKind::NotRegularFile { found },
        other => bad(1, other.to_string()),
    })
}

/// The value in a column; `None` if it is empty.
pub(super) fn value(row: &StringRecord, column: usize) -> Option<String> {
    row.get(column).filter(|value| !value.is_empty()).map(|value| plain(value).to_owned())
}
