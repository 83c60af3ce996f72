//! Slices of patients for training, for choice and calibration, and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lesio_image::ScanError;
use lesio_io::ReadOptions;
use lesio_io::dataset::{ALL, Case, Dataset, DatasetOptions, Layout, Mask, MissingMask};
use lesio_quality::{EstimatorConfig, Framing, InputError, Method, PatientGroups, TrueSlice};
use lesio_settings::setters;
use ndarray::Axis;

use crate::checksum::file_checksum;
use crate::quality::error::QualityStudyError;
use crate::quality::given::{Given, check_held_out, check_labels, image_path, read_case};
use crate::quality::networks::{NetworkFolder, check_file_names};
use crate::quality::progress::{QualityObserver, QualityProgress, report};

/// Share of the training patients that are held out to choose the epoch and to calibrate.
const HELD_OUT: f64 = 0.2;
/// Share of the patients that test where the data set has no test split.
const TEST: f64 = 0.25;
/// Most labels that are all graded where none is named: more are probably the gray values of a mask.
const MOST_LABELS: usize = 32;

/// Which data an estimator of quality is made of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QualityDataConfig {
    /// How the folder is arranged, with labels of several structures.
    pub layout: Layout,
    /// Seed of the split into groups of patients.
    pub seed: u64,
    /// Labels whose quality is predicted. Default empty: all that the training data hold, which must be at most 32.
    pub labels: Vec<u8>,
    /// Rows and columns of the networks' grid, as [`Framing::grid`]. Default 48.
    pub size: usize,
    /// Folders with segmentations by networks in use, as [`NetworkFolder::open_all`] takes them: candidates for training and
    /// held-out patients besides those that are made, and what intervals are calibrated on. The networks must not have
    /// learned from these patients. Default: none.
    pub predictions: Vec<PathBuf>,
    /// How images and labels are read. Default: [`ReadOptions::new`].
    pub reading: ReadOptions,
}

/// Slices of three groups of patients that do not mix, with how they are framed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QualityData {
    /// Configuration of the estimators; the method is [`Method::SecondOpinion`].
    pub estimators: EstimatorConfig,
    /// Slices for training.
    pub training: Vec<TrueSlice>,
    /// Slices for the choice of the epoch and for calibration.
    pub held_out: Vec<TrueSlice>,
    /// Slices for tests alone; none after [`QualityDataConfig::read_training`].
    pub test: Vec<TrueSlice>,
    /// Networks in use, whose segmentations are candidates; none without [`QualityDataConfig::predictions`].
    pub networks: Vec<NetworkFolder>,
    /// The cases of the held-out slices.
    pub held_out_cases: Vec<Case>,
    /// The names of the channels of all images; none where they are unknown.
    pub channels: Vec<String>,
    /// How their files are read.
    pub reading: ReadOptions,
}

impl QualityDataConfig {
    /// All labels of a data set, on a grid of 48 x 48.
    #[must_use]
    pub fn new(layout: Layout, seed: u64) -> Self {
        Self {
            layout,
            seed,
            labels: Vec::new(),
            size: 48,
            predictions: Vec::new(),
            reading: ReadOptions::new(),
        }
    }

    /// With the segmentations of these folders, see [`QualityDataConfig::predictions`].
    #[must_use]
    pub fn predictions(mut self, folders: impl Into<Vec<PathBuf>>) -> Self {
        self.predictions = folders.into();
        self
    }

    /// With these labels alone.
    #[must_use]
    pub fn labels(mut self, labels: impl Into<Vec<u8>>) -> Self {
        self.labels = labels.into();
        self
    }

