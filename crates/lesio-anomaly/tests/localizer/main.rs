//! A localizer scores any volume or image on its own grid, and comes back from its file as it was.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod ensembles;
mod later_versions;
mod own_predictors;

use std::sync::{Arc, OnceLock};

use lesio_anomaly::{
    Calibration, CalibrationDoubt, ChosenPredictor, Incomparable, Judgment, LengthUnit, Loading, Localizer,
    Model, ModelConfig, NormalScoresBuilder, OwnModel, PositionBuilder, PostProcessing, PredictError,
    Predictor, PredictorName, PredictorSettings, Provenance, Resolution, ResolutionRange, ScoredScan,
};
use lesio_image::{
    Alignment, Frame, Geometry, Image, ImageError, Orientation, Plane, PreprocessError, Preprocessing, Scan,
    SlicePosition, Volume, erode, median_filter_volume,
};
use lesio_nn::{Device, ImageBatch, LoadError, Precision, Shape};
use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
use lesio_settings::mutation::mutations;
use lesio_vae::{
    Denoiser, DenoiserConfig, Latent, Likelihood, ModelError, Reconstructor, VaeConfig, initial_parameters,
};
use ndarray::{Array3, Axis, s};

const GRID: [usize; 2] = [16, 24];

fn volume(subject: u64) -> Volume<f32> {
    let brains = BrainPhantom::new(BrainConfig::new([28, 36], Contrast::Flair, 5).slices(7)).unwrap();
    brains.volume(subject).unwrap().image
}

fn scan(volume: &Volume<f32>) -> Scan {
    volume.clone().into()
}

fn config(channels: usize) -> VaeConfig {
    VaeConfig::new(channels, GRID[0], GRID[1]).widths([4, 6]).latent(Latent::Dense { dimensions: 5 })
}

fn vae(channels: usize) -> Model {
    let config = config(channels);
    let parameters = initial_parameters(&config, 2).unwrap();
    Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &Device::Cpu).unwrap()
}

fn settings() -> PredictorSettings {
    let mut settings = PredictorSettings::default();
    settings.projection.steps = 3;
    settings.restoration.steps = 3;
    settings
}

/// An untrained model: what is tested here does not need a good one.
fn localizer() -> Localizer {
    static MADE: OnceLock<Localizer> = OnceLock::new();
    let make = || {
        let fitted = Preprocessing::heads(GRID).fit([scan(&volume(0)), scan(&volume(1))]).unwrap();
        let provenance = Provenance::new(2, "two phantoms").note("why", "a test");
        Localizer::new(vae(1), fitted, provenance).unwrap().with_settings(settings())
    };
    MADE.get_or_init(make).clone()
}

/// The same with everything that can be calibrated.
fn calibrated() -> Localizer {
    let names = [PredictorName::PixelL1, PredictorName::GradKl];
    let plain = localizer();
    let mut places = PositionBuilder::new(&names[..1], GRID, 2).unwrap();
    for subject in 10..13 {
        plain.add_normal(&mut places, &scan(&volume(subject)), |slice| slice != 0).unwrap();
    }
    let normalized = plain.with_position_normals(places.finish()).unwrap();
    let mut calibration = Calibration::new();
    for (place, name) in names.into_iter().enumerate() {
        let mut normals = NormalScoresBuilder::new();
        for subject in 20..23 {
            let scored = normalized.score(&scan(&volume(subject)), &names).unwrap();
            normals.add(scored.scores[place].postprocessed.data().iter().copied());
        }
        calibration.insert(name, normals.finish().unwrap());
    }
    normalized.with_calibration(calibration)
}

#[test]
fn maps_lie_on_the_volume() {
    let volume = volume(30);
    let names = localizer().predictors();
    let scored = localizer().score(&scan(&volume), &names).unwrap();
    assert_eq!(scored.scores.len(), names.len());
    for (score, name) in scored.scores.iter().zip(names) {
        assert_eq!(score.predictor, name);
        for map in [&score.raw, &score.postprocessed] {
            assert_eq!((map.shape(), map.geometry()), (volume.shape(), volume.geometry()));
            let inside = map.data().iter().zip(scored.foreground.data()).filter(|&(_, &inside)| inside);
            let lowest = inside.map(|(&v, _)| v).fold(f32::INFINITY, f32::min);
            for (&value, &inside) in map.data().iter().zip(scored.foreground.data()) {
                assert!(value.is_finite() && (inside || value == lowest), "{name}: {value}, lowest {lowest}");
            }
        }
    }
    // The floor is the image itself, scaled, where the grid keeps it.
    let intensity = scored.scores[0].raw.data()[[14, 18, 3]];
    assert!(intensity > 0.1 && intensity < 1.2);
}

/// A predictor's maps do not depend on which others are asked for.
#[test]
fn predictors_do_not_influence_each_other() {
    let (localizer, volume) = (localizer(), volume(30));
    let names = localizer.predictors();
    let all = localizer.score(&scan(&volume), &names).unwrap();
    for (together, name) in all.scores.iter().zip(names) {
        let alone = localizer.score(&scan(&volume), &[name]).unwrap();
        assert_eq!(alone.scores[0].raw, together.raw, "{name}");
        assert_eq!(alone.reconstruction, all.reconstruction);
    }
    assert!(localizer.score(&scan(&volume), &[]).unwrap().scores.is_empty());
}

#[test]
fn a_turned_volume_has_the_turned_map() {
    let names = [PredictorName::PixelL1, PredictorName::PixelNll, PredictorName::GradKl];
    let volume = volume(31);
    for localizer in [
        localizer().with_postprocessing(PostProcessing::default().median(10.0, 24.0, 56.0).erosion(8.0)),
        calibrated(),
    ] {
        let upright = localizer.score(&scan(&volume), &names).unwrap();
        for orientation in ["LPI", "ASR", "IRP", "SPL"] {
            let orientation: Orientation = orientation.parse().unwrap();
            let turned = localizer.score(&scan(&volume.reoriented(&orientation)), &names).unwrap();
            let back = |map: &Volume<f32>| map.reoriented(&volume.geometry().orientation()).into_data();
            for (turned, upright) in turned.scores.iter().zip(&upright.scores) {
                assert_eq!(turned.raw.geometry().orientation(), orientation);
                assert_eq!(&back(&turned.raw), upright.raw.data());
                assert_eq!(&back(&turned.postprocessed), upright.postprocessed.data());
            }
            let [turned, upright] =
                [&turned, &upright].map(|scored| scored.reconstruction.volume(0).unwrap());
            assert_eq!(&back(&turned), upright.data());
        }
    }
}

