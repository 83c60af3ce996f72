//! A drawn plot.

use std::fmt::Write as _;
use std::path::Path;

use crate::file::{Existing, WriteError, write_file};
use crate::text::escaped;

/// Units of the canvas per CSS pixel: the drawing library places everything on integer units.
pub(super) const UNITS: u32 = 4;

/// A drawn plot: a scalable picture with real text.
///
/// It names no font but "sans-serif" and loads nothing. Within an [`HtmlReport`](crate::HtmlReport) it
/// takes the fonts and, on a dark page, the ink of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svg {
    pub(super) title: String,
    /// Size in CSS pixels.
    pub(super) width: u32,
    pub(super) height: u32,
    /// Elements on a canvas of [`UNITS`] to a CSS pixel.
    pub(super) elements: String,
}

impl Svg {
    /// The text alternative of the plot.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The plot as a separate file.
    #[must_use]
    pub fn to_document(&self) -> String {
        self.element(" xmlns=\"http://www.w3.org/2000/svg\"")
    }

    /// Writes the plot to a separate file, as [`write_file`] does.
    ///
    /// # Errors
    /// Those of [`write_file`].
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        write_file(path, self.to_document().as_bytes(), existing)
    }

    /// The plot as an element of an HTML page, which needs no name space.
    pub(crate) fn to_inline(&self) -> String {
        self.element("")
    }

    fn element(&self, namespace: &str) -> String {
        let Self { title, width, height, elements } = self;
        let (canvas_width, canvas_height) = (width * UNITS, height * UNITS);
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
