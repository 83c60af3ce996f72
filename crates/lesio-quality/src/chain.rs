//! The way from image and segmentation to Dice, and of gradients back to the image.

use lesio_nn::{EngineError, Mode};
use rayon::prelude::*;

use crate::agreement::{STATISTICS, add_gradient, softmax, softmax_gradient, statistics};
use crate::config::{EstimatorConfig, Method};
use crate::engine::{Frozen, Link};

/// What stands where the segmentation was cut out: darker than any pixel of an image of deviation 1, so
/// that REC-Net cannot mistake the hole for tissue.
pub(crate) const BLANK: f32 = -3.0;
/// Keeps the logit of a soft Dice of 0 or 1 finite, with a gradient everywhere.
const MARGIN: f32 = 0.01;

/// The wiring of an estimator's networks, with the values of its last pass.
///
/// What the method builds upon is held here, since it is not trained any more; the other networks come with each call.
pub(crate) struct Chain {
    method: Method,
    pixels: usize,
    labels: usize,
    /// Position of each label among the planes of the opinion.
    class_of: Vec<usize>,
    /// REC-Net of [`Method::RecReg`], the judge of shapes of [`Method::SecondOpinion`].
    foundation: Option<Frozen>,
    samples: usize,
    /// 1 where no label is, `[n, h, w]`.
    outside: Vec<f32>,
    segmentation: Vec<f32>,
    scratch: Vec<f32>,
    reconstruction: Vec<f32>,
    difference: Vec<f32>,
    probability: Vec<f32>,
    statistics: Vec<f32>,
    /// Logits of the Dice that the segmentation alone suggests, `[n, labels]`.
    floor: Vec<f32>,
    /// How far the floor is trusted instead of the agreement, 0 to 1, `[n, labels]`.
    trust: Vec<f32>,
    dice: Vec<f32>,
    distance: Vec<f32>,
    by_result: Vec<f32>,
    by_statistics: Vec<f32>,
    by_logits: Vec<f32>,
    by_image: Vec<f32>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("method", &self.method)
            .field("pixels", &self.pixels)
            .finish_non_exhaustive()
    }
}

/// Gradients by the results of a pass.
pub(crate) struct By<'a> {
    /// By each Dice, `[n, labels]`.
    pub(crate) dice: &'a [f32],
    /// By each distance, encoded, `[n, labels]`; empty for none.
    pub(crate) distance: &'a [f32],
    /// By the logits of the opinion, `[n, classes + 1, h, w]`; empty for none.
    pub(crate) logits: &'a [f32],
}

impl Chain {
    /// The chain of a configuration, with what it builds upon.
    pub(crate) fn new(config: &EstimatorConfig, foundation: Option<Frozen>) -> Self {
        Self {
            method: config.method,
            pixels: config.framing.pixels(),
            labels: config.framing.labels.len(),
            class_of: config.class_indices(),
            foundation,
            samples: 0,
            outside: Vec::new(),
            segmentation: Vec::new(),
            scratch: Vec::new(),
            reconstruction: Vec::new(),
            difference: Vec::new(),
            probability: Vec::new(),
            statistics: Vec::new(),
            floor: Vec::new(),
            trust: Vec::new(),
            dice: Vec::new(),
            distance: Vec::new(),
            by_result: Vec::new(),
            by_statistics: Vec::new(),
            by_logits: Vec::new(),
            by_image: Vec::new(),
        }
    }

