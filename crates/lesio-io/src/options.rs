//! How files are read: how much memory they may take, and which volume of several.

use std::path::Path;

use lesio_image::{Image, Volume};

use crate::error::{Escaped, ReadError};
use crate::nifti::{AffineSource, NiftiImage, Voxel};
use crate::raster::{self, ExifOrientation};

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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    max_bytes: u64,
    volume: Option<u64>,
    affine: AffineSource,
    exif: ExifOrientation,
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
        Self { max_bytes: DEFAULT_MAX_BYTES, volume: None, affine, exif }
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

    /// Reads a NIfTI volume.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
        self.read_as(path)
    }

    /// Reads a NIfTI volume as another type than `f32`; see [`Voxel`] for what is kept.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume), and
    /// [`LossyConversion`](crate::ReadErrorKind::LossyConversion).
    pub fn read_as<T: Voxel>(&self, path: impl AsRef<Path>) -> Result<Volume<T>, ReadError> {
        let mut image = self.open(path)?;
        match self.volume {
            Some(index) => image.read_volume_at(index),
            None => image.read_volume(),
        }
    }

    /// Reads a NIfTI mask: every voxel whose scaled value is not 0 is inside.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume), and [`NotANumber`](crate::ReadErrorKind::NotANumber).
    pub fn read_mask(&self, path: impl AsRef<Path>) -> Result<Volume<bool>, ReadError> {
        let mut image = self.open(path)?;
        let index = match self.volume {
            Some(index) => index,
            None => image.only_volume()?,
        };
        image.read_mask_at(index)
    }

    /// Opens an image and tells what is odd about it.
    fn open(&self, path: impl AsRef<Path>) -> Result<NiftiImage, ReadError> {
        let image = NiftiImage::open_with(path, self)?;
        for oddity in image.oddities() {
            tracing::warn!(file = %Escaped(image.path().display()), %oddity, "odd header");
        }
        Ok(image)
    }

    /// The same options for the mask of an image of several volumes, which has one.
    pub(crate) fn of_mask(&self) -> Self {
        Self { volume: None, ..self.clone() }
    }

    /// Reads a PNG, JPEG, TIFF or BMP image.
    ///
    /// # Errors
    /// As [`read_image`](crate::read_image).
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
        let path = path.as_ref();
        raster::read(path, self).map(|picture| picture.image).map_err(|kind| kind.at(path))
    }

    /// Reads the DICOM series of a folder: every file in it is a slice (but for names that start with a dot,
    /// and `DICOMDIR`), and what lies in folders below is not looked at.
    ///
    /// Slices are sorted by position along their normal; axes are columns, rows, slices. The affine leads
    /// to the same world as NIfTI's (right, anterior, superior) and keeps the slant of a tilted gantry.
    /// Values are those after the modality transformation of each slice.
    ///
    /// Of what changes pixels, this is followed: `BitsAllocated` (8, 16, 32), `BitsStored` and `HighBit`, above
    /// which bits (old overlays) are cut off, `PixelRepresentation`, `RescaleSlope` and `RescaleIntercept`, or
    /// instead of these the table of a `ModalityLUTSequence` (values outside it have its first or last entry).
    /// This is refused: compressed pixels, `SamplesPerPixel` other than 1, `PhotometricInterpretation` other
    /// than `MONOCHROME2` (`MONOCHROME1` is a matter of display, but which values are bright then differs from
    /// every other image), `NumberOfFrames` other than 1 and enhanced images (functional groups),
    /// `FloatPixelData`, a table beside a scaling that is not 1 and 0, and `HighBit` other than `BitsStored`
    /// less 1. This is not applied, because it concerns display or another unit: windows, VOI and presentation
    /// tables, `RealWorldValueMappingSequence`, private scalings; nor are overlays drawn. Pixels of
    /// `PixelPaddingValue` keep their value.
    ///
    /// # Errors
    /// Names the file and what is wrong: [`NotFolder`](crate::ReadErrorKind::NotFolder),
    /// [`NoSlices`](crate::ReadErrorKind::NoSlices), [`NotDicom`](crate::ReadErrorKind::NotDicom),
    /// [`Truncated`](crate::ReadErrorKind::Truncated); compressed pixels are
    /// [`UnsupportedTransferSyntax`](crate::ReadErrorKind::UnsupportedTransferSyntax); color, several frames and
    /// attributes that are missing or make no sense are [`BadAttribute`](crate::ReadErrorKind::BadAttribute).
    /// Of the slices together: [`MixedSeries`](crate::ReadErrorKind::MixedSeries) (series, size, orientation,
    /// spacing), [`SamePosition`](crate::ReadErrorKind::SamePosition),
    /// [`MissingSlices`](crate::ReadErrorKind::MissingSlices), [`UnevenSpacing`](crate::ReadErrorKind::UnevenSpacing),
    /// [`SliceOffLine`](crate::ReadErrorKind::SliceOffLine). And [`LimitExceeded`](crate::ReadErrorKind::LimitExceeded),
    /// which holds for the volume and for each file.
    ///
    /// ```no_run
    /// let volume = lesio_io::ReadOptions::new().read_dicom("study/series-3")?;
    /// lesio_io::write_volume("series-3.nii.gz", &volume)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "dicom")]
    pub fn read_dicom(&self, folder: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
        crate::dicom::read(folder.as_ref(), self.max_bytes)
    }

    pub(crate) fn exif(&self) -> ExifOrientation {
        self.exif
    }

    /// The memory that reading may take, see [`ReadOptions::max_bytes`].
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn affine_source(&self) -> AffineSource {
        self.affine
    }
}
