//! Maps a slice and its segmentation to the grid of the networks.

use std::ops::Range;

use lesio_image::{BoundingBox, ImageError, Interpolation, Placement, bounding_box, check_finite};
use lesio_settings::{SettingError, require, setters};
use ndarray::{Array2, ArrayView2, ArrayView3, Axis, CowArray, Ix2};
use serde::{Deserialize, Serialize};

use crate::error::{InputError, in_channel};

/// Share of the grid's side that all but the largest segmentations fill at most; the rest is what lies
/// around them, by which their borders are judged.
const FILLED: f64 = 0.75;
/// Share of the segmentations that fit so.
const FITTING: f64 = 0.98;
/// Image pixels per grid pixel at least: finer ones than this show nothing more.
const FINEST: f64 = 0.5;
/// Largest share of a segmentation's pixels that are stray ones, if they are too far from the others for one frame.
const STRAY: f64 = 0.02;
/// Share of the grid's side that a segmentation is enlarged to, where pixels may become finer for it.
const ENLARGED: f64 = 0.6;

/// How a slice and its segmentation are prepared for the networks: cropped around the segmentation, with the intensities
/// of each of the slice's channels normalized to mean 0 and standard deviation 1.
///
/// The frame depends only on the segmentation: a change of the image cannot move it. A segmentation far from the organ
/// is framed with its actual surroundings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Framing {
    /// The labels whose quality is predicted, ascending, without 0.
    pub labels: Vec<u8>,
    /// Rows and columns of the grid, 1 to 4096 each. Default 80 x 80.
    pub grid: [usize; 2],
    /// Image pixels per grid pixel, a half to 1000. Default 1: nothing is interpolated.
    pub pixel: f64,
    /// Image pixels per grid pixel that small segmentations may be enlarged to, at most [`Framing::pixel`]: each is
    /// shown by pixels as fine as let it fill three fifths of the grid, within these bounds. A few pixels more or less
    /// decide the Dice of what is small. Default 1, the image's own; as coarse as [`Framing::pixel`], it keeps all
    /// frames to one scale.
    pub finest: f64,
}

impl Framing {
    /// Frames of 80 x 80 pixels as they are, around segmentations of these labels.
    #[must_use]
    pub fn new(labels: impl Into<Vec<u8>>) -> Self {
        let mut labels = labels.into();
        labels.sort_unstable();
        labels.dedup();
        Self { labels, grid: [80, 80], pixel: 1.0, finest: 1.0 }
    }

