//! Recalibration of a localizer on other normal subjects.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lesio_anomaly::{Calibration, Localizer, NormalScores, PredictorName};
use lesio_report::{Column, Estimate, Table, TableCell};
use serde::Serialize;

use crate::calibrating::{calibrate, normal_scores, normal_slices};
use crate::error::StudyError;
use crate::maps::score_each;
use crate::observer::{Observer, Step};
use crate::subject::{Subject, Subjects};
use crate::workflow_error::WorkflowError;

/// The nominal false-positive rates at which a calibration is checked.
pub const RATES: [f64; 3] = [0.01, 0.05, 0.1];

/// A localizer with a new calibration, and the false-positive rates of the old and the new one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recalibration {
    /// The localizer, calibrated on all of the subjects; nothing else has changed.
    pub localizer: Localizer,
    /// Number of normal subjects of the calibration: the patients with a normal slice. Several images of one patient
    /// are one subject.
    pub subjects: usize,
    /// Number of images with a normal slice. Others do not calibrate.
    pub images: usize,
    /// By predictor and nominal rate.
    pub rates: Vec<CalibrationRate>,
}

/// False positives of a predictor among normal subjects at one nominal rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CalibrationRate {
    /// The predictor.
    pub predictor: PredictorName,
    /// The nominal rate.
    pub nominal: f64,
    /// By the old calibration; `None` if it had none for this predictor.
    pub before: Option<NormalRates>,
    /// By the new subjects, with each half judged by a calibration on the other half. `None` with fewer than two
    /// patients.
    pub after: Option<NormalRates>,
}

/// How often normal subjects exceed thresholds. A subject is a patient, with the highest score of all of its images:
/// images of one patient are not independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NormalRates {
    /// Fraction of the normal pixels above the threshold for pixels. It has no interval, since pixels of an image are
    /// not independent.
    pub pixels: f64,
    /// Number of subjects that the family-wise threshold judged; 0 if there were too few normal subjects for the rate,
    /// which needs `1 / rate - 1` of them.
    pub subjects: usize,
    /// Number of these subjects with a score above the family-wise threshold.
    pub alarms: usize,
}

impl NormalRates {
    /// The fraction of subjects with an alarm, with its 95 % interval by Wilson (1927); `None` if none was judged.
    ///
    /// ```
    /// use lesio_study::NormalRates;
    ///
    /// let mut rates = NormalRates::default();
    /// assert_eq!(rates.alarm_rate(), None);
    /// (rates.subjects, rates.alarms) = (40, 2);
    /// let (rate, [low, high]) = rates.alarm_rate().unwrap();
    /// assert_eq!(rate, 0.05);
    /// assert!((low - 0.0138).abs() < 1e-3 && (high - 0.1650).abs() < 1e-3);
    /// ```
    #[must_use]
    pub fn alarm_rate(&self) -> Option<(f64, [f64; 2])> {
        if self.subjects == 0 {
            return None;
        }
        let (count, z) = (self.subjects as f64, 1.959_963_984_540_054_f64);
        let rate = self.alarms as f64 / count;
        let middle = rate + z * z / (2.0 * count);
        let half = z * (rate * (1.0 - rate) / count + z * z / (4.0 * count * count)).sqrt();
        let of = |value: f64| (value / (1.0 + z * z / count)).clamp(0.0, 1.0);
        Some((rate, [of(middle - half), of(middle + half)]))
    }
}

