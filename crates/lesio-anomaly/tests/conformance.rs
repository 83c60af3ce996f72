//! Every predictor keeps its obligations, with the built-in models and with one that a downstream
//! crate would write.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use candle_core::Tensor;
use lesio_anomaly::{
    Ensemble, EnsembleConfig, EnsembleRule, Model, PredictError, Predictor, PredictorName, PredictorSettings,
    SharedPass, conformance, predictor, predictor_over,
};
use lesio_nn::{Device, ImageBatch, Shape};
use lesio_vae::candle::{CandleModel, CandlePosterior, CandleReconstruction, FromCandle};
use lesio_vae::{ImageGradients, ModelError, Reconstructor, RequestedGradients, VariationalModel};
use support::{
    Altered, Images, Linear, denoiser_model, head_images, linear, over, small_images, taught_model, vae,
    vae_model,
};

fn settings() -> PredictorSettings {
    let mut settings = PredictorSettings::default();
    settings.projection.steps = 8;
    settings.restoration.steps = 8;
    settings
}

/// The predictors that a variational model serves.
fn of_a_vae() -> impl Iterator<Item = PredictorName> {
    PredictorName::ALL.into_iter().filter(|&name| name != PredictorName::AnomalyLogit)
}

fn check(predictor: &dyn Predictor, images: &Images, planted: Option<f32>) {
    let broken = conformance::check_predictor_bits(predictor, images.batch(), planted).unwrap();
    assert!(broken.is_empty(), "{}: {broken:#?}", predictor.name());
}

/// What a bright square is no anomaly to: darker than expected is the opposite.
fn planted(name: PredictorName) -> Option<f32> {
    (name != PredictorName::PixelNegative).then_some(0.5)
}

