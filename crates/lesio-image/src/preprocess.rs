//! The whole way from a file's voxels to a network's grid, as one value that is saved with the model.

use std::borrow::Borrow;

use lesio_settings::{SettingError, in_range};
use ndarray::{Array2, Array3, ArrayRef, ArrayRef3, Dimension};
use serde::{Deserialize, Serialize};

use crate::alignment::Alignment;
use crate::error::ImageError;
use crate::grid::GridFit;
use crate::histogram::{FittedHistogram, HistogramFit, HistogramStandardizer, PiecewiseScale};
use crate::image::Image;
use crate::intensity::{LinearScale, RobustScaling, ZScore};
use crate::mask::ForegroundMask;
use crate::orientation::Orientation;
use crate::prepared::{PreparedImage, PreparedVolume};
use crate::volume::{Plane, Volume};

/// What is done to volumes and images before a network sees them.
///
/// In this order: a volume is turned to RAS+; the foreground is found; intensities are scaled by
/// what is inside it; values are clipped; the background becomes 0; each slice is brought to the
/// grid, with 0 where the grid reaches beyond the image. Networks therefore see values of about
/// [0, 1] on a background of 0. Every step has its inverse in the [`PreparedVolume`] or
/// [`PreparedImage`].
///
/// This is the configuration; [`Preprocessing::fit`] learns what has to be learnt from training
/// images, and the [`FittedPreprocessing`] is saved with the model.
///
/// ```
/// use lesio_image::{Geometry, Preprocessing, Volume};
/// use ndarray::Array3;
///
/// // A bright ball in the dark.
/// let ball = Array3::from_shape_fn((40, 48, 12), |(i, j, k)| {
///     let r2 = (i as f32 - 20.0).powi(2) + (j as f32 - 30.0).powi(2) + 4.0 * (k as f32 - 6.0).powi(2);
///     if r2 < 150.0 { 100.0 + (i * j % 7) as f32 } else { 3.0 }
/// });
/// let volume = Volume::new(ball, Geometry::default());
/// let preprocessing = Preprocessing::heads([32, 32]).fit([&volume])?;
/// let prepared = preprocessing.prepare(&volume)?;
/// assert_eq!(prepared.planes.len(), 12);
/// assert_eq!(prepared.planes[6].input.dim(), (1, 32, 32));
///
/// let maps: Vec<_> = prepared.planes.iter().map(|plane| plane.mask.mapv(|m| m as u8 as f32)).collect();
/// let map = prepared.restore_map(&maps, 0.0)?;
/// assert_eq!((map.shape(), map.geometry()), (volume.shape(), volume.geometry()));
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
    /// What this rule finds; in an image of several channels, in their mean.
    Mask(ForegroundMask),
}

