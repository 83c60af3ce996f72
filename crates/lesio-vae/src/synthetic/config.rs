//! The configuration of synthetic anomalies.

use lesio_settings::{SettingError, in_range, require, setters};
use serde::{Deserialize, Serialize};

use super::content::Content;

/// The synthetic anomalies that are put into normal images for training.
///
/// An anomaly is a region, cut out of smooth noise at a random height, in which the image is mixed with a content at a
/// random opacity. The trained network detects anomalies that resemble these. The configuration is part of the model's
/// file; test the model separately on other kinds of anomalies.
///
/// ```
/// use lesio_vae::{Content, SyntheticAnomalies};
///
/// let mut anomalies = SyntheticAnomalies::medical().absent(0.1);
/// // Nothing but brighter lesions.
/// anomalies.contents.retain(|weighted| matches!(weighted.content, Content::Brighter { .. }));
/// assert!(anomalies.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct SyntheticAnomalies {
    /// Numbers of noise cells along the longer side for regions; one is drawn for each anomaly. 1 to 4096.
    pub cells: Vec<usize>,
    /// Largest elongation of regions: cells of noise are up to this many times longer along a random direction than
    /// across it. 1 to 100; 1 for round regions, as in files of earlier versions.
    #[serde(default = "round", skip_serializing_if = "is_round")]
    pub elongation: f64,
    /// Fraction of the images that get no anomaly, 0 to 0.99; 0 in files of earlier versions. A network that is shown
    /// an anomaly in every image can learn that there is one in every image.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub absent: f64,
    /// Fraction of the image's pixels outside a region, before the region is cut to the foreground: smallest and
    /// largest, 0 to 1.
    pub quantile: [f64; 2],
    /// The distribution of the fraction of pixels inside a region. Uniform in files of earlier versions.
    #[serde(default, skip_serializing_if = "Areas::is_uniform")]
    pub areas: Areas,
    /// Fraction of the anomalies that become stronger from their edge to their middle, without a step at the edge: 0 to
    /// 1; 0 in files of earlier versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gradual: f64,
    /// Fraction of the other anomalies with a soft edge, 0 to 1.
    pub soft: f64,
    /// Smallest and largest opacity, 0 to 1.
    pub opacity: [f64; 2],
    /// Smallest change of a value for a pixel to be abnormal in the truth, 0 to 100.
    pub change: f64,
    /// Lowest and highest value of the training images, to which images with an anomaly are limited: those of the
    /// preprocessing's clipping. A network that sees values in training which no real image has may learn to detect such
    /// values instead of anomalies. Training images outside the range are an error. `None` sets no limit, as in files
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// The contents of anomalies, each drawn with a probability proportional to its weight.
    pub contents: Vec<WeightedContent>,
    /// User-defined contents, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnContent>,
}

/// The distribution of the areas of regions between the least and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Areas {
    /// Uniform: few regions are small.
    #[default]
    Uniform,
    /// Uniform on a logarithmic scale: regions between 1 and 2 % of an image are as frequent as those between 5 and
    /// 10 %. Areas below 1e-6 count as 1e-6.
    Logarithmic,
}

impl Areas {
    fn is_uniform(&self) -> bool {
        *self == Self::Uniform
    }
}

fn round() -> f64 {
    1.0
}

fn is_zero(fraction: &f64) -> bool {
    *fraction == 0.0
}

fn is_round(elongation: &f64) -> bool {
    *elongation == round()
}

/// A built-in content and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedContent {
    /// Its weight among all, 0 to 1000.
    pub weight: f64,
    /// The content.
    pub content: Content,
}

/// A user-defined content and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnContent {
    /// Its weight among all, 0 to 1000.
    pub weight: f64,
    /// Its name, [`AnomalyContent::name`](crate::AnomalyContent::name).
    pub name: String,
}

/// Most cells along a side.
const MOST_CELLS: usize = 4096;
/// Most an anomaly may be longer than wide.
const LARGEST_ELONGATION: f64 = 100.0;
/// Largest fraction of images without an anomaly: a network must see some.
const MOST_ABSENT: f64 = 0.99;
/// Largest weight.
const LARGEST_WEIGHT: f64 = 1000.0;

setters!(SyntheticAnomalies {
    cells: Vec<usize>,
    elongation: f64,
    absent: f64,
    quantile: [f64; 2],
    areas: Areas,
    gradual: f64,
    soft: f64,
    opacity: [f64; 2],
    change: f64,
    range: Option<[f64; 2]>,
    contents: Vec<WeightedContent>,
});

impl SyntheticAnomalies {
    /// For heads and other medical images of 0 to 1: brighter and darker lesions, and parts of other subjects.
    ///
    /// The amounts were chosen on FLAIR images of normal slices of 44 patients, without use of any lesion.
    #[must_use]
    pub fn medical() -> Self {
        let contents = [
            (0.6, Content::Brighter { least: 0.08, most: 0.78, texture: 0.3 }),
            (0.15, Content::Darker { least: 0.1, most: 0.7 }),
            (0.25, Content::Foreign { shift: 0.23, rotation: 0.0 }),
        ];
        Self::of(vec![3, 4, 6, 8, 12], 0.02, contents)
    }

