//! From phantoms to a graded volume, by the steps that the programs take.

// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::ops::ControlFlow;
use std::path::Path;

use lesio_image::{Geometry, Image, ImageError, Scan, Volume};
use lesio_nn::{Device, Event, ParameterSet};
use lesio_phantom::{CardiacPhase, HeartConfig, HeartPhantom};
use lesio_quality::{
    Assessment, Attack, AttackKind, AttackUnit, EstimateError, Estimator, EstimatorConfig, Framing,
    InputError, Method, PatientGroups, PipelineConfig, PipelineError, PipelineProgress, QualityModel,
    QualityPipeline, Sample, Samples, SliceVerdict, StepCache, TrueSlice, Widths,
};
use lesio_settings::mutation::{mutations, refusals, with_unknown_fields};
use ndarray::{Array3, Axis};

const CLASSES: [u8; 3] = [1, 2, 3];

fn slices(patients: std::ops::Range<u64>) -> Vec<TrueSlice> {
    let hearts = HeartPhantom::new(HeartConfig::new([48, 48], 3)).unwrap();
    patients
        .flat_map(|patient| {
            [0.2, 0.6].map(|level| {
                let slice = hearts.slice_at(patient, CardiacPhase::EndDiastole, level);
                TrueSlice::alone(
                    &format!("patient{patient:03}"),
                    slice.image.insert_axis(Axis(0)),
                    slice.labels,
                )
                .unwrap()
            })
        })
        .collect()
}

fn recipe() -> PipelineConfig {
    let mut recipe = PipelineConfig::new(4);
    recipe.segmenters = vec![vec![8, 8]];
    recipe.stages = vec![1, 6];
    recipe.corruptions = 6;
    recipe.training_per_bin = 4;
    recipe.validation_per_bin = 2;
    recipe.reconstruction_steps = 3;
    recipe.estimator_steps = 12;
    recipe.opinion_steps = 24;
    recipe.finishing_steps = 8;
    recipe.batch = 8;
    recipe
}

fn config(method: Method) -> EstimatorConfig {
    let mut framing = Framing::new([2]).grid([32, 32]);
    (framing.pixel, framing.finest) = (1.25, 1.25);
    EstimatorConfig::new(method, framing).classes(CLASSES).widths(Widths::uniform([8, 8]))
}

struct Made {
    training: Samples,
    parameters: Vec<u8>,
    model: QualityModel,
}

fn make(
    recipe: &PipelineConfig,
    method: Method,
    cache: &StepCache,
    stop_after: Option<usize>,
) -> Result<Made, PipelineError> {
    make_on(&Device::Cpu, recipe, method, cache, stop_after)
}

fn make_on(
    device: &Device,
    recipe: &PipelineConfig,
    method: Method,
    cache: &StepCache,
    stop_after: Option<usize>,
) -> Result<Made, PipelineError> {
    let mut events = 0;
    let mut observer = |_: &PipelineProgress<'_>| {
        events += 1;
        if stop_after.is_some_and(|last| events > last) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let (train, held_out) = (slices(0..6), slices(6..9));
    let (recipe, config, cache) = (recipe.clone(), config(method), cache.clone());
    let pipeline = QualityPipeline::prepare(recipe, config, &train, &held_out, cache, device, &mut observer)?;
    let model = pipeline.model(method, &mut observer)?;
    let parameters = model.estimator().parameters();
    let parameters = parameters.iter().flat_map(|(_, p)| p.values()).flat_map(|v| v.to_le_bytes()).collect();
    Ok(Made { training: pipeline.training().clone(), parameters, model })
}

fn volume() -> (Volume<f32>, Volume<u8>) {
    volume_of(20)
}

/// Grades a segmentation of an image of one channel.
fn assess(
    model: &QualityModel,
    image: &Volume<f32>,
    labels: &Volume<u8>,
) -> Result<Assessment, EstimateError> {
    model.assess(&image.clone().into(), labels)
}

fn volume_of(subject: u64) -> (Volume<f32>, Volume<u8>) {
    let mut config = HeartConfig::new([48, 48], 3);
    config.slices = 4;
    let heart = HeartPhantom::new(config).unwrap().volume(subject, CardiacPhase::EndDiastole).unwrap();
    (heart.image, heart.labels)
}

