//! The pixels of a subject that enter an evaluation.

use lesio_metrics::{Connectivity, TruePixels};
use ndarray::{Array3, Axis, CowArray, Ix3};

use crate::error::StudyError;
use crate::maps::Scene;

/// The pixels of some slices of a subject that count.
#[derive(Debug)]
pub(crate) struct ScoredPixels {
    shape: (usize, usize, usize),
    axis: usize,
    pub(crate) slices: Vec<usize>,
    /// The slices of maps that are stacked: these, and after each gap between lesions one of it, whose pixels do not count.
    /// Without it, lesions above and below the gap would touch and count as one region.
    stacked: Vec<usize>,
    /// `None` if there is no slice.
    pixels: Option<TruePixels>,
}

impl ScoredPixels {
    /// The pixels of the slices with lesions, and those of all slices, in this order.
    ///
    /// The pixels of the foreground count, and lesion pixels outside it.
    pub(crate) fn of_scopes(scene: &Scene, truth: &Array3<bool>) -> Result<[Self; 2], StudyError> {
        scene.check("truth", truth)?;
        let within =
            ndarray::Zip::from(&scene.foreground).and(truth).map_collect(|&inside, &lesion| inside || lesion);
        let axis = scene.axis;
        let of = |slices: Vec<usize>| -> Result<Self, StudyError> {
            let stacked = with_separators(&slices);
            let is_whole = slices.len() == truth.len_of(Axis(axis));
            let pixels = match (truth.is_empty() || slices.is_empty(), is_whole) {
                (true, _) => None,
                (_, true) => Some(TruePixels::new(truth.view(), within.view(), Connectivity::Vertex)?),
                (_, false) => {
                    let cut = |mask: &Array3<bool>| mask.select(Axis(axis), &stacked);
                    let mut within = cut(&within);
                    let separators = stacked.iter().zip(within.axis_iter_mut(Axis(axis)));
                    separators
                        .filter(|(slice, _)| slices.binary_search(slice).is_err())
                        .for_each(|(_, mut pixels)| pixels.fill(false));
                    Some(TruePixels::new(cut(truth).view(), within.view(), Connectivity::Vertex)?)
                }
            };
            Ok(Self { shape: truth.dim(), axis, slices, stacked, pixels })
        };
        Ok([of(lesion_slices(truth, axis))?, of((0..truth.len_of(Axis(axis))).collect())?])
    }

    /// The scores of these slices; `None` if there are none.
    pub(crate) fn cut<'m>(
        &self,
        map: &'m Array3<f32>,
    ) -> Result<Option<(&TruePixels, CowArray<'m, f32, Ix3>)>, StudyError> {
        if map.dim() != self.shape {
            let (a, b, c) = self.shape;
            let (found, expected) = (map.shape().to_vec(), vec![a, b, c]);
            return Err(StudyError::Shape { what: "a map".to_owned(), found, expected });
        }
        let Some(pixels) = &self.pixels else { return Ok(None) };
        let axis = Axis(self.axis);
        Ok(Some((
            pixels,
            match self.slices.len() == map.len_of(axis) {
                true => map.into(),
                false => map.select(axis, &self.stacked).into(),
            },
        )))
    }
}

/// Ascending slices, and between two that are no neighbors the one after the first.
fn with_separators(slices: &[usize]) -> Vec<usize> {
    let mut all = Vec::with_capacity(slices.len());
    for &slice in slices {
        all.extend(all.last().filter(|&&last| last + 1 < slice).map(|last| last + 1));
        all.push(slice);
    }
    all
}

/// The slices of a subject with a lesion.
pub(crate) struct LesionSlices {
    axis: Axis,
    slices: Vec<usize>,
    /// The truth.
    pub(crate) truth: Array3<bool>,
    /// The pixels that count: the foreground, and lesions outside it, which are missed.
    pub(crate) within: Array3<bool>,
}

impl LesionSlices {
    /// `None` without a lesion.
    ///
    /// # Errors
    /// For a truth of another shape than the foreground.
    pub(crate) fn of(scene: &Scene, truth: &Array3<bool>) -> Result<Option<Self>, StudyError> {
        scene.check("truth", truth)?;
        let (axis, slices) = (Axis(scene.axis), lesion_slices(truth, scene.axis));
        if slices.is_empty() {
            return Ok(None);
        }
        let (truth, inside) = (truth.select(axis, &slices), scene.foreground.select(axis, &slices));
        let within = ndarray::Zip::from(&truth).and(&inside).map_collect(|&lesion, &inside| lesion || inside);
        Ok(Some(Self { axis, slices, truth, within }))
    }

    /// These slices of a map.
    pub(crate) fn cut(&self, map: &Array3<f32>) -> Array3<f32> {
        map.select(self.axis, &self.slices)
    }
}

/// Slices along an axis with a lesion.
pub(crate) fn lesion_slices(truth: &Array3<bool>, axis: usize) -> Vec<usize> {
    let slices = truth.axis_iter(Axis(axis)).enumerate();
    slices.filter(|(_, slice)| slice.iter().any(|&inside| inside)).map(|(k, _)| k).collect()
}
