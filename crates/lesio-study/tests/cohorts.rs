//! Many cases: verdicts, tables, runs that go on, and shards of several machines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lesio_anomaly::{Localizer, Model, PredictorName, Provenance};
use lesio_image::{Geometry, Image, Preprocessing, Scan, Volume};
use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Dataset, Layout};
use lesio_io::{write_png, write_volume};
use lesio_study::{
    CaseFolders, FinishedCases, LocalizationReport, LocalizeConfig, LocalizedCase, Notice, Observer,
    OutputLayout, ReportPages, Shard, Subject, Verdict, WorkflowError, WrittenMaps, calibrate,
    localize_folder, merge_shards,
};
use lesio_vae::{Vae, VaeConfig};
use ndarray::Array3;

/// A tile of noise, perhaps with a bright square.
fn tile(seed: u32, square: bool) -> Image<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut pixels = Array3::from_shape_simple_fn((1, 24, 24), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        90 + (state >> 28) as u8
    });
    if square {
        pixels.slice_mut(ndarray::s![.., 8..14, 9..15]).fill(250);
    }
    Image::new(pixels)
}

/// The cases that a run finished, and how many of all it kept.
#[derive(Default)]
struct Heard {
    done: Vec<String>,
    kept: Option<[usize; 2]>,
}

impl Observer for Heard {
    fn notice(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::CaseDone { case, .. } => self.done.push((*case).to_owned()),
            Notice::CasesKept { kept, cases } => self.kept = Some([*kept, *cases]),
            _ => {}
        }
    }
}

/// A localizer that was calibrated on 19 tiles, of which one is a little brighter than all that are tested: no normal tile is a
/// false alarm at one in twenty.
fn localizer() -> Localizer {
    let vae = Vae::new(VaeConfig::new(1, 16, 16).widths([4]), 1.0, 7, &lesio_nn::Device::Cpu).unwrap();
    let preprocessing = Preprocessing::new([16, 16]).fit([] as [Scan; 0]).unwrap();
    let localizer =
        Localizer::new(Model::Vae(vae.into()), preprocessing, Provenance::new(7, "none")).unwrap();
    let normal: Vec<Subject> = (0..19)
        .map(|seed| {
            let brighter = if seed == 0 { 5.0 } else { 0.0 };
            let image = tile(seed, false).map(|&value| f32::from(value) + brighter);
            Subject::new(format!("n{seed}"), image, None)
        })
        .collect();
    calibrate(localizer, &normal[..], &[PredictorName::Intensity, PredictorName::PixelL1], |_| {}).unwrap()
}

fn write_tiles(folder: &Path) -> Dataset {
    fs::create_dir(folder).unwrap();
    for number in 0..8 {
        let image = tile(100 + number, number % 4 == 3);
        write_png(folder.join(format!("tile{number}.png")), &image, Existing::Refuse).unwrap();
    }
    fs::write(folder.join("tile9.png"), "no image").unwrap();
    Dataset::open(folder, &Layout::Images).unwrap().without_masks()
}

fn config(out: &Path) -> LocalizeConfig {
    LocalizeConfig::new(out).predictors([PredictorName::Intensity]).maps(WrittenMaps::Filtered)
}

/// A report as JSON, without what a machine adds.
fn json(report: &LocalizationReport) -> serde_json::Value {
    serde_json::to_value(report.record(None, &Default::default())).unwrap()
}

/// A report that was written and read.
fn read_back(report: &LocalizationReport) -> LocalizationReport {
    LocalizationReport::read(json(report).to_string().as_bytes()).unwrap()
}

/// The results of a case.
fn case(report: &LocalizationReport, index: usize) -> LocalizedCase {
    report.cases.get(index).unwrap().unwrap()
}