#[test]
fn patients_never_mix_and_dice_is_spread() {
    let recipe = recipe();
    let (train, held_out) = (slices(0..6), slices(6..9));
    let config = config(Method::Direct);
    let cache = StepCache::none();
    let mut observer = |_: &PipelineProgress<'_>| ControlFlow::Continue(());
    let segmenters = recipe.segmenters(&config, &train, &cache, &Device::Cpu, &mut observer).unwrap();
    let candidates = recipe.candidates(&segmenters, &train, &mut observer).unwrap();
    let samples = recipe.samples(&config.framing, &CLASSES, &train, &candidates, 3).unwrap();
    let names = |slices: &[TrueSlice]| -> std::collections::BTreeSet<String> {
        slices.iter().map(|slice| slice.patient.clone()).collect()
    };
    assert!(samples.iter().all(|sample| names(&train).contains(&sample.patient)));
    assert!(samples.iter().all(|sample| !names(&held_out).contains(&sample.patient)));
    let count = |range: std::ops::Range<f64>| samples.iter().filter(|s| range.contains(&s.dice[0])).count();
    for low in [0.0, 0.25, 0.5, 0.75] {
        assert!(count(low..low + 0.25) >= 5, "{low}: {}", count(low..low + 0.25));
    }
    // A candidate's Dice is that of its labels, not of what it was aimed at.
    for candidate in &candidates {
        let labels = candidate.labels();
        let truth = &train[candidate.slice].truth;
        let both = labels.iter().zip(truth).filter(|(a, b)| **a == 2 && **b == 2).count() as f64;
        let sum = labels.iter().chain(truth).filter(|label| **label == 2).count() as f64;
        assert!((candidate.quality.dice[0] - 2.0 * both / sum).abs() < 1e-12);
    }
    // Of more slices than are asked for, some are left out.
    let mut thinned = recipe.clone();
    thinned.slices = 4;
    let candidates = thinned.candidates(&segmenters, &train, &mut observer).unwrap();
    let used: std::collections::BTreeSet<usize> = candidates.iter().map(|c| c.slice).collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), [0, 3, 6, 9]);
    // Segmenters of one half are asked about the other's patients alone.
    let halves = PatientGroups::deal(train.iter().map(|slice| &slice.patient), &[1.0, 1.0], recipe.seed);
    assert_eq!(halves.patients(0).count(), 3);
    assert!(halves.patients(0).all(|name| halves.group(name) == Some(0)));
}

#[test]
fn the_same_seed_gives_the_same_bytes_stopped_or_not() {
    let recipe = recipe();
    for method in [Method::RecReg, Method::SecondOpinion] {
        let straight = make(&recipe, method, &StepCache::none(), None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = StepCache::new(folder.path());
        let mut attempts = 0;
        // Stopped again and again, at other places each time.
        let resumed = loop {
            attempts += 1;
            match make(&recipe, method, &cache, Some(15 + 9 * attempts)) {
                Ok(made) => break made,
                Err(PipelineError::Stopped) => assert!(attempts < 100, "never comes to an end"),
                Err(error) => panic!("{error}"),
            }
        };
        assert!(attempts > 2, "was stopped {attempts} times");
        assert_eq!(straight.training.checksum(), resumed.training.checksum());
        assert_eq!(straight.parameters, resumed.parameters, "{}", method.name());
        // Another seed gives other parameters, also from the same cache.
        let mut other = recipe.clone();
        other.seed = 5;
        assert_ne!(make(&other, method, &cache, None).unwrap().parameters, straight.parameters);
    }
}

#[test]
fn last_updates_are_those_of_the_training_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let cache = StepCache::new(folder.path());
    let method = Method::SecondOpinion;
    let short = make(&recipe(), method, &cache, None).unwrap();
    let mut longer = recipe();
    longer.opinion_steps = 60;
    let fresh = make(&longer, method, &StepCache::none(), None).unwrap();
    // A cache that holds the last updates of another training does not take them for these.
    assert_eq!(make(&longer, method, &cache, None).unwrap().parameters, fresh.parameters);
    assert_ne!(fresh.parameters, short.parameters);
    let mut without = recipe();
    without.finishing_steps = 0;
    assert_ne!(make(&without, method, &cache, None).unwrap().parameters, short.parameters);
    // What is wrong with them is told before anything long begins.
    let mut wrong = recipe();
    wrong.opinion_steps = 1_000_000;
    wrong.finishing.steps = 0;
    let error = make(&wrong, method, &cache, None).err().expect("no steps are no attack");
    assert!(error.to_string().contains("finishing.steps is 0"), "{error}");
}

#[test]
fn an_estimator_is_trained_anew_upon_another_pretrained_network() {
    let mut reconstructed = recipe();
    reconstructed.reconstruction_steps = 30;
    let mut shaped = recipe();
    shaped.estimator_steps = 48;
    for (method, longer) in [(Method::RecReg, reconstructed), (Method::SecondOpinion, shaped)] {
        let folder = tempfile::tempdir().unwrap();
        let cache = StepCache::new(folder.path());
        make(&recipe(), method, &cache, None).unwrap();
        let fresh = make(&longer, method, &StepCache::none(), None).unwrap();
        let cached = make(&longer, method, &cache, None).unwrap();
        // Of what is pretrained, and of what was trained upon it.
        assert!(cached.parameters == fresh.parameters, "{}", method.name());
    }
}

