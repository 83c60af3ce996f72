//! What a model of quality says of segmentations by networks in use, beside the truth.

use std::collections::{BTreeMap, BTreeSet};

use lesio_image::{Scan, Volume, check_finite};
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;
use lesio_io::spreadsheet::CommaTable;
use lesio_metrics::{BootstrapConfig, WhenEmpty, dice_per_label};
use lesio_quality::{
    Assessment, EstimateError, GradeCalibration, InputError, QualityModel, Scored, SliceVerdict,
};
use lesio_settings::named;
use ndarray::Axis;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::median::median;
use crate::observer::explain;
use crate::quality::error::QualityStudyError;
use crate::quality::given::image_path;
use crate::quality::networks::{ALL_NETWORKS, NetworkFolder, check_file_names};
use crate::quality::progress::{QualityObserver, QualityProgress, report};
use crate::quality::ungraded::UngradedCase;
use crate::reading::BadCases;

/// What is graded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradeLevel {
    /// A slice.
    Slices,
    /// A volume.
    Volumes,
}

named!(GradeLevel, "unit of a grade", { "slices" => Self::Slices, "volumes" => Self::Volumes });

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
    /// What each network gave, in order of their names.
    pub networks: Vec<NetworkCounts>,
    /// Cases and segmentations that could not be graded.
    pub failed: Vec<UngradedCase>,
}

/// How many cases a network gave something for. Each case counts as graded, empty, absent or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NetworkCounts {
    /// The network.
    pub network: String,
    /// Cases whose volume is graded.
    pub graded: usize,
    /// Their patients.
    pub patients: usize,
    /// Cases without a grade, since the network segmented nothing, or too little, with the graded labels.
    pub empty: usize,
    /// Cases that the network has no file for.
    pub absent: usize,
    /// Cases that could not be graded, see [`PredictionGrades::failed`].
    pub failed: usize,
    /// Slices in which the network segmented nothing, or too little, although the truth holds a graded label: nothing can be
    /// graded there.
    pub ungraded_slices: usize,
}

impl PredictionGrades {
    /// Grades what networks gave for cases, and measures it.
    ///
    /// A case cannot be graded if it cannot be read, has no labels or has voxels that are not finite; a segmentation, if it
    /// cannot be read, is of another place than the image, holds labels that the model does not know, or lies in a slice of
    /// constant intensity. With [`BadCases::LeaveOut`] these are listed in [`PredictionGrades::failed`].
    ///
    /// # Errors
    /// Networks that segmented none of these cases, two cases that stand for one file, an engine that fails, and a stop by the
    /// observer. With [`BadCases::Stop`] the first case that cannot be graded, as [`QualityStudyError::Case`].
    pub fn measure(
        model: &QualityModel,
        cases: &[Case],
        networks: &[NetworkFolder],
        options: &ReadOptions,
        bad: BadCases,
        observer: &mut QualityObserver<'_>,
    ) -> Result<Self, QualityStudyError> {
        for network in networks {
            network.require(cases)?;
        }
        check_file_names(networks, cases)?;
        let named = |own: &NetworkFolder| NetworkCounts { network: own.name.clone(), ..Default::default() };
        let mut found = Self { networks: networks.iter().map(named).collect(), ..Default::default() };
        report(observer, &QualityProgress::Begin { what: "grading", total: cases.len() })?;
        for case in cases {
            for Failure { network, error } in found.grade(model, case, networks, options)? {
                if bad == BadCases::Stop {
                    return Err(error.of_case(case.id()));
                }
                let network = network.map(|place| networks[place].name.as_str());
                let failed = UngradedCase::new(case, network, explain(&error));
                report(observer, &QualityProgress::LeftOut(&failed))?;
                found.failed.push(failed);
            }
            report(observer, &QualityProgress::Advance { parts: 1 })?;
        }
        report(observer, &QualityProgress::End)?;
        found.count_patients();
        Ok(found)
    }

    /// Adds the grades of a case, and returns what could not be graded.
    ///
    /// # Errors
    /// An engine that fails.
    fn grade(
        &mut self,
        model: &QualityModel,
        case: &Case,
        networks: &[NetworkFolder],
        options: &ReadOptions,
    ) -> Result<Vec<Failure>, QualityStudyError> {
        let (image, truth) = match read_case(case, options) {
            Ok(both) => both,
            Err(error) => {
                for (network, counts) in networks.iter().zip(&mut self.networks) {
                    let has_file = network.file(case.id()).is_some();
                    *(if has_file { &mut counts.failed } else { &mut counts.absent }) += 1;
                }
                return Ok(vec![Failure { network: None, error }]);
            }
        };
        let (mut given, mut failed) = (Vec::new(), Vec::new());
        for (place, network) in networks.iter().enumerate() {
            match network.segmentation(case, &image, options) {
                Ok(Some((path, segmentation))) => given.push((place, path, segmentation)),
                Ok(None) => self.networks[place].absent += 1,
                Err(error) => {
                    self.networks[place].failed += 1;
                    failed.push(Failure { network: Some(place), error: error.into() });
                }
            }
        }
        let graded: Vec<Result<Graded, QualityStudyError>> = given
            .par_iter()
            .map(|(place, _, segmentation)| {
                let assessment = model.assess(&image, segmentation)?;
                let compared =
                    Compared { case, network: &networks[*place].name, segmentation, truth: &truth };
                compared.grades(model, &assessment)
            })
            .collect();
        for ((place, path, _), graded) in given.into_iter().zip(graded) {
            let counts = &mut self.networks[place];
            match graded {
                Ok(Graded { grades, ungraded_slices, is_empty }) => {
                    *(if is_empty { &mut counts.empty } else { &mut counts.graded }) += 1;
                    counts.ungraded_slices += ungraded_slices;
                    self.grades.extend(grades);
                }
                Err(error @ QualityStudyError::Estimate(EstimateError::Engine(_))) => return Err(error),
                Err(error) => {
                    counts.failed += 1;
                    // What is wrong with the image is the same for all networks.
                    let of_image = matches!(
                        error,
                        QualityStudyError::Estimate(EstimateError::Input(
                            InputError::SliceAxis { .. } | InputError::Channels { .. } | InputError::Names(_)
                        ))
                    );
                    match of_image {
                        true if failed.iter().any(|own| own.network.is_none()) => {}
                        true => {
                            let error = error.of_file(image_path(case));
                            failed.push(Failure { network: None, error });
                        }
                        false => {
                            failed.push(Failure { network: Some(place), error: error.of_file(path) });
                        }
                    }
                }
            }
        }
        Ok(failed)
    }

