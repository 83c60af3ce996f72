//! The page that lists all cases.

use std::cell::{Cell, RefCell};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};

use super::document::{Link, optional, text, texts, write_embedded, write_filled};
use super::words::{CaseStatus, CohortContent, Words};
use crate::file::{Existing, WriteError};
use crate::text::escaped;

/// A page that lists any number of cases, the most suspicious first: to be searched, filtered and sorted, with the distribution of
/// their scores by any column that has few values.
///
/// Style, script and data are inside the page; small pictures and the pages of cases are files beside it. The same input gives the
/// same bytes.
///
/// ```
/// use lesio_report::{CaseStatus, CohortPage, CohortResult, CohortRow, CohortContent, Link};
///
/// let mut page = CohortPage::new("Anomalies in 1 image", CohortContent::Pictures);
/// page.predictors.push("pixel-l1".to_owned());
/// let mut result = CohortResult::new(CaseStatus::Abnormal);
/// result.p_value = Some(0.01);
/// result.link = Some(Link::new("tile 1/case.html"));
/// page.rows.push(CohortRow::new("tile 1.png", [Some(result)]));
/// page.rows.push(CohortRow::failed("tile 2.png", "no image"));
/// assert!(page.to_html()?.contains("tile%201/case.html"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CohortPage {
    /// The title.
    pub title: String,
    /// What the cases are.
    pub content: CohortContent,
    /// What was done, in paragraphs.
    pub notes: Vec<String>,
    /// The predictors, in the order of each row's results.
    pub predictors: Vec<String>,
    /// Names of further columns, such as site or group.
    pub further: Vec<String>,
    /// The cases.
    pub rows: Vec<CohortRow>,
    /// Further files, by name.
    pub files: Vec<(String, Link)>,
}

/// A case of a [`CohortPage`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CohortRow {
    /// Its name.
    #[serde(rename = "n", serialize_with = "text")]
    pub name: String,
    /// The patient or subject, where that is not the case's own name.
    #[serde(rename = "s", serialize_with = "optional", skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its values of the further columns, empty where it has none.
    #[serde(rename = "f", serialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    /// Why it could not be processed.
    #[serde(rename = "e", serialize_with = "optional", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A result for each predictor.
    #[serde(rename = "r")]
    pub results: Vec<Option<CohortResult>>,
}

/// What a predictor says of a case.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CohortResult {
    /// The verdict.
    #[serde(rename = "k")]
    pub status: CaseStatus,
    /// Its p-value.
    #[serde(rename = "p")]
    pub p_value: Option<f64>,
    /// The score of the case.
    #[serde(rename = "x")]
    pub score: Option<f32>,
    /// The score from which on a case is abnormal.
    #[serde(rename = "t")]
    pub threshold: Option<f32>,
    /// Number of regions that were found.
    #[serde(rename = "c")]
    pub findings: Option<usize>,
    /// Their pixels.
    #[serde(rename = "u")]
    pub pixels: Option<usize>,
    /// Their volume in millilitres; `None` of pictures.
    #[serde(rename = "v")]
    pub volume_ml: Option<f64>,
    /// Why it cannot be told.
    #[serde(rename = "w", serialize_with = "optional", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A small picture.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Link>,
    /// The page or picture of the case.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

impl CohortRow {
    /// A case with a result for each predictor, if it has one.
    #[must_use]
    pub fn new(name: impl Into<String>, results: impl IntoIterator<Item = Option<CohortResult>>) -> Self {
        let results = results.into_iter().collect();
        Self { name: name.into(), subject: None, further: Vec::new(), error: None, results }
    }

    /// A case that could not be processed.
    #[must_use]
    pub fn failed(name: impl Into<String>, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(name, []) }
    }
}

