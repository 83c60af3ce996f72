//! Every predictor keeps its obligations, with the models of the catalogue and with one that a downstream
//! crate would write.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use lesio_anomaly::{
    Ensemble, EnsembleConfig, EnsembleRule, Model, PredictError, Predictor, PredictorName, PredictorSettings,
    SharedPass, conformance, predictor, predictor_over,
};
use lesio_vae::{VariationalModel, Wanted};
use support::{Linear, denoiser_model, flat, head_images, small_images, vae, vae_model};

fn settings() -> PredictorSettings {
    let mut settings = PredictorSettings::default();
    settings.projection.steps = 8;
    settings.restoration.steps = 8;
    settings
}

fn check(predictor: &dyn Predictor, images: &Tensor, planted: Option<f32>) {
    let broken = conformance::check_predictor(predictor, images, planted).unwrap();
    assert!(broken.is_empty(), "{}: {broken:#?}", predictor.name());
}

/// What a bright square is no anomaly to: darker than expected is the opposite.
fn planted(name: PredictorName) -> Option<f32> {
    (name != PredictorName::PixelNegative).then_some(0.5)
}

#[test]
fn predictors_of_a_trained_vae() {
    let (model, images) = (vae_model(), head_images(200..205));
    for name in PredictorName::ALL {
        let own = predictor(name, &model, &settings()).unwrap();
        assert_eq!(own.name(), name.as_str());
        check(&own, &images, planted(name));
    }
    check(&predictor(PredictorName::PixelNegative, &model, &settings()).unwrap(), &images, Some(-0.3));
}

#[test]
fn smoothgrad_is_independent_of_the_batch_too() {
    let mut settings = settings();
    settings.gradient.copies = 3;
    for name in [PredictorName::GradKl, PredictorName::GradElbo, PredictorName::CombiProduct] {
        check(&predictor(name, &vae_model(), &settings).unwrap(), &head_images(200..203), Some(0.5));
    }
}

