//! The way from image and segmentation to Dice, and of gradients back to the image.

use lesio_nn::{Device, Differentiate, EngineError, Inference, ParameterSet};
use rayon::prelude::*;

use crate::agreement::{STATISTICS, add_gradient, softmax, softmax_gradient, statistics};
use crate::config::{EstimatorConfig, Method};
use crate::engine::{Link, Passed};
use crate::error::BuildError;

/// What stands where the segmentation was cut out: darker than any pixel of an image of deviation 1, so
/// that REC-Net cannot mistake the hole for tissue.
pub(crate) const BLANK: f32 = -3.0;
/// Keeps the logit of a soft Dice of 0 or 1 finite, with a gradient everywhere.
const MARGIN: f32 = 0.01;

/// The wiring of an estimator's networks.
///
/// What the method builds upon is held here, since it is not trained any more; the other networks come with each call.
#[derive(Debug)]
pub(crate) struct Chain {
    method: Method,
    pixels: usize,
    labels: usize,
    /// Position of each label among the planes of the opinion.
    class_of: Vec<usize>,
    /// REC-Net of [`Method::RecReg`], the judge of shapes of [`Method::SecondOpinion`].
    foundation: Option<Inference>,
}

/// What is known of samples before the last network; empty where the method has none.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// 1 where no label is, `[n, h, w]`.
    outside: Vec<f32>,
    /// What REC-Net painted, `[n, h, w]`.
    pub(crate) reconstruction: Vec<f32>,
    /// Logits of the Dice that the segmentation alone suggests, `[n, labels]`. No change of the image changes them.
    floor: Vec<f32>,
    /// Probabilities of the opinion, `[n, classes + 1, h, w]`.
    pub(crate) probability: Vec<f32>,
    /// How they agree with the segmentation, `[n, labels, STATISTICS]`.
    statistics: Vec<f32>,
}

/// The results of a pass forth, and the way back.
pub(crate) struct Passage<'a> {
    chain: &'a Chain,
    segmentation: &'a [f32],
    pub(crate) seen: &'a Seen,
    /// Dice, `[n, labels]`, in 0 to 1.
    pub(crate) dice: Vec<f32>,
    /// Encoded distances, `[n, labels]`, in 0 to 1.
    pub(crate) distance: Vec<f32>,
    /// How far the floor is trusted instead of the agreement, 0 to 1, `[n, labels]`.
    trust: Vec<f32>,
    /// REC-Net or the opinion, from which the last network reads.
    before: Option<&'a mut dyn Passed>,
    last: &'a mut dyn Passed,
}

/// Gradients by the results of a pass.
#[derive(Default)]
pub(crate) struct By {
    /// By each Dice, `[n, labels]`.
    pub(crate) dice: Vec<f32>,
    /// By each distance, encoded, `[n, labels]`; empty for none.
    pub(crate) distance: Vec<f32>,
    /// By the logits of the opinion, `[n, classes + 1, h, w]`; empty for none.
    pub(crate) logits: Vec<f32>,
}

impl Chain {
    /// The chain of a configuration; `parameters` hold those of what it builds upon.
    pub(crate) fn new(
        config: &EstimatorConfig,
        parameters: &ParameterSet,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let (method, class_of) = (config.method, config.class_indices());
        let (pixels, labels) = (config.framing.pixels(), config.framing.labels.len());
        let differentiate = match method {
            Method::RecReg => Differentiate::Inputs,
            _ => Differentiate::Nothing,
        };
        let made = |network| Inference::new(&network, parameters, differentiate, device);
        let foundation = config.foundation()?.map(made).transpose()?;
        Ok(Self { method, pixels, labels, class_of, foundation })
    }