/// Trains REC-Net, and stops after so many updates; returns how many were made.
fn reconstruct(
    recipe: &PipelineConfig,
    cache: &StepCache,
    stop_after: usize,
) -> (usize, Result<ParameterSet, PipelineError>) {
    let mut updates = 0;
    let mut observer = |progress: &PipelineProgress<'_>| {
        updates += usize::from(matches!(progress, PipelineProgress::Training(Event::Step { .. })));
        if updates >= stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (config, slices) = (config(Method::RecReg), slices(0..6));
    let trained = recipe.reconstruction(&config, &slices, cache, &Device::Cpu, &mut observer);
    (updates, trained)
}

#[test]
fn the_checkpoint_before_the_last_is_taken_up() {
    let mut recipe = recipe();
    recipe.reconstruction_steps = 8;
    let (all, straight) = reconstruct(&recipe, &StepCache::none(), usize::MAX);
    let folder = tempfile::tempdir().unwrap();
    let cache = StepCache::new(folder.path());
    let (_, stopped) = reconstruct(&recipe, &cache, 5);
    assert!(matches!(stopped, Err(PipelineError::Stopped)));
    let newest = folder.path().join("reconstruction-checkpoint.safetensors");
    let previous = folder.path().join("reconstruction-checkpoint.safetensors.previous");
    let earlier = std::fs::read(&previous).unwrap();
    std::fs::remove_file(&newest).unwrap();
    let (updates, resumed) = reconstruct(&recipe, &cache, usize::MAX);
    assert!(resumed.unwrap() == straight.unwrap());
    assert!(updates < all && updates > all - 5, "{updates} of {all}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a checkpoint is left");
    // One that is of another training does not stand in the way.
    std::fs::write(&previous, earlier).unwrap();
    recipe.seed = 5;
    let (updates, other) = reconstruct(&recipe, &cache, usize::MAX);
    assert!(other.is_ok() && updates == all, "{updates} of {all}: {:?}", other.err());
}

#[test]
fn parameters_of_a_stage_are_those_of_its_epoch() {
    let (slices, config) = (slices(0..6), config(Method::Direct));
    let train = |stages: &[usize], folder: &Path, stop_after: Option<usize>| {
        let mut recipe = recipe();
        recipe.stages = stages.to_vec();
        let mut observer = |progress: &PipelineProgress<'_>| match progress {
            PipelineProgress::Training(Event::Epoch { record, .. })
                if stop_after == Some(record.epoch + 1) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        let cache = StepCache::new(folder);
        recipe.segmenters(&config, &slices, &cache, &Device::Cpu, &mut observer)
    };
    let (straight, continued) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&[2, 4], straight.path(), None).unwrap();
    // Stopped beyond the first stage of the other list.
    let stopped = train(&[1, 3, 4], continued.path(), Some(3));
    assert!(matches!(stopped, Err(PipelineError::Stopped)));
    train(&[2, 4], continued.path(), None).unwrap();
    for name in ["segmenter-0-0-2", "segmenter-0-0-4", "segmenter-1-0-2", "segmenter-1-0-4"] {
        let read = |folder: &Path| std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
        assert!(read(straight.path()) == read(continued.path()), "{name}");
    }
}

