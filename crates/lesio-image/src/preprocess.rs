//! The whole way from a file's voxels to a network's grid, as one value that is saved with the model.

use std::borrow::Borrow;

use lesio_settings::{SettingError, in_range};
use ndarray::{Array2, Array3, ArrayRef, ArrayView3, Axis, Dimension};
use serde::{Deserialize, Serialize};

use crate::alignment::Alignment;
use crate::error::ImageError;
use crate::grid::GridFit;
use crate::histogram::{FittedHistogram, HistogramFit, HistogramStandardizer, PiecewiseScale};
use crate::intensity::{LinearScale, RobustScaling, ZScore};
use crate::mask::ForegroundMask;
use crate::orientation::{Orientation, Turn};
use crate::prepared::PreparedScan;
use crate::scan::{Scan, ScanError};
use crate::volume::Plane;

/// What is done to scans before a network sees them.
///
/// In this order: a volume is turned to RAS+; the foreground is found; intensities are scaled by
/// what is inside it; values are clipped; the background becomes 0; each slice is brought to the
/// grid, with 0 where the grid reaches beyond the image. Networks therefore see values of about
/// [0, 1] on a background of 0. Every step has its inverse in the [`PreparedScan`].
///
/// This is the configuration; [`Preprocessing::fit`] learns what has to be learnt from training
/// images, and the [`FittedPreprocessing`] is saved with the model.
///
/// ```
/// use lesio_image::{Geometry, Preprocessing, Scan, Volume};
/// use ndarray::Array3;
///
/// // A bright ball in the dark.
/// let ball = Array3::from_shape_fn((40, 48, 12), |(i, j, k)| {
///     let r2 = (i as f32 - 20.0).powi(2) + (j as f32 - 30.0).powi(2) + 4.0 * (k as f32 - 6.0).powi(2);
///     if r2 < 150.0 { 100.0 + (i * j % 7) as f32 } else { 3.0 }
/// });
/// let scan = Scan::from(Volume::new(ball, Geometry::default()));
/// let preprocessing = Preprocessing::heads([32, 32]).fit([&scan])?;
/// let prepared = preprocessing.prepare(&scan)?;
/// assert_eq!(prepared.planes.len(), 12);
/// assert_eq!(prepared.planes[6].input.dim(), (1, 32, 32));
///
/// let maps: Vec<_> = prepared.planes.iter().map(|plane| plane.mask.mapv(|m| m as u8 as f32)).collect();
/// let map = prepared.restore_map(&maps, 0.0)?;
/// assert_eq!((map.shape(), map.geometry()), (scan.grid(), scan.geometry()));
/// assert_eq!(map.data()[[20, 30, 6]], 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preprocessing {
    /// Which slices of a volume are seen; images do not ask. Default: [`Plane::Axial`].
    #[serde(default)]
    pub plane: Plane,
    /// What belongs to the object. Default: [`Foreground::Whole`].
    #[serde(default)]
    pub foreground: Foreground,
    /// How intensities are scaled. Default: [`Intensity::Unchanged`].
    #[serde(default)]
    pub intensity: Intensity,
    /// Ends to which scaled values are clipped. Default: none.
    #[serde(default)]
    pub clip: Option<[f32; 2]>,
    /// What is outside the foreground. Default: [`Background::Keep`].
    #[serde(default)]
    pub background: Background,
    /// How slices come to the grid, which has 1 to 4096 rows and columns.
    pub frame: Frame,
    /// Whether the network is told where a slice lies. Default: [`SlicePosition::Omit`].
    #[serde(default)]
    pub slice_position: SlicePosition,
}

/// Most rows and columns of a network's grid.
const LARGEST_GRID: usize = 4096;

/// What of an image belongs to the object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Foreground {
    /// All of it.
    #[default]
    Whole,
    /// What this rule finds; of several channels, in their mean. The channels of a volume are first divided each by its own
    /// mean.
    Mask(ForegroundMask),
}

