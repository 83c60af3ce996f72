//! The candle operations over own kernels against the candle module in f64, whose gradients
//! `candle_gradients.rs` holds to central differences.
#![allow(missing_docs, clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor, Var};
use lesio_nn::candle::CandleNetwork;
use lesio_nn::candle::ops::{self, Window};
use lesio_nn::{Bias, Convolution, Initialization, Layer, NetworkBuilder, ParameterSet, Shape, random};
use proptest::prelude::*;

fn draws(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    let shape = shape.into();
    let mut values = vec![0f32; shape.elem_count()];
    random::fill_normal(&mut random::generator(seed, 0), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn largest_difference(found: &Tensor, expected: &Tensor) -> f64 {
    let difference = (found.to_dtype(DType::F64).unwrap() - expected).unwrap();
    let of = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    of(&difference) / of(expected).max(1e-6)
}

/// Compares value and gradients of an operation with those of a layer of the same parameters.
fn check(
    layer: Layer,
    shape: Shape,
    samples: usize,
    operation: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor>,
) {
    let mut net = NetworkBuilder::new();
    let x = net.input("x", shape);
    let y = net.layer("y", layer.clone(), &[x]).unwrap();
    let network = net.finish(&[y]).unwrap();
    let mut parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 5);
    for name in ["y.weight", "y.bias"] {
        let values = parameters.get_mut(name).map(lesio_nn::Parameter::values_mut).unwrap_or_default();
        values.iter_mut().enumerate().for_each(|(k, value)| *value += 0.1 * ((k % 7) as f32 - 3.0));
    }
    let exact = CandleNetwork::new(&network, &parameters, DType::F64, &Device::Cpu).unwrap();
    let image = draws(1, (samples, shape.channels, shape.height, shape.width));
    let single = Var::from_tensor(&image).unwrap();
    let double = Var::from_tensor(&image.to_dtype(DType::F64).unwrap()).unwrap();
    let variable = |name: &str| {
        let values = parameters.get(name)?;
        let tensor = Tensor::from_slice(values.values(), values.shape(), &Device::Cpu).unwrap();
        Some(Var::from_tensor(&tensor).unwrap())
    };
    let own: Vec<(&str, Var)> =
        ["y.weight", "y.bias"].into_iter().filter_map(|name| Some((name, variable(name)?))).collect();
    let tensors: Vec<Tensor> = own.iter().map(|(_, var)| var.as_tensor().clone()).collect();

    let expected = exact.forward(&[double.as_tensor().clone()]).unwrap().remove(0);
    let found = operation(&single, &tensors).unwrap();
    assert_eq!(found.shape(), expected.shape(), "{layer:?}");
    assert!(largest_difference(&found, &expected) < 2e-5, "{layer:?} {shape}");

    let weights = draws(2, expected.shape().clone());
    let objective = |value: &Tensor, weights: &Tensor| (value * weights).unwrap().sum_all().unwrap();
    let gradients = objective(&found, &weights).backward().unwrap();
    let exact_gradients = objective(&expected, &weights.to_dtype(DType::F64).unwrap()).backward().unwrap();
    let compare = |name: &str, found: &Tensor, expected: &Tensor| {
        let (found, expected) = (gradients.get(found).unwrap(), exact_gradients.get(expected).unwrap());
        let difference = largest_difference(found, expected);
        assert!(difference < 5e-5, "{layer:?} {shape}: gradient of {name} differs by {difference}");
    };
    compare("the image", &single, &double);
    for (name, var) in &own {
        compare(name, var, exact.variable(name).unwrap());
    }

    // With everything else frozen, each gradient comes alone and is the same.
    let frozen: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
    let alone = objective(&operation(&single, &frozen).unwrap(), &weights).backward().unwrap();
    let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(bits(alone.get(&single).unwrap()), bits(gradients.get(&single).unwrap()));
    for index in 0..own.len() {
        assert!(alone.get(&frozen[index]).is_none() && alone.get(&own[index].1).is_none());
        let mut mixed = frozen.clone();
        mixed[index] = tensors[index].clone();
        let value = operation(&single.as_tensor().detach(), &mixed).unwrap();
        let alone = objective(&value, &weights).backward().unwrap();
        assert_eq!(bits(alone.get(&own[index].1).unwrap()), bits(gradients.get(&own[index].1).unwrap()));
        assert!(alone.get(&single).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn convolutions_agree_with_the_candle_module(
        (channels, height, width, samples) in (1_usize..20, 1_usize..11, 1_usize..11, 1_usize..4),
        (outputs, kernel, stride, padding) in (1_usize..20, 1_usize..6, 1_usize..4, 0_usize..3),
        (bias, transposed) in (any::<bool>(), any::<bool>()),
    ) {
        let fits = if transposed {
            (height.min(width) - 1) * stride + kernel > 2 * padding
        } else {
            height.min(width) + 2 * padding >= kernel
        };
        prop_assume!(fits && padding < kernel);
        let window = Window::new(kernel).stride(stride).padding(padding);
        let convolution = Convolution::new(outputs, kernel).stride(stride).padding(padding)
            .bias(if bias { Bias::Learned } else { Bias::None });
        let shape = Shape::new(channels, height, width);
        if transposed {
            check(Layer::TransposedConvolution(convolution), shape, samples, |x, p| {
                ops::transposed_convolution(x, &p[0], p.get(1), window)
            });
        } else {
            check(Layer::Convolution(convolution), shape, samples, |x, p| {
                ops::convolution(x, &p[0], p.get(1), window)
            });
        }
    }

    /// The layers that are computed by sums of rows.
    #[test]
    fn convolutions_of_many_channels_agree_with_the_candle_module(
        (channels, height, width, samples) in (8_usize..36, 2_usize..11, 2_usize..11, 1_usize..4),
        (outputs, padding) in (8_usize..36, 0_usize..3),
        transposed in any::<bool>(),
    ) {
        prop_assume!(if transposed { padding < 2 || height.min(width) > 2 } else { height.min(width) + 2 * padding > 2 });
        let window = Window::new(3).padding(padding);
        let convolution = Convolution::new(outputs, 3).padding(padding);
        let shape = Shape::new(channels, height, width);
        if transposed {
            check(Layer::TransposedConvolution(convolution), shape, samples, |x, p| {
                ops::transposed_convolution(x, &p[0], p.get(1), window)
            });
        } else {
            check(Layer::Convolution(convolution), shape, samples, |x, p| {
                ops::convolution(x, &p[0], p.get(1), window)
            });
        }
    }

    #[test]
    fn layers_without_weights_agree_with_the_candle_module(
        (channels, height, width, samples) in (1_usize..40, 1_usize..9, 1_usize..9, 1_usize..4),
        (rows, columns, factor) in (1_usize..4, 1_usize..4, 1_usize..4),
    ) {
        prop_assume!(rows <= height && columns <= width);
        let (shape, window) = (Shape::new(channels, height, width), [rows, columns]);
        check(Layer::MaxPool { window }, shape, samples, |x, _| ops::max_pool(x, window));
        check(Layer::AveragePool { window }, shape, samples, |x, _| ops::average_pool(x, window));
        check(Layer::UpsampleNearest { factor }, shape, samples, |x, _| ops::upsample_nearest(x, factor));
        check(Layer::UpsampleBilinear { factor }, shape, samples, |x, _| ops::upsample_bilinear(x, factor));
    }

    #[test]
    fn group_normalizations_agree_with_the_candle_module(
        (groups, size, height, width, samples) in (1_usize..5, 1_usize..5, 2_usize..9, 2_usize..9, 1_usize..4),
    ) {
        let (shape, epsilon) = (Shape::new(groups * size, height, width), 1e-3);
        check(Layer::GroupNormalization { groups, epsilon }, shape, samples, |x, p| {
            ops::group_normalization(x, &p[0], &p[1], groups, epsilon)
        });
    }
}

/// In f64 the layers are composed of candle's operations, as on a graphics card.
#[test]
fn other_precisions_agree() {
    let image = Var::from_tensor(&draws(1, (2, 4, 6, 10))).unwrap();
    let weight = draws(2, (4, 4, 3, 3));
    let (scale, shift) = (draws(3, 4), draws(4, 4));
    let window = Window::new(3).stride(2).padding(1);
    let run = |dtype| {
        let of = |tensor: &Tensor| tensor.to_dtype(dtype).unwrap();
        let (weight, scale, shift) = (of(&weight), of(&scale), of(&shift));
        let x = ops::group_normalization(&of(&image), &scale, &shift, 2, 1e-5).unwrap();
        let x = ops::convolution(&x, &weight, Some(&shift), window).unwrap();
        let x = ops::transposed_convolution(&x, &weight, Some(&scale), window).unwrap();
        let x = (ops::upsample_nearest(&x, 2).unwrap() + ops::upsample_bilinear(&x, 2).unwrap()).unwrap();
        let x = (ops::max_pool(&x, [2, 3]).unwrap() + ops::average_pool(&x, [2, 3]).unwrap()).unwrap();
        let gradients = x.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        (of(&x), gradients.get(&image).unwrap().clone())
    };
    let ((single, single_gradient), (double, double_gradient)) = (run(DType::F32), run(DType::F64));
    assert!(largest_difference(&single, &double) < 2e-5);
    assert!(largest_difference(&single_gradient, &double_gradient.to_dtype(DType::F64).unwrap()) < 5e-5);
}

#[test]
fn tensors_that_are_turned_are_read_in_their_order() {
    let image = draws(1, (2, 3, 5, 7));
    let weight = draws(2, (4, 3, 3, 3));
    let turned = image.transpose(2, 3).unwrap();
    let window = Window::new(3);
    let found = ops::convolution(&turned, &weight, None, window).unwrap();
    let expected = ops::convolution(&turned.contiguous().unwrap(), &weight, None, window).unwrap();
    assert_eq!(
        found.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        expected.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    );
}

/// By the kernels (f32), and composed of candle's operations (f64).
#[test]
fn what_does_not_fit_is_refused() {
    refuses(DType::F32);
    refuses(DType::F64);
}

fn refuses(dtype: DType) {
    let draws = |seed, shape: &[usize]| draws(seed, shape).to_dtype(dtype).unwrap();
    let image = draws(1, &[1, 3, 4, 4]);
    let weight = draws(2, &[2, 3, 3, 3]);
    let other = if dtype == DType::F32 { DType::F64 } else { DType::F32 };
    let convolution = |image: &Tensor, weight: &Tensor, bias: Option<&Tensor>, window| {
        ops::convolution(image, weight, bias, window).is_err()
    };
    assert!(convolution(&image, &weight, None, Window::new(2)));
    assert!(convolution(&image, &weight, None, Window::new(3).stride(0)));
    assert!(convolution(&image, &weight, Some(&draws(3, &[3])), Window::new(3)));
    assert!(convolution(&image, &draws(2, &[2, 4, 3, 3]), None, Window::new(3)));
    assert!(convolution(&image, &draws(2, &[2, 3, 5, 5]), None, Window::new(5)));
    assert!(convolution(&image.to_dtype(other).unwrap(), &weight, None, Window::new(3)));
    assert!(convolution(&image.flatten_all().unwrap(), &weight, None, Window::new(3)));
    assert!(
        ops::transposed_convolution(&image, &draws(2, &[3, 2, 3, 3]), None, Window::new(3).padding(6))
            .is_err()
    );
    // With lesio's own message, as a graphics card gives it.
    let other_channels = draws(2, &[4, 4, 3, 3]);
    for error in [
        ops::convolution(&image, &other_channels, None, Window::new(3)).unwrap_err(),
        ops::transposed_convolution(&image, &other_channels, None, Window::new(3)).unwrap_err(),
    ] {
        assert!(error.to_string().contains("expected 4 channels"), "{dtype:?}: {error}");
    }
    for (outputs, values) in [(1, 8), (8, 1)] {
        let (weight, bias) = (draws(2, &[outputs, 3, 3, 3]), draws(3, &[values]));
        assert!(convolution(&image, &weight, Some(&bias), Window::new(3)), "{dtype:?}: {values} values");
        let weight = weight.transpose(0, 1).unwrap();
        assert!(ops::transposed_convolution(&image, &weight, Some(&bias), Window::new(3)).is_err());
    }
    let pixel = draws(1, &[1, 3, 1, 1]);
    let nothing_left = Window::new(2).padding(1);
    assert!(ops::transposed_convolution(&pixel, &draws(2, &[3, 3, 2, 2]), None, nothing_left).is_err());
    for padding in [1 << 62, 1 << 63, usize::MAX] {
        let window = Window::new(3).padding(padding);
        assert!(convolution(&image, &weight, None, window), "{dtype:?}: a padding of {padding}");
        assert!(ops::transposed_convolution(&image, &draws(2, &[3, 2, 3, 3]), None, window).is_err());
    }
    assert!(ops::max_pool(&image, [0, 2]).is_err());
    assert!(ops::average_pool(&image, [5, 1]).is_err());
    assert!(ops::upsample_nearest(&image, 0).is_err());
    assert!(ops::upsample_bilinear(&image, usize::MAX).is_err());
    let (three, four) = (draws(4, &[3]), draws(5, &[4]));
    assert!(ops::group_normalization(&image, &three, &three, 2, 1e-5).is_err());
    assert!(ops::group_normalization(&image, &four, &three, 3, 1e-5).is_err());
    assert!(ops::group_normalization(&image, &three, &three, 3, 1e-5).is_ok());
}

/// A single row or pixel that padding leaves of a larger image lies within that image's storage.
#[test]
fn what_padding_leaves_is_taken_from_its_place() {
    for (height, width, kernel, stride, padding) in
        [(2, 2, 3, 2, 2), (1, 4, 3, 1, 1), (2, 5, 3, 2, 2), (1, 1, 5, 3, 2)]
    {
        let window = Window::new(kernel).stride(stride).padding(padding);
        let convolution = Convolution::new(1, kernel).stride(stride).padding(padding).bias(Bias::Learned);
        check(Layer::TransposedConvolution(convolution), Shape::new(1, height, width), 1, |x, p| {
            ops::transposed_convolution(x, &p[0], p.get(1), window)
        });
    }
}