/// In bfloat16 maps differ, by little; the file remembers it, and files of before it mean single precision.
#[test]
fn another_precision_changes_maps_by_its_rounding_alone() {
    let names = [PredictorName::PixelL1, PredictorName::GradRec, PredictorName::GradKl];
    let wide = config(1).widths([16, 32]);
    let parameters = initial_parameters(&wide, 2).unwrap();
    let model = ModelConfig::Vae { config: wide, beta: 1.0 };
    assert!(!serde_json::to_string(&model).unwrap().contains("precision"));
    let model = Model::new(&model, &parameters, &Device::Cpu).unwrap();
    let single = Localizer::new(model, localizer().preprocessing().clone(), Provenance::default()).unwrap();
    let half = single.clone().with_precision(Precision::Bfloat16, &Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    half.save(&path).unwrap();
    let loaded = Localizer::load(&path, &Device::Cpu).unwrap();
    let back = loaded.clone().with_precision(Precision::Single, &Device::Cpu).unwrap();
    let maps = |localizer: &Localizer| localizer.score(&scan(&volume(30)), &names).unwrap().scores;
    let [single, half, loaded, back] = [single, half, loaded, back].map(|localizer| maps(&localizer));
    for (((single, half), loaded), back) in single.iter().zip(&half).zip(&loaded).zip(&back) {
        assert_eq!((&loaded.raw, &back.raw), (&half.raw, &single.raw));
        let largest = single.raw.data().iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let off = single.raw.data().iter().zip(half.raw.data()).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max) / largest;
        assert!(off > 1e-6 && off < 0.05, "{}: {off}", single.predictor);
    }
    // A denoiser stays as it is.
    let denoiser = DenoiserConfig::new(1, GRID[0], GRID[1]).widths([4, 6]);
    let parameters = Denoiser::initial_parameters(&denoiser, 2).unwrap();
    let model = Model::new(&ModelConfig::Denoiser { config: denoiser }, &parameters, &Device::Cpu).unwrap();
    let made = Localizer::new(model, localizer().preprocessing().clone(), Provenance::default()).unwrap();
    let same = made.clone().with_precision(Precision::Bfloat16, &Device::Cpu).unwrap();
    assert_eq!(same.model().config(), made.model().config());
}

#[test]
fn a_file_gives_the_localizer_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let names = [PredictorName::PixelL1, PredictorName::GradKl, PredictorName::Projection];
    for localizer in [localizer(), calibrated().with_postprocessing(PostProcessing::none())] {
        localizer.save(&path).unwrap();
        let back = Localizer::load(&path, &Device::Cpu).unwrap();
        assert_eq!(back.calibration(), localizer.calibration());
        assert_eq!(back.position_normals(), localizer.position_normals());
        assert_eq!(back.provenance(), localizer.provenance());
        assert_eq!(back.settings(), localizer.settings());
        assert_eq!(back.postprocessing(), localizer.postprocessing());
        back.save(&again).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        let (one, other) = (
            localizer.score(&scan(&volume(30)), &names).unwrap(),
            back.score(&scan(&volume(30)), &names).unwrap(),
        );
        for (one, other) in one.scores.iter().zip(&other.scores) {
            assert_eq!((&one.raw, &one.postprocessed), (&other.raw, &other.postprocessed));
        }
    }
    let denoiser = DenoiserConfig::new(1, GRID[0], GRID[1]).widths([4, 6]);
    let parameters = Denoiser::initial_parameters(&denoiser, 2).unwrap();
    let model = Model::new(&ModelConfig::Denoiser { config: denoiser }, &parameters, &Device::Cpu).unwrap();
    let made = Localizer::new(model, localizer().preprocessing().clone(), Provenance::default()).unwrap();
    made.save(&path).unwrap();
    let back = Localizer::load(&path, &Device::Cpu).unwrap();
    assert_eq!(back.predictors(), made.predictors());
    assert!(matches!(
        back.score(&scan(&volume(30)), &[PredictorName::GradKl]),
        Err(PredictError::Unsupported { .. })
    ));
    // A model's own file is no localizer's.
    let lesio_anomaly::Model::Denoiser(denoiser) = made.model() else { panic!("a denoiser") };
    denoiser.save(&path).unwrap();
    assert!(matches!(Localizer::load(&path, &Device::Cpu), Err(LoadError::Kind { .. })));
}

