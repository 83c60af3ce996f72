//! All operations against plain loops in `f64`, on every path.

use super::*;
use crate::convolution::ConvolutionShape;
use crate::images::clear;
use crate::layout::Border;
use crate::raw::{Isa, with_workers};
use proptest::prelude::*;

/// Values in -1..1 that look random.
fn noise(len: usize, seed: usize) -> Vec<f32> {
    let value = |index: usize| {
        let mixed = (index + 1).wrapping_mul(seed * 2 + 0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
        ((mixed >> 16) % 20_011) as f32 / 10_005.5 - 1.0
    };
    (0..len).map(value).collect()
}

/// Images of noise, their border zero, as a range of the channels of wider pixels.
#[derive(Clone)]
struct Held {
    layout: ImageLayout,
    values: Vec<f32>,
}

impl Held {
    fn new(
        samples: usize,
        channels: usize,
        size: [usize; 2],
        border: Border,
        wider: usize,
        seed: usize,
    ) -> Self {
        let whole = ImageLayout::new(channels + wider, size[0], size[1], border).unwrap();
        let layout = whole.channel_range(wider.div_ceil(2), channels).unwrap();
        let mut values = vec![0.0; whole.len(samples).unwrap()];
        let noise = noise(samples * whole.values(), seed);
        with_workers(Isa::PORTABLE, |workers| {
            let to = ImagesMut::new(&mut values, &whole);
            crate::images::from_planes(workers, samples, &noise, to, Combine::Replace).unwrap();
        });
        Self { layout, values }
    }

    fn images(&self) -> Images<'_> {
        Images::new(&self.values, &self.layout)
    }

    /// A value, or zero outside.
    fn at(&self, sample: usize, row: isize, column: isize, channel: usize) -> f64 {
        let (height, width) = (self.layout.height() as isize, self.layout.width() as isize);
        if !(0..height).contains(&row) || !(0..width).contains(&column) {
            return 0.0;
        }
        f64::from(self.values[self.layout.index(sample, row as usize, column as usize) + channel])
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Kernel and stride.
    form: [usize; 2],
    samples: usize,
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    padding: usize,
    wider: [usize; 2],
    add: bool,
    bias: bool,
    mask: bool,
}

/// How far sums of `terms` products of values up to 1 may be off. Each of the additions of such a sum
/// rounds by at most 6e-8 of what it has reached, which is far below `terms`: with signs at random it
/// stays near the root of it, and errors cancel too, so that 6e-8 a term is ample for plain sums.
/// The sums before and after the products add up to 25 times the largest product where plain sums add
/// up 3 (the largest row sum of |A'| (|G| 1 . |B'| 1)): that is the factor of their rounding.
fn tolerance(terms: usize) -> f64 {
    6e-8 * 25.0 / 3.0 * (terms + 10) as f64
}

/// Calls `visit` with each sample, row, column and channel of images.
fn every(samples: usize, layout: &ImageLayout, mut visit: impl FnMut(usize, usize, usize, usize)) {
    for sample in 0..samples {
        for row in 0..layout.height() {
            for column in 0..layout.width() {
                (0..layout.channels()).for_each(|channel| visit(sample, row, column, channel));
            }
        }
    }
}

/// Compares images with what is expected of sums, and all around them with what was there.
#[allow(clippy::too_many_arguments)] // All that makes a result.
fn check_images(
    case: Case,
    what: &str,
    before: &Held,
    after: &Held,
    mask: &Held,
    bias: &[f32],
    sum: impl Fn(usize, isize, isize, usize) -> f64,
    terms: usize,
) {
    let mut rest = (before.values.clone(), after.values.clone());
    every(case.samples, &before.layout, |s, y, x, c| {
        let mut expected = sum(s, y as isize, x as isize, c);
        expected += if case.add { before.at(s, y as isize, x as isize, c) } else { 0.0 };
        expected += if case.bias { f64::from(bias[c]) } else { 0.0 };
        expected *= if expected > 0.0 { 1.0 } else { 0.2 };
        let masked = case.mask && mask.at(s, y as isize, x as isize, c) <= 0.0;
        expected *= if masked { 0.3 } else { 1.0 };
        let found = after.at(s, y as isize, x as isize, c);
        assert!(
            (found - expected).abs() < tolerance(terms),
            "{what} {case:?} at {:?}: {found} {expected}",
            (s, y, x, c)
        );
        let index = before.layout.index(s, y, x) + c;
        (rest.0[index], rest.1[index]) = (0.0, 0.0);
    });
    assert_eq!(rest.0, rest.1, "{what} {case:?} writes elsewhere");
}

fn check(case: Case) {
    let Case { form: [kernel, stride], samples, inputs, outputs, size, padding, wider, .. } = case;
    let geometry = ConvolutionShape::new(kernel, stride, padding, inputs, outputs).unwrap();
    let least = if stride == 1 { LEAST_CHANNELS } else { LEAST_HALVING_CHANNELS };
    let worth = inputs.min(outputs) >= least;
    assert_eq!(geometry.packed_len() > 0, worth);
    let small_size = size.map(|size| (size + 2 * padding - kernel) / stride + 1);
    let borders = [geometry.input_border(size, small_size), geometry.output_border(size, small_size)];
    let large = Held::new(samples, inputs, size, borders[0], wider[0], 1);
    let small = Held::new(samples, outputs, small_size, borders[1], wider[1], 2);
    let masks = [
        Held::new(samples, inputs, size, Border::NONE, wider[1], 3),
        Held::new(samples, outputs, small_size, Border { before: 1, after: 0 }, wider[0], 4),
    ];
    let bias = noise(inputs.max(outputs), 5);
    let weights = {
        let mut weights = vec![0.0; geometry.weights_len()];
        let values = noise(outputs * inputs * kernel * kernel, 6);
        for (index, value) in values.into_iter().enumerate() {
            let (pair, r, c) = (index / kernel / kernel, index / kernel % kernel, index % kernel);
            let (o, i) = (pair / inputs, pair % inputs);
            weights[geometry.weight_index(o, i, r, c)] = value;
        }
        weights
    };
    let weight = |o, i, r: usize, c: usize| f64::from(weights[geometry.weight_index(o, i, r, c)]);
    let taps = || (0..kernel).flat_map(|r| (0..kernel).map(move |c| (r, c)));
    let (p, step) = (padding as isize, stride as isize);
    let epilogue = |mask: usize| Epilogue {
        combine: if case.add { Combine::Add } else { Combine::Replace },
        bias: case.bias.then_some(&bias[..]),
        slope: 0.2,
        rectifier: case.mask.then(|| Rectifier { images: masks[mask].images(), slope: 0.3 }),
    };
    for isa in Isa::available() {
        let run = |threads: usize| {
            let (mut to_small, mut to_large) = (small.clone(), large.clone());
            let mut gradient = vec![9.0; geometry.weights_len()];
            let mut scratch = vec![f32::NAN; geometry.gradient_scratch(samples)];
            let mut packed = vec![f32::NAN; geometry.packed_len()];
            let mut adjoint = vec![f32::NAN; geometry.adjoint_len()];
            let work = |workers: &Workers<'_>| {
                geometry.pack(workers, &weights, &mut packed).unwrap();
                geometry.pack_adjoint(workers, &weights, &mut adjoint).unwrap();
                let to = ImagesMut::new(&mut to_small.values, &small.layout);
                let from = large.images();
                geometry.forward_packed(workers, samples, from, &weights, &packed, to, epilogue(1)).unwrap();
                let to = ImagesMut::new(&mut to_large.values, &large.layout);
                geometry.adjoint(workers, samples, small.images(), &adjoint, to, epilogue(0)).unwrap();
                let (from, of) = (large.images(), small.images());
                geometry.weight_gradient(workers, samples, from, of, &mut gradient, &mut scratch).unwrap();
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with_workers(isa, work));
            (to_small, to_large, gradient)
        };
        let (to_small, to_large, gradient) = run(1);
        let others = run(3);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(
            bits(&to_small.values) == bits(&others.0.values)
                && bits(&to_large.values) == bits(&others.1.values)
                && bits(&gradient) == bits(&others.2),
            "{case:?} depends on threads"
        );
        let sum = |s, y: isize, x: isize, o| {
            taps()
                .flat_map(|(r, c)| (0..inputs).map(move |i| (r, c, i)))
                .map(|(r, c, i)| {
                    let (y, x) = (y * step + r as isize - p, x * step + c as isize - p);
                    weight(o, i, r, c) * large.at(s, y, x, i)
                })
                .sum()
        };
        check_images(case, "forward", &small, &to_small, &masks[1], &bias, sum, kernel * kernel * inputs);
        let sum = |s, y: isize, x: isize, i| {
            taps()
                .flat_map(|(r, c)| (0..outputs).map(move |o| (r, c, o)))
                .map(|(r, c, o)| {
                    let (y, x) = (y + p - r as isize, x + p - c as isize);
                    let meets = y.rem_euclid(step) == 0 && x.rem_euclid(step) == 0;
                    let value = small.at(s, y.div_euclid(step), x.div_euclid(step), o);
                    if meets { weight(o, i, r, c) * value } else { 0.0 }
                })
                .sum()
        };
        check_images(
            case,
            "adjoint",
            &large,
            &to_large,
            &masks[0],
            &bias,
            sum,
            kernel * kernel / stride / stride * outputs,
        );
        for (r, c) in taps() {
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                let mut expected = 0.0;
                for s in 0..samples {
                    for y in 0..small_size[0] as isize {
                        for x in 0..small_size[1] as isize {
                            expected += small.at(s, y, x, o)
                                * large.at(s, y * step + r as isize - p, x * step + c as isize - p, i);
                        }
                    }
                }
                let found = f64::from(gradient[geometry.weight_index(o, i, r, c)]);
                let terms = samples * small_size[0] * small_size[1];
                assert!(
                    (found - expected).abs() < tolerance(terms),
                    "gradient {case:?} {:?}: {found} {expected}",
                    (o, i, r, c)
                );
            }
        }
    }
}