/// How intensities are scaled.
///
/// The channels of an image are scaled together, which keeps their ratios.
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

    /// Number of channels of a network's input, for images of `channels` (1 for volumes).
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

    /// Learns from training volumes what has to be learnt, taking one at a time from the iterator.
    ///
    /// Only [`Intensity::Standardized`] learns; for the others no volume is looked at, and an empty
    /// iterator will do.
    ///
    /// # Errors
    /// As [`Preprocessing::validate`]; [`PreprocessError::Training`] for a volume that is empty,
    /// constant, not finite or without foreground; [`PreprocessError::NoTrainingImages`].
    pub fn fit<I>(&self, volumes: I) -> Result<FittedPreprocessing, PreprocessError>
    where
        I: IntoIterator<Item: Borrow<Volume<f32>>>,
    {
        self.fit_with(volumes, |fit, volume| {
            let volume: &Volume<f32> = volume.borrow();
            let turn = volume.geometry().orientation().turn_to(&Orientation::RAS);
            let turned = turn.view(volume.data().view());
            let spacing = turn.source.map(|axis| volume.geometry().spacing()[axis]);
            let mask = self.volume_foreground(&turned, spacing)?;
            fit.add(&turned, mask.as_deref())
        })
    }

    /// As [`Preprocessing::fit`], from images.
    ///
    /// # Errors
    /// As [`Preprocessing::fit`].
    pub fn fit_images<I>(&self, images: I) -> Result<FittedPreprocessing, PreprocessError>
    where
        I: IntoIterator<Item: Borrow<Image<f32>>>,
    {
        self.fit_with(images, |fit, image| {
            let image = image.borrow();
            let mask = self.image_foreground(image)?.map(|mask| over_channels(&mask, image));
            fit.add(image.data(), mask.as_deref())
        })
    }

    fn fit_with<I: IntoIterator>(
        &self,
        images: I,
        add: impl Fn(&mut HistogramFit, I::Item) -> Result<(), ImageError>,
    ) -> Result<FittedPreprocessing, PreprocessError> {
        self.validate()?;
        let mut histogram = None;
        if let Intensity::Standardized(standardizer) = &self.intensity {
            let mut fit = standardizer.start()?;
            for (index, image) in images.into_iter().enumerate() {
                add(&mut fit, image).map_err(|source| PreprocessError::Training { index, source })?;
            }
            histogram = Some(fit.finish().map_err(|_| PreprocessError::NoTrainingImages)?);
        }
        Ok(FittedPreprocessing { config: self.clone(), histogram })
    }

    /// The foreground of voxels in the order of RAS+ with their spacing; `None` for all of them.
    pub(crate) fn volume_foreground(
        &self,
        turned: &ArrayRef3<f32>,
        spacing: [f64; 3],
    ) -> Result<Option<Array3<bool>>, ImageError> {
        match &self.foreground {
            Foreground::Whole => Ok(None),
            Foreground::Mask(rule) => rule.of_turned(turned, self.plane, spacing).map(Some),
        }
    }

    /// The foreground of an image, `[row, column]`; `None` for all of it.
    pub(crate) fn image_foreground(&self, image: &Image<f32>) -> Result<Option<Array2<bool>>, ImageError> {
        let Foreground::Mask(rule) = &self.foreground else { return Ok(None) };
        // Checked as a whole, so that the index named is of the image and not of the mean.
        crate::error::check_finite(image.data())?;
        let channels = image.channels() as f64;
        let mean = image.data().map_axis(ndarray::Axis(0), |values| {
            (values.iter().map(|&v| f64::from(v)).sum::<f64>() / channels) as f32
        });
        rule.plane(&mean).map(Some)
    }
}

/// A mask `[row, column]` for every channel of an image.
pub(crate) fn over_channels(mask: &Array2<bool>, image: &Image<f32>) -> ndarray::Array3<bool> {
    ndarray::Array3::from_shape_fn(image.data().dim(), |(_, row, column)| mask[[row, column]])
}

/// A [`Preprocessing`] with what it learnt: what a model is saved with.
///
/// Serialized, it is checked again when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FittedParts")]
pub struct FittedPreprocessing {
    config: Preprocessing,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<FittedHistogram>,
}

#[derive(Deserialize)]
struct FittedParts {
    config: Preprocessing,
    #[serde(default)]
    histogram: Option<FittedHistogram>,
}

impl TryFrom<FittedParts> for FittedPreprocessing {
    type Error = SettingError;

    fn try_from(parts: FittedParts) -> Result<Self, SettingError> {
        parts.config.validate()?;
        let wanted = match &parts.config.intensity {
            Intensity::Standardized(standardizer) => Some(standardizer.percentiles.as_slice()),
            _ => None,
        };
        let found = parts.histogram.as_ref().map(FittedHistogram::percentiles);
        if found != wanted {
            let expected = "the landmarks of the configuration, and none without standardization";
            return Err(SettingError::new("fitted histogram", found, expected));
        }
        Ok(Self { config: parts.config, histogram: parts.histogram })
    }
}

impl FittedPreprocessing {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Preprocessing {
        &self.config
    }

    /// The standard scale learnt, for [`Intensity::Standardized`].
    #[must_use]
    pub fn histogram(&self) -> Option<&FittedHistogram> {
        self.histogram.as_ref()
    }

    /// A volume, of any orientation, on the network's grid.
    ///
    /// # Errors
    /// [`PreprocessError::Image`] for a volume that is empty, not finite, constant (where the
    /// configuration looks for contrast) or without foreground; [`PreprocessError::Config`] where
    /// sizes and grid do not go together.
    pub fn prepare(&self, volume: &Volume<f32>) -> Result<PreparedVolume, PreprocessError> {
        PreparedVolume::new(self, volume)
    }

    /// An image on the network's grid.
    ///
    /// # Errors
    /// As [`FittedPreprocessing::prepare`].
    pub fn prepare_image(&self, image: &Image<f32>) -> Result<PreparedImage, PreprocessError> {
        PreparedImage::new(self, image)
    }

    /// The scale of an image's intensities, by what is inside the mask.
    pub(crate) fn scale<D: Dimension>(
        &self,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<IntensityScale, ImageError> {
        Ok(match (&self.config.intensity, &self.histogram) {
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