/// Whatever happens to a file, it is refused by name or still the same localizer.
#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("localizer.safetensors");
    calibrated().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Localizer::load(&path, &Device::Cpu)
    };
    for length in (0..bytes.len()).step_by(bytes.len() / 60) {
        assert!(load(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // Every byte of the header, and some of the tensors.
    let places = (0..header).step_by(7).chain((header..bytes.len()).step_by(bytes.len() / 100));
    for place in places {
        for bit in [0, 3, 6] {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            match load(&changed) {
                Err(error) => assert!(error.to_string().contains("localizer.safetensors"), "{error}"),
                // A changed number or letter of the document that is still a number or letter.
                Ok(_) => assert!(place < header, "a tensor with bit {bit} of byte {place} changed was read"),
            }
        }
    }
}

/// A saved localizer, taken apart.
struct Saved {
    folder: tempfile::TempDir,
    header: serde_json::Value,
    envelope: serde_json::Value,
    tensors: Vec<u8>,
}

impl Saved {
    fn new(localizer: &Localizer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("localizer.safetensors");
        localizer.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let envelope = header["__metadata__"]["lesio"].as_str().unwrap();
        let envelope = serde_json::from_str(envelope).unwrap();
        Self { folder, header, envelope, tensors: bytes[8 + length..].to_vec() }
    }

    /// Loads the file with another description in it.
    fn load_with(&self, envelope: &serde_json::Value) -> Result<Localizer, LoadError> {
        let mut header = self.header.clone();
        header["__metadata__"]["lesio"] = serde_json::Value::String(envelope.to_string());
        let mut text = serde_json::to_vec(&header).unwrap();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend(text);
        file.extend(&self.tensors);
        let path = self.folder.path().join("localizer.safetensors");
        std::fs::write(&path, file).unwrap();
        Localizer::load(&path, &Device::Cpu)
    }
}

/// What is said of a localizer's file whose document is changed.
fn with_document(change: impl Fn(&mut serde_json::Value)) -> LoadError {
    let saved = Saved::new(&calibrated());
    let mut envelope = saved.envelope.clone();
    change(&mut envelope);
    saved.load_with(&envelope).unwrap_err()
}

/// Filters in pixels of the image, as version 1 wrote them.
fn version_1(mut envelope: serde_json::Value, median: [u64; 3]) -> serde_json::Value {
    envelope["version"] = 1.into();
    envelope["document"]["postprocessing"] =
        serde_json::json!({"negative": "keep", "median": median, "erosion": 1.0, "smallest": 8});
    envelope
}

#[test]
fn files_of_version_1_work_as_they_did() {
    let saved = Saved::new(&calibrated());
    let (old, warnings) = warned(|| saved.load_with(&version_1(saved.envelope.clone(), [1, 5, 5])).unwrap());
    assert_eq!(old.postprocessing().unit, LengthUnit::ImagePixels);
    assert!(warnings.len() == 1 && warnings[0].contains("filters in pixels of the image"), "{warnings:?}");
    assert_eq!((old.calibration(), old.chosen()), (calibrated().calibration(), None));
    // Five pixels are five pixels, whatever the size of a voxel (8 mm here).
    let names = [PredictorName::PixelL2];
    let scored = old.score(&scan(&volume(30)), &names).unwrap();
    let mut expected = median_filter_volume(scored.scores[0].raw.data(), [5, 5, 1]).unwrap();
    let mut inside = scored.foreground.data().clone();
    for mut slice in inside.axis_iter_mut(Axis(2)) {
        let smaller = erode(&slice.to_owned(), 1.0);
        slice.assign(&smaller);
    }
    let kept = expected.iter().zip(&inside).filter(|&(_, &inside)| inside);
    let lowest = kept.map(|(&v, _)| v).fold(f32::INFINITY, f32::min);
    expected.zip_mut_with(&inside, |value, &inside| *value = if inside { *value } else { lowest });
    assert_eq!(scored.scores[0].postprocessed.data(), &expected);
    // 5 mm of voxels of 8 mm are one voxel.
    let new = localizer().score(&scan(&volume(30)), &names).unwrap();
    assert_eq!(new.scores[0].postprocessed, new.scores[0].raw);
    // Saved again it is of version 2, and the same.
    let again = Saved::new(&old);
    assert_eq!(again.envelope["version"], 2);
    assert_eq!(again.envelope["document"]["postprocessing"]["unit"], "image-pixels");
    let again = again.load_with(&again.envelope).unwrap().score(&scan(&volume(30)), &names).unwrap();
    assert_eq!(again.scores[0].postprocessed, scored.scores[0].postprocessed);
    // What version 1 could not filter with is refused when it is read, and other versions are none.
    for median in [[1, 4, 5], [0, 1, 1], [1, 1, 257]] {
        let error = saved.load_with(&version_1(saved.envelope.clone(), median)).unwrap_err().to_string();
        assert!(error.contains("postprocessing.median"), "{error}");
    }
    for (version, advice) in
        [(0, "an earlier lesio wrote it: train it again"), (3, "a newer lesio wrote it: update lesio")]
    {
        let mut envelope = saved.envelope.clone();
        envelope["version"] = version.into();
        let error = saved.load_with(&envelope).unwrap_err();
        assert!(matches!(error, LoadError::Kind { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("expected a localizer of versions 1 to 2; ") && text.contains(advice),
            "{text}"
        );
    }
}

#[test]
fn filters_that_cannot_be_are_neither_saved_nor_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for erosion in [f64::NAN, -1.0, 1e9] {
        let made = localizer().with_postprocessing(PostProcessing::default().erosion(erosion));
        assert!(made.save(&path).unwrap_err().to_string().contains("postprocessing.erosion"));
        let scored = made.score(&scan(&volume(30)), &[PredictorName::PixelL1]);
        assert!(matches!(scored, Err(PredictError::Setting(_))));
    }
    assert!(!path.exists());
}

#[test]
fn a_chosen_predictor_is_kept_and_checked() {
    let choice = ChosenPredictor::new(PredictorName::GradKl, 0.1 + 0.2, 9);
    let made = calibrated().with_chosen(Some(choice.clone())).unwrap();
    let saved = Saved::new(&made);
    assert_eq!(saved.load_with(&saved.envelope).unwrap().chosen(), Some(&choice));
    for (field, value) in [
        ("average_precision", serde_json::json!(1.5)),
        ("average_precision", serde_json::json!(-0.1)),
        ("subjects", serde_json::json!(0)),
        ("predictor", serde_json::json!("nobody")),
    ] {
        let mut envelope = saved.envelope.clone();
        envelope["document"]["chosen"][field] = value;
        assert!(saved.load_with(&envelope).is_err(), "{field}");
    }
    assert!(
        made.clone().with_chosen(Some(ChosenPredictor::new(PredictorName::GradKl, f64::NAN, 9))).is_err()
    );
    // Of a denoiser there are no gradients to choose.
    let config = DenoiserConfig::new(1, GRID[0], GRID[1]).widths([4, 6]);
    let parameters = Denoiser::initial_parameters(&config, 2).unwrap();
    let model = Model::new(&ModelConfig::Denoiser { config }, &parameters, &Device::Cpu).unwrap();
    let denoiser = Localizer::new(model, localizer().preprocessing().clone(), Provenance::default()).unwrap();
    assert!(matches!(denoiser.with_chosen(Some(choice)), Err(PredictError::Unsupported { .. })));
    // It was chosen by other maps than these.
    assert_eq!(made.clone().with_settings(PredictorSettings::default()).chosen(), None);
    assert_eq!(made.clone().with_postprocessing(PostProcessing::none()).chosen(), None);
    assert!(made.clone().with_postprocessing(PostProcessing::default().smallest(9.0)).chosen().is_some());
    assert_eq!(made.with_position_normals(Default::default()).unwrap().chosen(), None);
}

#[test]
fn images_of_another_resolution_are_warned_of() {
    let made = calibrated();
    let mut range = ResolutionRange::new();
    range.add(Resolution::of_volume(&volume(20), Plane::Axial));
    let made = made.clone().with_calibration(made.calibration().clone().with_resolutions(range));
    let names = [PredictorName::PixelL1];
    let (scored, warnings) = warned(|| made.score(&scan(&volume(30)), &names).unwrap());
    assert!(scored.doubt.is_none() && warnings.is_empty(), "{warnings:?}");
    let [x, y, z] = volume(30).geometry().spacing();
    let fine = Geometry::from_spacing([x / 3.0, y, z]).unwrap();
    let fine = Volume::new(volume(30).into_data(), fine);
    let (scored, warnings) = warned(|| made.score(&scan(&fine), &names).unwrap());
    assert!(scored.doubt.is_some() && warnings.len() == 1, "{warnings:?}");
    assert!(warnings[0].contains("columns are 3.0 times finer"), "{warnings:?}");
    // A picture of a model that volumes calibrated.
    let picture = Image::from_plane(volume(30).plane(Plane::Axial, 3).unwrap().to_owned());
    let (scored, warnings) = warned(|| made.score(&picture.clone().into(), &names).unwrap());
    assert!(scored.doubt.is_some() && warnings.len() == 1, "{warnings:?}");
    // Kept in the file.
    let saved = Saved::new(&made);
    assert_eq!(saved.load_with(&saved.envelope).unwrap().calibration(), made.calibration());
}

/// What is done, and the warnings on the way.
fn warned<T>(act: impl FnOnce() -> T) -> (T, Vec<String>) {
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex};
    use tracing::span::{Attributes, Id, Record};

    #[derive(Default)]
    struct Listener(Arc<Mutex<Vec<String>>>);
    struct Text(String);
    impl tracing::field::Visit for Text {
        fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{value:?}").unwrap();
        }
    }
    impl tracing::Subscriber for Listener {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let listener = Listener::default();
    let warnings = listener.0.clone();
    let done = tracing::subscriber::with_default(listener, act);
    let said = warnings.lock().unwrap().clone();
    (done, said)
}

/// Whatever number stands in a file, it is refused by name, or the localizer scores a small volume and ends.
#[test]
fn no_number_of_a_file_does_harm() {
    let saved = Saved::new(&calibrated());
    let volume = volume(30);
    let names = [
        PredictorName::PixelL1,
        PredictorName::GradElbo,
        PredictorName::CombiSum,
        PredictorName::Projection,
        PredictorName::Restoration,
    ];
    let (mut refused, mut scored) = (0, 0);
    for mutation in mutations(&saved.envelope) {
        match saved.load_with(&mutation.document) {
            Err(error) => {
                assert!(error.to_string().contains("localizer.safetensors"), "{error}");
                refused += 1;
            }
            // Scores do not depend on the calibration.
            Ok(_) if mutation.place.contains("calibration") => {}
            Ok(localizer) => {
                // An error is allowed: a filter or a preprocessing may not go with the volume.
                scored += usize::from(localizer.score(&scan(&volume), &names).is_ok());
            }
        }
    }
    assert!(refused > 400 && scored > 40, "{refused} refused, {scored} scored");
}

/// What would run for ever or take all memory is refused when the file is read, and by the same words when it is used.
#[test]
fn numbers_without_an_end_are_refused_on_reading_and_on_use() {
    type Change = fn(&mut PredictorSettings);
    let changes: [(Change, &str); 6] = [
        (|own| own.projection.steps = 1_000_000_000_000_000_000, "projection.steps"),
        (|own| own.restoration.steps = usize::MAX, "restoration.steps"),
        (|own| own.gradient.copies = 1_000_000_000, "gradient.copies"),
        (|own| own.gradient.smoothing = 1e9, "gradient.smoothing"),
        (|own| own.projection.rate = f64::NAN, "projection.rate"),
        (|own| own.restoration.largest_change = -1.0, "restoration.largest_change"),
    ];
    let saved = Saved::new(&localizer());
    let names = [PredictorName::GradKl, PredictorName::Projection, PredictorName::Restoration];
    for (change, setting) in changes {
        let mut settings = settings();
        change(&mut settings);
        let made = localizer().with_settings(settings.clone());
        let error = made.score(&scan(&volume(30)), &names).map(|_| ()).unwrap_err();
        assert!(matches!(&error, PredictError::Setting(own) if own.setting == setting), "{error}");
        // It cannot be saved, so that no training ends in a file that cannot be read.
        let path = saved.folder.path().join("other.safetensors");
        let error = made.save(&path).unwrap_err().to_string();
        assert!(error.contains(setting) && !path.exists(), "{error}");
        let mut envelope = saved.envelope.clone();
        envelope["document"]["settings"] = serde_json::to_value(&settings).unwrap();
        assert!(saved.load_with(&envelope).is_err(), "{setting}");
    }
    // A grid of any size needs no parameters where all layers are convolutions.
    let config = config(1).latent(Latent::Spatial { channels: 2 });
    let parameters = initial_parameters(&config, 2).unwrap();
    let model = Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &Device::Cpu).unwrap();
    let fitted = Preprocessing::new(GRID).fit([] as [Scan; 0]).unwrap();
    let saved = Saved::new(&Localizer::new(model, fitted, Provenance::default()).unwrap());
    for (side, words) in [(65_536u64, "height is 65536"), (4096, "values per sample"), (1 << 62, "height is")]
    {
        let mut envelope = saved.envelope.clone();
        let document = &mut envelope["document"];
        for name in ["height", "width"] {
            document["model"]["vae"]["config"][name] = side.into();
        }
        document["preprocessing"]["config"]["frame"]["fit"]["size"] = serde_json::json!([side, side]);
        let widths = serde_json::json!([4, 6]);
        assert_eq!(document["model"]["vae"]["config"]["widths"], widths);
        if side == 4096 {
            // Small enough by each side: 2^24 pixels, of which the layers make too much.
            document["model"]["vae"]["config"]["widths"] = serde_json::json!([400, 6]);
        }
        let error = saved.load_with(&envelope).map(|_| ()).unwrap_err();
        let chain = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(chain.contains(words) || chain.contains("grid height"), "{chain}");
    }
}

#[test]
fn a_predictor_named_twice_is_refused() {
    let names = [PredictorName::PixelL1, PredictorName::GradKl, PredictorName::PixelL1];
    let repeated = |result: Result<(), PredictError>| {
        let error = result.unwrap_err();
        assert!(matches!(&error, PredictError::Repeated { predictor } if predictor == "pixel-l1"), "{error}");
    };
    repeated(localizer().score(&scan(&volume(30)), &names).map(|_| ()));
    let plain = Preprocessing::new(GRID).fit([scan(&volume(0))]).unwrap();
    let plain = Localizer::new(vae(1), plain, Provenance::default()).unwrap();
    let image = Image::from_plane(volume(0).data().index_axis(Axis(2), 3).to_owned());
    repeated(plain.score(&image.into(), &names).map(|_| ()));
    repeated(PositionBuilder::new(&names, GRID, 1).map(|_| ()));
}

#[test]
fn places_that_no_memory_holds_are_refused() {
    let refused = |grid, bands| match PositionBuilder::new(&PredictorName::ALL, grid, bands) {
        Err(PredictError::Setting(error)) => error.setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(GRID, 0), "bands");
    assert_eq!(refused(GRID, 99_999_999), "bands");
    assert_eq!(refused(GRID, usize::MAX), "bands");
    for grid in [[usize::MAX, usize::MAX], [4096, 4096]] {
        assert_eq!(refused(grid, 256), "bands x rows x columns x predictors");
    }
}

#[test]
fn documents_that_do_not_fit_are_refused_with_the_reason() {
    use std::error::Error as _;
    let said = |error: LoadError| {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    };
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 7] = [
        (|e| e["document"]["model"]["vae"]["config"]["height"] = 32.into(), "shape"),
        (|e| e["document"]["model"]["vae"]["config"]["widths"] = serde_json::json!([4]), "has shape"),
        (|e| e["document"]["model"]["vae"]["config"]["width"] = serde_json::json!(1u64 << 60), "1 to 4096"),
        (|e| e["document"]["model"]["vae"]["beta"] = (-1).into(), "beta"),
        (|e| e["document"]["preprocessing"]["config"]["slice_position"] = "channel".into(), "position"),
        (
            |e| e["document"]["calibration"]["predictors"]["grad-kl"]["quantiles"][3] = 1e30.into(),
            "quantiles",
        ),
        (|e| e["document"] = serde_json::json!({}), "missing field"),
    ];
    for (change, words) in changes {
        let message = said(with_document(change));
        assert!(message.contains(words), "{message}, expected {words:?}");
    }
}

