//! The workflows one after the other, as an embedder calls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::path::Path;
use std::sync::Arc;

use lesio_anomaly::{Localizer, ModelConfig, PredictorName};
use lesio_image::{Image, Intensity, RobustScaling};
use lesio_io::ReadOptions;
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Dataset, Layout};
use lesio_metrics::BootstrapConfig;
use lesio_nn::{Device, TrainConfig};
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_report::Scope;
use lesio_study::{
    BadCases, EvaluateConfig, ImageLevel, InjectDataSetConfig, InjectionConfig, LocalizeConfig,
    LocalizerTraining, ModelChoices, ModelKind, ModelTraining, Notice, Observer, Preset, ReportPages,
    SLICE_POSITION, Step, StudyError, Subject, TrainOptions, WorkflowError, evaluate, explain,
    inject_data_set, inspect, localize_folder, predictor_choice, read_subjects, require_held_out,
    train_localizer,
};
use lesio_vae::{
    AnomalyContent, ContentInput, DenoiserConfig, DenoiserTraining, Latent, SyntheticAnomalies,
    SyntheticTraining, TaughtConfig, VaeConfig, VaeTraining,
};
use ndarray::Array2;

/// What a workflow reports, in short.
#[derive(Default)]
struct Heard(Vec<String>);

impl Observer for Heard {
    fn begin(&mut self, step: &Step, parts: usize) {
        self.0.push(format!("{step} {parts}"));
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::CaseDone { case, .. } = notice {
            self.0.push(format!("{case} mapped"));
        }
    }
}

fn write_heads(folder: &Path) {
    let heads = BrainPhantom::new(BrainConfig::new([32, 32], Contrast::T1, 7).slices(6)).unwrap();
    for number in 0..10 {
        let (head, case) = (heads.volume(number).unwrap(), folder.join(format!("s{number}")));
        std::fs::create_dir_all(&case).unwrap();
        lesio_io::write_volume(case.join("image.nii.gz"), &head.image).unwrap();
        lesio_io::write_volume(case.join("tissue.nii.gz"), &head.labels).unwrap();
    }
}