/// How intensities are scaled.
///
/// The channels of a volume are scaled each by itself, for they are of different contrasts; those of a picture together, which
/// keeps their ratios.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Intensity {
    /// Not at all: they come in the units of the file.
    #[default]
    Unchanged,
    /// The same linear scale for every image, such as 0 to 255 of 8-bit photographs.
    Range(LinearScale),
    /// Percentiles of each image's foreground.
    Robust(RobustScaling),
    /// Mean and standard deviation of each image's foreground.
    ZScore(ZScore),
    /// Landmarks of each image's foreground brought to those of the training images.
    Standardized(HistogramStandardizer),
}

/// What network inputs hold outside the foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Background {
    /// What the image holds there.
    #[default]
    Keep,
    /// Zero: noise, ghosts and markers in the air are no anomalies.
    Zero,
}

/// How slices come to the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Frame {
    /// By the frame of the image.
    Fit(GridFit),
    /// By the box around the foreground.
    Align(Alignment),
}

/// Whether inputs carry a channel that tells where in the stack a slice lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlicePosition {
    /// No such channel.
    #[default]
    Omit,
    /// A last channel, constant over the slice: 0 at the first slice with foreground, 1 at the last.
    Channel,
}

/// Why images cannot be preprocessed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The configuration is out of range, or does not go with the image's size or geometry.
    #[error("invalid preprocessing")]
    Config(#[from] SettingError),
    /// The image cannot be worked with.
    #[error("image cannot be preprocessed")]
    Image(#[from] ImageError),
    /// The channels are no scan.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A scan has another number of channels than those the scale was learnt from.
    #[error("the scan has {found} channels, those that the intensity scale was learnt from have {expected}")]
    Channels {
        /// Channels of the scan.
        found: usize,
        /// Channels of the others.
        expected: usize,
    },
    /// A training image cannot be worked with.
    #[error("training image {index} cannot be used")]
    Training {
        /// Its number in the order given, from 0.
        index: usize,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The intensity scale is learnt from training images, and none was given.
    #[error("histogram standardization needs at least one training image")]
    NoTrainingImages,
}

impl Preprocessing {
    /// Slices as they are, brought whole to a grid of `[height, width]`.
    #[must_use]
    pub fn new(grid: [usize; 2]) -> Self {
        Self {
            plane: Plane::default(),
            foreground: Foreground::default(),
            intensity: Intensity::default(),
            clip: None,
            background: Background::default(),
            frame: Frame::Fit(GridFit::new(grid)),
            slice_position: SlicePosition::default(),
        }
    }

    /// For magnetic resonance of heads, on a grid of `[height, width]`: the head found, its
    /// histogram standardized and clipped to [0, 1], the air set to 0, its box aligned.
    #[must_use]
    pub fn heads(grid: [usize; 2]) -> Self {
        Self::new(grid)
            .foreground(Foreground::Mask(ForegroundMask::new()))
            .intensity(Intensity::Standardized(HistogramStandardizer::new()))
            .clip(Some([0.0, 1.0]))
            .background(Background::Zero)
            .frame(Frame::Align(Alignment::new(grid)))
    }

    /// Sets which slices of a volume are seen.
    #[must_use]
    pub fn plane(mut self, plane: Plane) -> Self {
        self.plane = plane;
        self
    }

    /// Sets what belongs to the object.
    #[must_use]
    pub fn foreground(mut self, foreground: Foreground) -> Self {
        self.foreground = foreground;
        self
    }

    /// Sets how intensities are scaled.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Sets the ends to which scaled values are clipped, or none.
    #[must_use]
    pub fn clip(mut self, clip: Option<[f32; 2]>) -> Self {
        self.clip = clip;
        self
    }

    /// Sets what is outside the foreground.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Sets how slices come to the grid.
    #[must_use]
    pub fn frame(mut self, frame: Frame) -> Self {
        self.frame = frame;
        self
    }

    /// Sets whether the network is told where a slice lies.
    #[must_use]
    pub fn slice_position(mut self, slice_position: SlicePosition) -> Self {
        self.slice_position = slice_position;
        self
    }

    /// The grid, `[height, width]`.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        match &self.frame {
            Frame::Fit(fit) => fit.size,
            Frame::Align(alignment) => alignment.size,
        }
    }

    /// Number of channels of a network's input, for scans of `channels`.
    #[must_use]
    pub fn input_channels(&self, channels: usize) -> usize {
        match self.slice_position {
            SlicePosition::Omit => channels,
            SlicePosition::Channel => channels + 1,
        }
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        if let Foreground::Mask(mask) = &self.foreground {
            mask.validate()?;
        }
        match &self.intensity {
            Intensity::Robust(scaling) => scaling.validate()?,
            Intensity::ZScore(score) => score.validate()?,
            Intensity::Standardized(histogram) => histogram.validate()?,
            Intensity::Unchanged | Intensity::Range(_) => {}
        }
        if let Some([low, high]) = self.clip
            && !(low.is_finite() && high.is_finite() && low <= high)
        {
            return Err(SettingError::new("clip", [low, high], "two ascending finite values"));
        }
        if let Frame::Align(alignment) = &self.frame {
            alignment.validate()?;
        }
        let [height, width] = self.grid();
        in_range("grid height", height, 1..=LARGEST_GRID)?;
        in_range("grid width", width, 1..=LARGEST_GRID)
    }

    /// Learns from training scans what has to be learnt, taking one at a time from the iterator.
    ///
    /// Only [`Intensity::Standardized`] learns; for the others no scan is looked at, and an empty
    /// iterator will do.
    ///
    /// # Errors
    /// As [`Preprocessing::validate`]; [`PreprocessError::Training`] for a scan that is empty,
    /// constant, not finite or without foreground; [`PreprocessError::Channels`] for one of other channels than the first;
    /// [`PreprocessError::NoTrainingImages`].
    pub fn fit<I>(&self, scans: I) -> Result<FittedPreprocessing, PreprocessError>
    where
        I: IntoIterator<Item: Borrow<Scan>>,
    {
        self.validate()?;
        let Intensity::Standardized(standardizer) = &self.intensity else {
            return Ok(FittedPreprocessing { config: self.clone(), histograms: Vec::new() });
        };
        let mut fits: Vec<HistogramFit> = Vec::new();
        for (index, scan) in scans.into_iter().enumerate() {
            let scan: &Scan = scan.borrow();
            let failed = |source| PreprocessError::Training { index, source };
            let turn = scan.geometry().orientation().turn_to(&Orientation::RAS);
            let mask = self.foreground_of(scan, &turn).map_err(failed)?;
            let found = scan.scaled_channels();
            if fits.is_empty() {
                fits = (0..found).map(|_| standardizer.start()).collect::<Result<_, _>>()?;
            }
            if found != fits.len() {
                return Err(PreprocessError::Channels { found, expected: fits.len() });
            }
            each_scaled(scan, &turn, mask.as_ref(), |channel, values, mask| {
                fits[channel].add(values, mask).map_err(failed)
            })?;
        }
        let finished = fits.into_iter().map(HistogramFit::finish).collect::<Result<Vec<_>, _>>();
        match finished {
            Ok(histograms) if !histograms.is_empty() => {
                Ok(FittedPreprocessing { config: self.clone(), histograms })
            }
            _ => Err(PreprocessError::NoTrainingImages),
        }
    }

    /// The foreground of a scan in the order of RAS+; `None` for all of it.
    pub(crate) fn foreground_of(&self, scan: &Scan, turn: &Turn) -> Result<Option<Array3<bool>>, ImageError> {
        let Foreground::Mask(rule) = &self.foreground else { return Ok(None) };
        let data = scan.data();
        if scan.is_picture() {
            let pixels = scan.pixels();
            // Checked as a whole, so that the index named is of the image and not of the mean.
            crate::error::check_finite(&pixels)?;
            let count = pixels.len_of(Axis(0)) as f64;
            let mean = pixels.map_axis(Axis(0), |values| {
                (values.iter().map(|&v| f64::from(v)).sum::<f64>() / count) as f32
            });
            let mask: Array2<bool> = rule.plane(&mean)?;
            return Ok(Some(turn.apply(mask.reversed_axes().insert_axis(Axis(2)))));
        }
        let spacing = turn.source.map(|axis| scan.geometry().spacing()[axis]);
        let of = |view: ArrayView3<'_, f32>| rule.of_turned(&turn.view(view), self.plane, spacing).map(Some);
        if scan.channels() == 1 {
            return of(data.index_axis(Axis(0), 0));
        }
        let mut together = Array3::<f32>::zeros(scan.grid());
        for channel in data.outer_iter() {
            crate::error::check_finite(&channel)?;
            let mean = channel.iter().map(|&value| f64::from(value)).sum::<f64>() / channel.len() as f64;
            let factor = if mean == 0.0 { 1.0 } else { mean.abs().recip() } as f32;
            together.zip_mut_with(&channel, |sum, &value| *sum += value * factor);
        }
        of(together.view())
    }
}

