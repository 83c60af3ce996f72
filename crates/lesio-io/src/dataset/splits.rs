//! `splits.csv`: which case belongs to which split.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::case::Case;
use super::error::{AbsentCase, DatasetError, DatasetErrorKind};
use super::folder::is_there;
use super::names::nearest;
use super::options::AbsentCases;
use crate::error::ReadErrorKind;
use crate::source::read_all;
use crate::spreadsheet::plain;

const NAME: &str = "splits.csv";

/// More than the list of any data set takes.
const MOST_BYTES: u64 = 64 << 20;

/// Splits by patient, or by patient and frame.
#[derive(Debug)]
pub(super) struct Splits {
    path: PathBuf,
    by_name: BTreeMap<Key, Row>,
}

/// A patient, case or subject, and perhaps a frame.
type Key = (String, Option<String>);

#[derive(Clone, Debug)]
struct Row {
    line: u64,
    split: String,
}

impl Splits {
    /// Reads `splits.csv` of a folder, if there is one.
    pub(super) fn of(root: &Path) -> Result<Option<Self>, DatasetError> {
        let path = root.join(NAME);
        if !is_there(&path) {
            return Ok(None);
        }
        let bytes = read_all(&path, MOST_BYTES).map_err(|kind| {
            let kind = match kind {
                ReadErrorKind::Io { operation, source } => DatasetErrorKind::Io { operation, source },
                ReadErrorKind::DanglingLink { .. } => DatasetErrorKind::DanglingLink,
                ReadErrorKind::NotRegularFile { found } => DatasetErrorKind::NotRegularFile { found },
                other => DatasetErrorKind::BadSplits { line: 1, reason: other.to_string() },
            };
            kind.at(&path)
        })?;
        match parse(&bytes) {
            Ok(by_name) => Ok(Some(Self { path, by_name })),
            Err((line, reason)) => Err(DatasetErrorKind::BadSplits { line, reason }.at(&path)),
        }
    }

    /// Sets the splits of cases; what is not named belongs to none. A row with a frame goes before one without.
    ///
    /// # Errors
    /// Two rows that put one case into two splits, and rows that name no case, unless those are only told.
    pub(super) fn assign(&self, cases: &mut [Case], absent: AbsentCases) -> Result<(), DatasetError> {
        let mut met = BTreeSet::new();
        let mut without = 0_usize;
        for case in cases.iter_mut() {
            let mut row = |name: &str, frame: Option<&String>| {
                let (key, row) = self.by_name.get_key_value(&(name.to_owned(), frame.cloned()))?;
                met.insert(key);
                Some(row)
            };
            let frame = case.frame.as_ref().and_then(|frame| row(&case.patient, Some(frame)));
            let (patient, id) = (row(&case.patient, None), row(&case.id, None));
            if let (Some(patient), Some(id)) = (patient, id)
                && patient.split != id.split
            {
                let reason = format!(
                    "case {} is in split {:?}, by line {} it is in {:?}",
                    case.id, id.split, patient.line, patient.split
                );
                return Err(DatasetErrorKind::BadSplits { line: id.line, reason }.at(&self.path));
            }
            case.split = frame.or(patient).or(id).map(|row| row.split.clone());
            without += usize::from(case.split.is_none());
        }
        if without > 0 {
            let file = self.path.display();
            tracing::warn!(%file, cases = without, "cases that are not named belong to no split");
        }
        let mut left: Vec<(&Key, &Row)> =
            self.by_name.iter().filter(|(key, _)| !met.contains(*key)).collect();
        left.sort_by_key(|(_, row)| row.line);
        if left.is_empty() {
            return Ok(());
        }
        let names = names(cases);
        let rows = left.iter().take(DatasetErrorKind::LISTED).map(|(key, row)| {
            let name = label(key);
            AbsentCase { line: row.line, nearest: nearest(&name, &names), name }
        });
        let error = DatasetErrorKind::AbsentCases { rows: rows.collect(), count: left.len() }.at(&self.path);
        match absent {
            AbsentCases::Refuse => Err(error),
            AbsentCases::Warn => {
                tracing::warn!("{error}");
                Ok(())
            }
        }
    }
}

