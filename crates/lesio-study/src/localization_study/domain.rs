//! Images of one kind.

use lesio_anomaly::PostProcessing;
use lesio_image::Preprocessing;
use lesio_io::ReadOptions;
use lesio_io::dataset::{Case, Dataset};
use lesio_vae::{Augmentation, Mirror};

use crate::apart::require_apart;
use crate::hold_out::hold_out;
use crate::observer::Observer;
use crate::preset::Preset;
use crate::reading::{BadCases, read_subjects};
use crate::shard::cases_checksum;
use crate::subject::Subject;
use crate::workflow_error::WorkflowError;

/// Images of one kind in three splits: normal images for training, normal images for calibration, and test images.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name in reports.
    pub name: String,
    /// Subjects whose normal slices are training data.
    pub training: Vec<Subject>,
    /// Subjects whose normal slices are used for selecting the epoch and for calibration.
    pub validation: Vec<Subject>,
    /// Subjects that are scored.
    pub test: Vec<Subject>,
    /// The preprocessing of images.
    pub preprocessing: Preprocessing,
    /// The augmentation of training images.
    pub augmentation: Augmentation,
    /// The post-processing of maps.
    pub postprocessing: PostProcessing,
}

impl Domain {
    /// Reads a domain of data sets, for a grid of `size` rows and columns. It is trained on the split `train` of `data`
    /// and calibrated on the split `val` or `validation`, where there is one, or else on every tenth patient
    /// ([`hold_out`]); it is tested on a split of `test`.
    ///
    /// # Errors
    /// If a split is missing or a case cannot be read; for a patient in two of the splits
    /// ([`StudyError::SharedPatients`](crate::StudyError::SharedPatients)).
    pub fn read(
        name: impl Into<String>,
        preset: Preset,
        size: usize,
        data: &Dataset,
        test: (&Dataset, &str),
        observer: &mut dyn Observer,
    ) -> Result<Self, WorkflowError> {
        let parts = Parts::of(data, test)?;
        let options = ReadOptions::new();
        let mut read = |part: &Dataset, split: &str| {
            let (subjects, _) = read_subjects(part.cases(), split, &options, BadCases::Stop, observer)?;
            Ok::<_, WorkflowError>(subjects)
        };
        let training = read(&parts.training, TRAINING)?;
        let (training, validation) = match parts.validation {
            Some((split, validation)) => (training, read(&validation, split)?),
            None => {
                let parts = hold_out(training);
                (parts.training, parts.validation)
            }
        };
        let test = read(&parts.test, test.1)?;
        let mirrored = Augmentation::default().mirror(Mirror::LeftRight);
        let (augmentation, postprocessing) = match preset {
            Preset::Heads => (mirrored.brightness(0.1), PostProcessing::default().median(5.0, 5.0, 5.0)),
            Preset::Photo => (mirrored, PostProcessing::default().median(0.0, 3.0, 3.0)),
        };
        let preprocessing = preset.preprocessing([size, size]);
        Ok(Self {
            name: name.into(),
            training,
            validation,
            test,
            preprocessing,
            augmentation,
            postprocessing,
        })
    }
}

/// The split to train on.
const TRAINING: &str = "train";

