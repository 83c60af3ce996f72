//! Plots as SVG.

mod axis;
mod bars;
mod clip;
mod frame;
mod lines;
mod measured;
mod points;

use std::fmt::Write as _;
use std::path::Path;

pub use axis::AxisScale;
pub use bars::BarPlot;
pub use lines::{Curve, LinePlot};
pub use points::ScatterPlot;

use crate::file::{Existing, WriteError, write_file};
use crate::text::escaped;

/// A drawn plot: a scalable picture whose text is text.
///
/// It names no font but "sans-serif" and loads nothing. Within an [`HtmlReport`](crate::HtmlReport) it
/// takes the fonts and, on a dark page, the ink of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svg {
    title: String,
    /// Size in CSS pixels.
    width: u32,
    height: u32,
    /// Elements on a canvas of [`frame::UNITS`] to a CSS pixel.
    elements: String,
}

/// Why a plot was not drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Coordinates do not come in pairs.
    #[error("{series:?} has {found} values of {what}, expected {expected}")]
    Lengths {
        /// Name of the series.
        series: String,
        /// What was counted.
        what: &'static str,
        /// Number of values expected.
        expected: usize,
        /// Number of values found.
        found: usize,
    },
    /// There is nothing to be drawn: no series, or none with a finite value.
    #[error("plot {title:?} has no finite value to be drawn")]
    Empty {
        /// Title of the plot.
        title: String,
    },
    /// A value has no place on a logarithmic axis.
    #[error("{value} of {series:?} is not positive, as a logarithmic axis needs")]
    NotPositive {
        /// Name of the series.
        series: String,
        /// The value.
        value: f64,
    },
    /// Values lie too far apart for the difference of two to be a number.
    #[error("values from {low:e} to {high:e} do not fit on an axis")]
    Range {
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// The drawing library refused.
    #[error("could not draw {title:?}: {message}")]
    Draw {
        /// Title of the plot.
        title: String,
        /// What the drawing library said.
        message: String,
    },
}

/// The colors in which text, axes and grids of all plots are drawn.
#[cfg(test)]
pub(crate) fn page_colors() -> [crate::color::Rgb; 3] {
    [frame::INK, frame::AXIS, frame::GRID]
}

impl Svg {
    /// What the plot shows; read to those who cannot see it.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The plot as a file of its own.
    #[must_use]
    pub fn to_document(&self) -> String {
        self.element(" xmlns=\"http://www.w3.org/2000/svg\"")
    }

    /// Writes the plot as a file of its own, as [`write_file`] does.
    ///
    /// # Errors
    /// As [`write_file`].
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        write_file(path, self.to_document().as_bytes(), existing)
    }

    /// The plot as an element of an HTML page, which needs no name space.
    pub(crate) fn to_inline(&self) -> String {
        self.element("")
    }

    fn element(&self, namespace: &str) -> String {
        let Self { title, width, height, elements } = self;
        let (canvas_width, canvas_height) = (width * frame::UNITS, height * frame::UNITS);
        let mut svg = String::with_capacity(elements.len() + 256);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<svg{namespace} role=\"img\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {canvas_width} {canvas_height}\"><title>{}</title>",
            escaped(title)
        );
        svg.push_str(elements);
        svg.push_str("</svg>\n");
        svg
    }
}