#[test]
fn a_model_grades_a_volume_and_comes_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (image, labels) = volume();
    for method in [Method::RecReg, Method::SecondOpinion] {
        let made = make(&recipe(), method, &StepCache::none(), None).unwrap();
        let mut segmentation = labels.clone();
        segmentation.data_mut().index_axis_mut(Axis(2), 3).fill(0);
        let assessment = assess(&made.model, &image, &segmentation).unwrap();
        assert_eq!(assessment.slices.len(), 4);
        assert_eq!(assessment.slices[3].verdict, SliceVerdict::Empty);
        let grades = assessment.volume.clone().unwrap();
        assert_eq!(grades[0].label, 2);
        let [low, high] = grades[0].interval;
        assert!((0.0..=1.0).contains(&low) && low <= grades[0].dice && grades[0].dice <= high && high <= 1.0);
        assert!(
            grades[0].distance_millimeters.unwrap() > grades[0].distance_pixels.unwrap(),
            "pixels are wider than a millimeter"
        );
        // Distances come from networks in pixels of the grid; a grade's are of the image.
        let (first, wrong) =
            (image.data().index_axis(Axis(2), 0).insert_axis(Axis(0)), labels.data().index_axis(Axis(2), 0));
        let framing = made.model.config().framing.clone();
        let sample = Sample::new(&framing, &CLASSES, "p", &first, &wrong, &wrong).unwrap().unwrap();
        let SliceVerdict::Graded { labels: own, .. } = &assessment.slices[0].verdict else {
            panic!("not graded")
        };
        let grid = made.model.estimator().estimate(&sample.image, &sample.segmentation).unwrap().distance[0];
        assert!(sample.pixel > 1.0);
        assert!((own[0].distance_pixels.unwrap() - f64::from(grid) * sample.pixel).abs() < 1e-6);
        // Where nothing was graded the image is as it was.
        assert_eq!(assessment.reconstruction.geometry(), image.geometry());
        let last = |volume: &Volume<f32>| volume.data().index_axis(Axis(2), 3).to_owned();
        let [reconstruction, difference] =
            [&assessment.reconstruction, &assessment.difference].map(|scan| scan.volume(0).unwrap());
        assert_eq!(last(&reconstruction), last(&image));
        assert!(last(&difference).iter().all(|&value| value == 0.0));
        assert_eq!(assessment.error.is_some(), method == Method::SecondOpinion);
        if let Some(error) = &assessment.error {
            assert!(error.data().iter().all(|value| (0.0..=1.0).contains(value)));
        }

        let path = folder.path().join(format!("{}.safetensors", method.name()));
        made.model.save(&path).unwrap();
        let loaded = QualityModel::load(&path, &Device::Cpu).unwrap();
        assert_eq!(assess(&loaded, &image, &segmentation).unwrap().slices, assessment.slices);
        assert_eq!(loaded.provenance(), made.model.provenance());
        let first = std::fs::read(&path).unwrap();
        loaded.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "the same model gives the same bytes");
        // Another kind of file is told by its name.
        let error = Estimator::load(&path, &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("a quality model"), "{error}");
    }
}

/// Each pixel of a slice four times, at half the distance: the same picture.
fn finer<T: Clone>(volume: &Volume<T>) -> Volume<T> {
    let [rows, columns, slices] = volume.shape();
    let spacing = volume.geometry().spacing();
    let geometry = Geometry::from_spacing([spacing[0] / 2.0, spacing[1] / 2.0, spacing[2]]).unwrap();
    let data = Array3::from_shape_fn((2 * rows, 2 * columns, slices), |(i, j, k)| {
        volume.data()[[i / 2, j / 2, k]].clone()
    });
    Volume::new(data, geometry)
}

/// A volume in the middle of slices three times as wide and high.
fn padded<T: Clone + Default>(volume: &Volume<T>) -> Volume<T> {
    let [rows, columns, slices] = volume.shape();
    let data = Array3::from_shape_fn((3 * rows, 3 * columns, slices), |(i, j, k)| {
        let inside = (rows..2 * rows).contains(&i) && (columns..2 * columns).contains(&j);
        if inside { volume.data()[[i - rows, j - columns, k]].clone() } else { T::default() }
    });
    Volume::new(data, *volume.geometry())
}

#[test]
fn the_order_of_voxels_does_not_change_grades() {
    let model = make(&recipe(), Method::SecondOpinion, &StepCache::none(), None).unwrap().model;
    let (image, labels) = volume();
    let own = image.geometry().orientation();
    // One slice without a segmentation tells their order.
    let mut labels = labels;
    labels.data_mut().index_axis_mut(Axis(2), 3).fill(0);
    let model = model.with_orientation(Some(own));
    let expected = assess(&model, &image, &labels).unwrap();
    assert_eq!(expected.slice_axis, 2);
    let verdicts = |slices: &[lesio_quality::SliceAssessment]| -> Vec<SliceVerdict> {
        slices.iter().map(|slice| slice.verdict.clone()).collect()
    };
    for (orientation, slice_axis, is_reversed) in
        [("LAS", 2, false), ("ASR", 1, false), ("IRP", 0, true), ("PLI", 2, true)]
    {
        let orientation = orientation.parse().unwrap();
        let turned = image.reoriented(&orientation);
        // The segmentation may have yet another order.
        for labels in [labels.clone(), labels.reoriented(&orientation)] {
            let found = assess(&model, &turned, &labels).unwrap();
            assert_eq!((found.slice_axis, &found.volume), (slice_axis, &expected.volume), "{orientation}");
            let mut own = verdicts(&expected.slices);
            if is_reversed {
                own.reverse();
            }
            assert_eq!(verdicts(&found.slices), own, "{orientation}");
            assert!(found.slices.iter().enumerate().all(|(index, slice)| slice.index == index));
            assert_eq!(found.reconstruction.geometry(), turned.geometry());
            assert_eq!(found.reconstruction.data(), expected.reconstruction.reoriented(&orientation).data());
            assert_eq!(found.difference.data(), expected.difference.reoriented(&orientation).data());
            let errors = found.error.unwrap();
            assert_eq!(errors.data(), expected.error.as_ref().unwrap().reoriented(&orientation).data());
        }
    }
    // Kept in the file.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    assert_eq!(QualityModel::load(&path, &Device::Cpu).unwrap().orientation(), Some(own));
}