/// What a row may name: patients, cases, and patients with frames.
fn names(cases: &[Case]) -> BTreeSet<String> {
    let frame = |case: &Case| case.frame.clone().map(|frame| label(&(case.patient.clone(), Some(frame))));
    cases
        .iter()
        .flat_map(|case| [Some(case.patient.clone()), Some(case.id.clone()), frame(case)])
        .flatten()
        .collect()
}

fn label((who, frame): &Key) -> String {
    frame.as_ref().map_or_else(|| who.clone(), |frame| format!("{who} {frame}"))
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<Key, Row>, (u64, String)> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        (line, "is not UTF-8".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let mut rows = reader.records().filter(|row| {
        // A row of blanks is as good as none.
        !row.as_ref().is_ok_and(|row| row.iter().all(str::is_empty))
    });
    // Where a row begins, the reader counts from before the empty lines that it skips.
    let line = |position: Option<&csv::Position>| {
        let (start, line) = position.map_or((0, 1), |position| (position.byte(), position.line()));
        let after = text.as_bytes().get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
        let skipped = after.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        line + skipped.filter(|&&byte| byte == b'\n').count() as u64
    };
    let mut next = || match rows.next() {
        None => Ok(None),
        Some(Ok(row)) => Ok(Some((line(row.position()), row))),
        Some(Err(error)) => Err((line(error.position()), error.to_string())),
    };
    let (line, header) = next()?.ok_or((1, "is empty, expected column names".to_owned()))?;
    let column =
        |wanted: &[&str]| header.iter().position(|name| wanted.contains(&name.to_ascii_lowercase().as_str()));
    let missing = |what: &str| {
        let names: Vec<&str> = header.iter().collect();
        (line, format!("there is no column {what} among {names:?}"))
    };
    let patient =
        column(&["patient", "case", "subject"]).ok_or_else(|| missing("patient, case or subject"))?;
    let split = column(&["split"]).ok_or_else(|| missing("split"))?;
    let frame = column(&["frame"]);
    let mut by_name: BTreeMap<Key, Row> = BTreeMap::new();
    while let Some((line, row)) = next()? {
        let empty = |what: &str| (line, format!("the {what} is empty"));
        let who = value(&row, patient).ok_or_else(|| empty("patient"))?;
        let split = value(&row, split).ok_or_else(|| empty("split"))?;
        let key = (who, frame.and_then(|frame| value(&row, frame)));
        match by_name.get(&key) {
            Some(earlier) if earlier.split != split => {
                let (label, earlier) = (label(&key), &earlier.split);
                return Err((line, format!("{label} is in split {split:?}, before it was in {earlier:?}")));
            }
            Some(_) => {}
            None => drop(by_name.insert(key, Row { line, split })),
        }
    }
    Ok(by_name)
}

fn value(row: &StringRecord, column: usize) -> Option<String> {
    row.get(column).filter(|value| !value.is_empty()).map(|value| plain(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(csv: &str, patient: &str) -> Option<String> {
        let rows = parse(csv.as_bytes()).unwrap();
        rows.get(&(patient.to_owned(), None)).map(|row| row.split.clone())
    }

    #[test]
    fn columns_are_found_by_name() {
        let csv = "\u{feff}site, Split ,\"Patient\"\r\nDU,train,a\r\n\r\n\"x, y\",test,\"b \"\"c\"\"\"\r\n";
        assert_eq!(split_of(csv, "a").as_deref(), Some("train"));
        assert_eq!(split_of(csv, "b \"c\"").as_deref(), Some("test"));
        assert_eq!(split_of("case,split\n1,val", "1").as_deref(), Some("val"));
        assert_eq!(split_of("subject,split\n", "1"), None);
        assert_eq!(split_of(" \n,,\ncase,split\n , \n1,val\n\n", "1").as_deref(), Some("val"));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (csv, line) in [
            ("", 1),
            ("patient\na", 1),
            ("split\na", 1),
            ("patient;split\na;train", 1),
            ("patient,split\na,train\na,test", 3),
            ("patient,split\n\na", 3),
            ("patient,split\n,train", 2),
            ("patient,split\n\"a,train", 2),
            ("patient,split\r\n\"two\r\nlines\",train\r\nb,\r\n", 4),
        ] {
            assert_eq!(parse(csv.as_bytes()).unwrap_err().0, line, "{csv:?}");
        }
        assert_eq!(parse(b"patient,split\na,\xff").unwrap_err().0, 2);
    }
}
