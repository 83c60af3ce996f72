//! How files are read: how much memory they may take, and which volume of several.

use crate::nifti::AffineSource;
use crate::raster::ExifOrientation;

/// Memory that reading one file may take, unless the caller says otherwise: 2 GiB.
///
/// It holds a volume of 512 voxels cubed as `f32`, three times, and is less than a small machine has.
pub const DEFAULT_MAX_BYTES: u64 = 2 << 30;

/// How to read a file.
///
/// ```no_run
/// use lesio_io::ReadOptions;
///
/// // Labels as they are stored, or an error where a value is no `u8`.
/// let labels = ReadOptions::new().max_bytes(64 << 20).read_as::<u8>("patient001_frame01_gt.nii.gz")?;
/// // The third volume of a series.
/// let volume = ReadOptions::new().volume(2).read("series.nii.gz")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Bytes in memory are read by the same code as files, with the same checks and limits:
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
}

/// What the fourth axis of a NIfTI image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FourthAxis {
    /// Not known: an image with more than one volume is refused. The default, since a series in time and the channels of
    /// one examination look alike.
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
    /// At most [`DEFAULT_MAX_BYTES`] of memory; the only volume of the file; [`AffineSource::Auto`].
    #[must_use]
    pub fn new() -> Self {
        let (affine, exif) = (AffineSource::Auto, ExifOrientation::Apply);
        let fourth = FourthAxis::default();
        Self { max_bytes: DEFAULT_MAX_BYTES, volume: None, affine, exif, fourth, channels: Vec::new() }
    }

    /// Memory that reading may take: the voxels in the type asked for, a quarter of that more where a
    /// compressed file is so small that room is made in steps, and header extensions. Reading needs less
    /// than 1 MiB beside. It is compared with what the header claims before any of it is taken. For a picture it is all
    /// that reading takes: the file, the values, and what is decoded at a time; for a case's picture and mask, both
    /// together.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Which three-dimensional volume of an image of more than three dimensions, from 0 in file order.
    ///
    /// Without it only images are read of which every dimension past the third is 1.
    #[must_use]
    pub fn volume(mut self, index: u64) -> Self {
        self.volume = Some(index);
        self
    }

    /// Which numbers of a NIfTI header place the voxels, where it has several: by default those that
    /// nibabel takes, the sform if its code is above 0.
    ///
    /// An image whose header has no form of the kind asked for is refused
    /// ([`NoSuchForm`](crate::ReadErrorKind::NoSuchForm)). DICOM and pictures have no forms.
    #[must_use]
    pub fn affine(mut self, source: AffineSource) -> Self {
        self.affine = source;
        self
    }

    /// Whether pictures are turned as their EXIF orientation says: they are, unless the caller says otherwise, since
    /// every viewer does so and masks are drawn on what viewers show.
    #[must_use]
    pub fn exif_orientation(mut self, orientation: ExifOrientation) -> Self {
        self.exif = orientation;
        self
    }

    /// What the fourth axis of a NIfTI image is, for [`ReadOptions::read_scan`].
    #[must_use]
    pub fn fourth_axis(mut self, axis: FourthAxis) -> Self {
        self.fourth = axis;
        self
    }

    /// What the channels of a case are called, in the order of its files, instead of the names of the files: for
    /// [`Case::read_scan`](crate::dataset::Case::read_scan) of files that are called otherwise than those that a model was
    /// trained on. Default none.
    #[must_use]
    pub fn channel_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.channels = names.into_iter().map(Into::into).collect();
        self
    }

    /// What the channels of a case are called, where the caller says so.
    pub(crate) fn named_channels(&self) -> &[String] {
        &self.channels
    }

    /// The same options for the mask of an image of several volumes, which has one.
    pub(crate) fn of_mask(&self) -> Self {
        Self { volume: None, ..self.clone() }
    }

    pub(crate) fn exif(&self) -> ExifOrientation {
        self.exif
    }

    /// The memory that reading may take, see [`ReadOptions::max_bytes`].
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.max_bytes
    }

    /// Which volume was asked for, see [`ReadOptions::volume`].
    pub(crate) fn index(&self) -> Option<u64> {
        self.volume
    }

    pub(crate) fn fourth(&self) -> FourthAxis {
        self.fourth
    }

    pub(crate) fn affine_source(&self) -> AffineSource {
        self.affine
    }
}
