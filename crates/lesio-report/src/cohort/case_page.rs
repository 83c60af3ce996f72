//! The page of a case: its slices, the maps over them, and what was found.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::document::{Link, embedded, filled, optional, text};
use super::levels::Levels;
use super::sheet::Sheet;
use super::words::{CaseStatus, CohortContent, Words};
use crate::color::ColorMap;
use crate::file::{Existing, WriteError, WriteErrorKind, write_file};
use crate::scale::Scale;
use crate::text::escaped;

/// A page that shows the slices of one case with its maps: the reader moves through the slices, changes the opacity of the map, moves
/// the threshold and sees what is marked, and jumps to what was found.
///
/// Pictures, style and script are inside the page; nothing is loaded. Images and maps are [`Sheet`]s, maps in the steps of [`Levels`].
/// The same input gives the same bytes.
///
/// ```
/// use lesio_report::{CaseMap, CasePage, CohortContent, ImageSheet, LevelSheet, Levels, Scale};
/// use ndarray::Array2;
///
/// let values = Array2::from_shape_fn((16, 16), |(row, column)| (row * column) as f32 / 225.0);
/// let levels = Levels::new(Scale::new(0.0, 1.0)?, Some(0.8))?;
/// let (mut images, mut map) = (ImageSheet::new(1), LevelSheet::new(levels, 1));
/// for _slice in 0..2 {
///     images.push(values.view(), Scale::new(0.0, 1.0)?)?;
///     map.push(values.view(), values.mapv(|_| true).view())?;
/// }
/// let mut page = CasePage::new("case 1", CohortContent::Volumes);
/// page.images.push(("image".to_owned(), images.encode()?));
/// page.maps.push(CaseMap::new("pixel-l1", map.encode()?, levels, Scale::new(0.0, 1.0)?));
/// assert!(page.to_html()?.starts_with("<!DOCTYPE html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CasePage {
    /// The name of the case.
    pub name: String,
    /// Whether it is a picture or a volume.
    pub content: CohortContent,
    /// A link to the page that lists all cases.
    pub back: Option<Link>,
    /// Short facts, each a name and a value.
    pub facts: Vec<(String, String)>,
    /// What speaks against the results, in sentences.
    pub doubts: Vec<String>,
    /// The images that can be chosen, by name; they and the maps have the same shape.
    pub images: Vec<(String, Sheet)>,
    /// The maps that can be chosen.
    pub maps: Vec<CaseMap>,
    /// By which number rows and columns were reduced in the sheets. Default 1.
    pub reduction: usize,
    /// The height of a pixel by its width. Default 1.
    pub aspect: f64,
    /// The size of a voxel in millilitres; `None` of pictures.
    pub voxel_ml: Option<f64>,
    /// Whether columns run from the subject's left to the right: the page then marks both sides. Default false.
    pub left_to_right: bool,
    /// Files of the case, by what they are.
    pub files: Vec<(String, Link)>,
}

/// A map of a case.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CaseMap {
    /// The predictor.
    #[serde(serialize_with = "text")]
    pub name: String,
    #[serde(serialize_with = "base64")]
    png: Sheet,
    levels: Levels,
    /// Which scores are shown as the first and the last color.
    colors: Scale,
    not_finite: usize,
    /// What is said of the case.
    pub status: Option<CaseStatus>,
    /// Why it cannot be told.
    #[serde(serialize_with = "optional")]
    pub reason: Option<String>,
    /// The score of the case.
    pub score: Option<f32>,
    /// The score from which on a case is abnormal.
    pub case_threshold: Option<f32>,
    /// Its p-value.
    pub p_value: Option<f64>,
    /// The score from which on pixels are marked.
    pub threshold: Option<f32>,
    /// Regions of fewer pixels are left out. Default 1.
    pub smallest: u64,
    /// What was found; `None` without a threshold.
    pub findings: Option<Vec<CaseFinding>>,
}

/// A connected region that was found.
#[derive(Clone, Debug, Serialize)]
pub struct CaseFinding {
    /// Slice, row and column of its highest score, in pixels of the case, not of the sheets.
    pub peak_at: [usize; 3],
    /// Number of pixels.
    pub pixels: usize,
    /// Its volume in millilitres; `None` of pictures.
    pub volume_ml: Option<f64>,
    /// The highest score.
    pub peak: f32,
    /// Its p-value.
    pub p_value: Option<f64>,
}

fn base64<S: Serializer>(sheet: &Sheet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(&sheet.png))
}

