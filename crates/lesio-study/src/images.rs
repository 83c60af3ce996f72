//! Evaluation of whole images: does the score of a map separate abnormal from normal images?

use std::collections::BTreeMap;

use lesio_metrics::{BootstrapConfig, MetricError, PatientPixels, Replicates};
use lesio_settings::named;
use ndarray::{Array3, ArrayView2, ArrayView3, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::kept::{Bits, pairs};
use crate::maps::Scene;
use crate::names::{Names, Order};

/// How the score of an image is computed from its map. Only the foreground counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageRule {
    /// The highest score, on which family-wise p-values and thresholds are based.
    Maximum,
    /// The mean of the highest half percent of the scores, at least one: a single pixel has little influence.
    TopShare,
}

named!(ImageRule, "rule for the score of an image", {
    "maximum" => Self::Maximum,
    "top .5 %" => Self::TopShare,
});

/// The fraction of the foreground that [`ImageRule::TopShare`] averages: at 128x128 pixels, the 82 highest.
const TOP_SHARE: f64 = 0.005;

impl ImageRule {
    /// The score of scores, in any order; `None` without scores.
    ///
    /// ```
    /// use lesio_study::ImageRule;
    ///
    /// let mut scores: Vec<f32> = (0..400).map(|k| k as f32).collect();
    /// assert_eq!(ImageRule::Maximum.score(&mut scores), Some(399.0));
    /// assert_eq!(ImageRule::TopShare.score(&mut scores), Some(398.5));
    /// assert_eq!(ImageRule::TopShare.score(&mut []), None);
    /// ```
    #[must_use]
    pub fn score(self, scores: &mut [f32]) -> Option<f32> {
        if scores.is_empty() {
            return None;
        }
        let count = match self {
            Self::Maximum => 1,
            Self::TopShare => ((scores.len() as f64 * TOP_SHARE).round() as usize).max(1),
        };
        scores.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        let sum: f64 = scores[..count].iter().map(|&score| f64::from(score)).sum();
        Some((sum / count as f64) as f32)
    }
}

/// The unit that counts as one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageLevel {
    /// A case: a volume or a picture.
    Cases,
    /// A slice of a volume.
    Slices,
}

named!(ImageLevel, "unit of an image", { "cases" => Self::Cases, "slices" => Self::Slices });

/// How well predictors separate abnormal from normal images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageFigures {
    /// The unit that counts as one image.
    pub level: ImageLevel,
    /// Images without an abnormal pixel.
    pub normal: usize,
    /// Images with one.
    pub abnormal: usize,
    /// Each predictor by each rule.
    pub predictors: Vec<ImageFigure>,
}

/// One predictor by one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageFigure {
    /// Its name.
    pub predictor: String,
    /// The rule for the score of an image.
    pub rule: ImageRule,
    /// Area under the ROC curve of images.
    pub auroc: f64,
    /// Its 95 % interval over patients, if there are at least two.
    pub auroc_interval: Option<[f64; 2]>,
    /// Average precision of images.
    pub average_precision: f64,
    /// Its 95 % interval over patients, if there are at least two.
    pub average_precision_interval: Option<[f64; 2]>,
}

/// The name of a baseline in the [`ImageFigures`] of slices, which uses only the position in the volume: slices nearer
/// to the middle score higher. Lesions are rare in the first and last slices, so a predictor must beat this baseline.
pub const SLICE_POSITION: &str = "slice-position";

/// Collects post-processed scores of whole images.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ImageEvaluation {
    order: Order,
    #[serde(with = "pairs")]
    levels: BTreeMap<ImageLevel, Images>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Images {
    /// Normal ones, and abnormal ones.
    counts: [usize; 2],
    #[serde(with = "pairs")]
    scores: BTreeMap<(String, ImageRule), Vec<ScoredImages>>,
}