    /// Estimates `samples` samples of images `[n, h, w]` and one plane per label `[n, labels, h, w]`.
    pub(crate) fn forward(
        &mut self,
        engines: &mut [impl Link],
        images: &[f32],
        segmentation: &[f32],
        samples: usize,
        mode: Mode,
    ) -> Result<(), EngineError> {
        check("images", images.len(), samples * self.pixels)?;
        check("segmentations", segmentation.len(), samples * self.labels * self.pixels)?;
        self.samples = samples;
        self.segmentation.clear();
        self.segmentation.extend_from_slice(segmentation);
        match self.method {
            Method::Direct => first(engines)?.forward(&[images, segmentation], samples, mode)?,
            Method::ShapeOnly => first(engines)?.forward(&[segmentation], samples, mode)?,
            Method::RecReg => {
                self.reconstruct(images, samples)?;
                first(engines)?.forward(&[&self.difference, segmentation], samples, mode)?;
            }
            Method::SecondOpinion => {
                self.judge_shape(segmentation, samples)?;
                let [opinion, head] = pair(engines)?;
                opinion.forward(&[images, segmentation], samples, mode)?;
                self.compare(opinion.output(0));
                head.forward(&[opinion.output(1), &self.statistics, &self.floor], samples, mode)?;
            }
        }
        let result = engines.last().map_or(&[][..], |engine| engine.output(0));
        check("results", result.len(), samples * results(self.method) * self.labels)?;
        self.read(result);
        Ok(())
    }

    /// Passes gradients back: the engines add up those of their parameters, and that of the images is returned.
    pub(crate) fn backward(&mut self, engines: &mut [impl Link], by: &By<'_>) -> Result<&[f32], EngineError> {
        check("gradients by the dice", by.dice.len(), self.dice.len())?;
        self.differentiate_results(by);
        self.by_image.clear();
        match self.method {
            Method::Direct => {
                let engine = first(engines)?;
                engine.backward(&[&self.by_result])?;
                self.by_image.extend_from_slice(engine.input_gradient(0));
            }
            Method::ShapeOnly => {
                first(engines)?.backward(&[&self.by_result])?;
                self.by_image.resize(self.samples * self.pixels, 0.0);
            }
            Method::RecReg => {
                let engine = first(engines)?;
                engine.backward(&[&self.by_result])?;
                self.by_image.extend_from_slice(engine.input_gradient(0));
                self.differentiate_reconstruction()?;
            }
            Method::SecondOpinion => {
                let [opinion, head] = pair(engines)?;
                head.backward(&[&self.by_result])?;
                self.differentiate_comparison(head.input_gradient(1), by.logits);
                opinion.backward(&[&self.by_logits, head.input_gradient(0)])?;
                self.by_image.extend_from_slice(opinion.input_gradient(0));
            }
        }
        Ok(&self.by_image)
    }

    /// Dice of the last pass, `[n, labels]`, in 0 to 1.
    pub(crate) fn dice(&self) -> &[f32] {
        &self.dice
    }

    /// Encoded distances of the last pass, `[n, labels]`, in 0 to 1.
    pub(crate) fn distance(&self) -> &[f32] {
        &self.distance
    }

    /// Probabilities of the opinion, `[n, classes + 1, h, w]`; empty where the method has none.
    pub(crate) fn probability(&self) -> &[f32] {
        &self.probability
    }

    /// What REC-Net painted, `[n, h, w]`; empty where the method has none.
    pub(crate) fn reconstruction(&self) -> &[f32] {
        &self.reconstruction
    }

    /// What the segmentation alone suggests. No change of the image changes it.
    fn judge_shape(&mut self, segmentation: &[f32], samples: usize) -> Result<(), EngineError> {
        let found = usize::from(self.foundation.is_some());
        let Some(engine) = &mut self.foundation else {
            return Err(EngineError::Length {
                what: "the list of judges of shapes".into(),
                found,
                expected: 1,
            });
        };
        engine.forward(&[segmentation], samples, Mode::Evaluate)?;
        self.floor.clear();
        let labels = self.labels;
        self.floor.extend(engine.output(0).chunks_exact(2 * labels).flat_map(|result| &result[..labels]));
        Ok(())
    }