#[test]
fn model_and_preprocessing_must_fit() {
    let fit = |preprocessing: Preprocessing| preprocessing.fit([scan(&volume(0))]).unwrap();
    let new = |model, preprocessing| Localizer::new(model, preprocessing, Provenance::default());
    let other = new(vae(1), fit(Preprocessing::heads([24, 16])));
    assert!(matches!(other, Err(PredictError::Config(text)) if text.contains("[24, 16]")));
    let position = fit(Preprocessing::heads(GRID).slice_position(SlicePosition::Channel));
    assert!(matches!(new(vae(2), position), Err(PredictError::Config(text)) if text.contains("position")));
    // A model of three channels scores images, not volumes.
    let color = new(vae(3), fit(Preprocessing::new(GRID))).unwrap();
    let volumes = color.score(&scan(&volume(0)), &[PredictorName::PixelL1]);
    assert!(matches!(volumes, Err(PredictError::Channels { found: 1, expected: 3 })));
    let gray = Image::from_plane(volume(0).data().index_axis(Axis(2), 3).to_owned());
    let images = color.score(&gray.into(), &[PredictorName::PixelL1]);
    assert!(matches!(images, Err(PredictError::Channels { found: 1, expected: 3 })));
    let rgb = Image::new(Array3::from_shape_fn((3, 20, 30), |(c, i, j)| ((c + i * j) % 9) as f32 / 9.0));
    let scored = color.score(&rgb.into(), &[PredictorName::PixelL1]).unwrap();
    assert_eq!(scored.scores[0].raw.shape(), [30, 20, 1]);
    assert_eq!(scored.reconstruction.into_image().data().dim(), (3, 20, 30));
}

