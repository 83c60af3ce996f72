//! Images of one kind.

use lesio_anomaly::PostProcessing;
use lesio_image::Preprocessing;
use lesio_io::ReadOptions;
use lesio_io::dataset::Dataset;
use lesio_vae::{Augmentation, Mirror};

use crate::hold_out::hold_out;
use crate::observer::Observer;
use crate::preset::Preset;
use crate::reading::{BadCases, read_subjects};
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
    /// If a split is missing or a case cannot be read.
    pub fn read(
        name: impl Into<String>,
        preset: Preset,
        size: usize,
        data: &Dataset,
        test: (&Dataset, &str),
        observer: &mut dyn Observer,
    ) -> Result<Self, WorkflowError> {
        let options = ReadOptions::new();
        let mut read = |data: &Dataset, split: &str| {
            let cases = data.select(split)?;
            let (subjects, _) = read_subjects(cases.cases(), split, &options, BadCases::Stop, observer)?;
            Ok::<_, WorkflowError>(subjects)
        };
        let training = read(data, "train")?;
        let own = ["val", "validation"].into_iter().find(|split| data.splits().contains(split));
        let (training, validation) = match own {
            Some(split) => (training, read(data, split)?),
            None => {
                let parts = hold_out(training);
                (parts.training, parts.validation)
            }
        };
        let test = read(test.0, test.1)?;
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