/// A table of cases as text.
fn case_table(report: &LocalizationReport) -> String {
    let mut text = Vec::new();
    report.write_case_table(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn every_case_has_a_verdict_and_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let report = localize_folder(&localizer(), &data, &config(&out), &mut ()).unwrap();
    assert_eq!((report.cases.len(), report.failed.len()), (8, 1));
    for case in &report.cases {
        let case = case.unwrap();
        let mapped = &case.predictors[0];
        let is_abnormal = ["tile3.png", "tile7.png"].contains(&case.id.as_str());
        assert_eq!(mapped.verdict.verdict == Verdict::Abnormal, is_abnormal, "{:?}", mapped.verdict);
        if is_abnormal {
            assert_eq!(mapped.verdict.p_value, Some(0.05));
        }
        assert!(mapped.map.as_ref().unwrap().is_file() && mapped.raw.is_none());
    }
    report.write_tables(&out, Existing::Refuse).unwrap();
    let cases = fs::read_to_string(out.join("cases.csv")).unwrap();
    assert_eq!(cases.lines().count(), 10);
    assert!(cases.contains("tile3.png,tile3.png,intensity,abnormal,0.05,"), "{cases}");
    assert!(cases.lines().last().unwrap().starts_with("tile9.png,tile9.png,,"), "{cases}");
    let lesions = fs::read_to_string(out.join("lesions.csv")).unwrap();
    assert!(
        lesions.lines().count() >= 3 && lesions.contains("tile7.png,tile7.png,intensity,1,"),
        "{lesions}"
    );
    let summary = report.summary().unwrap().join("\n");
    assert!(summary.contains("2 abnormal, 0 cannot tell, 6 normal"), "{summary}");
    // The report is read again as it was.
    assert_eq!(json(&read_back(&report)), json(&report));

    // One in a hundred is more than 19 normal tiles can tell.
    let strict = config(&folder.path().join("strict")).level(0.01).maps(WrittenMaps::None);
    let report = localize_folder(&localizer(), &data, &strict, &mut ()).unwrap();
    let mapped = &case(&report, 3).predictors[0];
    let verdict = &mapped.verdict;
    assert_eq!((verdict.verdict, verdict.p_value), (Verdict::CannotTell, None));
    assert!(verdict.reason.as_ref().unwrap().contains("takes 99"));
    assert!(mapped.map.is_none());
    let refused = localize_folder(&localizer(), &data, &strict.level(0.0), &mut ());
    assert!(matches!(refused, Err(WorkflowError::Setting(_))));
}

/// Counts the cases that were worked on.
#[derive(Default)]
struct Mapped(usize);

impl Observer for Mapped {
    fn advance(&mut self, done: usize) {
        self.0 = done;
    }
}

#[test]
fn a_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let localizer = localizer();
    let whole = localize_folder(&localizer, &data, &config(&out), &mut ()).unwrap();
    let refused = localize_folder(&localizer, &data, &config(&out), &mut ()).unwrap();
    assert_eq!(refused.failed.len(), 9, "files that are there are not replaced");

    // As if the run had been killed in its fourth case, and an image had been changed since.
    let overlay = |number: usize| out.join(format!("tile{number}/intensity.png"));
    fs::remove_file(out.join("tile3/case.json")).unwrap();
    fs::remove_file(out.join("tile4/intensity.tiff")).unwrap();
    // A file that is written again has another time.
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mark = |number: usize| {
        fs::File::options().write(true).open(overlay(number)).unwrap().set_modified(long_ago).unwrap();
    };
    [0, 3, 4, 5, 7].into_iter().for_each(mark);
    let bytes = fs::read(out.join("tile7/intensity.tiff")).unwrap();
    fs::write(out.join("tile7/intensity.tiff"), &bytes[..bytes.len() / 2]).unwrap();
    write_png(folder.path().join("data/tile5.png"), &tile(105, true), Existing::Replace).unwrap();
    let again = config(&out).existing(Existing::Replace).finished(FinishedCases::Keep);
    let mut heard = Heard::default();
    let report = localize_folder(&localizer, &data, &again, &mut heard).unwrap();
    heard.done.sort();
    assert_eq!(heard.done, [3, 4, 5, 7].map(|number| format!("tile{number}.png")));
    assert_eq!((heard.kept, report.failed.len()), (Some([4, 9]), 1));
    let is_kept = |number: usize| overlay(number).metadata().unwrap().modified().unwrap() == long_ago;
    assert!(is_kept(0), "a finished case is not mapped again");
    assert!(!is_kept(3) && !is_kept(4), "an unfinished one is");
    assert!(!is_kept(5), "and one whose image changed");
    assert!(
        !is_kept(7) && fs::read(out.join("tile7/intensity.tiff")).unwrap() == bytes,
        "a map was cut short"
    );
    for place in [0, 1, 2, 3, 4, 6, 7] {
        assert_eq!(case(&report, place), case(&whole, place));
    }
    assert_eq!(case(&report, 5).predictors[0].verdict.verdict, Verdict::Abnormal);
    // More memory changes no result, other options do.
    mark(0);
    let roomy = again.clone().reading(ReadOptions::new().max_bytes(1 << 40));
    localize_folder(&localizer, &data, &roomy, &mut ()).unwrap();
    assert!(is_kept(0));
    // Images that cannot be read, as on a share that is not mounted, cost no record.
    let moved = folder.path().join("moved");
    fs::rename(folder.path().join("data"), &moved).unwrap();
    let unmounted = localize_folder(&localizer, &data, &again, &mut ()).unwrap();
    assert_eq!((unmounted.cases.len(), unmounted.failed.len()), (0, 9));
    assert!(out.join("tile0/case.json").is_file() && out.join("tile0/intensity.tiff").is_file());
    // A kept case states where its image lies now.
    let data = Dataset::open(&moved, &Layout::Images).unwrap().without_masks();
    let report = localize_folder(&localizer, &data, &again, &mut ()).unwrap();
    assert!(is_kept(0) && case(&report, 0).input == [moved.join("tile0.png")], "{:?}", case(&report, 0));
    // And where its results lie: their folder may have another name, or be called otherwise.
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&out, &elsewhere).unwrap();
    let there = config(&elsewhere).existing(Existing::Replace).finished(FinishedCases::Keep);
    let report = localize_folder(&localizer, &data, &there, &mut ()).unwrap();
    let kept = &case(&report, 0).predictors[0];
    assert_eq!(kept.overlay, elsewhere.join("tile0/intensity.png"));
    assert_eq!(kept.map, Some(elsewhere.join("tile0/intensity.tiff")));
    assert_eq!(kept.overlay.metadata().unwrap().modified().unwrap(), long_ago);
    fs::rename(&elsewhere, &out).unwrap();
    localize_folder(&localizer, &data, &again.clone().level(0.1), &mut ()).unwrap();
    assert!(!is_kept(0));
    // A run with other options that was stopped within a case has left a mixture, which no record vouches for.
    fs::remove_file(out.join("tile1/intensity.png")).unwrap();
    fs::create_dir(out.join("tile1/intensity.png")).unwrap();
    let stopped = localize_folder(&localizer, &data, &again.clone().level(0.2), &mut ()).unwrap();
    assert!(stopped.failed.iter().any(|failed| failed.id == "tile1.png"), "{:?}", stopped.failed);
    assert!(!out.join("tile1/case.json").exists());
}