#[test]
fn volumes_that_cannot_be_scored_say_why() {
    let localizer = localizer();
    let refused = |data: Array3<f32>| match localizer
        .score(&scan(&Volume::new(data, Geometry::default())), &[PredictorName::PixelL1])
    {
        Err(PredictError::Preprocess(PreprocessError::Image(error))) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(Array3::zeros((0, 5, 5))), ImageError::EmptyImage { .. }));
    assert!(matches!(refused(Array3::zeros((5, 5, 0))), ImageError::EmptyImage { .. }));
    assert!(matches!(refused(Array3::from_elem((9, 9, 9), 3.0)), ImageError::ConstantImage { .. }));
    for bad in [f32::NAN, f32::INFINITY] {
        let mut data = volume(0).into_data();
        data[[3, 4, 5]] = bad;
        assert!(matches!(refused(data), ImageError::NonFiniteVoxels { .. }));
    }
    // Without a look for contrast nothing is constant, and NaN is still refused.
    let plain = Preprocessing::new(GRID).fit([scan(&volume(0))]).unwrap();
    let plain = Localizer::new(vae(1), plain, Provenance::default()).unwrap();
    let mut data = Array3::from_elem((9, 9, 2), 0.5);
    assert!(
        plain
            .score(&scan(&Volume::new(data.clone(), Geometry::default())), &[PredictorName::PixelNll])
            .is_ok()
    );
    data[[1, 1, 1]] = f32::NAN;
    assert!(plain.score(&scan(&Volume::new(data, Geometry::default())), &[PredictorName::PixelNll]).is_err());
}

#[test]
fn one_slice_scores_as_a_volume_and_as_an_image() {
    let slab = volume(30).data().slice(s![.., .., 3..4]).to_owned();
    let plain = Preprocessing::new(GRID).fit([scan(&volume(0))]).unwrap();
    let localizer = Localizer::new(vae(1), plain, Provenance::default())
        .unwrap()
        .with_postprocessing(PostProcessing::default().median(1.0, 3.0, 7.0));
    let names = [PredictorName::PixelL1, PredictorName::GradElbo];
    // An image counts in pixels of the grid, of which its own are 1 / 1.75: the same windows, and no rounding.
    let volume = Volume::new(slab, Geometry::from_spacing([0.5625; 3]).unwrap());
    let scored = localizer.score(&scan(&volume), &names).unwrap();
    let image = Image::from_plane(volume.plane(lesio_image::Plane::Axial, 0).unwrap().to_owned());
    let flat = localizer.score(&image.into(), &names).unwrap();
    for (of_volume, of_image) in scored.scores.iter().zip(&flat.scores) {
        for (a, b) in [(&of_volume.raw, &of_image.raw), (&of_volume.postprocessed, &of_image.postprocessed)] {
            let [a, b] = [a, b].map(|map| map.upright_plane(Plane::Axial, 0).unwrap());
            assert_eq!(a, b);
        }
    }
}

/// Scores may be negative: what the model was not shown has the lowest, and not 0, which would stand out.
#[test]
fn what_was_not_seen_does_not_stand_out() {
    let mut data = Array3::zeros((60, 90, 3));
    for ((i, j, _), value) in data.indexed_iter_mut() {
        if (5..55).contains(&i) && (5..85).contains(&j) {
            *value = 1.0 + 0.3 * ((i * j % 7) as f32) / 7.0;
        }
    }
    let volume = Volume::new(data, Geometry::default());
    // The grid covers the middle of the object only.
    let mut alignment = Alignment::new(GRID);
    (alignment.trim, alignment.coverage) = (0.3, 1.0);
    let preprocessing = Preprocessing::heads(GRID).frame(Frame::Align(alignment));
    let fitted = preprocessing.fit([scan(&volume)]).unwrap();
    let config = config(1).likelihood(Likelihood::Gaussian { scale: 0.1 });
    let mut parameters = initial_parameters(&config, 2).unwrap();
    // A model that expects the object's value: its errors are small, and `-log p` is below 0.
    parameters.get_mut("decoder.out.bias").unwrap().values_mut().fill(0.5);
    let scale = |name: &str, parameters: &mut lesio_nn::ParameterSet| {
        parameters.get_mut(name).unwrap().values_mut().iter_mut().for_each(|v| *v *= 0.01);
    };
    scale("decoder.out.weight", &mut parameters);
    let model = Model::new(&ModelConfig::Vae { config, beta: 1.0 }, &parameters, &Device::Cpu).unwrap();
    let localizer = Localizer::new(model, fitted, Provenance::default()).unwrap();
    let scored = localizer.score(&scan(&volume), &[PredictorName::PixelNll]).unwrap();
    let raw = scored.scores[0].raw.data();
    let lowest = raw.iter().copied().fold(f32::INFINITY, f32::min);
    assert!(lowest < 0.0, "this test needs negative scores, the lowest is {lowest}");
    let corner = raw[[6, 6, 1]];
    assert!(scored.foreground.data()[[6, 6, 1]], "the corner is part of the object");
    assert_eq!(corner, lowest);
    assert!(raw.iter().all(|&value| value != 0.0));
}

