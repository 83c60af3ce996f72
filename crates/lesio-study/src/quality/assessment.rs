//! The segmentation of a file, graded: what is written and said of it.

use std::path::Path;

use lesio_image::{Plane, Scan, Volume, upright_slice};
use lesio_io::dataset::Case;
use lesio_io::nifti::NiftiHeader;
use lesio_io::{ReadOptions, WriteOptions, write_tiff};
use lesio_quality::{Assessment, Grade, InputError, QualityModel, SliceAssessment, SliceVerdict};
use lesio_report::{Existing, HeatMap, Montage, Picture, Scale};
use ndarray::{Array2, ArrayView1, ArrayView3, Axis};

use crate::display::{left_to_right, magnification, pixel_of, window};
use crate::folder::{REPORT, remove_earlier};
use crate::overlay::drawn_image;
use crate::presentation::PresentationError;
use crate::quality::error::QualityStudyError;
use crate::quality::given::image_path;
use crate::quality::page::TESTED;

/// Slices shown, at most.
const SHOWN: usize = 12;
/// Pixels of the picture per pixel of a slice.
const ENLARGED: usize = 2;

/// An image and its segmentation, read from files, with what a model says of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradedFile {
    /// The image.
    pub image: Scan,
    /// The segmentation, on the grid of the image.
    pub segmentation: Volume<u8>,
    /// What the model says.
    pub assessment: Assessment,
    /// That of the image, where it has one: what it says of its place, maps say too.
    header: Option<NiftiHeader>,
    labels: Vec<u8>,
    /// The part of the names of files that stands for a channel; of an only channel it is empty.
    channels: Vec<String>,
}

impl GradedFile {
    /// Reads an image and its segmentation, the mask of the case, lays the segmentation on the image, and grades it.
    ///
    /// # Errors
    /// Files that cannot be read, a segmentation of another place, [`QualityStudyError::Data`] for a case without a mask,
    /// [`QualityStudyError::Memory`] for an image that is too large, and as [`QualityModel::assess`].
    pub fn read(model: &QualityModel, case: &Case, options: &ReadOptions) -> Result<Self, QualityStudyError> {
        let (image, segmentation) = case.read_labeled(options)?;
        let (need, limit) = (QualityModel::working_bytes(image.channels(), image.grid()), options.limit());
        if need > limit {
            return Err(QualityStudyError::Memory { path: image_path(case).to_owned(), need, limit });
        }
        let what = || QualityStudyError::Data { what: format!("case {} has no segmentation", case.id()) };
        let segmentation = segmentation.ok_or_else(what)?;
        // In the model's order, as what it says; the name of an only channel says nothing.
        let names = model.channel_names();
        let image = match names.len() {
            0 | 1 => image,
            _ => image.with_channels(names).map_err(|error| {
                QualityStudyError::from(InputError::from(error)).of_file(image_path(case))
            })?,
        };
        let assessment = model
            .assess(&image, &segmentation)
            .map_err(|error| QualityStudyError::from(error).of_file(image_path(case)))?;
        let labels = model.config().framing.labels.clone();
        let (header, channels) = (case.header()?, channel_parts(model));
        Ok(Self { image, segmentation, assessment, header, labels, channels })
    }

    /// Names of the files that [`GradedFile::write`] may write of a volume or of a picture: `assessment.png`, and
    /// `reconstruction`, `difference` and `error` as `.nii.gz` or `.tiff`. Where a model reads several channels, there is a
    /// reconstruction and a difference for each, such as `reconstruction_flair.nii.gz`.
    #[must_use]
    pub fn file_names(model: &QualityModel, is_volume: bool) -> Vec<String> {
        names_of_files(&channel_parts(model), is_volume)
    }