    /// With pixels so coarse that all but 2 % of these segmentations fill at most three quarters of the grid, and at
    /// least half an image pixel; where they are coarser than the image's, small segmentations are enlarged up to
    /// those. Segmentations without the labels are passed over.
    #[must_use]
    pub fn fitted<'a>(mut self, segmentations: impl IntoIterator<Item = ArrayView2<'a, u8>>) -> Self {
        let shorter = self.grid[0].min(self.grid[1]).max(1) as f64;
        let mut extents: Vec<usize> = segmentations
            .into_iter()
            .filter_map(|labels| self.bounds(&labels))
            .map(|bounds| bounds.size().into_iter().max().unwrap_or(0))
            .collect();
        extents.sort_unstable();
        let last = (extents.len() as f64 * FITTING).ceil() as usize;
        if let Some(&extent) = extents.get(last.saturating_sub(1)) {
            self.pixel = (extent as f64 / (FILLED * shorter)).max(FINEST);
            self.finest = self.pixel.min(1.0);
        }
        self
    }

    /// The same frames, in millimeters, of images with more pixels to a millimeter by this factor.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.pixel *= factor;
        self.finest *= factor;
        self
    }

    /// Number of pixels of the grid.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// No label, label 0, a grid without pixels or beyond 4096, pixels below a half or beyond 1000, or finest
    /// pixels that are coarser.
    pub fn validate(&self) -> Result<(), SettingError> {
        let sound = !self.labels.is_empty() && !self.labels.contains(&0);
        let sound = sound && self.labels.is_sorted_by(|a, b| a < b);
        require(sound, "labels", &self.labels, "at least one, ascending, without 0")?;
        let sound = self.grid.iter().all(|side| (1..=4096).contains(side));
        require(sound, "grid", self.grid, "sides of 1 to 4096")?;
        let sound = (FINEST..=1000.0).contains(&self.pixel);
        require(sound, "pixel", self.pixel, "0.5 to 1000 image pixels")?;
        let sound = (FINEST..=self.pixel).contains(&self.finest);
        let expected = format!("0.5 to the {} image pixels of the largest", self.pixel);
        require(sound, "finest pixel", self.finest, expected)
    }

    /// Frames a slice `[channel, row, column]` around its segmentation `[row, column]`; `None` where that holds none of the
    /// labels.
    ///
    /// # Errors
    /// A setting that [`Framing::validate`] rejects, shapes that differ, and images that are empty, not finite or constant
    /// in a channel.
    pub fn frame(
        &self,
        image: &ArrayView3<'_, f32>,
        segmentation: &ArrayView2<'_, u8>,
    ) -> Result<Option<FramedSlice>, InputError> {
        self.validate()?;
        self.frame_scaled(image, segmentation)
    }

    /// As [`Framing::frame`], of a framing that was valid before it was [scaled](Framing::scaled): then its pixels may
    /// be finer or coarser than a user can ask for.
    pub(crate) fn frame_scaled(
        &self,
        image: &ArrayView3<'_, f32>,
        segmentation: &ArrayView2<'_, u8>,
    ) -> Result<Option<FramedSlice>, InputError> {
        if image.shape()[1..] != *segmentation.shape() {
            let (image, segmentation) = (image.shape()[1..].to_vec(), segmentation.shape().to_vec());
            return Err(InputError::Shape { image, segmentation });
        }
        let bounds = self.bounds(segmentation);
        let center = bounds
            .map(|bounds| std::array::from_fn(|axis| (bounds.start[axis] + bounds.end[axis]) as f64 / 2.0));
        // An image that cannot be used is refused whatever the segmentation.
        let pixel = bounds.map_or(self.pixel, |bounds| self.pixel_for(bounds));
        let mut frame = self.frame_by(image, center.unwrap_or([0.0, 0.0]), pixel)?;
        frame.segmentation = frame.indices(segmentation, &self.labels)?;
        // Pixels coarser than a speck may miss it: then there is nothing to show the networks.
        Ok(Some(frame).filter(|frame| frame.segmentation.iter().any(|&index| index != 0)))
    }

    /// The part of a segmentation by which a slice is framed: all of it, unless a few pixels far from the rest would move the
    /// frame off the organ. Then it is what lies within the frame that holds most of it.
    ///
    /// A frame around all of a segmentation that is larger cuts it on all sides. Networks learn from such frames, whose
    /// candidates are poor: of six networks' segmentations in use, estimates were better by them wherever more than
    /// [`STRAY`] of the pixels was out of reach.
    pub(crate) fn within_reach<'a>(&self, labels: ArrayView2<'a, u8>) -> CowArray<'a, u8, Ix2> {
        let size = [labels.nrows(), labels.ncols()];
        let reach = [0, 1].map(|axis| (self.pixel * self.grid[axis] as f64).floor().max(1.0) as usize);
        let Some(bounds) = self.bounds(&labels) else { return labels.into() };
        if (0..2).all(|axis| bounds.size()[axis] <= reach[axis]) {
            return labels.into();
        }
        let window = |start: [usize; 2], end: [usize; 2]| [start[0]..end[0], start[1]..end[1]];
        let [top, left] = self.fullest_window(&labels, [reach[0].min(size[0]), reach[1].min(size[1])]);
        let fullest =
            window([top, left], [0, 1].map(|axis| ([top, left][axis] + reach[axis]).min(size[axis])));
        // Around the middle of all of it.
        let start =
            [0, 1].map(|axis| (bounds.start[axis] + bounds.end[axis]).saturating_sub(reach[axis]) / 2);
        let middle = window(start, [0, 1].map(|axis| (start[axis] + reach[axis]).min(size[axis])));
        let is_in = |window: &[Range<usize>; 2], (row, column): (usize, usize)| {
            window[0].contains(&row) && window[1].contains(&column)
        };
        let count = |inside: &dyn Fn((usize, usize)) -> bool| {
            let own = labels.indexed_iter().filter(|(_, label)| self.labels.contains(label));
            own.filter(|(place, _)| inside(*place)).count() as f64
        };
        let (all, shown) = (count(&|_| true), count(&|place| is_in(&fullest, place)));
        let is_stray = all - shown <= STRAY * all;
        // Between its parts there may be nothing to grade.
        let is_missed = count(&|place| is_in(&middle, place)) == 0.0;
        if !is_stray && !is_missed {
            return labels.into();
        }
        let keep = |(place, &label): ((usize, usize), &u8)| {
            if is_in(&fullest, place) || !self.labels.contains(&label) { label } else { 0 }
        };
        let kept: Vec<u8> = labels.indexed_iter().map(keep).collect();
        Array2::from_shape_vec(size, kept).map_or_else(|_| labels.into(), CowArray::from)
    }

    /// The upper left corner `[row, column]` of the window of this size that holds most pixels of the labels; among equal
    /// ones, the one whose middle is nearest to the mean of all these pixels.
    fn fullest_window(&self, labels: &ArrayView2<'_, u8>, size: [usize; 2]) -> [usize; 2] {
        let (height, width) = labels.dim();
        // Sums of all pixels above and left of a corner.
        let mut sums = Array2::<usize>::zeros((height + 1, width + 1));
        let (mut count, mut mean) = (0.0, [0.0; 2]);
        for ((row, column), label) in labels.indexed_iter() {
            let inside = self.labels.contains(label);
            if inside {
                count += 1.0;
                mean = [mean[0] + row as f64, mean[1] + column as f64];
            }
            sums[[row + 1, column + 1]] =
                usize::from(inside) + sums[[row, column + 1]] + sums[[row + 1, column]] - sums[[row, column]];
        }
        let middle = mean.map(|sum| sum / f64::max(count, 1.0));
        let corners =
            (0..=height - size[0]).flat_map(|row| (0..=width - size[1]).map(move |column| [row, column]));
        let held = |[row, column]: [usize; 2]| {
            let [below, right] = [row + size[0], column + size[1]];
            sums[[below, right]] + sums[[row, column]] - sums[[row, right]] - sums[[below, column]]
        };
        let distance = |corner: [usize; 2]| {
            let off = |axis: usize| corner[axis] as f64 + size[axis] as f64 / 2.0 - 0.5 - middle[axis];
            off(0).powi(2) + off(1).powi(2)
        };
        let better = |a: &[usize; 2], b: &[usize; 2]| {
            held(*a).cmp(&held(*b)).then_with(|| distance(*b).total_cmp(&distance(*a)))
        };
        corners.max_by(better).unwrap_or([0, 0])
    }

    /// Frames a slice `[channel, row, column]` around a place `[row, column]`, in pixels from the slice's upper left corner, without a
    /// segmentation: by the coarsest pixels.
    ///
    /// # Errors
    /// A setting that [`Framing::validate`] rejects, and images that are empty, not finite or constant in a channel.
    pub fn frame_at(&self, image: &ArrayView3<'_, f32>, center: [f64; 2]) -> Result<FramedSlice, InputError> {
        self.validate()?;
        self.frame_by(image, center, self.pixel)
    }

    fn frame_by(
        &self,
        image: &ArrayView3<'_, f32>,
        center: [f64; 2],
        pixel: f64,
    ) -> Result<FramedSlice, InputError> {
        let scales = Standardization::of_channels(image)?;
        let (_, rows, columns) = image.dim();
        let placement = self.placement([rows, columns], center, pixel)?;
        let mut framed = Vec::with_capacity(scales.len() * self.pixels());
        for (channel, scale) in image.outer_iter().zip(&scales) {
            let scaled = channel.mapv(|value| scale.apply(value));
            let fill = scale.apply(scale.lowest);
            framed.append(&mut placement.to_grid(&scaled, fill)?.into_raw_vec_and_offset().0);
        }
        Ok(FramedSlice { placement, segmentation: vec![0; self.pixels()], image: framed, scales })
    }

    fn bounds(&self, labels: &ArrayView2<'_, u8>) -> Option<BoundingBox<2>> {
        bounding_box(&labels.mapv(|label| self.labels.contains(&label)))
    }

    fn pixel_for(&self, bounds: BoundingBox<2>) -> f64 {
        let shorter = self.grid[0].min(self.grid[1]) as f64;
        let extent = bounds.size().into_iter().max().unwrap_or(0) as f64;
        (extent / (ENLARGED * shorter)).clamp(self.finest.min(self.pixel), self.pixel)
    }

    fn placement(&self, image: [usize; 2], center: [f64; 2], pixel: f64) -> Result<Placement, InputError> {
        // Whole pixels: where pixels are as they are, nothing is interpolated.
        let origin =
            std::array::from_fn(|axis| (center[axis] - pixel * self.grid[axis] as f64 / 2.0).round());
        Placement::new(image, self.grid, [pixel; 2], origin, Interpolation::Linear)
            .map_err(|error| SettingError::new("frame", error.found, error.expected).into())
    }
}