#[test]
fn places_count_scores_from_what_is_usual_there() {
    let (plain, normalized) = (localizer(), calibrated());
    let names = [PredictorName::PixelL1, PredictorName::GradKl];
    let (before, after) = (
        plain.score(&scan(&volume(40)), &names).unwrap(),
        normalized.score(&scan(&volume(40)), &names).unwrap(),
    );
    // Raw maps stay, and so do maps of predictors without places.
    assert_eq!(before.scores[0].raw, after.scores[0].raw);
    assert_eq!(before.scores[1].postprocessed, after.scores[1].postprocessed);
    assert_ne!(before.scores[0].postprocessed, after.scores[0].postprocessed);
    let inside = |map: &Volume<f32>| -> Vec<f64> {
        let scores = map.data().iter().zip(after.foreground.data()).filter(|&(_, &inside)| inside);
        scores.map(|(&v, _)| f64::from(v)).collect()
    };
    // A normal subject's scores are about standard: mean 0, deviation 1.
    let scores = inside(&after.scores[0].postprocessed);
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let deviation = (scores.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / scores.len() as f64).sqrt();
    assert!(mean.abs() < 0.5 && (0.4..1.6).contains(&deviation), "{mean} {deviation}");

    let mut other = PositionBuilder::new(&names, [24, 16], 1).unwrap();
    assert!(matches!(
        plain.add_normal(&mut other, &scan(&volume(0)), |_| true),
        Err(PredictError::Config(_))
    ));
}

/// A calibration holds for the maps it was made of.
#[test]
fn changes_drop_what_was_calibrated_before_them() {
    let made = calibrated();
    assert!(!made.calibration().is_empty() && !made.position_normals().is_empty());
    let same = made.clone().with_settings(settings()).with_postprocessing(PostProcessing::default());
    assert_eq!(same.calibration(), made.calibration());
    let mut smallest = PostProcessing::default();
    smallest.smallest = 100.0;
    assert_eq!(made.clone().with_postprocessing(smallest).calibration(), made.calibration());
    let filtered = made.clone().with_postprocessing(PostProcessing::none());
    assert!(filtered.calibration().is_empty() && !filtered.position_normals().is_empty());
    let set = made.clone().with_settings(PredictorSettings::default());
    assert!(set.calibration().is_empty() && set.position_normals().is_empty());
    assert!(made.with_position_normals(Default::default()).unwrap().calibration().is_empty());
}

/// The mean of an image everywhere: a model of one's own, in plain slices.
struct Mean;

impl Reconstructor for Mean {
    fn image_shape(&self) -> Shape {
        Shape::new(1, GRID[0], GRID[1])
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        let means = images.images().map(|image| image.iter().sum::<f32>() / image.len() as f32);
        Ok(means.flat_map(|mean| vec![mean; images.shape().len()]).collect())
    }
}

/// Twice the value: a predictor of one's own.
struct Double;

impl Predictor for Double {
    fn name(&self) -> String {
        "double".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(images.values().iter().map(|value| 2.0 * value).collect())
    }
}

#[test]
fn models_and_predictors_of_ones_own_come_back_by_their_functions() {
    let saved = initial_parameters(&config(1), 1).unwrap();
    let model = OwnModel::reconstructor("mean", Arc::new(Mean)).unwrap();
    let model = model.parameters(saved.clone()).config(serde_json::json!({"why": "a test"}));
    let fitted = Preprocessing::heads(GRID).fit([scan(&volume(0)), scan(&volume(1))]).unwrap();
    let made = Localizer::new(model.into(), fitted, Provenance::new(1, "phantoms")).unwrap();
    let made = made.with_predictor(Arc::new(Double)).unwrap();
    let double = PredictorName::own("double").unwrap();
    let names = [PredictorName::Intensity, double, PredictorName::PixelL1];
    assert!(made.predictors().contains(&double) && !made.predictors().contains(&PredictorName::GradKl));
    let scored = made.score(&scan(&volume(30)), &names).unwrap();
    for (own, value) in scored.scores[1].raw.data().iter().zip(scored.scores[0].raw.data()) {
        assert!((own - 2.0 * value).abs() < 1e-5);
    }
    let mut normals = NormalScoresBuilder::new();
    normals.add(scored.scores[1].postprocessed.data().iter().copied());
    let mut calibration = Calibration::new();
    calibration.insert(double, normals.finish().unwrap());
    let made = made.with_calibration(calibration);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    made.save(&path).unwrap();
    let loading = || {
        let expected = saved.clone();
        Loading::new(&Device::Cpu).model("mean", move |parameters, config, _| {
            assert_eq!((parameters, config), (&expected, &serde_json::json!({"why": "a test"})));
            Ok(OwnModel::reconstructor("mean", Arc::new(Mean))?)
        })
    };
    let whole = loading().predictor("double", |_| Ok(Arc::new(Double))).unwrap();
    let back = Localizer::load_with(&path, &whole).unwrap();
    assert_eq!(back.calibration(), made.calibration());
    let again = back.score(&scan(&volume(30)), &names).unwrap();
    for (a, b) in again.scores.iter().zip(&scored.scores) {
        assert_eq!(a.postprocessed, b.postprocessed);
    }
    let same = folder.path().join("same.safetensors");
    back.save(&same).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&same).unwrap());
    // Without their functions it is an error that names them.
    let error = |loading: &Loading| Localizer::load_with(&path, loading).unwrap_err().to_string();
    let (model, predictor) = (error(&Loading::new(&Device::Cpu)), error(&loading()));
    assert!(model.contains("\"mean\" is not built in"), "{model}");
    assert!(predictor.contains("double"), "{predictor}");
    // Names of other tensors of the file are refused before it is written: it could not be loaded.
    for name in ["location.a", "member.1.a"] {
        let mut parameters = saved.clone();
        parameters.insert(name, saved.iter().next().unwrap().1.clone());
        let model = OwnModel::reconstructor("mean", Arc::new(Mean)).unwrap().parameters(parameters);
        let fitted = made.preprocessing().clone();
        let taken = Localizer::new(model.into(), fitted, Provenance::new(1, "phantoms")).unwrap();
        let error = taken.save(folder.path().join("taken.safetensors")).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let unknown = made.score(&scan(&volume(30)), &[PredictorName::own("other").unwrap()]);
    assert!(matches!(unknown, Err(PredictError::NotRegistered { predictor }) if predictor == "other"));
    let unfit = made.score(&scan(&volume(30)), &[PredictorName::GradKl]);
    assert!(matches!(unfit, Err(PredictError::Unsupported { model, .. }) if model.contains("mean")));
}

