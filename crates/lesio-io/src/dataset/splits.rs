//! `splits.csv`, which assigns cases to splits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::case::Case;
use super::error::{AbsentCase, DatasetError, DatasetErrorKind};
use super::folder::is_there;
use super::names::nearest;
use super::options::AbsentCases;
use super::sheet::{Fault, Sheet, value};

const NAME: &str = "splits.csv";

/// Splits by patient, or by patient and frame.
#[derive(Debug)]
pub(super) struct Splits {
    path: PathBuf,
    by_name: BTreeMap<Key, Row>,
}

/// A patient, case or subject, with an optional frame.
type Key = (String, Option<String>);

#[derive(Clone, Debug)]
struct Row {
    line: u64,
    split: String,
}

impl Splits {
    /// Reads the `splits.csv` of a folder, if it exists.
    pub(super) fn of(root: &Path) -> Result<Option<Self>, DatasetError> {
        let path = root.join(NAME);
        if !is_there(&path) {
            return Ok(None);
        }
        let bad = |line, reason| DatasetErrorKind::BadSplits { line, reason };
        let sheet = Sheet::read(&path, bad).map_err(|kind| kind.at(&path))?;
        match rows(&sheet) {
            Ok(by_name) => Ok(Some(Self { path, by_name })),
            Err((line, reason)) => Err(bad(line, reason).at(&path)),
        }
    }

    /// Sets the splits of cases. A case without a row belongs to no split. A row with a frame overrides one without.
    ///
    /// # Errors
    /// For two rows that put one case into two splits; for rows that name no case, unless `absent` is `Warn`.
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

/// The names that a row may contain: patients, cases, and patients with frames.
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

fn rows(sheet: &Sheet) -> Result<BTreeMap<Key, Row>, Fault> {
    let patient = sheet
        .column(&["patient", "case", "subject"])
        .ok_or_else(|| sheet.missing("patient, case or subject"))?;
    let split = sheet.column(&["split"]).ok_or_else(|| sheet.missing("split"))?;
    let frame = sheet.column(&["frame"]);
    let mut by_name: BTreeMap<Key, Row> = BTreeMap::new();
    for (line, row) in &sheet.rows {
        let line = *line;
        let empty = |what: &str| (line, format!("the {what} is empty"));
        let who = value(row, patient).ok_or_else(|| empty("patient"))?;
        let split = value(row, split).ok_or_else(|| empty("split"))?;
        let key = (who, frame.and_then(|frame| value(row, frame)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<BTreeMap<Key, Row>, Fault> {
        rows(&Sheet::parse(bytes)?)
    }

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
