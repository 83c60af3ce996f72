//! Each predictor computes its formula, on a linear model for which all of them are known in closed form.
// Tests may panic, and need no documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use lesio_anomaly::{
    GradientConfig, Predictor, PredictorName, PredictorSettings, Projection, ProjectionConfig, ProjectionMap,
    ProjectionTrace, Restoration, RestorationConfig, StepRule, predictor_over,
};
use lesio_nn::random;
use lesio_vae::VariationalModel;
use support::{Altered, CHANNELS, HEIGHT, Images, Linear, SHAPE, SIZE, WIDTH, linear, small_images};

const PIXELS: usize = HEIGHT * WIDTH;

fn settings() -> PredictorSettings {
    let mut settings = PredictorSettings::default();
    settings.gradient.smoothing = 0.0;
    settings
}

fn score(name: PredictorName, settings: &PredictorSettings, images: &Images) -> Vec<f32> {
    predictor_over(name, linear(), settings).unwrap().score(images.batch()).unwrap()
}

/// The mean over channels of a function of an image's values.
fn over_channels(values: &[f64]) -> Vec<f64> {
    (0..PIXELS)
        .map(|p| (0..CHANNELS).map(|c| values[c * PIXELS + p]).sum::<f64>() / CHANNELS as f64)
        .collect()
}

/// Maps of a batch by a formula for one image.
fn expected(images: &Images, formula: impl Fn(&[f32]) -> Vec<f64>) -> Vec<f64> {
    images.0.chunks(SIZE).flat_map(formula).collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for (k, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= tolerance * scale, "{what}, pixel {k}: {found}, expected {expected}");
    }
}

#[test]
fn pixel_errors() {
    let (model, images) = (Linear::new(), small_images(3));
    let cases: [(PredictorName, fn(f64, f64) -> f64); 5] = [
        (PredictorName::Intensity, |x, _| x),
        (PredictorName::PixelL1, |x, y| (x - y).abs()),
        (PredictorName::PixelPositive, |x, y| (x - y).max(0.0)),
        (PredictorName::PixelNegative, |x, y| (y - x).max(0.0)),
        (PredictorName::PixelL2, |x, y| (x - y).powi(2)),
    ];
    for (name, distance) in cases {
        let expected = expected(&images, |x| {
            let y = model.expected(x);
            over_channels(&x.iter().zip(y).map(|(&x, y)| distance(f64::from(x), y)).collect::<Vec<_>>())
        });
        assert_close(name.as_str(), &score(name, &settings(), &images), &expected, 1e-5);
    }
    let nll = expected(&images, |x| over_channels(&model.loss(x)));
    assert_close("pixel-nll", &score(PredictorName::PixelNll, &settings(), &images), &nll, 1e-5);
}

/// `1 - GMS`. Images of 6 x 7 pixels have one scale: the next one is smaller than 4.
#[test]
fn gradient_magnitude_similarity() {
    let (model, images) = (Linear::new(), small_images(3));
    let near = |at: usize, by: usize, length: usize| (at + by).saturating_sub(1).min(length - 1);
    let square = |plane: &[f64], p: usize| -> f64 {
        let at = |down, across| plane[near(p / WIDTH, down, HEIGHT) * WIDTH + near(p % WIDTH, across, WIDTH)];
        let gx: f64 = (0..3).map(|k| at(k, 2) - at(k, 0)).sum();
        let gy: f64 = (0..3).map(|k| at(2, k) - at(0, k)).sum();
        (gx * gx + gy * gy) / 9.0
    };
    let expected = expected(&images, |x| {
        let (x, y): (Vec<f64>, _) = (x.iter().map(|&x| f64::from(x)).collect(), model.expected(x));
        let planes = x.chunks(PIXELS).zip(y.chunks(PIXELS));
        let of = |(x, y)| (0..PIXELS).map(move |p| (square(x, p), square(y, p)));
        let distance = |(a, b): (f64, f64)| 1.0 - (2.0 * (a * b).sqrt() + 0.0026) / (a + b + 0.0026);
        over_channels(&planes.flat_map(of).map(distance).collect::<Vec<_>>())
    });
    assert_close("pixel-gms", &score(PredictorName::PixelGms, &settings(), &images), &expected, 1e-5);
}