/// Images of a patient: their scores, and whether they are abnormal.
#[derive(Debug, Serialize, Deserialize)]
struct ScoredImages {
    patient: String,
    images: Vec<(Bits, bool)>,
}

impl ImageEvaluation {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a case, whose post-processed maps are then added one predictor at a time. Slices without foreground do
    /// not count as images; a case with a single slice counts as a case only.
    ///
    /// # Errors
    /// For a truth of another shape than the foreground.
    pub fn subject<'a>(
        &'a mut self,
        patient: &str,
        scene: &Scene,
        truth: &Array3<bool>,
    ) -> Result<ImagesOfSubject<'a>, StudyError> {
        scene.check("truth", truth)?;
        let axis = Axis(scene.axis);
        let within = scene.foreground.clone();
        let any = |mask: ArrayView2<'_, bool>| mask.iter().any(|&inside| inside);
        let count = truth.len_of(axis);
        let slices: Vec<(usize, bool)> = (0..count)
            .filter(|&k| any(within.index_axis(axis, k)))
            .map(|k| (k, any(truth.index_axis(axis, k))))
            .collect();
        let is_abnormal = truth.iter().any(|&inside| inside);
        let mut subject = ImagesOfSubject {
            evaluation: self,
            patient: patient.to_owned(),
            axis,
            within,
            is_abnormal,
            slices,
            has_slices: count > 1,
            names: Names::default(),
        };
        subject.begin(count)?;
        Ok(subject)
    }

    /// Appends the scores of another builder, as if its cases were added here.
    pub fn absorb(&mut self, other: Self) {
        self.order.absorb(&other.order);
        for (level, images) in other.levels {
            let own = self.levels.entry(level).or_default();
            own.counts.iter_mut().zip(images.counts).for_each(|(own, count)| *own += count);
            for (key, mut scores) in images.scores {
                own.scores.entry(key).or_default().append(&mut scores);
            }
        }
    }

    /// Computes the figures by level. A level whose images are all normal or all abnormal is left out.
    ///
    /// # Errors
    /// Those of [`BootstrapConfig::validate`].
    pub fn finish(self, bootstrap: &BootstrapConfig) -> Result<Vec<ImageFigures>, StudyError> {
        bootstrap.validate()?;
        let mut found = Vec::new();
        for (level, mut images) in self.levels {
            let [normal, abnormal] = images.counts;
            if normal == 0 || abnormal == 0 {
                continue;
            }
            let mut predictors = Vec::new();
            for name in self.order.names() {
                for rule in ImageRule::ALL {
                    if let Some(scores) = images.scores.remove(&(name.to_owned(), rule)) {
                        predictors.push(figure(name, rule, scores, bootstrap)?);
                    }
                }
            }
            found.push(ImageFigures { level, normal, abnormal, predictors });
        }
        Ok(found)
    }

    fn add(
        &mut self,
        level: ImageLevel,
        patient: &str,
        name: &str,
        rule: ImageRule,
        images: &[(f32, bool)],
    ) -> Result<(), StudyError> {
        self.order.note(name);
        let is_bad = |&(score, _): &(f32, bool)| score.is_nan();
        if let Some(first) = images.iter().position(is_bad) {
            let count = images.iter().copied().filter(is_bad).count();
            return Err(MetricError::NotANumber { what: "scores", count, first }.into());
        }
        let scores = &mut self.levels.entry(level).or_default().scores;
        let images = images.iter().map(|&(score, is_abnormal)| (score.into(), is_abnormal)).collect();
        let of_patient = ScoredImages { patient: patient.to_owned(), images };
        scores.entry((name.to_owned(), rule)).or_default().push(of_patient);
        Ok(())
    }
}

/// A case that is being added to an [`ImageEvaluation`].
#[derive(Debug)]
pub struct ImagesOfSubject<'a> {
    evaluation: &'a mut ImageEvaluation,
    patient: String,
    axis: Axis,
    within: Array3<bool>,
    is_abnormal: bool,
    /// Those with foreground, and whether they are abnormal.
    slices: Vec<(usize, bool)>,
    has_slices: bool,
    names: Names,
}