#[test]
fn a_page_shows_the_present_name_of_its_case() {
    let folder = tempfile::tempdir().unwrap();
    let localizer = localizer();
    let out = folder.path().join("maps");
    let config = config(&out).folders(CaseFolders::One).pages(ReportPages::Full);
    let config = config.existing(Existing::Replace).finished(FinishedCases::Keep);
    for name in ["first.png", "second.png"] {
        let path = folder.path().join(name);
        write_png(&path, &tile(100, false), Existing::Refuse).unwrap();
        let data = Dataset::open(&path, &Layout::Images).unwrap().without_masks();
        let report = localize_folder(&localizer, &data, &config, &mut ()).unwrap();
        let found = case(&report, 0);
        assert_eq!((found.id.as_str(), found.patient.as_str(), &found.input[..]), (name, name, &[path][..]));
        assert!(fs::read_to_string(out.join("case.html")).unwrap().contains(name));
    }
}

/// Another contrast of the same subject, by mistake into the same folder, costs no finished results.
#[test]
fn a_run_that_goes_on_replaces_no_results_of_other_images() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("maps");
    let localizer = localizer();
    let data = |file: &str, seed: u32| {
        let root = folder.path().join("data");
        let path = root.join("a").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_png(&path, &tile(seed, false), Existing::Refuse).unwrap();
        Dataset::open(root, &Layout::cases(file, None)).unwrap()
    };
    let go_on = config(&out).existing(Existing::Replace).finished(FinishedCases::Keep);
    let report = localize_folder(&localizer, &data("flair.png", 1), &go_on, &mut ()).unwrap();
    fs::write(out.join("report.json"), "of the first run").unwrap();
    let record = out.join("a/case.json");
    let before = fs::read(&record).unwrap();
    let other = data("t1.png", 2);
    let error = localize_folder(&localizer, &other, &go_on, &mut ()).unwrap_err().to_string();
    assert!(error.contains("case.json: holds results of flair.png, expected those of t1.png"), "{error}");
    assert!(fs::read(&record).unwrap() == before && out.join("report.json").exists());
    // A file that was renamed is the same image.
    fs::rename(&case(&report, 0).input[0], folder.path().join("data/a/moved.png")).unwrap();
    let renamed = Dataset::open(folder.path().join("data"), &Layout::cases("moved.png", None)).unwrap();
    localize_folder(&localizer, &renamed, &go_on, &mut ()).unwrap();
    // The user may replace what is there.
    let all = config(&out).existing(Existing::Replace);
    localize_folder(&localizer, &other, &all, &mut ()).unwrap();
    assert!(fs::read(&record).unwrap() != before);
}

