//! The steps of a pipeline: from slices with their truth to trained estimators, each resumable.

use lesio_nn::{Device, Objective, ParameterSet};
use rayon::prelude::*;

use crate::augmentation::SampleAugmentation;
use crate::candidates::{Candidate, Origin, UniformPool, corruptions};
use crate::config::{EstimatorConfig, Method};
use crate::estimator_objective::EstimatorObjective;
use crate::framing::Framing;
use crate::methods::networks;
use crate::pipeline::cache::StepCache;
use crate::pipeline::config::PipelineConfig;
use crate::pipeline::progress::{PipelineError, PipelineObserver, PipelineProgress, report};
use crate::pipeline::segmenters::{Segmenters, centered_sample};
use crate::reconstruction::ReconstructionObjective;
use crate::samples::{Sample, Samples};
use crate::segmenter::{Segmenter, SegmenterConfig, SegmenterObjective};
use crate::slices::{PatientGroups, TrueSlice};
use crate::training::{AdversarialTraining, EstimatorTraining};

impl PipelineConfig {
    /// Checks that all networks of a pipeline can be made: those of every method, and the segmenters.
    ///
    /// # Errors
    /// A configuration that is refused, widths out of range, and a grid that cannot be halved as often as a network does.
    pub(crate) fn check_networks(&self, estimators: &EstimatorConfig) -> Result<(), PipelineError> {
        for method in Method::ALL {
            networks(&estimators.clone().method(method))?;
        }
        for widths in &self.segmenters {
            let (grid, classes) = (estimators.framing.grid, estimators.classes.len());
            let config = SegmenterConfig::new(grid, classes, widths.clone());
            config.channels(estimators.channels).network()?;
        }
        Ok(())
    }

