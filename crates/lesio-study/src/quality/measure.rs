//! Estimates of every model under every change of the images.

use std::path::{Path, PathBuf};

use lesio_metrics::BootstrapConfig;
use lesio_quality::{Attack, AttackKind, AttackUnit, Method, NaturalShift, QualityModel, Samples, Scored};
use lesio_report::{Existing, write_json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::quality::config::QualityStudyConfig;
use crate::quality::error::QualityStudyError;
use crate::quality::progress::{QualityObserver, QualityProgress, report};
use crate::quality::schema::{Perturbation, QualityReport, document_name};

/// Methods whose attacked images are also given to the second opinion.
const SURROGATES: [Method; 2] = [Method::Direct, Method::RecReg];
/// Estimates of one method under one change of the images.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) method: Method,
    pub(super) perturbation: Perturbation,
    pub(super) strength: f32,
    pub(super) unit: AttackUnit,
    /// `[n, labels]`.
    pub(super) dice: Vec<f32>,
}

/// Estimates kept between sessions.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    dice: Vec<f32>,
}

/// A study that was made.
#[derive(Debug)]
pub struct QualityStudy {
    pub(super) config: QualityStudyConfig,
    pub(super) samples: Samples,
    pub(super) models: Vec<(Method, QualityModel)>,
    folder: PathBuf,
    pub(super) runs: Vec<Run>,
    /// Images that attacks on a surrogate have changed, by its method and the strength in deviations.
    perturbed: Vec<(Method, f32, Vec<f32>)>,
    pub(super) report: QualityReport,
}

impl QualityStudy {
    /// The record of the study, without a provenance.
    #[must_use]
    pub fn report(&self) -> &QualityReport {
        &self.report
    }

    /// The test candidates.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The model of a method.
    #[must_use]
    pub fn model(&self, method: Method) -> Option<&QualityModel> {
        self.models.iter().find(|(own, _)| *own == method).map(|(_, model)| model)
    }

    /// The estimates of a method on clean images.
    pub(super) fn clean(&self, method: Method) -> Option<&Run> {
        self.runs.iter().find(|run| run.method == method && run.perturbation == Perturbation::None)
    }

    pub(super) fn new(
        config: QualityStudyConfig,
        samples: Samples,
        models: Vec<(Method, QualityModel)>,
        folder: &Path,
    ) -> Self {
        let (runs, perturbed, report) = (Vec::new(), Vec::new(), QualityReport::default());
        Self { config, samples, models, folder: folder.to_owned(), runs, perturbed, report }
    }

    /// Measures every model under every change of the images.
    pub(super) fn measure_all(
        &mut self,
        observer: &mut QualityObserver<'_>,
    ) -> Result<(), QualityStudyError> {
        for model in 0..self.models.len() {
            self.attack(model, observer)?;
            self.shift(model)?;
        }
        Ok(())
    }