#[test]
fn predictors_of_a_trained_vae() {
    let (model, images) = (vae_model(), head_images(200..205));
    for name in PredictorName::ALL.into_iter().filter(|name| name.is_served_by(&model)) {
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
                assert!(name.is_served_by(&model));
                check(&own, &images, planted(name));
            }
            Err(PredictError::Unsupported { predictor, model: kind, .. }) => {
                assert!(!name.is_served_by(&model));
                assert_eq!((predictor.as_str(), kind.as_str()), (name.as_str(), "denoiser"));
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn predictors_of_networks_that_were_taught_with_synthetic_anomalies() {
    let images = head_images(200..204);
    for (model, kind) in [(taught_model(false), "restorer"), (taught_model(true), "segmenter")] {
        assert_eq!(model.kind(), kind);
        let served: Vec<_> =
            PredictorName::ALL.into_iter().filter(|name| name.is_served_by(&model)).collect();
        assert_eq!(served.contains(&PredictorName::AnomalyLogit), kind == "segmenter");
        for name in served {
            check(&predictor(name, &model, &settings()).unwrap(), &images, planted(name));
        }
        let made = predictor(PredictorName::GradKl, &model, &settings());
        assert!(matches!(made, Err(PredictError::Unsupported { .. })));
    }
}

#[test]
fn predictors_of_a_model_of_ones_own() {
    let images = small_images(4);
    for name in of_a_vae() {
        let own = predictor_over(name, linear(), &settings()).unwrap();
        // The linear model knows no normal images: nothing is planted.
        check(&own, &images, None);
    }
}

#[test]
fn models_keep_their_obligations() {
    for (model, images) in
        [(linear() as Arc<dyn VariationalModel>, small_images(3)), (vae(), head_images(200..203))]
    {
        let broken = conformance::check_model_bits(&*model, images.batch()).unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

/// On another device rows are the same within rounding.
#[test]
fn predictors_and_models_on_another_device() {
    let (device, images) = ("candle-cpu".parse::<Device>().unwrap(), head_images(200..204));
    let there = |own: Model| Model::new(&own.config(), &own.parameters().unwrap(), &device).unwrap();
    let check = |own: &dyn Predictor, planted| {
        let broken = conformance::check_predictor(own, images.batch(), planted).unwrap();
        assert!(broken.is_empty(), "{}: {broken:#?}", own.name());
    };
    let (vae, segmenter) = (there(vae_model()), there(taught_model(true)));
    let broken = conformance::check_model(&*vae.variational().unwrap(), images.batch()).unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(PredictorName::AnomalyLogit.is_served_by(&segmenter));
    check(&OwnPredictor(vae.reconstructor()), Some(0.5));
    for model in [vae, segmenter] {
        for name in PredictorName::ALL.into_iter().filter(|name| name.is_served_by(&model)) {
            check(&predictor(name, &model, &settings()).unwrap(), planted(name));
        }
    }
}

/// A predictor of one's own: the error over the mean error of its image.
struct OwnPredictor(Arc<dyn Reconstructor>);

impl Predictor for OwnPredictor {
    fn name(&self) -> String {
        "own".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let expected = self.0.reconstruct(images)?;
        let mut scores: Vec<f32> = images.values().iter().zip(expected).map(|(x, y)| (x - y).abs()).collect();
        for row in scores.chunks_exact_mut(images.shape().len()) {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            row.iter_mut().for_each(|score| *score /= mean);
        }
        Ok(scores)
    }
}

#[test]
fn a_predictor_of_ones_own_keeps_its_obligations() {
    check(&OwnPredictor(vae()), &head_images(200..204), Some(0.5));
}

/// A model whose reconstruction is another than its decoder's is found, and one that has none.
#[test]
fn a_model_that_breaks_an_obligation_is_found() {
    for offset in [0.1, f32::NAN] {
        let reconstruction =
            Box::new(move |values: Vec<f32>| values.into_iter().map(|v| v + offset).collect());
        let twisted = Altered { reconstruction, ..Altered::of(linear()) };
        let broken = conformance::check_model(&twisted, small_images(2).batch()).unwrap();
        assert!(broken.iter().any(|text| text.contains("reconstruction")), "{offset}: {broken:?}");
    }
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
    Neighbors(f64),
    /// Gradients are so many times what they should be.
    Gradient(f32),
}

impl Layers {
    const FEATURES: usize = 8 * support::HEIGHT * support::WIDTH;
    const LATENT: usize = 48;

    fn new(fault: Fault) -> Self {
        let draw = |stream, shape: &[usize], size: f32| {
            let mut values = vec![0.0; shape.iter().product()];
            lesio_nn::random::fill_normal(&mut lesio_nn::random::generator(21, stream), &mut values);
            values.iter_mut().for_each(|value| *value *= size);
            Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap()
        };
        Self {
            fault,
            convolution: draw(1, &[8, support::CHANNELS, 3, 3], 0.3),
            encoder: draw(2, &[Self::FEATURES, Self::LATENT], 0.05),
            decoder: draw(3, &[Self::LATENT, support::SIZE], 0.1),
        }
    }
}

impl CandleModel for Layers {
    fn encode(&self, images: &Tensor) -> candle_core::Result<CandlePosterior> {
        let features = images.conv2d(&self.convolution, 1, 1, 1, 1)?.silu()?.flatten_from(1)?;
        let mut mean = features.matmul(&self.encoder)?;
        if let Fault::Neighbors(share) = self.fault {
            mean = mean.broadcast_add(&(mean.mean_keepdim(0)? * share)?)?;
        }
        let log_variance = (&mean * 0.1)?;
        Ok(CandlePosterior { mean, log_variance })
    }

    fn decode(&self, latent: &Tensor) -> candle_core::Result<CandleReconstruction> {
        let shape = (latent.dim(0)?, support::CHANNELS, support::HEIGHT, support::WIDTH);
        let mean = latent.matmul(&self.decoder)?.reshape(shape)?;
        Ok(CandleReconstruction { outputs: mean.clone(), mean })
    }

    fn log_likelihood(
        &self,
        images: &Tensor,
        reconstruction: &CandleReconstruction,
    ) -> candle_core::Result<Tensor> {
        (images - &reconstruction.mean)?.sqr()? * -0.5
    }
}

/// [`Layers`] as predictors take them.
fn stack(fault: Fault) -> Altered {
    let model = FromCandle::new(Layers::new(fault), support::SHAPE, candle_core::Device::Cpu);
    let gradients = move |mut found: ImageGradients| {
        if let (Fault::Gradient(factor), Some(gradient)) = (fault, &mut found.by_divergence) {
            gradient.iter_mut().for_each(|value| *value *= factor);
        }
        found
    };
    Altered { gradients: Box::new(gradients), ..Altered::of(Arc::new(model)) }
}

/// What candle computes may differ in the last bits between batches; what is wrong by a hundredth is found.
#[test]
fn a_model_of_candles_layers_passes_and_wrong_ones_do_not() {
    let images = small_images(7);
    let broken = |fault| conformance::check_model(&stack(fault), images.batch()).unwrap();
    assert_eq!(broken(Fault::None), Vec::<String>::new());
    let leaking = broken(Fault::Neighbors(1e-2));
    assert!(leaking.iter().any(|text| text.contains("row 0 alone")), "{leaking:?}");
    for factor in [1.01, 0.99] {
        let wrong = broken(Fault::Gradient(factor));
        assert!(wrong.iter().any(|text| text.contains("the divergence's gradient differs")), "{wrong:?}");
    }
    for name in [PredictorName::PixelL1, PredictorName::PixelNll, PredictorName::GradElbo] {
        let of = |fault| predictor_over(name, Arc::new(stack(fault)), &settings()).unwrap();
        let broken = conformance::check_predictor(&of(Fault::None), images.batch(), None).unwrap();
        assert!(broken.is_empty(), "{name}: {broken:#?}");
        let leaking = conformance::check_predictor(&of(Fault::Neighbors(0.1)), images.batch(), None).unwrap();
        assert!(leaking.iter().any(|text| text.contains("scored alone")), "{name}: {leaking:?}");
    }
}

/// A model of one's own that gives other shapes than its images is an error, not a panic.
#[test]
fn a_model_of_other_shapes_is_an_error() {
    let cropped = || {
        let gradients = |mut found: ImageGradients| {
            let parts =
                [Some(&mut found.mean), found.by_divergence.as_mut(), found.by_reconstruction.as_mut()];
            parts.into_iter().flatten().for_each(|values| values.truncate(support::WIDTH));
            found
        };
        Altered {
            reconstruction: Box::new(|mut values| values.split_off(1)),
            gradients: Box::new(gradients),
            ..Altered::of(linear())
        }
    };
    let images = small_images(2);
    for name in of_a_vae().filter(|&name| name != PredictorName::Intensity) {
        let own = predictor_over(name, Arc::new(cropped()), &settings()).unwrap();
        let error = own.score(images.batch()).unwrap_err();
        assert!(matches!(&error, PredictError::Model(ModelError::Length { .. })), "{name}: {error:?}");
    }
    let other = [0.0; 2 * 3 * 4];
    let other = ImageBatch::new(&other, Shape::new(2, 3, 4)).unwrap();
    for name in of_a_vae().filter(|&name| name != PredictorName::Intensity) {
        let error = predictor_over(name, linear(), &settings()).unwrap().score(other).unwrap_err();
        assert!(matches!(&error, PredictError::Model(ModelError::Shape { .. })), "{name}: {error:?}");
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
    let normals: Vec<Images> = (150..160).map(|subject| head_images(subject..subject + 1)).collect();
    let images = head_images(200..204);
    let rules = [
        EnsembleRule::Mean,
        EnsembleRule::Maximum,
        EnsembleRule::Product,
        EnsembleRule::RankAverage,
        EnsembleRule::AverageOfMaximum { groups: 2 },
    ];
    for rule in rules {
        let ensemble =
            Ensemble::calibrate(members(), normals.iter().map(Images::batch), EnsembleConfig::new(rule))
                .unwrap();
        assert_eq!(ensemble.requested_gradients(), RequestedGradients::DIVERGENCE);
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
        of_a_vae().map(|name| predictor(name, &model, &settings()).unwrap()).collect();
    let expected = all
        .iter()
        .fold(RequestedGradients::NOTHING, |requested, one| requested.union(one.requested_gradients()));
    assert_eq!(expected, RequestedGradients::BOTH);
    let pass = SharedPass::new(images.batch(), expected);
    for one in all.iter().rev().chain(&all) {
        assert_eq!(one.score_shared(&pass).unwrap(), one.score(images.batch()).unwrap(), "{}", one.name());
    }
}

/// Scores images by a pass while counting how often the model is asked.
#[test]
fn a_shared_pass_asks_a_model_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = |model: Linear| {
        let [reconstructions, gradients] = [calls.clone(), calls.clone()];
        Arc::new(Altered {
            reconstruction: Box::new(move |values| {
                reconstructions.fetch_add(1, Ordering::Relaxed);
                values
            }),
            gradients: Box::new(move |found| {
                gradients.fetch_add(1, Ordering::Relaxed);
                found
            }),
            ..Altered::of(over(model))
        })
    };
    let model = counting(Linear::new());
    let images = small_images(2);
    let names =
        [PredictorName::GradElbo, PredictorName::PixelL1, PredictorName::CombiSum, PredictorName::PixelNll];
    let predictors: Vec<_> =
        names.iter().map(|&name| predictor_over(name, model.clone(), &settings()).unwrap()).collect();
    let expected = predictors
        .iter()
        .fold(RequestedGradients::NOTHING, |requested, one| requested.union(one.requested_gradients()));
    let pass = SharedPass::new(images.batch(), expected);
    for one in &predictors {
        one.score_shared(&pass).unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    // The pass is that of one model: another one's results are its own.
    let other = counting(Linear { scale: 5.0, ..Linear::new() });
    let own = predictor_over(PredictorName::PixelNll, other.clone(), &settings()).unwrap();
    assert_eq!(own.score_shared(&pass).unwrap(), own.score(images.batch()).unwrap());
}

/// With a trained model, a projection moves an abnormal region, lowers its energy and leaves a normal
/// image nearly alone.
#[test]
fn projection_moves_what_is_abnormal() {
    let normal = head_images(200..206);
    let mut values = normal.0.clone();
    let side = support::SIDE;
    let inside = |k: usize| (12..17).contains(&(k / side % side)) && (13..18).contains(&(k % side));
    for (k, value) in values.iter_mut().enumerate() {
        if inside(k) {
            *value = (*value + 0.4).min(1.0);
        }
    }
    let abnormal = Images(values, normal.1);
    let model = vae();
    let mut config = PredictorSettings::default().projection;
    config.steps = 100;
    config.stop =
        Some(lesio_anomaly::Projection::stop_level(&*model, [head_images(0..48).batch()], 50.0).unwrap());
    let projection = lesio_anomaly::Projection::new(model, config).unwrap();
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        let values: Vec<f32> = values.collect();
        values.iter().sum::<f32>() / values.len() as f32
    };
    let moved = |images: &Images| {
        let (mut all, mut within, mut energies) = (Vec::new(), Vec::new(), Vec::new());
        let traces = projection.project(images.batch()).unwrap();
        for (trace, image) in traces.iter().zip(images.0.chunks(side * side)) {
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
