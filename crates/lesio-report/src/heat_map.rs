//! The mapping from scores to colors.

use crate::color::ColorMap;
use crate::scale::Scale;

/// The mapping from scores to colors: a color map, a fixed scale, and the opacity over the image below.
///
/// ```
/// use lesio_report::{HeatMap, Picture, Scale};
/// use ndarray::array;
///
/// let image = array![[0.0, 100.0], [200.0, 255.0]];
/// let scores = array![[0.0, 0.0], [0.0, 3.5]];
/// let heat_map = HeatMap::new(Scale::new(0.0, 4.0)?);
/// let picture = Picture::gray(image.view(), Scale::new(0.0, 255.0)?)?
///     .overlaid(scores.view(), &heat_map)?
///     .enlarged(8)?;
/// assert_eq!((picture.height(), picture.width()), (16, 16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeatMap {
    /// The scores of the first and the last color.
    pub scale: Scale,
    /// The colors. Default: [`ColorMap::Heat`].
    pub color_map: ColorMap,
    /// Opacity at the upper end of the scale, 0 to 1. Opacity decreases linearly to 0 at the lower end. Default: 0.85,
    /// so that the anatomy remains visible.
    pub opacity: f64,
    /// The label of the numbers beside the color bar. Default: "score".
    pub label: String,
}

impl HeatMap {
    /// Scores shown in [`ColorMap::Heat`] on a scale.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self { scale, color_map: ColorMap::Heat, opacity: 0.85, label: "score".to_owned() }
    }

    /// Sets the colors.
    #[must_use]
    pub fn color_map(mut self, color_map: ColorMap) -> Self {
        self.color_map = color_map;
        self
    }

    /// Sets the greatest opacity; values outside 0 to 1 are clamped.
    #[must_use]
    pub fn opacity(mut self, opacity: f64) -> Self {
        self.opacity = opacity;
        self
    }

    /// Sets the label of the numbers.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Opacity at a position of the scale: a diverging map is most opaque at both ends.
    pub(crate) fn opacity_at(&self, position: f64) -> f64 {
        let strength = match self.color_map {
            ColorMap::Diverging => (2.0 * position - 1.0).abs(),
            ColorMap::Gray | ColorMap::Heat => position,
        };
        self.opacity.clamp(0.0, 1.0) * strength
    }
}
