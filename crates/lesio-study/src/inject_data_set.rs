//! Makes a data set with lesions of known position and kind from a data set of normal volumes.

use std::path::PathBuf;

use lesio_image::Volume;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset};
use lesio_io::spreadsheet::CommaTable;
use lesio_io::{ReadOptions, WriteOptions};
use lesio_phantom::Site;
use lesio_settings::setters;

use crate::error::StudyError;
use crate::folder::{check_folder, prepare_folder};
use crate::injection::{InjectedSubject, Injection, InjectionConfig, Split};
use crate::observer::{Observer, Step};
use crate::workflow_error::WorkflowError;

/// Name of the masks.
const MASK: &str = "mask.nii.gz";

/// Configuration: the output folder, the injection, and how the normal volumes are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InjectDataSetConfig {
    /// The folder for the new data set.
    pub folder: PathBuf,
    /// Name of the image in each subject's folder. Default `image.nii.gz`.
    pub image: String,
    /// The subjects that get lesions, and the kinds of lesions. Its site is replaced by
    /// [`InjectDataSetConfig::within`].
    pub injection: InjectionConfig,
    /// Labels in which lesions lie. Default: 2, 3 and 4 (gray, white and deep gray matter) of a tissue map, and all of a
    /// mask, which has no label above 1.
    pub within: Option<Vec<u8>>,
    /// How to treat files of earlier runs. Default: they are an error.
    pub existing: Existing,
    /// How volumes are read.
    pub reading: ReadOptions,
}

impl InjectDataSetConfig {
    /// A configuration for this output folder, with defaults otherwise.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, injection: InjectionConfig) -> Self {
        Self {
            folder: folder.into(),
            image: "image.nii.gz".to_owned(),
            injection,
            within: None,
            existing: Existing::Refuse,
            reading: ReadOptions::new(),
        }
    }

    /// Sets [`InjectDataSetConfig::image`].
    #[must_use]
    pub fn image(mut self, name: impl Into<String>) -> Self {
        self.image = name.into();
        self
    }
}

setters!(InjectDataSetConfig {
    within: Option<Vec<u8>>,
    existing: Existing,
    reading: ReadOptions,
});

/// Summary of the written data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedDataSet {
    /// Cases.
    pub cases: usize,
    /// Cases with lesions.
    pub with_lesions: usize,
    /// Lesions of all cases.
    pub lesions: usize,
    /// Cases of the training split, the validation split and the test split. Few cases may leave the validation split
    /// empty ([`InjectionConfig::validation_every`]).
    pub of_split: [usize; 3],
}

