//! How files are read: how much memory they may take, and which volume of several.

use std::path::Path;

use lesio_image::{Image, Volume};

use crate::error::{ReadError, ReadErrorKind};
use crate::nifti::{NiftiImage, Voxel};
use crate::raster;

/// Memory that reading one file may take, unless the caller says otherwise: 2 GiB.
///
/// It holds a volume of 512 voxels cubed in any type, and is less than a small machine has.
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
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadOptions {
    /// At most [`DEFAULT_MAX_BYTES`] of memory; the only volume of the file.
    #[must_use]
    pub fn new() -> Self {
        Self { max_bytes: DEFAULT_MAX_BYTES, volume: None }
    }

    /// Memory that the voxels, in the type asked for, may take, and so may header extensions. Reading
    /// needs less than 1 MiB beside.
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
        let mut image = NiftiImage::open_with(path, self)?;
        for oddity in image.oddities() {
            tracing::warn!(file = %image.path().display(), %oddity, "odd header");
        }
        match self.volume {
            Some(index) => image.read_volume_at(index),
            None => image.read_volume(),
        }
    }

    /// Reads a NIfTI volume as a mask: every voxel but 0 is inside, be it 1, 256, -1 or 1.00000006.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume), and [`BadMask`](crate::ReadErrorKind::BadMask) for a voxel that is
    /// NaN.
    pub fn read_mask(&self, path: impl AsRef<Path>) -> Result<Volume<bool>, ReadError> {
        let path = path.as_ref();
        let values = self.read(path)?;
        let nan = values.data().iter().filter(|value| value.is_nan()).count();
        if nan > 0 {
            let found = format!("{nan} voxels are NaN");
            let expected = "0 outside and any other number inside";
            return Err(ReadErrorKind::BadMask { found, expected }.at(path));
        }
        Ok(values.map(|&value| value != 0.0))
    }

    /// The same options for the mask of an image of several volumes, which has one.
    pub(crate) fn of_mask(&self) -> Self {
        Self { volume: None, ..self.clone() }
    }

    /// Reads a PNG, JPEG or TIFF image.
    ///
    /// # Errors
    /// As [`read_image`](crate::read_image).
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
        let path = path.as_ref();
        raster::read(path, self.max_bytes).map_err(|kind| kind.at(path))
    }

    /// Reads the DICOM series of a folder: every file in it is a slice (but for names that start with a dot,
    /// and `DICOMDIR`), and what lies in folders below is not looked at.
    ///
    /// Slices are sorted by position along their normal; axes are columns, rows, slices. The affine leads
    /// to the same world as NIfTI's (right, anterior, superior) and keeps the slant of a tilted gantry.
    /// Values are stored bits times `RescaleSlope` plus `RescaleIntercept`, slice by slice.
    ///
    /// # Errors
    /// Names the file and what is wrong: [`NotFolder`](crate::ReadErrorKind::NotFolder),
    /// [`NoSlices`](crate::ReadErrorKind::NoSlices), [`NotDicom`](crate::ReadErrorKind::NotDicom),
    /// [`Truncated`](crate::ReadErrorKind::Truncated); compressed pixels are
    /// [`UnsupportedTransferSyntax`](crate::ReadErrorKind::UnsupportedTransferSyntax); colour, several frames and
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

    pub(crate) fn limit(&self) -> u64 {
        self.max_bytes
    }
}
