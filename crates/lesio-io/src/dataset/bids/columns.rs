//! `participants.tsv` and `sub-01_sessions.tsv`: further properties of subjects and sessions.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::error::{DatasetError, DatasetErrorKind};
use super::super::folder::is_there;
use super::super::sheet::{Sheet, value};

/// The text that BIDS uses for an unknown value.
const NOT_KNOWN: &str = "n/a";

/// The rows of a table by the name in the first column.
#[derive(Debug, Default)]
pub(super) struct Columns {
    rows: BTreeMap<String, Vec<(String, String)>>,
}

impl Columns {
    /// Reads a table whose column `key` names subjects or sessions; there are no rows if the file does not exist.
    pub(super) fn of(path: &Path, key: &str) -> Result<Self, DatasetError> {
        if !is_there(path) {
            return Ok(Self::default());
        }
        let bad = |line, reason| DatasetErrorKind::BadManifest { line, reason };
        let fault = |(line, reason)| bad(line, reason).at(path);
        let sheet = Sheet::read_tabs(path, bad).map_err(|kind| kind.at(path))?;
        let id = sheet.column(&[key]).ok_or_else(|| fault(sheet.missing(key)))?;
        let names: Vec<&str> = sheet.names().collect();
        if let Some((place, name)) = names.iter().enumerate().find(|&(place, name)| {
            name.is_empty() || names.iter().take(place).any(|earlier| earlier.eq_ignore_ascii_case(name))
        }) {
            let place = place + 1;
            return Err(fault(sheet.bad_header(match name.is_empty() {
                true => format!("column {place} has no name"),
                false => format!("there are two columns {name}"),
            })));
        }
        let mut rows = BTreeMap::new();
        for (line, row) in &sheet.rows {
            let Some(own) = value(row, id) else {
                return Err(fault((*line, format!("the {key} is missing"))));
            };
            let known = |column| value(row, column).filter(|value| value != NOT_KNOWN).unwrap_or_default();
            let further = names.iter().enumerate().filter(|&(column, _)| column != id);
            let further = further.map(|(column, name)| ((*name).to_owned(), known(column))).collect();
            if rows.insert(own.clone(), further).is_some() {
                return Err(fault((*line, format!("{own} has two rows"))));
            }
        }
        Ok(Self { rows })
    }

    /// The columns and values of a subject or session; empty if it has no row.
    pub(super) fn get(&self, name: &str) -> &[(String, String)] {
        self.rows.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the table has rows, but none with this name.
    pub(super) fn lacks(&self, name: &str) -> bool {
        !self.rows.is_empty() && !self.rows.contains_key(name)
    }
}
