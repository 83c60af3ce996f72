//! From a data set to maps of every image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lesio_anomaly::Localizer;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset};

use super::case::LocalizedCase;
use super::cases::LocalizedCases;
use super::config::{FinishedCases, LocalizeConfig, OutputLayout, ReportPages};
use super::derivative;
use super::files::CaseFiles;
use super::record::images;
use super::report::{FailedCase, LocalizationReport};
use super::work::{Work, channel_names};
use crate::case_record::{CaseResult, is_full, notice_kept, refuse_other_files};
use crate::channel_name::notice_other_channel;
use crate::folder::{PAGE, check_folder, remove_earlier};
use crate::observer::{Notice, Observer, Step};
use crate::shard::ShardRecord;
use crate::workers::in_parallel;
use crate::workflow_error::WorkflowError;

/// The table of subjects of a derivative of BIDS, which is always written anew.
const PARTICIPANTS: &str = "participants.tsv";

/// Maps every image of a data set, and writes for each image and predictor: the map on the image's own grid (NIfTI with
/// the affine, codes and units of its input; TIFF of 32-bit floats for pictures), raw and after post-processing, the
/// lesions by number (of volumes), and an overlay picture. The report itself is returned and not written.
///
/// An image that cannot be mapped is listed, and the others are mapped; the only image's error is the workflow's. Maps
/// need no truth: of a data set whose masks may be absent pass [`Dataset::without_masks`]. If existing files are to be
/// replaced, the report of an earlier run is removed before the first image, and so are its tables and its page, unless
/// this is a shard: a run that is killed leaves no report that contradicts its maps.
///
/// # Errors
/// As [`LocalizeConfig::validate`]; a folder in the data set, or in which nothing can be written; a report that is
/// there and is not to be replaced, or cannot be removed; a full disk.
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
/// let case = report.cases.get(0)?.expect("the tile");
/// assert_eq!(case.predictors[0].map, Some(out.join("tile/pixel-l1.tiff")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn localize_folder(
    localizer: &Localizer,
    data: &Dataset,
    config: &LocalizeConfig,
    observer: &mut dyn Observer,
) -> Result<LocalizationReport, WorkflowError> {
    config.validate(localizer)?;
    let in_derivatives = || data.holds("derivatives", &config.folder);
    if data.contains(&config.folder) && !(config.layout == OutputLayout::Bids && in_derivatives()) {
        let (folder, data) = (config.folder.clone(), data.root().to_owned());
        return Err(WorkflowError::ResultsInData { folder, data });
    }
    let (predictors, predictor_choice) = config.chosen(localizer);
    if let Some(choice) = &predictor_choice {
        observer.notice(&Notice::PredictorChosen { choice });
    }
    check_folder(&config.folder)?;
    let fingerprint = localizer.fingerprint()?;
    let memory = config.reading.limit() / config.workers as u64;
    let reading = config.reading.clone().max_bytes(memory);
    let work = Work { localizer, config, predictors: &predictors, root: data.root(), reading, fingerprint };
    // They are written last: hours of work are not to end with them. A shard writes its report alone.
    let mut last = vec![PathBuf::from(LocalizationReport::file_name(config.shard))];
    if config.shard.is_none() {
        last.extend(LocalizationReport::table_files(Path::new("")));
        let (replace, bids) = (config.existing == Existing::Replace, config.layout == OutputLayout::Bids);
        // A page is only in the way of a run that writes one; that of an earlier run is removed by any.
        last.extend((replace || config.pages != ReportPages::None).then(|| PathBuf::from(PAGE)));
        last.extend((replace && bids).then(|| PathBuf::from(PARTICIPANTS)));
    }
    last.iter().try_for_each(|name| work.refuse_existing(&config.folder.join(name)))?;

    let all = data.cases();
    notice_other_channel(localizer.channel_names(), all, &config.reading, observer);
    let files = CaseFiles::of(config, all)?;
    let places = config.shard.map_or_else(|| (0..all.len()).collect(), |shard| shard.places(all));
    let cases: Vec<(&Case, &CaseFiles)> = places.iter().map(|&place| (&all[place], &files[place])).collect();
    if config.finished == FinishedCases::Keep {
        cases.iter().try_for_each(|(case, files)| refuse_other_images(case, files))?;
    }
    if config.layout == OutputLayout::Bids {
        let descriptions = files.iter().filter_map(CaseFiles::description).collect();
        derivative::describe(&config.folder, data.root(), &predictors, &descriptions)?;
    }
    if config.existing == Existing::Replace {
        remove_earlier(&config.folder, last)?;
        observer.notice(&Notice::ReplacingResults { folder: &config.folder });
    }
    let (done, failed) = work.localize_all(&cases, all.len() == 1, observer)?;
    Ok(LocalizationReport {
        rule: config.rule,
        predictor_choice,
        postprocessing: localizer.postprocessing().clone(),
        model: localizer.provenance().clone(),
        model_file: None,
        layout: config.layout,
        shard: config.shard.map(|shard| ShardRecord::new(shard, all, &places, work.options())),
        fingerprint: work.fingerprint,
        pages: config.pages,
        cases: done,
        failed,
    })
}

