//! From a data set to maps of every image.

use std::path::{Path, PathBuf};

use lesio_anomaly::Localizer;
use lesio_io::dataset::{Case, Dataset};
use lesio_io::nifti::read_header;

use super::config::{CaseFolders, FinishedCases, LocalizeConfig};
use super::report::{FailedCase, LocalizationReport, LocalizedCase};
use super::shard::ShardRecord;
use super::work::{Work, overlay_file};
use crate::folder::{case_folders, check_folder};
use crate::observer::{Notice, Observer, Step};
use crate::workflow_error::WorkflowError;

/// Maps every image of a data set, and writes for each image and predictor: the map on the image's own grid (NIfTI with
/// the affine, codes and units of its input; TIFF of 32-bit floats for pictures), raw and after post-processing, the
/// lesions by number (of volumes), and an overlay picture. The report itself is returned and not written.
///
/// An image that cannot be mapped is listed, and the others are mapped; the only image's error is the workflow's. Maps need
/// no truth: of a data set whose masks may be absent pass [`Dataset::without_masks`].
///
/// # Errors
/// As [`LocalizeConfig::validate`]; a folder in the data set, or in which nothing can be written; a report that is there
/// and is not to be replaced.
///
/// ```
/// use lesio_anomaly::{Localizer, Model, Provenance};
/// use lesio_image::{Image, Preprocessing, Scan};
/// use lesio_io::dataset::{Dataset, Layout};
/// use lesio_io::{atomic::Existing, write_png};
/// use lesio_study::{LocalizeConfig, localize_folder};
/// use lesio_vae::{Vae, VaeConfig};
/// use ndarray::Array3;
///
/// let folder = tempfile::tempdir()?;
/// let (data, out) = (folder.path().join("data"), folder.path().join("maps"));
/// std::fs::create_dir(&data)?;
/// let tile = Image::new(Array3::from_shape_fn((1, 24, 24), |(_, y, x)| ((y * x) % 7) as u8));
/// write_png(data.join("tile.png"), &tile, Existing::Refuse)?;
///
/// // An untrained model maps too.
/// let vae = Vae::new(VaeConfig::new(1, 16, 16).widths([4]), 1.0, 7, &lesio_nn::Device::Cpu)?;
/// let preprocessing = Preprocessing::new([16, 16]).fit([] as [Scan; 0])?;
/// let localizer = Localizer::new(Model::Vae(vae.into()), preprocessing, Provenance::new(7, "none"))?;
///
/// let data = Dataset::open(&data, &Layout::Images)?;
/// let report = localize_folder(&localizer, &data, &LocalizeConfig::new(&out), &mut ())?;
/// assert_eq!(report.cases[0].predictors[0].map, Some(out.join("tile/pixel-l1.tiff")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn localize_folder(
    localizer: &Localizer,
    data: &Dataset,
    config: &LocalizeConfig,
    observer: &mut dyn Observer,
) -> Result<LocalizationReport, WorkflowError> {
    config.validate(localizer)?;
    if data.contains(&config.folder) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    let (predictors, predictor_choice) = config.chosen(localizer);
    if let Some(choice) = &predictor_choice {
        observer.notice(&Notice::PredictorChosen { choice });
    }
    check_folder(&config.folder)?;
    let fingerprint = localizer.fingerprint()?;
    let work = Work { localizer, config, predictors: &predictors, fingerprint };
    work.refuse_existing(&config.folder.join(LocalizationReport::file_name(config.shard)))?;
    if config.shard.is_none() {
        // They are written last: hours of work are not to end with them.
        LocalizationReport::table_files(&config.folder)
            .iter()
            .try_for_each(|file| work.refuse_existing(file))?;
    }

    let all = data.cases();
    let folders = folders(config, all);
    let places = config.shard.map_or_else(|| (0..all.len()).collect(), |shard| shard.places(all));
    let cases: Vec<(&Case, &PathBuf)> = places.iter().map(|&place| (&all[place], &folders[place])).collect();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    observer.begin(&Step::Localizing, cases.len());
    for (place, (case, folder)) in cases.iter().copied().enumerate() {
        match work.localize_once(case, folder) {
            Ok(result) => {
                observer.notice(&Notice::CaseDone { case: case.id(), folder });
                done.push(result);
            }
            Err(error) if all.len() == 1 => return Err(error),
            Err(error) => failed.push(FailedCase::new(case, &error, observer)),
        }
        observer.advance(place + 1);
    }
    observer.end();
    Ok(LocalizationReport {
        rule: config.rule,
        predictor_choice,
        postprocessing: localizer.map_filters().clone(),
        model: localizer.provenance().clone(),
        shard: config.shard.map(|shard| ShardRecord::new(shard, all, &places, work.options())),
        fingerprint: work.fingerprint,
        cases: done,
        failed,
    })
}

/// Where the results of each case go.
fn folders(config: &LocalizeConfig, cases: &[Case]) -> Vec<PathBuf> {
    if config.folders == CaseFolders::One {
        return cases.iter().map(|_| config.folder.clone()).collect();
    }
    case_folders(&config.folder, cases)
}

impl Work<'_> {
    /// Maps a case, unless an earlier run finished it and that is to be kept.
    fn localize_once(&self, case: &Case, folder: &Path) -> Result<LocalizedCase, WorkflowError> {
        // What cannot be read has no key; mapping it tells why.
        let Ok(key) = self.key(case) else { return self.localize(case, folder) };
        if self.config.finished == FinishedCases::Keep
            && let Some(finished) = self.finished(folder, &key)
        {
            return Ok(finished);
        }
        let localized = self.localize(case, folder)?;
        self.record(folder, key, &localized)?;
        Ok(localized)
    }

    fn localize(&self, case: &Case, folder: &Path) -> Result<LocalizedCase, WorkflowError> {
        let input = case.images().first();
        let input = input.ok_or_else(|| WorkflowError::Without { whole: "case", part: "an image" })?;
        for &name in self.predictors {
            self.refuse_existing(&overlay_file(name, folder))?;
        }
        self.forget(folder)?;
        let subject = self.read(case)?;
        let content = subject.describe();
        let (predictors, resolution, doubt) = match subject.scan.is_picture() {
            false => self.map_volume(case, subject.scan, &read_header(input)?, folder)?,
            true => self.map_picture(subject.scan, folder)?,
        };
        let (id, patient) = (case.id().to_owned(), case.patient().to_owned());
        let (input, resolution_doubt) = (case.images().to_vec(), doubt.map(|doubt| doubt.to_string()));
        Ok(LocalizedCase { id, patient, input, content, resolution, resolution_doubt, predictors })
    }
}