/// Every error states what is wrong, and none repeats its cause.
#[test]
fn errors_of_models_and_channels_state_the_cause_once() {
    use std::error::Error;

    /// Always fails.
    struct Failing;
    impl Reconstructor for Failing {
        fn image_shape(&self) -> Shape {
            Shape::new(1, GRID[0], GRID[1])
        }
        fn reconstruct(&self, _: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
            Err(ModelError::own("out of paint"))
        }
    }
    let chain = |error: PredictError| {
        let mut said = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            said.push(error.to_string());
            source = error.source();
        }
        said
    };
    let own = OwnModel::reconstructor("failing", Arc::new(Failing)).unwrap();
    let own = Localizer::new(own.into(), localizer().preprocessing().clone(), Provenance::default()).unwrap();
    let said = |localizer: &Localizer, name| chain(localizer.score(&scan(&volume(30)), &[name]).unwrap_err());
    assert_eq!(
        said(&own, PredictorName::PixelL1),
        ["the model gave no result", "the model could not be computed", "out of paint"]
    );
    for (localizer, name, words) in [
        (
            &localizer(),
            PredictorName::AnomalyLogit,
            "needs a model that segments anomalies, and the model is a var",
        ),
        (
            &own,
            PredictorName::GradKl,
            "needs a variational autoencoder, and the model is a model \"failing\"",
        ),
    ] {
        let said = said(localizer, name);
        assert!(said.len() == 1 && said[0].contains(words), "{said:?}");
    }

    let two = ["the names of the channels do not fit the model", "2 names given for 1 channel"];
    let error = own.clone().with_channel_names(["a", "b"]).unwrap_err();
    assert!(matches!(error, PredictError::ChannelNames(_)));
    assert_eq!(chain(error), two);
    let error = with_document(|e| e["document"]["channels"] = serde_json::json!(["a", "b"]));
    assert!(error.to_string().contains(&two.join(": ")), "{error}");
}

#[test]
fn scans_scored_together_are_scored_as_alone() {
    let made = calibrated();
    let names = [PredictorName::PixelL1, PredictorName::GradKl, PredictorName::Projection];
    let scans = [scan(&volume(30)), scan(&volume(31).reoriented(&"LPI".parse().unwrap())), scan(&volume(32))];
    let together = made.score_all(&scans, &names).unwrap();
    for (scan, scored) in scans.iter().zip(&together) {
        let alone = made.score(scan, &names).unwrap();
        assert_eq!(scored.reconstruction, alone.reconstruction);
        for (a, b) in scored.scores.iter().zip(&alone.scores) {
            assert_eq!((&a.raw, &a.postprocessed), (&b.raw, &b.postprocessed), "{}", a.predictor);
        }
    }
    assert!(made.score_all(&[], &names).unwrap().is_empty());
}

#[test]
fn channels_have_names_scales_and_maps_of_their_own() {
    let other = |subject| {
        let brains = BrainPhantom::new(BrainConfig::new([28, 36], Contrast::T1, 5).slices(7)).unwrap();
        brains.volume(subject).unwrap().image.map(|value| 500.0 * value)
    };
    let both = |subject| Scan::joined(vec![volume(subject), other(subject)]).unwrap();
    let named = |subject| both(subject).with_names(["flair", "t1"]).unwrap();
    let fitted = Preprocessing::heads(GRID).fit([named(0), named(1)]).unwrap();
    assert_eq!(fitted.histograms().len(), 2);
    let made = Localizer::new(vae(2), fitted, Provenance::default()).unwrap().with_settings(settings());
    let made = made.with_channel_names(["flair", "t1"]).unwrap();
    let scan = named(30);
    let names = made.predictors();
    let scored = made.score(&scan, &names).unwrap();
    // Each channel is in its own intensities.
    let highest = |view: ndarray::ArrayView3<'_, f32>| view.iter().copied().fold(0.0, f32::max);
    let expected = &scored.reconstruction;
    assert!(highest(expected.channel(1).unwrap()) > 100.0 * highest(expected.channel(0).unwrap()));
    let turned = scan.clone().with_channels(&["t1".to_owned(), "flair".to_owned()]).unwrap();
    let again = made.score(&turned, &names).unwrap();
    for (a, b) in again.scores.iter().zip(&scored.scores) {
        assert_eq!(a.postprocessed, b.postprocessed, "{}", a.predictor);
        let channels = made.channel_maps(&turned, a.predictor).unwrap().unwrap();
        assert_eq!(channels.len(), 2);
        let linear = !matches!(a.predictor, PredictorName::CombiProduct | PredictorName::CombiSum);
        let inside = scored.foreground.data().iter().enumerate().filter(|(_, inside)| **inside);
        for (place, _) in inside.filter(|_| linear) {
            let at = |map: &Volume<f32>| map.data().iter().nth(place).copied().unwrap();
            let (mean, own) = ((at(&channels[0]) + at(&channels[1])) / 2.0, at(&b.raw));
            assert!((mean - own).abs() <= 1e-4 * own.abs().max(1.0), "{}: {mean} {own}", a.predictor);
            if place > 2000 {
                break;
            }
        }
    }
    let wrong = both(30).with_names(["flair", "t2"]).unwrap();
    let error = made.score(&wrong, &names[..1]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("flair, t2") && source.contains("flair, t1"), "{source}");
    assert!(made.score(&both(30), &names[..1]).is_ok(), "channels without names are taken in their order");
    assert!(matches!(made.score(&self::scan(&volume(30)), &names), Err(PredictError::Channels { .. })));
    // The names are in the file.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.safetensors");
    made.save(&path).unwrap();
    assert_eq!(Localizer::load(&path, &Device::Cpu).unwrap().channel_names(), ["flair", "t1"]);
    assert!(
        made.clone().with_channel_names(["flair"]).is_err() && made.with_channel_names(["a", "a"]).is_err()
    );
    // A file of a single channel may have any name.
    let fitted = Preprocessing::heads(GRID).fit([self::scan(&volume(1))]).unwrap();
    let made = Localizer::new(vae(1), fitted, Provenance::default()).unwrap();
    let made = made.with_channel_names(["flair"]).unwrap();
    assert!(made.score(&self::scan(&volume(30)).with_names(["t1"]).unwrap(), &names[..1]).is_ok());
}

