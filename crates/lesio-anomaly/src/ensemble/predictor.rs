//! Several predictors combined into one.

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_vae::RequestedGradients;

use super::error::EnsembleError;
use super::rule::EnsembleConfig;
use crate::calibration::{NormalScores, NormalScoresBuilder};
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::shared::SharedPass;

/// A predictor and its scores of normal images.
#[derive(Clone)]
struct Member {
    predictor: Arc<dyn Predictor>,
    normals: NormalScores,
}

/// Several predictors combined into one, on the network's grid. They may use one model or several with the same input.
///
/// To combine maps after post-processing, on the images' own grids, use [`EnsembleConfig::combine_volumes`].
pub struct Ensemble {
    members: Vec<Member>,
    config: EnsembleConfig,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.members.iter().map(|member| member.predictor.name()).collect();
        f.debug_struct("Ensemble").field("members", &names).field("config", &self.config).finish()
    }
}

impl Ensemble {
    /// An ensemble of predictors, each with its raw scores of normal pixels.
    ///
    /// # Errors
    /// No members, or a rule for another number of them.
    pub fn new(
        members: Vec<(Arc<dyn Predictor>, NormalScores)>,
        config: EnsembleConfig,
    ) -> Result<Self, EnsembleError> {
        config.check(members.len())?;
        let members = members.into_iter().map(|(predictor, normals)| Member { predictor, normals }).collect();
        Ok(Self { members, config })
    }

    /// An ensemble calibrated on normal subjects, each a batch of images `[n, c, h, w]` that no member was
    /// trained on; every pixel counts.
    ///
    /// # Errors
    /// Errors of a member; no members, no pixels, or a rule for another number of members.
    pub fn calibrate<'a>(
        predictors: Vec<Arc<dyn Predictor>>,
        subjects: impl IntoIterator<Item = ImageBatch<'a>>,
        config: EnsembleConfig,
    ) -> Result<Self, PredictError> {
        config.check(predictors.len())?;
        let mut builders = vec![NormalScoresBuilder::new(); predictors.len()];
        let requested = predictors
            .iter()
            .fold(RequestedGradients::NOTHING, |all, one| all.union(one.requested_gradients()));
        for images in subjects {
            let pass = SharedPass::new(images, requested);
            for (builder, predictor) in builders.iter_mut().zip(&predictors) {
                builder.add(predictor.score_shared(&pass)?);
            }
        }
        let mut members = Vec::with_capacity(predictors.len());
        for (member, (predictor, builder)) in predictors.into_iter().zip(builders).enumerate() {
            let normals = builder.finish().ok_or(EnsembleError::NotCalibrated { member })?;
            members.push((predictor, normals));
        }
        Ok(Self::new(members, config)?)
    }

    /// How the members are combined.
    #[must_use]
    pub fn config(&self) -> &EnsembleConfig {
        &self.config
    }
}

impl Predictor for Ensemble {
    fn name(&self) -> String {
        "ensemble".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        self.score_shared(&SharedPass::new(images, self.requested_gradients()))
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Vec<f32>, PredictError> {
        let expected = pass.images().len() * pass.images().shape().pixels();
        let mut maps = Vec::with_capacity(self.members.len());
        for (member, own) in self.members.iter().enumerate() {
            let map = own.predictor.score_shared(pass)?;
            if map.len() != expected {
                let (found, expected) = (vec![map.len()], vec![expected]);
                return Err(EnsembleError::Shape { member, found, expected }.into());
            }
            maps.push(map);
        }
        let slices: Vec<&[f32]> = maps.iter().map(Vec::as_slice).collect();
        let normals: Vec<&NormalScores> = self.members.iter().map(|member| &member.normals).collect();
        Ok(self.config.combine_slices(&slices, &normals)?)
    }

    fn requested_gradients(&self) -> RequestedGradients {
        self.members.iter().fold(RequestedGradients::NOTHING, |all, member| {
            all.union(member.predictor.requested_gradients())
        })
    }
}
