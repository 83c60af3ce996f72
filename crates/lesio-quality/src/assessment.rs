//! Grades of the segmentation of a volume.

use lesio_image::{AxisCode, Orientation, Scan, Volume, check_finite};
use ndarray::{Array3, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::calibration::{CalibratedLabels, GradeCalibration};
use crate::config::EstimatorConfig;
use crate::conformal::Conformal;
use crate::error::{EstimateError, InputError, in_channel};
use crate::estimator::Estimator;
use crate::framing::{FramedSlice, Framing, Standardization};
use crate::novelty::{Novelty, Unlikeness};
use crate::reconstructor::RecNet;
use crate::slices::{SLICE_AXIS, on_grid_of, pixel_millimeters};

/// The grades of a segmentation of a volume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assessment {
    /// Each slice along `slice_axis`, in order.
    pub slices: Vec<SliceAssessment>,
    /// The axis of the array across the slices, 0 to 2: the last, unless the orientation of the training images tells
    /// another one.
    pub slice_axis: usize,
    /// The whole volume, label by label; `None` if nothing is segmented.
    ///
    /// Its Dice follows from those of the slices, weighted by the sizes of the segmentation and of the
    /// structure itself, as the estimator sees it; a slice without segmentation between two with one counts as missed in
    /// the estimate, but not in the upper end of the interval ([`Assessment::missed_slices`]). A
    /// label that is segmented nowhere, and whose size the method does not estimate, has the mean Dice of the slices and
    /// an interval of 0 to 1.
    /// The interval is that of the model for volumes if it has one, and otherwise that of slices with fully dependent
    /// errors.
    pub volume: Option<Vec<Grade>>,
    /// The image as it would be if the segmentation were correct; the image itself outside the frames.
    pub reconstruction: Scan,
    /// Image minus reconstruction, in intensities.
    pub difference: Scan,
    /// Probability, 0 to 1, that the label of a voxel is wrong, 0 beyond the frames; `None` for methods that do not
    /// segment.
    pub error: Option<Volume<f32>>,
}

impl Assessment {
    /// Number of slices without a grade between the first and the last that have one. The estimates of volumes take them for
    /// missed: as large as the neighboring slices suggest, and segmented wrongly. The upper ends of their intervals take
    /// them for right.
    #[must_use]
    pub fn missed_slices(&self) -> usize {
        let is_graded = |slice: &SliceAssessment| matches!(slice.verdict, SliceVerdict::Graded { .. });
        let graded = || self.slices.iter().enumerate().filter(|(_, slice)| is_graded(slice)).map(|(k, _)| k);
        let span = graded().next().zip(graded().next_back()).map_or(0, |(first, last)| last - first + 1);
        span - graded().count()
    }
}

/// The grade of one slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceAssessment {
    /// The slice, from 0.
    pub index: usize,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: SliceVerdict,
}

/// The verdict on the segmentation of a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SliceVerdict {
    /// Nothing is segmented, so there is no grade. A missing segmentation is not detected.
    Empty,
    /// So few pixels are segmented that none of them reaches the grid of the networks, so there is no grade.
    TooSmall,
    /// The segmentation is graded.
    Graded {
        /// Each label.
        labels: Vec<Grade>,
        /// Mean Dice over the labels.
        mean_dice: f64,
        /// Whether the image is like those of the training; grades of other images are unreliable.
        unlikeness: Unlikeness,
        /// The share of the segmented pixels that lie too far from the others to be shown to the networks, 0 to 1. The
        /// estimates take them for wrong, the upper ends of the intervals for right.
        #[serde(default, skip_serializing_if = "is_none")]
        out_of_reach: f64,
    },
}

/// Relative difference in the size of pixels that rounding in a header explains.
const SAME_SIZE: f64 = 0.01;

/// Whether nothing is out of reach, which is usual.
fn is_none(share: &f64) -> bool {
    *share == 0.0
}