    /// Reads a data set and splits its patients.
    ///
    /// Test patients are those with a case in the split `test` that has labels; their cases in no split are for
    /// tests, too. Where there are none, they are a quarter of all. With a folder of `test_data` they come from that
    /// instead; a warning tells if some of them are called like training or held-out patients. Cases without labels
    /// are left out.
    ///
    /// # Errors
    /// Folders that cannot be listed; a patient in the split `test` and in another; images of `test_data` that are
    /// those of training or held-out cases; labels that no training case holds; segmentations by networks that cannot
    /// be used ([`QualityDataConfig::predictions`]); and a stop by the observer. Cases that cannot be read, whose
    /// voxels are not finite or whose labels lie in a slice of constant intensity, as [`QualityStudyError::Case`].
    pub fn read(
        &self,
        folder: &Path,
        test_data: Option<&Path>,
        observer: &mut QualityObserver<'_>,
    ) -> Result<QualityData, QualityStudyError> {
        let Dealt { training, held_out, test } = self.deal(folder, test_data.is_some())?;
        let test = match test_data {
            Some(folder) => {
                let data = Dataset::open_with(folder, &self.layout, &labeled())?;
                let data = data.select("test").or_else(|_| data.select(ALL))?;
                let own: Vec<&Case> = training.iter().chain(&held_out).collect();
                check_test_cases(data.cases(), &own)?;
                data.cases().to_vec()
            }
            None => test,
        };
        let mut data = self.read_cases(&training, held_out, observer)?;
        let test = read("test", &test, &self.reading, &[], &mut Vec::new(), observer)?;
        check_channels(&[&data.channels[..], &test.channels])?;
        data.test = test.slices;
        Ok(data)
    }

    /// As [`QualityDataConfig::read`] without `test_data`, but leaves the files of the test patients unread: a
    /// training needs none of them. The same patients are for training and held out.
    ///
    /// # Errors
    /// As [`QualityDataConfig::read`].
    pub fn read_training(
        &self,
        folder: &Path,
        observer: &mut QualityObserver<'_>,
    ) -> Result<QualityData, QualityStudyError> {
        let Dealt { training, held_out, .. } = self.deal(folder, false)?;
        self.read_cases(&training, held_out, observer)
    }

    /// Reads cases for training and held-out cases.
    fn read_cases(
        &self,
        training: &[Case],
        held_out_cases: Vec<Case>,
        observer: &mut QualityObserver<'_>,
    ) -> Result<QualityData, QualityStudyError> {
        let networks = NetworkFolder::open_all(&self.predictions)?;
        check_file_names(&networks, training.iter().chain(&held_out_cases))?;
        for network in &networks {
            network.require(&held_out_cases)?;
        }
        let mut given = [Vec::new(), Vec::new()];
        let reading = &self.reading;
        let training = read("training", training, reading, &networks, &mut given[0], observer)?;
        let held_out = read("held-out", &held_out_cases, reading, &networks, &mut given[1], observer)?;
        check_channels(&[&training.channels[..], &held_out.channels])?;
        let (channels, training, held_out) = (training.channels, training.slices, held_out.slices);
        let estimators = self.estimators(&training)?;
        for given in &given {
            check_labels(given, &estimators)?;
        }
        check_held_out(&given[1], &networks, &estimators)?;
        let (test, reading) = (Vec::new(), self.reading.clone());
        Ok(QualityData { estimators, training, held_out, test, networks, held_out_cases, channels, reading })
    }

