//! The second opinion: a U-Net that reads image and segmentation segments again; its agreement with the segmentation, a
//! summary of what it saw, and what the segmentation alone suggests give the Dice.

use lesio_nn::{Activation, Engine, EngineError, Inference, Network};
use rayon::prelude::*;

use crate::agreement::{self, STATISTICS, add_gradient, softmax, softmax_gradient};
use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::methods::regression::{by_dice, by_distance};
use crate::methods::wiring::{Batch, OutputGradients, Outputs, Weigh, Wiring, check, sigmoid};
use crate::network::{Summary, head, u_net};

/// Results of the head for each label: Dice and distance, and how far the floor is trusted.
const RESULTS: usize = 3;
/// Keeps the logit of a soft Dice of 0 or 1 finite, with a gradient everywhere.
const MARGIN: f32 = 0.01;

/// The U-Net and the head.
pub(crate) fn networks(config: &EstimatorConfig) -> Result<Vec<Network>, QualityBuildError> {
    let (grid, labels, widths) = (config.framing.grid, config.framing.labels.len(), &config.widths.opinion);
    let inputs = [("image", config.channels), ("segmentation", labels)];
    // Smooth activations give attacks in training the gradients that attacks will find later (Xie et al.
    // 2020, "Smooth adversarial training").
    let activation = Activation::Silu;
    let classes = config.classes.len() + 1;
    let opinion = u_net("opinion", grid, &inputs, classes, widths, activation, Summary::Give)?;
    let summary = widths.last().copied().unwrap_or(0);
    let inputs = [("features", summary), ("statistics", labels * STATISTICS), ("floor", labels)];
    Ok(vec![opinion, head("head", &inputs, RESULTS * labels)?])
}

#[derive(Debug)]
pub(crate) struct SecondOpinion {
    /// The regressor of the segmentation alone, whose Dice is the floor.
    pub(crate) shape_only: Inference,
    /// Position of each label among the planes of the opinion.
    pub(crate) class_of: Vec<usize>,
}

impl Wiring for SecondOpinion {
    fn pass(
        &self,
        networks: &mut [&mut dyn Engine],
        batch: &Batch<'_>,
        weigh: &mut Weigh<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let found = networks.len();
        let [opinion, head] = networks else {
            return Err(EngineError::Length { what: "the list of engines".into(), found, expected: 2 });
        };
        let floor = self.shape_only.run(&[batch.masks], batch.samples)?;
        let floor = floor.output(0).chunks_exact(2 * batch.labels);
        let floor = floor.flat_map(|result| &result[..batch.labels]).copied().collect();
        opinion.forward(&[batch.images, batch.masks], batch.samples)?;
        let (probability, statistics) = self.compare(opinion.output(0), batch);
        let evidence = Evidence { statistics, floor };
        head.forward(&[opinion.output(1), &evidence.statistics, &evidence.floor], batch.samples)?;
        let (outputs, trust) = evidence.read(head.output(0), probability, batch)?;
        let Some(by) = weigh(&outputs)? else { return Ok((outputs, Vec::new())) };
        let (by_results, mut by_statistics) = evidence.differentiate(&outputs, &trust, &by, batch)?;
        head.backward(&[&by_results])?;
        by_statistics.iter_mut().zip(head.input_gradient(1)).for_each(|(sum, own)| *sum += own);
        let by_logits = self.differentiate(&by_statistics, &outputs.probability, &by.logits, batch);
        opinion.backward(&[&by_logits, head.input_gradient(0)])?;
        Ok((outputs, opinion.input_gradient(0).to_vec()))
    }
}

impl SecondOpinion {
    /// Probabilities of the classes, `[n, classes + 1, h, w]`, and how they agree with the segmentation,
    /// `[n, labels, STATISTICS]`.
    fn compare(&self, logits: &[f32], batch: &Batch<'_>) -> (Vec<f32>, Vec<f32>) {
        let (pixels, labels) = (batch.pixels, batch.labels);
        let stride = (logits.len() / batch.samples.max(1)).max(1);
        let mut probability = vec![0.0; logits.len()];
        let mut statistics = vec![0.0; batch.samples * labels * STATISTICS];
        logits
            .par_chunks_exact(stride)
            .zip(probability.par_chunks_exact_mut(stride))
            .zip(batch.masks.par_chunks_exact((labels * pixels).max(1)))
            .zip(statistics.par_chunks_exact_mut(labels * STATISTICS))
            .for_each(|(((logits, probability), masks), into)| {
                softmax(logits, pixels, probability);
                let masks = masks.chunks_exact(pixels).zip(&self.class_of);
                for (into, (mask, &class)) in into.chunks_exact_mut(STATISTICS).zip(masks) {
                    let own = &probability[class * pixels..(class + 1) * pixels];
                    into.copy_from_slice(&agreement::statistics(own, mask));
                }
            });
        (probability, statistics)
    }