#[test]
fn gradients_of_the_bound_and_its_terms() {
    let (model, images) = (Linear::new(), small_images(3));
    let magnitude = |values: Vec<f64>| over_channels(&values.iter().map(|v| v.abs()).collect::<Vec<_>>());
    let kl = expected(&images, |x| magnitude(model.by_divergence(x)));
    let rec = expected(&images, |x| magnitude(model.by_reconstruction(x)));
    let elbo = expected(&images, |x| {
        let (kl, rec) = (model.by_divergence(x), model.by_reconstruction(x));
        magnitude(kl.iter().zip(rec).map(|(kl, rec)| rec + model.beta * kl).collect())
    });
    for (name, expected) in
        [(PredictorName::GradKl, &kl), (PredictorName::GradRec, &rec), (PredictorName::GradElbo, &elbo)]
    {
        assert_close(name.as_str(), &score(name, &settings(), &images), expected, 1e-4);
    }
    // The linear model's own formulas are derivatives of its terms.
    let x = images.rows(0, 1).0;
    for k in [0, 17, SIZE - 1] {
        let moved = |delta: f32| {
            let mut x = x.clone();
            x[k] += delta;
            (model.divergence(&x), model.loss(&x).iter().sum::<f64>())
        };
        let (up, down) = (moved(0.01), moved(-0.01));
        let step = f64::from(x[k] + 0.01) - f64::from(x[k] - 0.01);
        assert!(((up.0 - down.0) / step - model.by_divergence(&x)[k]).abs() < 1e-5);
        assert!(((up.1 - down.1) / step - model.by_reconstruction(&x)[k]).abs() < 1e-4);
    }
}

#[test]
fn combinations_are_scaled_within_each_image() {
    let (model, images) = (Linear::new(), small_images(3));
    let unit = |values: Vec<f64>| -> Vec<f64> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.iter().map(|v| (v - low) / (high - low)).collect()
    };
    let parts = |x: &[f32]| {
        let gradient: Vec<f64> = model.by_divergence(x).iter().map(|v| v.abs()).collect();
        (unit(over_channels(&gradient)), over_channels(&model.loss(x)))
    };
    let product = expected(&images, |x| {
        let (gradient, loss) = parts(x);
        let lowest = loss.iter().copied().fold(f64::INFINITY, f64::min);
        gradient.iter().zip(loss).map(|(g, l)| g * (l - lowest)).collect()
    });
    let sum = expected(&images, |x| {
        let (gradient, loss) = parts(x);
        gradient.iter().zip(unit(loss)).map(|(g, l)| g + l).collect()
    });
    assert_close("product", &score(PredictorName::CombiProduct, &settings(), &images), &product, 1e-4);
    assert_close("sum", &score(PredictorName::CombiSum, &settings(), &images), &sum, 1e-4);
}

/// The mean of absolute gradients at noisy copies, every image with the same noise.
#[test]
fn smoothgrad_averages_over_its_copies() {
    let (model, images) = (Linear::new(), small_images(2));
    let mut settings = settings();
    (settings.gradient.copies, settings.gradient.deviation, settings.gradient.seed) = (5, 0.2, 9);
    let noise: Vec<Vec<f32>> = (0..5)
        .map(|copy| {
            let mut noise = vec![0.0; SIZE];
            random::fill_normal(&mut random::generator(9, copy), &mut noise);
            noise
        })
        .collect();
    let mean = expected(&images, |x| {
        let mut sum = vec![0.0; SIZE];
        for noise in &noise {
            let noisy: Vec<f32> = x.iter().zip(noise).map(|(x, n)| x + 0.2 * n).collect();
            sum.iter_mut().zip(model.by_divergence(&noisy)).for_each(|(sum, g)| *sum += g.abs() / 5.0);
        }
        over_channels(&sum)
    });
    assert_close("smoothgrad", &score(PredictorName::GradKl, &settings, &images), &mean, 1e-4);
    settings.gradient.seed = 10;
    assert_ne!(
        score(PredictorName::GradKl, &settings, &images),
        score(
            PredictorName::GradKl,
            &{
                let mut other = settings.clone();
                other.gradient.seed = 11;
                other
            },
            &images
        )
    );
}

