//! How files are read: how much memory they may take, and which volume of several.

use std::path::Path;

use lesio_image::{Image, Scan, Volume};
use ndarray::Array2;

use crate::endings::is_volume;
use crate::error::{Escaped, ReadError, ReadErrorKind};
use crate::nifti::{AffineSource, NiftiImage, Voxel};
use crate::raster::{self, ExifOrientation};
use crate::source::sealed::Holder;
use crate::source::{BYTES, Input};

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

    /// Reads a scan: a NIfTI volume, whose fourth axis may be channels ([`ReadOptions::fourth_axis`]), or a PNG, JPEG, TIFF or
    /// BMP picture, by the ending of its name.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume) and [`read_image`](crate::read_image).
    pub fn read_scan(&self, path: impl AsRef<Path>) -> Result<Scan, ReadError> {
        let path = path.as_ref();
        if !is_volume(path) {
            return self.read_image(path).map(Scan::from);
        }
        let volumes = self.read_channels(path)?;
        Scan::joined(volumes).map_err(|error| ReadErrorKind::NotOneScan { error }.at(path))
    }

    /// The volumes of a file that are channels of a scan.
    pub(crate) fn read_channels(&self, path: &Path) -> Result<Vec<Volume<f32>>, ReadError> {
        if self.fourth == FourthAxis::Refuse || self.volume.is_some() {
            return Ok(vec![self.read(path)?]);
        }
        let mut image = NiftiImage::open_with(path, self)?;
        tell_oddities(&image);
        // The volumes, and the scan that they are joined to.
        let (need, limit) = (image.voxels().saturating_mul(8), self.max_bytes);
        if need > limit {
            return Err(ReadErrorKind::LimitExceeded { need, limit }.at(path));
        }
        (0..image.volumes()).map(|index| image.read_volume_at(index)).collect()
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
        self.volume_of(NiftiImage::open_with(path, self)?)
    }

    /// Reads a NIfTI mask: every voxel whose scaled value is not 0 is inside.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume), and [`NotANumber`](crate::ReadErrorKind::NotANumber).
    pub fn read_mask(&self, path: impl AsRef<Path>) -> Result<Volume<bool>, ReadError> {
        self.mask_of(NiftiImage::open_with(path, self)?)
    }

    /// Reads a NIfTI volume from the bytes of a `.nii` file, compressed or not: those that start as gzip does are
    /// decompressed. The two files of a pair are read from files alone.
    ///
    /// Messages call the bytes `<bytes>`; they are not counted as memory that reading takes.
    ///
    /// # Errors
    /// As [`ReadOptions::read`] for a file of these bytes; no bytes at all are
    /// [`Truncated`](crate::ReadErrorKind::Truncated).
    pub fn read_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<f32>, ReadError> {
        self.read_bytes_as(bytes)
    }

    /// As [`ReadOptions::read_bytes`], as another type than `f32`; see [`Voxel`] for what is kept.
    ///
    /// # Errors
    /// As [`ReadOptions::read_as`] for a file of these bytes.
    pub fn read_bytes_as<T: Voxel>(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<T>, ReadError> {
        self.volume_of(NiftiImage::from_bytes_with(bytes.as_ref(), self)?)
    }

    /// As [`ReadOptions::read_mask`], from the bytes of a `.nii` file, compressed or not.
    ///
    /// # Errors
    /// As [`ReadOptions::read_mask`] for a file of these bytes.
    pub fn read_mask_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<bool>, ReadError> {
        self.mask_of(NiftiImage::from_bytes_with(bytes.as_ref(), self)?)
    }

    /// The volume asked for of an image that was opened.
    fn volume_of<T: Voxel, C: Holder>(&self, mut image: NiftiImage<C>) -> Result<Volume<T>, ReadError> {
        tell_oddities(&image);
        match self.volume {
            Some(index) => image.read_volume_at(index),
            None => image.read_volume(),
        }
    }

    /// As [`ReadOptions::volume_of`], as a mask.
    fn mask_of<C: Holder>(&self, mut image: NiftiImage<C>) -> Result<Volume<bool>, ReadError> {
        tell_oddities(&image);
        let index = match self.volume {
            Some(index) => index,
            None => image.only_volume()?,
        };
        image.read_mask_at(index)
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
        raster::read(Input::File(path.as_ref()), self).map(|picture| picture.image)
    }

    /// Reads a PNG, JPEG, TIFF or BMP image from the bytes of its file.
    ///
    /// Messages call the bytes `<bytes>`. They count as memory that reading takes, as those of a file do, so that
    /// one limit refuses the same pictures.
    ///
    /// # Errors
    /// As [`read_image`](crate::read_image) for a file of these bytes.
    pub fn read_image_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Image<f32>, ReadError> {
        raster::read(Input::Bytes(bytes.as_ref(), BYTES), self).map(|picture| picture.image)
    }

    /// Reads a picture and its mask, `[row, column]`, each from the bytes of its file, as
    /// [`Case::read_image`](crate::dataset::Case::read_image) reads both from files: that is, which pixels are inside
    /// and how both are turned. Messages call them `<image bytes>` and `<mask bytes>`.
    ///
    /// # Errors
    /// As [`Case::read_image`](crate::dataset::Case::read_image) for files of these bytes.
    ///
    /// ```
    /// use lesio_image::Image;
    /// use lesio_io::{ReadOptions, png_bytes};
    /// use ndarray::{Array3, arr2};
    ///
    /// let image = png_bytes(&Image::new(Array3::from_elem((3, 1, 2), 90_u8)))?;
    /// let mask = png_bytes(&Image::from_plane(arr2(&[[0_u8, 255]])))?;
    /// let (image, inside) = ReadOptions::new().read_masked_image_bytes(&image, &mask)?;
    /// assert_eq!((image.channels(), inside), (3, arr2(&[[false, true]])));
    ///
    /// let error = ReadOptions::new().read_masked_image_bytes(&mask, b"no picture").unwrap_err();
    /// assert_eq!(error.to_string(), "<mask bytes>: the content is none of PNG, JPEG, TIFF, BMP");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_masked_image_bytes(
        &self,
        image: impl AsRef<[u8]>,
        mask: impl AsRef<[u8]>,
    ) -> Result<(Image<f32>, Array2<bool>), ReadError> {
        let image = Input::Bytes(image.as_ref(), "<image bytes>");
        raster::read_masked(image, Input::Bytes(mask.as_ref(), "<mask bytes>"), self)
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

/// Tells what is odd about an image.
fn tell_oddities<C: Holder>(image: &NiftiImage<C>) {
    for oddity in image.oddities() {
        tracing::warn!(file = %Escaped(image.path().display()), %oddity, "odd header");
    }
}