/// The grade of one label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Grade {
    /// The label.
    pub label: u8,
    /// Estimated Dice, 0 to 1.
    pub dice: f64,
    /// Interval of the Dice.
    pub interval: [f64; 2],
    /// Estimated HD95 in pixels; of a volume, the mean over the slices in which the label is segmented. `None` where it is
    /// not segmented: there is no contour whose distance could be estimated.
    pub distance_pixels: Option<f64>,
    /// The same in millimeters; also `None` if a pixel's sides differ by more than a hundredth, because the direction of
    /// the distance is unknown.
    #[serde(alias = "distance_millimetres")]
    pub distance_millimeters: Option<f64>,
}

/// The parts of a model that grading needs in addition to the estimator.
pub(crate) struct Parts<'a> {
    pub(crate) estimator: &'a Estimator,
    pub(crate) reconstructor: &'a RecNet,
    pub(crate) conformal: &'a [Conformal],
    /// The calibration on segmentations by the user's networks.
    pub(crate) calibration: Option<&'a CalibratedLabels>,
    pub(crate) novelty: &'a Novelty,
    /// Least and greatest side of a pixel of the training images, in millimeters, if it is known.
    pub(crate) pixel_millimeters: Option<[f64; 2]>,
}

/// A graded slice, with the data for the volume's grade.
struct Graded {
    /// Of the part that the frame shows, and without a correction, since volumes have a separate one.
    grades: Vec<Grade>,
    /// Of each label.
    sizes: Vec<Sizes>,
}

/// Sizes of a label in a slice, in pixels.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// The label in the segmentation.
    segmented: f64,
    /// The part of it that the frame does not show, or all of it if its pixels are coarser than the label's parts.
    out_of_reach: f64,
    /// The structure as the opinion sees it; `None` for methods without an opinion.
    seen: Option<f64>,
}

impl Sizes {
    /// Whether the segmentation that a frame shows has the label.
    fn is_shown(&self) -> bool {
        self.segmented > self.out_of_reach
    }

    /// The structure: as the opinion sees it, or else as large as the segmentation that is shown.
    fn structure(&self) -> f64 {
        self.seen.unwrap_or(self.segmented - self.out_of_reach)
    }

    /// The sum of what the frame shows and of the structure, by which the Dice of the shown part weighs.
    fn shown(&self) -> f64 {
        self.segmented - self.out_of_reach + self.structure()
    }

    /// The estimate of the whole segmentation.
    fn of_all(&self, estimate: (f64, [f64; 2])) -> (f64, [f64; 2]) {
        let far = self.out_of_reach;
        if far == 0.0 { estimate } else { Whole { graded: self.shown(), missed: 0.0, far }.of_all(estimate) }
    }
}

/// Sizes of the parts of a segmentation and its structure, in pixels: sums of both.
struct Whole {
    /// The parts that are graded.
    graded: f64,
    /// The structure that is expected where nothing is graded.
    missed: f64,
    /// The segmentation that no frame shows.
    far: f64,
}

impl Whole {
    /// The Dice and the interval of everything, from those of the graded and the missed parts. The Dice takes what no
    /// frame shows for wrong. The upper end of the interval takes it for right, and nothing for missed.
    fn of_all(&self, (dice, [low, high]): (f64, [f64; 2])) -> (f64, [f64; 2]) {
        let (known, far) = (self.graded + self.missed, self.far);
        if far == 0.0 && self.missed == 0.0 {
            return (dice, [low, high]);
        }
        let wrong = known / (known + far);
        // Above 1 if more is estimated to agree than is there.
        let right = (high * known + 2.0 * far) / (self.graded + 2.0 * far).max(f64::MIN_POSITIVE);
        (dice * wrong, [low * wrong, right.min(1.0)])
    }
}

