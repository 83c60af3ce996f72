//! Segmenters trained on either half of the patients, for candidates of the other half.

use lesio_nn::random;
use ndarray::Array2;
use rand::RngExt;

use crate::candidates::Origin;
use crate::framing::{Framing, Standardization};
use crate::pipeline::progress::PipelineError;
use crate::samples::Sample;
use crate::segmenter::Segmenter;
use crate::slices::{PatientGroups, TrueSlice};

/// Segmenters of both halves of the training patients.
#[derive(Debug)]
#[non_exhaustive]
pub struct Segmenters {
    pub(crate) framing: Framing,
    pub(crate) classes: Vec<u8>,
    pub(crate) halves: PatientGroups,
    /// The half that each was trained on, where its candidates come from, and itself.
    pub(crate) trained: Vec<(usize, Origin, Segmenter)>,
}

/// Largest error of the place that a segmenter is given, in grid pixels.
const JITTER: f64 = 6.0;

impl Segmenters {
    /// What segmenters give for a slice that they never saw: those of the other half for a training patient,
    /// those of the first half for anybody else.
    ///
    /// Segmenters look at a frame around the true structure, misplaced a little by `seed`: real pipelines
    /// find the organ first, and well enough.
    ///
    /// # Errors
    /// Slices that are refused, and failures of the device.
    pub fn segment(&self, slice: &TrueSlice, seed: u64) -> Result<Vec<(Origin, Array2<u8>)>, PipelineError> {
        let half = self.halves.group(&slice.patient).map_or(0, |own| 1 - own);
        let mut generator = random::generator(seed, 0x717);
        let mut found = Vec::new();
        for (_, origin, segmenter) in self.trained.iter().filter(|(own, ..)| *own == half) {
            let mut jitter = || self.framing.pixel * generator.random_range(-JITTER..=JITTER);
            let center = slice.center.map(|place| place + jitter());
            let frame = match self.framing.frame_at(&slice.image.view(), center) {
                // Padding: no segmenter would find anything.
                Err(error) if error.is_constant() => return Ok(Vec::new()),
                frame => frame.map_err(PipelineError::of_slice(slice))?,
            };
            let indices = segmenter.segment(&frame.image)?;
            let labels =
                frame.restore_labels(&indices, &self.classes).map_err(PipelineError::of_slice(slice))?;
            found.push((*origin, labels));
        }
        Ok(found)
    }
}

/// A slice framed around its true structures, for segmenters: its candidate is empty. `None` for an empty slice
/// of a constant image, as padding is.
pub(crate) fn centered_sample(
    framing: &Framing,
    classes: &[u8],
    slice: &TrueSlice,
) -> Result<Option<Sample>, PipelineError> {
    let frame = match framing.frame_at(&slice.image.view(), slice.center) {
        Err(error) if error.is_constant() && slice.truth.iter().all(|&l| l == 0) => return Ok(None),
        frame => frame.map_err(PipelineError::of_slice(slice))?,
    };
    let truth = frame.indices(&slice.truth.view(), classes).map_err(PipelineError::of_slice(slice))?;
    let labels = framing.labels.len();
    Ok(Some(Sample {
        patient: slice.patient.clone(),
        ranges: frame.scales.iter().map(Standardization::range).collect(),
        pixel: frame.pixel(),
        segmentation: vec![0; truth.len()],
        truth,
        image: frame.image,
        dice: vec![0.0; labels],
        distance: vec![None; labels],
    }))
}
