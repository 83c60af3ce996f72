//! Reads files and bytes in memory as volumes, pictures, masks and scans.

use std::path::{Path, PathBuf};

use lesio_image::{Image, Scan, Volume};
use ndarray::Array2;

use crate::endings::is_volume;
use crate::error::{Escaped, ReadError, ReadErrorKind};
use crate::nifti::{NiftiImage, Voxel};
use crate::options::ReadOptions;
use crate::raster;
use crate::source::sealed::Holder;
use crate::source::{BYTES, Input};

/// Reads a scan: a NIfTI volume or a PNG, JPEG, TIFF or BMP picture, by the ending of its name.
///
/// # Errors
/// Those of [`read_volume`] and [`read_image`].
pub fn read_scan(path: impl AsRef<Path>) -> Result<Scan, ReadError> {
    ReadOptions::new().read_scan(path)
}

/// Reads a NIfTI volume: `.nii`, or either file of an `.hdr` and `.img` pair, compressed (`.gz`) or not.
///
/// Values are scaled by the header (in `f64`) and rounded to `f32`; infinities are kept, and so is NaN unless
/// [`ReadOptions::nan_values`] says otherwise. Axes are those of the
/// file in their stored orientation: [`Volume::reoriented`] changes it. Images of one or two dimensions become volumes
/// with axes of size 1. The geometry is converted to millimeters from the unit of the header; without a unit,
/// millimeters are assumed.
///
/// # Errors
/// All errors name the file. Errors of the file: [`ReadErrorKind::NotFound`],
/// [`ReadErrorKind::DanglingLink`], [`ReadErrorKind::NotRegularFile`], [`ReadErrorKind::UnknownFormat`],
/// [`ReadErrorKind::MissingPair`], [`ReadErrorKind::AmbiguousPair`], [`ReadErrorKind::Io`]. Of its
/// length: [`ReadErrorKind::Truncated`], [`ReadErrorKind::ImpossibleClaim`],
/// [`ReadErrorKind::GzipCorrupt`]. Of its header: [`ReadErrorKind::NotNifti`],
/// [`ReadErrorKind::UnsupportedVersion`], [`ReadErrorKind::UnsupportedDatatype`],
/// [`ReadErrorKind::UnsupportedIntent`], [`ReadErrorKind::BadDim`], [`ReadErrorKind::BadVoxOffset`],
/// [`ReadErrorKind::BadExtension`], [`ReadErrorKind::BadScaling`], [`ReadErrorKind::BadBitsPerVoxel`],
/// [`ReadErrorKind::BadAffine`]. Of the
/// request: [`ReadErrorKind::UnexpectedRank`] for more than one volume,
/// [`ReadErrorKind::LossyConversion`] where a finite value overflows `f32`,
/// [`ReadErrorKind::LimitExceeded`] and [`ReadErrorKind::OutOfMemory`].
///
/// See the example in [`ReadOptions`].
pub fn read_volume(path: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
    ReadOptions::new().read(path)
}

