//! Evaluations: what is measured again, what calibrates, what chooses, and what is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lesio_anomaly::{
    Calibration, Localizer, Model, NormalScoresBuilder, PostProcessing, PredictorName, Provenance,
};
use lesio_image::{Image, Preprocessing, Scan, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset, DatasetOptions, Layout};
use lesio_io::{FourthAxis, Matching, ReadOptions, write_png, write_volume};
use lesio_metrics::BootstrapConfig;
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_study::{
    BadCases, CohortMeasurements, EvaluateConfig, FinishedCases, LesionGroups, ModelChoices, NOMINAL_RATE,
    Notice, Observer, Shard, Subject, ThresholdOrigin, WorkflowError, calibrate, evaluate, measure_cases,
    merge_shards,
};
use lesio_vae::{Latent, Vae, VaeConfig};
use ndarray::Array3;

const INTENSITY: PredictorName = PredictorName::Intensity;
const L1: PredictorName = PredictorName::PixelL1;
const NEGATIVE: PredictorName = PredictorName::PixelNegative;

fn head(number: u64) -> Volume<f32> {
    let config = BrainConfig::new([32, 32], Contrast::T1, 5).slices(4);
    BrainPhantom::new(config).unwrap().volume(number).unwrap().image
}

/// An untrained model of images with this number of channels, calibrated for these predictors on three heads.
fn localizer(channels: usize, names: &[PredictorName]) -> Localizer {
    let scan = |number: u64| {
        Scan::joined((0..channels as u64).map(|channel| head(100 + 10 * channel + number)).collect()).unwrap()
    };
    let config = VaeConfig::new(channels, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
    let model = Model::Vae(Vae::new(config, 1.0, 7, &lesio_nn::Device::Cpu).unwrap().into());
    let preprocessing = Preprocessing::heads([32, 32]).fit([scan(0)]).unwrap();
    let made = Localizer::new(model, preprocessing, Provenance::new(7, "none")).unwrap();
    let normal: Vec<Subject> =
        (0..3).map(|number| Subject::new(format!("n{number}"), scan(number), None)).collect();
    if names.is_empty() { made } else { calibrate(made, &normal[..], names, |_| {}).unwrap() }
}

/// A cube on one side of a head, in its second and third slice.
fn cube() -> Array3<bool> {
    let within = |(i, j, k): (usize, usize, usize)| {
        (10..17).contains(&i) && (12..20).contains(&j) && (1..3).contains(&k)
    };
    Array3::from_shape_fn((32, 32, 4), within)
}

/// Writes a head with its mask. One with a lesion has a bright cube.
fn write(folder: &Path, case: &str, number: u64, is_abnormal: bool) {
    let folder = folder.join(case);
    fs::create_dir_all(&folder).unwrap();
    let mut image = head(number);
    let mask = Volume::new(cube().mapv(|inside| u8::from(inside && is_abnormal)), *image.geometry());
    image.data_mut().zip_mut_with(mask.data(), |value, &inside| {
        if inside > 0 {
            *value = 1.5;
        }
    });
    write_volume(folder.join("image.nii.gz"), &image).unwrap();
    write_volume(folder.join("mask.nii.gz"), &mask).unwrap();
}

/// Writes an image that cannot be scored, of a normal subject.
fn write_constant(folder: &Path, case: &str) {
    write(folder, case, 0, false);
    let image = head(0).map(|_| 5.0_f32);
    fs::remove_file(folder.join(case).join("image.nii.gz")).unwrap();
    write_volume(folder.join(case).join("image.nii.gz"), &image).unwrap();
}

fn open(folder: &Path, matching: Matching) -> Dataset {
    let layout = Layout::cases("image.nii.gz", Some("mask.nii.gz"));
    Dataset::open_with(folder, &layout, &DatasetOptions::new().matching(matching)).unwrap()
}

/// The cases whose names start so.
fn cases(data: &Dataset, start: &str) -> Vec<Case> {
    data.cases().iter().filter(|case| case.id().starts_with(start)).cloned().collect()
}

fn config() -> EvaluateConfig {
    EvaluateConfig::new(BootstrapConfig::new(1).replicates(5)).predictors(Some(vec![L1, NEGATIVE]))
}

/// How many of all cases a run kept.
#[derive(Default)]
struct Heard(Option<[usize; 2]>);

impl Observer for Heard {
    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::CasesKept { kept, cases } = notice {
            self.0 = Some([*kept, *cases]);
        }
    }
}