const PLAIN: Case = Case {
    form: [3, 1],
    samples: 1,
    inputs: 16,
    outputs: 16,
    size: [5, 7],
    padding: 1,
    wider: [0; 2],
    add: false,
    bias: false,
    mask: false,
};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 64 },
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn all_three_operations_are_those_of_plain_loops(
        channels in prop::sample::select(vec![1, 3, 7, 8, 15, 16, 17, 24, 32, 33, 48]),
        outputs in prop::sample::select(vec![1, 7, 8, 16, 16, 17, 20, 32, 35]),
        (height, width, samples, padding) in (1_usize..14, 1_usize..22, 1_usize..4, 0_usize..3),
        wider in (0_usize..3, 0_usize..3),
        (add, bias, mask) in (any::<bool>(), any::<bool>(), any::<bool>()),
        form in prop::sample::select(vec![[3, 1], [4, 2]]),
    ) {
        prop_assume!(height.min(width) + 2 * padding >= form[0]);
        let (size, wider) = ([height, width], [wider.0, wider.1]);
        check(Case { form, samples, inputs: channels, outputs, size, padding, wider, add, bias, mask });
    }
}

#[test]
fn no_samples_are_no_work() {
    let geometry = ConvolutionShape::new(3, 1, 1, 16, 16).unwrap();
    let layout = ImageLayout::new(16, 4, 4, Border { before: 1, after: 1 }).unwrap();
    let mut weights = vec![1.0; geometry.weights_len()];
    let packed = vec![0.0; geometry.packed_len()];
    with_workers(Isa::best(), |workers| {
        let (from, epilogue) = (Images::new(&[], &layout), Epilogue::default());
        let to = ImagesMut::new(&mut [], &layout);
        geometry.forward_packed(workers, 0, from, &weights, &packed, to, epilogue).unwrap();
        let mut scratch = vec![0.0; geometry.gradient_scratch(0)];
        geometry.weight_gradient(workers, 0, from, from, &mut weights, &mut scratch).unwrap();
        let to = ImagesMut::new(&mut [], &layout);
        let short = geometry.forward_packed(workers, 0, from, &weights, &packed[1..], to, epilogue);
        assert!(short.is_err());
    });
    assert!(weights.iter().all(|&value| value == 0.0));
}