    /// Estimates samples of images `[n, h, w]` and one plane per label `[n, labels, h, w]`, and hands the results to
    /// `then`, which may pass gradients back.
    pub(crate) fn run<T>(
        &self,
        links: &mut [Link<'_>],
        images: &[f32],
        segmentation: &[f32],
        then: impl FnOnce(&mut Passage<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let samples = images.len() / self.pixels;
        check("images", images.len(), samples * self.pixels)?;
        check("segmentations", segmentation.len(), samples * self.labels * self.pixels)?;
        let found = links.len();
        let mut seen = Seen::default();
        match (self.method, links, &self.foundation) {
            (Method::Direct, [only], _) => only.run(&[images, segmentation], samples, |last| {
                self.finish(segmentation, &seen, None, last, then)
            }),
            (Method::ShapeOnly, [only], _) => {
                only.run(&[segmentation], samples, |last| self.finish(segmentation, &seen, None, last, then))
            }
            (Method::RecReg, [regressor], Some(painter)) => {
                seen.outside = self.outside(segmentation);
                let blanked = blank(images, &seen.outside);
                painter.run(&[&blanked], samples, |painter| {
                    seen.reconstruction = painter.output(0).to_vec();
                    let difference: Vec<f32> = images
                        .iter()
                        .zip(&seen.reconstruction)
                        .map(|(image, painted)| image - painted)
                        .collect();
                    regressor.run(&[&difference, segmentation], samples, |last| {
                        self.finish(segmentation, &seen, Some(painter), last, then)
                    })
                })
            }
            (Method::SecondOpinion, [opinion, head], Some(judge)) => {
                let own = 2 * self.labels;
                seen.floor = judge.run(&[segmentation], samples, |judge| {
                    let results = judge.output(0).chunks_exact(own);
                    Ok::<_, EngineError>(results.flat_map(|result| &result[..self.labels]).copied().collect())
                })?;
                opinion.run(&[images, segmentation], samples, |opinion| {
                    self.compare(opinion.output(0), segmentation, &mut seen);
                    let features = opinion.output(1).to_vec();
                    head.run(&[&features, &seen.statistics, &seen.floor], samples, |last| {
                        self.finish(segmentation, &seen, Some(opinion), last, then)
                    })
                })
            }
            (method, ..) => {
                let expected = if method == Method::SecondOpinion { 2 } else { 1 };
                Err(EngineError::Length { what: "the list of engines".into(), found, expected })
            }
        }
    }

    /// Reads Dice and distances from the results of the last network, `[n, labels]` of each after another.
    fn finish<'a, T>(
        &'a self,
        segmentation: &'a [f32],
        seen: &'a Seen,
        before: Option<&'a mut dyn Passed>,
        last: &'a mut dyn Passed,
        then: impl FnOnce(&mut Passage<'a>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (labels, results) = (self.labels, results(self.method));
        let samples = segmentation.len() / (labels * self.pixels);
        let result = last.output(0).to_vec();
        check("results", result.len(), samples * results * labels)?;
        let (dice, distance, trust) = (Vec::new(), Vec::new(), Vec::new());
        let mut passage = Passage { chain: self, segmentation, seen, dice, distance, trust, before, last };
        for (sample, result) in result.chunks_exact(results * labels).enumerate() {
            let (own, rest) = result.split_at(labels);
            let (distance, trust) = rest.split_at(labels);
            for (label, &z) in own.iter().enumerate() {
                let trust = trust.get(label).map_or(0.0, |&logit| sigmoid(logit));
                passage.trust.push(trust);
                passage.dice.push(sigmoid(z + self.prior(seen, sample * labels + label, trust)));
            }
            passage.distance.extend(distance.iter().map(|&z| sigmoid(z)));
        }
        then(&mut passage)
    }

    /// 1 where no label is.
    fn outside(&self, segmentation: &[f32]) -> Vec<f32> {
        let mut all = vec![1.0; segmentation.len() / self.labels];
        let samples = segmentation.chunks_exact(self.labels * self.pixels);
        for (outside, planes) in all.chunks_exact_mut(self.pixels).zip(samples) {
            for label in planes.chunks_exact(self.pixels) {
                outside.iter_mut().zip(label).for_each(|(outside, &inside)| *outside *= 1.0 - inside);
            }
        }
        all
    }

    /// Probabilities and their agreement with the segmentation.
    fn compare(&self, logits: &[f32], segmentation: &[f32], seen: &mut Seen) {
        let (pixels, labels) = (self.pixels, self.labels);
        let samples = segmentation.len() / (labels * pixels);
        let stride = (logits.len() / samples.max(1)).max(1);
        seen.probability.resize(logits.len(), 0.0);
        seen.statistics.resize(samples * labels * STATISTICS, 0.0);
        logits
            .par_chunks_exact(stride)
            .zip(seen.probability.par_chunks_exact_mut(stride))
            .zip(segmentation.par_chunks_exact(labels * pixels))
            .zip(seen.statistics.par_chunks_exact_mut(labels * STATISTICS))
            .for_each(|(((logits, probability), segmentation), into)| {
                softmax(logits, pixels, probability);
                let masks = segmentation.chunks_exact(pixels).zip(&self.class_of);
                for (into, (mask, &class)) in into.chunks_exact_mut(STATISTICS).zip(masks) {
                    let own = &probability[class * pixels..(class + 1) * pixels];
                    into.copy_from_slice(&statistics(own, mask));
                }
            });
    }

    /// What the logit of a label of a sample is before the network corrects it: for an opinion, that of its agreement
    /// with the segmentation and of the floor, mixed as far as that is trusted.
    fn prior(&self, seen: &Seen, k: usize, trust: f32) -> f32 {
        if self.method != Method::SecondOpinion {
            return 0.0;
        }
        (1.0 - trust) * logit(shrunk(seen.statistics[k * STATISTICS])) + trust * seen.floor[k]
    }
}

impl Passage<'_> {
    /// Passes gradients back: engines in training add up those of their parameters, and that of the images is returned.
    pub(crate) fn backward(&mut self, by: &By) -> Result<Vec<f32>, EngineError> {
        check("gradients by the dice", by.dice.len(), self.dice.len())?;
        let (by_result, by_statistics) = self.differentiate_results(by);
        self.last.backward(&[&by_result])?;
        let mut by_image = self.last.input_gradient(0).to_vec();
        match self.chain.method {
            Method::Direct => {}
            Method::ShapeOnly => by_image = vec![0.0; self.segmentation.len() / self.chain.labels],
            Method::RecReg => {
                let Some(painter) = &mut self.before else { return Ok(by_image) };
                // The difference holds the image itself, and what REC-Net paints of it.
                let by_painted: Vec<f32> = by_image.iter().map(|gradient| -gradient).collect();
                painter.backward(&[&by_painted])?;
                let painted = painter.input_gradient(0);
                check("the gradient of REC-Net", painted.len(), by_image.len())?;
                for ((sum, &painted), &outside) in by_image.iter_mut().zip(painted).zip(&self.seen.outside) {
                    *sum += painted * outside;
                }
            }
            Method::SecondOpinion => {
                let by_logits = self.differentiate_comparison(by_statistics, &by.logits);
                let Some(opinion) = &mut self.before else { return Ok(by_image) };
                opinion.backward(&[&by_logits, &by_image])?;
                by_image = opinion.input_gradient(0).to_vec();
            }
        }
        Ok(by_image)
    }

    /// Gradients by the results, and of the prior by the statistics.
    fn differentiate_results(&self, by: &By) -> (Vec<f32>, Vec<f32>) {
        let (labels, seen) = (self.chain.labels, self.seen);
        let (mut by_result, mut by_statistics) = (Vec::new(), Vec::new());
        for sample in 0..self.dice.len() / labels {
            let own = sample * labels..(sample + 1) * labels;
            let by_dice = |k: usize| by.dice[k] * self.dice[k] * (1.0 - self.dice[k]);
            by_result.extend(own.clone().map(by_dice));
            by_result.extend(own.clone().map(|k| {
                let distance = self.distance[k];
                by.distance.get(k).copied().unwrap_or(0.0) * distance * (1.0 - distance)
            }));
            if self.chain.method == Method::SecondOpinion {
                let share = |k: usize| shrunk(seen.statistics[k * STATISTICS]);
                by_result.extend(own.clone().map(|k| {
                    by_dice(k) * (seen.floor[k] - logit(share(k))) * self.trust[k] * (1.0 - self.trust[k])
                }));
                for k in own {
                    let slope = 1.0 / (share(k) * (1.0 - share(k))) / (1.0 + 2.0 * MARGIN);
                    by_statistics.push(by_dice(k) * (1.0 - self.trust[k]) * slope);
                    by_statistics.extend([0.0; STATISTICS - 1]);
                }
            }
        }
        (by_result, by_statistics)
    }

    /// Gradients by the logits of the opinion, from those by the statistics and those given.
    fn differentiate_comparison(&self, mut by_statistics: Vec<f32>, by_logits: &[f32]) -> Vec<f32> {
        for (sum, &gradient) in by_statistics.iter_mut().zip(self.last.input_gradient(1)) {
            *sum += gradient;
        }
        let (pixels, labels) = (self.chain.pixels, self.chain.labels);
        let probability = &self.seen.probability;
        let stride = (probability.len() * labels / self.dice.len().max(1)).max(1);
        let mut all = vec![0.0; probability.len()];
        all.par_chunks_exact_mut(stride)
            .zip(probability.par_chunks_exact(stride))
            .zip(self.segmentation.par_chunks_exact(labels * pixels))
            .zip(by_statistics.par_chunks_exact(labels * STATISTICS))
            .for_each(|(((into, probability), segmentation), by)| {
                let masks = segmentation.chunks_exact(pixels).zip(&self.chain.class_of);
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

/// How many results the last network gives for each label: Dice and distance, and an opinion's trust in the floor.
pub(crate) fn results(method: Method) -> usize {
    if method == Method::SecondOpinion { 3 } else { 2 }
}

/// An image with the segmentation cut out.
pub(crate) fn blank(images: &[f32], outside: &[f32]) -> Vec<f32> {
    images.iter().zip(outside).map(|(&image, &outside)| outside * image + (1.0 - outside) * BLANK).collect()
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn logit(share: f32) -> f32 {
    (share / (1.0 - share)).ln()
}

fn shrunk(share: f32) -> f32 {
    (share + MARGIN) / (1.0 + 2.0 * MARGIN)
}

pub(crate) fn check(what: &str, found: usize, expected: usize) -> Result<(), EngineError> {
    if found == expected { Ok(()) } else { Err(EngineError::Length { what: what.into(), found, expected }) }
}
