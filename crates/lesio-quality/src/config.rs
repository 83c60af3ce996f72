//! The configuration of an estimator.

use lesio_settings::{SettingError, in_range, named, require, setters};
use serde::{Deserialize, Serialize};

use crate::framing::Framing;
use crate::network::Widths;

/// The method of an estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Method {
    /// Zhou, Deng and Wu (arXiv:1903.08773): REC-Net reconstructs the image from the part outside the segmentation;
    /// REG-Net takes the difference to the image and the segmentation as input.
    RecReg,
    /// Robinson et al. (2018): REG-Net takes the image and the segmentation as input.
    Direct,
    /// REG-Net takes only the segmentation as input: the baseline for the other methods, which ignores the image.
    ShapeOnly,
    /// A U-Net segments each structure again, given image and segmentation. The Dice follows from its agreement with
    /// the segmentation, a summary of its features, and the estimate from the segmentation alone.
    SecondOpinion,
}

named!(Method, "method", {
    "rec-reg" => Self::RecReg,
    "direct" => Self::Direct,
    "shape-only" => Self::ShapeOnly,
    "second-opinion" => Self::SecondOpinion,
});

/// Configuration of an estimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct EstimatorConfig {
    /// How it estimates.
    pub method: Method,
    /// How slices come to its grid, and which labels it grades.
    pub framing: Framing,
    /// The labels that its U-Net learns to see, ascending: those graded, and what lies around them.
    pub classes: Vec<u8>,
    /// Widths of its networks.
    pub widths: Widths,
    /// Channels of its images, 1 to 256. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub channels: usize,
    /// Views of each sample whose estimates are averaged when it is asked, 1, 2 or 4: as it is, turned by half, and mirrored
    /// along either axis. Training does not depend on it. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub views: usize,
}

/// Most channels of an image.
pub(crate) const MOST_CHANNELS: usize = 256;

pub(crate) fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
pub(crate) fn is_one(number: &usize) -> bool {
    *number == 1
}

impl EstimatorConfig {
    /// An estimator of default widths that sees no labels but those it grades.
    #[must_use]
    pub fn new(method: Method, framing: Framing) -> Self {
        let classes = framing.labels.clone();
        Self { method, framing, classes, widths: Widths::default(), channels: 1, views: 1 }
    }

    /// With more labels to learn to see; those graded are always among them.
    #[must_use]
    pub fn classes(mut self, classes: impl IntoIterator<Item = u8>) -> Self {
        self.classes = classes.into_iter().chain(self.framing.labels.iter().copied()).collect();
        self.classes.retain(|&label| label != 0);
        self.classes.sort_unstable();
        self.classes.dedup();
        self
    }

    /// Position among the classes, counted from 1, of each label graded.
    pub(crate) fn class_indices(&self) -> Vec<usize> {
        let position = |label| self.classes.iter().position(|class| class == label).map_or(0, |p| p + 1);
        self.framing.labels.iter().map(position).collect()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A framing that is refused, classes that do not hold the labels graded, or another number of channels or views.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.framing.validate()?;
        in_range("channels", self.channels, 1..=MOST_CHANNELS)?;
        require([1, 2, 4].contains(&self.views), "views", self.views, "1, 2 or 4")?;
        let known = |label: &u8| self.classes.contains(label);
        let ascending = self.classes.is_sorted_by(|a, b| a < b) && !self.classes.contains(&0);
        let sound = ascending && self.framing.labels.iter().all(known);
        let expected = format!("ascending labels without 0, {:?} among them", self.framing.labels);
        require(sound, "classes", &self.classes, expected)
    }
}

setters!(EstimatorConfig { widths: Widths, channels: usize, views: usize, method: Method });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_names() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
            assert_eq!(serde_json::json!(method), method.name());
        }
        let error = "best".parse::<Method>().unwrap_err();
        assert!(error.to_string().contains("rec-reg, direct, shape-only, second-opinion"), "{error}");
    }
}
