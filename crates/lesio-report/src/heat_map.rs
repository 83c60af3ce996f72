//! How scores become colors.

use crate::color::ColorMap;
use crate::scale::Scale;

/// How scores become colors: a map, one fixed scale, and how much of the image below shines through.
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
    /// What is shown as the first and the last color.
    pub scale: Scale,
    /// The colors. Default: [`ColorMap::Heat`].
    pub color_map: ColorMap,
    /// How much a score at the upper end of the scale hides of the image below, 0 to 1; lesser scores
    /// hide proportionally less, the lower end nothing. Default: 0.85, so that the anatomy stays visible.
    pub opacity: f64,
    /// What the numbers are, shown beside the color bar. Default: "score".
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

    /// Says what the numbers are.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Opacity at a position of the scale: a diverging map hides most at both ends.
    pub(crate) fn opacity_at(&self, position: f64) -> f64 {
        let strength = match self.color_map {
            ColorMap::Diverging => (2.0 * position - 1.0).abs(),
            ColorMap::Gray | ColorMap::Heat => position,
        };
        self.opacity.clamp(0.0, 1.0) * strength
    }
}