/// Reads a PNG, JPEG, TIFF or BMP image. The content determines the format, not the name.
///
/// Values are those of the file: 0 to 255 for 8 bits, 0 to 65535 for 16, and those of floats. Integers beyond
/// 2<sup>24</sup> are rounded to `f32`. Fewer than 8 bits are scaled to 0 to 255. A palette is replaced by its colors
/// (in BMP, by one channel if all colors are gray). Gray images have one channel, colored ones three, and TIFF may have
/// more. Opacity is left out if every pixel is opaque; an image with transparent pixels is an error, since the meaning
/// of their colors is undefined.
///
/// Pictures are rotated by their EXIF orientation (in JPEG, in the chunk `eXIf` of PNG, and in tag 274 of TIFF), with a
/// `tracing` event; [`ReadOptions::exif_orientation`] can keep the stored rows and columns. Orientations in XMP or in
/// text chunks are ignored. Color profiles, gamma and other metadata (PNG's `gAMA`, `cHRM`, `sBIT`, `iCCP`) change no
/// value.
///
/// Every feature of a format is either supported or an error; none is ignored:
///
/// | format | supported | an error ([`ReadErrorKind::UnsupportedPixels`]) |
/// |---|---|---|
/// | PNG | every color type and number of bits; interlacing; palettes; `tRNS`, where it touches no pixel | transparent pixels; several frames (APNG); critical chunks that are not of the standard |
/// | JPEG | baseline, extended and progressive Huffman coding of 8 bits; 1 or 3 components; colors at full resolution or at half of it across, down or both; restart intervals; Adobe's and JFIF's marks of color | 4 components (CMYK, YCCK); 12 bits; arithmetic, lossless and hierarchical coding; a scan for each component, but in progressive coding; other sampling; a number of rows that follows the image (DNL) |
/// | TIFF, BigTIFF | both orders of bytes; strips and tiles; planar configuration 1 and 2; fill order 1 and 2; unsigned values of 1 to 32 and 64 bits, signed of 8, 16, 32 and 64, floats of 16, 32 and 64; compression by LZW, deflate, packed bits and JPEG; predictors 2 and 3; 0 for white; opacity; the 8 orientations | several pages; thumbnails and masks (`NewSubfileType`); stacks in one page (ImageJ, `ImageDepth`); palettes; CMYK, YCbCr that is not JPEG, L\*a\*b\*, filter arrays; complex and undefined values; values of different bits; fax, old JPEG, Zstandard, LZMA, WebP, JPEG 2000, LERC; predictors without LZW or deflate; values beside the colors that are no opacity |
/// | BMP | 1, 4 and 8 bits of a palette; 24 and 32 bits; either order of rows; bit masks of whole bytes | run lengths; 16 bits; JPEG and PNG within |
///
/// Damage is an error: every checksum is verified (PNG's chunks and compressed stream, deflate in TIFF), strips and
/// tiles must contain all their pixels, and all codes of a JPEG are checked, in all scans that a progressive file
/// needs. Data after the end of an image, or of a PNG's compressed stream, are ignored with a `tracing` event: cameras
/// store previews there, and some writers pad.
///
/// # Errors
/// [`ReadErrorKind::NotFound`], [`ReadErrorKind::NotRegularFile`], [`ReadErrorKind::UnknownContent`],
/// [`ReadErrorKind::Decode`] for damage, [`ReadErrorKind::Truncated`] for a file that ends early,
/// [`ReadErrorKind::ImpossibleClaim`] for a size that no file of this length holds,
/// [`ReadErrorKind::LimitExceeded`] if the file, the image and the decoder need more than
/// [`ReadOptions::max_bytes`], [`ReadErrorKind::UnsupportedPixels`] as above, and
/// [`ReadErrorKind::LossyConversion`] for a double that `f32` cannot hold.
pub fn read_image(path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
    ReadOptions::new().read_image(path)
}

