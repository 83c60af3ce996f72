//! The columns of a manifest that lesio does not know, as the last columns of a table.

use lesio_io::spreadsheet::Cell;

/// The additional columns of all cases, in the order of their first appearance.
#[derive(Debug, Default)]
pub(crate) struct FurtherColumns(Vec<String>);

impl FurtherColumns {
    /// The columns of these cases.
    pub(crate) fn of<'a>(cases: impl IntoIterator<Item = &'a [(String, String)]>) -> Self {
        let mut all = Self::default();
        cases.into_iter().for_each(|further| all.add(further));
        all
    }

    /// Adds the columns of a case.
    pub(crate) fn add(&mut self, further: &[(String, String)]) {
        for (name, _) in further {
            if !self.0.contains(name) {
                self.0.push(name.clone());
            }
        }
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Their names in a table with other columns. A name that the table already has gets the prefix `manifest_`.
    pub(crate) fn beside(&self, columns: &[&str]) -> impl Iterator<Item = String> {
        self.0.iter().map(|name| match columns.contains(&name.as_str()) {
            true => format!("manifest_{name}"),
            false => name.clone(),
        })
    }

    /// The values of one case.
    pub(crate) fn values(&self, further: &[(String, String)]) -> Vec<Cell> {
        let value = |name: &String| further.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        self.0.iter().map(|name| value(name).into()).collect()
    }
}
