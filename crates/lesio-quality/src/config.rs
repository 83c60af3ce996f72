//! What an estimator is made of.

use lesio_nn::{Activation, Initialization, Network, ParameterSet};
use serde::{Deserialize, Serialize};

use crate::agreement::STATISTICS;
use crate::chain::results;
use crate::error::ConfigError;
use crate::framing::Framing;
use crate::network::{Summary, Widths, head, regressor, u_net};

/// How an estimator comes from an image and a segmentation to a Dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Method {
    /// Zhou, Deng and Wu (arXiv:1903.08773): REC-Net paints the image anew from what the segmentation
    /// leaves of it, REG-Net reads the difference to the image, and the segmentation.
    RecReg,
    /// Robinson et al. (2018): REG-Net reads the image and the segmentation.
    Direct,
    /// REG-Net reads the segmentation alone: what can be known without looking, and the floor for the others.
    ShapeOnly,
    /// A U-Net that reads image and segmentation says where each structure really is; its agreement
    /// with the segmentation, a summary of what it saw, and what the segmentation alone suggests give the Dice.
    SecondOpinion,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::RecReg, Self::Direct, Self::ShapeOnly, Self::SecondOpinion];

    /// Its name: `rec-reg`, `direct`, `shape-only` or `second-opinion`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RecReg => "rec-reg",
            Self::Direct => "direct",
            Self::ShapeOnly => "shape-only",
            Self::SecondOpinion => "second-opinion",
        }
    }
}

/// Configuration of an estimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EstimatorConfig {
    /// How it estimates.
    pub method: Method,
    /// How slices come to its grid, and which labels it grades.
    pub framing: Framing,
    /// The labels that its U-Net learns to see, ascending: those graded, and what lies around them.
    pub classes: Vec<u8>,
    /// Widths of its networks.
    pub widths: Widths,
    /// Views of each sample whose estimates are averaged when it is asked, 1, 2 or 4: as it is, turned by half, and mirrored
    /// along either axis. Training does not depend on it. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub views: usize,
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_one(views: &usize) -> bool {
    *views == 1
}

impl EstimatorConfig {
    /// An estimator of default widths that sees no labels but those it grades.
    #[must_use]
    pub fn new(method: Method, framing: Framing) -> Self {
        let classes = framing.labels.clone();
        Self { method, framing, classes, widths: Widths::default(), views: 1 }
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

    /// With other widths.
    #[must_use]
    pub fn widths(mut self, widths: Widths) -> Self {
        self.widths = widths;
        self
    }

    /// With another number of views.
    #[must_use]
    pub fn views(mut self, views: usize) -> Self {
        self.views = views;
        self
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Initial parameters of the networks that are trained together, and of that on which they build.
    ///
    /// # Errors
    /// A configuration that is refused.
    pub fn initial_parameters(&self, seed: u64) -> Result<ParameterSet, ConfigError> {
        let mut parameters = ParameterSet::new();
        for network in self.networks()?.into_iter().chain(self.foundation()?) {
            let own = ParameterSet::initialize(&network, Initialization::HeNormal, seed);
            parameters.extend(own);
        }
        Ok(parameters)
    }

    /// The networks that are trained together, in the order of their engines.
    pub(crate) fn networks(&self) -> Result<Vec<Network>, ConfigError> {
        self.validate()?;
        let grid = self.framing.grid;
        let labels = self.framing.labels.len();
        let widths = &self.widths.regression;
        let regressor = |inputs: &[_]| regressor("reg", grid, inputs, 2 * labels, widths);
        match self.method {
            Method::RecReg => Ok(vec![regressor(&[("difference", 1), ("segmentation", labels)])?]),
            Method::Direct => Ok(vec![regressor(&[("image", 1), ("segmentation", labels)])?]),
            Method::ShapeOnly => Ok(vec![regressor(&[("segmentation", labels)])?]),
            Method::SecondOpinion => {
                let inputs = [("image", 1), ("segmentation", labels)];
                let widths = &self.widths.opinion;
                let classes = self.classes.len() + 1;
                // Smooth activations give attacks in training the gradients that attacks will find later (Xie et al.
                // 2020, "Smooth adversarial training").
                let activation = Activation::Silu;
                let opinion = u_net("opinion", grid, &inputs, classes, widths, activation, Summary::Give)?;
                let summary = widths.last().copied().unwrap_or(0);
                let inputs = [("features", summary), ("statistics", labels * STATISTICS), ("floor", labels)];
                let head = head("head", &inputs, results(self.method) * labels)?;
                Ok(vec![opinion, head])
            }
        }
    }

    /// The network that the method builds upon, trained before: REC-Net, or the regressor of [`Method::ShapeOnly`].
    pub(crate) fn foundation(&self) -> Result<Option<Network>, ConfigError> {
        match self.method {
            Method::RecReg => Ok(Some(self.reconstructor()?)),
            Method::SecondOpinion => Ok(self.clone().method(Method::ShapeOnly).networks()?.pop()),
            Method::Direct | Method::ShapeOnly => Ok(None),
        }
    }

    /// REC-Net.
    pub(crate) fn reconstructor(&self) -> Result<Network, ConfigError> {
        self.validate()?;
        let widths = &self.widths.reconstruction;
        u_net("rec", self.framing.grid, &[("blanked", 1)], 1, widths, Activation::RELU, Summary::Omit)
    }

    /// Position among the classes, counted from 1, of each label graded.
    pub(crate) fn class_indices(&self) -> Vec<usize> {
        let position = |label| self.classes.iter().position(|class| class == label).map_or(0, |p| p + 1);
        self.framing.labels.iter().map(position).collect()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A framing that is refused, classes that do not hold the labels graded, or another number of views.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.framing.validate()?;
        if ![1, 2, 4].contains(&self.views) {
            return Err(ConfigError::new("views", self.views, "1, 2 or 4"));
        }
        let known = |label: &u8| self.classes.contains(label);
        let ascending = self.classes.is_sorted_by(|a, b| a < b) && !self.classes.contains(&0);
        if ascending && self.framing.labels.iter().all(known) {
            return Ok(());
        }
        let expected = format!("ascending labels without 0, {:?} among them", self.framing.labels);
        Err(ConfigError::new("classes", &self.classes, expected))
    }
}
