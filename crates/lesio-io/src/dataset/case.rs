//! A case of a data set: its files and their contents.

use std::path::{Path, PathBuf};

use lesio_image::{Image, Scan, ScanError, Volume};
use ndarray::{Array2, Array3};

use super::fault::Fault;
use crate::endings::{is_volume, without_ending};
use crate::error::{ReadError, ReadErrorKind};
use crate::matching::Matching;
use crate::nifti::{NiftiHeader, read_header};
use crate::options::ReadOptions;
use crate::raster;
use crate::source::Input;

/// The ground truth of a case: which of its pixels or voxels are abnormal, or segmented.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mask {
    /// A file contains the mask.
    File(PathBuf),
    /// Nothing is abnormal: the case is normal by its folder, such as `good` in MVTec AD, or by the user's choice.
    Normal,
    /// No mask is known.
    Unknown,
}

impl Mask {
    /// The file of the mask, if there is one.
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
    /// Whether the images are the slices of one DICOM series.
    pub(super) series: bool,
    /// Names of the channels; empty if the channels are named after their files.
    pub(super) channels: Vec<String>,
    /// Further properties that the layout provides, such as columns of a manifest, by name.
    pub(super) further: Vec<(String, String)>,
    pub(super) mask: Mask,
    pub(super) matching: Matching,
    /// Why it cannot be read, if the listing shows that.
    pub(super) fault: Option<Fault>,
}