/// Grades a scan as one of the orientation `known`; what is returned has the order of its own voxels.
pub(crate) fn assess_turned(
    parts: &Parts<'_>,
    known: Orientation,
    image: &Scan,
    segmentation: &Volume<u8>,
) -> Result<Assessment, EstimateError> {
    // Before it is turned: an error names the voxel of the file.
    check_values(image)?;
    let (geometry, own) = (*image.geometry(), image.geometry().orientation());
    let (across, rises) = known.codes()[SLICE_AXIS].world();
    let mut axes = own.codes().into_iter().map(AxisCode::world).enumerate();
    // Every world axis has a voxel axis: one is always found.
    let (axis, (_, rises_too)) =
        axes.find(|(_, (world, _))| *world == across).unwrap_or((SLICE_AXIS, (across, rises)));
    let last = image.grid()[axis].saturating_sub(1);
    let mut found = assess(parts, &image.reoriented(&known), segmentation).map_err(|error| match error {
        EstimateError::Slice { slice, source } if rises_too != rises => {
            EstimateError::Slice { slice: last - slice, source }
        }
        other => other,
    })?;
    found.slice_axis = axis;
    if rises_too != rises {
        found.slices.reverse();
        (0..).zip(&mut found.slices).for_each(|(index, slice)| slice.index = index);
    }
    // Turned back as it came: its geometry is not computed a second time, and is not rounded.
    let back = |scan: &Scan| image.with_values(scan.reoriented(&own).into_data()).map_err(InputError::Image);
    found.reconstruction = back(&found.reconstruction)?;
    found.difference = back(&found.difference)?;
    let error = found.error.as_ref();
    found.error = error.map(|volume| Volume::new(volume.reoriented(&own).into_data(), geometry));
    Ok(found)
}

pub(crate) fn assess(
    parts: &Parts<'_>,
    image: &Scan,
    segmentation: &Volume<u8>,
) -> Result<Assessment, EstimateError> {
    let framing = parts.framing(image);
    let segmentation = &on_grid_of(image, segmentation)?;
    check(image, segmentation, parts.estimator.config())?;
    let millimeters = pixel_side(image);
    let mut reconstruction = image.data().clone();
    let mut error = Array3::<f32>::zeros(image.grid());
    let (mut slices, mut graded) = (Vec::new(), Vec::new());
    let mut has_opinion = false;
    for index in 0..image.grid()[SLICE_AXIS] {
        let labels = segmentation.data().index_axis(Axis(SLICE_AXIS), index);
        let pixels = image.data().index_axis(Axis(1 + SLICE_AXIS), index);
        let refused = |source| EstimateError::Slice { slice: index, source };
        // A slice without segmentation may be empty padding, which no frame could be made of.
        let nothing = !labels.iter().any(|label| framing.labels.contains(label));
        let shown = framing.within_reach(labels);
        let frame =
            if nothing { None } else { framing.frame_scaled(&pixels, &shown.view()).map_err(refused)? };
        let Some(frame) = frame else {
            let verdict = if nothing { SliceVerdict::Empty } else { SliceVerdict::TooSmall };
            slices.push(SliceAssessment { index, verdict });
            graded.push(None);
            continue;
        };
        let estimates = parts.estimator.estimate(&frame.image, &frame.segmentation)?;
        let sizes = sizes(&framing, &labels, &shown.view(), &frame, estimates.probability.as_deref());
        let grades: Vec<Grade> = framing
            .labels
            .iter()
            .enumerate()
            .map(|(k, &label)| {
                let dice = f64::from(estimates.dice[k]);
                let interval =
                    parts.conformal.get(k).map_or([0.0, 1.0], |conformal| conformal.interval(dice));
                let distance_pixels =
                    sizes[k].is_shown().then(|| f64::from(estimates.distance[k]) * frame.pixel());
                Grade {
                    label,
                    dice,
                    interval,
                    distance_pixels,
                    distance_millimeters: millimeters
                        .zip(distance_pixels)
                        .map(|(side, distance)| distance * side),
                }
            })
            .collect();
        if let Some(wrong) = &estimates.error {
            has_opinion = true;
            let wrong = frame.restore(wrong, 0.0).map_err(refused)?;
            error.index_axis_mut(Axis(SLICE_AXIS), index).assign(&wrong);
        }
        let mut planes = reconstruction.index_axis_mut(Axis(1 + SLICE_AXIS), index);
        for (mut plane, reconstructed) in planes.outer_iter_mut().zip(parts.reconstruct(&frame)?) {
            let reconstructed = frame.restore(&reconstructed, f32::NAN).map_err(refused)?;
            for (value, &reconstructed) in
                plane.iter_mut().zip(&reconstructed).filter(|(_, reconstructed)| !reconstructed.is_nan())
            {
                *value = reconstructed;
            }
        }
        let unlikeness = parts.novelty.judge(&frame.image, &frame.segmentation, framing.grid[1]);
        let mut labels = grades.clone();
        for (k, (grade, sizes)) in labels.iter_mut().zip(&sizes).enumerate() {
            let calibration = parts.calibration.and_then(|own| own.slices.get(k));
            let estimate = (grade.dice, grade.interval);
            let estimate = calibration.map_or(estimate, |own| own.apply(grade.dice));
            (grade.dice, grade.interval) = sizes.of_all(estimate);
        }
        let mean_dice = labels.iter().map(|grade| grade.dice).sum::<f64>() / labels.len().max(1) as f64;
        let count = |of: fn(&Sizes) -> f64| sizes.iter().map(of).sum::<f64>();
        let out_of_reach = count(|own| own.out_of_reach) / count(|own| own.segmented).max(1.0);
        let verdict = SliceVerdict::Graded { labels, mean_dice, unlikeness, out_of_reach };
        slices.push(SliceAssessment { index, verdict });
        graded.push(Some(Graded { grades, sizes }));
    }
    let difference = image.data() - &reconstruction;
    Ok(Assessment {
        slices,
        slice_axis: SLICE_AXIS,
        volume: whole(
            &framing.labels,
            &graded,
            parts.calibration.map(|own| &own.volumes[..]).unwrap_or_default(),
        ),
        reconstruction: image.with_values(reconstruction).map_err(InputError::Image)?,
        difference: image.with_values(difference).map_err(InputError::Image)?,
        error: has_opinion.then(|| image.placed(error)),
    })
}