fn projection(change: impl FnOnce(&mut ProjectionConfig)) -> Projection {
    let mut config = ProjectionConfig::default();
    config.range = Some([-100.0, 100.0]);
    (config.rate, config.step_rule) = (0.05, StepRule::Fixed);
    change(&mut config);
    Projection::new(linear(), config).unwrap()
}

/// `x - a dE/dx (x - y)^2`, with the whole gradient.
fn projected(model: &Linear, config: &ProjectionConfig, x: &[f32], start: &[f32]) -> Vec<f32> {
    let (y, gradient) = (model.expected(x), model.by_reconstruction(x));
    let [low, high] = config.range.unwrap();
    (0..SIZE)
        .map(|k| {
            let away = f64::from(x[k]) - f64::from(start[k]);
            let sign = if away == 0.0 { 0.0 } else { away.signum() };
            let slope = gradient[k] + config.distance * sign;
            let next = f64::from(x[k]) - config.rate * slope * (f64::from(x[k]) - y[k]).powi(2);
            next.clamp(f64::from(low), f64::from(high)) as f32
        })
        .collect()
}

#[test]
fn one_projection_step_without_distance_is_the_formula() {
    let (model, images) = (Linear::new(), small_images(2));
    let one = projection(|config| (config.steps, config.distance) = (1, 0.0));
    let traces = one.project(images.batch()).unwrap();
    for (trace, x) in traces.iter().zip(images.0.chunks(SIZE)) {
        let config = {
            let mut c = ProjectionConfig::default();
            (c.range, c.rate, c.distance) = (Some([-100.0, 100.0]), 0.05, 0.0);
            c
        };
        let next = projected(&model, &config, x, x);
        assert_close(
            "projected",
            &trace.projected,
            &next.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
            1e-5,
        );
        assert_close("its reconstruction", &trace.reconstruction, &model.expected(&next), 1e-5);
        assert_eq!((trace.steps, trace.energy.len(), trace.reconstruction_loss.len()), (1, 2, 2));
        for (found, x) in trace.reconstruction_loss.iter().zip([x, &next]) {
            let loss: f64 = model.loss(x).iter().sum();
            assert!((found - loss).abs() < 1e-4 * loss.abs(), "{found} {loss}");
        }
        assert_eq!(trace.energy, trace.reconstruction_loss);
    }
}

#[test]
fn projection_follows_its_formula_with_distance_and_clamp() {
    let (model, images) = (Linear::new(), small_images(2));
    let change = |config: &mut ProjectionConfig| {
        (config.steps, config.distance, config.range) = (4, 2.0, Some([0.1, 0.9]));
    };
    let mut config = ProjectionConfig::default();
    config.rate = 0.05;
    change(&mut config);
    let traces = projection(change).project(images.batch()).unwrap();
    for (trace, start) in traces.iter().zip(images.0.chunks(SIZE)) {
        let mut x = start.to_vec();
        for step in 0..=4 {
            let away: f64 = x.iter().zip(start).map(|(a, b)| f64::from((a - b).abs())).sum();
            let energy = model.loss(&x).iter().sum::<f64>() + 2.0 * away;
            assert!((trace.energy[step] - energy).abs() < 1e-4 * energy.abs(), "{step}");
            if step < 4 {
                x = projected(&model, &config, &x, start);
            }
        }
        assert!(x.iter().all(|v| (0.1..=0.9).contains(v)));
        assert_close(
            "projected",
            &trace.projected,
            &x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
            1e-4,
        );
    }
    // Maps: how far pixels moved, and how far they are from the end's reconstruction.
    for map in [ProjectionMap::Moved, ProjectionMap::Reconstructed] {
        let predictor = projection(|config| {
            change(config);
            config.map = map;
        });
        let ends = traces.iter().zip(images.0.chunks(SIZE).map(<[f32]>::to_vec).collect::<Vec<_>>());
        let expected: Vec<f64> = ends
            .flat_map(|(trace, start)| {
                let end = if map == ProjectionMap::Moved { &trace.projected } else { &trace.reconstruction };
                let moved = start.iter().zip(end).map(|(a, b)| f64::from((a - b).abs()));
                over_channels(&moved.collect::<Vec<_>>())
            })
            .collect();
        assert_close("map", &predictor.score(images.batch()).unwrap(), &expected, 1e-5);
    }
}