    /// Counts the patients of each network's grades.
    fn count_patients(&mut self) {
        for counts in &mut self.networks {
            let own = self.grades.iter().filter(|grade| grade.network == counts.network);
            counts.patients = own.map(|grade| grade.patient.as_str()).collect::<BTreeSet<_>>().len();
        }
    }

    /// Corrections and intervals fitted on these grades, which no calibration may have corrected yet, of slices and of volumes, one
    /// for each of these labels; those by `left_out` do not count.
    ///
    /// # Errors
    /// [`QualityStudyError::Data`] for a label without a grade, as where networks segmented nothing.
    pub fn calibrations(
        &self,
        labels: &[u8],
        left_out: Option<&str>,
    ) -> Result<[Vec<GradeCalibration>; 2], QualityStudyError> {
        let mut found = [Vec::new(), Vec::new()];
        for (level, found) in GradeLevel::ALL.into_iter().zip(&mut found) {
            for &label in labels {
                let is_own = |grade: &&GradeBesideTruth| {
                    grade.level() == level && grade.label == label && Some(grade.network.as_str()) != left_out
                };
                let scored = scored(self.grades.iter().filter(is_own));
                if scored.truth.is_empty() {
                    let by =
                        left_out.map_or_else(String::new, |name| format!(" by other networks than {name}"));
                    let what = format!(
                        "no segmentation{by} can be graded for label {label}, so that nothing can be calibrated on them"
                    );
                    return Err(QualityStudyError::Data { what });
                }
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
        let interval = |found: &lesio_metrics::Interval| [found.lower, found.upper];
        Ok(Self {
            level,
            label,
            network: network.to_owned(),
            count: grades.len(),
            median_dice: median(all.truth.clone()).unwrap_or(f64::NAN),
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

/// Reads the image and the truth of a case.
///
/// # Errors
/// Files that cannot be read, a case without labels, and voxels that are not finite; the errors name the file.
fn read_case(case: &Case, options: &ReadOptions) -> Result<(Scan, Volume<u8>), QualityStudyError> {
    let (image, truth) = case.read_labeled(options)?;
    let truth = truth.ok_or_else(|| QualityStudyError::Data { what: "it has no labels".to_owned() })?;
    let of_image = |error| QualityStudyError::from(InputError::from(error)).of_file(image_path(case));
    check_finite(image.data()).map_err(of_image)?;
    Ok((image, truth))
}

/// A segmentation that could not be graded, with the place of its network; without one, a case.
struct Failure {
    network: Option<usize>,
    error: QualityStudyError,
}

/// What is found of a segmentation.
struct Graded {
    grades: Vec<GradeBesideTruth>,
    /// Slices with a structure in which too little is segmented for a grade.
    ungraded_slices: usize,
    /// Whether the volume has no grade.
    is_empty: bool,
}

/// A segmentation and the truth, on the image's grid.
struct Compared<'a> {
    case: &'a Case,
    network: &'a str,
    segmentation: &'a Volume<u8>,
    truth: &'a Volume<u8>,
}

impl Compared<'_> {
    /// The grades of slices and of the volume.
    fn grades(&self, model: &QualityModel, assessment: &Assessment) -> Result<Graded, QualityStudyError> {
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
        let axis = Axis(assessment.slice_axis);
        let (mut grades, mut ungraded_slices, mut graded, mut unlike) = (Vec::new(), 0, 0_usize, 0_usize);
        for slice in &assessment.slices {
            let own = segmentation.index_axis(axis, slice.index);
            let truth = truth.index_axis(axis, slice.index);
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
                _ => ungraded_slices += usize::from(truth.iter().any(|label| labels.contains(label))),
            }
        }
        if let Some(volume) = &assessment.volume {
            let dice = dice_per_label(segmentation.view(), truth.view(), labels, WhenEmpty::One)?;
            let abstained = unlike * 2 >= graded;
            grades.extend(volume.iter().zip(dice).map(|(grade, dice)| one(None, grade, dice, abstained)));
        }
        Ok(Graded { grades, ungraded_slices, is_empty: assessment.volume.is_none() })
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
        // Volumes have a Dice of .13, .18 and so on to .68: of twelve, the two in the middle are .38 and .43.
        assert!((good.median_dice - 0.405).abs() < 1e-9, "{}", good.median_dice);
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
        let error = one.clone().leaving_networks_out(&one, &[1]).unwrap_err().to_string();
        assert!(error.contains("by other networks than good") && error.contains("label 1"), "{error}");
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