fn measured(
    localizer: &Localizer,
    test: &[Case],
    config: &EvaluateConfig,
) -> Result<CohortMeasurements, WorkflowError> {
    measure_cases([("vae".to_owned(), localizer.clone())], test, &[], config, &mut ())
}

#[test]
fn records_of_other_inputs_are_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data, "t0", 1, true);
    write(&data, "t1", 2, false);
    let localizer = localizer(1, &[INTENSITY, L1, NEGATIVE]);
    let own = |members: [PredictorName; 2]| {
        let records = folder.path().join("scores");
        config().ensemble(members).records(records).finished(FinishedCases::Keep)
    };
    // A file that is written again has another time.
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let record = folder.path().join("scores/t0.scores");
    let is_kept = |matching: Matching, config: &EvaluateConfig| {
        let test = cases(&open(&data, matching), "t");
        if record.exists() {
            fs::File::options().write(true).open(&record).unwrap().set_modified(long_ago).unwrap();
        }
        measured(&localizer, &test, config).unwrap();
        record.metadata().unwrap().modified().unwrap() == long_ago
    };
    assert!(!is_kept(Matching::Place, &own([INTENSITY, L1])));
    assert!(is_kept(Matching::Place, &own([INTENSITY, L1])), "the same inputs");
    assert!(is_kept(Matching::Place, &own([L1, INTENSITY])), "in another order");
    assert!(!is_kept(Matching::Place, &own([L1, NEGATIVE])), "an ensemble of other members");
    assert!(!is_kept(Matching::Position, &own([L1, NEGATIVE])), "masks that are matched otherwise");

    // Shards of other ensembles or of other masks are not joined.
    let test = cases(&open(&data, Matching::Place), "t");
    let shard = |members: [PredictorName; 2], test: &[Case]| {
        let one = own(members).shard(Some(Shard::new(1, 2).unwrap()));
        measured(&localizer, test, &one).unwrap().shard.unwrap()
    };
    let first = shard([INTENSITY, L1], &test);
    assert_eq!(first, shard([L1, INTENSITY], &test));
    assert_ne!(first.options, shard([INTENSITY, NEGATIVE], &test).options);
    let otherwise = cases(&open(&data, Matching::Position), "t");
    assert_ne!(first.all, shard([INTENSITY, L1], &otherwise).all);
}

#[test]
fn a_case_that_cannot_be_scored_is_stated_and_stops_a_strict_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data, "t0", 1, true);
    write_constant(&data, "t1");
    let test = cases(&open(&data, Matching::Place), "t");
    let localizer = localizer(1, &[L1]);
    let own = config().records(folder.path().join("scores")).finished(FinishedCases::Keep);
    // Measured, and taken from the records.
    for kept in [None, Some([2, 2])] {
        let (models, mut heard) = ([("vae".to_owned(), localizer.clone())], Heard::default());
        let found = measure_cases(models, &test, &[], &own, &mut heard).unwrap();
        assert_eq!(heard.0, kept);
        let left_out = found.failed();
        assert_eq!(left_out.iter().map(|case| case.id.as_str()).collect::<Vec<_>>(), ["t1"]);
        assert!(left_out[0].error.contains("\"t1\" could not be scored"), "{}", left_out[0].error);
        assert!(found.unread.is_empty());
        // As the program reads a shard.
        let text = serde_json::to_string(&found).unwrap();
        let back: CohortMeasurements = serde_json::from_str(&text).unwrap();
        assert_eq!(back.failed(), left_out);
        let results = found.results(&mut ()).unwrap();
        assert_eq!((results.left_out(), results.failed.len()), (1, 0));
        assert_eq!((results.cases, results.patients), (1, 1));
    }
    let strict = measured(&localizer, &test, &own.clone().bad_cases(BadCases::Stop));
    assert!(matches!(strict, Err(WorkflowError::Study(_))), "{strict:?}");
    assert!(measured(&localizer, &test[..1], &own.bad_cases(BadCases::Stop)).is_ok());
}

