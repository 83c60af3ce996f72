//! What a model of quality says of segmentations by networks in use, beside the truth.

use std::collections::BTreeMap;

use lesio_image::Volume;
use lesio_io::dataset::Case;
use lesio_io::spreadsheet::CommaTable;
use lesio_metrics::{BootstrapConfig, WhenEmpty, dice_per_label};
use lesio_quality::{Assessment, GradeCalibration, QualityModel, SLICE_AXIS, Scored, SliceVerdict};
use ndarray::Axis;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::quality::error::QualityStudyError;
use crate::quality::networks::{NetworkFolder, segmentations};
use crate::quality::progress::{QualityObserver, QualityProgress, report};

/// What is graded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradeLevel {
    /// A slice.
    Slices,
    /// A volume.
    Volumes,
}

/// The levels in the order of a report.
pub(super) const LEVELS: [GradeLevel; 2] = [GradeLevel::Slices, GradeLevel::Volumes];

impl GradeLevel {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Slices => "slices",
            Self::Volumes => "volumes",
        }
    }
}

/// One grade, beside the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GradeBesideTruth {
    /// The network that segmented.
    pub network: String,
    /// The case.
    pub case: String,
    /// Its patient.
    pub patient: String,
    /// The slice, counted from 0; `None` for the whole volume.
    pub slice: Option<usize>,
    /// The label.
    pub label: u8,
    /// The true Dice; 1 where neither segmentation nor truth holds the label.
    pub dice: f64,
    /// The estimated Dice.
    pub estimate: f64,
    /// The interval of the estimate.
    pub interval: [f64; 2],
    /// Whether the image is unlike those of the training: the model abstains. Of a volume: half of its graded slices or more.
    pub abstained: bool,
}

impl GradeBesideTruth {
    /// Whether it is of a slice or of a volume.
    #[must_use]
    pub fn level(&self) -> GradeLevel {
        if self.slice.is_some() { GradeLevel::Slices } else { GradeLevel::Volumes }
    }
}

/// Grades of segmentations by networks, beside the truth.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PredictionGrades {
    /// Grades, in order of cases, networks, slices (the volume last) and labels.
    pub grades: Vec<GradeBesideTruth>,
    /// Slices in which a network segmented nothing although the truth holds a graded label: nothing can be graded there.
    pub ungraded_slices: usize,
    /// Volumes of which a network has no file.
    pub absent: usize,
}

impl PredictionGrades {
    /// Grades what networks gave for cases, and measures it.
    ///
    /// # Errors
    /// Cases without labels, files that cannot be read or are of another place than their image, networks that segmented none of
    /// these cases, and a stop by the observer.
    pub fn measure(
        model: &QualityModel,
        cases: &[Case],
        networks: &[NetworkFolder],
        observer: &mut QualityObserver<'_>,
    ) -> Result<Self, QualityStudyError> {
        for network in networks {
            network.require(cases)?;
        }
        let mut found = Self::default();
        report(observer, &QualityProgress::Begin { what: "grading", total: cases.len() })?;
        for case in cases {
            let (image, truth) = case.read_volume()?;
            let without = || QualityStudyError::Data { what: format!("case {} has no labels", case.id()) };
            let truth = truth.ok_or_else(without)?;
            let given = segmentations(networks, case, &image)?;
            found.absent += networks.len() - given.len();
            let graded = given
                .par_iter()
                .map(|(network, segmentation)| {
                    let assessment = model.assess(&image, segmentation)?;
                    let compared =
                        Compared { case, network: &networks[*network].name, segmentation, truth: &truth };
                    compared.grades(model, &assessment)
                })
                .collect::<Result<Vec<_>, QualityStudyError>>()?;
            for (grades, ungraded) in graded {
                found.grades.extend(grades);
                found.ungraded_slices += ungraded;
            }
            report(observer, &QualityProgress::Advance { parts: 1 })?;
        }
        report(observer, &QualityProgress::End)?;
        Ok(found)
    }