impl ReadOptions {
    /// Reads a scan: a NIfTI volume, whose fourth axis may be channels ([`ReadOptions::fourth_axis`]), or a PNG, JPEG, TIFF or
    /// BMP picture, by the ending of its name.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume) and [`read_image`](crate::read_image).
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
        if !self.has_channel_axis() || self.index().is_some() {
            return Ok(vec![self.read(path)?]);
        }
        telling_oddities(NiftiImage::open_with(path, self)?, |image| {
            // The volumes, and the scan that they are joined to.
            let (need, limit) = (image.voxels().saturating_mul(8), self.limit());
            if need > limit {
                return Err(ReadErrorKind::LimitExceeded { need, limit }.at(path));
            }
            let indices = 0..image.volumes();
            indices.map(|index| Ok(self.without_nan(image.read_volume_at(index)?, path))).collect()
        })
    }

    /// Reads a NIfTI volume.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Volume<f32>, ReadError> {
        self.read_as(path)
    }

    /// Reads a NIfTI volume as another type than `f32`; see [`Voxel`] for the conversions.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume), and
    /// [`LossyConversion`](crate::ReadErrorKind::LossyConversion).
    pub fn read_as<T: Voxel>(&self, path: impl AsRef<Path>) -> Result<Volume<T>, ReadError> {
        self.volume_of(NiftiImage::open_with(path, self)?)
    }

    /// Reads a NIfTI mask. [`ReadOptions::mask_rule`] decides on scaled values what is inside.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume), and [`NotANumber`](crate::ReadErrorKind::NotANumber).
    pub fn read_mask(&self, path: impl AsRef<Path>) -> Result<Volume<bool>, ReadError> {
        self.mask_of(NiftiImage::open_with(path, self)?)
    }

    /// Reads a NIfTI volume from the bytes of a `.nii` file, compressed or not; bytes that start like gzip are
    /// decompressed. The two files of a pair cannot be read from memory.
    ///
    /// Messages call the bytes `<bytes>`; they do not count toward the memory limit.
    ///
    /// # Errors
    /// Those of [`ReadOptions::read`] for a file of these bytes; no bytes at all are
    /// [`Truncated`](crate::ReadErrorKind::Truncated).
    pub fn read_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<f32>, ReadError> {
        self.read_bytes_as(bytes)
    }

    /// Like [`ReadOptions::read_bytes`], as another type than `f32`; see [`Voxel`] for the conversions.
    ///
    /// # Errors
    /// Those of [`ReadOptions::read_as`] for a file of these bytes.
    pub fn read_bytes_as<T: Voxel>(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<T>, ReadError> {
        self.volume_of(NiftiImage::from_bytes_with(bytes.as_ref(), self)?)
    }

    /// Like [`ReadOptions::read_mask`], from the bytes of a `.nii` file, compressed or not.
    ///
    /// # Errors
    /// Those of [`ReadOptions::read_mask`] for a file of these bytes.
    pub fn read_mask_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Volume<bool>, ReadError> {
        self.mask_of(NiftiImage::from_bytes_with(bytes.as_ref(), self)?)
    }

    /// The requested volume of an opened image.
    fn volume_of<T: Voxel, C: Holder>(&self, image: NiftiImage<C>) -> Result<Volume<T>, ReadError> {
        let path = image.path().to_owned();
        let volume = telling_oddities(image, |image| match self.index() {
            Some(index) => image.read_volume_at(index),
            None => image.read_volume(),
        })?;
        Ok(self.without_nan(volume, &path))
    }

    /// The volume of a file, with NaN as the options say.
    fn without_nan<T: Voxel>(&self, mut volume: Volume<T>, path: &Path) -> Volume<T> {
        self.of_nan().apply(volume.data_mut().iter_mut(), path);
        volume
    }

    /// Like [`ReadOptions::volume_of`], as a mask.
    fn mask_of<C: Holder>(&self, image: NiftiImage<C>) -> Result<Volume<bool>, ReadError> {
        telling_oddities(image, |image| {
            let index = match self.index() {
                Some(index) => index,
                None => image.only_volume()?,
            };
            image.read_mask_by(index, self.of_inside())
        })
    }

    /// Reads a PNG, JPEG, TIFF or BMP image.
    ///
    /// # Errors
    /// Those of [`read_image`](crate::read_image).
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Image<f32>, ReadError> {
        raster::read(Input::File(path.as_ref()), self).map(|picture| picture.image)
    }

    /// Reads a PNG, JPEG, TIFF or BMP image from the bytes of its file.
    ///
    /// Messages call the bytes `<bytes>`. They count toward the memory limit, as those of a file do, so that a limit
    /// has the same effect on both.
    ///
    /// # Errors
    /// Those of [`read_image`](crate::read_image) for a file of these bytes.
    pub fn read_image_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<Image<f32>, ReadError> {
        raster::read(Input::Bytes(bytes.as_ref(), BYTES), self).map(|picture| picture.image)
    }

    /// Reads a picture and its mask, `[row, column]`, each from the bytes of its file, as
    /// [`Case::read_image`](crate::dataset::Case::read_image) reads both from files, with the same rules for pixels
    /// inside and for rotation. Messages call them `<image bytes>` and `<mask bytes>`.
    ///
    /// # Errors
    /// Those of [`Case::read_image`](crate::dataset::Case::read_image) for files of these bytes.
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

    /// Reads the DICOM series of a folder. Every file in it is a slice, except names that start with a dot and
    /// `DICOMDIR`; subfolders are ignored.
    ///
    /// Slices are sorted by position along their normal; axes are columns, rows, slices. The affine maps
    /// to the same world coordinates as NIfTI's (right, anterior, superior) and keeps the shear of a tilted gantry.
    /// Values are those after the modality transformation of each slice.
    ///
    /// Supported attributes that change pixels: `BitsAllocated` (8, 16, 32), `BitsStored` and `HighBit` (bits above it,
    /// such as old overlays, are cut off), `PixelRepresentation`, `RescaleSlope` and `RescaleIntercept`, or instead of
    /// these the table of a `ModalityLUTSequence` (values outside it have its first or last entry). These are errors:
    /// compressed pixels, `SamplesPerPixel` other than 1, `PhotometricInterpretation` other than `MONOCHROME2`
    /// (`MONOCHROME1` is a matter of display, but which values are bright then differs from every other image),
    /// `NumberOfFrames` other than 1 and enhanced images (functional groups), `FloatPixelData`, a table beside a
    /// scaling that is not 1 and 0, and `HighBit` other than `BitsStored` less 1. These are ignored, because they
    /// concern display or another unit: windows, VOI and presentation tables, `RealWorldValueMappingSequence`, private
    /// scalings, and overlays.
    ///
    /// Pixels whose stored value is `PixelPaddingValue`, or lies between it and `PixelPaddingRangeLimit`, are outside
    /// of the field of view. They get the smallest other value of the series, with a `tracing` event that says how many
    /// they are. A padding that is 0 after the modality transformation stays 0.
    ///
    /// Slices must lie at equal distances. Each may be off its place between the first and the last one by a hundredth
    /// of their distance, or by one unit of the last decimal of the positions: thin slices have positions such as 0.62
    /// and 1.25 mm, or 0.6 and 1.2.
    ///
    /// # Errors
    /// All errors name the file: [`NotFolder`](crate::ReadErrorKind::NotFolder),
    /// [`NoSlices`](crate::ReadErrorKind::NoSlices), [`NotDicom`](crate::ReadErrorKind::NotDicom),
    /// [`Truncated`](crate::ReadErrorKind::Truncated); compressed pixels are
    /// [`UnsupportedTransferSyntax`](crate::ReadErrorKind::UnsupportedTransferSyntax); color, several frames, and
    /// missing or invalid attributes are [`BadAttribute`](crate::ReadErrorKind::BadAttribute).
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
        crate::dicom::read(folder.as_ref(), self.limit())
    }

    /// Reads the DICOM series of these files, wherever they lie.
    pub(crate) fn read_series(&self, files: &[PathBuf]) -> Result<Volume<f32>, ReadError> {
        #[cfg(feature = "dicom")]
        return crate::dicom::read_series(files, self.limit());
        #[cfg(not(feature = "dicom"))]
        {
            let reason = "this build reads none, it lacks the feature dicom".to_owned();
            let first = files.first().map_or(Path::new(""), PathBuf::as_path);
            Err(ReadErrorKind::NotDicom { reason }.at(first))
        }
    }
}

/// Reads from an image, and reports its oddities as `tracing` events: those of the header before, and those that show
/// at the end of a compressed file after.
fn telling_oddities<T, C: Holder>(
    mut image: NiftiImage<C>,
    read: impl FnOnce(&mut NiftiImage<C>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let tell = |image: &NiftiImage<C>, known: usize| {
        for oddity in image.oddities().iter().skip(known) {
            tracing::warn!(file = %Escaped(image.path().display()), %oddity, "odd header");
        }
    };
    tell(&image, 0);
    let known = image.oddities().len();
    let found = read(&mut image)?;
    tell(&image, known);
    Ok(found)
}
