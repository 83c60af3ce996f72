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

    /// Their names in a table with other columns. A name that the table already has gets the prefix `manifest_`, more than
    /// once if a column has that name, too.
    pub(crate) fn beside(&self, columns: &[&str]) -> impl Iterator<Item = String> {
        let mut made: Vec<String> = Vec::with_capacity(self.0.len());
        for name in &self.0 {
            let mut free = name.clone();
            let is_other = |name: &String, own: &String| self.0.contains(name) && name != own;
            while columns.contains(&free.as_str()) || made.contains(&free) || is_other(&free, name) {
                free = format!("manifest_{free}");
            }
            made.push(free);
        }
        made.into_iter()
    }

    /// The values of one case.
    pub(crate) fn values(&self, further: &[(String, String)]) -> Vec<Cell> {
        let value = |name: &String| further.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        self.0.iter().map(|name| value(name).into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As where a table of lesio is a manifest again.
    #[test]
    fn no_two_columns_have_one_name() {
        let further = ["score", "manifest_score", "site"].map(|name| (name.to_owned(), String::new()));
        let all = FurtherColumns::of([&further[..]]);
        let names: Vec<String> = all.beside(&["case", "score"]).collect();
        assert_eq!(names, ["manifest_manifest_score", "manifest_score", "site"]);
        assert_eq!(all.beside(&["case"]).collect::<Vec<_>>(), ["score", "manifest_score", "site"]);
    }
}