/// Calibrates a localizer on your own normal subjects, such as those of another hospital or scanner. Only the
/// calibration is replaced: weights, filters, normalization by position and the selected predictor are kept. So is the
/// ensemble, with the normal scores by which its members are combined; the calibrations of its other localizers are
/// replaced, too.
///
/// The predictors are those of the old calibration; without one, all that do not iterate. Slices with a lesion are left
/// out, and several images of one patient are one normal subject, as in [`calibrate`]. Images are read four times.
///
/// # Errors
/// If a subject cannot be read or scored, and if no subject has a normal slice.
pub fn recalibrate(
    localizer: Localizer,
    subjects: &(impl Subjects + ?Sized),
    observer: &mut dyn Observer,
) -> Result<Recalibration, WorkflowError> {
    let chosen = localizer.chosen().cloned();
    let mut names: Vec<PredictorName> = localizer.calibration().predictors().collect();
    if names.is_empty() {
        names = localizer.predictors().into_iter().filter(|name| !name.is_iterative()).collect();
    }
    let all = Part { all: subjects, places: (0..subjects.count()).collect() };
    let mut before = Counts::default();
    let Checked { patients, images } = check(&localizer, &all, &names, &mut before, observer)?;
    let [even, odd] = [0, 1].map(|half| {
        let places = patients.iter().enumerate().filter(|(_, patient)| **patient % 2 == half);
        Part { all: subjects, places: places.map(|(place, _)| place).collect() }
    });
    let mut after = Counts::default();
    if even.count() > 0 && odd.count() > 0 {
        for (taught, judged) in [(&even, &odd), (&odd, &even)] {
            let made = calibrated(localizer.clone(), taught, &names, observer)?;
            check(&made, judged, &names, &mut after, observer)?;
        }
    }
    let mut made = calibrated(localizer, &all, &names, observer)?;
    if made.calibration().is_empty() {
        let what = "no subject has a normal slice to calibrate on".to_owned();
        return Err(StudyError::Nothing { what }.into());
    }
    if let Some(ensemble) = made.ensemble().cloned() {
        let mut others = Vec::with_capacity(made.others().len());
        for other in made.others() {
            let names: Vec<PredictorName> = other.calibration().predictors().collect();
            let chosen = other.chosen().cloned();
            let other = calibrated(other.clone(), &all, &names, observer)?;
            others.push(other.with_chosen(chosen).map_err(StudyError::from)?);
        }
        // The maps of the ensemble stay as they are, so its new calibration holds.
        let calibration = made.calibration().clone();
        made = made.with_ensemble(ensemble, others).map_err(StudyError::from)?.with_calibration(calibration);
    }
    let rates = names.iter().flat_map(|&predictor| {
        let (before, after) = (&before, &after);
        (0..RATES.len()).map(move |rate| CalibrationRate {
            predictor,
            nominal: RATES[rate],
            before: before.of(predictor, rate),
            after: after.of(predictor, rate),
        })
    });
    let rates = rates.collect();
    let normals = names.iter().filter_map(|&name| made.calibration().get(name));
    let subjects = normals.map(NormalScores::subjects).max().unwrap_or(0);
    let localizer = made.with_chosen(chosen).map_err(StudyError::from)?;
    Ok(Recalibration { localizer, subjects, images, rates })
}

/// Counts what exceeds the thresholds of a localizer among some subjects, see [`Counts::add`].
fn check(
    localizer: &Localizer,
    subjects: &(impl Subjects + ?Sized),
    names: &[PredictorName],
    counts: &mut Counts,
    observer: &mut dyn Observer,
) -> Result<Checked, StudyError> {
    observer.begin(&Step::CheckingCalibration, subjects.count());
    let checked = counts.add(localizer, subjects, names, |done| observer.advance(done))?;
    observer.end();
    Ok(checked)
}

/// A localizer that is calibrated on some subjects.
fn calibrated(
    localizer: Localizer,
    subjects: &(impl Subjects + ?Sized),
    names: &[PredictorName],
    observer: &mut dyn Observer,
) -> Result<Localizer, StudyError> {
    observer.begin(&Step::Calibrating, subjects.count());
    let made = calibrate(localizer, subjects, names, |done| observer.advance(done))?;
    observer.end();
    Ok(made)
}