impl Case {
    /// A case that is its own patient, without files.
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
            fault: None,
        }
    }

    /// A case of files that no data set lists, which is its own patient: one image for each channel, or one picture.
    #[must_use]
    pub fn of_files(
        id: impl Into<String>,
        images: impl IntoIterator<Item = impl Into<PathBuf>>,
        mask: Mask,
        matching: Matching,
    ) -> Self {
        Self { images: images.into_iter().map(Into::into).collect(), mask, matching, ..Self::new(id) }
    }

    /// The name of the case, unique in the data set: `patient001_frame01`, `test/crack/003`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The patient or object that was imaged; cases of one patient are not independent. The id of the case, if the
    /// layout does not state the patient.
    #[must_use]
    pub fn patient(&self) -> &str {
        &self.patient
    }

    /// The split to which the case belongs.
    #[must_use]
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// The kind of defect, if the layout states it: the folder in MVTec AD, where `good` means no defect.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The images, at least one: one for each channel of the layout, or the slices of a DICOM series. A path may be
    /// that of no file, or of one that cannot be read: reading the case then returns the error.
    #[must_use]
    pub fn images(&self) -> &[PathBuf] {
        &self.images
    }

    /// The inputs that reports list for the case: its images, or the folders with the slices of a DICOM series.
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

    /// The header of the first image, which provides codes and units for maps of the case; `None` if the image is not
    /// a NIfTI volume.
    ///
    /// # Errors
    /// The errors of [`read_header`](crate::nifti::read_header).
    pub fn header(&self) -> Result<Option<NiftiHeader>, ReadError> {
        let path = self.first_image()?;
        if self.series || !is_volume(path) { Ok(None) } else { read_header(path).map(Some) }
    }

    /// Further properties of the case: the columns of a manifest that lesio does not interpret, such as site and age,
    /// in their order. Unknown values are empty.
    #[must_use]
    pub fn further(&self) -> &[(String, String)] {
        &self.further
    }

    /// The ground truth of the case.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// How the mask and the channels are matched to the first image.
    #[must_use]
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// Whether the first image is a volume, according to its file name, or the case is a DICOM series. Otherwise it
    /// is a two-dimensional image.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.series || self.images.first().is_some_and(is_volume)
    }

    /// Reads the first image and its labels as volumes on one grid; labels are exact. A normal case without a mask
    /// file has labels of zeros; a case without a known mask has no labels. The option that selects one volume of
    /// several applies to the image only.
    ///
    /// Labels whose voxels are in another order are reordered to match the image by the affines, or matched by voxel
    /// index if [`DatasetOptions::matching`](super::DatasetOptions::matching) says so.
    ///
    /// # Errors
    /// The errors of [`read_volume`](crate::read_volume); [`ReadErrorKind::SizeMismatch`] and
    /// [`ReadErrorKind::GridMismatch`] if image and labels are not at the same place (see [`Matching::bring`]); and
    /// [`ReadErrorKind::LossyConversion`] for labels outside 0 to 255.
    pub fn read_volume(&self, options: &ReadOptions) -> Result<(Volume<f32>, Option<Volume<u8>>), ReadError> {
        self.read_with(options, 0, |options, path| options.read_as(path))
    }

    /// Reads the first image and its mask as volumes on one grid; voxels of the mask that are not 0 are inside
    /// ([`ReadOptions::mask_rule`]). In all other respects like [`Case::read_volume`].
    ///
    /// # Errors
    /// The errors of [`Case::read_volume`], with [`ReadErrorKind::NotANumber`] in place of
    /// [`ReadErrorKind::LossyConversion`].
    pub fn read_masked(
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

    /// Reads all images of the case as volumes on the grid of the first.
    ///
    /// # Errors
    /// The errors of [`Case::read_volume`].
    pub fn read_channels(&self, options: &ReadOptions) -> Result<Vec<Volume<f32>>, ReadError> {
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

    /// Reads the first image and its mask, `[row, column]`, as two-dimensional images. A pixel is in the mask if any
    /// of its channels is not zero. In a JPEG mask, values must be above 127, since JPEG coding blurs edges.
    ///
    /// The image and the mask are each turned by their own EXIF orientation. A mask without one has the rows and
    /// columns of the turned image, or of the image in its file; in the second case, it is turned with the image. If
    /// both sizes fit (a square, or an image turned upside down), the mask is taken as drawn on the turned image,
    /// which `tracing` reports.
    ///
    /// # Errors
    /// The errors of [`read_image`](crate::read_image); [`ReadErrorKind::SizeMismatch`];
    /// [`ReadErrorKind::LossyConversion`] for a mask with NaN; and [`ReadErrorKind::BlurredMask`] for a JPEG mask
    /// whose greatest value is 1 to 127, which may be marks or blur. The memory limit applies to image and mask
    /// together.
    pub fn read_image(&self, options: &ReadOptions) -> Result<(Image<f32>, Option<Array2<bool>>), ReadError> {
        let path = self.first_image()?;
        let input = Input::File(path);
        Ok(match &self.mask {
            Mask::File(mask_path) => {
                let (image, mask) = raster::read_masked(input, Input::File(mask_path), options)?;
                if let Some(kind) = self.kind.as_deref().filter(|_| !mask.iter().any(|&inside| inside)) {
                    tracing::warn!(mask = %mask_path.display(), kind, "nothing of the mask of this defect is inside");
                }
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

    /// Reads all images of the case as the channels of one scan, and the mask on the scan's grid; pixels or voxels of
    /// the mask that are not 0 are inside ([`ReadOptions::mask_rule`]). The names of the channels are those in
    /// [`ReadOptions::channel_names`], those of the layout, or, if each channel is a file, the file names without the
    /// ending. A normal case without a mask file has an empty mask; a case without a known mask has none.
    ///
    /// # Errors
    /// The errors of [`Case::read_masked`] and [`Case::read_image`]; [`ReadErrorKind::GridMismatch`], which names
    /// both files, if a channel is at another place than the first; [`ReadErrorKind::RepeatedChannel`] and
    /// [`ReadErrorKind::OtherChannel`]; [`ReadErrorKind::LimitExceeded`] if the channels together exceed the memory
    /// limit.
    pub fn read_scan(&self, options: &ReadOptions) -> Result<(Scan, Option<Volume<bool>>), ReadError> {
        if self.is_volume() {
            return self.read_volumes(options, false, |options, path| options.read_mask(path));
        }
        self.check_one_picture()?;
        let (image, mask) = self.read_image(options)?;
        Ok((Scan::from(image), mask.map(Scan::of_picture)))
    }

    /// Like [`Case::read_scan`], but the mask holds labels, which are exact. The labels of a picture are a gray picture
    /// whose values are the labels; they are turned as a mask is ([`Case::read_image`]).
    ///
    /// # Errors
    /// Those of [`Case::read_scan`]; [`ReadErrorKind::LossyConversion`] for labels that are not whole numbers from 0 to
    /// 255, and [`ReadErrorKind::UnsupportedPixels`] for a picture of labels in colors, in JPEG, or of 2 to 7 bits, which readers
    /// scale.
    pub fn read_labeled(&self, options: &ReadOptions) -> Result<(Scan, Option<Volume<u8>>), ReadError> {
        if self.is_volume() {
            return self.read_volumes(options, 0, |options, path| options.read_as(path));
        }
        self.check_one_picture()?;
        let path = self.first_image()?;
        let picture = raster::read(Input::File(path), options)?;
        let labels = match &self.mask {
            Mask::File(labels) => Some(raster::read_labels(Input::File(labels), options, (path, &picture))?),
            Mask::Normal => Some(Array2::zeros((picture.image.height(), picture.image.width()))),
            Mask::Unknown => None,
        };
        Ok((Scan::from(picture.image), labels.map(Scan::of_picture)))
    }

    /// Reads labels for the scan of this case, on its grid, from another file than that of its mask; in all other respects
    /// as [`Case::read_labeled`] does.
    ///
    /// # Errors
    /// Those of [`Case::read_labeled`].
    pub fn labels_on(
        &self,
        scan: &Scan,
        path: &Path,
        options: &ReadOptions,
    ) -> Result<Volume<u8>, ReadError> {
        let first = self.first_image()?;
        if scan.is_picture() {
            // Its file says how it was turned.
            let picture = raster::read(Input::File(first), options)?;
            let labels = raster::read_labels(Input::File(path), options, (first, &picture))?;
            return Ok(Scan::of_picture(labels));
        }
        let labels = options.of_mask().read_as(path)?;
        self.matching.bring(labels, path, &scan.placed(Array3::from_elem(scan.grid(), ())), first)
    }

    /// Reads the channels of volumes, and the mask on their grid.
    fn read_volumes<T: Copy>(
        &self,
        options: &ReadOptions,
        normal: T,
        read_mask: impl Fn(&ReadOptions, &Path) -> Result<Volume<T>, ReadError>,
    ) -> Result<(Scan, Option<Volume<T>>), ReadError> {
        let first = self.first_image()?;
        let not_one = |error: ScanError| ReadErrorKind::NotOneScan { error }.at(first);
        self.check_channels(options)?;
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
                let mask = read_mask(&options.of_mask(), mask_path)?;
                Some(self.matching.bring(mask, mask_path, reference, first)?)
            }
            (Mask::Normal, Some(reference)) => Some(reference.map(|_| normal)),
            _ => None,
        };
        let scan = Scan::joined(volumes).map_err(not_one)?;
        // The channels of a single file are not named after the file.
        if options.named_channels().is_empty() && scan.channels() != self.files().len() {
            return Ok((scan, mask));
        }
        Ok((scan.with_names(self.channel_names(options)).map_err(not_one)?, mask))
    }

    /// The names of the channels of [`Case::read_scan`], if each of them is a file or has a name by the options;
    /// none for a picture.
    #[must_use]
    pub fn channel_names(&self, options: &ReadOptions) -> Vec<String> {
        match options.named_channels() {
            _ if !self.is_volume() => Vec::new(),
            [] if !self.channels.is_empty() => self.channels.clone(),
            [] => self.images.iter().map(|path| channel_name(path)).collect(),
            names => names.to_vec(),
        }
    }

    /// Returns an error for a picture of several files.
    fn check_one_picture(&self) -> Result<(), ReadError> {
        let Some(second) = self.images.get(1) else { return Ok(()) };
        let (found, expected) = (self.images.len(), 1);
        Err(ReadErrorKind::NotOneScan { error: ScanError::Names { found, expected } }.at(second))
    }

    /// Returns an error for a file that is given for two channels, and for a file that has the name of another channel.
    fn check_channels(&self, options: &ReadOptions) -> Result<(), ReadError> {
        let names = options.named_channels();
        for (place, path) in self.files().iter().enumerate() {
            if self.files()[..place].contains(path) {
                return Err(ReadErrorKind::RepeatedChannel.at(path));
            }
            let own = channel_name(path);
            if let Some(given) = names.get(place)
                && *given != own
                && names.contains(&own)
            {
                return Err(ReadErrorKind::OtherChannel { given: given.clone(), named: own }.at(path));
            }
        }
        Ok(())
    }

    /// The files that are read one after the other: one for each channel, or the first slice of a series.
    fn files(&self) -> &[PathBuf] {
        let count = if self.series { 1 } else { self.images.len() };
        self.images.get(..count).unwrap_or_default()
    }

    /// The volume in a file, or in the series that starts with it.
    fn read_file(&self, path: &Path, options: &ReadOptions) -> Result<Volume<f32>, ReadError> {
        if self.series { options.read_series(&self.images) } else { options.read(path) }
    }

    /// The file that every reader starts with.
    fn first_image(&self) -> Result<&PathBuf, ReadError> {
        if let Some(fault) = &self.fault {
            return Err(fault.error());
        }
        self.images.first().ok_or_else(|| ReadErrorKind::NotFound.at(Path::new(&self.id)))
    }
}

/// The name of a channel: the name of its file without the ending.
fn channel_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    without_ending(&name).to_owned()
}
