//! REG-Net: a regressor that reads two results a label, the Dice and the distance.

use lesio_nn::{Engine, EngineError, Network};

use crate::config::EstimatorConfig;
use crate::error::QualityBuildError;
use crate::methods::wiring::{Batch, OutputGradients, Outputs, Weigh, check, sigmoid, single};
use crate::network::{Input, regressor};

/// The regressor over these inputs.
pub(crate) fn network(config: &EstimatorConfig, inputs: &[Input]) -> Result<Network, QualityBuildError> {
    let framing = &config.framing;
    regressor("reg", framing.grid, inputs, 2 * framing.labels.len(), &config.widths.regression)
}

/// Estimates a batch by the only network, as [`Wiring::pass`](super::wiring::Wiring::pass) does. `to_images` turns the gradient by the first
/// input into the one by the images.
pub(crate) fn pass(
    networks: &mut [&mut dyn Engine],
    inputs: &[&[f32]],
    batch: &Batch<'_>,
    reconstruction: Vec<f32>,
    weigh: &mut Weigh<'_>,
    to_images: impl FnOnce(&[f32]) -> Result<Vec<f32>, EngineError>,
) -> Result<(Outputs, Vec<f32>), EngineError> {
    let network = single(networks)?;
    network.forward(inputs, batch.samples)?;
    let results = network.output(0);
    check("results", results.len(), batch.samples * 2 * batch.labels)?;
    let (mut dice, mut distance) = (Vec::new(), Vec::new());
    for result in results.chunks_exact(2 * batch.labels) {
        let (of_dice, of_distance) = result.split_at(batch.labels);
        dice.extend(of_dice.iter().map(|&z| sigmoid(z)));
        distance.extend(of_distance.iter().map(|&z| sigmoid(z)));
    }
    let outputs = Outputs { dice, distance, reconstruction, probability: Vec::new() };
    let Some(by) = weigh(&outputs)? else { return Ok((outputs, Vec::new())) };
    network.backward(&[&by_results(&outputs, &by, batch.labels)?])?;
    let by_images = to_images(network.input_gradient(0))?;
    Ok((outputs, by_images))
}

/// Gradients by the results, `[n, 2 * labels]`.
fn by_results(outputs: &Outputs, by: &OutputGradients, labels: usize) -> Result<Vec<f32>, EngineError> {
    let mut all = Vec::with_capacity(2 * outputs.dice.len());
    check("gradients by the dice", by.dice.len(), outputs.dice.len())?;
    for first in (0..outputs.dice.len()).step_by(labels) {
        all.extend((first..first + labels).map(|k| by_dice(outputs, by, k)));
        all.extend((first..first + labels).map(|k| by_distance(outputs, by, k)));
    }
    Ok(all)
}

/// The gradient by the logit of a Dice.
pub(crate) fn by_dice(outputs: &Outputs, by: &OutputGradients, k: usize) -> f32 {
    by.dice[k] * outputs.dice[k] * (1.0 - outputs.dice[k])
}

/// The gradient by the logit of a distance.
pub(crate) fn by_distance(outputs: &Outputs, by: &OutputGradients, k: usize) -> f32 {
    let distance = outputs.distance[k];
    by.distance.get(k).copied().unwrap_or(0.0) * distance * (1.0 - distance)
}