    /// Estimates clean images and those that attacks on this very estimator have changed.
    fn attack(&mut self, model: usize, observer: &mut QualityObserver<'_>) -> Result<(), QualityStudyError> {
        self.measure(model, Perturbation::None, 0.0, AttackUnit::Std, |_, _| Ok(None))?;
        let method = self.models[model].0;
        let (seed, steps) = (self.config.seed, self.config.pgd_steps);
        let attacks =
            [(Perturbation::Fgsm, AttackKind::Fgsm), (Perturbation::Pgd, AttackKind::Pgd { steps })];
        for unit in [AttackUnit::Std, AttackUnit::Range] {
            // A twentieth of the range is several tenths of a deviation: one step of it already misleads an estimator that
            // ten steps of .3 do not, and more of them tell nothing more.
            let attacks = if unit == AttackUnit::Std { &attacks[..] } else { &attacks[..1] };
            for strength in self.config.strengths.clone() {
                for &(perturbation, kind) in attacks {
                    // Nothing can be done to an estimator that does not read the image: its clean estimates stand.
                    if method == Method::ShapeOnly {
                        self.measure(model, perturbation, strength, unit, |_, _| Ok(None))?;
                        continue;
                    }
                    let attack = Attack::new(kind, strength, unit).seed(seed);
                    let what = format!("{method} {} {strength} {unit:?}", perturbation.name());
                    let mut made = None;
                    self.measure(model, perturbation, strength, unit, |model, samples| {
                        report(observer, &QualityProgress::Begin { what: &what, total: samples.len() })?;
                        let mut stopped = Ok(());
                        let images = attack.perturb(model.estimator(), samples, |parts| {
                            let told = report(observer, &QualityProgress::Advance { parts });
                            if stopped.is_ok() {
                                stopped = told;
                            }
                        })?;
                        stopped?;
                        report(observer, &QualityProgress::End)?;
                        made = Some(images.clone());
                        Ok(Some(images))
                    })?;
                    if perturbation == Perturbation::Pgd && SURROGATES.contains(&method) {
                        self.perturbed.extend(made.map(|images| (method, strength, images)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Estimates images under natural changes.
    fn shift(&mut self, model: usize) -> Result<(), QualityStudyError> {
        let seed = self.config.seed;
        for shift in NaturalShift::ALL {
            for strength in self.config.strengths.clone() {
                let perturbation = Perturbation::Shift(shift);
                self.measure(model, perturbation, strength, AttackUnit::Std, |model, samples| {
                    let grid = model.config().framing.grid;
                    let mut images = Vec::new();
                    for (number, sample) in samples.iter().enumerate() {
                        images.extend(shift.apply(&sample.image, grid, strength, seed ^ number as u64)?);
                    }
                    Ok(Some(images))
                })?;
            }
        }
        Ok(())
    }

    /// Images that attacks on other estimators have changed, given to the second opinion: were its gradients hidden instead
    /// of small, these would do it more harm than its own.
    pub(super) fn transfer(&self) -> Result<Vec<Value>, QualityStudyError> {
        let mut rows = Vec::new();
        let Some(best) = self.model(Method::SecondOpinion) else { return Ok(rows) };
        for surrogate in SURROGATES {
            let Some(model) = self.model(surrogate) else { continue };
            for &strength in &self.config.strengths {
                let (of_best, of_model) = (&best.provenance().training, &model.provenance().training);
                let key = format!("{of_best} by {of_model} {} {}", self.key(), self.config.pgd_steps);
                let name = format!("transfer-{}-{strength}", file_name(document_name::of(surrogate)));
                let dice = self.kept(&name, &key, || {
                    let is_this = |made: &&(Method, f32, Vec<f32>)| (made.0, made.1) == (surrogate, strength);
                    let images = match self.perturbed.iter().find(is_this) {
                        Some((_, _, images)) => images.clone(),
                        None => {
                            let kind = AttackKind::Pgd { steps: self.config.pgd_steps };
                            let attack = Attack::new(kind, strength, AttackUnit::Std).seed(self.config.seed);
                            attack.perturb(model.estimator(), &self.samples, |_| {})?
                        }
                    };
                    Ok(best.estimator().estimate_samples(&self.samples, Some(&images))?.dice)
                })?;
                let scores = Scored::of_mean(&self.samples, &dice).evaluate(&self.bootstrap())?;
                rows.push(json!({
                    "estimator": document_name::of(Method::SecondOpinion),
                    "surrogate": document_name::of(surrogate),
                    "attack": Perturbation::Pgd,
                    "epsilon": rounded(strength),
                    "unit": AttackUnit::Std,
                    "mae": scores.regression.mean_absolute_error,
                }));
            }
        }
        Ok(rows)
    }

    /// Estimates the test candidates with changed images, or takes up what an earlier session estimated.
    fn measure(
        &mut self,
        model: usize,
        perturbation: Perturbation,
        strength: f32,
        unit: AttackUnit,
        change: impl FnOnce(&QualityModel, &Samples) -> Result<Option<Vec<f32>>, QualityStudyError>,
    ) -> Result<(), QualityStudyError> {
        let (method, model) = &self.models[model];
        let (method_name, unit_name) =
            (file_name(document_name::of(*method)), format!("{unit:?}").to_lowercase());
        let name =
            format!("estimates-{method_name}-{}-{strength}-{unit_name}", file_name(perturbation.name()));
        let key = format!("{} {} {}", model.provenance().training, self.key(), self.config.pgd_steps);
        let dice = self.kept(&name, &key, || {
            let images = change(model, &self.samples)?;
            Ok(model.estimator().estimate_samples(&self.samples, images.as_deref())?.dice)
        })?;
        self.runs.push(Run { method: *method, perturbation, strength, unit, dice });
        Ok(())
    }

    /// What was computed in an earlier session from the same model and samples, or else is now.
    pub(super) fn kept(
        &self,
        name: &str,
        key: &str,
        compute: impl FnOnce() -> Result<Vec<f32>, QualityStudyError>,
    ) -> Result<Vec<f32>, QualityStudyError> {
        let path = self.folder.join(format!("{name}.json"));
        let found = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(kept) = found.filter(|kept| kept.key == key) {
            return Ok(kept.dice);
        }
        let kept = Kept { key: key.to_owned(), dice: compute()? };
        write_json(&path, &kept, Existing::Replace)?;
        Ok(kept.dice)
    }

    pub(super) fn key(&self) -> String {
        format!("{:08x} {}", self.samples.checksum(), self.config.seed)
    }

    pub(super) fn bootstrap(&self) -> BootstrapConfig {
        BootstrapConfig::new(self.config.seed)
    }
}

/// A strength as reports have it, without the rounding of single precision.
pub(super) fn rounded(strength: f32) -> f64 {
    (f64::from(strength) * 1e6).round() / 1e6
}

/// A name as a part of the name of a file.
fn file_name(name: &str) -> String {
    name.replace('-', "")
}