impl Parts<'_> {
    /// The frames for an image. If its pixels are smaller or larger than all of the training, frames of as many millimeters
    /// show the structures as large as the networks know them.
    fn framing(&self, image: &Scan) -> Framing {
        let framing = self.estimator.config().framing.clone();
        let (Some([least, most]), Some(own)) = (self.pixel_millimeters, pixel_millimeters(image)) else {
            return framing;
        };
        let known = own.clamp(least, most);
        if (own / known - 1.0).abs() <= SAME_SIZE {
            return framing;
        }
        tracing::warn!(
            millimeters = own,
            least,
            most,
            "pixels of another size than in all training images: frames are scaled to as many millimeters, and grades may be \
             less accurate"
        );
        framing.scaled(known / own)
    }

    /// The reconstruction of each channel of a frame in intensities.
    fn reconstruct(&self, frame: &FramedSlice) -> Result<Vec<Vec<f32>>, EstimateError> {
        let reconstructed = self.reconstructor.reconstruct(&frame.image, &frame.segmentation, 1)?;
        let channels = reconstructed.chunks_exact(frame.segmentation.len().max(1)).zip(&frame.scales);
        let inverted = |(values, scale): (&[f32], &Standardization)| -> Vec<f32> {
            values.iter().map(|&value| scale.invert(value)).collect()
        };
        Ok(channels.map(inverted).collect())
    }
}

fn check(image: &Scan, segmentation: &Volume<u8>, config: &EstimatorConfig) -> Result<(), InputError> {
    let (found, expected) = (image.channels(), config.channels);
    if found != expected {
        return Err(InputError::Channels { found, expected });
    }
    let known = &config.classes;
    if let Some(&label) = segmentation.data().iter().find(|label| **label != 0 && !known.contains(label)) {
        return Err(InputError::UnknownLabel { label, expected: known.clone() });
    }
    check_values(image)
}

fn check_values(image: &Scan) -> Result<(), InputError> {
    for (channel, values) in image.data().outer_iter().enumerate() {
        let name = || image.names().get(channel).cloned().unwrap_or_else(|| channel.to_string());
        check_finite(&values).map_err(|error| in_channel(name(), image.channels(), error))?;
    }
    Ok(())
}

/// The side of a square pixel within a slice, in millimeters; `None` for a picture, too.
fn pixel_side(image: &Scan) -> Option<f64> {
    let spacing = image.geometry().spacing();
    let sides: Vec<f64> = (0..3).filter(|&axis| axis != SLICE_AXIS).map(|axis| spacing[axis]).collect();
    let (least, most) = (sides[0].min(sides[1]), sides[0].max(sides[1]));
    (!image.is_picture() && most <= 1.01 * least).then_some(0.5 * (least + most))
}