/// A folder with files that describe it, or with subjects, but not by lesio is somebody else's.
#[test]
fn results_in_bids_replace_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("study");
    let image = root.join("sub-01/anat/sub-01_desc-preproc_T1w.nii.gz");
    fs::create_dir_all(image.parent().unwrap()).unwrap();
    let volume = Volume::new(
        Array3::from_shape_fn((24, 24, 3), |(i, j, k)| ((i * j + k) % 9) as f32),
        Geometry::default(),
    );
    write_volume(&image, &volume).unwrap();
    fs::write(root.join("dataset_description.json"), r#"{"Name": "x", "BIDSVersion": "1.10.0"}"#).unwrap();
    let data = Dataset::open(&root, &Layout::bids("desc-preproc_T1w", None)).unwrap();
    let localizer = localizer();
    for name in
        [".bidsignore", "README.md", "descriptions.tsv", "participants.tsv", "participants.json", "sub-02"]
    {
        let out = folder.path().join("maps");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(name), "mine").unwrap();
        for existing in [Existing::Refuse, Existing::Replace] {
            let bids = config(&out).layout(OutputLayout::Bids).existing(existing);
            let refused = localize_folder(&localizer, &data, &bids, &mut ());
            assert!(
                matches!(&refused, Err(WorkflowError::NotByLesio { path }) if *path == out.join(name)),
                "{refused:?}"
            );
        }
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "{name}");
        fs::remove_dir_all(&out).unwrap();
    }
    // Its own folder it describes again.
    let out = folder.path().join("maps");
    let bids = config(&out).layout(OutputLayout::Bids);
    for existing in [Existing::Refuse, Existing::Replace] {
        let report = localize_folder(&localizer, &data, &bids.clone().existing(existing), &mut ()).unwrap();
        assert_eq!((report.cases.len(), report.failed.len()), (1, 0));
        // A BIDS name has one description.
        let map = case(&report, 0).predictors[0].map.clone().unwrap();
        assert!(map.ends_with("sub-01/anat/sub-01_desc-preproc+intensity_anomalymap.nii.gz"), "{map:?}");
    }
    let table = fs::read_to_string(out.join("descriptions.tsv")).unwrap();
    assert!(table.contains("\ndesc-preproc+intensity\tScores by intensity"), "{table}");
}