/// Hands on what is scaled together: each channel of a volume, all channels of a picture; in the order of RAS+, with the
/// foreground.
fn each_scaled(
    scan: &Scan,
    turn: &Turn,
    mask: Option<&Array3<bool>>,
    mut each: impl FnMut(
        usize,
        &ArrayRef<f32, ndarray::Ix3>,
        Option<&ArrayRef<bool, ndarray::Ix3>>,
    ) -> Result<(), PreprocessError>,
) -> Result<(), PreprocessError> {
    if scan.is_picture() {
        let pixels = scan.pixels();
        let over_all = mask.map(|mask| {
            let plane = Plane::Axial.slice(mask.view(), 0);
            Array3::from_shape_fn(pixels.dim(), |(_, row, column)| plane[[row, column]])
        });
        return each(0, &pixels, over_all.as_deref());
    }
    for (channel, values) in scan.data().outer_iter().enumerate() {
        each(channel, &turn.view(values), mask.map(|mask| &**mask))?;
    }
    Ok(())
}

/// A [`Preprocessing`] with what it learnt: what a model is saved with.
///
/// Serialized, it is checked again when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FittedParts", into = "FittedParts")]
pub struct FittedPreprocessing {
    config: Preprocessing,
    /// Of each channel, where a histogram is standardized.
    histograms: Vec<FittedHistogram>,
}