    /// The cases with labels, in three groups of patients that do not mix. Patients with a case in the split `test`
    /// are for tests alone. If there are none, a quarter of all is, unless the model is `tested_elsewhere`: then all
    /// are for training and held out.
    ///
    /// # Errors
    /// Folders that cannot be listed; unless `tested_elsewhere`, a patient in the split `test` and in another.
    pub(super) fn deal(&self, folder: &Path, tested_elsewhere: bool) -> Result<Dealt, QualityStudyError> {
        let data = Dataset::open_with(folder, &self.layout, &labeled())?;
        let labeled: Vec<&Case> =
            data.cases().iter().filter(|case| matches!(case.mask(), Mask::File(_))).collect();
        let own_test = |case: &&&Case| case.split() == Some("test");
        let mut tests: BTreeSet<&str> = labeled.iter().filter(own_test).map(|case| case.patient()).collect();
        let in_another = |case: &&&Case| !own_test(case) && case.split().is_some();
        let mixed = labeled.iter().filter(in_another).find(|case| tests.contains(case.patient()));
        if let Some(case) = mixed.filter(|_| !tested_elsewhere) {
            let what = format!("patient {} is in both training and test data", case.patient());
            return Err(QualityStudyError::Data { what });
        }
        // A patient is in one group, with all cases: nobody teaches or calibrates what the same patient tests.
        let mut patients: BTreeSet<&str> =
            labeled.iter().map(|case| case.patient()).filter(|patient| !tests.contains(patient)).collect();
        if tests.is_empty() && !tested_elsewhere {
            let groups = PatientGroups::deal(&patients, &[1.0 - TEST, TEST], self.seed);
            patients.retain(|patient| groups.group(patient) == Some(0));
            tests =
                labeled.iter().map(|case| case.patient()).filter(|p| groups.group(p) == Some(1)).collect();
        }
        let groups = PatientGroups::deal(&patients, &[1.0 - HELD_OUT, HELD_OUT], self.seed);
        let of = |group| {
            let own = labeled.iter().filter(|case| groups.group(case.patient()) == Some(group));
            own.map(|&case| case.clone()).collect()
        };
        let test = labeled.iter().filter(|case| tests.contains(case.patient()));
        Ok(Dealt { training: of(0), held_out: of(1), test: test.map(|&case| case.clone()).collect() })
    }

    fn estimators(&self, training: &[TrueSlice]) -> Result<EstimatorConfig, QualityStudyError> {
        let classes: BTreeSet<u8> =
            training.iter().flat_map(|slice| &slice.truth).copied().filter(|&label| label != 0).collect();
        let many = classes.len() > MOST_LABELS;
        let found = match many {
            false => format!("{classes:?}"),
            true => format!("{} labels", classes.len()),
        };
        if let Some(label) = self.labels.iter().find(|label| !classes.contains(label)) {
            let what = format!("no training case holds label {label}, they hold {found}");
            return Err(QualityStudyError::Data { what });
        }
        if self.labels.is_empty() && many {
            let what = format!(
                "the training cases hold {found}: if these are gray values of a mask, use a mask with one value for each \
                 structure; otherwise name the labels to grade (--label), of which all are taken by default up to \
                 {MOST_LABELS}"
            );
            return Err(QualityStudyError::Data { what });
        }
        let labels: Vec<u8> =
            if self.labels.is_empty() { classes.iter().copied().collect() } else { self.labels.clone() };
        let framing = Framing::new(labels)
            .grid([self.size, self.size])
            .fitted(training.iter().map(|slice| slice.truth.view()));
        let channels = training.first().map_or(1, |slice| slice.image.len_of(Axis(0)));
        Ok(EstimatorConfig::new(Method::SecondOpinion, framing).classes(classes).channels(channels))
    }
}

setters!(QualityDataConfig { size: usize, reading: ReadOptions });

/// Cases of three groups of patients that do not mix.
pub(super) struct Dealt {
    pub(super) training: Vec<Case>,
    pub(super) held_out: Vec<Case>,
    pub(super) test: Vec<Case>,
}

fn labeled() -> DatasetOptions {
    DatasetOptions::new().missing_mask(MissingMask::Skip)
}

