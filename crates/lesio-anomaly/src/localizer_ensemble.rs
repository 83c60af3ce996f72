//! The ensemble that a localizer offers as the predictor `ensemble`.

use serde::{Deserialize, Serialize};

use crate::calibration::NormalScores;
use crate::ensemble::EnsembleConfig;
use crate::predictors::PredictorName;

/// A member of a [`LocalizerEnsemble`]: a predictor of one of its localizers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EnsembleMember {
    /// A name for reports, such as `segmenter/anomaly-logit`.
    pub name: String,
    /// The localizer: 0 is the one that offers the ensemble, the others are counted from 1.
    pub localizer: usize,
    /// The predictor, which is not an ensemble.
    pub predictor: PredictorName,
    /// Its scores of normal subjects after post-processing, which define the common scale. A later calibration of the
    /// localizer does not change them, and so not the maps of the ensemble.
    pub normals: NormalScores,
}

impl EnsembleMember {
    /// A member with these parts.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        localizer: usize,
        predictor: PredictorName,
        normals: NormalScores,
    ) -> Self {
        Self { name: name.into(), localizer, predictor, normals }
    }
}

/// An ensemble of predictors of one or several localizers: combines their maps after post-processing, on the grid of
/// the scan. It is saved with the localizer that offers it, see
/// [`Localizer::with_ensemble`](crate::Localizer::with_ensemble).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LocalizerEnsemble {
    /// How the maps are combined.
    pub config: EnsembleConfig,
    /// The members.
    pub members: Vec<EnsembleMember>,
}

impl LocalizerEnsemble {
    /// An ensemble of these members.
    #[must_use]
    pub fn new(config: EnsembleConfig, members: Vec<EnsembleMember>) -> Self {
        Self { config, members }
    }

    /// The predictors of a localizer that are members, 0 for the one that offers the ensemble.
    pub(crate) fn predictors_of(&self, localizer: usize) -> Vec<PredictorName> {
        let mut found = Vec::new();
        for member in self.members.iter().filter(|member| member.localizer == localizer) {
            if !found.contains(&member.predictor) {
                found.push(member.predictor);
            }
        }
        found
    }
}
