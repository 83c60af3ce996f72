//! The segmentation of a file, graded: what is written and said of it.

use std::path::{Path, PathBuf};

use lesio_image::Volume;
use lesio_io::dataset::Case;
use lesio_io::nifti::{NiftiHeader, read_header};
use lesio_io::{Matching, ReadOptions, WriteOptions};
use lesio_quality::{Assessment, Grade, QualityModel, SliceAssessment, SliceVerdict};
use lesio_report::{Existing, HeatMap, Montage, Picture, Rgb, Scale};
use ndarray::Axis;

use crate::presentation::PresentationError;
use crate::quality::error::QualityStudyError;

/// Slices shown, at most.
const SHOWN: usize = 12;
/// Pixels of the picture per pixel of a slice.
const ENLARGED: usize = 2;

/// An image and its segmentation, read from files, with what a model says of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradedFile {
    /// The image.
    pub image: Volume<f32>,
    /// The segmentation, on the grid of the image.
    pub segmentation: Volume<u8>,
    /// What the model says.
    pub assessment: Assessment,
    /// That of the image, where it has one: what it says of its place, maps say too.
    header: Option<NiftiHeader>,
    labels: Vec<u8>,
}

impl GradedFile {
    /// Names of the files that [`GradedFile::write`] writes.
    pub const NAMES: [&str; 4] =
        ["assessment.png", "reconstruction.nii.gz", "difference.nii.gz", "error.nii.gz"];

    /// Reads an image and its segmentation, lays the segmentation on the image, and grades it.
    ///
    /// # Errors
    /// Files that cannot be read, a segmentation of another place, [`QualityStudyError::Memory`] for an image that is too
    /// large, and as [`QualityModel::assess`].
    pub fn read(
        model: &QualityModel,
        image_path: &Path,
        segmentation_path: &Path,
        options: &ReadOptions,
        matching: Matching,
    ) -> Result<Self, QualityStudyError> {
        let image = options.read(image_path)?;
        check_memory(&image, image_path, options)?;
        let segmentation = options.read_as::<u8>(segmentation_path)?;
        let segmentation = matching.bring(segmentation, segmentation_path, &image, image_path)?;
        Self::of_volumes(model, image, segmentation, Some(read_header(image_path)?))
    }

    /// As [`GradedFile::read`], of the first image of a case and of its mask; the image may be a DICOM series.
    ///
    /// # Errors
    /// As [`GradedFile::read`], and [`QualityStudyError::Data`] for a case without a mask.
    pub fn of_case(
        model: &QualityModel,
        case: &Case,
        options: &ReadOptions,
    ) -> Result<Self, QualityStudyError> {
        let (image, segmentation) = case.read_volume_with(options)?;
        check_memory(&image, case.images().first().map_or(Path::new(""), PathBuf::as_path), options)?;
        let what = || QualityStudyError::Data { what: format!("case {} has no segmentation", case.id()) };
        Self::of_volumes(model, image, segmentation.ok_or_else(what)?, case.header()?)
    }

    fn of_volumes(
        model: &QualityModel,
        image: Volume<f32>,
        segmentation: Volume<u8>,
        header: Option<NiftiHeader>,
    ) -> Result<Self, QualityStudyError> {
        let assessment = model.assess(&image, &segmentation)?;
        let labels = model.config().framing.labels.clone();
        Ok(Self { image, segmentation, assessment, header, labels })
    }