#[test]
fn each_image_stops_at_the_level_of_normals() {
    let images = small_images(4);
    let all = projection(|config| config.steps = 60).project(images.batch()).unwrap();
    // A level that the images reach after different numbers of steps, one of them at once, one never.
    let losses: Vec<f64> = all.iter().map(|trace| trace.reconstruction_loss[0]).collect();
    let lowest_end = all.iter().map(|trace| trace.reconstruction_loss[60]).fold(f64::INFINITY, f64::min);
    for level in losses.iter().copied().chain([lowest_end, -1e18, 1e18]) {
        let stopping = projection(|config| (config.steps, config.stop) = (60, Some(level)));
        for (row, (trace, full)) in stopping.project(images.batch()).unwrap().iter().zip(&all).enumerate() {
            let expected = full.reconstruction_loss.iter().position(|loss| *loss <= level).unwrap_or(60);
            assert_eq!(trace.steps, expected, "level {level}, image {row}");
            assert_eq!(trace.energy, full.energy[..=expected]);
            let alone = stopping.project(images.rows(row, 1).batch()).unwrap().remove(0);
            assert_eq!(&alone, trace, "neighbors that stop change nothing");
        }
    }
}

#[test]
fn the_stop_level_is_a_percentile_of_normals() {
    let (model, images) = (Linear::new(), small_images(5));
    let mut losses: Vec<f64> = images.0.chunks(SIZE).map(|x| model.loss(x).iter().sum()).collect();
    losses.sort_by(f64::total_cmp);
    let own = linear();
    let halves = [images.rows(0, 2), images.rows(2, 3)];
    for (percentile, rank) in [(0.0, 0), (24.0, 0), (25.0, 1), (50.0, 2), (100.0, 4)] {
        let level = Projection::stop_level(&*own, halves.iter().map(Images::batch), percentile).unwrap();
        assert!((level - losses[rank]).abs() < 1e-4 * losses[rank].abs(), "{percentile}");
    }
    assert!(Projection::stop_level(&*own, [], 50.0).is_err());
    assert!(Projection::stop_level(&*own, halves.iter().map(Images::batch), 101.0).is_err());
}

/// A projection of small steps walks down its energy all the way.
#[test]
fn projection_lowers_its_energy() {
    for distance in [0.0, 0.5] {
        let small = projection(|config| (config.steps, config.rate, config.distance) = (200, 0.02, distance));
        for trace in small.project(small_images(3).batch()).unwrap() {
            let first = trace.energy[0];
            let last = trace.energy[trace.energy.len() - 1];
            assert!(last < first - 1.0, "{first} to {last}");
            let rises = trace.energy.windows(2).filter(|pair| pair[1] > pair[0] + 1e-3).count();
            assert_eq!(rises, 0, "{:?}", trace.energy);
        }
    }
}