/// The splits of a domain.
struct Parts {
    training: Dataset,
    /// With its name; `None` if a part of the training is held out instead.
    validation: Option<(&'static str, Dataset)>,
    test: Dataset,
}

impl Parts {
    /// The splits that [`Domain::read`] reads, if they share no patient.
    fn of(data: &Dataset, (test, split): (&Dataset, &str)) -> Result<Self, WorkflowError> {
        let own = ["val", "validation"].into_iter().find(|split| data.splits().contains(split));
        let validation = match own {
            Some(split) => Some((split, data.select(split)?)),
            None => None,
        };
        let parts = Self { training: data.select(TRAINING)?, validation, test: test.select(split)? };
        if let Some((_, validation)) = &parts.validation {
            require_apart(("training", patients(&parts.training)), ("validation", patients(validation)))?;
            require_apart(("validation", patients(validation)), ("test", patients(&parts.test)))?;
        }
        require_apart(("training", patients(&parts.training)), ("test", patients(&parts.test)))?;
        Ok(parts)
    }
}

fn patients(part: &Dataset) -> impl Iterator<Item = &str> {
    part.cases().iter().map(Case::patient)
}

/// A checksum of the data that [`Domain::read`] reads.
///
/// # Errors
/// If a split is missing, and for a patient in two of the splits.
pub(super) fn data_checksum(data: &Dataset, test: (&Dataset, &str)) -> Result<u32, WorkflowError> {
    let Parts { training, validation, test } = Parts::of(data, test)?;
    let validation = validation.as_ref().map(|(_, validation)| cases_checksum(validation.cases()));
    let text =
        format!("{} {validation:?} {}", cases_checksum(training.cases()), cases_checksum(test.cases()));
    Ok(crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lesio_io::dataset::Layout;

    use super::*;
    use crate::error::StudyError;

    /// A folder of cases, of which no image is read here.
    fn data(folder: &Path, splits: &[(&str, &str)]) -> Dataset {
        let mut table = "case,split\n".to_owned();
        for (case, split) in splits {
            std::fs::create_dir_all(folder.join(case)).unwrap();
            for name in ["image.nii", "mask.nii", "other.nii"] {
                std::fs::write(folder.join(case).join(name), case).unwrap();
            }
            table += &format!("{case},{split}\n");
        }
        std::fs::write(folder.join("splits.csv"), table).unwrap();
        Dataset::open(folder, &Layout::cases("image.nii", Some("mask.nii"))).unwrap()
    }

    #[test]
    fn no_patient_is_in_two_parts() {
        let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let own = data(folder.path(), &[("ann", "train"), ("bob", "val"), ("cid", "test")]);
        assert!(data_checksum(&own, (&own, "test")).is_ok());
        let shared = |test: (&Dataset, &str), expected: [&str; 2]| {
            let of_checksum = data_checksum(&own, test).map(|_| ());
            let of_domain = Domain::read("heads", Preset::Heads, 16, &own, test, &mut ()).map(|_| ());
            for found in [of_checksum, of_domain] {
                match found {
                    Err(WorkflowError::Study(StudyError::SharedPatients { parts, .. })) => {
                        assert_eq!(parts, expected);
                    }
                    found => panic!("{found:?}"),
                }
            }
        };
        shared((&own, "train"), ["training", "test"]);
        shared((&own, "val"), ["validation", "test"]);
        shared((&data(other.path(), &[("ann", "test")]), "all"), ["training", "test"]);
    }

    #[test]
    fn the_checksum_is_of_the_data_that_are_read() {
        let [folder, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let splits = [("ann", "train"), ("bob", "train"), ("cid", "test"), ("dan", "later")];
        let own = data(folder.path(), &splits);
        let of = |data: &Dataset| data_checksum(data, (data, "test")).unwrap();
        let expected = of(&own);
        assert_eq!(of(&data(copy.path(), &splits)), expected, "in another folder");
        // Other images of the same sizes, other masks, another part.
        for layout in
            [Layout::cases("other.nii", Some("mask.nii")), Layout::cases("image.nii", Some("other.nii"))]
        {
            assert_ne!(of(&Dataset::open(folder.path(), &layout).unwrap()), expected, "{layout:?}");
        }
        let moved = [("ann", "train"), ("bob", "val"), ("cid", "test"), ("dan", "later")];
        assert_ne!(of(&data(copy.path(), &moved)), expected);
        // What is not read does not count.
        std::fs::write(folder.path().join("dan/image.nii"), "another").unwrap();
        assert_eq!(of(&own), expected);
        std::fs::write(folder.path().join("cid/image.nii"), "another").unwrap();
        assert_ne!(of(&own), expected);
        assert!(data_checksum(&own, (&own, "val")).is_err());
    }
}
