//! Tables of text and numbers.

use crate::estimate::Estimate;
use crate::number::fixed;

/// Which value of a column is the best and set in bold. Values that are equal as displayed are equally good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Best {
    /// None is marked. The default.
    #[default]
    Unmarked,
    /// The highest, for example for an average precision.
    Highest,
    /// The lowest, for example for an error.
    Lowest,
}

/// A column of a [`Table`]: its name and the format of its cells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Decimals of its numbers; intervals have one less. Default: 3.
    pub decimals: usize,
    /// Which of its numbers is marked. Default: none.
    pub best: Best,
}

impl Column {
    /// A column with a name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), decimals: 3, best: Best::Unmarked }
    }

    /// Sets the decimals of its numbers.
    #[must_use]
    pub fn decimals(mut self, decimals: usize) -> Self {
        self.decimals = decimals;
        self
    }

    /// Marks its best number.
    #[must_use]
    pub fn best(mut self, best: Best) -> Self {
        self.best = best;
        self
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// A cell of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TableCell {
    /// Text.
    Text(String),
    /// A number, with the decimals of its column and with its interval if it has one.
    Number(Estimate),
    /// An integer, for counts and sizes.
    Count(u64),
}

impl From<&str> for TableCell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for TableCell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for TableCell {
    fn from(value: f64) -> Self {
        Self::Number(value.into())
    }
}

impl From<Option<f64>> for TableCell {
    fn from(value: Option<f64>) -> Self {
        Self::Number(value.into())
    }
}

impl From<Estimate> for TableCell {
    fn from(estimate: Estimate) -> Self {
        Self::Number(estimate)
    }
}

impl From<usize> for TableCell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<u64> for TableCell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

/// A table: a caption, columns, and rows whose first cell names the row.
///
/// ```
/// use lesio_report::{Best, TableCell, Column, Estimate, Table};
///
/// let table = Table::new(
///     "Lesion slices of the test split.",
///     [Column::new("predictor"), Column::new("AP").best(Best::Highest)],
/// )
/// .row(["intensity".into(), Estimate::new(0.326).with_interval(0.29, 0.36).into()])?
/// .row(["pixel-l1".into(), TableCell::from(0.5)])?;
/// assert_eq!(
///     table.to_markdown(),
///     "| predictor | AP |\n|---|---:|\n| intensity | 0.326 [0.29, 0.36] |\n| pixel-l1 | **0.500** |\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<TableCell>>,
}

/// A row has another number of cells than the table has columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of table {caption:?} has {found} cells, expected {expected}")]
pub struct TableError {
    /// Caption of the table.
    pub caption: String,
    /// Number of the row, the first being 1.
    pub row: usize,
    /// Number of columns.
    pub expected: usize,
    /// Number of cells given.
    pub found: usize,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new<C: Into<Column>>(caption: impl Into<String>, columns: impl IntoIterator<Item = C>) -> Self {
        Self {
            caption: caption.into(),
            columns: columns.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell for every column.
    ///
    /// # Errors
    /// [`TableError`] for another number of cells.
    pub fn row(mut self, cells: impl IntoIterator<Item = TableCell>) -> Result<Self, TableError> {
        let cells: Vec<_> = cells.into_iter().collect();
        if cells.len() != self.columns.len() {
            return Err(TableError {
                row: self.rows.len() + 1,
                expected: self.columns.len(),
                found: cells.len(),
                caption: self.caption,
            });
        }
        self.rows.push(cells);
        Ok(self)
    }

    /// The table in Markdown, without its caption: numbers aligned right, the best in bold.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|column| markdown_escaped(&column.name)).collect());
        let rules =
            (0..self.columns.len()).map(|column| if self.is_numeric(column) { "---:" } else { "---" });
        text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
        let best = self.best();
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns).zip(&best).map(|((cell, column), best)| match cell {
                TableCell::Text(text) => markdown_escaped(text),
                TableCell::Count(count) => count.to_string(),
                TableCell::Number(estimate) => {
                    let value = fixed(estimate.value, column.decimals);
                    let marked = if best.as_ref() == Some(&value) { format!("**{value}**") } else { value };
                    match estimate.interval_text(column.decimals) {
                        Some(interval) => format!("{marked} {interval}"),
                        None => marked,
                    }
                }
            });
            text.push_str(&line(cells.collect()));
        }
        text
    }

    pub(crate) fn caption(&self) -> &str {
        &self.caption
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &[Vec<TableCell>] {
        &self.rows
    }

    /// Whether a column has a cell that is not text, and so is aligned right.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        self.rows.iter().any(|row| !matches!(row[column], TableCell::Text(_)))
    }

    /// Whether a column has a number with an interval.
    pub(crate) fn has_intervals(&self, column: usize) -> bool {
        let with_interval =
            |row: &Vec<TableCell>| matches!(&row[column], TableCell::Number(e) if e.interval.is_some());
        self.rows.iter().any(with_interval)
    }

    /// The best number of each column as displayed, if the column marks one and has at least two.
    pub(crate) fn best(&self) -> Vec<Option<String>> {
        let best_of = |(index, column): (usize, &Column)| {
            let values = self.rows.iter().filter_map(|row| match &row[index] {
                TableCell::Number(estimate) if estimate.value.is_finite() => Some(estimate.value),
                _ => None,
            });
            // A single number is not marked as the best.
            values.clone().nth(1)?;
            let best = match column.best {
                Best::Unmarked => None,
                Best::Highest => values.reduce(f64::max),
                Best::Lowest => values.reduce(f64::min),
            };
            best.map(|value| fixed(value, column.decimals))
        };
        self.columns.iter().enumerate().map(best_of).collect()
    }
}

/// Escapes a text for one cell on one line.
fn markdown_escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in crate::text::printable(text).chars() {
        match character {
            '\n' | '\t' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '*' | '_' | '`' | '[' | ']' => safe.extend(['\\', character]),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_what_looks_best() {
        let table = Table::new(
            "t",
            [
                Column::new("name"),
                Column::new("AP").best(Best::Highest).decimals(2),
                Column::new("MAE").best(Best::Lowest),
            ],
        )
        .row(["a".into(), 0.501.into(), 0.3.into()])
        .unwrap()
        .row(["b".into(), 0.499.into(), f64::NAN.into()])
        .unwrap()
        .row(["c".into(), f64::INFINITY.into(), 0.2.into()])
        .unwrap();
        assert_eq!(table.best(), [None, Some("0.50".to_owned()), Some("0.200".to_owned())]);
        let markdown = table.to_markdown();
        assert_eq!(markdown.matches("**0.50**").count(), 2, "equal as shown is equally good");
        assert!(markdown.contains("| c | \u{2013} | **0.200** |"));
    }

    #[test]
    fn a_lonely_number_is_not_the_best() {
        let table = Table::new("t", [Column::new("AP").best(Best::Highest)]).row([0.5.into()]).unwrap();
        assert_eq!(table.best(), [None]);
    }

    #[test]
    fn rows_must_fit() {
        let error = Table::new("t", ["a", "b"]).row(["x".into()]).unwrap_err();
        assert_eq!((error.row, error.expected, error.found), (1, 2, 1));
    }

    #[test]
    fn hostile_cells_stay_in_their_cell() {
        let table = Table::new("t", ["a|b"]).row(["x | y\n| <b> *z*".into()]).unwrap();
        assert_eq!(table.to_markdown(), "| a\\|b |\n|---|\n| x \\| y \\| &lt;b> \\*z\\* |\n");
    }
}