/// Returns an error if the finished results of a case are those of images of other names, such as another contrast of the
/// same subject: continuing that run would replace them.
fn refuse_other_images(case: &Case, files: &CaseFiles) -> Result<(), WorkflowError> {
    refuse_other_files(&files.record(), images, &case.inputs(), case.images().iter().map(PathBuf::as_path))
}

impl Work<'_> {
    /// Maps cases, as many at once as there are workers, and gives the results in the order of the cases.
    ///
    /// # Errors
    /// That of the only case, and a full disk.
    fn localize_all(
        &self,
        cases: &[(&Case, &CaseFiles)],
        is_only: bool,
        observer: &mut dyn Observer,
    ) -> Result<(LocalizedCases, Vec<FailedCase>), WorkflowError> {
        observer.begin(&Step::Localizing, cases.len());
        let (mut done, mut places) = (LocalizedCases::within(&self.config.folder), Vec::new());
        let (mut failed, mut kept) = (BTreeMap::new(), 0);
        in_parallel(
            self.config.workers,
            cases,
            |(case, files)| self.localize_once(case, files),
            |place, result| {
                let (case, files) = cases[place];
                match result {
                    Ok(result) => {
                        if result.is_kept() {
                            kept += 1;
                        } else {
                            observer.notice(&Notice::CaseDone { case: case.id(), folder: files.folder() });
                        }
                        done.push(&result.into_inner()).map_err(WorkflowError::Results)?;
                        places.push(place);
                    }
                    // On a full disk, the next cases would fail as well, after all the work on them.
                    Err(error) if is_only || is_full(&error) => return Err(error),
                    Err(error) => drop(failed.insert(place, FailedCase::new(case, &error, observer))),
                }
                observer.advance(done.len() + failed.len());
                Ok(())
            },
        )?;
        observer.end();
        notice_kept(kept, cases.len(), observer);
        Ok((done.in_order_of(places), failed.into_values().collect()))
    }

    /// Maps a case, unless an earlier run finished it and that is to be kept.
    fn localize_once(
        &self,
        case: &Case,
        files: &CaseFiles,
    ) -> Result<CaseResult<LocalizedCase>, WorkflowError> {
        // What cannot be read has no key; mapping it tells why.
        let Ok(key) = self.key(case, files) else { return self.localize(case, files).map(CaseResult::New) };
        if self.config.finished == FinishedCases::Keep
            && let Some(finished) = self.finished(files, &key)
        {
            // Where the images lie, and what is said of a case, may have changed since.
            let (input, patient) = (case.inputs(), case.patient().to_owned());
            let has_moved = input != finished.input;
            let mut kept = LocalizedCase { input, patient, further: case.further().to_vec(), ..finished };
            if has_moved {
                kept = self.record(files, key, kept)?;
            }
            // They state where the images lie, and the record does not list them.
            self.describe_in_bids(&kept)?;
            return Ok(CaseResult::Kept(kept));
        }
        let localized = self.localize(case, files)?;
        self.record(files, key, localized).map(CaseResult::New)
    }

    /// Returns an error if an earlier run left results of a case that must not be replaced. It is checked before the
    /// record of the case is removed, which vouches for these results, and before any work.
    fn refuse_results(&self, files: &CaseFiles) -> Result<(), WorkflowError> {
        let overlays = self.predictors.iter().map(|&name| files.overlay(name));
        let page = (self.config.pages == ReportPages::Full).then(|| files.page());
        overlays.chain(page).chain([files.record()]).try_for_each(|file| self.refuse_existing(&file))
    }

    /// Writes the files that accompany the maps of a case in BIDS.
    fn describe_in_bids(&self, case: &LocalizedCase) -> Result<(), WorkflowError> {
        match self.config.layout {
            OutputLayout::Bids => derivative::describe_case(case, self.root),
            OutputLayout::Folders => Ok(()),
        }
    }

    fn localize(&self, case: &Case, files: &CaseFiles) -> Result<LocalizedCase, WorkflowError> {
        self.refuse_results(files)?;
        // Before the record is removed: an image that cannot be read, as on a share that is not mounted, costs no
        // result.
        let subject = self.read(case)?;
        self.remove_earlier(files, &channel_names(&subject.scan))?;
        let content = subject.describe();
        let (predictors, resolution, doubt, page) = match subject.scan.is_picture() {
            false => self.map_volume(case, subject.scan, files)?,
            true => self.map_picture(subject.scan, files)?,
        };
        let (id, patient) = (case.id().to_owned(), case.patient().to_owned());
        let (input, resolution_doubt) = (case.inputs(), doubt.map(|doubt| doubt.to_string()));
        let further = case.further().to_vec();
        let mut localized = LocalizedCase {
            id,
            patient,
            further,
            input,
            folder: self.within(files).to_owned(),
            page: None,
            content,
            resolution,
            resolution_doubt,
            predictors,
        };
        if let Some(page) = page {
            self.write_page(page, &mut localized, files)?;
        }
        self.describe_in_bids(&localized)?;
        Ok(localized)
    }
}