    /// Writes maps on the image's grid and a picture into a folder, as [`GradedFile::NAMES`]; no error map for a method that
    /// has none, and no picture where nothing is segmented.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<(), QualityStudyError> {
        let volumes = [
            ("reconstruction", Some(&self.assessment.reconstruction)),
            ("difference", Some(&self.assessment.difference)),
            ("error", self.assessment.error.as_ref()),
        ];
        let options = WriteOptions::new().existing(existing);
        let options = self.header.iter().fold(options, |options, header| options.like(header));
        for (name, volume) in volumes {
            if let Some(volume) = volume {
                options.write(folder.join(format!("{name}.nii.gz")), volume)?;
            }
        }
        if let Some(montage) = self.montage()? {
            montage.to_picture()?.write_png(folder.join("assessment.png"), existing)?;
        }
        Ok(())
    }

    /// Names of the files that [`GradedFile::write`] writes of this image.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let (has_picture, has_error) = (self.graded().next().is_some(), self.assessment.error.is_some());
        Self::NAMES.into_iter().filter(move |&name| match name {
            "assessment.png" => has_picture,
            "error.nii.gz" => has_error,
            _ => true,
        })
    }

    /// The slices with a grade.
    fn graded(&self) -> impl Iterator<Item = &SliceAssessment> {
        self.assessment.slices.iter().filter(|slice| matches!(slice.verdict, SliceVerdict::Graded { .. }))
    }

    /// What is said in words: a line for each label of the volume and for each slice.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(volume) = &self.assessment.volume else {
            let too_small = |slice: &SliceAssessment| slice.verdict == SliceVerdict::TooSmall;
            let what = match self.assessment.slices.iter().any(too_small) {
                true => "too little is segmented for a grade",
                false => "nothing is segmented: there is no quality to predict",
            };
            return what.to_owned();
        };
        let mut lines = Vec::new();
        for Grade { label, dice, interval: [low, high], distance_pixels, distance_millimeters, .. } in volume
        {
            let distance = match (distance_millimeters, distance_pixels) {
                (Some(length), _) => format!("HD95 of a slice {length:.1} mm on average"),
                (None, Some(length)) => format!("HD95 of a slice {length:.1} pixels on average"),
                (None, None) => "segmented in no slice".to_owned(),
            };
            lines.push(format!("volume, label {label}: Dice {dice:.3} [{low:.2}, {high:.2}], {distance}"));
        }
        for slice in &self.assessment.slices {
            let mut line = format!("  slice {:>3}", slice.index);
            match &slice.verdict {
                SliceVerdict::Graded { labels, unlikeness, out_of_reach, .. } => {
                    for Grade { label, dice, interval: [low, high], .. } in labels {
                        line += &format!("  {label}: {dice:.3} [{low:.2}, {high:.2}]");
                    }
                    if *out_of_reach > 0.0 {
                        line += &format!("  {:.1} % too far from the rest to be shown", 100.0 * out_of_reach);
                    }
                    if unlikeness.unlike {
                        let (name, deviations) = &unlikeness.most;
                        line += &format!("  unlike the training images: {name} {deviations:+.1} SD");
                    }
                }
                SliceVerdict::TooSmall => line += "  too little segmented for a grade",
                _ => line += "  nothing segmented",
            }
            lines.push(line);
        }
        lines.join("\n")
    }

    /// Up to 12 of the slices with a segmentation: the image with the outline of the graded labels, the reconstruction, the
    /// difference, the error map. `None` where nothing is segmented.
    fn montage(&self) -> Result<Option<Montage>, PresentationError> {
        let (image, segmentation, assessment) = (&self.image, &self.segmentation, &self.assessment);
        let graded: Vec<_> = self.graded().collect();
        if graded.is_empty() {
            return Ok(None);
        }
        let (low, high) = image.data().iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let window = Scale::new(f64::from(low), f64::from(high))?;
        let contrast = f64::from(high - low);
        let differences = HeatMap::new(Scale::new(0.0, contrast / 2.0)?);
        let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
        let columns = ["image, segmentation", "if it were right", "difference", "where it is wrong"];
        let mut montage = Montage::new(columns).color_bar(errors.clone());
        for slice in graded.iter().step_by(graded.len().div_ceil(SHOWN)) {
            let axis = Axis(assessment.slice_axis);
            let plane = |volume: &Volume<f32>| volume.data().index_axis(axis, slice.index).to_owned();
            let labels = segmentation.data().index_axis(axis, slice.index);
            let mask = labels.mapv(|label| self.labels.contains(&label));
            let gray = |volume: &Volume<f32>| Picture::gray(plane(volume).view(), window);
            let difference = plane(&assessment.difference).mapv(f32::abs);
            let name = match &slice.verdict {
                SliceVerdict::Graded { mean_dice, .. } => format!("slice {}: {mean_dice:.2}", slice.index),
                _ => String::new(),
            };
            let error = match &assessment.error {
                Some(error) => gray(image)?.overlaid(plane(error).view(), &errors)?,
                None => gray(image)?,
            };
            let row = [
                gray(image)?.enlarged(ENLARGED)?.outlined(mask.view(), Rgb::TRUTH)?,
                gray(&assessment.reconstruction)?.enlarged(ENLARGED)?,
                gray(image)?.overlaid(difference.view(), &differences)?.enlarged(ENLARGED)?,
                error.enlarged(ENLARGED)?,
            ];
            montage = montage.row(name, row)?;
        }
        Ok(Some(montage))
    }
}

/// Checks that there is room for the work on an image.
fn check_memory(image: &Volume<f32>, path: &Path, options: &ReadOptions) -> Result<(), QualityStudyError> {
    let (need, limit) = (QualityModel::working_bytes(image.shape()), options.limit());
    match need > limit {
        true => Err(QualityStudyError::Memory { path: path.to_owned(), need, limit }),
        false => Ok(()),
    }
}