impl CaseMap {
    /// A map of a predictor as a sheet in levels, shown in colors from one score to another.
    #[must_use]
    pub fn new(name: impl Into<String>, sheet: Sheet, levels: Levels, colors: Scale) -> Self {
        Self {
            name: name.into(),
            not_finite: sheet.not_finite,
            png: sheet,
            levels,
            colors,
            status: None,
            reason: None,
            score: None,
            case_threshold: None,
            p_value: None,
            threshold: None,
            smallest: 1,
            findings: None,
        }
    }
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    words: Words,
    is_picture: bool,
    shape: [usize; 3],
    reduction: usize,
    aspect: f64,
    voxel_ml: Option<f64>,
    left_to_right: bool,
    images: Vec<ImageData<'a>>,
    maps: &'a [CaseMap],
    /// The colors of maps, from low to high.
    colors: Vec<String>,
    opacity: f64,
}

#[derive(Serialize)]
struct ImageData<'a> {
    #[serde(serialize_with = "text")]
    name: &'a str,
    #[serde(serialize_with = "base64_of")]
    png: &'a Sheet,
    not_finite: usize,
}

fn base64_of<S: Serializer>(sheet: &&Sheet, serializer: S) -> Result<S::Ok, S::Error> {
    base64(sheet, serializer)
}

/// How much of an image the brightest color of a map hides at first.
const OPACITY: f64 = 0.85;

impl CasePage {
    /// A page of a case with no image and no map yet.
    #[must_use]
    pub fn new(name: impl Into<String>, content: CohortContent) -> Self {
        Self {
            name: name.into(),
            content,
            back: None,
            facts: Vec::new(),
            doubts: Vec::new(),
            images: Vec::new(),
            maps: Vec::new(),
            reduction: 1,
            aspect: 1.0,
            voxel_ml: None,
            left_to_right: false,
            files: Vec::new(),
        }
    }

    /// The page.
    ///
    /// # Errors
    /// None in practice: all of it has a form in JSON.
    pub fn to_html(&self) -> Result<String, serde_json::Error> {
        let sheets = self.images.iter().map(|(_, sheet)| sheet).chain(self.maps.iter().map(|map| &map.png));
        let data = Data {
            words: self.content.words(),
            is_picture: self.content == CohortContent::Pictures,
            shape: sheets.into_iter().next().map_or([0; 3], |sheet| sheet.shape),
            reduction: self.reduction.max(1),
            aspect: self.aspect,
            voxel_ml: self.voxel_ml,
            left_to_right: self.left_to_right,
            images: self
                .images
                .iter()
                .map(|(name, png)| ImageData { name, png, not_finite: png.not_finite })
                .collect(),
            maps: &self.maps,
            colors: (0..=32).map(|place| ColorMap::Heat.color(f64::from(place) / 32.0).hex()).collect(),
            opacity: OPACITY,
        };
        let title = escaped(&self.name);
        let words = data.words;
        let back = self.back.as_ref().map_or_else(String::new, |link| {
            format!("<a class=\"back\" href=\"{}\">\u{2190} All {}</a>", link.as_str(), words.cases)
        });
        let facts: String = self
            .facts
            .iter()
            .map(|(name, value)| {
                format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(name), escaped(value))
            })
            .collect();
        let doubts: String =
            self.doubts.iter().map(|text| format!("<p class=\"doubt\">{}</p>\n", escaped(text))).collect();
        let files: String = self
            .files
            .iter()
            .map(|(name, link)| format!("<li><a href=\"{}\">{}</a></li>\n", link.as_str(), escaped(name)))
            .collect();
        let files = match files.is_empty() {
            true => files,
            false => format!("<section>\n<h2>Files</h2>\n<ul class=\"files\">\n{files}</ul>\n</section>\n"),
        };
        Ok(filled(
            include_str!("case.html"),
            &[
                ("title", &title),
                ("tokens", include_str!("../html/tokens.css")),
                ("style", include_str!("cohort.css")),
                ("back", &back),
                ("doubts", &doubts),
                ("facts", &facts),
                ("files", &files),
                ("case", words.case),
                ("shared", include_str!("shared.js")),
                ("script", include_str!("case.js")),
                ("data", &embedded(&data)?),
            ],
        ))
    }

    /// Writes the page, as [`write_file`] does.
    ///
    /// # Errors
    /// As [`write_file`].
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        let path = path.as_ref();
        let html =
            self.to_html().map_err(|error| WriteError::new(path, WriteErrorKind::encode("HTML", error)))?;
        write_file(path, html.as_bytes(), existing)
    }
}
