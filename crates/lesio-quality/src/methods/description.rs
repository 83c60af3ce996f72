//! What a method computes between its networks, in words.

use lesio_nn::Network;

use super::Networks;
use crate::config::{EstimatorConfig, Method};
use crate::error::QualityBuildError;

/// A network of a [`QualityModel`](crate::QualityModel).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelNetwork {
    /// Its name, with which the names of its parameters, inputs and layers begin: `rec` (REC-Net), `reg` (REG-Net, or the
    /// regressor of the segmentation alone), `opinion` and `head` (the second opinion).
    pub name: String,
    /// The network.
    pub network: Network,
}

impl ModelNetwork {
    pub(crate) fn new(network: Network) -> Self {
        let first = network.inputs().first().and_then(|id| network.node(*id)).map(|node| node.name());
        let name = first.and_then(|name| name.split('.').next()).unwrap_or("network").to_owned();
        Self { name, network }
    }
}

/// The networks that a method computes an estimate with, in the order in which they are computed.
pub(crate) fn in_order(config: &EstimatorConfig) -> Result<Vec<Network>, QualityBuildError> {
    let Networks { trained, pretrained } = super::networks(config)?;
    Ok(pretrained.into_iter().chain(trained).collect())
}

impl Method {
    /// What the method computes between its networks, and from their results, as formulas in words: one a step, in their
    /// order. `segmentation` has one plane of 0 and 1 for each graded label, and `image` is scaled and framed as
    /// [`EstimatorConfig::framing`] states.
    #[must_use]
    pub fn steps(self) -> &'static [&'static str] {
        const RESULTS: &str =
            "Dice of label k = sigmoid(result[k]), encoded distance of label k = sigmoid(result[labels + k])";
        match self {
            Self::RecReg => &[
                "outside = 1 where no plane of segmentation is 1, else 0",
                "blanked = outside * image - 3 (1 - outside)",
                "reconstruction = rec(blanked), difference = image - reconstruction",
                "result = reg(difference, segmentation)",
                RESULTS,
            ],
            Self::Direct => &["result = reg(image, segmentation)", RESULTS],
            Self::ShapeOnly => &["result = reg(segmentation)", RESULTS],
            Self::SecondOpinion => &[
                "floor = the first values of reg(segmentation), one for each label",
                "out, summary = opinion(image, segmentation); features = summary as a vector; q = softmax of out over the \
                 classes, the first of which is the background",
                "with m a plane of segmentation, q of its class, r = q^2 / (q^2 + (1 - q)^2) and sums over the pixels, \
                 statistics of each label = [(2 sum(q m) + 1) / (sum(m) + sum(q) + 1), (2 sum(r m) + 1) / (sum(m) + sum(r) + \
                 1), ln((sum(q) + 1) / (sum(m) + 1)), sum(q (1 - q)) / (sum(q) + 1), ln(sum(m) + 1) / 5]",
                "result = head(features, statistics, floor)",
                "a = (statistics[0] + .01) / 1.02, t = sigmoid(result[2 labels + k]); Dice of label k = sigmoid(result[k] + \
                 (1 - t) ln(a / (1 - a)) + t floor[k]), encoded distance of label k = sigmoid(result[labels + k])",
            ],
        }
    }
}