setters!(Framing { grid: [usize; 2] });

/// A slice on the grid of the networks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FramedSlice {
    /// Where the grid lies in the slice.
    pub placement: Placement,
    /// The image `[channel, row, column]`, each channel at mean 0 and deviation 1 of the whole slice; beyond the slice its
    /// lowest value.
    pub image: Vec<f32>,
    /// The segmentation `[row, column]`: 0, or 1 + the position of the label in [`Framing::labels`].
    pub segmentation: Vec<u8>,
    /// The slice's intensities, channel by channel.
    pub scales: Vec<Standardization>,
}

impl FramedSlice {
    /// Image pixels per grid pixel, the same along both axes.
    #[must_use]
    pub fn pixel(&self) -> f64 {
        self.placement.scale()[0]
    }

    /// Labels of the same slice on the same grid: 0, or 1 + the position of the label in `known`.
    ///
    /// # Errors
    /// Another shape than the slice's.
    pub fn indices(&self, labels: &ArrayView2<'_, u8>, known: &[u8]) -> Result<Vec<u8>, InputError> {
        indices_on_grid(&self.placement, labels, known)
    }

    /// Labels of the slice from indices on the grid, as [`FramedSlice::indices`] makes them; 0 beyond the grid.
    ///
    /// # Errors
    /// Another number of indices than the grid has pixels.
    pub fn restore_labels(&self, indices: &[u8], known: &[u8]) -> Result<Array2<u8>, InputError> {
        let grid = self.on_grid(indices)?;
        let mut labels = Array2::zeros(self.placement.image_size());
        for (index, &label) in (1..).zip(known) {
            let mask = self.placement.mask_to_image(&grid.mapv(|found| found == index))?;
            labels.zip_mut_with(&mask, |held, &inside| *held = if inside { label } else { *held });
        }
        Ok(labels)
    }

