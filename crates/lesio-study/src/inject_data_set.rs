//! Makes a data set with lesions of known position and kind from a data set of normal volumes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lesio_image::Volume;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset};
use lesio_io::spreadsheet::CommaTable;
use lesio_io::{ReadOptions, WriteOptions};
use lesio_phantom::Site;
use lesio_settings::setters;

use crate::error::StudyError;
use crate::folder::{check_folder, prepare_folder, remove_earlier};
use crate::injection::{InjectedSubject, Injection, InjectionConfig, Split, SubjectRole};
use crate::localize::FailedCase;
use crate::observer::{Notice, Observer, Step};
use crate::reading::BadCases;
use crate::workflow_error::WorkflowError;

/// Name of the masks.
const MASK: &str = "mask.nii.gz";

/// The tables beside the cases: their splits, which are written last, and their lesions.
const SPLITS: &str = "splits.csv";
const LESIONS: &str = "lesions.csv";

/// What stands for the name of a case's folder in the name of its image.
const CASE: &str = "{case}";

/// Configuration: the output folder, the injection, and how the normal volumes are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InjectDataSetConfig {
    /// The folder for the new data set.
    pub folder: PathBuf,
    /// Name of the image in each case's folder; `{case}` stands for the name of the folder. Default `image.nii.gz`.
    pub image: String,
    /// The subjects that get lesions, and the kinds of lesions. A subject is a patient with all of its cases. The site
    /// is replaced by [`InjectDataSetConfig::within`].
    pub injection: InjectionConfig,
    /// Labels in which lesions lie. Default: 2, 3 and 4 (gray, white and deep gray matter) of a tissue map, and all of a
    /// mask, which has no label above 1.
    pub within: Option<Vec<u8>>,
    /// How to treat files of earlier runs. Default: they are an error.
    pub existing: Existing,
    /// How volumes are read.
    pub reading: ReadOptions,
    /// How to treat subjects that cannot be read or have no room for their lesions. Default: they are left out and listed.
    pub bad_cases: BadCases,
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
            bad_cases: BadCases::LeaveOut,
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
    bad_cases: BadCases,
});