#[test]
fn from_normal_heads_to_lesions_found() {
    let folder = tempfile::tempdir().unwrap();
    let (normal, with_lesions) = (folder.path().join("normal"), folder.path().join("data"));
    write_heads(&normal);
    let normal = Dataset::open(&normal, &Layout::cases("image.nii.gz", Some("tissue.nii.gz"))).unwrap();
    let injection = InjectionConfig::new(5).lesions(2).radius(12.0, 16.0).seed(5);
    let config = InjectDataSetConfig::new(&with_lesions, injection);
    let made = inject_data_set(&normal, &config, &mut ()).unwrap();
    assert_eq!((made.cases, made.with_lesions, made.lesions), (10, 3, 6));
    assert!(matches!(inject_data_set(&normal, &config, &mut ()), Err(WorkflowError::WriteImage(_))));

    let data = Dataset::open(&with_lesions, &Layout::cases("image.nii.gz", Some("mask.nii.gz"))).unwrap();
    let split = |name: &str| data.select(name).unwrap().cases().to_vec();
    let read = |name: &str| {
        read_subjects(&split(name), name, &ReadOptions::new(), BadCases::Stop, &mut ()).unwrap().0
    };
    // The number of channels is that of the data.
    let model = VaeConfig::new(3, 32, 32).widths([4, 8]).latent(Latent::Dense { dimensions: 4 });
    let mut training = VaeTraining::default();
    training.train.epochs = 1;
    let training =
        LocalizerTraining::new(ModelTraining::Vae { model, training }, Preset::Heads.preprocessing([32, 32]))
            .postprocessing(Preset::Heads.postprocessing())
            .bands(2);
    let mut heard = Heard::default();
    let trained = train_localizer(read("train"), Some(read("val")), &training, &mut heard).unwrap();
    assert_eq!(heard.0, ["training 1", "normalizing by position 7", "calibrating 1"]);
    assert!(matches!(&trained.model, ModelTraining::Vae { model, .. } if model.channels == 1));
    assert_eq!(trained.report()["data"]["training"]["cases"], 7);
    // The file states which slices it held out, in the grid of its own preprocessing.
    let held_out = |own: &[Subject]| require_held_out("vae", &trained.localizer, own);
    assert!(held_out(&read("val")).is_ok());
    let error = held_out(&read("train")[..1]).unwrap_err().to_string();
    assert!(error.starts_with("the model \"vae\" was calibrated on "), "{error}");
    assert!(trained.page().is_ok());

    let names = ["pixel-l1", "pixel-positive"].map(|name| name.parse().unwrap());
    let config = EvaluateConfig::new(BootstrapConfig::new(1).replicates(20))
        .predictors(Some(names.to_vec()))
        .ensemble(names)
        .model_choices(ModelChoices::Best);
    let models = || [("vae".to_owned(), trained.localizer.clone())];
    let mut heard = Heard::default();
    let found = evaluate(models(), &split("test"), &split("val"), &config, &mut heard).unwrap();
    let reading = "reading the validation split 1";
    assert_eq!(heard.0, [reading, "learning weights 1", "selecting on the validation split 1", "scoring 2"]);
    assert_eq!((found.cases, found.patients, found.best.len()), (2, 2, 1));
    let report = found.report().unwrap();
    assert_eq!(report.scopes[0].scope, Scope::LesionSlices);
    let rows: Vec<&str> = report.scopes[0].predictors.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows[..3], ["intensity", "pixel-l1", "pixel-positive"]);
    assert_eq!(rows[3..].len(), 6, "four ensembles and two that validation taught: {rows:?}");
    // Two scopes, the slices (every test case has a lesion), and the thresholds that ship.
    let titles: Vec<String> = found.tables().unwrap().into_iter().map(|(title, _)| title).collect();
    assert_eq!(titles.len(), 4);
    assert!(titles[0].starts_with("Slices with lesions (prevalence 0."), "{titles:?}");
    assert!(titles[1].starts_with("All slices (prevalence 0."), "{titles:?}");
    assert_eq!(titles[2..], ["Whole images: slices", "At the thresholds that ship"]);
    assert!(found.at_thresholds.iter().all(|own| own.false_positive_rate.is_some()));
    let images = &found.images[0];
    assert_eq!((found.images.len(), images.level), (1, ImageLevel::Slices));
    assert_eq!(images.predictors[0].predictor, SLICE_POSITION);
    let page = found.page("lead").unwrap().to_html();
    assert!(page.contains("Slices") && page.contains("best, AP") && page.contains("worst, AP"));
    assert!(page.contains("L and R are the left and the right of the subject"));
    // Training cases have no lesion to choose by.
    let none = evaluate(models(), &split("test"), &split("train")[..1], &config, &mut ());
    assert!(matches!(
        none,
        Err(WorkflowError::NoLesionsToChooseBy | WorkflowError::Study(StudyError::Ensemble(_)))
    ));

    let out = folder.path().join("maps");
    let test = data.select("test").unwrap().without_masks();
    let config = LocalizeConfig::new(&out).predictors(names).pages(ReportPages::Full);
    let mut heard = Heard::default();
    let report = localize_folder(&trained.localizer, &test, &config, &mut heard).unwrap();
    assert_eq!(heard.0, ["localizing 2", "s4 mapped", "s9 mapped"]);
    for case in &report.cases {
        let case = case.unwrap();
        for mapped in &case.predictors {
            let files = [&mapped.map, &mapped.raw, &mapped.labels].map(|file| file.as_ref().unwrap());
            for file in files.into_iter().chain([&mapped.overlay]) {
                assert!(file.is_file(), "{}", file.display());
            }
            assert_eq!(inspect(files[0], &Default::default()).unwrap().to_json()["shape"][2], 6);
        }
        assert!(!case.to_markdown(&case.id).unwrap().is_empty());
        // The files have affines, and the slices are axial.
        let page = std::fs::read_to_string(case.page.as_ref().unwrap()).unwrap();
        assert!(page.contains("\"left_to_right\":true"));
    }
    assert!(report.failed.is_empty());
    // A second run replaces nothing: each case fails by its own.
    let again = localize_folder(&trained.localizer, &test, &config, &mut ()).unwrap();
    assert!(again.cases.is_empty() && again.failed[0].error.ends_with("pixel-l1.png exists"));
    let within = LocalizeConfig::new(with_lesions.join("maps"));
    let refused = localize_folder(&trained.localizer, &test, &within, &mut ());
    assert!(matches!(refused, Err(WorkflowError::ResultsInData { .. })));
    let twice = LocalizeConfig::new(&out).predictors([names[0], names[0]]).validate(&trained.localizer);
    assert!(matches!(twice, Err(WorkflowError::Study(StudyError::Repeated { .. }))));
}

#[test]
fn names_are_those_of_the_command_line() {
    assert_eq!(ModelKind::ALL.map(ModelKind::name), ["vae", "denoiser", "restorer", "segmenter"]);
    let error = "encoder".parse::<ModelKind>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown kind of model \"encoder\", expected one of vae, denoiser, restorer, segmenter"
    );
}

/// Stripes: what no built-in content is.
#[derive(Debug)]
struct Stripes;

impl AnomalyContent for Stripes {
    fn name(&self) -> &str {
        "stripes"
    }

    fn fill(&self, input: &ContentInput<'_>, into: &mut [f32]) {
        let odd = usize::from(input.seed.is_multiple_of(2));
        into.iter_mut().enumerate().for_each(|(k, value)| *value = if k % 2 == odd { 1.0 } else { 0.0 });
    }
}