    /// Gradients by the logits of the opinion, from those by the statistics and those given.
    fn differentiate(
        &self,
        by_statistics: &[f32],
        probability: &[f32],
        by_logits: &[f32],
        batch: &Batch<'_>,
    ) -> Vec<f32> {
        let (pixels, labels) = (batch.pixels, batch.labels);
        let stride = (probability.len() / batch.samples.max(1)).max(1);
        let mut all = vec![0.0; probability.len()];
        all.par_chunks_exact_mut(stride)
            .zip(probability.par_chunks_exact(stride))
            .zip(batch.masks.par_chunks_exact((labels * pixels).max(1)))
            .zip(by_statistics.par_chunks_exact(labels * STATISTICS))
            .for_each(|(((into, probability), masks), by)| {
                let masks = masks.chunks_exact(pixels).zip(&self.class_of);
                for (by, (mask, &class)) in by.chunks_exact(STATISTICS).zip(masks) {
                    let own = class * pixels..(class + 1) * pixels;
                    add_gradient(&probability[own.clone()], mask, by, &mut into[own]);
                }
                softmax_gradient(probability, pixels, into);
            });
        all.iter_mut().zip(by_logits).for_each(|(sum, &gradient)| *sum += gradient);
        all
    }
}

/// What the head corrects.
struct Evidence {
    /// How the opinion agrees with the segmentation, `[n, labels, STATISTICS]`.
    statistics: Vec<f32>,
    /// Logits of the Dice that the segmentation alone suggests, `[n, labels]`. No change of the image changes them.
    floor: Vec<f32>,
}

impl Evidence {
    /// Estimates from the results of the head, `[n, RESULTS * labels]`, and how far the floor is trusted, `[n, labels]`.
    ///
    /// The logit of a Dice is the head's correction of a prior: the logits of the agreement and of the floor, mixed as far
    /// as that is trusted.
    fn read(
        &self,
        results: &[f32],
        probability: Vec<f32>,
        batch: &Batch<'_>,
    ) -> Result<(Outputs, Vec<f32>), EngineError> {
        let labels = batch.labels;
        check("results", results.len(), batch.samples * RESULTS * labels)?;
        let (mut dice, mut distance, mut trust) = (Vec::new(), Vec::new(), Vec::new());
        for result in results.chunks_exact(RESULTS * labels) {
            let (own, rest) = result.split_at(labels);
            let (of_distance, of_trust) = rest.split_at(labels);
            for (&z, &of_trust) in own.iter().zip(of_trust) {
                let (k, share) = (dice.len(), sigmoid(of_trust));
                let prior = (1.0 - share) * logit(self.agreement(k)) + share * self.floor[k];
                dice.push(sigmoid(z + prior));
                trust.push(share);
            }
            distance.extend(of_distance.iter().map(|&z| sigmoid(z)));
        }
        Ok((Outputs { dice, distance, reconstruction: Vec::new(), probability }, trust))
    }

    /// Gradients by the results of the head, and those by the statistics that go through the prior.
    fn differentiate(
        &self,
        outputs: &Outputs,
        trust: &[f32],
        by: &OutputGradients,
        batch: &Batch<'_>,
    ) -> Result<(Vec<f32>, Vec<f32>), EngineError> {
        check("gradients by the dice", by.dice.len(), outputs.dice.len())?;
        let (mut by_results, mut by_statistics) = (Vec::new(), Vec::new());
        for first in (0..outputs.dice.len()).step_by(batch.labels) {
            let own = first..first + batch.labels;
            by_results.extend(own.clone().map(|k| by_dice(outputs, by, k)));
            by_results.extend(own.clone().map(|k| by_distance(outputs, by, k)));
            by_results.extend(own.clone().map(|k| {
                let difference = self.floor[k] - logit(self.agreement(k));
                by_dice(outputs, by, k) * difference * trust[k] * (1.0 - trust[k])
            }));
            for k in own {
                let share = self.agreement(k);
                let slope = 1.0 / (share * (1.0 - share)) / (1.0 + 2.0 * MARGIN);
                by_statistics.push(by_dice(outputs, by, k) * (1.0 - trust[k]) * slope);
                by_statistics.extend([0.0; STATISTICS - 1]);
            }
        }
        Ok((by_results, by_statistics))
    }

    /// The soft Dice of the opinion and the segmentation, kept off 0 and 1.
    fn agreement(&self, k: usize) -> f32 {
        (self.statistics[k * STATISTICS] + MARGIN) / (1.0 + 2.0 * MARGIN)
    }
}

fn logit(share: f32) -> f32 {
    (share / (1.0 - share)).ln()
}
