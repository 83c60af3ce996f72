//! Settings of projections.

use lesio_settings::{SettingError, in_range, require, setters};
use serde::{Deserialize, Deserializer, Serialize};

/// How an image is projected.
///
/// From `x0 = x`, each step takes `x(t+1) = clamp(x(t) - a dE/dx (x(t) - y(t))^2)` with
/// `E = rec(x(t)) + l |x(t) - x0|_1`, `y(t)` the reconstruction of `x(t)` and the whole gradient of
/// `rec`, through encoder and decoder. An image stops when `rec` falls to `stop` or after `steps`;
/// [`StepRule`] limits the length of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionConfig {
    /// The step `a`, 0 to a million. Default .5 (Dehaene et al.).
    pub rate: f64,
    /// The weight `l` of the distance from the image, 0 to a million. Default .05.
    pub distance: f64,
    /// Largest number of steps, including rejected ones, 1 to 10000. Default 100.
    pub steps: usize,
    /// The limit on steps. Default [`StepRule::bounded`].
    pub step_rule: StepRule,
    /// Value of `rec`, in nats per image, at which an image stops: a percentile of that of training
    /// normals, see [`Projection::stop_level`](crate::Projection::stop_level); within 1e18. Default `None`: all steps are made.
    pub stop: Option<f64>,
    /// Range to which pixels are clamped; a pixel outside is brought into it before the first step, or, with
    /// [`StepRule::Fixed`], by it. Within a million. Default `None`: each image's own, from its lowest to its highest pixel.
    /// The built-in predictor takes
    /// [`PredictorSettings::range`](crate::PredictorSettings::range) if that is known. In a document, `[0, 1]` stands for
    /// `None`: earlier versions wrote it into every file, also of models of other inputs.
    #[serde(deserialize_with = "stated_range")]
    pub range: Option<[f32; 2]>,
    /// The values of the map. Default [`ProjectionMap::Moved`].
    pub map: ProjectionMap,
}

setters!(ProjectionConfig {
    rate: f64,
    distance: f64,
    steps: usize,
    step_rule: StepRule,
    stop: Option<f64>,
    range: Option<[f32; 2]>,
    map: ProjectionMap,
});

/// The limit on the steps of a projection.
///
/// A step is proportional to the cube of a pixel's error over the squared scale of the likelihood, so no fixed
/// rate suits both small and large errors: with too high a rate, pixels jump from one end of their range to the other,
/// even in normal images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepRule {
    /// A step that would move a pixel by more than `largest` is shortened as a whole. A step that raises the energy is
    /// rejected, and the image's rate is halved. The energy never rises, and pixels with large errors move first.
    Bounded {
        /// The largest change of a pixel in a step, apart from its clamping to the range, 1e-9 to a million.
        largest: f64,
    },
    /// The published formula without any limit.
    Fixed,
}

impl StepRule {
    /// Steps of at most a fiftieth of the range [0, 1].
    #[must_use]
    pub fn bounded() -> Self {
        Self::Bounded { largest: 0.02 }
    }
}

impl Default for StepRule {
    fn default() -> Self {
        Self::bounded()
    }
}

/// The score that is read from a projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionMap {
    /// `|x0 - x(T)|`: how far the pixel was moved.
    #[default]
    Moved,
    /// `|x0 - y(x(T))|`: how far it is from the reconstruction of the projected image.
    Reconstructed,
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self {
            rate: 0.5,
            distance: 0.05,
            steps: 100,
            step_rule: StepRule::default(),
            stop: None,
            range: None,
            map: ProjectionMap::Moved,
        }
    }
}

/// Upper limit of steps: a hundred times the number that suffices.
pub(crate) const MOST_STEPS: usize = 10_000;

impl ProjectionConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("rate", self.rate, 0.0..=1e6)?;
        in_range("distance", self.distance, 0.0..=1e6)?;
        in_range("steps", self.steps, 1..=MOST_STEPS)?;
        if let StepRule::Bounded { largest } = self.step_rule {
            in_range("step_rule.bounded.largest", largest, 1e-9..=1e6)?;
        }
        if let Some(stop) = self.stop {
            in_range("stop", stop, -1e18..=1e18)?;
        }
        self.range.map_or(Ok(()), check_range)
    }

    /// The same for inputs whose range is `width` instead of 1: projections of inputs that are scaled are scaled alike.
    pub(crate) fn scaled(mut self, width: f64) -> Self {
        self.distance /= width;
        if let StepRule::Bounded { largest } = &mut self.step_rule {
            *largest *= width;
        }
        self
    }
}

/// Checks a range of values of images.
pub(crate) fn check_range([low, high]: [f32; 2]) -> Result<(), SettingError> {
    in_range("range", low, -1e6..=1e6)?;
    in_range("range", high, -1e6..=1e6)?;
    require(low < high, "range", [low, high], "two ascending values")
}

fn stated_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[f32; 2]>, D::Error> {
    let range = Option::<[f32; 2]>::deserialize(deserializer)?;
    Ok(range.filter(|&range| range != [0.0, 1.0]))
}