#[test]
fn neither_finer_pixels_nor_stray_ones_change_what_is_graded() {
    let model = make(&recipe(), Method::SecondOpinion, &StepCache::none(), None).unwrap().model;
    assert_eq!(model.pixel_millimeters(), None, "slices by themselves have no geometry");
    let (image, labels) = volume();
    let dice = |model: &QualityModel, image: &Volume<f32>, labels: &Volume<u8>| {
        assess(model, image, labels).unwrap().volume.unwrap()[0].dice
    };
    let spacing = image.geometry().spacing()[0];
    let without = dice(&model, &finer(&image), &finer(&labels));
    let model = model.with_pixel_millimeters(Some([spacing; 2])).unwrap();
    let expected = dice(&model, &image, &labels);
    let found = dice(&model, &finer(&image), &finer(&labels));
    // A model of before does not know the size of its pixels, and takes finer ones for a larger organ. With it, what is
    // left are frames that begin half a pixel apart.
    assert!((found - expected).abs() < 0.05, "{found} {expected}");
    assert!((found - expected).abs() < 0.5 * (without - expected).abs(), "{found} {expected} {without}");
    let (image, labels) = (&padded(&image), &padded(&labels));
    let expected = dice(&model, image, labels);
    let mut stray = labels.clone();
    stray.data_mut()[[0, 0, 1]] = 2;
    assert!((dice(&model, image, &stray) - expected).abs() < 0.01);
    let slices = assess(&model, image, &stray).unwrap().slices;
    let out = |slice: usize| match slices[slice].verdict {
        SliceVerdict::Graded { out_of_reach, .. } => out_of_reach,
        _ => panic!("not graded"),
    };
    assert!(out(0) == 0.0 && out(1) > 0.0 && out(1) < 0.05, "{} {}", out(0), out(1));
    assert!(model.with_pixel_millimeters(Some([2.0, 1.0])).is_err());
}

#[test]
fn answers_are_the_same_from_any_thread() {
    for method in [Method::RecReg, Method::SecondOpinion] {
        let Made { model, training, .. } = make(&recipe(), method, &StepCache::none(), None).unwrap();
        // Of several numbers of samples, each of which needs buffers of another size.
        let sets: Vec<Samples> =
            [3, 17, 9].iter().map(|&count| training.select(&(0..count).collect::<Vec<_>>())).collect();
        let volumes: Vec<_> = (20..23).map(volume_of).collect();
        let attack = Attack::new(AttackKind::Pgd { steps: 2 }, 0.1, AttackUnit::Std);
        let answer = |k: usize| {
            let said = assess(&model, &volumes[k].0, &volumes[k].1).unwrap();
            let error = said.error.map(|error| error.data().clone());
            let images = attack.perturb(model.estimator(), &sets[k], |_| {}).unwrap();
            let estimates = model.estimator().estimate_samples(&sets[k], Some(&images)).unwrap();
            (said.slices, said.volume, said.reconstruction.data().clone(), error, images, estimates)
        };
        let alone: Vec<_> = (0..3).map(answer).collect();
        assert!(alone[0] != alone[1] && alone[1] != alone[2], "the questions differ");
        std::thread::scope(|scope| {
            for first in 0..4 {
                let (alone, answer) = (&alone, &answer);
                scope.spawn(move || {
                    for k in (first..first + 6).map(|turn| turn % 3) {
                        assert!(answer(k) == alone[k], "{}, question {k}", method.name());
                    }
                });
            }
        });
    }
}

#[cfg(feature = "candle")]
#[test]
fn a_model_means_the_same_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("quality.safetensors"), folder.path().join("again.safetensors"));
    let (image, labels) = volume();
    let attack = Attack::new(AttackKind::Fgsm, 0.1, AttackUnit::Std);
    let candle: Device = "candle-cpu".parse().unwrap();
    let mut recipe = recipe();
    (recipe.stages, recipe.opinion_steps, recipe.finishing_steps) = (vec![1], 8, 4);
    (recipe.training_per_bin, recipe.validation_per_bin) = (1, 1);
    for (method, maker) in [(Method::RecReg, &Device::Cpu), (Method::SecondOpinion, &candle)] {
        let Made { model, training, .. } = make_on(maker, &recipe, method, &StepCache::none(), None).unwrap();
        model.save(&path).unwrap();
        let [cpu, other] = [&Device::Cpu, &candle].map(|device| {
            let model = QualityModel::load(&path, device).unwrap();
            model.save(&again).unwrap();
            assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap(), "files know no device");
            let said = assess(&model, &image, &labels).unwrap();
            let of =
                |grade: &lesio_quality::Grade| [grade.dice as f32, grade.distance_pixels.unwrap() as f32];
            let grades: Vec<f32> = said.volume.iter().flatten().flat_map(of).collect();
            let mut maps: Vec<f32> = said.reconstruction.data().iter().copied().collect();
            maps.extend(said.error.iter().flat_map(|error| error.data()));
            let images = attack.perturb(model.estimator(), &training, |_| {}).unwrap();
            let attacked = model.estimator().estimate_samples(&training, Some(&images)).unwrap();
            (grades, maps, attacked.dice, images)
        });
        // Nothing but rounding, of single precision through a few layers. The attack goes by the sign of a gradient, which
        // rounding turns where it is 0 but for that.
        for (what, a, b) in
            [("grades", &cpu.0, &other.0), ("maps", &cpu.1, &other.1), ("attacked", &cpu.2, &other.2)]
        {
            let difference = apart(a, b);
            assert!(difference < 2e-5, "{}, {what}: {difference}", method.name());
        }
        let turned = cpu.3.iter().zip(&other.3).filter(|(a, b)| a != b).count();
        assert!(turned * 1000 <= cpu.3.len(), "{}: {turned} of {}", method.name(), cpu.3.len());
    }
}