#[derive(Serialize, Deserialize)]
struct FittedParts {
    config: Preprocessing,
    /// The only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    histogram: Option<FittedHistogram>,
    /// Of each of several channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    histograms: Vec<FittedHistogram>,
}

impl From<FittedPreprocessing> for FittedParts {
    fn from(mut fitted: FittedPreprocessing) -> Self {
        let histogram = if fitted.histograms.len() == 1 { fitted.histograms.pop() } else { None };
        Self { config: fitted.config, histogram, histograms: fitted.histograms }
    }
}

impl TryFrom<FittedParts> for FittedPreprocessing {
    type Error = SettingError;

    fn try_from(parts: FittedParts) -> Result<Self, SettingError> {
        parts.config.validate()?;
        let histograms: Vec<FittedHistogram> = parts.histogram.into_iter().chain(parts.histograms).collect();
        let wanted = match &parts.config.intensity {
            Intensity::Standardized(standardizer) => Some(standardizer.percentiles.as_slice()),
            _ => None,
        };
        let found: Vec<_> = histograms.iter().map(FittedHistogram::percentiles).collect();
        let fits = match wanted {
            Some(wanted) => !found.is_empty() && found.iter().all(|own| *own == wanted),
            None => found.is_empty(),
        };
        if !fits {
            let expected = "the landmarks of the configuration, and none without standardization";
            return Err(SettingError::new("fitted histogram", found, expected));
        }
        Ok(Self { config: parts.config, histograms })
    }
}