impl Recalibration {
    /// The rates as a table.
    ///
    /// # Errors
    /// None in practice; the table checks its own rows.
    pub fn table(&self) -> Result<Table, WorkflowError> {
        let caption = "False positives among these normal images at nominal rates: pixels above the threshold for \
                       pixels, and patients with anything above the family-wise threshold, with 95 % intervals. \
                       Before: by the calibration that the model came with. After: by a calibration on the other half \
                       of the patients. A dash: too few normal patients for this rate.";
        let names =
            ["predictor", "nominal", "pixels before", "pixels after", "patients before", "patients after"];
        let mut table = Table::new(
            caption,
            names.iter().enumerate().map(|(place, &name)| {
                let column = Column::new(name);
                if place > 0 { column.decimals(3) } else { column }
            }),
        );
        for row in &self.rates {
            let pixels = |rates: Option<NormalRates>| {
                TableCell::from(Estimate::new(rates.map_or(f64::NAN, |rates| rates.pixels)))
            };
            let alarms = |rates: Option<NormalRates>| {
                TableCell::from(match rates.and_then(|rates| rates.alarm_rate()) {
                    Some((rate, [low, high])) => Estimate::new(rate).with_interval(low, high),
                    None => Estimate::new(f64::NAN),
                })
            };
            let nominal = TableCell::from(Estimate::new(row.nominal));
            table = table.row([
                TableCell::from(row.predictor.as_str()),
                nominal,
                pixels(row.before),
                pixels(row.after),
                alarms(row.before),
                alarms(row.after),
            ])?;
        }
        Ok(table)
    }
}

/// Some of the subjects.
struct Part<'a, S: ?Sized> {
    all: &'a S,
    places: Vec<usize>,
}

impl<S: Subjects + ?Sized> Subjects for Part<'_, S> {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn subject(&self, place: usize) -> Result<Cow<'_, Subject>, StudyError> {
        match self.places.get(place) {
            Some(&place) => self.all.subject(place),
            None => Err(StudyError::Nothing { what: format!("there is no subject {place}") }),
        }
    }
}

/// The subjects that were checked.
struct Checked {
    /// For each subject the number of its patient, from 0 in the order of their first subjects.
    patients: Vec<usize>,
    /// Number of subjects with a normal slice.
    images: usize,
}

/// Pixels and patients above thresholds, by predictor and rate.
#[derive(Default)]
struct Counts(BTreeMap<PredictorName, [Count; RATES.len()]>);

#[derive(Clone, Copy, Default)]
struct Count {
    pixels: u64,
    above: u64,
    patients: usize,
    alarms: usize,
}

impl Counts {
    /// Counts by the calibration of a localizer. A patient is judged once, so all of its subjects must be among these.
    fn add(
        &mut self,
        localizer: &Localizer,
        subjects: &(impl Subjects + ?Sized),
        names: &[PredictorName],
        mut progress: impl FnMut(usize),
    ) -> Result<Checked, StudyError> {
        let (mut images, mut order) = (0, BTreeMap::new());
        let mut patients = Vec::new();
        let mut highest: BTreeMap<PredictorName, BTreeMap<usize, f32>> = BTreeMap::new();
        // Removed, since it would warn of unknown resolutions, which are examined here.
        let calibration = localizer.calibration().clone();
        let localizer = localizer.clone().with_calibration(Calibration::new());
        for place in 0..subjects.count() {
            let subject = subjects.subject(place)?;
            let next = order.len();
            let patient = *order.entry(subject.patient.clone()).or_insert(next);
            patients.push(patient);
            let truth = subject.truth()?;
            let scene = score_each(&localizer, &subject, names, |scene, name, [_, map]| {
                let Some(normals) = calibration.get(name) else { return Ok(()) };
                let scores = normal_scores(scene, &map, truth.as_deref());
                let Some(own) = scores.iter().copied().reduce(f32::max) else { return Ok(()) };
                let of_patient = highest.entry(name).or_default().entry(patient).or_insert(own);
                *of_patient = of_patient.max(own);
                for (count, rate) in self.0.entry(name).or_default().iter_mut().zip(RATES) {
                    let threshold = normals.threshold(rate);
                    count.pixels += scores.len() as u64;
                    count.above += scores.iter().filter(|score| **score >= threshold).count() as u64;
                }
                Ok(())
            })?;
            images += usize::from(normal_slices(&scene, truth.as_deref()) > 0);
            progress(place + 1);
        }
        for (name, highest) in highest {
            let Some(normals) = calibration.get(name) else { continue };
            for (count, rate) in self.0.entry(name).or_default().iter_mut().zip(RATES) {
                let Some(threshold) = normals.family_wise_threshold(rate) else { continue };
                count.patients += highest.len();
                count.alarms += highest.values().filter(|own| **own >= threshold).count();
            }
        }
        Ok(Checked { patients, images })
    }