/// The largest difference.
#[cfg(feature = "candle")]
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert!(a.len() == b.len() && !a.is_empty(), "{} and {}", a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Whatever number stands in a file, it is refused by name, or the model grades a volume and ends.
#[test]
fn no_number_of_a_file_does_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quality.safetensors");
    let (image, labels) = volume();
    for method in [Method::SecondOpinion, Method::RecReg] {
        make(&recipe(), method, &StepCache::none(), None).unwrap().model.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let envelope: serde_json::Value =
            serde_json::from_str(header["__metadata__"]["lesio"].as_str().unwrap()).unwrap();
        let load = |envelope: &serde_json::Value| {
            let mut header = header.clone();
            header["__metadata__"]["lesio"] = serde_json::Value::String(envelope.to_string());
            let mut text = serde_json::to_vec(&header).unwrap();
            text.resize(text.len().next_multiple_of(8), b' ');
            let mut file = (text.len() as u64).to_le_bytes().to_vec();
            file.extend(text);
            file.extend(&bytes[8 + length..]);
            std::fs::write(&path, file).unwrap();
            QualityModel::load(&path, &Device::Cpu)
        };
        for change in with_unknown_fields(&envelope["document"]) {
            let mut envelope = envelope.clone();
            envelope["document"] = change.document;
            assert!(load(&envelope).is_err(), "a setting of a later version in {} was ignored", change.place);
        }
        let (mut refused, mut graded) = (0, 0);
        for mutation in mutations(&envelope) {
            match load(&mutation.document) {
                Err(error) => {
                    assert!(error.to_string().contains("quality.safetensors"), "{error}");
                    refused += 1;
                }
                Ok(model) => graded += usize::from(assess(&model, &image, &labels).is_ok()),
            }
        }
        assert!(refused > 300 && graded > 10, "{refused} refused, {graded} graded");
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    assert_eq!(PipelineConfig::new(1).validate(), Ok(()));
    let refused = refusals(recipe(), PipelineConfig::validate, [0, usize::MAX]);
    refused("slices", |own, value| own.slices = value);
    refused("training_per_bin", |own, value| own.training_per_bin = value);
    refused("validation_per_bin", |own, value| own.validation_per_bin = value);
    refused("reconstruction_steps", |own, value| own.reconstruction_steps = value);
    refused("estimator_steps", |own, value| own.estimator_steps = value);
    refused("opinion_steps", |own, value| own.opinion_steps = value);
    refused("batch", |own, value| own.batch = value);
    refused("adversarial.steps", |own, value| own.adversarial.steps = value);
    let mut none = recipe();
    none.corruptions = 0;
    let refused = refusals(none, PipelineConfig::validate, [usize::MAX]);
    refused("corruptions", |own, value| own.corruptions = value);
    for strength in [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e9] {
        let mut recipe = recipe();
        recipe.finishing.strength = strength;
        assert_eq!(recipe.validate().unwrap_err().setting, "finishing.strength");
        // The same where it is used, before anything is trained.
        let error = make(&recipe, Method::Direct, &StepCache::none(), Some(0)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("finishing.strength"), "{error}");
    }
    let mut recipe = recipe();
    recipe.stages = vec![3, 2];
    assert_eq!(recipe.validate().unwrap_err().setting, "stages");
    recipe.stages = vec![0, 2];
    assert_eq!(recipe.validate().unwrap_err().setting, "stages");
}

#[test]
fn input_that_cannot_be_graded_is_named() {
    let model = make(&recipe(), Method::SecondOpinion, &StepCache::none(), None).unwrap().model;
    let (image, labels) = volume();
    let refuse = |image: &Volume<f32>, labels: &Volume<u8>| assess(&model, image, labels).unwrap_err();

    let shifted = Geometry::from_spacing([1.0, 1.0, 1.0]).unwrap();
    let error = refuse(&image, &Volume::new(labels.data().clone(), shifted));
    let EstimateError::Input(InputError::Grid(grid)) = error else { panic!("{error}") };
    let both = format!("{grid}");
    assert!(both.contains(&shifted.to_string()) && both.contains(&image.geometry().to_string()), "{both}");
    // Another order of the same voxels is no other place.
    let turned = labels.reoriented(&"LPI".parse().unwrap());
    let grades = |labels: &Volume<u8>| assess(&model, &image, labels).unwrap().slices;
    assert_eq!(grades(&turned), grades(&labels));
    let other = Volume::new(Array3::zeros((48, 48, 3)), *labels.geometry());
    assert!(matches!(refuse(&image, &other), EstimateError::Input(InputError::Shape { .. })));
    let unknown = labels.map(|&label| if label == 1 { 9 } else { label });
    let error = refuse(&image, &unknown);
    assert!(matches!(
        error,
        EstimateError::Input(InputError::UnknownLabel { label: 9, ref expected }) if *expected == CLASSES
    ));
    let mut bad = image.clone();
    bad.data_mut()[[3, 4, 1]] = f32::NAN;
    let error = refuse(&bad, &labels);
    assert!(matches!(
        error,
        EstimateError::Input(InputError::Image(ImageError::NonFiniteVoxels { count: 1, ref first }))
            if *first == [3, 4, 1]
    ));
    let flat = image.map(|_| 2.0);
    assert!(matches!(
        refuse(&flat, &labels),
        EstimateError::Slice { source: InputError::Image(ImageError::ConstantImage { .. }), .. }
    ));
    // Nothing segmented is an answer of its own, not an error.
    let empty = labels.map(|_| 0);
    let assessment = assess(&model, &image, &empty).unwrap();
    assert!(assessment.volume.is_none());
    assert!(assessment.slices.iter().all(|slice| slice.verdict == SliceVerdict::Empty));
}

#[test]
fn labels_are_matched_by_their_place() {
    let geometry = Geometry::from_spacing([1.0, 1.0, 8.0]).unwrap();
    let truth =
        Volume::new(Array3::from_shape_fn((6, 5, 4), |(i, j, k)| (i * 20 + j * 4 + k) as u8), geometry);
    let image = Scan::from(truth.map(|&label| f32::from(label)));
    let straight = TrueSlice::of_scan("p", "p", &image, &truth).unwrap();
    for turned in ["LPI", "SAR", "IRP"] {
        let turned = truth.reoriented(&turned.parse().unwrap());
        assert_eq!(TrueSlice::of_scan("p", "p", &image, &turned).unwrap(), straight);
    }
    let elsewhere = Volume::new(truth.data().clone(), Geometry::default());
    let error = TrueSlice::of_scan("p", "p", &image, &elsewhere).unwrap_err();
    assert!(matches!(error, InputError::Grid(_)), "{error}");
}

/// Slices of two channels: the second is the first with the contrast of another scan.
fn of_two_channels(slices: Vec<TrueSlice>) -> Vec<TrueSlice> {
    let both = |mut slice: TrueSlice| {
        let first = slice.image.index_axis(Axis(0), 0).to_owned();
        slice.image = ndarray::stack![Axis(0), first, first.mapv(|value| 7.0 - 3.0 * value)];
        slice
    };
    slices.into_iter().map(both).collect()
}

#[test]
fn every_channel_is_read_and_known_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let [training, held_out] = [slices(0..6), slices(6..9)].map(of_two_channels);
    let (image, labels) = volume();
    let other = image.map(|value| 7.0 - 3.0 * value);
    let names = ["a".to_owned(), "b".to_owned()];
    let scan = Scan::joined(vec![image.clone(), other.clone()]).unwrap().with_names(&names).unwrap();
    let swapped = Scan::joined(vec![other.clone(), image.clone()]).unwrap().with_names(["b", "a"]).unwrap();
    for method in [Method::RecReg, Method::Direct, Method::SecondOpinion] {
        let mut observer = |_: &PipelineProgress<'_>| ControlFlow::Continue(());
        let estimators = config(method).channels(2);
        let prepare = |estimators, slices: &[TrueSlice], observer: &mut _| {
            let (cache, device) = (StepCache::none(), Device::Cpu);
            QualityPipeline::prepare(recipe(), estimators, slices, &held_out, cache, &device, observer)
        };
        let error = prepare(config(method), &training, &mut observer).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "the image has 2 channels, expected 1");
        let pipeline = prepare(estimators, &training, &mut observer).unwrap();
        let model = pipeline.model(method, &mut observer).unwrap();
        assert!(model.with_channel_names(vec!["a".to_owned()]).is_err());
        let model =
            pipeline.model(method, &mut observer).unwrap().with_channel_names(names.to_vec()).unwrap();
        model.save(&path).unwrap();
        let model = QualityModel::load(&path, &Device::Cpu).unwrap();
        assert_eq!((model.channel_names(), model.config().channels), (&names[..], 2));

        let found = model.assess(&scan, &labels).unwrap();
        let dice = |assessment: &Assessment| assessment.volume.as_ref().unwrap()[0].dice;
        assert_eq!(found.reconstruction.data().dim(), scan.data().dim());
        // Channels go by their names, and by their places where they have none.
        assert_eq!(dice(&model.assess(&swapped, &labels).unwrap()), dice(&found));
        let unnamed = Scan::joined(vec![image.clone(), other.clone()]).unwrap();
        assert_eq!(dice(&model.assess(&unnamed, &labels).unwrap()), dice(&found));
        let wrong = Scan::joined(vec![other.clone(), image.clone()]).unwrap();
        assert_ne!(dice(&model.assess(&wrong, &labels).unwrap()), dice(&found), "{method:?}");
        let error = assess(&model, &image, &labels).unwrap_err();
        let is_named = matches!(error, EstimateError::Input(InputError::Channels { found: 1, expected: 2 }));
        assert!(is_named, "{error}");
        let renamed = unnamed.clone().with_names(["a", "c"]).unwrap();
        assert!(model.assess(&renamed, &labels).unwrap_err().to_string().contains("a, c, expected a, b"));
        // One channel without contrast says nothing, and without any there is no grade.
        let flat = Scan::joined(vec![image.clone(), image.map(|_| 1.0)]).unwrap();
        assert_eq!(model.assess(&flat, &labels).unwrap().reconstruction.data().dim(), flat.data().dim());
        let flat = Scan::joined(vec![image.map(|_| 2.0), image.map(|_| 1.0)]).unwrap();
        let error = model.assess(&flat, &labels).unwrap_err();
        assert!(matches!(error, EstimateError::Slice { source: InputError::Image(_), .. }), "{error}");
        // Attacks keep within the bound of each channel, and the estimate withstands noise.
        let samples = pipeline.held_out();
        let attack = Attack::new(AttackKind::Pgd { steps: 2 }, 0.1, AttackUnit::Range);
        let images = attack.perturb(model.estimator(), samples, |_| {}).unwrap();
        let pixels = model.config().framing.pixels();
        let channels = samples.iter().flat_map(|sample| sample.image.chunks(pixels).zip(&sample.ranges));
        for ((clean, &range), attacked) in channels.zip(images.chunks(pixels)) {
            let most = clean.iter().zip(attacked).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most <= 1.0001 * attack.bound(range) && most > 0.5 * attack.bound(range), "{most}");
        }
    }
}