#[test]
fn validation_adds_to_the_calibration_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (case, number, is_abnormal) in [("t0", 1, true), ("t1", 2, false), ("v0", 3, true), ("v1", 4, false)]
    {
        write(&data, case, number, is_abnormal);
    }
    let data = open(&data, Matching::Place);
    let (test, validation) = (cases(&data, "t"), cases(&data, "v"));
    let of = |localizer: &Localizer, config: &EvaluateConfig| {
        evaluate([("vae".to_owned(), localizer.clone())], &test, &validation, config, &mut ())
    };
    let partly = localizer(1, &[INTENSITY, L1]);
    let found = of(&partly, &config()).unwrap();
    let threshold_of = |name: &str, origin: ThresholdOrigin| {
        let mut own = found.at_thresholds.iter().filter(|own| own.origin == origin);
        own.find(|own| own.predictor == name).map(|own| own.threshold)
    };
    let threshold = |name: &str| threshold_of(name, ThresholdOrigin::Calibration).unwrap();
    let shipped = |name: PredictorName| partly.calibration().get(name).unwrap().threshold(NOMINAL_RATE);
    assert_eq!(threshold("intensity"), shipped(INTENSITY));
    assert_eq!(threshold("pixel-l1"), shipped(L1));
    let both = calibrate(partly.clone(), &subjects(&validation)[..], &[L1, NEGATIVE], |_| {}).unwrap();
    let on_validation = |name: PredictorName| both.calibration().get(name).unwrap().threshold(NOMINAL_RATE);
    // It is not in the file, and the report says so.
    assert_eq!(threshold_of("pixel-negative", ThresholdOrigin::Calibration), None);
    let normals = |name: &str| threshold_of(name, ThresholdOrigin::ValidationNormals);
    assert_eq!((normals("pixel-negative"), normals("pixel-l1")), (Some(on_validation(NEGATIVE)), None));
    assert_ne!(shipped(L1), on_validation(L1), "or the test says nothing");

    // The choice goes into the file, so only what the file has thresholds for can be chosen.
    let best = |names: &[PredictorName]| {
        let found = of(&localizer(1, names), &config().model_choices(ModelChoices::Best))?;
        Ok::<_, WorkflowError>(found.best["vae"].predictor)
    };
    let of_all = best(&[INTENSITY, L1, NEGATIVE]).unwrap();
    assert_ne!(of_all, NEGATIVE, "lesions are bright");
    assert_eq!(best(&[NEGATIVE]).unwrap(), NEGATIVE);
    assert_eq!(
        best(&[]).unwrap(),
        of_all,
        "without any calibration, no choice is better calibrated than another"
    );
    let none = best(&[PredictorName::PixelSsim]).unwrap_err().to_string();
    assert!(none.contains("vae is not calibrated for intensity, pixel-l1, pixel-negative"), "{none}");
}

/// Each model is measured as if it were alone, whatever others are measured beside it.
#[test]
fn marks_and_choices_of_a_model_do_not_depend_on_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (case, number, is_abnormal) in
        [("t0", 1, true), ("t1", 2, false), ("v0", 3, true), ("v1", 4, false), ("v2", 5, true)]
    {
        write(&data, case, number, is_abnormal);
    }
    let data = open(&data, Matching::Place);
    let (test, validation) = (cases(&data, "t"), cases(&data, "v"));
    let heads = localizer(1, &[INTENSITY, L1]);
    // It has another foreground: everything.
    let vae = Vae::new(VaeConfig::new(1, 16, 16).widths([4]), 1.0, 3, &lesio_nn::Device::Cpu).unwrap();
    let fitted = Preprocessing::new([16, 16]).fit([Scan::from(head(0))]).unwrap();
    let photo = Localizer::new(Model::Vae(vae.into()), fitted, Provenance::new(3, "none")).unwrap();
    let normal: Vec<Subject> = (0..3).map(|k| Subject::new(format!("n{k}"), head(100 + k), None)).collect();
    let photo = calibrate(photo, &normal[..], &[INTENSITY, L1], |_| {}).unwrap();
    let own = config().predictors(Some(vec![L1])).model_choices(ModelChoices::Best);
    let of = |models: &[(&str, &Localizer)]| {
        let models = models.iter().map(|(label, own)| ((*label).to_owned(), (*own).clone()));
        evaluate(models, &test, &validation, &own, &mut ()).unwrap()
    };
    let pair = [("heads", &heads), ("photo", &photo)];
    for models in [pair, [pair[1], pair[0]]] {
        let together = of(&models);
        for (label, localizer) in models {
            let alone = of(&[(label, localizer)]);
            let name = format!("{label}/pixel-l1");
            assert_eq!(marks(&together, &name), marks(&alone, "pixel-l1"), "{label}");
            assert_eq!(marks(&together, &name).len(), 4, "two cases at two thresholds");
        }
        let text = together.page("").unwrap().to_html();
        assert!(text.contains("by different rules"), "the page does not say how maps are ranked");
        // Filters of both, by label.
        let report = serde_json::to_value(together.report().unwrap()).unwrap();
        assert!(report.to_string().contains("\"heads\":{"), "{report}");
    }
    // The same preprocessing: intensity is measured once, and each may choose it, as it would alone.
    let twin = localizer(1, &[INTENSITY, NEGATIVE]);
    let own = config().predictors(Some(vec![NEGATIVE])).model_choices(ModelChoices::Best);
    let models = [("heads", &heads), ("twin", &twin)].map(|(label, own)| (label.to_owned(), own.clone()));
    let found = evaluate(models, &test, &validation, &own, &mut ()).unwrap();
    assert_eq!(found.best["twin"].predictor, INTENSITY, "lesions are bright");
    // Two validation patients with lesions.
    assert_eq!(found.best["twin"].subjects, 2);
}