#[test]
fn images_of_another_extent_are_warned_of() {
    let made = calibrated();
    let whole = volume(30);
    let spacing = whole.geometry().spacing()[2];
    let slices = whole.shape()[2];
    let extending = |slices: f64| {
        made.clone().with_calibration(made.calibration().clone().with_extent(Some(slices * spacing)))
    };
    let names = [PredictorName::PixelL1];
    let doubt = |made: &Localizer, volume: &Volume| made.score(&scan(volume), &names).unwrap().doubt;
    let covered = slices as f64;
    assert_eq!(doubt(&extending(covered), &whole), None);
    assert_eq!(doubt(&extending(covered / 1.3), &whole), None);
    // The normal slices of the subjects were the lesser part of them, or an image shows a part of the head.
    for calibrated in [covered / 1.5, covered * 1.5] {
        let (scored, warnings) = warned(|| extending(calibrated).score(&scan(&whole), &names).unwrap());
        assert!(matches!(scored.doubt, Some(CalibrationDoubt::Extent { .. })), "{:?}", scored.doubt);
        assert!(warnings.len() == 1 && warnings[0].contains("slices with foreground cover"), "{warnings:?}");
        let judged = extending(calibrated).judge(&scored, PredictorName::PixelL1, 0.25).unwrap();
        assert!(matches!(judged, Judgment::Incomparable(Incomparable::Calibration(_))), "{judged:?}");
    }
    // A strip of a head has fewer rows or columns.
    let maps = made.maps(&scan(&whole), &names).unwrap();
    let [rows, columns] = maps.footprint().unwrap();
    let covering = |footprint: [f64; 2]| {
        made.clone().with_calibration(made.calibration().clone().with_footprint(Some(footprint)))
    };
    assert_eq!(doubt(&covering([rows * 1.3, columns / 1.3]), &whole), None);
    for (axis, calibrated, found) in
        [("rows", [rows * 1.5, columns], rows), ("columns", [rows, columns / 1.5], columns)]
    {
        let expected = if axis == "rows" { calibrated[0] } else { calibrated[1] };
        let expected = CalibrationDoubt::Extent { axis, found, calibrated: expected };
        assert_eq!(doubt(&covering(calibrated), &whole), Some(expected));
        assert!(expected.to_string().contains(&format!("its {axis} with foreground")), "{expected}");
    }
    let saved = Saved::new(&covering([30.0, 40.0]));
    assert_eq!(saved.load_with(&saved.envelope).unwrap().calibration().footprint(), Some([30.0, 40.0]));
    assert_eq!(made.calibration().clone().with_footprint(Some([f64::NAN, 1.0])).footprint(), None);
    // Kept in the file; a length that cannot be is unknown.
    let saved = Saved::new(&extending(4.0));
    let loaded = saved.load_with(&saved.envelope).unwrap();
    assert_eq!(loaded.calibration().extent(), Some(4.0 * spacing));
    assert_eq!(made.calibration().clone().with_extent(Some(f64::NAN)).extent(), None);
}

#[test]
fn what_was_not_scored_is_not_judged() {
    let made = calibrated();
    let names = [PredictorName::PixelL1];
    let all = PostProcessing::default().erosion(1000.0);
    let made = made.clone().with_postprocessing(all).with_calibration(made.calibration().clone());
    let (scored, warnings) = warned(|| made.score(&scan(&volume(30)), &names).unwrap());
    assert!(warnings.len() == 1 && warnings[0].contains("nothing of an image was scored"), "{warnings:?}");
    assert!(!scored.foreground.data().iter().any(|&inside| inside));
    let judged = made.judge(&scored, PredictorName::PixelL1, 0.25).unwrap();
    assert_eq!(judged, Judgment::Incomparable(Incomparable::NoScore));
    // An erosion that leaves some of it does not empty the foreground.
    let made = made.with_postprocessing(PostProcessing::default().erosion(4.0));
    let (scored, warnings) = warned(|| made.score(&scan(&volume(30)), &names).unwrap());
    assert!(warnings.is_empty() && scored.foreground.data().iter().any(|&inside| inside), "{warnings:?}");
}

#[test]
fn a_map_is_judged_by_its_highest_score() {
    let made = calibrated();
    let scored = made.score(&scan(&volume(30)), &[PredictorName::PixelL1, PredictorName::PixelL2]).unwrap();
    let with_scores_of = |value: f32| {
        let mut scored = scored.clone();
        let map = &mut scored.scores[0].postprocessed;
        *map = map.map(|_| value);
        scored
    };
    let judge = |scored: &ScoredScan, level| made.judge(scored, PredictorName::PixelL1, level).unwrap();
    // Three normal subjects: p-values of 1, 3/4, 1/2 and 1/4.
    assert_eq!(judge(&with_scores_of(-1e6), 0.25), Judgment::Normal { p_value: 1.0 });
    let high = with_scores_of(1e6);
    assert_eq!(judge(&high, 0.25), Judgment::Abnormal { p_value: 0.25 });
    assert_eq!(judge(&high, 0.05), Judgment::Undecided { p_value: 0.25 });
    // What cannot be compared with the calibration is not called normal.
    let none = Judgment::Incomparable(Incomparable::NoScore);
    assert_eq!(judge(&with_scores_of(f32::NAN), 0.25), none);
    let mut empty = high.clone();
    empty.foreground = empty.foreground.map(|_| false);
    assert_eq!(judge(&empty, 0.25), none);
    empty.foreground = Volume::new(Array3::from_elem((1, 1, 1), true), *empty.foreground.geometry());
    assert!(matches!(made.judge(&empty, PredictorName::PixelL1, 0.25), Err(PredictError::Image(_))));
    let mut coarse = high.clone();
    coarse.doubt = Some(CalibrationDoubt::Kind);
    let doubtful = Judgment::Incomparable(Incomparable::Calibration(CalibrationDoubt::Kind));
    assert_eq!(judge(&coarse, 0.25), doubtful);
    let refused = made.judge(&scored, PredictorName::PixelL2, 0.1);
    assert!(matches!(refused, Err(PredictError::NotCalibrated { .. })));
    let mut other = scored.clone();
    other.scores.remove(0);
    let refused = made.judge(&other, PredictorName::PixelL1, 0.1);
    assert!(matches!(refused, Err(PredictError::NotScored { .. })));
    assert!(made.judge(&scored, PredictorName::PixelL1, f64::NAN).is_err());
}