/// Checks that test cases of another folder are none of the training and held-out cases, `own`: by the place of the image
/// and by its bytes (size and CRC-32). Names may coincide between hospitals, so that equal names are only warned of.
///
/// # Errors
/// Names the first image that is in both.
fn check_test_cases(test: &[Case], own: &[&Case]) -> Result<(), QualityStudyError> {
    // A file that cannot be read here is reported when its case is read.
    let place = |case: &Case| image_path(case).canonicalize().ok();
    let size = |case: &Case| image_path(case).metadata().ok().map(|found| found.len());
    let (mut places, mut sizes) = (BTreeMap::new(), BTreeMap::<u64, Vec<&Case>>::new());
    for &case in own {
        places.extend(place(case).map(|place| (place, case)));
        if let Some(size) = size(case) {
            sizes.entry(size).or_default().push(case);
        }
    }
    let mut checksums: BTreeMap<&Path, Option<(u64, u32)>> = BTreeMap::new();
    for case in test {
        let mut same = place(case).and_then(|place| places.get(&place).copied());
        let same_size = size(case).and_then(|size| sizes.get(&size)).map_or(&[][..], Vec::as_slice);
        for &other in same_size {
            let [one, two] = [image_path(case), image_path(other)]
                .map(|path| *checksums.entry(path).or_insert_with(|| file_checksum(path).ok()));
            same = same.or_else(|| Some(other).filter(|_| one.is_some() && one == two));
        }
        if let Some(other) = same {
            let (path, other_path) = (image_path(case).display(), image_path(other).display());
            let what = format!(
                "test case {} ({path}) has the same image as case {} ({other_path}), which the training uses",
                case.id(),
                other.id()
            );
            return Err(QualityStudyError::Data { what });
        }
    }
    let known: BTreeSet<&str> = own.iter().map(|case| case.patient()).collect();
    let shared: BTreeSet<&str> = test.iter().map(Case::patient).filter(|name| known.contains(name)).collect();
    if let Some(first) = shared.first() {
        let count = shared.len();
        tracing::warn!(
            "{count} patients of the test data have the names of training patients, such as {first}: make sure that they \
             are other patients"
        );
    }
    Ok(())
}

/// Number of patients among slices.
#[must_use]
pub fn patients(slices: &[TrueSlice]) -> usize {
    slices.iter().map(|slice| slice.patient.as_str()).collect::<BTreeSet<_>>().len()
}

/// The slices of a group of cases, with the names of their channels.
struct Group {
    slices: Vec<TrueSlice>,
    channels: Vec<String>,
}

fn read(
    what: &str,
    cases: &[Case],
    reading: &ReadOptions,
    networks: &[NetworkFolder],
    given: &mut Vec<Given>,
    observer: &mut QualityObserver<'_>,
) -> Result<Group, QualityStudyError> {
    let doing = format!("reading {what} cases");
    report(observer, &QualityProgress::Begin { what: &doing, total: cases.len() })?;
    let (mut slices, mut channels) = (Vec::new(), None::<Channels>);
    for case in cases {
        let (own, names) = read_case(case, reading, networks, given)?;
        if let Some(first) = own.first() {
            let found = Channels { case: case.id(), count: first.image.len_of(Axis(0)), names };
            match &mut channels {
                Some(channels) => channels.compare(found).map_err(|error| error.of_case(case.id()))?,
                None => channels = Some(found),
            }
        }
        slices.extend(own);
        report(observer, &QualityProgress::Advance { parts: 1 })?;
    }
    report(observer, &QualityProgress::End)?;
    if slices.is_empty() {
        return Err(QualityStudyError::Data { what: format!("there are no {what} cases with labels") });
    }
    Ok(Group { slices, channels: channels.map(|own| own.names).unwrap_or_default() })
}

/// The channels of the images of cases.
struct Channels<'a> {
    /// The first case.
    case: &'a str,
    count: usize,
    /// None where they are unknown, and of an only channel where two cases differ: it is named after its file.
    names: Vec<String>,
}

impl Channels<'_> {
    /// Compares the channels of a further case.
    ///
    /// # Errors
    /// Another number of channels than the first case has, and other names of several.
    fn compare(&mut self, other: Channels<'_>) -> Result<(), QualityStudyError> {
        if other.count != self.count {
            let (found, expected) = (other.count, self.count);
            let what = format!("it has {found} channels, case {} has {expected}", self.case);
            return Err(QualityStudyError::Data { what });
        }
        if self.count == 1 && other.names != self.names {
            self.names.clear();
        }
        check_channels(&[&self.names[..], &other.names])
    }
}