/// The marks of a map in each case: pixels of normal slices, and regions.
fn marks(found: &lesio_study::EvaluationResults, name: &str) -> Vec<([u64; 2], u64)> {
    let own = found.operating.cases().iter().filter(|case| case.predictor == name);
    own.map(|case| (case.normal_pixels, case.lesions.predictions)).collect()
}

/// Of pictures, the smallest region that counts is in pixels of a model's own grid.
#[test]
fn the_smallest_region_of_a_model_is_of_its_own_grid() {
    let folder = tempfile::tempdir().unwrap();
    let noise = |seed: u32| {
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        Image::new(Array3::from_shape_simple_fn((1, 48, 48), || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    };
    let write = |name: &str, image: &Image<u8>| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_png(path, image, Existing::Refuse).unwrap();
    };
    write("test/good/0.png", &noise(1));
    write("test/bad/1.png", &noise(2));
    let corner = Array3::from_shape_fn((1, 48, 48), |(_, i, j)| u8::from(i + j < 20));
    write("ground_truth/bad/1_mask.png", &Image::new(corner));
    let data = Dataset::open(folder.path(), &Layout::MvTec).unwrap();
    let localizer = |side: usize| {
        let vae =
            Vae::new(VaeConfig::new(1, side, side).widths([4]), 1.0, 3, &lesio_nn::Device::Cpu).unwrap();
        let fitted = Preprocessing::new([side, side]).fit([] as [Scan; 0]).unwrap();
        let made = Localizer::new(Model::Vae(vae.into()), fitted, Provenance::new(3, "none")).unwrap();
        let made = made.with_postprocessing(PostProcessing::none().smallest(2.0));
        // A threshold that a fifth of the pixels reaches, in many small regions.
        let scored = made.score(&Scan::from(noise(3).map(|&value| f32::from(value))), &[L1]).unwrap();
        let mut scores: Vec<f32> = scored.scores[0].postprocessed.data().iter().copied().collect();
        scores.sort_by(f32::total_cmp);
        let mut normals = NormalScoresBuilder::new();
        normals.add(scores[..scores.len() * 4 / 5].iter().copied());
        let mut calibration = Calibration::new();
        calibration.insert(L1, normals.finish().unwrap());
        made.with_calibration(calibration)
    };
    let own = EvaluateConfig::new(BootstrapConfig::new(1).replicates(5)).predictors(Some(vec![L1]));
    let of = |sides: &[usize]| {
        let models = sides.iter().map(|side| (format!("of-{side}"), localizer(*side)));
        evaluate(models, data.cases(), &[], &own, &mut ()).unwrap()
    };
    for sides in [[8, 24], [24, 8]] {
        let together = of(&sides);
        for side in sides {
            let alone = marks(&of(&[side]), "pixel-l1");
            assert_eq!(marks(&together, &format!("of-{side}/pixel-l1")), alone, "{side} of {sides:?}");
            assert!(alone.iter().any(|(_, regions)| *regions > 0), "{alone:?}");
        }
    }
}

/// A split without lesions calibrates, and teaches no weights.
#[test]
fn validation_cases_without_a_lesion_leave_the_other_ensembles() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (case, number, is_abnormal) in [("t0", 1, true), ("v0", 3, false), ("v1", 4, false)] {
        write(&data, case, number, is_abnormal);
    }
    let data = open(&data, Matching::Place);
    let (test, validation) = (cases(&data, "t"), cases(&data, "v"));
    let own = config().ensemble([L1, NEGATIVE]);
    let model = ("vae".to_owned(), localizer(1, &[]));
    let found = evaluate([model], &test, &validation, &own, &mut ()).unwrap();
    assert!(found.learned.is_empty());
    let names: Vec<&str> = found.evaluated.scopes[0].predictors.iter().map(|row| row.name.as_str()).collect();
    assert!(names.contains(&"ensemble-mean") && !names.contains(&"ensemble-weighted"), "{names:?}");
}

