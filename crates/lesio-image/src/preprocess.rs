//! The configuration of preprocessing, from the voxels of a file to a network's grid.

use lesio_settings::{SettingError, in_range, setters};
use serde::{Deserialize, Serialize};

use crate::alignment::Alignment;
use crate::grid::GridFit;
use crate::histogram::HistogramStandardizer;
use crate::intensity::{LinearScale, RobustScaling, ZScore};
use crate::mask::ForegroundMask;
use crate::volume::Plane;

/// The preprocessing of scans for a network.
///
/// In this order: a volume is turned to RAS+; the foreground is found; intensities are scaled by
/// what is inside it; values are clipped; the background becomes 0; each slice is brought to the
/// grid, with 0 where the grid reaches beyond the image. Networks therefore see values of about
/// [0, 1] on a background of 0. Every step has its inverse in the [`PreparedScan`](crate::PreparedScan).
///
/// This is the configuration; [`Preprocessing::fit`] fits it to training images,
/// and the [`FittedPreprocessing`](crate::FittedPreprocessing) is saved with the model.
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
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The plane of a volume's slices; it has no effect on pictures. Default: [`Plane::Axial`].
    #[serde(default)]
    pub plane: Plane,
    /// How the foreground is determined. Default: [`Foreground::Whole`].
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
    /// The placement of slices on the grid, which has 1 to 4096 rows and columns.
    pub frame: Frame,
    /// Whether the network's input contains the position of the slice. Default: [`SlicePosition::Omit`].
    #[serde(default)]
    pub slice_position: SlicePosition,
}

/// Most rows and columns of a network's grid.
const LARGEST_GRID: usize = 4096;

/// The foreground of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Foreground {
    /// All of it.
    #[default]
    Whole,
    /// The pixels that this rule finds; of several channels, in their mean. The channels of a volume are first divided
    /// by their means.
    Mask(ForegroundMask),
}

/// How intensities are scaled.
///
/// The channels of a volume are scaled separately, since they have different contrasts; those of a picture are scaled
/// together, which keeps their ratios.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Intensity {
    /// No scaling: values keep the units of the file.
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

/// The values of network inputs outside the foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Background {
    /// The values of the image.
    #[default]
    Keep,
    /// Zero: noise, ghosts and markers in the air are not anomalies.
    Zero,
}

/// The placement of slices on the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Frame {
    /// By the frame of the image.
    Fit(GridFit),
    /// By the box around the foreground.
    Align(Alignment),
}

/// Whether inputs have a channel with the position of the slice in the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlicePosition {
    /// No such channel.
    #[default]
    Omit,
    /// A last channel, constant over the slice: 0 at the first slice with foreground, 1 at the last.
    Channel,
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
}

setters!(Preprocessing {
    plane: Plane,
    foreground: Foreground,
    intensity: Intensity,
    clip: Option<[f32; 2]>,
    background: Background,
    frame: Frame,
    slice_position: SlicePosition,
});