    /// Writes maps on the image's grid and a picture into a folder, with the names of [`GradedFile::file_names`]; no error map
    /// for a method that has none, and no picture where nothing is segmented. Returns the names of the files. With
    /// [`Existing::Replace`], removes those that only an earlier segmentation or model had, and before all a `report.json`.
    ///
    /// # Errors
    /// A failure of the file system, and with [`Existing::Refuse`] a file that is there.
    pub fn write(&self, folder: &Path, existing: Existing) -> Result<Vec<String>, QualityStudyError> {
        if existing == Existing::Replace {
            // Beside the maps of a run that is killed, the report of an earlier one would be that of others.
            remove_earlier(folder, [REPORT])?;
        }
        let assessment = &self.assessment;
        let mut names = Vec::new();
        for (map, scan) in
            [("reconstruction", &assessment.reconstruction), ("difference", &assessment.difference)]
        {
            for (channel, part) in self.channels.iter().enumerate() {
                let Some(volume) = scan.volume(channel) else { continue };
                names.push(self.write_map(folder, &format!("{map}{part}"), &volume, existing)?);
            }
        }
        if let Some(error) = &assessment.error {
            names.push(self.write_map(folder, "error", error, existing)?);
        }
        if let Some(montage) = self.montage()? {
            montage.to_picture()?.write_png(folder.join("assessment.png"), existing)?;
            names.push("assessment.png".to_owned());
        }
        if existing == Existing::Replace {
            let all = names_of_files(&self.channels, !self.image.is_picture());
            remove_earlier(folder, all.iter().filter(|name| !names.contains(name)))?;
        }
        Ok(names)
    }

    /// Writes a map as a volume or as a picture, and returns the name of its file.
    fn write_map(
        &self,
        folder: &Path,
        stem: &str,
        map: &Volume<f32>,
        existing: Existing,
    ) -> Result<String, QualityStudyError> {
        if self.image.is_picture() {
            let name = format!("{stem}.tiff");
            // Rows run down.
            let plane = upright_slice(map.geometry(), map.data().view(), Plane::Axial, 0);
            let plane = plane.map(|plane| plane.as_standard_layout().into_owned()).unwrap_or_default();
            write_tiff(folder.join(&name), &plane, existing)?;
            return Ok(name);
        }
        let name = format!("{stem}.nii.gz");
        let options = WriteOptions::new().existing(existing);
        let options = self.header.iter().fold(options, |options, header| options.like(header));
        options.write(folder.join(&name), map)?;
        Ok(name)
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
                (None, None) if self.segmentation.data().iter().any(|own| own == label) => {
                    "no slice with a contour that could be judged".to_owned()
                }
                (None, None) => "segmented in no slice".to_owned(),
            };
            lines.push(format!("volume, label {label}: Dice {dice:.3} [{low:.2}, {high:.2}], {distance}"));
        }
        let missed = self.assessment.missed_slices();
        if missed > 0 {
            let slices = if missed == 1 { "slice" } else { "slices" };
            lines.push(format!(
                "  {missed} {slices} without a grade between graded ones: the estimate takes the structure for missed there, the \
                 upper end of the interval does not"
            ));
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

    /// Up to 12 of the slices with a segmentation, upright: the image with the outline of the graded labels, the
    /// reconstruction, the difference, and the error map if the model has one; of several channels the first, and of pictures
    /// all three colors.
    /// `None` where nothing is segmented.
    fn montage(&self) -> Result<Option<Montage>, PresentationError> {
        let assessment = &self.assessment;
        let graded: Vec<_> = self.graded().collect();
        // All colors of a picture, and the first channel of a volume.
        let shown = if self.image.is_picture() { self.image.channels() } else { 1 };
        let channels = |scan: &Scan| scan.data().slice_axis(Axis(0), (0..shown).into()).to_owned();
        let (image, difference) = (channels(&self.image), channels(&assessment.difference));
        if graded.is_empty() || image.is_empty() {
            return Ok(None);
        }
        let greatest =
            |own: ArrayView1<'_, f32>| own.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let difference = difference.map_axis(Axis(0), greatest);
        let window = window(image.iter().copied())?;
        let half = (window.high() - window.low()) / 2.0;
        let differences = HeatMap::new(Scale::new(0.0, half)?);
        let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
        let channel = match self.image.names().first() {
            Some(name) if self.channels.len() > 1 => format!(" ({name})"),
            _ => String::new(),
        };
        // Without an error map, nothing is shown in its place, which would say that nothing is wrong.
        let error_column = assessment.error.is_some().then(|| "probability that it is wrong".to_owned());
        let columns: Vec<String> = [
            format!("image{channel}, segmentation"),
            "if it were right".to_owned(),
            format!("difference, up to {half:.3}"),
        ]
        .into_iter()
        .chain(error_column)
        .collect();
        let has_sides = !self.image.is_picture() && left_to_right(self.plane().0, self.header.as_ref());
        let mut montage = Montage::new(columns.iter().map(String::as_str));
        if assessment.error.is_some() {
            montage = montage.color_bar(errors.clone());
        }
        let pixel = match self.image.is_picture() {
            true => [1.0; 2],
            false => pixel_of(self.image.geometry(), self.plane().0),
        };
        for slice in graded.iter().step_by(graded.len().div_ceil(SHOWN)) {
            let drawn = |scan: &Scan| -> Result<Picture, PresentationError> {
                match scan.channel(0) {
                    Some(values) if !scan.is_picture() => {
                        Ok(Picture::gray(self.upright(values, slice.index).view(), window)?)
                    }
                    _ => drawn_image(&scan.clone().into_image(), window),
                }
            };
            let own = drawn(&self.image)?;
            let sided = |picture: Picture| if has_sides { picture.with_sides("L", "R") } else { picture };
            let mask = self.upright(self.segmentation.data().view(), slice.index);
            let mask = mask.mapv(|label| self.labels.contains(&label));
            let name = match &slice.verdict {
                SliceVerdict::Graded { mean_dice, .. } if self.image.is_picture() => {
                    format!("{mean_dice:.2}")
                }
                SliceVerdict::Graded { mean_dice, .. } => format!("slice {}: {mean_dice:.2}", slice.index),
                _ => String::new(),
            };
            let factors = magnification(ENLARGED, [own.height(), own.width()], pixel);
            let off = self.upright(difference.view(), slice.index);
            let mut row = vec![
                sided(own.clone().stretched(factors)?.outlined(mask.view(), TESTED)?),
                drawn(&assessment.reconstruction)?.stretched(factors)?,
                own.clone().overlaid(off.view(), &differences)?.stretched(factors)?,
            ];
            if let Some(error) = &assessment.error {
                let error = self.upright(error.data().view(), slice.index);
                row.push(own.overlaid(error.view(), &errors)?.stretched(factors)?);
            }
            montage = montage.row(name, row)?;
        }
        Ok(Some(montage))
    }

    /// A slice of values on the image's grid as viewers show it: the front or the top is up, the subject's left is left.
    fn upright<T: Copy + Default>(&self, values: ArrayView3<'_, T>, slice: usize) -> Array2<T> {
        let (plane, rises) = self.plane();
        let index = if rises { slice } else { self.image.grid()[self.assessment.slice_axis] - 1 - slice };
        upright_slice(self.image.geometry(), values, plane, index)
            .map(|own| own.to_owned())
            .unwrap_or_default()
    }

    /// The plane of the slices, and whether they are numbered upward in RAS+.
    fn plane(&self) -> (Plane, bool) {
        let (world, rises) = self.image.geometry().axis_codes()[self.assessment.slice_axis].world();
        ([Plane::Sagittal, Plane::Coronal, Plane::Axial][world], rises)
    }
}