/// A table of other cases is an error, not a report without a table.
#[test]
fn a_table_of_lesions_of_other_cases_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "t0", 1, true);
    let test = cases(&open(folder.path(), Matching::Place), "t");
    let groups = |case: &str| {
        let table = format!("case,lesion,kind\n{case},1,bright\n");
        let own = config().groups(Some(LesionGroups::read(table.as_bytes()).unwrap()));
        measured(&localizer(1, &[L1]), &test, &own).map(|_| ())
    };
    let error = groups("T0").unwrap_err().to_string();
    assert!(error.contains("\"T0\"") && error.contains("\"t0\""), "{error}");
    groups("t0").unwrap();
}

fn subjects(cases: &[Case]) -> Vec<Subject> {
    cases.iter().map(|case| Subject::read(case).unwrap()).collect()
}

/// A validation case without a lesion says nothing about thresholds: it need not be scored.
#[test]
fn only_lesions_choose() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data, "t0", 1, true);
    write(&data, "v0", 3, true);
    write_constant(&data, "v1");
    let data = open(&data, Matching::Place);
    let (test, validation) = (cases(&data, "t"), cases(&data, "v"));
    let model = localizer(1, &[INTENSITY, L1, NEGATIVE]);
    let of = |validation: &[Case]| {
        let models = [("vae".to_owned(), model.clone())];
        evaluate(models, &test, validation, &config(), &mut ()).unwrap()
    };
    let (with, without) = (of(&validation), of(&validation[..1]));
    assert_eq!(with.chosen, without.chosen);
    assert!(with.chosen.is_some());
    assert_eq!(with.at_thresholds, without.at_thresholds);
}

/// As test cases, unless the evaluation is to stop there.
#[test]
fn validation_cases_that_cannot_be_used_are_left_out_and_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (case, number) in [("t0", 1), ("t1", 2), ("v0", 3), ("v1", 4), ("v3", 6)] {
        write(&data, case, number, true);
    }
    fs::write(data.join("v1/image.nii.gz"), "no volume").unwrap();
    write_constant(&data, "v2");
    // A mask of another size than its image.
    let cut = Volume::new(Array3::from_elem((32, 32, 3), 1_u8), *head(6).geometry());
    fs::remove_file(data.join("v3/mask.nii.gz")).unwrap();
    write_volume(data.join("v3/mask.nii.gz"), &cut).unwrap();
    let data = open(&data, Matching::Place);
    let (test, validation) = (cases(&data, "t"), cases(&data, "v"));
    let model = localizer(1, &[INTENSITY, L1]);
    let of = |validation: &[Case], config: &EvaluateConfig| {
        let models = [("vae".to_owned(), model.clone())];
        measure_cases(models, &test, validation, config, &mut ())
    };
    let own = config().records(folder.path().join("scores"));
    let whole = of(&validation, &own).unwrap();
    let names = |found: &CohortMeasurements| -> Vec<String> {
        found.failed().into_iter().map(|case| case.id).collect()
    };
    assert_eq!(names(&whole), ["v1", "v2", "v3"]);
    let results = whole.results(&mut ()).unwrap();
    assert_eq!((results.cases, results.left_out(), results.failed.len()), (2, 3, 3));
    assert!(results.chosen.is_some());
    let only = of(&validation[..1], &own).unwrap();
    assert_eq!(only.results(&mut ()).unwrap().at_thresholds, results.at_thresholds);
    // Every shard leaves them out; together they list them once.
    let shards = [1, 2].map(|index| {
        let shard = own.clone().shard(Some(Shard::new(index, 2).unwrap()));
        of(&validation, &shard).unwrap()
    });
    let merged = merge_shards(shards).unwrap();
    assert_eq!(merged.failed(), whole.failed());
    assert_eq!(merged.results(&mut ()).unwrap().at_thresholds, results.at_thresholds);

    for bad in &validation[1..] {
        let both = [validation[0].clone(), bad.clone()];
        let strict = of(&both, &own.clone().bad_cases(BadCases::Stop));
        assert!(matches!(strict, Err(WorkflowError::Study(_))), "{}: {strict:?}", bad.id());
    }
    assert!(of(&validation[1..], &own).is_err(), "none is left to choose by");
}