    fn reconstruct(&mut self, images: &[f32], samples: usize) -> Result<(), EngineError> {
        self.outside.clear();
        self.outside.resize(images.len(), 1.0);
        let plane = self.labels * self.pixels;
        for (outside, planes) in
            self.outside.chunks_exact_mut(self.pixels).zip(self.segmentation.chunks_exact(plane))
        {
            for label in planes.chunks_exact(self.pixels) {
                outside.iter_mut().zip(label).for_each(|(outside, &inside)| *outside *= 1.0 - inside);
            }
        }
        blank(images, &self.outside, &mut self.scratch);
        let found = usize::from(self.foundation.is_some());
        let Some(engine) = &mut self.foundation else {
            return Err(EngineError::Length { what: "the list of REC-Nets".into(), found, expected: 1 });
        };
        engine.forward(&[&self.scratch], samples, Mode::Evaluate)?;
        self.reconstruction.clear();
        self.reconstruction.extend_from_slice(engine.output(0));
        self.difference.clear();
        self.difference
            .extend(images.iter().zip(&self.reconstruction).map(|(image, painted)| image - painted));
        Ok(())
    }

    /// Adds the way through REC-Net to the gradient by the difference.
    fn differentiate_reconstruction(&mut self) -> Result<(), EngineError> {
        let Some(engine) = &mut self.foundation else { return Ok(()) };
        self.scratch.clear();
        self.scratch.extend(self.by_image.iter().map(|gradient| -gradient));
        engine.backward(&[&self.scratch])?;
        let painted = engine.input_gradient(0);
        check("the gradient of REC-Net", painted.len(), self.by_image.len())?;
        for ((sum, &painted), &outside) in self.by_image.iter_mut().zip(painted).zip(&self.outside) {
            *sum += painted * outside;
        }
        Ok(())
    }

    /// Probabilities and their agreement with the segmentation.
    fn compare(&mut self, logits: &[f32]) {
        let (pixels, labels) = (self.pixels, self.labels);
        let stride = logits.len() / self.samples.max(1);
        self.probability.resize(logits.len(), 0.0);
        self.statistics.resize(self.samples * labels * STATISTICS, 0.0);
        let class_of = &self.class_of;
        logits
            .par_chunks_exact(stride.max(1))
            .zip(self.probability.par_chunks_exact_mut(stride.max(1)))
            .zip(self.segmentation.par_chunks_exact(labels * pixels))
            .zip(self.statistics.par_chunks_exact_mut(labels * STATISTICS))
            .for_each(|(((logits, probability), segmentation), into)| {
                softmax(logits, pixels, probability);
                for ((into, mask), &class) in
                    into.chunks_exact_mut(STATISTICS).zip(segmentation.chunks_exact(pixels)).zip(class_of)
                {
                    let own = &probability[class * pixels..(class + 1) * pixels];
                    into.copy_from_slice(&statistics(own, mask));
                }
            });
    }

    fn differentiate_comparison(&mut self, by_statistics: &[f32], by_logits: &[f32]) {
        for (sum, &gradient) in self.by_statistics.iter_mut().zip(by_statistics) {
            *sum += gradient;
        }
        let (pixels, labels) = (self.pixels, self.labels);
        let stride = (self.probability.len() / self.samples.max(1)).max(1);
        self.by_logits.clear();
        self.by_logits.resize(self.probability.len(), 0.0);
        let class_of = &self.class_of;
        self.by_logits
            .par_chunks_exact_mut(stride)
            .zip(self.probability.par_chunks_exact(stride))
            .zip(self.segmentation.par_chunks_exact(labels * pixels))
            .zip(self.by_statistics.par_chunks_exact(labels * STATISTICS))
            .for_each(|(((into, probability), segmentation), by)| {
                for ((by, mask), &class) in
                    by.chunks_exact(STATISTICS).zip(segmentation.chunks_exact(pixels)).zip(class_of)
                {
                    let own = class * pixels..(class + 1) * pixels;
                    add_gradient(&probability[own.clone()], mask, by, &mut into[own]);
                }
                softmax_gradient(probability, pixels, into);
            });
        for (sum, &gradient) in self.by_logits.iter_mut().zip(by_logits) {
            *sum += gradient;
        }
    }