#[test]
fn images_larger_than_a_unit_are_cut() {
    if cfg!(miri) {
        return;
    }
    // Wide, high, with many weights, and the gradient of many inputs.
    for (inputs, outputs, size) in
        [(16, 16, [3, 330]), (16, 16, [139, 6]), (64, 65, [9, 5]), (128, 48, [6, 3]), (16, 17, [1, 1])]
    {
        check(Case { inputs, outputs, size, samples: 2, mask: true, ..PLAIN });
    }
    for (inputs, outputs, size) in
        [(16, 16, [5, 661]), (16, 16, [279, 7]), (64, 65, [18, 10]), (128, 48, [13, 6]), (16, 17, [2, 2])]
    {
        for samples in [1, 2] {
            check(Case { form: [4, 2], inputs, outputs, size, samples, mask: true, ..PLAIN });
        }
    }
}

/// A sample's results do not depend on the samples beside it.
#[test]
fn samples_do_not_depend_on_their_neighbors() {
    let geometry = ConvolutionShape::new(3, 1, 1, 20, 16).unwrap();
    let size = [11, 9];
    let border = geometry.input_border(size, size);
    let large = Held::new(3, 20, size, border, 0, 1);
    let dense = ImageLayout::new(16, size[0], size[1], Border::NONE).unwrap();
    let weights = noise(geometry.weights_len(), 2);
    for isa in Isa::available() {
        with_workers(isa, |workers| {
            let mut packed = vec![0.0; geometry.packed_len()];
            geometry.pack(workers, &weights, &mut packed).unwrap();
            let forward = |samples: usize, values: &[f32]| {
                let mut to = vec![0.0; dense.len(samples).unwrap()];
                let (from, to_images) = (Images::new(values, &large.layout), ImagesMut::new(&mut to, &dense));
                let epilogue = Epilogue::default();
                geometry
                    .forward_packed(workers, samples, from, &weights, &packed, to_images, epilogue)
                    .unwrap();
                to
            };
            let all = forward(3, &large.values);
            let one = large.layout.sample_stride();
            for sample in 0..3 {
                let alone = forward(1, &large.values[sample * one..(sample + 1) * one]);
                assert_eq!(alone, all[sample * dense.values()..(sample + 1) * dense.values()], "{isa:?}");
            }
        });
    }
}