impl CohortResult {
    /// A verdict alone.
    #[must_use]
    pub fn new(status: CaseStatus) -> Self {
        Self {
            status,
            p_value: None,
            score: None,
            threshold: None,
            findings: None,
            pixels: None,
            volume_ml: None,
            reason: None,
            thumbnail: None,
            link: None,
        }
    }
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a, R> {
    words: Words,
    #[serde(serialize_with = "texts")]
    predictors: &'a [String],
    #[serde(serialize_with = "texts")]
    further: &'a [String],
    rows: R,
}

/// Rows in memory, and rows that are made one by one.
struct Rows<'a, I> {
    held: &'a [CohortRow],
    /// Taken when they are serialized.
    further: RefCell<Option<I>>,
    failed: &'a Cell<Option<io::Error>>,
}

impl<I: Iterator<Item = io::Result<CohortRow>>> Serialize for Rows<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.held.iter().try_for_each(|row| list.serialize_element(row))?;
        for row in self.further.take().into_iter().flatten() {
            match row {
                Ok(row) => list.serialize_element(&row)?,
                Err(error) => {
                    let text = S::Error::custom(&error);
                    self.failed.set(Some(error));
                    return Err(text);
                }
            }
        }
        list.end()
    }
}

impl CohortPage {
    /// A page without cases.
    #[must_use]
    pub fn new(title: impl Into<String>, content: CohortContent) -> Self {
        Self {
            title: title.into(),
            content,
            notes: Vec::new(),
            predictors: Vec::new(),
            further: Vec::new(),
            rows: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The page.
    ///
    /// # Errors
    /// None in practice: all of it has a form in JSON.
    pub fn to_html(&self) -> io::Result<String> {
        let mut html = Vec::new();
        self.write_html(&mut html, [])?;
        String::from_utf8(html).map_err(io::Error::other)
    }

    fn write_html(
        &self,
        out: &mut impl Write,
        rows: impl IntoIterator<Item = io::Result<CohortRow>>,
    ) -> io::Result<()> {
        let words = self.content.words();
        let failed = Cell::new(None);
        let rows = Rows { held: &self.rows, further: RefCell::new(Some(rows.into_iter())), failed: &failed };
        let data = Data { words, predictors: &self.predictors, further: &self.further, rows };
        let notes: String = self.notes.iter().map(|note| format!("<p>{}</p>\n", escaped(note))).collect();
        let links: Vec<String> = self
            .files
            .iter()
            .map(|(name, link)| format!("<a href=\"{}\">{}</a>", link.as_str(), escaped(name)))
            .collect();
        let files = match links.is_empty() {
            true => String::new(),
            false => format!("<p>Files: {}</p>\n", links.join(", ")),
        };
        write_filled(
            out,
            include_str!("cohort.html"),
            &[
                ("title", &escaped(&self.title)),
                ("tokens", include_str!("../html/tokens.css")),
                ("style", include_str!("cohort.css")),
                ("notes", &notes),
                ("files", &files),
                ("case", words.case),
                ("cases", words.cases),
                ("shared", include_str!("shared.js")),
                ("script", include_str!("cohort.js")),
            ],
            ("data", |out| {
                write_embedded(out, &data).map_err(|error| failed.take().unwrap_or_else(|| error.into()))
            }),
        )
    }

    /// Writes the page, as [`write_file`](crate::write_file) does.
    ///
    /// # Errors
    /// As [`write_file`](crate::write_file).
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        self.write_with(path, existing, [])
    }

    /// Writes the page with further cases, which follow those of the page and are never in memory all at once.
    ///
    /// # Errors
    /// As [`write_file`](crate::write_file), and the first error of a row.
    pub fn write_with(
        &self,
        path: impl AsRef<Path>,
        existing: Existing,
        rows: impl IntoIterator<Item = io::Result<CohortRow>>,
    ) -> Result<(), WriteError> {
        lesio_files::write(path, existing, |out| {
            let mut out = BufWriter::new(out);
            self.write_html(&mut out, rows)?;
            out.flush()
        })
    }
}