impl FittedPreprocessing {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Preprocessing {
        &self.config
    }

    /// The standard scales learnt, one for each channel of a volume, for [`Intensity::Standardized`]; else none.
    #[must_use]
    pub fn histograms(&self) -> &[FittedHistogram] {
        &self.histograms
    }

    /// A scan, of any orientation, on the network's grid.
    ///
    /// # Errors
    /// [`PreprocessError::Image`] for a scan that is empty, not finite, constant (where the
    /// configuration looks for contrast) or without foreground; [`PreprocessError::Channels`] for other channels than those
    /// that a scale was learnt from; [`PreprocessError::Config`] where sizes and grid do not go together.
    pub fn prepare(&self, scan: &Scan) -> Result<PreparedScan, PreprocessError> {
        PreparedScan::new(self, scan)
    }

    /// The scale of each channel's intensities, by what is inside the mask.
    pub(crate) fn scales(
        &self,
        scan: &Scan,
        turn: &Turn,
        mask: Option<&Array3<bool>>,
    ) -> Result<Vec<IntensityScale>, PreprocessError> {
        let (found, expected) = (scan.scaled_channels(), self.histograms.len());
        if matches!(self.config.intensity, Intensity::Standardized(_)) && found != expected {
            return Err(PreprocessError::Channels { found, expected });
        }
        let mut scales = Vec::with_capacity(scan.channels());
        each_scaled(scan, turn, mask, |channel, values, mask| {
            scales.push(self.scale(channel, values, mask)?);
            Ok(())
        })?;
        // Those of a picture share one.
        if let Some(first) = scales.first().cloned() {
            scales.resize(scan.channels(), first);
        }
        Ok(scales)
    }

    /// The scale of a channel's intensities, by what is inside the mask.
    fn scale<D: Dimension>(
        &self,
        channel: usize,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<IntensityScale, ImageError> {
        Ok(match (&self.config.intensity, self.histograms.get(channel)) {
            (Intensity::Robust(scaling), _) => IntensityScale::Linear(scaling.fit(data, mask)?),
            (Intensity::ZScore(score), _) => IntensityScale::Linear(score.fit(data, mask)?),
            (Intensity::Standardized(_), Some(histogram)) => {
                IntensityScale::Piecewise(histogram.map_for(data, mask)?)
            }
            (Intensity::Range(scale), _) => {
                crate::error::check_finite(data)?;
                IntensityScale::Linear(*scale)
            }
            (Intensity::Unchanged | Intensity::Standardized(_), _) => {
                crate::error::check_finite(data)?;
                IntensityScale::Unchanged
            }
        })
    }
}

/// The scale of one image's intensities, with its inverse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IntensityScale {
    /// Values are intensities.
    Unchanged,
    /// A linear scale.
    Linear(LinearScale),
    /// A piecewise linear one.
    Piecewise(PiecewiseScale),
}

impl IntensityScale {
    /// An intensity on the scale.
    #[must_use]
    pub fn value(&self, intensity: f32) -> f32 {
        match self {
            Self::Unchanged => intensity,
            Self::Linear(scale) => scale.value(intensity),
            Self::Piecewise(scale) => scale.value(intensity),
        }
    }

    /// The intensity of a value on the scale.
    #[must_use]
    pub fn inverse(&self, value: f32) -> f32 {
        match self {
            Self::Unchanged => value,
            Self::Linear(scale) => scale.inverse(value),
            Self::Piecewise(scale) => scale.inverse(value),
        }
    }
}
