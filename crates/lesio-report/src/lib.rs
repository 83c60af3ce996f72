//! Presentation of results: heat maps, montages, plots, one-page HTML reports, and JSON for programs.
//!
//! - [`Picture`] renders an image or a map on a fixed [`Scale`], overlays a [`HeatMap`] and the outline of the truth,
//!   and encodes the result as PNG; [`Montage`] arranges pictures side by side.
//! - [`LinePlot`] (ROC, precision and recall, training, risk and coverage), [`ScatterPlot`] and
//!   [`BarPlot`] draw plots with intervals as [`Svg`].
//! - [`Table`] formats numbers with their intervals ([`Estimate`]) in HTML and Markdown.
//! - [`HtmlReport`] combines all of these in one self-contained page.
//! - [`CohortPage`] lists thousands of cases in a table to sort and filter; a [`CasePage`] shows the slices and maps of one case.
//! - [`write_json`] writes records such as [`EvaluationReport`].
//!
//! The caller chooses every scale, values that are not finite are always marked, and nothing depends on time, fonts or
//! locale: the same input gives the same bytes. Files are written atomically ([`write_file`]), and an existing one is
//! replaced only on request.
//!
//! ```
//! use lesio_report::{Existing, HeatMap, HtmlReport, Montage, Picture, Rgb, Scale};
//! use ndarray::Array2;
//!
//! let image = Array2::from_shape_fn((32, 32), |(row, column)| (row * column) as f32 / 961.0);
//! let score = Array2::from_shape_fn((32, 32), |(row, _)| row as f32 / 10.0);
//! let truth = score.mapv(|score| score > 2.0);
//!
//! let heat_map = HeatMap::new(Scale::new(0.0, 3.0)?).label("score (standard deviations)");
//! let gray = Picture::gray(image.view(), Scale::new(0.0, 1.0)?)?;
//! let map = gray.clone().overlaid(score.view(), &heat_map)?.enlarged(4)?;
//! let map = map.outlined(truth.view(), Rgb::TRUTH)?;
//! let montage = Montage::new(["image", "pixel-l1"]).color_bar(heat_map).row("case 1", [gray.enlarged(4)?, map])?;
//!
//! let report = HtmlReport::new("Anomaly maps").montage(&montage, "Truth outlined in cyan.")?;
//! # let folder = tempfile::tempdir()?;
//! report.write(folder.path().join("report.html"), Existing::Refuse)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod cohort;
mod color;
mod encoding;
mod estimate;
mod file;
mod font;
mod heat_map;
mod html;
mod json;
mod montage;
mod number;
mod picture;
mod plot;

mod run_record;
mod scale;
mod table;
mod text;

pub use cohort::{
    CaseFinding, CaseMap, CasePage, CaseStatus, CohortContent, CohortPage, CohortResult, CohortRow,
    ImageSheet, LevelSheet, Levels, Link, Sheet, sheet_reduction,
};
pub use color::{ColorMap, Rgb};
pub use estimate::Estimate;
pub use file::{Existing, WriteError, WriteErrorKind, write_file};
pub use heat_map::HeatMap;
pub use html::{Figure, HtmlReport};
pub use json::{
    EvaluationReport, Extra, Intervals, PredictorReport, Scope, ScopeReport, ScoreIntervals, Scores,
    write_json,
};
pub use montage::Montage;
pub use number::compact;
pub use picture::{Picture, PictureError};
pub use plot::{AxisScale, BarPlot, Curve, LinePlot, PlotError, ScatterPlot, Svg};
pub use run_record::RunRecord;
pub use scale::{Scale, ScaleError};
pub use table::{Best, Column, Table, TableCell, TableError};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