    /// Corrections and intervals fitted on these grades, which no calibration may have corrected yet, of slices and of volumes, one
    /// for each of these labels; those by `left_out` do not count.
    ///
    /// # Errors
    /// A label without a grade.
    pub fn calibrations(
        &self,
        labels: &[u8],
        left_out: Option<&str>,
    ) -> Result<[Vec<GradeCalibration>; 2], QualityStudyError> {
        let mut found = [Vec::new(), Vec::new()];
        for (level, found) in LEVELS.into_iter().zip(&mut found) {
            for &label in labels {
                let is_own = |grade: &&GradeBesideTruth| {
                    grade.level() == level && grade.label == label && Some(grade.network.as_str()) != left_out
                };
                let scored = scored(self.grades.iter().filter(is_own));
                let coverage = QualityModel::COVERAGE;
                found.push(GradeCalibration::fit(
                    &scored.patients,
                    &scored.predicted,
                    &scored.truth,
                    coverage,
                )?);
            }
        }
        Ok(found)
    }

    /// These grades, corrected and with intervals that are fitted on others, for each network on those of all other networks: how far
    /// a calibration holds for a network that nobody has seen yet. No calibration may have corrected either yet.
    ///
    /// # Errors
    /// A label without a grade, as where there is but one network.
    pub fn leaving_networks_out(
        mut self,
        calibration: &Self,
        labels: &[u8],
    ) -> Result<Self, QualityStudyError> {
        let mut fitted: BTreeMap<String, [Vec<GradeCalibration>; 2]> = BTreeMap::new();
        for grade in &mut self.grades {
            let own = match fitted.entry(grade.network.clone()) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    let intervals = calibration.calibrations(labels, Some(&grade.network))?;
                    free.insert(intervals)
                }
            };
            let level = usize::from(grade.slice.is_none());
            let place = labels.iter().position(|&label| label == grade.label);
            if let Some(calibration) = place.and_then(|place| own[level].get(place)) {
                (grade.estimate, grade.interval) = calibration.apply(grade.estimate);
            }
        }
        Ok(self)
    }

    /// The figures of each network, and of all together under the name [`ALL_NETWORKS`], by level and label.
    ///
    /// # Errors
    /// As [`BootstrapConfig::validate`].
    pub fn figures(&self, bootstrap: &BootstrapConfig) -> Result<Vec<NetworkFigures>, QualityStudyError> {
        let mut groups: BTreeMap<(GradeLevel, u8, Option<&str>), Vec<&GradeBesideTruth>> = BTreeMap::new();
        for grade in &self.grades {
            for network in [None, Some(grade.network.as_str())] {
                groups.entry((grade.level(), grade.label, network)).or_default().push(grade);
            }
        }
        let figures = groups.into_iter().map(|((level, label, network), grades)| {
            NetworkFigures::of(level, label, network.unwrap_or(ALL_NETWORKS), &grades, bootstrap)
        });
        figures.collect()
    }

    /// The grades as a comma-separated table; the slice of a whole volume is empty.
    #[must_use]
    pub fn to_table(&self) -> CommaTable<10> {
        let mut table = CommaTable::new([
            "network",
            "patient",
            "case",
            "slice",
            "label",
            "dice",
            "estimate",
            "lower",
            "upper",
            "abstained",
        ]);
        for grade in &self.grades {
            let [lower, upper] = grade.interval;
            table.row([
                (&grade.network).into(),
                (&grade.patient).into(),
                (&grade.case).into(),
                grade.slice.into(),
                grade.label.into(),
                grade.dice.into(),
                grade.estimate.into(),
                lower.into(),
                upper.into(),
                grade.abstained.into(),
            ]);
        }
        table
    }
}

/// The name of all networks together.
pub const ALL_NETWORKS: &str = "all";

/// How far grades are from the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NetworkFigures {
    /// What is graded at once.
    pub level: GradeLevel,
    /// The label.
    pub label: u8,
    /// The network.
    pub network: String,
    /// Number of grades.
    pub count: usize,
    /// Median true Dice.
    pub median_dice: f64,
    /// Mean absolute error of the estimate.
    pub mae: f64,
    /// Its 95 % interval over patients, where there are at least two.
    pub mae_ci95: Option<[f64; 2]>,
    /// Mean estimate less mean true Dice.
    pub bias: f64,
    /// Pearson's correlation.
    pub pearson: Option<f64>,
    /// Its 95 % interval over patients.
    pub pearson_ci95: Option<[f64; 2]>,
    /// Spearman's correlation.
    pub spearman: Option<f64>,
    /// How well estimates tell a Dice below .7 from others; `None` where all or none are.
    pub failure_auroc: Option<f64>,
    /// Share of grades whose interval holds the true Dice.
    pub coverage: f64,
    /// Mean width of the intervals.
    pub width: f64,
    /// Share of grades of which the model abstains.
    pub abstained: f64,
    /// Mean absolute error of the others.
    pub mae_of_rest: Option<f64>,
}

