//! One case of a data set: its files, and what they hold.

use std::path::{Path, PathBuf};

use lesio_image::{Image, Scan, ScanError, Volume};
use ndarray::Array2;

use crate::endings::{is_volume, without_ending};
use crate::error::{ReadError, ReadErrorKind};
use crate::matching::Matching;
use crate::nifti::{NiftiHeader, read_header};
use crate::options::ReadOptions;
use crate::raster;
use crate::source::Input;

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
    /// Whether its images are the slices of one DICOM series.
    pub(super) series: bool,
    /// The names of the channels; none where they are called as their files.
    pub(super) channels: Vec<String>,
    /// What else a manifest says of it, by column.
    pub(super) further: Vec<(String, String)>,
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
            series: false,
            channels: Vec::new(),
            further: Vec::new(),
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

    /// Its images, one for each channel of the layout; at least one. Of a DICOM series, the files of its slices.
    #[must_use]
    pub fn images(&self) -> &[PathBuf] {
        &self.images
    }

    /// What stands for it in reports: its images, and the folders of the slices of a DICOM series.
    #[must_use]
    pub fn inputs(&self) -> Vec<PathBuf> {
        if !self.series {
            return self.images.clone();
        }
        let mut folders: Vec<PathBuf> =
            self.images.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// The header of its first image, whose codes and units maps of it keep; `None` where that is no NIfTI volume.
    ///
    /// # Errors
    /// As [`read_header`](crate::nifti::read_header).
    pub fn header(&self) -> Result<Option<NiftiHeader>, ReadError> {
        let path = self.first_image()?;
        if self.series || !is_volume(path) { Ok(None) } else { read_header(path).map(Some) }
    }

    /// What else is known of it: the columns of a manifest that mean nothing to lesio, such as site and age, in their
    /// order; what is not known is empty.
    #[must_use]
    pub fn further(&self) -> &[(String, String)] {
        &self.further
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

    /// Whether its first image is a volume, by its name, or it is a DICOM series; else it is a two-dimensional image.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.series || self.images.first().is_some_and(is_volume)
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
    /// As [`Case::read_volume`], and [`ReadErrorKind::NotANumber`] instead of a conversion that loses something.
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
        let volume = self.read_file(path, options)?;
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
        for path in self.files() {
            let volume = self.read_file(path, options)?;
            let volume = match volumes.first() {
                Some(reference) => self.matching.bring(volume, path, reference, first)?,
                None => volume,
            };
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
    /// As [`read_image`](crate::read_image), [`ReadErrorKind::SizeMismatch`], [`ReadErrorKind::LossyConversion`] for a
    /// mask with NaN, and [`ReadErrorKind::BlurredMask`] for a JPEG mask whose greatest value is 1 to 127: whether those
    /// are marks or blur cannot be told. The limit holds for image and mask together.
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
        let input = Input::File(path);
        Ok(match &self.mask {
            Mask::File(mask_path) => {
                let (image, mask) = raster::read_masked(input, Input::File(mask_path), options)?;
                (image, Some(mask))
            }
            Mask::Normal => {
                let image = raster::read(input, options)?.image;
                let nothing = Array2::from_elem([image.height(), image.width()], false);
                (image, Some(nothing))
            }
            Mask::Unknown => (raster::read(input, options)?.image, None),
        })
    }

    /// Reads all its images as the channels of one scan, and its mask on the scan's grid: what is not 0 is inside. Channels
    /// are named as [`ReadOptions::channel_names`] says, as the layout names them, or as their files are, without the ending,
    /// where each is a file. A case that is normal by its place has a mask of nothing, one
    /// of which nothing is known has none.
    ///
    /// # Errors
    /// As [`Case::read_masked`] and [`Case::read_image`]; [`ReadErrorKind::GridMismatch`] naming both files where a channel
    /// lies elsewhere than the first.
    pub fn read_scan(&self) -> Result<(Scan, Option<Volume<bool>>), ReadError> {
        self.read_scan_with(&ReadOptions::new())
    }

    /// As [`Case::read_scan`], with other options for all its files.
    ///
    /// # Errors
    /// As [`Case::read_scan`]; [`ReadErrorKind::LimitExceeded`] where the channels together take too much.
    pub fn read_scan_with(&self, options: &ReadOptions) -> Result<(Scan, Option<Volume<bool>>), ReadError> {
        let first = self.first_image()?;
        let not_one = |error: ScanError| ReadErrorKind::NotOneScan { error }.at(first);
        if !self.is_volume() {
            if let Some(second) = self.images.get(1) {
                let (found, expected) = (self.images.len(), 1);
                return Err(
                    ReadErrorKind::NotOneScan { error: ScanError::Names { found, expected } }.at(second)
                );
            }
            let (image, mask) = self.read_image_with(options)?;
            return Ok((Scan::from(image), mask.map(Scan::of_picture)));
        }
        let mut volumes: Vec<Volume<f32>> = Vec::new();
        let mut need = 0_u64;
        for path in self.files() {
            let read = match self.series {
                true => vec![self.read_file(path, options)?],
                false => options.read_channels(path)?,
            };
            for volume in read {
                need = need.saturating_add(8 * volume.data().len() as u64);
                let limit = options.limit();
                if !volumes.is_empty() && need > limit {
                    return Err(ReadErrorKind::LimitExceeded { need, limit }.at(path));
                }
                volumes.push(match volumes.first() {
                    Some(reference) => self.matching.bring(volume, path, reference, first)?,
                    None => volume,
                });
            }
        }
        let mask = match (&self.mask, volumes.first()) {
            (Mask::File(mask_path), Some(reference)) => {
                let mask = options.of_mask().read_mask(mask_path)?;
                Some(self.matching.bring(mask, mask_path, reference, first)?)
            }
            (Mask::Normal, Some(reference)) => Some(reference.map(|_| false)),
            _ => None,
        };
        let scan = Scan::joined(volumes).map_err(not_one)?;
        let names = match options.named_channels() {
            // The channels of one file have no names of their own.
            [] if scan.channels() != self.files().len() => return Ok((scan, mask)),
            [] if !self.channels.is_empty() => self.channels.clone(),
            [] => self.images.iter().map(|path| channel_name(path)).collect(),
            names => names.to_vec(),
        };
        Ok((scan.named(names).map_err(not_one)?, mask))
    }

    /// What is read one after the other: a file for each channel, and the first of the slices for all.
    fn files(&self) -> &[PathBuf] {
        let count = if self.series { 1 } else { self.images.len() };
        self.images.get(..count).unwrap_or_default()
    }

    /// The volume of a file, or of the series that begins with it.
    fn read_file(&self, path: &Path, options: &ReadOptions) -> Result<Volume<f32>, ReadError> {
        if self.series { options.read_series(&self.images) } else { options.read(path) }
    }

    fn first_image(&self) -> Result<&PathBuf, ReadError> {
        self.images.first().ok_or_else(|| ReadErrorKind::NotFound.at(Path::new(&self.id)))
    }
}

/// What a channel is called: its file's name without the ending.
fn channel_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    without_ending(&name).to_owned()
}