    /// Trains segmenters on a device, on either half of the training patients; the outer list is by half.
    ///
    /// # Errors
    /// Fewer than two patients, slices that are refused, and a training that fails.
    pub fn segmenters(
        &self,
        estimators: &EstimatorConfig,
        slices: &[TrueSlice],
        cache: &StepCache,
        device: &Device,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<Segmenters, PipelineError> {
        self.validate()?;
        let (framing, classes) = (&estimators.framing, &estimators.classes);
        let halves = PatientGroups::deal(slices.iter().map(|slice| &slice.patient), &[1.0, 1.0], self.seed);
        if halves.patients(1).next().is_none() || halves.patients(0).next().is_none() {
            let what = "there are fewer than two training patients to share between segmenters".to_owned();
            return Err(PipelineError::Nothing { what });
        }
        let mut trained = Vec::new();
        for half in 0..2 {
            let mut samples = Samples::new();
            for slice in slices.iter().filter(|slice| halves.group(&slice.patient) == Some(half)) {
                samples.extend(centered_sample(framing, classes, slice)?);
            }
            for (number, widths) in self.segmenters.iter().enumerate() {
                let config = SegmenterConfig::new(framing.grid, classes.len(), widths.clone())
                    .channels(estimators.channels);
                let epochs = self.stages.last().copied().unwrap_or(1);
                let mut train = self.train_config(samples.len(), 1, self.batch, (10 * half + number) as u64);
                train.epochs = epochs;
                train.adam.warm_up = 20;
                let objective = SegmenterObjective::new(
                    config.clone(),
                    &train,
                    SampleAugmentation::default(),
                    samples.clone(),
                );
                let engines = SegmenterObjective::engines(&config, train.seed, device)?;
                let name = format!("segmenter-{half}-{number}");
                let stages = cache.train(&name, objective, engines, train, &self.stages, observer)?;
                for (stage, parameters) in stages.iter().enumerate() {
                    let origin = Origin::Segmenter { number, stage };
                    trained.push((half, origin, Segmenter::new(config.clone(), parameters, device)?));
                }
            }
        }
        Ok(Segmenters { framing: framing.clone(), classes: classes.to_vec(), halves, trained })
    }

    /// Makes candidates for slices: what segmenters that never saw the patient give, what networks in use gave, and corruptions
    /// of the truth and of both.
    ///
    /// # Errors
    /// Slices that are refused, and failures of the device.
    pub fn candidates(
        &self,
        segmenters: &Segmenters,
        slices: &[TrueSlice],
        observer: &mut PipelineObserver<'_>,
    ) -> Result<Vec<Candidate>, PipelineError> {
        self.validate()?;
        report(observer, &PipelineProgress::Step { name: "candidates" })?;
        let graded = segmenters.framing.labels.clone();
        let holders: Vec<usize> = (0..slices.len())
            .filter(|&k| slices[k].truth.iter().any(|label| graded.contains(label)))
            .collect();
        let mut given = Vec::new();
        let stride = slices.len().div_ceil(self.slices.max(1)).max(1);
        for (number, slice) in slices.iter().enumerate().step_by(stride) {
            report(observer, &PipelineProgress::Items { done: number, total: slices.len() })?;
            let mut own = self.given(&graded, slice, number)?;
            for (origin, labels) in segmenters.segment(slice, self.seed ^ number as u64)? {
                let candidate = Candidate::new(number, origin, &labels, &slice.truth.view(), &graded);
                own.extend(candidate.map_err(PipelineError::of_slice(slice))?);
            }
            given.push((number, own));
        }
        let corrupted = given
            .par_iter()
            .map(|(number, own)| {
                let (number, slice) = (*number, &slices[*number]);
                // Another patient's slice, by a stride that visits all of them in turn.
                let other = holders
                    .iter()
                    .cycle()
                    .skip((number * 7919) % holders.len().max(1))
                    .take(holders.len())
                    .find(|&&k| slices[k].patient != slice.patient)
                    .map_or(slice, |&k| &slices[k]);
                let own: Vec<&Candidate> = own.iter().collect();
                corruptions(slice, number, &own, other, &graded, self.corruptions, self.seed)
                    .map_err(PipelineError::of_slice(slice))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let all = given
            .into_iter()
            .zip(corrupted)
            .flat_map(|((_, own), corrupted)| own.into_iter().chain(corrupted));
        let all = all.collect();
        report(observer, &PipelineProgress::Items { done: slices.len(), total: slices.len() })?;
        Ok(all)
    }

    /// What networks in use gave for a slice, as candidates.
    fn given(
        &self,
        graded: &[u8],
        slice: &TrueSlice,
        number: usize,
    ) -> Result<Vec<Candidate>, PipelineError> {
        let mut candidates = Vec::new();
        for (network, labels) in slice.given.iter().enumerate() {
            let origin = Origin::Given(network);
            let candidate = Candidate::new(number, origin, labels, &slice.truth.view(), graded);
            candidates.extend(candidate.map_err(PipelineError::of_slice(slice))?);
        }
        Ok(candidates)
    }

    /// Trains REC-Net on a device, on slices framed by their truth.
    ///
    /// # Errors
    /// Slices that are refused, and a training that fails.
    pub fn reconstruction(
        &self,
        config: &EstimatorConfig,
        slices: &[TrueSlice],
        cache: &StepCache,
        device: &Device,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<ParameterSet, PipelineError> {
        self.validate()?;
        let mut samples = Samples::new();
        for slice in slices {
            let (image, truth) = (slice.image.view(), slice.truth.view());
            if truth.iter().any(|label| config.framing.labels.contains(label)) {
                let sample =
                    Sample::new(&config.framing, &config.classes, &slice.patient, &image, &truth, &truth);
                samples.extend(sample.map_err(PipelineError::of_slice(slice))?);
            }
        }
        let train = self.train_config(samples.len(), self.reconstruction_steps, self.batch, 100);
        let augmentation = SampleAugmentation::default();
        let engines = ReconstructionObjective::engines(config, train.seed, device)?;
        let objective =
            ReconstructionObjective::new(config, train.clone(), augmentation, samples, Samples::new());
        let parameters = cache.train("reconstruction", objective, engines, train, &[], observer)?;
        Ok(parameters.into_iter().next().unwrap_or_default())
    }

    /// Trains an estimator on a device, on training and validation samples; `pretrained` are the parameters of what it builds upon: of REC-Net for [`Method::RecReg`], of
    /// [`Method::ShapeOnly`] for [`Method::SecondOpinion`]. Others build upon nothing.
    ///
    /// Returns its parameters, those of the pretrained among them where it has one, and what it was trained on.
    ///
    /// # Errors
    /// Samples that do not fit the configuration, and a training that fails.
    pub fn estimator(
        &self,
        config: &EstimatorConfig,
        pretrained: &ParameterSet,
        samples: [&Samples; 2],
        cache: &StepCache,
        device: &Device,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<(ParameterSet, String), PipelineError> {
        self.validate()?;
        // Views are of what is asked, not of what is learned.
        let config = &config.clone().views(1);
        let task = EstimatorTask { config, pretrained, samples, cache, device };
        let (mut parameters, fingerprint) = if config.method == Method::SecondOpinion {
            self.second_opinion(&task, observer)?
        } else {
            let train = self.train_config(samples[0].len(), self.estimator_steps, self.batch, 200);
            let initial = config.initial_parameters(train.seed)?;
            task.train::<1>(config.method.name(), EstimatorTraining::new(train), &initial, None, observer)?
        };
        if networks(config)?.pretrained.is_some() {
            parameters.extend(pretrained.clone());
        }
        Ok((parameters, fingerprint))
    }

    fn second_opinion(
        &self,
        task: &EstimatorTask<'_>,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<(ParameterSet, String), PipelineError> {
        let options = |steps: usize, seed: u64, adversarial: &AdversarialTraining| {
            // An adversarial update learns from each sample several times: smaller batches give more updates in the same time.
            let mut train = self.train_config(task.samples[0].len(), steps, self.batch.div_ceil(2), seed);
            // Attacks change with the network: its parameters wander, and their mean is better than any of them.
            train.averaging = Some((steps as f64 / 20.0).clamp(8.0, 1000.0));
            // It must be right about pixels, of patients that differ more than the few that teach.
            let augmentation = SampleAugmentation::default().warped(20.0, 0.2).varied(3.0, 0.2, 0.6);
            EstimatorTraining::new(train).adversarial(adversarial.clone()).augmentation(augmentation)
        };
        let long = options(self.opinion_steps, 200, &self.adversarial);
        let mut last = options(self.finishing_steps, 300, &self.finishing);
        last.train.adam.rate /= 2.0;
        let name = task.config.method.name();
        let initial = task.config.initial_parameters(long.train.seed)?;
        let (parameters, fingerprint) = task.train::<2>(name, long, &initial, None, observer)?;
        if self.finishing_steps == 0 {
            return Ok((parameters, fingerprint));
        }
        task.train::<2>(&format!("{name}-finish"), last, &parameters, Some(&fingerprint), observer)
    }

    /// Chooses candidates evenly over their Dice and frames them as samples.
    ///
    /// # Errors
    /// Slices that are refused.
    pub fn samples(
        &self,
        framing: &Framing,
        classes: &[u8],
        slices: &[TrueSlice],
        candidates: &[Candidate],
        per_bin: usize,
    ) -> Result<Samples, PipelineError> {
        let own =
            |candidate: &Candidate| slices.get(candidate.slice).map_or("", |slice| slice.patient.as_str());
        let dice: Vec<f64> = candidates.iter().map(Candidate::mean_dice).collect();
        let corrupted: Vec<bool> = candidates
            .iter()
            .map(|candidate| !matches!(candidate.origin, Origin::Segmenter { .. } | Origin::Given(_)))
            .collect();
        let patients: Vec<&str> = candidates.iter().map(own).collect();
        let chosen = UniformPool::new(per_bin).seed(self.seed).choose(&dice, &corrupted, &patients)?;
        let mut samples = Samples::new();
        for candidate in chosen.into_iter().filter_map(|position| candidates.get(position)) {
            let Some(slice) = slices.get(candidate.slice) else { continue };
            let labels = candidate.labels();
            let (image, truth) = (slice.image.view(), slice.truth.view());
            samples.extend(
                Sample::new(framing, classes, &slice.patient, &image, &labels.view(), &truth)
                    .map_err(PipelineError::of_slice(slice))?,
            );
        }
        if samples.is_empty() {
            let what = format!("no candidate holds one of the labels {:?}", framing.labels);
            return Err(PipelineError::Nothing { what });
        }
        Ok(samples)
    }
}

/// What an estimator learns from, and where its trainings are kept.
struct EstimatorTask<'a> {
    config: &'a EstimatorConfig,
    pretrained: &'a ParameterSet,
    /// Training and validation.
    samples: [&'a Samples; 2],
    cache: &'a StepCache,
    device: &'a Device,
}

impl EstimatorTask<'_> {
    /// Trains the `N` networks of the method from these parameters; `origin` tells how they were learned, if they were.
    /// Returns what was found, and how that was learned.
    fn train<const N: usize>(
        &self,
        name: &str,
        options: EstimatorTraining,
        start: &ParameterSet,
        origin: Option<&str>,
        observer: &mut PipelineObserver<'_>,
    ) -> Result<(ParameterSet, String), PipelineError> {
        let train = options.train.clone();
        let engines = EstimatorObjective::engines::<N>(self.config, start, self.device)?;
        let [training, validation] = self.samples.map(Clone::clone);
        let (config, pretrained) = (self.config.clone(), self.pretrained);
        let objective =
            EstimatorObjective::new(config, options, pretrained, training, validation, self.device)?;
        let objective = objective.after(origin);
        let fingerprint = Objective::<N>::fingerprint(&objective);
        let trained = self.cache.train(name, objective, engines, train, &[], observer)?;
        Ok((trained.into_iter().next().unwrap_or_default(), fingerprint))
    }
}