    /// A map on the grid, as `[row, column]` of the slice; `fill` beyond the grid.
    ///
    /// # Errors
    /// Another number of values than the grid has pixels.
    pub fn restore(&self, map: &[f32], fill: f32) -> Result<Array2<f32>, InputError> {
        Ok(self.placement.to_image(&self.on_grid(map)?, fill)?)
    }

    fn on_grid<T: Clone>(&self, values: &[T]) -> Result<Array2<T>, ImageError> {
        let grid = self.placement.grid_size();
        let (found, expected) = (values.len(), grid[0] * grid[1]);
        let mismatch = |_| ImageError::CountMismatch { what: "pixels", found, expected };
        Array2::from_shape_vec(grid, values.to_vec()).map_err(mismatch)
    }
}

/// Mean, deviation and extremes of the intensities of one channel of a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Standardization {
    /// Mean of all pixels.
    pub mean: f64,
    /// Standard deviation of all pixels; positive.
    pub deviation: f64,
    /// The lowest intensity.
    pub lowest: f32,
    /// The highest intensity.
    pub highest: f32,
}

impl Standardization {
    /// The scale of a slice.
    ///
    /// # Errors
    /// Slices that are empty, not finite or constant.
    pub fn of(image: &ArrayView2<'_, f32>) -> Result<Self, ImageError> {
        check_finite(image)?;
        let n = image.len() as f64;
        let mean = image.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        let variance = image.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
        let lowest = image.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if lowest == highest {
            return Err(ImageError::ConstantImage { value: f64::from(lowest), voxels: image.len() });
        }
        Ok(Self { mean, deviation: variance.sqrt(), lowest, highest })
    }