    /// Dice and distances from the results of the last network, `[n, labels]` of each after another.
    fn read(&mut self, result: &[f32]) {
        self.dice.clear();
        self.distance.clear();
        self.trust.clear();
        let labels = self.labels;
        for (sample, result) in result.chunks_exact(results(self.method) * labels).enumerate() {
            let (own, rest) = result.split_at(labels);
            let (distance, trust) = rest.split_at(labels);
            for (label, &z) in own.iter().enumerate() {
                let trust = trust.get(label).map_or(0.0, |&logit| sigmoid(logit));
                self.trust.push(trust);
                self.dice.push(sigmoid(z + self.prior(sample, label, trust)));
            }
            self.distance.extend(distance.iter().map(|&z| sigmoid(z)));
        }
    }

    /// What a label's logit is before the network corrects it: for an opinion, that of its agreement with the
    /// segmentation and of the floor, mixed as far as that is trusted.
    fn prior(&self, sample: usize, label: usize, trust: f32) -> f32 {
        if self.method != Method::SecondOpinion {
            return 0.0;
        }
        let k = sample * self.labels + label;
        (1.0 - trust) * logit(shrunk(self.statistics[k * STATISTICS])) + trust * self.floor[k]
    }

    /// Gradients by the results, and of the prior by the statistics.
    fn differentiate_results(&mut self, by: &By<'_>) {
        let labels = self.labels;
        let is_opinion = self.method == Method::SecondOpinion;
        self.by_result.clear();
        self.by_statistics.clear();
        for sample in 0..self.samples {
            let own = sample * labels..(sample + 1) * labels;
            let by_dice = |k: usize| by.dice[k] * self.dice[k] * (1.0 - self.dice[k]);
            self.by_result.extend(own.clone().map(by_dice));
            self.by_result.extend(own.clone().map(|k| {
                let distance = self.distance[k];
                by.distance.get(k).copied().unwrap_or(0.0) * distance * (1.0 - distance)
            }));
            if is_opinion {
                self.by_result.extend(own.clone().map(|k| {
                    let agreement = logit(shrunk(self.statistics[k * STATISTICS]));
                    by_dice(k) * (self.floor[k] - agreement) * self.trust[k] * (1.0 - self.trust[k])
                }));
                for k in own {
                    let share = shrunk(self.statistics[k * STATISTICS]);
                    let slope = 1.0 / (share * (1.0 - share)) / (1.0 + 2.0 * MARGIN);
                    self.by_statistics.push(by_dice(k) * (1.0 - self.trust[k]) * slope);
                    self.by_statistics.extend([0.0; STATISTICS - 1]);
                }
            }
        }
    }
}

/// How many results the last network gives for each label: Dice and distance, and an opinion's trust in the floor.
pub(crate) fn results(method: Method) -> usize {
    if method == Method::SecondOpinion { 3 } else { 2 }
}

/// An image with the segmentation cut out.
pub(crate) fn blank(images: &[f32], outside: &[f32], into: &mut Vec<f32>) {
    into.clear();
    into.extend(
        images.iter().zip(outside).map(|(&image, &outside)| outside * image + (1.0 - outside) * BLANK),
    );
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

fn first<L: Link>(engines: &mut [L]) -> Result<&mut L, EngineError> {
    let found = engines.len();
    match engines {
        [engine] => Ok(engine),
        _ => Err(EngineError::Length { what: "the list of engines".into(), found, expected: 1 }),
    }
}

fn pair<L: Link>(engines: &mut [L]) -> Result<[&mut L; 2], EngineError> {
    let found = engines.len();
    match engines {
        [opinion, head] => Ok([opinion, head]),
        _ => Err(EngineError::Length { what: "the list of engines".into(), found, expected: 2 }),
    }
}

fn check(what: &str, found: usize, expected: usize) -> Result<(), EngineError> {
    if found == expected { Ok(()) } else { Err(EngineError::Length { what: what.into(), found, expected }) }
}