#[test]
fn a_predictor_that_no_model_offers_is_an_error_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "t0", 1, true);
    let test = cases(&open(folder.path(), Matching::Place), "t");
    let asked = |names: Vec<PredictorName>| {
        let own = config().predictors(Some(names)).records(folder.path().join("scores"));
        measured(&localizer(1, &[L1]), &test, &own).map(|_| ())
    };
    let error = asked(vec![L1, PredictorName::AnomalyLogit]).unwrap_err().to_string();
    assert!(error.starts_with("no model offers the predictor anomaly-logit; the models offer"), "{error}");
    assert!(error.contains("intensity, pixel-l1, "), "{error}");
    assert!(!folder.path().join("scores").exists());
    asked(vec![INTENSITY]).unwrap();
}

/// Numbered lesions of cases whose channels are in one file: of the case, the mask alone is read for the numbers.
#[test]
fn lesions_of_several_channels_have_groups() {
    let folder = tempfile::tempdir().unwrap();
    let table = "case,lesion,kind\nt0,1,bright\nt1,1,bright\n";
    let own = config()
        .predictors(Some(vec![L1]))
        .groups(Some(LesionGroups::read(table.as_bytes()).unwrap()))
        .reading(ReadOptions::new().fourth_axis(FourthAxis::Channels));
    let model = localizer(2, &[L1]);
    let groups = |order: &str| {
        let data = folder.path().join(order);
        for (case, number) in [("t0", 1), ("t1", 2)] {
            write(&data, case, number, true);
            let [image, mask] = ["image.nii.gz", "mask.nii.gz"].map(|name| data.join(case).join(name));
            let volume = lesio_io::read_volume(&image).unwrap();
            fs::remove_file(&image).unwrap();
            write_stacked(&data.join(case).join("image.nii"), [&volume, &head(10 + number)]);
            let inside = ReadOptions::new().read_as::<u8>(&mask).unwrap();
            fs::remove_file(&mask).unwrap();
            write_volume(&mask, &inside.reoriented(&order.parse().unwrap())).unwrap();
        }
        let test = cases(&open(&data, Matching::Place), "t");
        evaluate([("vae".to_owned(), model.clone())], &test, &[], &own, &mut ()).unwrap().groups
    };
    let found = groups("RAS");
    let counts: Vec<_> = found.iter().map(|own| (own.group.as_str(), own.lesions, own.patients)).collect();
    assert_eq!(counts, [("bright", 2, 2)]);
    assert!(found[0].predictors.iter().all(|own| own.auroc.is_some()), "{found:?}");
    // The place in space counts, not the order of the mask's voxels.
    assert_eq!(groups("LPS"), found);
}

/// Writes two channels as one image whose fourth axis they are.
fn write_stacked(path: &Path, channels: [&Volume<f32>; 2]) {
    let [i, j, k] = channels[0].shape();
    let stacked = Array3::from_shape_fn((i, j, 2 * k), |(i, j, at)| channels[at / k].data()[[i, j, at % k]]);
    write_volume(path, &Volume::new(stacked, *channels[0].geometry())).unwrap();
    let mut bytes = fs::read(path).unwrap();
    // The dimensions in the header.
    for (place, size) in [4, i, j, k, 2].into_iter().enumerate() {
        bytes[40 + 2 * place..42 + 2 * place].copy_from_slice(&(size as i16).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}