    /// For photographs of 0 to 1: other tints and colors, parts of other images, and displaced neighborhoods.
    #[must_use]
    pub fn natural() -> Self {
        let contents = [
            (0.25, Content::Tinted { largest: 0.5 }),
            (0.25, Content::Colored { texture: 0.1 }),
            (0.3, Content::Foreign { shift: 0.5, rotation: 180.0 }),
            (0.2, Content::Displaced { least: 0.025, most: 0.125 }),
        ];
        // Cracks and scratches are long.
        Self { elongation: 8.0, ..Self::of(vec![3, 4, 6, 8, 12, 16], 0.03, contents) }
    }

    fn of<const N: usize>(cells: Vec<usize>, change: f64, contents: [(f64, Content); N]) -> Self {
        let contents = contents.map(|(weight, content)| WeightedContent { weight, content }).to_vec();
        let (quantile, opacity) = ([0.85, 0.985], [0.25, 1.0]);
        let range = Some([0.0, 1.0]);
        Self {
            cells,
            elongation: 1.0,
            gradual: 0.0,
            absent: 0.0,
            quantile,
            areas: Areas::Uniform,
            soft: 0.7,
            opacity,
            change,
            range,
            contents,
            own: Vec::new(),
        }
    }

    /// Adds a user-defined content with this weight; the weights of [`SyntheticAnomalies::medical`] and
    /// [`SyntheticAnomalies::natural`] sum to 1.
    #[must_use]
    pub fn own(mut self, name: &str, weight: f64) -> Self {
        self.own.push(OwnContent { weight, name: name.to_owned() });
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field, for no cells, and for no content with a
    /// weight above 0.
    pub fn validate(&self) -> Result<(), SettingError> {
        require(!self.cells.is_empty(), "cells", "none", "at least one number of cells")?;
        self.cells.iter().try_for_each(|&cells| in_range("cells", cells, 1..=MOST_CELLS))?;
        for (name, [least, most]) in [("quantile", self.quantile), ("opacity", self.opacity)] {
            in_range(name, least, 0.0..=1.0)?;
            in_range(name, most, least..=1.0)?;
        }
        in_range("elongation", self.elongation, 1.0..=LARGEST_ELONGATION)?;
        in_range("gradual", self.gradual, 0.0..=1.0)?;
        in_range("absent", self.absent, 0.0..=MOST_ABSENT)?;
        in_range("soft", self.soft, 0.0..=1.0)?;
        in_range("change", self.change, 0.0..=100.0)?;
        if let Some(range @ [low, high]) = self.range {
            let sound = low.is_finite() && high.is_finite() && low < high;
            require(sound, "range", range, "two ascending finite values")?;
        }
        let mut sum = 0.0;
        for WeightedContent { weight, content } in &self.contents {
            in_range("contents.weight", *weight, 0.0..=LARGEST_WEIGHT)?;
            content.validate().map_err(|error| error.within("contents"))?;
            sum += weight;
        }
        for own in &self.own {
            in_range("own.weight", own.weight, 0.0..=LARGEST_WEIGHT)?;
            sum += own.weight;
        }
        require(sum > 0.0, "contents", "none", "at least one content of a weight above 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let refused = |change: &dyn Fn(&mut SyntheticAnomalies)| {
            let mut config = SyntheticAnomalies::natural();
            change(&mut config);
            config.validate().unwrap_err().setting
        };
        assert_eq!(refused(&|config| config.cells.clear()), "cells");
        assert_eq!(refused(&|config| config.cells[1] = 0), "cells");
        assert_eq!(refused(&|config| config.quantile = [0.9, 0.8]), "quantile");
        assert_eq!(refused(&|config| config.contents.clear()), "contents");
        assert_eq!(
            refused(&|config| config.contents[0].content = Content::Colored { texture: -1.0 }),
            "contents.colored.texture"
        );
        for value in [f64::NAN, -1.0, 1e9] {
            assert_eq!(refused(&|config| config.opacity[1] = value), "opacity");
            assert_eq!(refused(&|config| config.elongation = value), "elongation");
            assert_eq!(refused(&|config| config.gradual = value), "gradual");
            assert_eq!(refused(&|config| config.absent = value), "absent");
            assert_eq!(refused(&|config| config.soft = value), "soft");
            assert_eq!(refused(&|config| config.range = Some([0.5, value.min(0.5)])), "range");
            assert_eq!(refused(&|config| config.change = value), "change");
            assert_eq!(refused(&|config| config.contents[2].weight = value), "contents.weight");
        }
    }

    #[test]
    fn a_configuration_is_read_back() {
        for config in [SyntheticAnomalies::medical(), SyntheticAnomalies::natural().own("rust", 0.5)] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<SyntheticAnomalies>(&text).unwrap(), config);
        }
    }
}