/// Injects lesions into some subjects of a data set of normal volumes, whose masks are tissue maps or masks of the
/// object.
///
/// Writes a folder for each subject with its image and `mask.nii.gz` (the number of the lesion, 0 elsewhere),
/// `splits.csv`, and `lesions.csv` with kind, contrast
/// ([`LesionConfig::contrast`](lesio_phantom::LesionConfig::contrast)), position and size of each lesion. Most
/// subjects with lesions form the test split, a few of them and as many normal subjects the validation split, and all
/// others the training split.
///
/// # Errors
/// For an output folder inside the data set or without write access; for an image with the name of the masks; for
/// invalid settings; for a subject that cannot be read or has no room for its lesions, before anything is written; and
/// for files of earlier runs.
pub fn inject_data_set(
    data: &Dataset,
    config: &InjectDataSetConfig,
    observer: &mut dyn Observer,
) -> Result<InjectedDataSet, WorkflowError> {
    if data.contains(&config.folder) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    if config.image == MASK {
        return Err(WorkflowError::MaskName { name: MASK.to_owned() });
    }
    check_folder(&config.folder)?;
    let cases = data.cases();
    let refused = |case: &Case| {
        let case = case.id().to_owned();
        move |cause| WorkflowError::Injection { case, cause }
    };
    let roles =
        Injection::new(config.injection.clone()).map_err(WorkflowError::InjectionConfig)?.roles(cases.len());
    if roles.iter().all(|role| role.injected.is_none()) {
        let (found, every) = (cases.len(), config.injection.every);
        let what = format!("no case would get a lesion: there are {found}, and one in {every} gets lesions");
        return Err(StudyError::Nothing { what }.into());
    }
    let inject = |case: &Case, nth: usize| {
        let (volume, tissue) = read(case, config)?;
        let injection = config.injection.clone().site(site(config, &tissue));
        let injection = Injection::new(injection).map_err(WorkflowError::InjectionConfig)?;
        injection.inject(nth, &volume, &tissue).map_err(refused(case))
    };
    // Subjects with lesions are checked first: if lesions do not fit, nothing is written. Their images are made again
    // when they are written, so one at a time is in memory.
    let ill = roles.iter().filter(|role| role.injected.is_some()).count();
    observer.begin(&Step::InjectingLesions, cases.len() + ill);
    let (mut done, mut lesions) = (0, 0);
    for (case, role) in cases.iter().zip(&roles) {
        let Some(nth) = role.injected else { continue };
        lesions += inject(case, nth)?.lesions.len();
        done += 1;
        observer.advance(done);
    }

    prepare_folder(&config.folder)?;
    let mut splits = CommaTable::new(["patient", "split"]);
    let mut table = CommaTable::new([
        "case",
        "lesion",
        "kind",
        "contrast",
        "center_i",
        "center_j",
        "center_k",
        "center_x",
        "center_y",
        "center_z",
        "radius_mm",
        "voxels",
    ]);
    for (case, role) in cases.iter().zip(&roles) {
        let (volume, mask) = match role.injected {
            Some(nth) => {
                let own = inject(case, nth)?;
                add_rows(&mut table, case.id(), &own)?;
                (own.image, own.mask)
            }
            None => {
                let (volume, tissue) = read(case, config)?;
                (volume, tissue.map(|_| 0))
            }
        };
        let folder = config.folder.join(case.id());
        prepare_folder(&folder)?;
        let writing = WriteOptions::new().existing(config.existing);
        let writing = case.header()?.iter().fold(writing, |writing, header| writing.like(header));
        writing.write(folder.join(&config.image), &volume)?;
        writing.write(folder.join(MASK), &mask)?;
        splits.row([case.patient().into(), role.split.name().into()]);
        done += 1;
        observer.advance(done);
    }
    observer.end();
    table.write(config.folder.join("lesions.csv"), config.existing)?;
    // Last: a folder with splits.csv is complete.
    splits.write(config.folder.join("splits.csv"), config.existing)?;
    let of_split = [Split::Train, Split::Validation, Split::Test]
        .map(|split| roles.iter().filter(|role| role.split == split).count());
    Ok(InjectedDataSet { cases: cases.len(), with_lesions: ill, lesions, of_split })
}

/// The image of a case and its tissue.
fn read(case: &Case, config: &InjectDataSetConfig) -> Result<(Volume<f32>, Volume<u8>), WorkflowError> {
    let (volume, tissue) = case.read_volume_with(&config.reading)?;
    let tissue = tissue.ok_or_else(|| WorkflowError::Without { whole: "case", part: "tissue" })?;
    Ok((volume, tissue))
}

/// Adds a row for each lesion of a subject.
fn add_rows(table: &mut CommaTable<12>, id: &str, own: &InjectedSubject) -> Result<(), WorkflowError> {
    for (number, lesion) in own.lesions.iter().enumerate() {
        let [i, j, k] = lesion.center;
        let [x, y, z] = own.image.geometry().to_world(lesion.center);
        let kind = serde_json::to_value(lesion.kind)?;
        table.row([
            id.into(),
            (number + 1).into(),
            kind.as_str().unwrap_or_default().into(),
            lesion.contrast.into(),
            i.into(),
            j.into(),
            k.into(),
            x.into(),
            y.into(),
            z.into(),
            lesion.radius.into(),
            lesion.voxels.into(),
        ]);
    }
    Ok(())
}

/// The labels in which lesions of a subject lie.
fn site(config: &InjectDataSetConfig, tissue: &Volume<u8>) -> Site {
    match &config.within {
        Some(labels) => Site::Labels(labels.clone()),
        None if tissue.data().iter().any(|&label| label > 1) => Site::Labels(vec![2, 3, 4]),
        None => Site::Mask,
    }
}