#[test]
fn results_that_are_not_replaced_keep_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let localizer = localizer();
    let first = config(&out).pages(ReportPages::Full);
    localize_folder(&localizer, &data, &first, &mut ()).unwrap();
    let files = || -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = fs::read_dir(out.join("tile0")).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let before = files();
    assert!(before.contains_key(&out.join("tile0/case.json")));
    // Another predictor has another overlay, but the same page and the same record.
    let other = first.predictors([PredictorName::PixelL1]);
    for (pages, exists) in [(ReportPages::Full, "case.html exists"), (ReportPages::None, "case.json exists")]
    {
        let report = localize_folder(&localizer, &data, &other.clone().pages(pages), &mut ()).unwrap();
        assert_eq!((report.cases.len(), report.failed.len()), (0, 9));
        assert!(report.failed[0].error.ends_with(exists), "{}", report.failed[0].error);
        assert!(files() == before, "{exists}: {:?}", files().keys());
    }
}

/// Of the results that are replaced, none stays which the new run does not write.
#[test]
fn nothing_of_replaced_results_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let localizer = localizer();
    let files = || -> Vec<String> {
        let paths = fs::read_dir(out.join("tile0")).unwrap();
        let mut names: Vec<String> =
            paths.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let first =
        config(&out).pages(ReportPages::Full).predictors([PredictorName::PixelL1, PredictorName::Intensity]);
    localize_folder(&localizer, &data, &first, &mut ()).unwrap();
    assert!(files().len() > 6, "{:?}", files());
    fs::write(out.join("tile0/notes.txt"), "by somebody else").unwrap();
    let fewer = config(&out).maps(WrittenMaps::None).existing(Existing::Replace);
    let fewer = fewer.predictors([PredictorName::Intensity]);
    localize_folder(&localizer, &data, &fewer, &mut ()).unwrap();
    assert_eq!(files(), ["case.json", "intensity.png", "notes.txt"]);
    // A run that was killed has left no record.
    localize_folder(&localizer, &data, &first.existing(Existing::Replace), &mut ()).unwrap();
    fs::remove_file(out.join("tile0/case.json")).unwrap();
    let both = fewer.predictors([PredictorName::Intensity, PredictorName::PixelL1]);
    localize_folder(&localizer, &data, &both, &mut ()).unwrap();
    assert_eq!(files(), ["case.json", "intensity.png", "notes.txt", "pixel-l1.png"]);
}

/// An image without a verdict, since the calibration may not hold for it, has no p-values either.
#[test]
fn lesions_of_images_unlike_the_calibration_have_no_p_values() {
    let folder = tempfile::tempdir().unwrap();
    let large = Array3::from_shape_fn((1, 240, 240), |(_, i, j)| {
        let inside = (80..140).contains(&i) && (90..150).contains(&j);
        if inside { 250 } else { tile(7, false).data()[[0, i % 24, j % 24]] }
    });
    let path = folder.path().join("large.png");
    write_png(&path, &Image::new(large), Existing::Refuse).unwrap();
    let small = folder.path().join("small.png");
    write_png(&small, &tile(7, true), Existing::Refuse).unwrap();
    for (path, is_like) in [(small, true), (path, false)] {
        let data = Dataset::open(&path, &Layout::Images).unwrap().without_masks();
        let out = folder.path().join(if is_like { "like" } else { "unlike" });
        let report = localize_folder(&localizer(), &data, &config(&out), &mut ()).unwrap();
        let found = case(&report, 0);
        let lesions = found.predictors[0].lesions.as_ref().unwrap();
        assert!(!lesions.is_empty());
        assert_eq!(found.resolution_doubt.is_none(), is_like, "{found:?}");
        assert!(lesions.iter().all(|lesion| lesion.p_value.is_some() == is_like), "{lesions:?}");
    }
}