    /// The scale of each channel of a slice `[channel, row, column]`. A channel that is constant beside one that is not,
    /// such as an unused color or a shorter field of view, becomes 0: its mean is its value, and its deviation 1.
    ///
    /// # Errors
    /// Those of [`Standardization::of`], within [`ImageError::Channel`] if there are several channels; all channels
    /// constant; no channel at all.
    pub fn of_channels(image: &ArrayView3<'_, f32>) -> Result<Vec<Self>, ImageError> {
        let count = image.len_of(Axis(0));
        if count == 0 {
            return Err(ImageError::EmptyImage { shape: image.shape().to_vec() });
        }
        let of = |(channel, own): (usize, ArrayView2<'_, f32>)| match Self::of(&own) {
            Err(ImageError::ConstantImage { value, .. }) if count > 1 => {
                let level = value as f32;
                Ok(Self { mean: value, deviation: 1.0, lowest: level, highest: level })
            }
            found => found.map_err(|error| in_channel(channel.to_string(), count, error)),
        };
        let scales: Vec<Self> = image.outer_iter().enumerate().map(of).collect::<Result<_, _>>()?;
        match scales[0] {
            first if scales.iter().all(|own| own.lowest == own.highest) => {
                Err(ImageError::ConstantImage { value: first.mean, voxels: image.len() })
            }
            _ => Ok(scales),
        }
    }

    /// An intensity in deviations from the mean.
    #[must_use]
    pub fn apply(&self, intensity: f32) -> f32 {
        ((f64::from(intensity) - self.mean) / self.deviation) as f32
    }

    /// The intensity of a value in deviations from the mean.
    #[must_use]
    pub fn invert(&self, value: f32) -> f32 {
        (f64::from(value) * self.deviation + self.mean) as f32
    }

    /// The range from the lowest to the highest intensity, in deviations: what a strength of 1 in units
    /// of the range [0, 1] is in units of the deviation.
    #[must_use]
    pub fn range(&self) -> f32 {
        ((f64::from(self.highest) - f64::from(self.lowest)) / self.deviation) as f32
    }
}