    fn of(&self, predictor: PredictorName, rate: usize) -> Option<NormalRates> {
        let count = self.0.get(&predictor)?.get(rate)?;
        let pixels = count.above as f64 / count.pixels.max(1) as f64;
        Some(NormalRates { pixels, subjects: count.patients, alarms: count.alarms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrating::tests::{head, localizer, localizer_of};
    use lesio_anomaly::{EnsembleConfig, EnsembleMember, EnsembleRule, LocalizerEnsemble};
    use lesio_image::Scan;

    /// A head from a scanner that leaves a fine pattern in its images.
    fn elsewhere(subject: u64) -> Subject {
        let mut head = head(subject, None);
        let volume = head.scan.volume(0).unwrap();
        let mut data = volume.data().clone();
        for ((i, j, k), value) in data.indexed_iter_mut() {
            *value *= if (i + j + k) % 2 == 0 { 1.3 } else { 0.7 };
        }
        head.scan = Scan::from(lesio_image::Volume::new(data, *volume.geometry()));
        head
    }

    #[test]
    fn the_calibration_of_another_scanner_holds_afterwards() {
        let names = [PredictorName::PixelL1];
        let at_home: Vec<Subject> = (0..24).map(|k| head(100 + k, None)).collect();
        let made = calibrate(localizer(), &at_home, &names, |_| {}).unwrap();
        let other: Vec<Subject> = (0..24).map(|k| elsewhere(200 + k)).collect();
        let found = recalibrate(made.clone(), &other, &mut ()).unwrap();
        assert_eq!((found.subjects, found.images, found.rates.len()), (24, 24, RATES.len()));
        for row in &found.rates {
            let (before, after) = (row.before.unwrap(), row.after.unwrap());
            // Rates of pixels hold on the other half, and did not hold before.
            assert!((after.pixels - row.nominal).abs() < 0.4 * row.nominal, "{row:?}");
            assert!((after.pixels - row.nominal).abs() < (before.pixels - row.nominal).abs(), "{row:?}");
        }
        // Twelve subjects do not do for .05, 24 do; both do for .1.
        let judged: Vec<[usize; 2]> = found
            .rates
            .iter()
            .map(|row| [row.before, row.after].map(|rates| rates.unwrap().subjects))
            .collect();
        assert_eq!(judged, [[0, 0], [24, 0], [24, 24]]);
        let last = found.rates[2].after.unwrap();
        let (_, [low, high]) = last.alarm_rate().unwrap();
        assert!((low..=high).contains(&0.1), "{last:?}");
        // Nothing but the calibration is another.
        let scores = found.localizer.calibration().get(names[0]).unwrap();
        assert_eq!(scores.subjects(), 24);
        let old = made.calibration().clone();
        assert_eq!(found.localizer.postprocessing(), made.postprocessing());
        let back = found.localizer.with_calibration(old);
        let scan = &other[0].scan;
        assert_eq!(
            back.score(scan, &names).unwrap().doubt.is_some(),
            made.score(scan, &names).unwrap().doubt.is_some()
        );
    }

    /// The steps with the parts that were done of each.
    #[derive(Default)]
    struct Steps(Vec<(String, usize)>);

    impl Observer for Steps {
        fn begin(&mut self, step: &Step, _: usize) {
            self.0.push((step.to_string(), 0));
        }

        fn advance(&mut self, done: usize) {
            if let Some((_, own)) = self.0.last_mut() {
                *own = done;
            }
        }
    }

    /// Images of one patient are not independent: a patient is judged once, by its highest score.
    #[test]
    fn patients_are_judged_and_not_their_images() {
        let names = [PredictorName::PixelL1];
        let at_home: Vec<Subject> = (0..12).map(|k| head(100 + k, None)).collect();
        let made = calibrate(localizer(), &at_home, &names, |_| {}).unwrap();
        // Four patients, with five images each; of the first, one image is of another scanner.
        let images: Vec<Subject> = (0..20)
            .map(|k| Subject {
                patient: format!("patient {}", k % 4),
                ..if k == 8 { elsewhere(200 + k) } else { head(200 + k, None) }
            })
            .collect();
        let mut steps = Steps::default();
        let found = recalibrate(made.clone(), &images, &mut steps).unwrap();
        assert_eq!((found.subjects, found.images), (4, 20));
        assert_eq!(found.localizer.calibration().get(names[0]).unwrap().subjects(), 4);
        let before = found.rates[2].before.unwrap();
        assert_eq!(before.subjects, 4, "twelve subjects do for a rate of .1");
        let threshold = made.calibration().get(names[0]).unwrap().family_wise_threshold(0.1).unwrap();
        let exceeds = |image: &Subject| {
            let scored = made.score(&image.scan, &names).unwrap();
            let map = scored.scores[0].postprocessed.data().iter().zip(scored.foreground.data());
            map.filter(|&(_, &inside)| inside).any(|(&score, _)| score >= threshold)
        };
        let alarms = (0..4).filter(|patient| images.iter().skip(*patient).step_by(4).any(exceeds)).count();
        assert_eq!(before.alarms, alarms);
        // Two patients calibrate each half: too few for every rate.
        assert!(found.rates.iter().all(|row| row.after.unwrap().subjects == 0));
        let expected = [
            ("checking the calibration", 20),
            ("calibrating", 10),
            ("checking the calibration", 10),
            ("calibrating", 10),
            ("checking the calibration", 10),
            ("calibrating", 20),
        ];
        assert_eq!(steps.0, expected.map(|(step, done)| (step.to_owned(), done)));
    }

    /// All calibrations in a file are of the same subjects, and the maps of the ensemble stay as they are.
    #[test]
    fn an_ensemble_is_recalibrated_with_its_members() {
        let names = [PredictorName::PixelL1, PredictorName::Ensemble];
        let at_home: Vec<Subject> = (0..6).map(|k| head(100 + k, None)).collect();
        let member = |seed| calibrate(localizer_of(seed), &at_home, &names[..1], |_| {}).unwrap();
        let normals = |of: &Localizer| of.calibration().get(names[0]).unwrap().clone();
        let members = [member(1), member(2)];
        let places = members
            .iter()
            .enumerate()
            .map(|(place, own)| EnsembleMember::new(format!("m{place}"), place, names[0], normals(own)));
        let ensemble = LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), places.collect());
        let [first, other] = members;
        let made = first.with_ensemble(ensemble, vec![other]).unwrap();
        let made = calibrate(made, &at_home, &names, |_| {}).unwrap();
        let elsewhere: Vec<Subject> = (0..10).map(|k| elsewhere(200 + k)).collect();
        let found = recalibrate(made.clone(), &elsewhere, &mut ()).unwrap().localizer;
        for name in names {
            assert_eq!(found.calibration().get(name).unwrap().subjects(), 10, "{name}");
        }
        assert_eq!(normals(&found.others()[0]).subjects(), 10);
        assert_eq!(found.ensemble(), made.ensemble());
        let map = |of: &Localizer| of.score(&elsewhere[0].scan, &names[1..]).unwrap().scores[0].raw.clone();
        assert_eq!(map(&found), map(&made));
    }

    /// Images in which every slice has a lesion do not calibrate, and do not count.
    #[test]
    fn images_that_do_not_calibrate_do_not_count() {
        let names = [PredictorName::PixelL1];
        let at_home: Vec<Subject> = (0..3).map(|k| head(100 + k, None)).collect();
        let made = calibrate(localizer(), &at_home, &names, |_| {}).unwrap();
        let mut abnormal = head(200, Some(8));
        let all = lesio_image::Volume::new(
            ndarray::Array3::from_elem((32, 32, 4), true),
            *abnormal.scan.geometry(),
        );
        abnormal = Subject::new("abnormal", abnormal.scan, Some(all));
        let found = recalibrate(made, &[head(201, None), abnormal, head(202, None)], &mut ()).unwrap();
        assert_eq!((found.images, found.subjects), (2, 2));
    }

    #[test]
    fn there_must_be_a_normal_slice() {
        let none: [Subject; 0] = [];
        assert!(matches!(
            recalibrate(localizer(), &none, &mut ()),
            Err(WorkflowError::Study(StudyError::Nothing { .. }))
        ));
        // One subject calibrates, and nothing can be said of how well.
        let found = recalibrate(localizer(), &[head(1, None)], &mut ()).unwrap();
        assert!(found.rates.iter().all(|row| row.before.is_none() && row.after.is_none()));
        assert!(found.table().unwrap().to_markdown().contains("pixel-l1"));
    }
}