impl NetworkFigures {
    fn of(
        level: GradeLevel,
        label: u8,
        network: &str,
        grades: &[&GradeBesideTruth],
        bootstrap: &BootstrapConfig,
    ) -> Result<Self, QualityStudyError> {
        let all = scored(grades.iter().copied());
        let scores = all.evaluate(bootstrap)?;
        let intervals: Vec<[f64; 2]> = grades.iter().map(|grade| grade.interval).collect();
        let coverage = all.coverage(&intervals)?;
        let rest = scored(grades.iter().copied().filter(|grade| !grade.abstained));
        let mae_of_rest = match rest.truth.is_empty() {
            true => None,
            false => Some(rest.evaluate(bootstrap)?.regression.mean_absolute_error),
        };
        let mut dice = all.truth.clone();
        dice.sort_by(f64::total_cmp);
        let interval = |found: &lesio_metrics::Interval| [found.lower, found.upper];
        Ok(Self {
            level,
            label,
            network: network.to_owned(),
            count: grades.len(),
            median_dice: dice[dice.len() / 2],
            mae: scores.regression.mean_absolute_error,
            mae_ci95: scores.mae_interval.as_ref().map(interval),
            bias: scores.regression.bias,
            pearson: scores.regression.pearson,
            pearson_ci95: scores.pearson_interval.as_ref().map(interval),
            spearman: scores.regression.spearman,
            failure_auroc: scores.failure_auroc,
            coverage: coverage.coverage,
            width: coverage.mean_width,
            abstained: 1.0 - rest.truth.len() as f64 / grades.len() as f64,
            mae_of_rest,
        })
    }
}

pub(super) fn scored<'a>(grades: impl Iterator<Item = &'a GradeBesideTruth>) -> Scored {
    let (mut patients, mut truth, mut estimates) = (Vec::new(), Vec::new(), Vec::new());
    for grade in grades {
        patients.push(grade.patient.clone());
        truth.push(grade.dice);
        estimates.push(grade.estimate);
    }
    Scored::new(patients, truth, estimates)
}

/// A segmentation and the truth, on the image's grid.
struct Compared<'a> {
    case: &'a Case,
    network: &'a str,
    segmentation: &'a Volume<u8>,
    truth: &'a Volume<u8>,
}

