//! One case of a data set: its files, and what they hold.

use std::io::Read;
use std::path::{Path, PathBuf};

use lesio_image::{Image, Volume};
use ndarray::{Array2, Axis};

use crate::endings::is_volume;
use crate::error::{ReadError, ReadErrorKind};
use crate::matching::{Matching, mismatch};
use crate::options::ReadOptions;
use crate::source::open_regular;

/// Values of a JPEG mask from which a pixel counts: its coding blurs the edges of black and white.
const JPEG_THRESHOLD: f32 = 127.0;

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
    pub(super) matching: Matching,
}

impl Case {
    /// A case that is its own patient, without anything yet.
    pub(super) fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            patient: id.clone(),
            id,
            frame: None,
            split: None,
            kind: None,
            images: Vec::new(),
            mask: Mask::Unknown,
            matching: Matching::default(),
        }
    }

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

    /// How its mask and channels are laid on its first image.
    #[must_use]
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// Whether its first image is a volume, by its name; else it is a two-dimensional image.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.images.first().is_some_and(is_volume)
    }

    /// Reads its first image and its labels as volumes on one grid; labels are exact. A case that is normal by
    /// its place has labels of zeros, one of which nothing is known has none.
    ///
    /// Labels in another order of voxels are brought into the image's by the affines, or taken by position where
    /// that was asked for ([`DatasetOptions::matching`](super::DatasetOptions::matching)).
    ///
    /// # Errors
    /// As [`read_volume`](crate::read_volume). [`ReadErrorKind::SizeMismatch`] and
    /// [`ReadErrorKind::GridMismatch`] where image and labels are not of one place (see [`Matching::bring`]), and
    /// [`ReadErrorKind::LossyConversion`] for labels beyond 0 to 255.
    pub fn read_volume(&self) -> Result<(Volume<f32>, Option<Volume<u8>>), ReadError> {
        self.read_volume_with(&ReadOptions::new())
    }

    /// As [`Case::read_volume`], with other options for both; which volume of several holds for the image.
    ///
    /// # Errors
    /// As [`Case::read_volume`].
    pub fn read_volume_with(
        &self,
        options: &ReadOptions,
    ) -> Result<(Volume<f32>, Option<Volume<u8>>), ReadError> {
        self.read_with(options, 0, |options, path| options.read_as(path))
    }

    /// Reads its first image and its mask as volumes on one grid: what is not 0 is inside. As
    /// [`Case::read_volume`] in all else.
    ///
    /// # Errors
    /// As [`Case::read_volume`], and [`ReadErrorKind::BadMask`] instead of a conversion that loses something.
    pub fn read_masked(&self) -> Result<(Volume<f32>, Option<Volume<bool>>), ReadError> {
        self.read_masked_with(&ReadOptions::new())
    }

    /// As [`Case::read_masked`], with other options for both.
    ///
    /// # Errors
    /// As [`Case::read_masked`].
    pub fn read_masked_with(
        &self,
        options: &ReadOptions,
    ) -> Result<(Volume<f32>, Option<Volume<bool>>), ReadError> {
        self.read_with(options, false, |options, path| options.read_mask(path))
    }

    fn read_with<T: Copy>(
        &self,
        options: &ReadOptions,
        normal: T,
        read_mask: impl Fn(&ReadOptions, &Path) -> Result<Volume<T>, ReadError>,
    ) -> Result<(Volume<f32>, Option<Volume<T>>), ReadError> {
        let path = self.first_image()?;
        let volume = options.read(path)?;
        let mask = match &self.mask {
            Mask::File(mask_path) => {
                let mask = read_mask(&options.of_mask(), mask_path)?;
                Some(self.matching.bring(mask, mask_path, &volume, path)?)
            }
            Mask::Normal => Some(volume.map(|_| normal)),
            Mask::Unknown => None,
        };
        Ok((volume, mask))
    }

    /// Reads all its images as volumes on the grid of the first.
    ///
    /// # Errors
    /// As [`Case::read_volume`].
    pub fn read_channels(&self) -> Result<Vec<Volume<f32>>, ReadError> {
        self.read_channels_with(&ReadOptions::new())
    }

    /// As [`Case::read_channels`], with other options for each.
    ///
    /// # Errors
    /// As [`Case::read_volume`].
    pub fn read_channels_with(&self, options: &ReadOptions) -> Result<Vec<Volume<f32>>, ReadError> {
        let first = self.first_image()?;
        let mut volumes: Vec<Volume<f32>> = Vec::new();
        for path in &self.images {
            let volume = options.read(path)?;
            let volume = match volumes.first() {
                Some(reference) => self.matching.bring(volume, path, reference, first)?,
                None => volume,
            };
            volumes.push(volume);
        }
        Ok(volumes)
    }

    /// Reads its first image and its mask, `[row, column]`, as two-dimensional images. What is not zero
    /// in any channel of the mask is in it (above 127 in a JPEG file, whose coding blurs).
    ///
    /// # Errors
    /// As [`read_image`](crate::read_image), [`ReadErrorKind::SizeMismatch`], and [`ReadErrorKind::BadMask`] for a
    /// mask with NaN and for a JPEG mask with values above 0 of which none is above 127: whether those are marks or
    /// blur cannot be told.
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
        let image = options.read_image(path)?;
        let size = [image.height(), image.width()];
        let mask = match &self.mask {
            Mask::File(mask_path) => {
                let mask = options.read_image(mask_path)?;
                let found = [mask.height(), mask.width()];
                if found != size {
                    return Err(mismatch(path, &size, mask_path, &found));
                }
                Some(inside(&mask, is_jpeg(mask_path)?).map_err(|kind| kind.at(mask_path))?)
            }
            Mask::Normal => Some(Array2::from_elem(size, false)),
            Mask::Unknown => None,
        };
        Ok((image, mask))
    }

    fn first_image(&self) -> Result<&PathBuf, ReadError> {
        self.images.first().ok_or_else(|| ReadErrorKind::NotFound.at(Path::new(&self.id)))
    }
}

/// The pixels that a mask marks.
fn inside(mask: &Image<f32>, jpeg: bool) -> Result<Array2<bool>, ReadErrorKind> {
    let expected = "0 outside and any other number inside";
    let nan = mask.data().iter().filter(|value| value.is_nan()).count();
    if nan > 0 {
        return Err(ReadErrorKind::BadMask { found: format!("{nan} values are NaN"), expected });
    }
    if !jpeg {
        return Ok(mask.data().map_axis(Axis(0), |channels| channels.iter().any(|&value| value != 0.0)));
    }
    let most = mask.data().iter().copied().fold(0.0, f32::max);
    if most > 0.0 && most <= JPEG_THRESHOLD {
        let found = format!("values of a JPEG mask reach {most} at most");
        let expected = "0 outside and 255 inside, since JPEG blurs; a PNG mask may hold any values";
        return Err(ReadErrorKind::BadMask { found, expected });
    }
    Ok(mask.data().map_axis(Axis(0), |channels| channels.iter().any(|&value| value > JPEG_THRESHOLD)))
}

/// Whether a file's content is JPEG, whatever its name.
fn is_jpeg(path: &Path) -> Result<bool, ReadError> {
    let (file, _) = open_regular(path).map_err(|kind| kind.at(path))?;
    let mut start = Vec::new();
    file.take(3)
        .read_to_end(&mut start)
        .map_err(|source| ReadErrorKind::Io { operation: "read the file", source }.at(path))?;
    Ok(start == [0xff, 0xd8, 0xff])
}
