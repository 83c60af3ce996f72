//! Options for reading files, such as the memory limit.

use crate::mask_rule::MaskRule;
use crate::nan_values::NanValues;
use crate::nifti::AffineSource;
use crate::raster::ExifOrientation;

/// Default memory limit for reading one file: 2 GiB.
///
/// It is enough for three volumes of 512 voxels cubed as `f32`, and less than the memory of a small machine.
pub const DEFAULT_MAX_BYTES: u64 = 2 << 30;

/// Options for reading a file.
///
/// ```no_run
/// use lesio_io::ReadOptions;
///
/// // Labels as they are stored, or an error if a value does not fit `u8`.
/// let labels = ReadOptions::new().max_bytes(64 << 20).read_as::<u8>("patient001_frame01_gt.nii.gz")?;
/// // The third volume of a series.
/// let volume = ReadOptions::new().volume(2).read("series.nii.gz")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The same code reads bytes in memory, with the same checks and limits:
/// [`ReadOptions::read_bytes`], [`ReadOptions::read_bytes_as`], [`ReadOptions::read_mask_bytes`],
/// [`ReadOptions::read_image_bytes`], [`ReadOptions::read_masked_image_bytes`].
///
/// ```
/// use lesio_image::{Geometry, Volume};
/// use lesio_io::{ReadOptions, WriteOptions};
/// use ndarray::Array3;
///
/// let volume = Volume::new(Array3::from_elem((4, 5, 6), 1.5_f32), Geometry::from_spacing([1.0, 1.0, 3.0])?);
/// let bytes = WriteOptions::new().to_gzip_bytes(&volume)?;
/// assert_eq!(ReadOptions::new().read_bytes(&bytes)?, volume);
///
/// let error = ReadOptions::new().max_bytes(100).read_bytes(&bytes).unwrap_err();
/// assert_eq!(error.to_string(), "<bytes>: needs 480 bytes of memory, the limit is 100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    max_bytes: u64,
    volume: Option<u64>,
    affine: AffineSource,
    exif: ExifOrientation,
    fourth: FourthAxis,
    channels: Vec<String>,
    mask: MaskRule,
    nan: NanValues,
}

/// The meaning of the fourth axis of a NIfTI image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FourthAxis {
    /// Unknown: an image with more than one volume is an error. The default, since a time series and the channels of
    /// one examination cannot be distinguished.
    #[default]
    Refuse,
    /// Channels of one scan.
    Channels,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadOptions {
    /// The defaults: at most [`DEFAULT_MAX_BYTES`] of memory; the only volume of the file; [`AffineSource::Auto`].
    #[must_use]
    pub fn new() -> Self {
        let (affine, exif) = (AffineSource::Auto, ExifOrientation::Apply);
        let fourth = FourthAxis::default();
        let (channels, mask, nan) = (Vec::new(), MaskRule::default(), NanValues::default());
        Self { max_bytes: DEFAULT_MAX_BYTES, volume: None, affine, exif, fourth, channels, mask, nan }
    }

    /// Memory limit for reading. It applies to the voxels in the requested type, another quarter of that for a small
    /// compressed file, whose memory is allocated in steps, and to header extensions. Reading needs less than 1 MiB in
    /// addition. The claims of the header are compared with the limit before memory is allocated. For a picture, the
    /// limit applies to all memory: the file, the values, and decoder buffers; for a case's picture and mask, to both
    /// together.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Which three-dimensional volume of an image of more than three dimensions, from 0 in file order.
    ///
    /// Without this option, images with a dimension above 1 past the third axis are an error.
    #[must_use]
    pub fn volume(mut self, index: u64) -> Self {
        self.volume = Some(index);
        self
    }

    /// The source of the affine if a NIfTI header has several. The default is the rule of nibabel: the sform if its
    /// code is above 0.
    ///
    /// An image whose header does not have the requested form is an error
    /// ([`NoSuchForm`](crate::ReadErrorKind::NoSuchForm)). The option has no effect on DICOM and pictures.
    #[must_use]
    pub fn affine(mut self, source: AffineSource) -> Self {
        self.affine = source;
        self
    }

    /// Whether pictures are rotated by their EXIF orientation. By default they are, since viewers do the same and masks
    /// are drawn in viewers.
    #[must_use]
    pub fn exif_orientation(mut self, orientation: ExifOrientation) -> Self {
        self.exif = orientation;
        self
    }

    /// The meaning of the fourth axis of a NIfTI image, for [`ReadOptions::read_scan`].
    #[must_use]
    pub fn fourth_axis(mut self, axis: FourthAxis) -> Self {
        self.fourth = axis;
        self
    }

    /// Names of the channels of a case in the order of its files, in place of the names of the files. Use it with
    /// [`Case::read_scan`](crate::dataset::Case::read_scan) if the file names differ from those in a model's training.
    /// Default: none.
    #[must_use]
    pub fn channel_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.channels = names.into_iter().map(Into::into).collect();
        self
    }

    /// Which values of masks are inside.
    #[must_use]
    pub fn mask_rule(mut self, rule: MaskRule) -> Self {
        self.mask = rule;
        self
    }

    /// What the value NaN stands for in NIfTI volumes and in pictures. It has no effect on masks, in which NaN is an
    /// error.
    #[must_use]
    pub fn nan_values(mut self, meaning: NanValues) -> Self {
        self.nan = meaning;
        self
    }

    pub(crate) fn of_nan(&self) -> NanValues {
        self.nan
    }

    pub(crate) fn of_inside(&self) -> MaskRule {
        self.mask
    }

    /// The names of the channels, if the caller set them.
    pub(crate) fn named_channels(&self) -> &[String] {
        &self.channels
    }

    /// The same options for the mask of an image; a mask has one volume.
    pub(crate) fn of_mask(&self) -> Self {
        Self { volume: None, ..self.clone() }
    }

    pub(crate) fn exif(&self) -> ExifOrientation {
        self.exif
    }

    /// The memory limit, see [`ReadOptions::max_bytes`].
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.max_bytes
    }

    /// The requested volume, see [`ReadOptions::volume`].
    pub(crate) fn index(&self) -> Option<u64> {
        self.volume
    }

    /// Whether the fourth axis of a NIfTI image holds channels, see [`ReadOptions::fourth_axis`].
    #[must_use]
    pub fn has_channel_axis(&self) -> bool {
        self.fourth == FourthAxis::Channels
    }

    pub(crate) fn affine_source(&self) -> AffineSource {
        self.affine
    }
}
