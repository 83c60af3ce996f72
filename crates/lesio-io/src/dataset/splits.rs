//! `splits.csv`: which case belongs to which split.

use std::collections::BTreeMap;
use std::path::Path;

use super::case::Case;
use super::error::{DatasetError, DatasetErrorKind};
use super::folder::is_there;
use crate::error::ReadErrorKind;
use crate::source::read_all;

const NAME: &str = "splits.csv";

/// More than the list of any data set takes.
const MOST_BYTES: u64 = 64 << 20;

/// Splits by patient, or by patient and frame.
#[derive(Debug)]
pub(super) struct Splits {
    by_patient: BTreeMap<String, String>,
    by_frame: BTreeMap<(String, String), String>,
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
                ReadErrorKind::NotRegularFile { .. } => DatasetErrorKind::NotRegularFile,
                other => DatasetErrorKind::BadSplits { line: 1, reason: other.to_string() },
            };
            kind.at(&path)
        })?;
        Self::parse(&bytes)
            .map(Some)
            .map_err(|(line, reason)| DatasetErrorKind::BadSplits { line, reason }.at(&path))
    }

    fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (before.iter().filter(|&&byte| byte == b'\n').count() + 1, "is not UTF-8".to_owned())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rows = text
            .lines()
            .enumerate()
            .map(|(index, row)| (index + 1, row))
            .filter(|(_, row)| !row.trim().is_empty());
        let (line, header) = rows.next().ok_or((1, "is empty, expected column names".to_owned()))?;
        let names = fields(header).map_err(|reason| (line, reason))?;
        let column = |wanted: &[&str]| {
            names.iter().position(|name| wanted.contains(&name.to_ascii_lowercase().as_str()))
        };
        let missing = |what: &str| (line, format!("there is no column {what} among {names:?}"));
        let patient =
            column(&["patient", "case", "subject"]).ok_or_else(|| missing("patient, case or subject"))?;
        let split = column(&["split"]).ok_or_else(|| missing("split"))?;
        let frame = column(&["frame"]);
        let mut splits = Self { by_patient: BTreeMap::new(), by_frame: BTreeMap::new() };
        for (line, row) in rows {
            let values = fields(row).map_err(|reason| (line, reason))?;
            let value = |column: usize| values.get(column).filter(|value| !value.is_empty()).cloned();
            let empty = |what: &str| (line, format!("the {what} is empty"));
            let who = value(patient).ok_or_else(|| empty("patient"))?;
            let which = value(split).ok_or_else(|| empty("split"))?;
            let frame = frame.and_then(value);
            let label = frame.as_ref().map_or_else(|| who.clone(), |frame| format!("{who} {frame}"));
            let earlier = match frame {
                Some(frame) => splits.by_frame.insert((who, frame), which.clone()),
                None => splits.by_patient.insert(who, which.clone()),
            };
            if let Some(earlier) = earlier.filter(|earlier| *earlier != which) {
                return Err((line, format!("{label} is in split {which:?}, before it was in {earlier:?}")));
            }
        }
        Ok(splits)
    }

    /// Sets a case's split; what is not named belongs to none.
    pub(super) fn assign(&self, case: &mut Case) {
        let frame = case.frame.clone().map(|frame| (case.patient.clone(), frame));
        case.split = frame
            .and_then(|key| self.by_frame.get(&key))
            .or_else(|| self.by_patient.get(&case.patient))
            .or_else(|| self.by_patient.get(&case.id))
            .cloned();
    }
}

/// The values of a row, trimmed; a value in double quotes may hold commas, and quotes written twice.
fn fields(row: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let mut rest = row;
    loop {
        let trimmed = rest.trim_start();
        let value;
        (value, rest) = match trimmed.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = trimmed.find(',').unwrap_or(trimmed.len());
                let (value, rest) = trimmed.split_at(end);
                (value.trim().to_owned(), rest)
            }
        };
        values.push(value);
        rest = match rest.trim_start().strip_prefix(',') {
            Some(next) => next,
            None if rest.trim().is_empty() => return Ok(values),
            None => return Err("text follows a closing quote".to_owned()),
        };
    }
}

fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        let (part, after) = rest.split_at(end);
        value.push_str(part);
        rest = after.strip_prefix('"').unwrap_or(after);
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(csv: &str, patient: &str) -> Option<String> {
        Splits::parse(csv.as_bytes()).unwrap().by_patient.get(patient).cloned()
    }

    #[test]
    fn columns_are_found_by_name() {
        let csv = "\u{feff}site, Split ,\"Patient\"\r\nDU,train,a\r\n\r\n\"x, y\",test,\"b \"\"c\"\"\"\r\n";
        assert_eq!(split_of(csv, "a").as_deref(), Some("train"));
        assert_eq!(split_of(csv, "b \"c\"").as_deref(), Some("test"));
        assert_eq!(split_of("case,split\n1,val", "1").as_deref(), Some("val"));
        assert_eq!(split_of("subject,split\n", "1"), None);
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (csv, line) in [
            ("", 1),
            ("patient\na", 1),
            ("split\na", 1),
            ("patient,split\na,train\na,test", 3),
            ("patient,split\n\na", 3),
            ("patient,split\n,train", 2),
            ("patient,split\n\"a,train", 2),
            ("patient,split\n\"a\"b,train", 2),
        ] {
            assert_eq!(Splits::parse(csv.as_bytes()).unwrap_err().0, line, "{csv:?}");
        }
        assert_eq!(Splits::parse(b"patient,split\na,\xff").unwrap_err().0, 2);
    }
}