/// The matrices round little: errors are within a few times those of the direct sums.
#[test]
fn rounding_is_within_a_few_times_that_of_direct_sums() {
    if cfg!(miri) {
        return;
    }
    let (channels, size) = (64, [16, 16]);
    let geometry = ConvolutionShape::new(3, 1, 1, channels, channels).unwrap();
    let border = geometry.input_border(size, size);
    let large = Held::new(1, channels, size, border, 0, 1);
    let mut small = Held::new(1, channels, size, Border::NONE, 0, 2);
    let weights = noise(geometry.weights_len(), 3);
    let mut packed = vec![0.0; geometry.packed_len()];
    with_workers(Isa::best(), |workers| {
        geometry.pack(workers, &weights, &mut packed).unwrap();
        clear(workers, 1, ImagesMut::new(&mut small.values, &small.layout)).unwrap();
        let (layout, epilogue) = (small.layout, Epilogue::default());
        let mut error = |packed: Option<&[f32]>| {
            let to = ImagesMut::new(&mut small.values, &layout);
            match packed {
                Some(packed) => {
                    geometry.forward_packed(workers, 1, large.images(), &weights, packed, to, epilogue)
                }
                None => geometry.forward(workers, 1, large.images(), &weights, to, epilogue),
            }
            .unwrap();
            let (mut squares, mut scale) = (0.0, 0.0);
            every(1, &layout, |s, y, x, o| {
                let mut exact = 0.0;
                for (r, c) in (0..3).flat_map(|r| (0..3).map(move |c| (r, c))) {
                    for i in 0..channels {
                        exact += f64::from(weights[geometry.weight_index(o, i, r, c)])
                            * large.at(s, (y + r) as isize - 1, (x + c) as isize - 1, i);
                    }
                }
                squares += (exact - small.at(s, y as isize, x as isize, o)).powi(2);
                scale += exact.powi(2);
            });
            (squares / scale).sqrt()
        };
        let (direct, transformed) = (error(None), error(Some(&packed)));
        println!("relative error {direct:e} direct, {transformed:e} by sums");
        assert!(direct < 1e-6 && transformed < 4.0 * direct, "{direct:e} {transformed:e}");
    });
}