impl Compared<'_> {
    /// The grades of slices and of the volume, and in how many slices all is missed.
    fn grades(
        &self,
        model: &QualityModel,
        assessment: &Assessment,
    ) -> Result<(Vec<GradeBesideTruth>, usize), QualityStudyError> {
        let labels = &model.config().framing.labels;
        let one = |slice, grade: &lesio_quality::Grade, dice: Option<f64>, abstained| GradeBesideTruth {
            network: self.network.to_owned(),
            case: self.case.id().to_owned(),
            patient: self.case.patient().to_owned(),
            slice,
            label: grade.label,
            dice: dice.unwrap_or(1.0),
            estimate: grade.dice,
            interval: grade.interval,
            abstained,
        };
        let (segmentation, truth) = (self.segmentation.data(), self.truth.data());
        let (mut grades, mut ungraded, mut graded, mut unlike) = (Vec::new(), 0, 0_usize, 0_usize);
        for slice in &assessment.slices {
            let own = segmentation.index_axis(Axis(SLICE_AXIS), slice.index);
            let truth = truth.index_axis(Axis(SLICE_AXIS), slice.index);
            match &slice.verdict {
                SliceVerdict::Graded { labels: found, unlikeness, .. } => {
                    graded += 1;
                    unlike += usize::from(unlikeness.unlike);
                    let dice = dice_per_label(own, truth, labels, WhenEmpty::One)?;
                    grades.extend(
                        found
                            .iter()
                            .zip(dice)
                            .map(|(grade, dice)| one(Some(slice.index), grade, dice, unlikeness.unlike)),
                    );
                }
                _ => ungraded += usize::from(truth.iter().any(|label| labels.contains(label))),
            }
        }
        if let Some(volume) = &assessment.volume {
            let dice = dice_per_label(segmentation.view(), truth.view(), labels, WhenEmpty::One)?;
            let abstained = unlike * 2 >= graded;
            grades.extend(volume.iter().zip(dice).map(|(grade, dice)| one(None, grade, dice, abstained)));
        }
        Ok((grades, ungraded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(
        network: &str,
        patient: &str,
        slice: Option<usize>,
        dice: f64,
        estimate: f64,
    ) -> GradeBesideTruth {
        let (network, patient) = (network.to_owned(), patient.to_owned());
        let (case, interval) = (patient.clone(), [estimate - 0.05, estimate + 0.05]);
        GradeBesideTruth {
            network,
            case,
            patient,
            slice,
            label: 1,
            dice,
            estimate,
            interval,
            abstained: dice < 0.2,
        }
    }

    /// Two networks, of which one is overestimated by .2 and the other by .02, on several patients.
    fn grades() -> PredictionGrades {
        let mut found = PredictionGrades::default();
        for (network, bias) in [("poor", 0.2), ("good", 0.02)] {
            for patient in 0..12 {
                for slice in [Some(0), Some(1), None] {
                    let dice = 0.1 + 0.05 * f64::from(patient) + 0.01 * slice.unwrap_or(3) as f64;
                    found.grades.push(grade(network, &format!("p{patient}"), slice, dice, dice + bias));
                }
            }
        }
        found
    }

    #[test]
    fn figures_are_those_of_each_network_and_of_all() {
        let figures = grades().figures(&BootstrapConfig::new(1).replicates(50)).unwrap();
        assert_eq!(figures.len(), 6);
        let of = |network: &str, level| {
            figures.iter().find(|own| own.network == network && own.level == level).unwrap()
        };
        let poor = of("poor", GradeLevel::Slices);
        assert_eq!((poor.count, poor.coverage), (24, 0.0));
        assert!((poor.mae - 0.2).abs() < 1e-9 && (poor.bias - 0.2).abs() < 1e-9);
        assert!((poor.pearson.unwrap() - 1.0).abs() < 1e-9);
        let good = of("good", GradeLevel::Volumes);
        assert_eq!((good.count, good.coverage), (12, 1.0));
        let all = of(ALL_NETWORKS, GradeLevel::Slices);
        assert_eq!((all.count, all.coverage), (48, 0.5));
        assert!((all.mae - 0.11).abs() < 1e-9);
        assert!((all.abstained - 8.0 / 48.0).abs() < 1e-9 && all.mae_of_rest.is_some());
    }

    #[test]
    fn a_network_is_corrected_by_the_others() {
        let (own, calibration) = (grades(), grades());
        let found = own.clone().leaving_networks_out(&calibration, &[1]).unwrap();
        for (before, after) in own.grades.iter().zip(&found.grades) {
            // The bias of the other network is taken away, where it was seen.
            let expected = if before.network == "poor" { 0.02 } else { 0.2 };
            let moved = before.estimate - after.estimate;
            if before.slice.is_some() && (0.3..0.6).contains(&before.estimate) {
                // Less where few were seen.
                let share = moved / expected;
                assert!((0.2..=1.05).contains(&share), "{before:?} {after:?}");
            }
            assert!(after.interval[0] <= after.estimate && after.estimate <= after.interval[1]);
        }
        // All networks together take most of their mean bias of .11 away.
        let [slices, volumes] = calibration.calibrations(&[1], None).unwrap();
        assert_eq!((slices.len(), volumes.len()), (1, 1));
        let (corrected, _) = slices[0].apply(0.45);
        assert!((0.33..0.4).contains(&corrected), "{corrected}");
        let mut one = grades();
        one.grades.retain(|grade| grade.network == "good");
        assert!(one.clone().leaving_networks_out(&one, &[1]).is_err());
    }

    #[test]
    fn the_table_is_safe_in_spreadsheets() {
        let mut found = PredictionGrades::default();
        found.grades.push(grade("=net", "a,b", None, 0.5, 0.25));
        let expected = "network,patient,case,slice,label,dice,estimate,lower,upper,abstained\n\
                        '=net,\"a,b\",\"a,b\",,1,0.5,0.25,0.2,0.3,false\n";
        assert_eq!(found.to_table().as_str(), expected);
    }
}