/// Returns an error for two lists of several channels with other names.
fn check_channels([own, other]: &[&[String]; 2]) -> Result<(), QualityStudyError> {
    if own.len() < 2 || other.is_empty() || own == other {
        return Ok(());
    }
    let (found, expected) = (other.to_vec(), own.to_vec());
    Err(InputError::from(ScanError::Channels { found, expected }).into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::ControlFlow;

    use lesio_image::Volume;
    use lesio_io::{ReadOptions, read_volume, write_volume};
    use lesio_phantom::{CardiacPhase, HeartConfig, HeartPhantom};

    use super::*;
    use crate::observer::explain;

    /// Six patients with hearts of three slices, arranged as ACDC, and the segmentations of one network.
    struct Data {
        root: tempfile::TempDir,
        config: QualityDataConfig,
    }

    impl Data {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let (data, network) = (root.path().join("data"), root.path().join("networks/net"));
            fs::create_dir_all(&network).unwrap();
            let mut heart = HeartConfig::new([24, 24], 9);
            heart.slices = 3;
            let hearts = HeartPhantom::new(heart).unwrap();
            for patient in 1..=6 {
                let heart = hearts.volume(patient, CardiacPhase::EndDiastole).unwrap();
                let own = data.join(format!("patient{patient:03}"));
                fs::create_dir_all(&own).unwrap();
                let name = format!("patient{patient:03}_frame01");
                write_volume(own.join(format!("{name}.nii.gz")), &heart.image).unwrap();
                write_volume(own.join(format!("{name}_gt.nii.gz")), &heart.labels).unwrap();
                write_volume(network.join(format!("{name}.nii.gz")), &heart.labels).unwrap();
            }
            let config = QualityDataConfig::new(Layout::Acdc, 1).labels([2]).size(16);
            let config = config.predictions([root.path().join("networks")]);
            Self { root, config }
        }

        /// The first case for training, and the first that is held out.
        fn cases(&self) -> [Case; 2] {
            let Dealt { training, held_out, .. } = self.config.deal(&self.folder(), false).unwrap();
            [training[0].clone(), held_out[0].clone()]
        }

        fn folder(&self) -> PathBuf {
            self.root.path().join("data")
        }

        fn given(&self, network: &str, case: &Case) -> PathBuf {
            self.root.path().join("networks").join(network).join(format!("{}.nii.gz", case.id()))
        }

        fn read(&self) -> Result<QualityData, QualityStudyError> {
            self.read_with(None)
        }

        fn read_with(&self, test_data: Option<&Path>) -> Result<QualityData, QualityStudyError> {
            self.config.read(&self.folder(), test_data, &mut |_| ControlFlow::Continue(()))
        }

        /// The error of reading with one file changed, which names the case and the file.
        fn refused(&self, case: &Case, path: &Path, why: &str) {
            let error = explain(&self.read().unwrap_err());
            for said in [case.id(), path.to_str().unwrap(), why] {
                assert!(error.contains(said), "expected {said:?} in: {error}");
            }
            assert!(error.starts_with(&format!("case {} cannot be used", case.id())), "{error}");
        }
    }

    /// Writes a volume in place of another.
    fn replace<T: lesio_io::nifti::Voxel>(path: &Path, volume: &Volume<T>) {
        fs::remove_file(path).unwrap();
        write_volume(path, volume).unwrap();
    }

    /// Rewrites a file of labels.
    fn relabel(path: &Path, of: impl Fn(u8) -> u8) {
        let labels = ReadOptions::new().read_as::<u8>(path).unwrap();
        replace(path, &labels.map(|&label| of(label)));
    }

    /// Changes the voxels of an image.
    fn change(path: &Path, of: impl Fn(&mut Volume<f32>)) {
        let mut image = read_volume(path).unwrap();
        of(&mut image);
        replace(path, &image);
    }

    #[test]
    fn segmentations_by_networks_are_checked_with_the_data() {
        let data = Data::new();
        let read = data.read().unwrap();
        assert!(read.training.iter().chain(&read.held_out).all(|slice| slice.given.len() == 1));
        for case in data.cases() {
            let path = data.given("net", &case);
            let sound = fs::read(&path).unwrap();
            // A label that no case holds, also where it is not graded.
            relabel(&path, |label| if label == 1 { 9 } else { label });
            data.refused(&case, &path, "label 9");
            fs::write(&path, "x").unwrap();
            data.refused(&case, &path, "gzip");
            fs::write(&path, sound).unwrap();
        }
        data.read().unwrap();
    }

    #[test]
    fn a_patient_who_tests_is_in_no_other_group() {
        let data = Data::new();
        let table = data.root.path().join("studies.csv");
        // Two cases of one patient, of which one is in no split.
        let row = |number: usize| {
            let file = format!("data/patient{number:03}/patient{number:03}_frame01");
            let patient = if number <= 2 { "both".to_owned() } else { number.to_string() };
            let split = if number == 1 { "test" } else { "" };
            format!("{file}.nii.gz,{file}_gt.nii.gz,{patient},{split}\n")
        };
        let rows: String = (1..=6).map(row).collect();
        fs::write(&table, format!("image,mask,patient,split\n{rows}")).unwrap();
        let config = QualityDataConfig::new(Layout::Manifest, 1);
        for tested_elsewhere in [false, true] {
            let Dealt { training, held_out, test } = config.deal(&table, tested_elsewhere).unwrap();
            assert!(test.len() == 2 && test.iter().all(|case| case.patient() == "both"));
            let all: BTreeSet<&str> =
                [&training, &held_out, &test].into_iter().flatten().map(Case::id).collect();
            assert_eq!((training.len() + held_out.len(), all.len()), (4, 6));
        }
        // In two splits, as `splits.csv` may put the frames of a patient.
        let own = data.folder().join("patient001");
        for end in ["", "_gt"] {
            let file = |frame: &str| own.join(format!("patient001_{frame}{end}.nii.gz"));
            fs::copy(file("frame01"), file("frame02")).unwrap();
        }
        let splits = "patient,frame,split\npatient001,frame01,train\npatient001,frame02,test\n";
        fs::write(data.folder().join("splits.csv"), splits).unwrap();
        let error = data.config.deal(&data.folder(), false).err().unwrap().to_string();
        assert!(error.contains("patient001 is in both training and test data"), "{error}");
        let Dealt { training, held_out, test } = data.config.deal(&data.folder(), true).unwrap();
        assert!(training.iter().chain(&held_out).all(|case| case.patient() != "patient001"));
        assert_eq!((training.len() + held_out.len(), test.len()), (5, 2));
    }

    #[test]
    fn a_training_reads_no_test_patient() {
        let data = Data::new();
        let whole = data.read().unwrap();
        let Dealt { test, .. } = data.config.deal(&data.folder(), false).unwrap();
        fs::write(image_path(&test[0]), "x").unwrap();
        assert!(data.read().is_err());
        let read = data.config.read_training(&data.folder(), &mut |_| ControlFlow::Continue(())).unwrap();
        let names = |slices: &[TrueSlice]| -> Vec<String> {
            slices.iter().map(|slice| slice.patient.clone()).collect()
        };
        assert_eq!(names(&read.training), names(&whole.training));
        assert_eq!(names(&read.held_out), names(&whole.held_out));
        assert_eq!((read.held_out_cases, read.test.len()), (whole.held_out_cases, 0));
    }

    #[test]
    fn a_network_must_have_segmented_something_that_is_held_out() {
        let data = Data::new();
        let [_, held_out] = data.cases();
        let path = data.given("net", &held_out);
        relabel(&path, |label| if label == 2 { 0 } else { label });
        let error = data.read().unwrap_err().to_string();
        assert!(error.contains("net") && error.contains("labels [2]"), "{error}");
        // Another network suffices.
        let other = data.given("other", &held_out);
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::copy(held_out.mask().path().unwrap(), &other).unwrap();
        data.read().unwrap();
    }

    #[test]
    fn gray_values_are_not_taken_for_labels() {
        let data = Data::new();
        let [training, _] = data.cases();
        let path = training.mask().path().unwrap();
        let mut gray = ReadOptions::new().read_as::<u8>(path).unwrap();
        for (value, place) in gray.data_mut().iter_mut().filter(|value| **value == 2).zip(0..) {
            *value = 2 + (place % 40) as u8;
        }
        replace(path, &gray);
        let read = |labels: &[u8]| {
            let config = data.config.clone().predictions(Vec::<PathBuf>::new()).labels(labels);
            config.read(&data.folder(), None, &mut |_| ControlFlow::Continue(()))
        };
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.contains("41 labels") && error.contains("--label"), "{error}");
        read(&[2]).unwrap();
    }

    #[test]
    fn images_that_cannot_be_used_are_named() {
        let data = Data::new();
        for case in data.cases() {
            let path = image_path(&case).to_owned();
            let sound = fs::read(&path).unwrap();
            change(&path, |image| image.data_mut()[[3, 4, 1]] = f32::NAN);
            data.refused(&case, &path, "NaN");
            // A slice of constant intensity is padding, unless it has labels, be they of a network.
            fs::write(&path, &sound).unwrap();
            change(&path, |image| image.data_mut().slice_mut(ndarray::s![.., .., 1]).fill(7.0));
            data.refused(&case, &path, "slice 1");
            let (truth, given) = (case.mask().path().unwrap().to_owned(), data.given("net", &case));
            let labels = fs::read(&truth).unwrap();
            let mut padded = ReadOptions::new().read_as::<u8>(&truth).unwrap();
            padded.data_mut().slice_mut(ndarray::s![.., .., 1]).fill(0);
            replace(&truth, &padded);
            data.refused(&case, &given, "slice 1");
            relabel(&given, |label| if label == 2 { 0 } else { label });
            fs::copy(&truth, &given).unwrap();
            data.read().unwrap();
            fs::write(&path, sound).unwrap();
            fs::write(&truth, &labels).unwrap();
            fs::write(&given, labels).unwrap();
        }
    }

    #[test]
    fn images_of_the_training_cannot_test() {
        let data = Data::new();
        let [training, held_out] = data.cases();
        let refused = |folder: &Path, case: &Case| {
            let error = data.read_with(Some(folder)).unwrap_err().to_string();
            assert!(error.contains("the same image as case") && error.contains(case.id()), "{error}");
        };
        let error = data.read_with(Some(&data.folder())).unwrap_err().to_string();
        assert!(error.contains("the same image as case"), "{error}");
        // Copies under the name of another patient.
        for (number, case) in [training, held_out].iter().enumerate() {
            let folder = data.root.path().join(format!("copy{number}"));
            let own = folder.join("patient077");
            fs::create_dir_all(&own).unwrap();
            fs::copy(image_path(case), own.join("patient077_frame01.nii.gz")).unwrap();
            fs::copy(case.mask().path().unwrap(), own.join("patient077_frame01_gt.nii.gz")).unwrap();
            refused(&folder, case);
            // Another image under the name of a training patient is one of another hospital.
            let named = folder.join(case.patient());
            fs::rename(&own, &named).unwrap();
            for end in ["", "_gt"] {
                let from = named.join(format!("patient077_frame01{end}.nii.gz"));
                fs::rename(from, named.join(format!("{}_frame01{end}.nii.gz", case.patient()))).unwrap();
            }
            let image = named.join(format!("{}_frame01.nii.gz", case.patient()));
            change(&image, |image| image.data_mut()[[3, 4, 1]] += 1.0);
            let read = data.read_with(Some(&folder)).unwrap();
            assert!(read.test.iter().all(|slice| slice.patient == case.patient()));
        }
    }
}