impl ImagesOfSubject<'_> {
    /// Adds the post-processed map of a predictor.
    ///
    /// # Errors
    /// For a map of another shape than the foreground, for a name that was added before, and for NaN scores.
    pub fn add(&mut self, name: &str, map: &Array3<f32>) -> Result<(), StudyError> {
        if map.dim() != self.within.dim() {
            let (found, expected) = (map.shape().to_vec(), self.within.shape().to_vec());
            return Err(StudyError::Shape { what: "a map".to_owned(), found, expected });
        }
        self.names.add("map", name)?;
        let mut whole = inside(map.view(), self.within.view());
        for rule in ImageRule::ALL {
            if let Some(score) = rule.score(&mut whole) {
                let image = [(score, self.is_abnormal)];
                self.evaluation.add(ImageLevel::Cases, &self.patient, name, rule, &image)?;
            }
        }
        if !self.has_slices {
            return Ok(());
        }
        let mut found: [Vec<(f32, bool)>; ImageRule::ALL.len()] = Default::default();
        for &(k, is_abnormal) in &self.slices {
            let one = ndarray::Slice::from(k..k + 1);
            let mut scores = inside(map.slice_axis(self.axis, one), self.within.slice_axis(self.axis, one));
            for (rule, found) in ImageRule::ALL.into_iter().zip(&mut found) {
                found.extend(rule.score(&mut scores).map(|score| (score, is_abnormal)));
            }
        }
        for (rule, images) in ImageRule::ALL.into_iter().zip(&found) {
            self.evaluation.add(ImageLevel::Slices, &self.patient, name, rule, images)?;
        }
        Ok(())
    }

    /// Counts the images, and adds the baseline of slice positions.
    fn begin(&mut self, slices: usize) -> Result<(), StudyError> {
        if self.slices.is_empty() {
            return Ok(());
        }
        let images = self.evaluation.levels.entry(ImageLevel::Cases).or_default();
        images.counts[usize::from(self.is_abnormal)] += 1;
        if !self.has_slices {
            return Ok(());
        }
        let images = self.evaluation.levels.entry(ImageLevel::Slices).or_default();
        self.slices.iter().for_each(|&(_, is_abnormal)| images.counts[usize::from(is_abnormal)] += 1);
        let middle = (slices as f32 - 1.0) / 2.0;
        let places: Vec<(f32, bool)> = self
            .slices
            .iter()
            .map(|&(k, is_abnormal)| (1.0 - (k as f32 - middle).abs() / middle, is_abnormal))
            .collect();
        self.evaluation.add(ImageLevel::Slices, &self.patient, SLICE_POSITION, ImageRule::Maximum, &places)
    }
}

fn inside(map: ArrayView3<'_, f32>, within: ArrayView3<'_, bool>) -> Vec<f32> {
    let mut scores = Vec::with_capacity(map.len());
    Zip::from(map).and(within).for_each(|&score, &inside| {
        if inside {
            scores.push(score);
        }
    });
    scores
}