#[test]
fn a_color_picture_is_graded() {
    let of_three = |slices: Vec<TrueSlice>| -> Vec<TrueSlice> {
        let mut slices = of_two_channels(slices);
        for slice in &mut slices {
            let first = slice.image.index_axis(Axis(0), 0).to_owned();
            slice.image.push(Axis(0), first.mapv(|value| value * value).view()).unwrap();
        }
        slices
    };
    let [training, held_out] = [slices(0..6), slices(6..9)].map(of_three);
    let mut observer = |_: &PipelineProgress<'_>| ControlFlow::Continue(());
    let (cache, device) = (StepCache::none(), Device::Cpu);
    let estimators = config(Method::SecondOpinion).channels(3);
    let pipeline =
        QualityPipeline::prepare(recipe(), estimators, &training, &held_out, cache, &device, &mut observer);
    let model = pipeline.unwrap().model(Method::SecondOpinion, &mut observer).unwrap();
    let slice = &training[0];
    // `[channel, row, column]` of a picture whose rows run down.
    let picture = Scan::from(Image::new(slice.image.clone().permuted_axes([0, 2, 1])));
    let labels = Scan::of_picture(slice.truth.t().to_owned());
    let found = model.assess(&picture, &labels).unwrap();
    let grade = found.volume.unwrap()[0];
    assert!(grade.distance_millimeters.is_none() && grade.distance_pixels.is_some());
    assert!(found.reconstruction.is_picture() && found.error.is_some());
    // As of the same slice of a volume.
    let volume = |k: usize| {
        Volume::new(slice.image.index_axis(Axis(0), k).to_owned().insert_axis(Axis(2)), Geometry::default())
    };
    let scan = Scan::joined((0..3).map(volume).collect()).unwrap();
    let labels = scan.placed(slice.truth.clone().insert_axis(Axis(2)));
    assert_eq!(model.assess(&scan, &labels).unwrap().volume.unwrap()[0].dice, grade.dice);
}
