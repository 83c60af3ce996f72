//! The columns of a manifest that lesio does not know, as the last columns of a table.

use lesio_io::spreadsheet::Cell;

/// The additional columns of all cases, in the order of their first appearance.
pub(crate) struct FurtherColumns<'a>(Vec<&'a str>);

impl<'a> FurtherColumns<'a> {
    /// The columns of these cases.
    pub(crate) fn of(cases: impl IntoIterator<Item = &'a [(String, String)]>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in cases.into_iter().flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Self(names)
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().copied()
    }

    /// Their names in a table with other columns. A name that the table already has gets the prefix `manifest_`.
    pub(crate) fn beside(&self, columns: &[&str]) -> impl Iterator<Item = String> {
        self.0.iter().map(|name| match columns.contains(name) {
            true => format!("manifest_{name}"),
            false => (*name).to_owned(),
        })
    }

    /// The values of one case.
    pub(crate) fn values(&self, further: &[(String, String)]) -> Vec<Cell> {
        let value = |name: &&str| further.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        self.0.iter().map(|name| value(name).into()).collect()
    }
}