#[test]
fn a_segmenter_is_taught_a_content_of_ones_own() {
    let heads = BrainPhantom::new(BrainConfig::new([32, 32], Contrast::T1, 7).slices(2)).unwrap();
    let subject = |number: u64| Subject::new(number.to_string(), heads.volume(number).unwrap().image, None);
    let subjects = || (0..10).map(subject).collect::<Vec<_>>();
    let mut anomalies = SyntheticAnomalies::medical().own("stripes", 1.0);
    anomalies.contents.clear();
    let model = TaughtConfig::new(DenoiserConfig::new(1, 32, 32).widths([4, 8]), anomalies);
    let training = SyntheticTraining::default().train(TrainConfig::default().epochs(2));
    let config = LocalizerTraining::new(
        ModelTraining::Segmenter { model: model.clone(), training },
        Preset::Heads.preprocessing([32, 32]),
    );
    let error = train_localizer(subjects(), None, &config, &mut ()).unwrap_err();
    assert!(explain(&error).contains("anomalies.own.name is \"stripes\""), "{}", explain(&error));

    let options = TrainOptions::default().contents(vec![Arc::new(Stripes)]);
    let trained = train_localizer(subjects(), None, &config.options(options), &mut ()).unwrap();
    assert_eq!(predictor_choice(&trained.localizer).0, PredictorName::AnomalyLogit);
    assert_eq!(trained.report()["recipe"]["segmenter"]["model"]["anomalies"]["own"][0]["name"], "stripes");
    // Anomalies have the range of the images: what preprocessing leaves, and 0 outside of them.
    let range = |clip| {
        let model = TaughtConfig::new(DenoiserConfig::new(1, 32, 32), SyntheticAnomalies::natural());
        let training = SyntheticTraining::default();
        match (ModelTraining::Restorer { model, training }).value_range(clip) {
            ModelTraining::Restorer { model, .. } => model.anomalies.range,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(range(Some([0.25, 1.5])), Some([0.0, 1.5]));
    assert_eq!(range(Some([-1.0, 0.5])), Some([-1.0, 0.5]));
    assert_eq!(range(None), None);
    let clip = |preset: Preset| preset.taught_preprocessing([32, 32]).clip;
    assert_eq!([clip(Preset::Heads), clip(Preset::Photo)], [Some([0.0, 1.5]), Some([0.0, 1.0])]);
    let scaling = Preset::Heads.taught_preprocessing([32, 32]).intensity;
    assert_eq!(scaling, Intensity::Robust(RobustScaling::median()));
    // What it was taught is in its file, which is read without the content.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    trained.localizer.save(&path).unwrap();
    let back = Localizer::load(&path, &Device::Cpu).unwrap();
    assert_eq!(back.model().config(), ModelConfig::Segmenter { config: model });
}

/// Photographs tell the kind of each defect: kinds are measured apart, and of each the extremes are shown.
#[test]
fn kinds_of_defects_are_measured_apart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: String, value: &dyn Fn(usize, usize) -> f32| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let byte = |(row, column)| (255.0 * value(row, column)) as u8;
        let image = Image::from_plane(Array2::from_shape_fn((24, 24), byte));
        lesio_io::write_png(path, &image, Existing::Refuse).unwrap();
    };
    let normal = |row: usize, column: usize| 0.3 + 0.02 * ((row * 5 + column * 3) % 7) as f32;
    let inside = |row: usize, column: usize| (8..14).contains(&row) && (10..15).contains(&column);
    for number in 0..6 {
        write(format!("train/good/{number}.png"), &normal);
    }
    write("test/good/0.png".into(), &normal);
    // Bright defects of three strengths, and one that is hardly there.
    for (kind, number, value) in [("spot", 0, 0.95), ("spot", 1, 0.5), ("spot", 2, 0.36), ("faint", 0, 0.34)]
    {
        let defect = |row, column| if inside(row, column) { value } else { normal(row, column) };
        write(format!("test/{kind}/{number}.png"), &defect);
        let mask = |row, column| if inside(row, column) { 1.0 } else { 0.0 };
        write(format!("ground_truth/{kind}/{number}_mask.png"), &mask);
    }
    let data = Dataset::open(folder.path(), &Layout::MvTec).unwrap();
    let subjects = data.select("train").unwrap();
    let subjects =
        read_subjects(subjects.cases(), "train", &ReadOptions::new(), BadCases::Stop, &mut ()).unwrap().0;
    let model = DenoiserConfig::new(1, 24, 24).widths([4, 8]);
    let training = DenoiserTraining::default().train(TrainConfig::default().epochs(1));
    let config = LocalizerTraining::new(
        ModelTraining::Denoiser { model, training },
        Preset::Photo.preprocessing([24, 24]),
    );
    let trained = train_localizer(subjects, None, &config, &mut ()).unwrap();
    let test = data.select("test").unwrap();
    let config = EvaluateConfig::new(BootstrapConfig::new(1).replicates(20));
    let config = config.predictors(Some(vec![PredictorName::PixelPositive]));
    let models = [("denoiser".to_owned(), trained.localizer)];
    let found = evaluate(models, test.cases(), &[], &config, &mut ()).unwrap();
    let groups: Vec<_> = found.groups.iter().map(|group| (group.group.as_str(), group.lesions)).collect();
    assert_eq!(groups, [("faint", 1), ("spot", 3)]);
    let [faint, spot] = [0, 1].map(|group| found.groups[group].predictors[0].auroc.unwrap());
    assert!(spot > faint, "{spot} {faint}");
    let page = found.page("lead").unwrap().to_html();
    for why in ["faint, best", "spot, best", "spot, median", "spot, worst"] {
        assert!(page.contains(why), "{why}");
    }
}