/// The program writes the report after all cases. One that is killed before leaves no earlier report.
#[test]
fn the_report_of_an_earlier_run_is_removed_before_the_first_case() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let (localizer, out) = (localizer(), folder.path().join("maps"));
    fs::create_dir(&out).unwrap();
    let names = [
        "report.json",
        "cases.csv",
        "lesions.csv",
        "report.html",
        "report-1-of-2.json",
        "report-2-of-2.json",
        "run.toml",
    ];
    let exist = || names.map(|name| out.join(name).exists());
    names.into_iter().for_each(|name| fs::write(out.join(name), "of an earlier run").unwrap());
    let replace = config(&out).existing(Existing::Replace);
    // But not before all checks, such as that of names of BIDS.
    let bids = replace.clone().layout(OutputLayout::Bids);
    assert!(matches!(localize_folder(&localizer, &data, &bids, &mut ()), Err(WorkflowError::NotBids { .. })));
    let refused = localize_folder(&localizer, &data, &config(&out), &mut ());
    assert!(matches!(refused, Err(WorkflowError::Exists { .. })));
    assert_eq!(exist(), [true; 7]);
    // A shard replaces its own report alone, and a run of all cases what it writes.
    let shard = replace.clone().shard(Some(Shard::new(1, 2).unwrap()));
    localize_folder(&localizer, &data, &shard, &mut ()).unwrap();
    assert_eq!(exist(), [true, true, true, true, false, true, true]);
    localize_folder(&localizer, &data, &replace, &mut ()).unwrap();
    assert_eq!(exist(), [false, false, false, false, false, true, true]);
}

#[test]
fn pages_are_the_same_from_shares_and_hold_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let localizer = localizer();
    let config = |out: &Path| config(out).pages(ReportPages::Full).existing(Existing::Replace);
    let whole = localize_folder(&localizer, &data, &config(&out), &mut ()).unwrap();
    whole.write_page(&out, Existing::Refuse).unwrap();
    let third = case(&whole, 3);
    assert!(
        third.page.as_ref().unwrap().is_file() && third.predictors[0].thumbnail.as_ref().unwrap().is_file()
    );
    assert_eq!(third.folder, Path::new("tile3"));
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let (page, case_page) = (read("report.html"), read("tile3/case.html"));
    for text in ["tile3/case.html", "tile3/intensity_thumbnail.png", "tile9.png", "\"k\":\"abnormal\""] {
        assert!(page.contains(text), "{text}");
    }
    assert!(case_page.contains("href=\"../report.html\""));
    // A picture has no side of a subject.
    assert!(case_page.contains("\"left_to_right\":false"));
    assert!(whole.write_page(&out, Existing::Refuse).is_err());

    let shards: Vec<LocalizationReport> = [2, 1]
        .map(|index| {
            let shard = config(&out).shard(Some(Shard::new(index, 2).unwrap()));
            read_back(&localize_folder(&localizer, &data, &shard, &mut ()).unwrap())
        })
        .into();
    let merged = merge_shards(shards).unwrap();
    merged.write_page(&out, Existing::Replace).unwrap();
    assert!(read("report.html") == page && read("tile3/case.html") == case_page);
    // In another folder, links lead back.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    merged.write_page(&other, Existing::Refuse).unwrap();
    assert!(fs::read_to_string(other.join("report.html")).unwrap().contains("\"../maps/tile3/case.html\""));
    // Without pages there is none, and other pages are other options.
    let bare = localize_folder(&localizer, &data, &config(&out).pages(ReportPages::None), &mut ()).unwrap();
    bare.write_page(&other.join("none"), Existing::Refuse).unwrap();
    assert!(case(&bare, 0).page.is_none() && !other.join("none").exists());
}