/// However high the rate, bounded steps never raise the energy and never go too far; the formula's own do.
#[test]
fn bounded_steps_never_raise_the_energy() {
    let images = small_images(3);
    let run = |rule: StepRule, steps: usize| {
        let wild = projection(|config| (config.steps, config.rate, config.step_rule) = (steps, 50.0, rule));
        wild.project(images.batch()).unwrap()
    };
    let rises = |traces: &[ProjectionTrace]| {
        let pairs = traces.iter().flat_map(|trace| trace.energy.windows(2));
        pairs.filter(|pair| pair[1] > pair[0]).count()
    };
    let bounded = run(StepRule::Bounded { largest: 0.1 }, 40);
    assert_eq!(rises(&bounded), 0);
    assert!(rises(&run(StepRule::Fixed, 40)) > 0);
    for trace in &bounded {
        assert!(trace.energy[trace.energy.len() - 1] < trace.energy[0] - 1.0, "{:?}", trace.energy);
        assert_eq!(trace.energy.len(), trace.steps + 1);
    }
    for (trace, image) in run(StepRule::Bounded { largest: 0.1 }, 1).iter().zip(images.0.chunks(SIZE)) {
        let farthest = trace.projected.iter().zip(image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!((farthest - 0.1).abs() < 1e-5, "{farthest}");
    }
}

/// Total variation of `X - x`, smoothed at 0 as the predictor says.
fn total_variation(change: &[f64]) -> f64 {
    let mut sum = 0.0;
    for plane in change.chunks(PIXELS) {
        for row in 0..HEIGHT {
            for column in 0..WIDTH {
                let at = row * WIDTH + column;
                let right = if column + 1 < WIDTH { plane[at + 1] - plane[at] } else { 0.0 };
                let down = if row + 1 < HEIGHT { plane[at + WIDTH] - plane[at] } else { 0.0 };
                sum += (right * right + down * down + 1e-6).sqrt();
            }
        }
    }
    sum
}

#[test]
fn restoration_climbs_its_objective() {
    let (model, images) = (Linear::new(), small_images(2));
    let objective = |x: &[f32], start: &[f32]| {
        let change: Vec<f64> = x.iter().zip(start).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        let bound = model.loss(x).iter().sum::<f64>() + model.beta * model.divergence(x);
        bound + 0.3 * total_variation(&change)
    };
    let start = images.0.clone();
    let mut before: Vec<f64> = start.chunks(SIZE).map(|x| objective(x, x)).collect();
    for steps in [5, 20, 80] {
        let mut config = RestorationConfig::default();
        (config.steps, config.rate, config.total_variation) = (steps, 2e-3, 0.3);
        let restored = Restoration::new(linear(), config).unwrap().restore(images.batch()).unwrap();
        for (row, (x, start)) in restored.chunks(SIZE).zip(start.chunks(SIZE)).enumerate() {
            let value = objective(x, start);
            assert!(value < before[row], "{steps} steps: {value} after {}", before[row]);
            before[row] = value;
        }
    }
}

#[test]
fn one_restoration_step_is_the_gradient() {
    let (model, images) = (Linear::new(), small_images(2));
    let mut config = RestorationConfig::default();
    (config.steps, config.rate, config.total_variation, config.largest_change) = (1, 1e-3, 5.0, 2e-3);
    let restoration = Restoration::new(linear(), config).unwrap();
    let expected = expected(&images, |x| {
        // At the start X = x, and the total variation has no slope.
        let (kl, rec) = (model.by_divergence(x), model.by_reconstruction(x));
        let change =
            kl.iter().zip(rec).map(|(kl, rec)| (1e-3 * (rec + model.beta * kl)).clamp(-2e-3, 2e-3).abs());
        over_channels(&change.collect::<Vec<_>>())
    });
    assert_close("restoration", &restoration.score(images.batch()).unwrap(), &expected, 1e-3);
}

fn stretched(images: &[f32]) -> Vec<f32> {
    images.iter().map(|value| 2.0 * value - 1.0).collect()
}

/// The linear model for images from -1 to 1.
fn stretched_model() -> Arc<dyn VariationalModel> {
    Arc::new(Altered {
        images: Box::new(|images| images.into_iter().map(|value| 0.5 * (value + 1.0)).collect()),
        reconstruction: Box::new(|values| stretched(&values)),
        decoded: Box::new(|values| stretched(&values)),
        gradients: Box::new(|mut found| {
            found.mean = stretched(&found.mean);
            for gradient in [&mut found.by_divergence, &mut found.by_reconstruction].into_iter().flatten() {
                gradient.iter_mut().for_each(|value| *value *= 0.5);
            }
            found
        }),
        ..Altered::of(linear())
    })
}

/// A range of inputs is a choice of units: it scales maps, and changes nothing else.
#[test]
fn inputs_of_another_range_give_the_same_maps() {
    let images = small_images(2);
    let wide = Images(stretched(&images.0), SHAPE);
    let (mut unit, mut own) = (settings(), settings());
    (unit.range, own.range) = (Some([0.0, 1.0]), Some([-1.0, 1.0]));
    for settings in [&mut unit, &mut own] {
        settings.gradient.copies = 3;
        settings.projection.steps = 10;
        settings.restoration.steps = 10;
    }
    let factors = [
        (PredictorName::PixelL1, 2.0),
        (PredictorName::PixelPositive, 2.0),
        (PredictorName::PixelNegative, 2.0),
        (PredictorName::PixelL2, 4.0),
        (PredictorName::PixelNll, 1.0),
        (PredictorName::PixelSsim, 1.0),
        (PredictorName::PixelGms, 1.0),
        (PredictorName::GradKl, 0.5),
        (PredictorName::GradRec, 0.5),
        (PredictorName::GradElbo, 0.5),
        (PredictorName::CombiProduct, 1.0),
        (PredictorName::CombiSum, 1.0),
        (PredictorName::Projection, 2.0),
        (PredictorName::ProjectionReconstruction, 2.0),
        (PredictorName::Restoration, 2.0),
    ];
    for name in PredictorName::ALL {
        let has_no_variational_model = matches!(name, PredictorName::Intensity | PredictorName::AnomalyLogit);
        assert!(
            has_no_variational_model || factors.iter().any(|(own, _)| *own == name),
            "{name} is not tested"
        );
    }
    for (name, factor) in factors {
        let expected: Vec<f64> =
            score(name, &unit, &images).iter().map(|&value| factor * f64::from(value)).collect();
        let found = predictor_over(name, stretched_model(), &own).unwrap().score(wide.batch()).unwrap();
        assert!(expected.iter().any(|&value| value > 1e-3), "{name} says nothing");
        assert_close(&name.to_string(), &found, &expected, 2e-3);
    }
}

/// A range that is narrower than the image begins the descent, however much that raises the energy: rejecting it would leave a
/// map of zeros, which is that of a perfectly normal image.
#[test]
fn a_projection_begins_within_its_range() {
    let images = small_images(2);
    let range = [0.45, 0.55];
    let narrow = projection(|config| (config.range, config.step_rule) = (Some(range), StepRule::bounded()));
    for (trace, start) in narrow.project(images.batch()).unwrap().iter().zip(images.0.chunks(SIZE)) {
        assert!(start.iter().any(|value| !(range[0]..=range[1]).contains(value)), "nothing to bring in");
        assert!(trace.projected.iter().all(|value| (range[0]..=range[1]).contains(value)));
        assert!(trace.energy.is_sorted_by(|a, b| a >= b), "{:?}", trace.energy);
    }
}

/// Without a range, pixels stay within the image's own.
#[test]
fn a_projection_leaves_inputs_beyond_0_to_1_where_they_are() {
    let images = small_images(2);
    let wide = Images(stretched(&images.0), SHAPE);
    let mut config = ProjectionConfig::default();
    config.steps = 1;
    let traces = Projection::new(stretched_model(), config).unwrap().project(wide.batch()).unwrap();
    for (trace, start) in traces.iter().zip(wide.0.chunks(SIZE)) {
        let moved = trace.projected.iter().zip(start).map(|(end, start)| (end - start).abs());
        assert!(moved.fold(0.0, f32::max) <= 0.0201);
    }
    // A file of an earlier version states [0, 1] for every model.
    let read = |text: &str| serde_json::from_str::<ProjectionConfig>(text).unwrap().range;
    assert_eq!(read(r#"{"range": [0.0, 1.0]}"#), None);
    assert_eq!(read(r#"{"range": [-1.0, 1.0]}"#), Some([-1.0, 1.0]));
    assert_eq!((read("{}"), read(r#"{"range": null}"#)), (None, None));
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |name, change: &dyn Fn(&mut PredictorSettings)| {
        let mut settings = PredictorSettings::default();
        change(&mut settings);
        predictor_over(name, linear(), &settings).err().map(|error| error.to_string())
    };
    let faults: [(PredictorName, &dyn Fn(&mut PredictorSettings), &str); 9] = [
        (PredictorName::PixelSsim, &|s| s.range = Some([1.0, 1.0]), "range"),
        (PredictorName::GradKl, &|s| s.gradient.smoothing = 1e18, "smoothing"),
        (PredictorName::GradRec, &|s| s.gradient.smoothing = f64::NAN, "smoothing"),
        (PredictorName::CombiSum, &|s| s.gradient.deviation = -1.0, "deviation"),
        (PredictorName::Projection, &|s| s.projection.rate = f64::INFINITY, "rate"),
        (PredictorName::Projection, &|s| s.projection.range = Some([1.0, 0.0]), "range"),
        (PredictorName::Projection, &|s| s.projection.range = Some([f32::NAN, 0.0]), "range"),
        (PredictorName::ProjectionReconstruction, &|s| s.projection.stop = Some(f64::NAN), "stop"),
        (PredictorName::Restoration, &|s| s.restoration.largest_change = -0.1, "largest_change"),
    ];
    for (name, change, word) in faults {
        let message = refused(name, change).unwrap();
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(refused(PredictorName::GradKl, &|s| s.gradient = GradientConfig::default()), None);
}
