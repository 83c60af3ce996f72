//! Cases and what networks in use gave for them, checked before anything is trained.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lesio_image::{ImageError, Scan, Volume};
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;
use lesio_quality::{EstimateError, EstimatorConfig, InputError, SLICE_AXIS, Standardization, TrueSlice};
use ndarray::{ArrayView3, Axis};

use crate::quality::error::QualityStudyError;
use crate::quality::networks::NetworkFolder;

/// What one network gave for one case.
#[derive(Debug)]
pub(super) struct Given {
    /// The place of the network.
    network: usize,
    case: String,
    path: PathBuf,
    /// All labels of the segmentation.
    labels: BTreeSet<u8>,
    /// Slices that hold labels and whose image is constant: the slice, its labels, and what is wrong.
    constant: Vec<(usize, BTreeSet<u8>, ImageError)>,
}

/// The slices of a case, with what networks gave for it, and the names of its channels; what networks gave is added to
/// `given`, too.
///
/// # Errors
/// Files that cannot be read or are of another place than the image, a case without labels, voxels that are not finite, and labels
/// in a slice whose image is constant. The errors name the file; [`QualityStudyError::Case`] around them names the case.
pub(super) fn read_case(
    case: &Case,
    options: &ReadOptions,
    networks: &[NetworkFolder],
    given: &mut Vec<Given>,
) -> Result<(Vec<TrueSlice>, Vec<String>), QualityStudyError> {
    read_files(case, options, networks, given).map_err(|error| error.of_case(case.id()))
}

fn read_files(
    case: &Case,
    options: &ReadOptions,
    networks: &[NetworkFolder],
    given: &mut Vec<Given>,
) -> Result<(Vec<TrueSlice>, Vec<String>), QualityStudyError> {
    let (image, labels) = case.read_labeled(options)?;
    let without = || QualityStudyError::Data { what: "it has no labels".to_owned() };
    let labels = labels.ok_or_else(without)?;
    let path = image_path(case);
    let mut slices = TrueSlice::of_scan(case.patient(), case.id(), &image, &labels)
        .map_err(|error| QualityStudyError::from(error).of_file(path))?;
    let faults = constant_slices(&image).map_err(|error| error.of_file(path))?;
    if let Some((index, _, fault)) = labels_in(&labels, &faults).into_iter().next() {
        return Err(of_slice(index, fault).of_file(path));
    }
    for (network, folder) in networks.iter().enumerate() {
        let Some((path, segmentation)) = folder.segmentation(case, &image, options)? else { continue };
        TrueSlice::segmented(&mut slices, &image, &segmentation)
            .map_err(|error| QualityStudyError::from(error).of_file(path))?;
        let labels = held(segmentation.data().iter());
        let constant = labels_in(&segmentation, &faults);
        given.push(Given { network, case: case.id().to_owned(), path: path.to_owned(), labels, constant });
    }
    Ok((slices, image.names().to_vec()))
}

/// Checks what networks gave, as far as the labels decide that are only known when all cases are read.
///
/// # Errors
/// Labels that no training case holds, and graded labels in a slice whose image is constant.
pub(super) fn check_labels(given: &[Given], estimators: &EstimatorConfig) -> Result<(), QualityStudyError> {
    let (classes, graded) = (&estimators.classes, &estimators.framing.labels);
    for own in given {
        let failed = |error: QualityStudyError| Err(error.of_file(&own.path).of_case(&own.case));
        if let Some(&label) = own.labels.iter().find(|label| !classes.contains(label)) {
            return failed(InputError::UnknownLabel { label, expected: classes.clone() }.into());
        }
        let is_graded = |labels: &BTreeSet<u8>| labels.iter().any(|label| graded.contains(label));
        if let Some((index, _, fault)) = own.constant.iter().find(|(_, labels, _)| is_graded(labels)) {
            return failed(of_slice(*index, fault.clone()));
        }
    }
    Ok(())
}

/// Checks that intervals can be calibrated on what networks gave for the held-out cases; warns of networks that say nothing.
///
/// # Errors
/// If no network segmented a graded label.
pub(super) fn check_held_out(
    given: &[Given],
    networks: &[NetworkFolder],
    estimators: &EstimatorConfig,
) -> Result<(), QualityStudyError> {
    let graded = &estimators.framing.labels;
    let is_empty = |network: usize| {
        let own = given.iter().filter(|own| own.network == network);
        !own.flat_map(|own| &own.labels).any(|label| graded.contains(label))
    };
    let empty: Vec<&NetworkFolder> =
        networks.iter().enumerate().filter(|(place, _)| is_empty(*place)).map(|(_, own)| own).collect();
    if !networks.is_empty() && empty.len() == networks.len() {
        let names: Vec<&str> = empty.iter().map(|network| network.name.as_str()).collect();
        let what = format!(
            "no segmentation of the held-out cases by {} holds one of the labels {graded:?}: nothing can be calibrated on them",
            names.join(", ")
        );
        return Err(QualityStudyError::Data { what });
    }
    for network in empty {
        tracing::warn!(
            "{}: no segmentation of the held-out cases holds one of the labels {graded:?}; the others calibrate",
            network.folder().display()
        );
    }
    Ok(())
}

/// The file of the image of a case.
pub(super) fn image_path(case: &Case) -> &Path {
    case.images().first().map_or(Path::new(""), PathBuf::as_path)
}

/// The fault of each slice whose image is constant, as padding is; `None` for all others.
///
/// # Errors
/// Values that are not finite.
fn constant_slices(image: &Scan) -> Result<Vec<Option<ImageError>>, QualityStudyError> {
    let slices = image.data().axis_iter(Axis(1 + SLICE_AXIS)).enumerate();
    let fault = |(index, slice): (usize, ArrayView3<'_, f32>)| match Standardization::of_channels(&slice) {
        Ok(_) => Ok(None),
        Err(fault @ ImageError::ConstantImage { .. }) => Ok(Some(fault)),
        Err(fault) => Err(of_slice(index, fault)),
    };
    slices.map(fault).collect()
}

/// The slices with such a fault that hold labels.
fn labels_in(labels: &Volume<u8>, faults: &[Option<ImageError>]) -> Vec<(usize, BTreeSet<u8>, ImageError)> {
    let slices = labels.data().axis_iter(Axis(SLICE_AXIS)).zip(faults).enumerate();
    let found = slices.filter_map(|(index, (slice, fault))| {
        let own = held(slice.iter());
        fault.clone().filter(|_| !own.is_empty()).map(|fault| (index, own, fault))
    });
    found.collect()
}

/// The labels among values.
fn held<'a>(values: impl Iterator<Item = &'a u8>) -> BTreeSet<u8> {
    values.copied().filter(|&label| label != 0).collect()
}

fn of_slice(slice: usize, fault: ImageError) -> QualityStudyError {
    EstimateError::Slice { slice, source: fault.into() }.into()
}