fn copies(reports: &[LocalizationReport]) -> Vec<LocalizationReport> {
    reports.iter().map(read_back).collect()
}

#[test]
fn shards_merged_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tiles(&folder.path().join("data"));
    let out = folder.path().join("maps");
    let localizer = localizer();
    let whole = localize_folder(&localizer, &data, &config(&out), &mut ()).unwrap();
    fs::remove_dir_all(&out).unwrap();
    let mut shards = Vec::new();
    for index in [2, 3, 1] {
        let shard = config(&out).shard(Some(Shard::new(index, 3).unwrap()));
        let mut mapped = Mapped::default();
        let report = localize_folder(&localizer, &data, &shard, &mut mapped).unwrap();
        assert!((1..=4).contains(&mapped.0), "{}", mapped.0);
        // As a report that was written and read.
        shards.push(read_back(&report));
    }
    let merged = merge_shards(copies(&shards)).unwrap();
    assert_eq!(json(&merged), json(&whole));
    assert_eq!(case_table(&merged), case_table(&whole));

    let refused = |reports: Vec<LocalizationReport>| merge_shards(reports).unwrap_err().to_string();
    assert!(refused(Vec::new()).contains("there is no report"));
    assert!(refused(copies(&shards[..2])).contains("missing: 1/3"));
    assert!(
        refused([copies(&shards), copies(&shards[..1])].into_iter().flatten().collect())
            .contains("2/3 occurs twice")
    );
    assert!(refused(vec![whole]).contains("not that of a shard"));
    let other_level =
        config(&out).level(0.1).existing(Existing::Replace).shard(Some(Shard::new(1, 3).unwrap()));
    let other = localize_folder(&localizer, &data, &other_level, &mut ()).unwrap();
    assert!(refused(copies(&shards[..2]).into_iter().chain([other]).collect()).contains("different options"));
    // Refused before any work, not after it.
    fs::write(out.join("report-2-of-3.json"), "{}").unwrap();
    let again = config(&out).shard(Some(Shard::new(2, 3).unwrap()));
    assert!(matches!(localize_folder(&localizer, &data, &again, &mut ()), Err(WorkflowError::Exists { .. })));
    fs::write(out.join("cases.csv"), "mine").unwrap();
    let again = localize_folder(&localizer, &data, &config(&out), &mut ());
    assert!(matches!(again, Err(WorkflowError::Exists { path }) if path.ends_with("cases.csv")));
    // Another data set, with both numbers of cases and the names of both reports.
    let mut other = copies(&shards);
    other[1].shard.as_mut().unwrap().all.0 = 8;
    let told = refused(other);
    let files = [2, 3].map(|index| LocalizationReport::file_name(Some(Shard::new(index, 3).unwrap())));
    let expected = ["different data sets", "9 cases and 8 cases", files[0].as_str(), files[1].as_str()];
    assert!(expected.iter().all(|part| told.contains(part)), "{told}");
    let mut other = copies(&shards);
    other[1].fingerprint = "another".to_owned();
    assert!(refused(other).contains("different models"));
    let mut fewer = copies(&shards);
    let all = std::mem::take(&mut fewer[0].cases);
    all.iter().skip(1).for_each(|case| fewer[0].cases.push(&case.unwrap()).unwrap());
    assert!(refused(fewer).contains("2/3 lacks some of its cases"));
    let mut twice = shards;
    let stolen = case(&twice[1], 0);
    let record = twice[0].shard.as_mut().unwrap();
    record.places.insert(stolen.id.clone(), 0);
    twice[0].cases.push(&stolen).unwrap();
    assert!(refused(twice).contains("is in two shards"));
}