#[test]
fn predictors_of_a_trained_denoiser() {
    let (model, images) = (denoiser_model(), head_images(200..204));
    for name in PredictorName::ALL {
        match predictor(name, &model, &settings()) {
            Ok(own) => {
                assert!(name.works_with(&model));
                check(&own, &images, planted(name));
            }
            Err(PredictError::Unsupported { predictor, model: kind }) => {
                assert!(!name.works_with(&model));
                assert_eq!((predictor.as_str(), kind), (name.as_str(), "denoiser"));
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn predictors_of_a_model_of_ones_own() {
    let images = small_images(4);
    for name in PredictorName::ALL {
        let own = predictor_over(name, Arc::new(Linear::new()), &settings()).unwrap();
        // The linear model knows no normal images: nothing is planted.
        check(&own, &images, None);
    }
}

#[test]
fn models_keep_their_obligations() {
    for (model, images) in [
        (Arc::new(Linear::new()) as Arc<dyn VariationalModel>, small_images(3)),
        (vae(), head_images(200..203)),
    ] {
        let broken = conformance::check_model(&*model, &images).unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

/// A model whose reconstruction is another than its decoder's is found.
#[test]
fn a_model_that_breaks_an_obligation_is_found() {
    struct Twisted(Linear);
    impl lesio_vae::Reconstructor for Twisted {
        fn reconstruct(&self, images: &Tensor) -> candle_core::Result<Tensor> {
            self.0.reconstruct(images)? + 0.1
        }
    }
    impl VariationalModel for Twisted {
        fn encode(&self, images: &Tensor) -> candle_core::Result<lesio_vae::Posterior> {
            self.0.encode(images)
        }
        fn decode(&self, latent: &Tensor) -> candle_core::Result<lesio_vae::Reconstruction> {
            self.0.decode(latent)
        }
        fn log_likelihood(
            &self,
            images: &Tensor,
            reconstruction: &lesio_vae::Reconstruction,
        ) -> candle_core::Result<Tensor> {
            self.0.log_likelihood(images, reconstruction)
        }
    }
    let broken = conformance::check_model(&Twisted(Linear::new()), &small_images(2)).unwrap();
    assert!(broken.iter().any(|text| text.contains("reconstruction")), "{broken:?}");
}

#[test]
fn ensembles_of_predictors_and_of_models() {
    let (vae, denoiser) = (vae_model(), denoiser_model());
    let members = || -> Vec<Arc<dyn Predictor>> {
        [
            (PredictorName::PixelL1, &vae),
            (PredictorName::GradKl, &vae),
            (PredictorName::PixelPositive, &denoiser),
        ]
        .into_iter()
        .map(|(name, model): (_, &Model)| Arc::from(predictor(name, model, &settings()).unwrap()))
        .collect()
    };
    let normals: Vec<Tensor> = (150..160).map(|subject| head_images(subject..subject + 1)).collect();
    let images = head_images(200..204);
    let rules = [
        EnsembleRule::Mean,
        EnsembleRule::Maximum,
        EnsembleRule::Product,
        EnsembleRule::RankAverage,
        EnsembleRule::AverageOfMaximum { groups: 2 },
    ];
    for rule in rules {
        let ensemble = Ensemble::calibrate(members(), &normals, EnsembleConfig::new(rule)).unwrap();
        assert_eq!(ensemble.wants(), Wanted::DIVERGENCE);
        check(&ensemble, &images, Some(0.5));
    }
    let uncalibrated = Ensemble::calibrate(members(), [], EnsembleConfig::new(EnsembleRule::Mean));
    assert!(matches!(uncalibrated, Err(PredictError::Ensemble(_))));
}

/// All predictors of a model read one pass and give what each gives alone.
#[test]
fn predictors_share_a_pass() {
    let (model, images) = (vae_model(), head_images(200..203));
    let all: Vec<Box<dyn Predictor>> =
        PredictorName::ALL.into_iter().map(|name| predictor(name, &model, &settings()).unwrap()).collect();
    let expected = all.iter().fold(Wanted::NOTHING, |wanted, one| wanted.union(one.wants()));
    assert_eq!(expected, Wanted::BOTH);
    let pass = SharedPass::new(&images, expected);
    for one in all.iter().rev().chain(&all) {
        assert_eq!(
            flat(&one.score_shared(&pass).unwrap()),
            flat(&one.score(&images).unwrap()),
            "{}",
            one.name()
        );
    }
}

/// Scores images by a pass while counting how often the model is asked.
#[test]
fn a_shared_pass_asks_a_model_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counting(Linear, AtomicUsize);
    impl lesio_vae::Reconstructor for Counting {
        fn reconstruct(&self, images: &Tensor) -> candle_core::Result<Tensor> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.reconstruct(images)
        }
    }
    impl VariationalModel for Counting {
        fn encode(&self, images: &Tensor) -> candle_core::Result<lesio_vae::Posterior> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.encode(images)
        }
        fn decode(&self, latent: &Tensor) -> candle_core::Result<lesio_vae::Reconstruction> {
            self.0.decode(latent)
        }
        fn log_likelihood(
            &self,
            images: &Tensor,
            reconstruction: &lesio_vae::Reconstruction,
        ) -> candle_core::Result<Tensor> {
            self.0.log_likelihood(images, reconstruction)
        }
    }
    let model = Arc::new(Counting(Linear::new(), AtomicUsize::new(0)));
    let images = small_images(2);
    let names =
        [PredictorName::GradElbo, PredictorName::PixelL1, PredictorName::CombiSum, PredictorName::PixelNll];
    let predictors: Vec<_> =
        names.iter().map(|&name| predictor_over(name, model.clone(), &settings()).unwrap()).collect();
    let expected = predictors.iter().fold(Wanted::NOTHING, |wanted, one| wanted.union(one.wants()));
    let pass = SharedPass::new(&images, expected);
    for one in &predictors {
        one.score_shared(&pass).unwrap();
    }
    assert_eq!(model.1.load(Ordering::Relaxed), 1);
    // The pass is that of one model: another one's results are its own.
    let other = Arc::new(Counting(Linear { scale: 5.0, ..Linear::new() }, AtomicUsize::new(0)));
    let own = predictor_over(PredictorName::PixelNll, other.clone(), &settings()).unwrap();
    assert_eq!(flat(&own.score_shared(&pass).unwrap()), flat(&own.score(&images).unwrap()));
}

/// With a trained model, a projection moves an abnormal region, lowers its energy and leaves a normal
/// image nearly alone.
#[test]
fn projection_moves_what_is_abnormal() {
    let normal = head_images(200..206);
    let mut values = flat(&normal);
    let side = support::SIDE;
    let inside = |k: usize| (12..17).contains(&(k / side % side)) && (13..18).contains(&(k % side));
    for (k, value) in values.iter_mut().enumerate() {
        if inside(k) {
            *value = (*value + 0.4).min(1.0);
        }
    }
    let abnormal = Tensor::from_vec(values, normal.shape(), &Device::Cpu).unwrap();
    let model = vae();
    let mut config = PredictorSettings::default().projection;
    config.steps = 100;
    config.stop = Some(lesio_anomaly::Projection::stop_level(&*model, [&head_images(0..48)], 50.0).unwrap());
    let projection = lesio_anomaly::Projection::new(model, config).unwrap();
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        let values: Vec<f32> = values.collect();
        values.iter().sum::<f32>() / values.len() as f32
    };
    let moved = |images: &Tensor| {
        let (mut all, mut within, mut energies) = (Vec::new(), Vec::new(), Vec::new());
        let traces = projection.project(images).unwrap();
        for (trace, image) in traces.iter().zip(flat(images).chunks(side * side)) {
            let change = || image.iter().zip(&trace.projected).map(|(a, b)| (a - b).abs());
            all.push(mean(&mut change()));
            within.push(mean(&mut change().enumerate().filter(|(k, _)| inside(*k)).map(|(_, v)| v)));
            energies.push((trace.energy[0], trace.energy[trace.energy.len() - 1], trace.steps));
        }
        (mean(&mut all.into_iter()), mean(&mut within.into_iter()), energies)
    };
    let (alone, alone_within, _) = moved(&normal);
    let (_, square, energies) = moved(&abnormal);
    assert!(alone < 0.02, "a normal image moves by {alone}");
    assert!(
        square > 0.05 && square > 10.0 * alone_within,
        "the square moves by {square}, else {alone_within}"
    );
    for (first, last, steps) in energies {
        assert!(last < first, "{first} to {last} in {steps} steps");
    }
}

/// A batch in another precision than f32 is scored or refused, never misread.
#[test]
fn double_precision_is_no_panic() {
    let images = small_images(3).to_dtype(DType::F64).unwrap();
    for name in PredictorName::ALL {
        let own = predictor_over(name, Arc::new(Linear::new()), &settings()).unwrap();
        let _ = own.score(&images);
        let _ = predictor(name, &vae_model(), &settings()).unwrap().score(&images);
    }
}