fn figure(
    name: &str,
    rule: ImageRule,
    scores: Vec<ScoredImages>,
    bootstrap: &BootstrapConfig,
) -> Result<ImageFigure, MetricError> {
    let mut pixels = PatientPixels::new();
    for ScoredImages { patient, images } in scores {
        pixels.update_pixels(
            &patient,
            images.into_iter().map(|(score, is_abnormal)| (score.into(), is_abnormal)),
        )?;
    }
    let ranked = pixels.rank()?;
    let mut figure = ImageFigure {
        predictor: name.to_owned(),
        rule,
        auroc: ranked.pooled().auroc(),
        auroc_interval: None,
        average_precision: ranked.pooled().average_precision(),
        average_precision_interval: None,
    };
    if ranked.patients().len() >= 2 {
        let replicates = ranked.bootstrap(bootstrap)?;
        let interval = |found: &Replicates| found.interval().ok().map(|found| [found.lower, found.upper]);
        figure.auroc_interval = interval(&replicates.auroc);
        figure.average_precision_interval = interval(&replicates.average_precision);
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::Resolution;

    use super::*;

    fn scene(shape: (usize, usize, usize)) -> Scene {
        Scene {
            reconstruction: Array3::zeros((0, 0, 0)),
            foreground: Array3::from_shape_fn(shape, |(i, ..)| i > 0),
            axis: 2,
            resolution: Resolution::Image([1.0; 2]),
            footprint: None,
        }
    }

    #[test]
    fn pictures_are_cases_and_slices_of_volumes_are_images_too() {
        let mut images = ImageEvaluation::new();
        // Outside the foreground there is a high score, which counts for nothing.
        let map = |peak: f32, at: usize, shape| {
            Array3::from_shape_fn(shape, |(i, j, k)| match (i, j, k) {
                (0, ..) => 100.0,
                (1, 1, found) if found == at => peak,
                _ => 0.1,
            })
        };
        let picture = (4, 4, 1);
        for (patient, peak, is_abnormal) in
            [("a", 3.0, true), ("b", 2.0, false), ("c", 1.0, true), ("d", 0.5, false)]
        {
            let truth = Array3::from_shape_fn(picture, |(i, j, _)| is_abnormal && (i, j) == (1, 1));
            let scene = scene(picture);
            images.subject(patient, &scene, &truth).unwrap().add("marks", &map(peak, 0, picture)).unwrap();
        }
        let bootstrap = BootstrapConfig::new(1).replicates(50);
        let found = images.finish(&bootstrap).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].level, found[0].normal, found[0].abnormal), (ImageLevel::Cases, 2, 2));
        // 3 > 2, 3 > .5, 1 < 2, 1 > .5.
        assert!(found[0].predictors.iter().all(|figure| figure.auroc == 0.75));
        assert_eq!(found[0].predictors.len(), 2);
        assert!(found[0].predictors[0].auroc_interval.is_some());

        let mut images = ImageEvaluation::new();
        let volume = (4, 4, 5);
        let truth = Array3::from_shape_fn(volume, |(i, j, k)| (i, j, k) == (1, 1, 2));
        let mut scene = scene(volume);
        scene.foreground.index_axis_mut(Axis(2), 0).fill(false);
        let mut subject = images.subject("a", &scene, &truth).unwrap();
        subject.add("marks", &map(3.0, 2, volume)).unwrap();
        assert!(matches!(subject.add("marks", &map(3.0, 2, volume)), Err(StudyError::Repeated { .. })));
        assert!(matches!(subject.add("other", &map(3.0, 2, picture)), Err(StudyError::Shape { .. })));
        // Every case is abnormal: only slices have figures.
        let found = images.finish(&bootstrap).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].level, found[0].normal, found[0].abnormal), (ImageLevel::Slices, 3, 1));
        let names: Vec<&str> = found[0].predictors.iter().map(|figure| figure.predictor.as_str()).collect();
        assert_eq!(names, [SLICE_POSITION, "marks", "marks"]);
        assert!(found[0].predictors.iter().all(|figure| figure.auroc == 1.0));
        assert!(found[0].predictors.iter().all(|figure| figure.auroc_interval.is_none()));
    }

    #[test]
    fn a_case_without_foreground_is_no_image() {
        let mut images = ImageEvaluation::new();
        let shape = (3, 3, 2);
        let mut empty = scene(shape);
        empty.foreground.fill(false);
        let truth = Array3::from_elem(shape, false);
        images.subject("a", &empty, &truth).unwrap().add("marks", &Array3::zeros(shape)).unwrap();
        assert!(images.finish(&BootstrapConfig::new(0)).unwrap().is_empty());
    }
}