fn indices_on_grid(
    placement: &Placement,
    labels: &ArrayView2<'_, u8>,
    known: &[u8],
) -> Result<Vec<u8>, InputError> {
    let [height, width] = placement.grid_size();
    let mut indices = vec![0; height * width];
    for (index, &label) in (1..).zip(known) {
        let mask = placement.mask_to_grid(&labels.mapv(|found| found == label))?;
        for (held, _) in indices.iter_mut().zip(&mask).filter(|(_, inside)| **inside) {
            *held = index;
        }
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// An image of one channel.
    fn one(image: &Array2<f32>) -> ArrayView3<'_, f32> {
        image.view().insert_axis(Axis(0))
    }

    fn slice() -> (Array2<f32>, Array2<u8>) {
        let image = Array2::from_shape_fn((40, 50), |(i, j)| (i * 50 + j) as f32);
        let labels =
            Array2::from_shape_fn((40, 50), |(i, j)| match (10..16).contains(&i) && (30..40).contains(&j) {
                true => 2 + u8::from(i < 12),
                false => 0,
            });
        (image, labels)
    }

    #[test]
    fn the_segmentation_comes_to_the_middle() {
        let (image, labels) = slice();
        let framing = Framing::new([2]).grid([16, 16]);
        let frame = framing.frame(&one(&image), &labels.view()).unwrap().unwrap();
        let segmentation = Array2::from_shape_vec((16, 16), frame.segmentation.clone()).unwrap();
        let inside = bounding_box(&segmentation.mapv(|index| index == 1)).unwrap();
        assert_eq!((inside.start, inside.end), ([6, 3], [10, 13]));
        // Every label that is asked for, by position.
        let both = frame.indices(&labels.view(), &[2, 3]).unwrap();
        assert_eq!(both.iter().filter(|&&index| index == 2).count(), 20);
        // The image is the same crop, and comes back to its place.
        let values: Vec<f32> = frame.image.iter().map(|&value| frame.scales[0].invert(value)).collect();
        let back = frame.restore(&values, -1.0).unwrap();
        for ((i, j), &value) in back.indexed_iter() {
            assert!(value == -1.0 || (value - image[[i, j]]).abs() < 1e-3, "{i} {j} {value}");
        }
        // Rows 6 to 22 and columns 27 to 43 lie within the slice: nothing is lost.
        assert_eq!(back.iter().filter(|&&value| value >= 0.0).count(), 16 * 16);
    }

    #[test]
    fn intensities_have_mean_zero_and_deviation_one() {
        let (image, labels) = slice();
        let frame = Framing::new([2]).grid([80, 80]).frame(&one(&image), &labels.view()).unwrap().unwrap();
        assert!((frame.scales[0].mean - 999.5).abs() < 1e-9);
        assert!((f64::from(frame.scales[0].range()) - 1999.0 / frame.scales[0].deviation).abs() < 1e-5);
        // Beyond the slice stands its lowest value.
        assert_eq!(frame.image[0], frame.scales[0].apply(0.0));
    }

    #[test]
    fn every_channel_has_its_own_scale() {
        let (image, labels) = slice();
        let framing = Framing::new([2]).grid([16, 16]);
        let both = ndarray::stack![Axis(0), image, image.mapv(|value| 5.0 - 2.0 * value)];
        let frame = framing.frame(&both.view(), &labels.view()).unwrap().unwrap();
        let alone = framing.frame(&one(&image), &labels.view()).unwrap().unwrap();
        let (first, second) = frame.image.split_at(256);
        assert_eq!((first, &frame.segmentation), (&alone.image[..], &alone.segmentation));
        assert!(first.iter().zip(second).all(|(a, b)| (a + b).abs() < 1e-4), "the other way round");
        // One without contrast is 0, and all of them are an error.
        let mut flat = both.clone();
        flat.index_axis_mut(Axis(0), 1).fill(3.0);
        let found = framing.frame(&flat.view(), &labels.view()).unwrap().unwrap();
        assert_eq!((&found.image[..256], &found.image[256..]), (first, &[0.0; 256][..]));
        assert_eq!(found.scales[1].invert(0.0), 3.0);
        assert_eq!(found.scales[1].range(), 0.0);
        flat.fill(3.0);
        assert!(framing.frame(&flat.view(), &labels.view()).unwrap_err().is_constant());
        let none = ndarray::Array3::zeros((0, 40, 50));
        assert!(matches!(
            framing.frame(&none.view(), &labels.view()),
            Err(InputError::Image(ImageError::EmptyImage { .. }))
        ));
    }

    #[test]
    fn large_organs_get_coarser_pixels() {
        let wide = Array2::from_elem((200, 300), 1_u8);
        let framing = Framing::new([1]).fitted([wide.view(), Array2::zeros((5, 5)).view()]);
        assert!((framing.pixel - 300.0 / 60.0).abs() < 1e-12);
        let image = Array2::from_shape_fn((200, 300), |(i, j)| (i + j) as f32);
        let frame = framing.frame(&one(&image), &wide.view()).unwrap().unwrap();
        let filled = frame.segmentation.iter().filter(|&&index| index == 1).count();
        assert_eq!(filled, 40 * 60);
        assert_eq!(Framing::new([1]).fitted([Array2::<u8>::zeros((9, 9)).view()]).pixel, 1.0);
    }

    #[test]
    fn small_organs_get_finer_pixels() {
        let fitted =
            |side| Framing::new([1]).grid([40, 50]).fitted([Array2::from_elem((side, 9), 1_u8).view()]);
        for (side, pixel) in [(24, 0.8), (15, 0.5), (4, 0.5)] {
            let framing = fitted(side);
            assert_eq!((framing.pixel, framing.finest), (pixel, pixel));
            assert!(framing.validate().is_ok());
        }
        let image = Array2::from_shape_fn((30, 30), |(i, j)| (i * j) as f32);
        let labels =
            Array2::from_shape_fn((30, 30), |(i, j)| u8::from((10..18).contains(&i) && (9..17).contains(&j)));
        let frame = fitted(15).frame(&one(&image), &labels.view()).unwrap().unwrap();
        assert_eq!(frame.segmentation.iter().filter(|&&index| index == 1).count(), 16 * 16);
        // What comes back covers the same pixels.
        let back = frame.restore_labels(&frame.segmentation, &[1]).unwrap();
        assert_eq!(back, labels);
    }

    #[test]
    fn small_segmentations_are_enlarged() {
        let image = Array2::from_shape_fn((200, 300), |(i, j)| (i + j) as f32);
        let square = |side: usize| {
            Array2::from_shape_fn((200, 300), |(i, j)| {
                u8::from((50..50 + side).contains(&i) && (90..90 + side).contains(&j))
            })
        };
        let mut framing = Framing::new([1]).grid([40, 40]);
        (framing.pixel, framing.finest) = (3.0, 1.0);
        let frame =
            |framing: &Framing, side| framing.frame(&one(&image), &square(side).view()).unwrap().unwrap();
        let share = |side: usize| {
            let frame = frame(&framing, side);
            let filled = frame.segmentation.iter().filter(|&&index| index == 1).count() as f64;
            (frame.pixel(), filled.sqrt() / 40.0)
        };
        // Beyond both bounds the pixels stay as they are; between them three fifths are filled.
        assert_eq!(share(12), (1.0, 0.3));
        assert_eq!(share(48), (2.0, 0.6));
        assert_eq!(share(90), (3.0, 0.75));
        // All are of one scale unless finer pixels are allowed.
        framing.finest = 3.0;
        assert_eq!(frame(&framing, 12).pixel(), 3.0);
        framing.finest = 3.5;
        assert!(framing.validate().unwrap_err().to_string().contains("3.5"));
    }

    #[test]
    fn pixels_far_away_do_not_move_the_frame_off_the_organ() {
        let organ = slice().1.mapv(|label| if label == 3 { 2 } else { label });
        let framing = Framing::new([2]).grid([16, 16]);
        assert_eq!(framing.within_reach(organ.view()), organ, "what fits is shown as it is");
        // One pixel of 60 in a corner; another label does not count.
        let mut labels = organ.clone();
        (labels[[0, 0]], labels[[39, 0]]) = (2, 1);
        let kept = framing.within_reach(labels.view());
        let mut expected = organ.clone();
        expected[[39, 0]] = 1;
        assert_eq!(kept, expected);
        // Pixels within the reach stay.
        let mut near = organ.clone();
        near[[23, 34]] = 2;
        assert_eq!(framing.within_reach(near.view()), near);
        // A segmentation that is too large is cut on all sides, as in training.
        let wide = Array2::from_elem((40, 50), 2_u8);
        assert_eq!(framing.within_reach(wide.view()), wide);
        // Between two parts there is nothing to see: the larger one is shown.
        let apart = Array2::from_shape_fn((40, 50), |(row, column)| {
            if (34..39).contains(&row) && (2..10).contains(&column) { 2 } else { organ[[row, column]] }
        });
        assert_eq!(framing.within_reach(apart.view()), organ);
        // A frame that is larger than the slice along one axis.
        let narrow =
            Array2::from_shape_fn((10, 50), |(_, column)| if column < 12 || column == 49 { 2_u8 } else { 0 });
        let kept = framing.within_reach(narrow.view());
        let bounds = bounding_box(&kept.mapv(|label| label == 2)).unwrap();
        assert_eq!((bounds.start, bounds.end), ([0, 0], [10, 12]));
    }

    #[test]
    fn bad_input_is_named() {
        let (image, labels) = slice();
        let framing = Framing::new([2]);
        let frame = |image: &Array2<f32>, labels: &Array2<u8>| framing.frame(&one(image), &labels.view());
        assert_eq!(frame(&image, &Array2::zeros((40, 50))), Ok(None));
        let whole = framing.frame_at(&one(&image), [13.0, 35.0]).unwrap();
        let indices = whole.indices(&labels.view(), &[2, 3]).unwrap();
        assert_eq!(whole.restore_labels(&indices, &[2, 3]).unwrap(), labels);
        assert!(whole.restore_labels(&[0; 3], &[2, 3]).is_err());
        assert!(matches!(frame(&image, &Array2::zeros((40, 51))), Err(InputError::Shape { .. })));
        let mut bad = image.clone();
        bad[[3, 4]] = f32::NAN;
        assert_eq!(
            frame(&bad, &labels),
            Err(InputError::Image(ImageError::NonFiniteVoxels { count: 1, first: vec![3, 4] }))
        );
        let flat = Array2::from_elem((40, 50), 7.0);
        assert!(matches!(frame(&flat, &labels), Err(InputError::Image(ImageError::ConstantImage { .. }))));
        // Fields are public: what `validate` rejects is refused before it is used.
        let changes: [(&str, fn(&mut Framing)); 7] = [
            ("pixel", |framing| framing.pixel = f64::NAN),
            ("pixel", |framing| framing.pixel = -1.0),
            ("finest pixel", |framing| framing.finest = f64::NAN),
            ("finest pixel", |framing| framing.finest = 2.0),
            ("grid", |framing| framing.grid = [0, 16]),
            ("grid", |framing| framing.grid = [16, usize::MAX]),
            ("labels", |framing| framing.labels = vec![2, 2]),
        ];
        for (setting, change) in changes {
            let mut wrong = framing.clone();
            change(&mut wrong);
            let framed = wrong.frame(&one(&image), &labels.view()).unwrap_err();
            let placed = wrong.frame_at(&one(&image), [13.0, 35.0]).unwrap_err();
            for error in [framed, placed] {
                let is_named = matches!(&error, InputError::Setting(error) if error.setting == setting);
                assert!(is_named, "{setting}: {error}");
            }
        }
        // Images with other pixels than the training images are framed by finer ones than a setting may be.
        let scaled = framing.scaled(0.25).frame_scaled(&one(&image), &labels.view()).unwrap().unwrap();
        assert_eq!(scaled.pixel(), 0.25);
        assert!(Framing::new([0, 1]).validate().is_err());
        assert!(Framing::new([3, 1, 3]).validate().is_ok());
        assert!(Framing::new(Vec::new()).validate().is_err());
    }
}
