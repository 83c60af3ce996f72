//! One case of a data set: its files, and what they hold.

use std::path::{Path, PathBuf};

use lesio_image::{Image, Volume};
use ndarray::Array2;

use crate::error::{ReadError, ReadErrorKind};
use crate::nifti::Voxel;
use crate::options::ReadOptions;
use crate::raster;

/// What is known of what is abnormal, or segmented, in a case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mask {
    /// A file says it.
    File(PathBuf),
    /// Nothing is: the case is normal by its place, as `good` in MVTec AD.
    Normal,
    /// Nothing is known.
    Unknown,
}

impl Mask {
    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Normal | Self::Unknown => None,
        }
    }
}

/// One case of a [`Dataset`](super::Dataset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub(super) id: String,
    pub(super) patient: String,
    pub(super) frame: Option<String>,
    pub(super) split: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) images: Vec<PathBuf>,
    pub(super) mask: Mask,
}

impl Case {
    /// Its name, unique in the data set: `patient001_frame01`, `test/crack/003`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who or what was imaged: cases of one patient are not independent. The id, where the layout does
    /// not tell.
    #[must_use]
    pub fn patient(&self) -> &str {
        &self.patient
    }

    /// The split it belongs to.
    #[must_use]
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// What kind of defect it shows, where the layout tells: MVTec AD's folder, with `good` for none.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Its images, one for each channel of the layout; at least one.
    #[must_use]
    pub fn images(&self) -> &[PathBuf] {
        &self.images
    }

    /// What is known of its mask.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Reads its first image and its mask as volumes; labels are exact. A case that is normal by its
    /// place has a mask of zeros, one of which nothing is known has none.
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume), and [`ReadErrorKind::SizeMismatch`] where image and mask
    /// differ in shape. An affine that differs is told to `tracing` only: masks often carry a poor one.
    pub fn read_volume(&self) -> Result<(Volume<f32>, Option<Volume<u8>>), ReadError> {
        self.read_volume_with(&ReadOptions::new())
    }

    /// As [`Case::read_volume`], with other options for the image; the limit holds for the mask, too.
    ///
    /// # Errors
    /// As [`Case::read_volume`].
    pub fn read_volume_with(
        &self,
        options: &ReadOptions,
    ) -> Result<(Volume<f32>, Option<Volume<u8>>), ReadError> {
        let path = self.first_image()?;
        let volume = options.read(path)?;
        let mask = match &self.mask {
            Mask::File(mask_path) => {
                let mask = ReadOptions::new().max_bytes(options.limit()).read_as::<u8>(mask_path)?;
                check_grid(path, &volume, mask_path, &mask)?;
                Some(mask)
            }
            Mask::Normal => Some(volume.map(|_| 0)),
            Mask::Unknown => None,
        };
        Ok((volume, mask))
    }

    /// Reads all its images as volumes of the same shape.
    ///
    /// # Errors
    /// As [`Case::read_volume`].
    pub fn read_channels(&self) -> Result<Vec<Volume<f32>>, ReadError> {
        let first = self.first_image()?;
        let mut volumes: Vec<Volume<f32>> = Vec::new();
        for path in &self.images {
            let volume = crate::read_volume(path)?;
            if let Some(reference) = volumes.first() {
                check_grid(first, reference, path, &volume)?;
            }
            volumes.push(volume);
        }
        Ok(volumes)
    }

    /// Reads its first image and its mask, `[row, column]`, as two-dimensional images. What is not zero in any
    /// channel of the mask is in it; in a JPEG file what is above 127, for its coding blurs.
    ///
    /// Image and mask are each turned as their own EXIF orientation says. A mask without one has the rows and
    /// columns of the turned image, or those of its file and is then turned with it: its size decides. Where
    /// both fit (a square, or turned upside down), it is taken as drawn on the turned image, which `tracing` tells.
    ///
    /// # Errors
    /// As [`read_image`](crate::read_image), [`ReadErrorKind::SizeMismatch`], and [`ReadErrorKind::BlurredMask`]
    /// for a JPEG mask whose greatest value is 1 to 127. The limit holds for image and mask together.
    pub fn read_image(&self) -> Result<(Image<f32>, Option<Array2<bool>>), ReadError> {
        self.read_image_with(&ReadOptions::new())
    }

    /// As [`Case::read_image`], with other options.
    ///
    /// # Errors
    /// As [`Case::read_image`].
    pub fn read_image_with(
        &self,
        options: &ReadOptions,
    ) -> Result<(Image<f32>, Option<Array2<bool>>), ReadError> {
        let path = self.first_image()?;
        let picture = raster::read(path, options).map_err(|kind| kind.at(path))?;
        let mask = match &self.mask {
            Mask::File(mask_path) => Some(
                raster::read_mask(mask_path, options, (path, &picture)).map_err(|kind| kind.at(mask_path))?,
            ),
            Mask::Normal => Some(Array2::from_elem([picture.image.height(), picture.image.width()], false)),
            Mask::Unknown => None,
        };
        Ok((picture.image, mask))
    }

    fn first_image(&self) -> Result<&PathBuf, ReadError> {
        self.images.first().ok_or_else(|| ReadErrorKind::NotFound.at(Path::new(&self.id)))
    }
}

fn check_grid<A, B: Voxel>(
    path: &Path,
    volume: &Volume<A>,
    other_path: &Path,
    other: &Volume<B>,
) -> Result<(), ReadError> {
    if volume.shape() != other.shape() {
        return Err(mismatch(path, &volume.shape(), other_path, &other.shape()));
    }
    // Rounding to 32 bits of coordinates within a metre.
    if !volume.geometry().is_close(other.geometry(), 1e-3) {
        tracing::warn!(image = %path.display(), other = %other_path.display(), "affines differ");
    }
    Ok(())
}

fn mismatch(path: &Path, expected: &[usize], other_path: &Path, found: &[usize]) -> ReadError {
    ReadErrorKind::SizeMismatch { with: path.to_owned(), expected: expected.to_vec(), found: found.to_vec() }
        .at(other_path)
}
