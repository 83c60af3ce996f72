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
    let broken = conformance::check_predictor_bits(predictor, images, planted).unwrap();
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
        let broken = conformance::check_model_bits(&*model, &images).unwrap();
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

/// A model of convolutions and matrix products by candle, as candle-nn's layers compute them, right or wrong in one way.
struct Layers {
    fault: Fault,
    convolution: Tensor,
    encoder: Tensor,
    decoder: Tensor,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A row of a batch moves by this share of the batch's mean.
    Neighbours(f64),
    /// Gradients are so many times what they should be.
    Gradient(f64),
}

impl Layers {
    const FEATURES: usize = 8 * support::HEIGHT * support::WIDTH;
    const LATENT: usize = 48;

    fn new(fault: Fault) -> Self {
        let draw = |stream, shape: &[usize], size: f32| {
            let mut values = vec![0.0; shape.iter().product()];
            lesio_nn::random::fill_normal(&mut lesio_nn::random::generator(21, stream), &mut values);
            values.iter_mut().for_each(|value| *value *= size);
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        Self {
            fault,
            convolution: draw(1, &[8, support::CHANNELS, 3, 3], 0.3),
            encoder: draw(2, &[Self::FEATURES, Self::LATENT], 0.05),
            decoder: draw(3, &[Self::LATENT, support::SIZE], 0.1),
        }
    }
}

impl lesio_vae::Reconstructor for Layers {
    fn reconstruct(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.decode(&self.encode(images)?.mean)?.mean.detach())
    }
}

impl VariationalModel for Layers {
    fn encode(&self, images: &Tensor) -> candle_core::Result<lesio_vae::Posterior> {
        let features = images.conv2d(&self.convolution, 1, 1, 1, 1)?.silu()?.flatten_from(1)?;
        let mut mean = features.matmul(&self.encoder)?;
        if let Fault::Neighbours(share) = self.fault {
            mean = mean.broadcast_add(&(mean.mean_keepdim(0)? * share)?)?;
        }
        let log_variance = (&mean * 0.1)?;
        Ok(lesio_vae::Posterior { mean, log_variance })
    }

    fn decode(&self, latent: &Tensor) -> candle_core::Result<lesio_vae::Reconstruction> {
        let shape = (latent.dim(0)?, support::CHANNELS, support::HEIGHT, support::WIDTH);
        let mean = latent.matmul(&self.decoder)?.reshape(shape)?;
        Ok(lesio_vae::Reconstruction { outputs: mean.clone(), mean })
    }

    fn log_likelihood(
        &self,
        images: &Tensor,
        reconstruction: &lesio_vae::Reconstruction,
    ) -> candle_core::Result<Tensor> {
        (images - &reconstruction.mean)?.sqr()? * -0.5
    }

    fn gradients(&self, images: &Tensor, wanted: Wanted) -> candle_core::Result<lesio_vae::Gradients> {
        let mut found = lesio_vae::gradients_by_autograd(self, images, wanted)?;
        if let Fault::Gradient(factor) = self.fault {
            found.by_divergence = found.by_divergence.map(|gradient| gradient * factor).transpose()?;
        }
        Ok(found)
    }
}

/// What candle computes may differ in the last bits between batches; what is wrong by a hundredth is found.
#[test]
fn a_model_of_candles_layers_passes_and_wrong_ones_do_not() {
    let images = small_images(7);
    let broken = |fault| conformance::check_model(&Layers::new(fault), &images).unwrap();
    assert_eq!(broken(Fault::None), Vec::<String>::new());
    let leaking = broken(Fault::Neighbours(1e-2));
    assert!(leaking.iter().any(|text| text.contains("row 0 alone")), "{leaking:?}");
    for factor in [1.01, 0.99] {
        let wrong = broken(Fault::Gradient(factor));
        assert!(wrong.iter().any(|text| text.contains("the divergence's gradient differs")), "{wrong:?}");
    }
    for name in [PredictorName::PixelL1, PredictorName::PixelNll, PredictorName::GradElbo] {
        let of = |fault| predictor_over(name, Arc::new(Layers::new(fault)), &settings()).unwrap();
        let broken = conformance::check_predictor(&of(Fault::None), &images, None).unwrap();
        assert!(broken.is_empty(), "{name}: {broken:#?}");
        let leaking = conformance::check_predictor(&of(Fault::Neighbours(0.1)), &images, None).unwrap();
        assert!(leaking.iter().any(|text| text.contains("scored alone")), "{name}: {leaking:?}");
    }
}

/// A model of one's own that gives other shapes than its images is an error, not a panic.
#[test]
fn a_model_of_other_shapes_is_an_error() {
    struct Cropped(Linear);
    impl lesio_vae::Reconstructor for Cropped {
        fn reconstruct(&self, images: &Tensor) -> candle_core::Result<Tensor> {
            self.0.reconstruct(images)?.narrow(3, 0, support::WIDTH - 1)
        }
    }
    impl VariationalModel for Cropped {
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
        fn gradients(&self, images: &Tensor, wanted: Wanted) -> candle_core::Result<lesio_vae::Gradients> {
            let mut found = self.0.gradients(images, wanted)?;
            let parts =
                [Some(&mut found.mean), found.by_divergence.as_mut(), found.by_reconstruction.as_mut()];
            for tensor in parts.into_iter().flatten() {
                *tensor = tensor.narrow(2, 0, support::HEIGHT - 1)?;
            }
            Ok(found)
        }
    }
    let images = small_images(2);
    for name in PredictorName::ALL.into_iter().filter(|&name| name != PredictorName::Intensity) {
        let own = predictor_over(name, Arc::new(Cropped(Linear::new())), &settings()).unwrap();
        let error = own.score(&images).unwrap_err();
        assert!(
            matches!(&error, PredictError::Model(candle_core::Error::UnexpectedShape { .. })),
            "{name}: {error:?}"
        );
    }
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
