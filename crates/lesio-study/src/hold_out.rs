//! Training subjects that are held out for the selection of the epoch and for calibration.

use std::collections::BTreeMap;

use lesio_anomaly::Localizer;
use lesio_io::dataset::Case;

use crate::error::StudyError;
use crate::normal_slices::normal_examples;
use crate::subject::Subject;

/// One patient in this many is held out.
pub const HOLD_OUT_EVERY: usize = 10;

/// Training subjects in two parts without common patients.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeldOut {
    /// Subjects to train on, in their order.
    pub training: Vec<Subject>,
    /// Subjects held out, in their order; empty if there is only one patient.
    pub validation: Vec<Subject>,
}

/// Holds out every tenth patient with all of its subjects, and one of two to nine patients.
///
/// Patients are numbered in the order of their first subject: the tenth, the twentieth and so on are held out; of fewer
/// than ten, the last. A single patient is used for training, and none is held out.
///
/// ```
/// use lesio_image::Image;
/// use lesio_study::{Subject, hold_out};
/// use ndarray::Array3;
///
/// let image = || Image::new(Array3::zeros((1, 4, 4)));
/// let subjects = (0..25).map(|number| Subject::new(format!("{number:02}"), image(), None)).collect();
/// let parts = hold_out(subjects);
/// assert_eq!(parts.training.len(), 23);
/// assert_eq!([&parts.validation[0].id, &parts.validation[1].id], ["09", "19"]);
/// ```
#[must_use]
pub fn hold_out(subjects: Vec<Subject>) -> HeldOut {
    let [training, validation] = parts(subjects, |subject| &subject.patient);
    HeldOut { training, validation }
}

/// Of the cases that were given to a training without validation data, those that it held out ([`hold_out`]). They must be
/// the same readable cases in the same order; [`require_held_out`] checks the result.
#[must_use]
pub fn held_out_cases(cases: Vec<Case>) -> Vec<Case> {
    let [_, validation] = parts(cases, |case| case.patient());
    validation
}

/// Checks that subjects are those that the training of a localizer held out, by the checksum of their normal slices that
/// the localizer states ([`Provenance::data`](lesio_anomaly::Provenance::data)); also for each localizer of an ensemble.
/// `label` names it in the error.
///
/// # Errors
/// [`StudyError::NotHeldOut`] for other subjects, for other options such as masks that are not given, and for a localizer
/// that states no checksum; and those of [`normal_examples`].
pub fn require_held_out(label: &str, localizer: &Localizer, subjects: &[Subject]) -> Result<(), StudyError> {
    for one in [localizer].into_iter().chain(localizer.others()) {
        let slices = normal_examples(one.preprocessing(), subjects)?;
        let found = format!("{} validation images {:08x}", slices.len(), slices.checksum());
        let stated = one.provenance().data.split(", ").find(|part| part.contains(" validation images "));
        if stated != Some(found.as_str()) {
            let expected = stated.unwrap_or("images that its file does not state").to_owned();
            return Err(StudyError::NotHeldOut { label: label.to_owned(), found, expected });
        }
    }
    Ok(())
}

/// Those that stay and those that are held out.
fn parts<T>(all: Vec<T>, patient: impl Fn(&T) -> &str) -> [Vec<T>; 2] {
    let mut order = BTreeMap::new();
    for one in &all {
        let next = order.len();
        order.entry(patient(one).to_owned()).or_insert(next);
    }
    // Written with `clamp`: rustc 1.95 drops the comparison of `if n < 10 { n.max(2) } else { 10 }` when it optimizes.
    let every = order.len().clamp(2, HOLD_OUT_EVERY);
    let is_held_out = |one: &T| order.get(patient(one)).is_some_and(|place| place % every == every - 1);
    let (validation, training) = all.into_iter().partition(is_held_out);
    [training, validation]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_image::Image;
    use lesio_io::dataset::{Dataset, Layout};
    use ndarray::Array3;

    fn subjects(patients: impl IntoIterator<Item = usize>) -> Vec<Subject> {
        let image = || Image::new(Array3::zeros((1, 2, 2)));
        let subject = |(number, patient): (usize, usize)| {
            let mut subject = Subject::new(format!("{number:04}"), image(), None);
            subject.patient = format!("patient {patient}");
            subject
        };
        patients.into_iter().enumerate().map(subject).collect()
    }

    #[test]
    fn held_out_cases_are_those_of_the_held_out_subjects() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("cases.csv");
        // Patients with several images that do not follow each other.
        let patients = || (0..40).map(|number| number % 17);
        let row = |(number, patient)| format!("{number:04}.png,{number:04},patient {patient}\n");
        let rows: String = patients().enumerate().map(row).collect();
        std::fs::write(&table, format!("image,case,patient\n{rows}")).unwrap();
        let data = Dataset::open(&table, &Layout::Manifest).unwrap();
        let cases = held_out_cases(data.cases().to_vec());
        let subjects = hold_out(subjects(patients())).validation;
        assert_eq!(subjects.len(), 2);
        assert!(cases.iter().map(Case::id).eq(subjects.iter().map(|subject| subject.id.as_str())));
    }

    #[test]
    fn every_tenth_patient_is_held_out() {
        let counts =
            [(0, 0), (1, 0), (2, 1), (3, 1), (9, 1), (10, 1), (19, 1), (20, 2), (209, 20), (682, 68)];
        for (patients, expected) in counts {
            let parts = hold_out(subjects(0..patients));
            assert_eq!(parts.validation.len(), expected, "of {patients}");
            assert_eq!(parts.training.len(), patients - expected, "of {patients}");
        }
    }

    #[test]
    fn a_patient_is_on_one_side_only() {
        // Two images a patient, and the patients' images not beside each other.
        let parts = hold_out(subjects((0..40).map(|number| number % 20)));
        assert_eq!((parts.training.len(), parts.validation.len()), (36, 4));
        for own in &parts.validation {
            assert!(parts.training.iter().all(|other| other.patient != own.patient));
        }
    }
}