/// Summary of the written data set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InjectedDataSet {
    /// Cases that were left out: they cannot be read, or have no room for their lesions.
    pub failed: Vec<FailedCase>,
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
/// Writes a folder for each case with its image and `mask.nii.gz` (the number of the lesion, 0 elsewhere),
/// `splits.csv`, and `lesions.csv` with kind, contrast
/// ([`LesionConfig::contrast`](lesio_phantom::LesionConfig::contrast)), position and size of each lesion. Most
/// subjects with lesions form the test split, a few of them and as many normal subjects the validation split, and all
/// others the training split. All cases of a patient are in one split. `splits.csv` names cases, which are the patients
/// of the new data set.
///
/// # Errors
/// For an output folder inside the data set or without write access; for an image with the name of the masks, and a
/// case of several channels ([`WorkflowError::SeveralChannels`]); for invalid settings; if no case is left that gets
/// lesions, before anything is written; and for files of earlier runs. With [`BadCases::Stop`] for the first subject that
/// cannot be read or has no room for its lesions.
pub fn inject_data_set(
    data: &Dataset,
    config: &InjectDataSetConfig,
    observer: &mut dyn Observer,
) -> Result<InjectedDataSet, WorkflowError> {
    if data.contains(&config.folder) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    let cases = data.cases();
    if cases.iter().any(|case| image_name(config, case) == MASK) {
        return Err(WorkflowError::MaskName { name: MASK.to_owned() });
    }
    // The others would be neither changed nor written.
    let mut channels = cases.iter().map(|case| (case, case.channel_names(&config.reading).len()));
    if let Some((case, found)) = channels.find(|&(_, found)| found > 1) {
        return Err(WorkflowError::SeveralChannels { case: case.id().to_owned(), found });
    }
    check_folder(&config.folder)?;
    let refused = |case: &Case| {
        let case = case.id().to_owned();
        move |cause| WorkflowError::Injection { case, cause }
    };
    let injection = Injection::new(config.injection.clone()).map_err(WorkflowError::InjectionConfig)?;
    let (roles, patients) = roles_of(&injection, cases);
    if roles.iter().all(|role| role.injected.is_none()) {
        let (found, every) = (cases.len(), config.injection.every);
        let of = if patients < found { format!(" of {patients} patients") } else { String::new() };
        let what =
            format!("no case would get a lesion: there are {found}{of}, and one in {every} gets lesions");
        return Err(StudyError::Nothing { what }.into());
    }
    let inject = |case: &Case, nth: usize| {
        let (volume, tissue) = read(case, config)?;
        let injection = config.injection.clone().site(site(config, &tissue));
        let injection = Injection::new(injection).map_err(WorkflowError::InjectionConfig)?;
        injection.inject(nth, &volume, &tissue).map_err(refused(case))
    };
    // Subjects with lesions are checked first: if no lesions fit, nothing is written. Their images are made again when they
    // are written, so one at a time is in memory.
    let ill = roles.iter().filter(|role| role.injected.is_some()).count();
    observer.begin(&Step::InjectingLesions, cases.len() + ill);
    let (mut done, mut lesions, mut failed) = (0, 0, Vec::new());
    let mut leave_out =
        |case: &Case, error: WorkflowError, observer: &mut dyn Observer| match config.bad_cases {
            BadCases::Stop => Err(error),
            BadCases::LeaveOut => {
                failed.push(FailedCase::new(case, &error, observer));
                Ok(())
            }
        };
    let mut is_left_out = vec![false; cases.len()];
    for ((case, role), is_left_out) in cases.iter().zip(&roles).zip(&mut is_left_out) {
        let Some(nth) = role.injected else { continue };
        match inject(case, nth) {
            Ok(own) => lesions += own.lesions.len(),
            Err(error) => {
                leave_out(case, error, observer)?;
                *is_left_out = true;
            }
        }
        done += 1;
        observer.advance(done);
    }
    let with_lesions = ill - is_left_out.iter().filter(|&&own| own).count();
    if with_lesions == 0 {
        let what = format!("no case gets a lesion: none of {ill} can be read and has room for its lesions");
        return Err(StudyError::Nothing { what }.into());
    }

    prepare_folder(&config.folder)?;
    if config.existing == Existing::Replace {
        // A run that is killed leaves no tables that describe other lesions.
        remove_earlier(&config.folder, [SPLITS, LESIONS])?;
        observer.notice(&Notice::ReplacingResults { folder: &config.folder });
    }
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
    for ((case, role), is_left_out) in cases.iter().zip(&roles).zip(&mut is_left_out) {
        if *is_left_out {
            continue;
        }
        let (volume, mask) = match role.injected {
            Some(nth) => {
                let own = inject(case, nth)?;
                add_rows(&mut table, case.id(), &own);
                (own.image, own.mask)
            }
            None => match read(case, config) {
                Ok((volume, tissue)) => (volume, tissue.map(|_| 0)),
                Err(error) => {
                    leave_out(case, error, observer)?;
                    *is_left_out = true;
                    continue;
                }
            },
        };
        let folder = config.folder.join(case.id());
        // The name of the image may lead through folders.
        let image = folder.join(image_name(config, case));
        prepare_folder(image.parent().unwrap_or(&folder))?;
        let writing = WriteOptions::new().existing(config.existing);
        let writing = case.header()?.iter().fold(writing, |writing, header| writing.like(header));
        writing.write(image, &volume)?;
        writing.write(folder.join(MASK), &mask)?;
        // The readers of the new data set take the name of the case for that of its patient.
        splits.row([case.id().into(), role.split.name().into()]);
        done += 1;
        observer.advance(done);
    }
    observer.end();
    if config.existing == Existing::Replace {
        // What an earlier run wrote of them would belong to no split.
        for (case, _) in cases.iter().zip(&is_left_out).filter(|(_, is_left_out)| **is_left_out) {
            remove_earlier(&config.folder.join(case.id()), [image_name(config, case), MASK.to_owned()])?;
        }
    }
    table.write(config.folder.join(LESIONS), config.existing)?;
    // Last: a folder with splits.csv is complete.
    splits.write(config.folder.join(SPLITS), config.existing)?;
    let written: Vec<&SubjectRole> = roles
        .iter()
        .zip(&is_left_out)
        .filter(|(_, is_left_out)| !**is_left_out)
        .map(|(role, _)| role)
        .collect();
    let of_split = Split::ALL.map(|split| written.iter().filter(|role| role.split == split).count());
    Ok(InjectedDataSet { failed, cases: written.len(), with_lesions, lesions, of_split })
}

/// The role of each case, and the number of patients. All cases of a patient have the role of the patient; those with
/// lesions are numbered, so that each gets its own.
fn roles_of(injection: &Injection, cases: &[Case]) -> (Vec<SubjectRole>, usize) {
    let mut patients = BTreeMap::new();
    let places: Vec<usize> = cases
        .iter()
        .map(|case| {
            let next = patients.len();
            *patients.entry(case.patient()).or_insert(next)
        })
        .collect();
    let of_patients = injection.roles(patients.len());
    let mut numbers = 0..;
    let roles = places.into_iter().map(|patient| {
        let role = of_patients[patient];
        SubjectRole { injected: role.injected.and_then(|_| numbers.next()), ..role }
    });
    (roles.collect(), patients.len())
}