/// The names of all files that may be written.
fn names_of_files(channels: &[String], is_volume: bool) -> Vec<String> {
    let ending = if is_volume { "nii.gz" } else { "tiff" };
    let of =
        |map: &str| channels.iter().map(|channel| format!("{map}{channel}.{ending}")).collect::<Vec<_>>();
    let mut names = vec!["assessment.png".to_owned()];
    names.extend(of("reconstruction"));
    names.extend(of("difference"));
    names.push(format!("error.{ending}"));
    names
}

/// The parts of the names of files that stand for a model's channels; of an only channel it is empty.
fn channel_parts(model: &QualityModel) -> Vec<String> {
    let (count, names) = (model.config().channels, model.channel_names());
    let part = |channel: usize| {
        let name = names.get(channel).cloned().unwrap_or_else(|| channel.to_string());
        let name = name.replace(|own: char| !own.is_alphanumeric() && !"-_.".contains(own), "_");
        if count == 1 { String::new() } else { format!("_{name}") }
    };
    let mut parts: Vec<String> = (0..count).map(part).collect();
    // Names may differ in characters that a file name has not.
    for channel in 1..count {
        if parts[..channel].contains(&parts[channel]) {
            parts[channel] = format!("_{channel}{}", parts[channel]);
        }
    }
    parts
}