/// Sizes of each label in the slice, in the part of it that the frame shows, and of the structure as the opinion sees it.
fn sizes(
    framing: &Framing,
    labels: &ArrayView2<'_, u8>,
    shown: &ArrayView2<'_, u8>,
    frame: &FramedSlice,
    opinion: Option<&[f32]>,
) -> Vec<Sizes> {
    let area = frame.pixel() * frame.pixel();
    let pixels = frame.segmentation.len();
    framing
        .labels
        .iter()
        .zip(1_u8..)
        .enumerate()
        .map(|(k, (label, index))| {
            let count = |labels: &ArrayView2<'_, u8>| labels.iter().filter(|found| *found == label).count();
            let segmented = count(labels);
            let reached = if frame.segmentation.contains(&index) { count(shown) } else { 0 };
            let seen = opinion.and_then(|opinion| opinion.get(k * pixels..(k + 1) * pixels));
            Sizes {
                segmented: segmented as f64,
                out_of_reach: segmented.saturating_sub(reached) as f64,
                seen: seen.map(|plane| plane.iter().map(|&p| f64::from(p)).sum::<f64>() * area),
            }
        })
        .collect()
}

/// The grade of the volume from those of its slices.
fn whole(labels: &[u8], slices: &[Option<Graded>], calibration: &[GradeCalibration]) -> Option<Vec<Grade>> {
    let first = slices.iter().position(Option::is_some)?;
    let last = slices.iter().rposition(Option::is_some)?;
    let between = &slices[first..=last];
    let graded: Vec<&Graded> = between.iter().flatten().collect();
    let grade = |(k, &label): (usize, &u8)| {
        let mut all = Whole { graded: 0.0, missed: missed(between, k), far: 0.0 };
        let mut agree = [0.0; 3];
        for slice in &graded {
            let (grade, size) = (&slice.grades[k], slice.sizes[k].shown());
            all.graded += size;
            all.far += slice.sizes[k].out_of_reach;
            for (sum, dice) in agree.iter_mut().zip([grade.dice, grade.interval[0], grade.interval[1]]) {
                *sum += dice * size;
            }
        }
        // Of the slices that have it.
        let mean = |of: fn(&Grade) -> Option<f64>| {
            let all: Vec<f64> = graded.iter().filter_map(|slice| of(&slice.grades[k])).collect();
            (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
        };
        let known = all.graded + all.missed;
        let (dice, interval) = if known > 0.0 {
            let [dice, low, high] = agree.map(|sum| (sum / known).clamp(0.0, 1.0));
            let calibrated = calibration.get(k).map(|calibration| calibration.apply(dice));
            all.of_all(calibrated.unwrap_or((dice, [low, high])))
        } else {
            // The label is segmented nowhere, and nothing tells how large the structure is: it may be missing as rightly as
            // wrongly.
            (mean(|grade| Some(grade.dice)).unwrap_or(0.0), [0.0, 1.0])
        };
        Grade {
            label,
            dice,
            interval,
            distance_pixels: mean(|grade| grade.distance_pixels),
            distance_millimeters: mean(|grade| grade.distance_millimeters),
        }
    };
    Some(labels.iter().enumerate().map(grade).collect())
}

/// Pixels of a label's structure in slices in which it is not segmented, as the nearest slices on both sides suggest: of
/// slices without any segmentation, and, where there is no opinion of the size, of those with other labels alone, by how
/// probable it is that the structure is there.
fn missed(slices: &[Option<Graded>], label: usize) -> f64 {
    let structure = |slice: &Option<Graded>| {
        let sizes = slice.as_ref()?.sizes[label];
        (sizes.seen.is_some() || sizes.segmented > 0.0).then(|| sizes.structure())
    };
    let holes = slices.iter().enumerate().filter_map(|(index, slice)| match slice {
        None => Some((index, 1.0)),
        // Where a label is not segmented, its Dice is 1 if it is not there either, and else 0.
        Some(_) if structure(slice).is_none() => {
            Some((index, slice.as_ref().map_or(1.0, |graded| 1.0 - graded.grades[label].dice)))
        }
        Some(_) => None,
    });
    holes
        .map(|(index, probability)| {
            let before = slices[..index].iter().rev().find_map(structure).unwrap_or(0.0);
            let after = slices[index..].iter().find_map(structure).unwrap_or(0.0);
            probability * (before + after) / 2.0
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(dice: f64, own: f64, seen: f64) -> Option<Graded> {
        let grade = Grade {
            label: 1,
            dice,
            interval: [dice - 0.1, (dice + 0.1).min(1.0)],
            distance_pixels: Some(2.0),
            distance_millimeters: Some(3.0),
        };
        let sizes = Sizes { segmented: own, out_of_reach: 0.0, seen: Some(seen) };
        Some(Graded { grades: vec![grade], sizes: vec![sizes] })
    }

    #[test]
    fn a_volume_is_the_sum_of_its_slices() {
        let grades =
            whole(&[1], &[None, graded(0.8, 10.0, 30.0), graded(0.5, 20.0, 20.0), None], &[]).unwrap();
        assert!((grades[0].dice - 0.65).abs() < 1e-12);
        assert!((grades[0].interval[0] - 0.55).abs() < 1e-12);
        assert_eq!((grades[0].distance_pixels, grades[0].distance_millimeters), (Some(2.0), Some(3.0)));
        assert!(whole(&[1], &[None, None], &[]).is_none());
    }

    #[test]
    fn only_square_pixels_have_a_side() {
        let side = |spacing: [f64; 3]| {
            let geometry = lesio_image::Geometry::from_spacing(spacing).unwrap();
            pixel_side(&Volume::new(Array3::zeros((2, 2, 2)), geometry).into())
        };
        assert_eq!([side([1.5, 1.5, 8.0]), side([1.0, 3.0, 3.0])], [Some(1.5), None]);
    }

    #[test]
    fn the_distance_of_a_volume_is_that_of_slices_with_the_label() {
        let mut far = graded(0.5, 20.0, 20.0).unwrap();
        far.grades[0].distance_pixels = Some(6.0);
        let mut without = graded(0.1, 0.0, 20.0).unwrap();
        (without.grades[0].distance_pixels, without.grades[0].distance_millimeters) = (None, None);
        let grades = whole(&[1], &[graded(0.8, 10.0, 30.0), Some(far), Some(without)], &[]).unwrap();
        assert_eq!(grades[0].distance_pixels, Some(4.0));
        let mut without = graded(0.1, 0.0, 20.0).unwrap();
        (without.grades[0].distance_pixels, without.grades[0].distance_millimeters) = (None, None);
        let grades = whole(&[1], &[Some(without)], &[]).unwrap();
        assert_eq!((grades[0].distance_pixels, grades[0].distance_millimeters), (None, None));
    }

    /// A slice graded by a method that has no opinion of the size of the structure.
    fn without_opinion(dice: f64, own: f64) -> Option<Graded> {
        let mut found = graded(dice, own, 0.0)?;
        found.sizes[0].seen = None;
        Some(found)
    }

    #[test]
    fn a_label_that_is_missing_is_not_perfect() {
        let slices = [without_opinion(0.3, 0.0), without_opinion(0.5, 0.0)];
        let grades = whole(&[1], &slices, &[]).unwrap();
        assert!((grades[0].dice - 0.4).abs() < 1e-12);
        assert_eq!(grades[0].interval, [0.0, 1.0]);
        // Missing in one of three slices, where it should be with a probability of .9: half of .9 of 60 pixels.
        let slices = [without_opinion(0.8, 20.0), without_opinion(0.1, 0.0), without_opinion(0.8, 40.0)];
        let grades = whole(&[1], &slices, &[]).unwrap();
        assert!((grades[0].dice - 0.8 * 120.0 / (120.0 + 27.0)).abs() < 1e-12);
        // Below the last slice that has it, half as much is expected.
        let grades = whole(&[1], &[without_opinion(0.8, 20.0), without_opinion(0.1, 0.0)], &[]).unwrap();
        assert!((grades[0].dice - 0.8 * 40.0 / (40.0 + 9.0)).abs() < 1e-12);
    }

    #[test]
    fn pixels_out_of_reach_count() {
        // 90 shown pixels of 100 agree with a structure of 90.
        let sizes = Sizes { segmented: 100.0, out_of_reach: 10.0, seen: Some(90.0) };
        let (dice, [low, high]) = sizes.of_all((1.0, [0.8, 1.0]));
        assert!((dice - 180.0 / 190.0).abs() < 1e-12 && (low - 0.8 * 180.0 / 190.0).abs() < 1e-12);
        assert_eq!(high, 1.0, "they may all be right");
        assert_eq!(Sizes { out_of_reach: 0.0, ..sizes }.of_all((0.7, [0.6, 0.8])), (0.7, [0.6, 0.8]));
        // Without an opinion, the structure is as large as what is shown.
        assert_eq!(Sizes { seen: None, ..sizes }.shown(), 180.0);
        // The same in a volume, whose calibration is of what is shown.
        let slice = || {
            let mut slice = graded(1.0, 100.0, 90.0).unwrap();
            (slice.grades[0].interval, slice.sizes[0]) = ([0.8, 1.0], sizes);
            Some(slice)
        };
        let volume = whole(&[1], &[slice(), slice()], &[]).unwrap()[0];
        assert!((volume.dice - 180.0 / 190.0).abs() < 1e-12 && volume.interval[1] == 1.0);
        let all: Vec<f64> = (0..40).map(|k| f64::from(k) / 40.0).collect();
        let names: Vec<String> = (0..40).map(|k| k.to_string()).collect();
        let calibration = GradeCalibration::fit(&names, &all, &all, 0.9).unwrap();
        let calibrated = whole(&[1], &[slice(), slice()], std::slice::from_ref(&calibration)).unwrap()[0];
        assert!(calibrated.interval[1] > 0.999, "{calibrated:?}");
    }

    #[test]
    fn a_slice_left_out_is_missed() {
        let slices = [graded(1.0, 20.0, 20.0), None, graded(1.0, 40.0, 40.0)];
        // 120 pixels on both sides agree; some 30 of the truth have none to agree with.
        let grades = whole(&[1], &slices, &[]).unwrap();
        assert!((grades[0].dice - 120.0 / 150.0).abs() < 1e-12);
        // There may also be nothing to segment in it.
        assert_eq!(grades[0].interval[1], 1.0);
    }

    #[test]
    fn the_size_of_a_structure_does_not_depend_on_the_number_of_channels() {
        let framing = Framing::new([1, 2]).grid([8, 8]);
        let labels =
            ndarray::Array2::from_shape_fn((8, 8), |(i, j)| if i < 4 { 0 } else { u8::from(j < 4) + 1 });
        let opinion: Vec<f32> = (0..128).map(|k| if k < 64 { 0.25 } else { 0.5 }).collect();
        let found = [1, 3].map(|channels| {
            let image = Array3::from_shape_fn((channels, 8, 8), |(c, i, j)| (c + 2 * i + j) as f32);
            let frame = framing.frame(&image.view(), &labels.view()).unwrap().unwrap();
            let sizes = sizes(&framing, &labels.view(), &labels.view(), &frame, Some(&opinion));
            sizes.iter().map(|own| (own.segmented, own.out_of_reach, own.seen)).collect::<Vec<_>>()
        });
        assert_eq!(found[0], [(16.0, 0.0, Some(16.0)), (16.0, 0.0, Some(32.0))]);
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn a_label_that_misses_the_grid_is_out_of_reach() {
        let mut framing = Framing::new([1, 2]).grid([8, 8]);
        framing.pixel = 4.0;
        framing.finest = 4.0;
        let mut labels = ndarray::Array2::from_shape_fn((32, 32), |(i, j)| u8::from(i > 8 && j > 8));
        labels[[13, 13]] = 2;
        let image = Array3::from_shape_fn((1, 32, 32), |(_, i, j)| (i * j) as f32);
        let frame = framing.frame(&image.view(), &labels.view()).unwrap().unwrap();
        assert!(!frame.segmentation.contains(&2), "the pixel is on the grid");
        let sizes = sizes(&framing, &labels.view(), &labels.view(), &frame, None);
        assert!(sizes[0].is_shown() && !sizes[1].is_shown());
        assert_eq!(sizes[1].out_of_reach, 1.0);
    }
}