/// The name of the image in the folder of a case.
fn image_name(config: &InjectDataSetConfig, case: &Case) -> String {
    let folder = case.id().rsplit('/').next().unwrap_or_default();
    config.image.replace(CASE, folder)
}

/// The image of a case and its tissue.
fn read(case: &Case, config: &InjectDataSetConfig) -> Result<(Volume<f32>, Volume<u8>), WorkflowError> {
    let (volume, tissue) = case.read_volume(&config.reading)?;
    let tissue = tissue.ok_or_else(|| WorkflowError::Without { whole: "case", part: "tissue" })?;
    Ok((volume, tissue))
}

/// Adds a row for each lesion of a subject.
fn add_rows(table: &mut CommaTable<12>, id: &str, own: &InjectedSubject) {
    for (number, lesion) in own.lesions.iter().enumerate() {
        let [i, j, k] = lesion.center;
        let [x, y, z] = own.image.geometry().to_world(lesion.center);
        table.row([
            id.into(),
            (number + 1).into(),
            lesion.kind.name().into(),
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
}

/// The labels in which lesions of a subject lie.
fn site(config: &InjectDataSetConfig, tissue: &Volume<u8>) -> Site {
    match &config.within {
        Some(labels) => Site::Labels(labels.clone()),
        None if tissue.data().iter().any(|&label| label > 1) => Site::Labels(vec![2, 3, 4]),
        None => Site::Mask,
    }
}

#[cfg(test)]
mod tests {
    use lesio_io::dataset::Layout;
    use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};

    use super::*;

    fn injection() -> InjectionConfig {
        InjectionConfig::new(2).lesions(1).radius(12.0, 14.0)
    }

    #[test]
    fn a_patient_is_in_one_split() {
        let folder = tempfile::tempdir().unwrap();
        let patients = ["ann", "ann", "bob", "bob", "cid", "cid", "dan", "eve"];
        let roles = |patients: &[&str]| {
            let rows = patients
                .iter()
                .enumerate()
                .map(|(number, patient)| format!("{patient}.nii,{patient}-{number},{patient}\n"));
            let table = folder.path().join("roles.csv");
            std::fs::write(&table, format!("image,case,patient\n{}", rows.collect::<String>())).unwrap();
            let data = Dataset::open(&table, &Layout::Manifest).unwrap();
            roles_of(&Injection::new(injection()).unwrap(), data.cases())
        };
        let (found, count) = roles(&patients);
        assert_eq!(count, 5);
        let splits: Vec<Split> = found.iter().map(|role| role.split).collect();
        let [train, test] = [Split::Train, Split::Test];
        assert_eq!(splits, [train, train, test, test, train, train, test, train]);
        let injected: Vec<Option<usize>> = found.iter().map(|role| role.injected).collect();
        assert_eq!(injected, [None, None, Some(0), Some(1), None, None, Some(2), None]);
        // With one case of each patient, roles are those of the subjects.
        let (found, _) = roles(&["ann", "bob", "cid", "dan", "eve"]);
        assert_eq!(found, Injection::new(injection()).unwrap().roles(5));
    }

    #[test]
    fn the_new_data_set_is_read_as_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        std::fs::create_dir(&source).unwrap();
        let heads = BrainPhantom::new(BrainConfig::new([32, 32], Contrast::T1, 7).slices(6)).unwrap();
        let mut table = "image,mask,case,patient\n".to_owned();
        for (number, case) in ["a1", "a2", "b1", "b2"].into_iter().enumerate() {
            let head = heads.volume(number as u64).unwrap();
            lesio_io::write_volume(source.join(format!("{case}.nii")), &head.image).unwrap();
            lesio_io::write_volume(source.join(format!("{case}-tissue.nii")), &head.labels).unwrap();
            table += &format!("{case}.nii,{case}-tissue.nii,{case},{}\n", &case[..1]);
        }
        std::fs::write(source.join("cases.csv"), table).unwrap();
        let data = Dataset::open(source.join("cases.csv"), &Layout::Manifest).unwrap();
        let config = InjectDataSetConfig::new(&out, injection());
        let made = inject_data_set(&data, &config.clone().image("{case}_t1.nii.gz"), &mut ()).unwrap();
        assert_eq!((made.cases, made.with_lesions, made.of_split), (4, 2, [2, 0, 2]));
        assert!(made.failed.is_empty());
        // Both cases of a patient are in one split, and each has its own lesion.
        let layout = Layout::cases("{case}_t1.nii.gz", Some(MASK));
        let read = Dataset::open(&out, &layout).unwrap();
        let splits: Vec<_> = read.cases().iter().map(|case| (case.id(), case.split().unwrap())).collect();
        assert_eq!(splits, [("a1", "train"), ("a2", "train"), ("b1", "test"), ("b2", "test")]);
        let listed = std::fs::read_to_string(out.join("lesions.csv")).unwrap();
        let cases: Vec<&str> = listed.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(cases, ["b1", "b2"]);
        for case in ["a1", "a2", "b1", "b2"] {
            let file = |contrast: &str| out.join(case).join(format!("{case}_{contrast}.nii.gz"));
            std::fs::copy(file("t1"), file("t2")).unwrap();
        }
        let images = ["{case}_t1.nii.gz", "{case}_t2.nii.gz"].map(str::to_owned).to_vec();
        let two = Dataset::open(&out, &Layout::Cases { images, mask: Some(MASK.to_owned()) }).unwrap();
        let again = InjectDataSetConfig::new(folder.path().join("again"), injection());
        let refused = inject_data_set(&two, &again, &mut ()).unwrap_err();
        assert!(
            matches!(&refused, WorkflowError::SeveralChannels { case, found: 2 } if case == "a1"),
            "{refused}"
        );
        // An image would replace the mask of this case.
        std::fs::write(source.join("one.csv"), "image,mask,case\na1.nii,a1-tissue.nii,mask\n").unwrap();
        let data = Dataset::open(source.join("one.csv"), &Layout::Manifest).unwrap();
        let refused = inject_data_set(&data, &config.image("{case}.nii.gz"), &mut ());
        assert!(matches!(refused, Err(WorkflowError::MaskName { .. })));
    }

    #[test]
    fn bad_subjects_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        let heads = BrainPhantom::new(BrainConfig::new([32, 32], Contrast::T1, 7).slices(6)).unwrap();
        for (number, case) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let (head, own) = (heads.volume(number as u64).unwrap(), source.join(case));
            std::fs::create_dir_all(&own).unwrap();
            lesio_io::write_volume(own.join("image.nii.gz"), &head.image).unwrap();
            lesio_io::write_volume(own.join("tissue.nii.gz"), &head.labels).unwrap();
        }
        let data = Dataset::open(&source, &Layout::cases("image.nii.gz", Some("tissue.nii.gz"))).unwrap();
        let config = InjectDataSetConfig::new(&out, injection()).existing(Existing::Replace);
        let inject = |config: &InjectDataSetConfig| inject_data_set(&data, config, &mut ());
        let damage = |case: &str| std::fs::write(source.join(case).join("image.nii.gz"), "x").unwrap();
        let lesions = || std::fs::read_to_string(out.join("lesions.csv")).unwrap();
        let whole = inject(&config).unwrap();
        assert_eq!((whole.failed.len(), whole.cases, whole.with_lesions), (0, 4, 2));
        let of_others: Vec<String> =
            lesions().lines().filter(|row| !row.starts_with("d,")).map(str::to_owned).collect();
        // A normal one, and one with lesions.
        damage("a");
        let error = inject(&config.clone().bad_cases(BadCases::Stop)).unwrap_err().to_string();
        assert!(error.contains("image.nii.gz"), "{error}");
        // What is half replaced has no tables, which would describe other lesions.
        assert!(!out.join(SPLITS).exists() && !out.join(LESIONS).exists());
        damage("d");
        let made = inject(&config).unwrap();
        let left_out: Vec<&str> = made.failed.iter().map(|case| case.id.as_str()).collect();
        assert_eq!((left_out, made.cases, made.with_lesions), (vec!["d", "a"], 2, 1));
        assert_eq!(made.of_split.iter().sum::<usize>(), 2);
        let files = |case: &str| ["image.nii.gz", MASK].map(|name| out.join(case).join(name).exists());
        assert_eq!(["a", "b", "d"].map(files), [[false; 2], [true; 2], [false; 2]]);
        assert_eq!(
            lesions().lines().collect::<Vec<_>>(),
            of_others,
            "the lesions of others are as they were"
        );
        let splits = std::fs::read_to_string(out.join("splits.csv")).unwrap();
        assert_eq!(splits.lines().map(|row| &row[..2]).collect::<Vec<_>>(), ["pa", "b,", "c,"]);
        damage("b");
        let error = inject(&config).unwrap_err().to_string();
        assert!(error.contains("none of 2 can be read"), "{error}");
    }
}
