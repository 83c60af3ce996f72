//! Products on tiles and on every other path against their definition.

use super::super::operands::{Finish, Gemm, Kind, Mask, Operands, Prefetch};
use super::*;
use crate::raw::{Isa, with_workers};

/// Small whole numbers, so that no sum is rounded.
fn numbers(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 20) % 9) as f32 - 4.0
    }
}

fn words(len: usize, mut number: impl FnMut() -> f32) -> Vec<f32> {
    let word = |low: f32, high: f32| f32::from_bits(low.to_bits() >> 16 | high.to_bits());
    (0..len).map(|_| word(number(), number())).collect()
}

fn product_of_words(a: f32, b: f32) -> f32 {
    let halves = |word: f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000].map(f32::from_bits);
    halves(a).iter().zip(halves(b)).map(|(a, b)| a * b).sum()
}

#[test]
fn cuts_cover_all_and_fit() {
    for count in 1..200 {
        for cuts in [runs(count).collect::<Vec<_>>(), heights(count).collect()] {
            let mut next = 0;
            for (start, size, count) in cuts {
                assert_eq!(start, next);
                assert!((1..=SIDE).contains(&size));
                next += size * count;
            }
            assert_eq!(next, count);
        }
    }
}

#[test]
fn products_of_pairs_are_those_of_their_definition() {
    // Lanes, columns, rows and columns of taps, pairs of channels.
    let shapes: [[usize; 5]; 9] = [
        [16, 16, 1, 1, 16],
        [32, 40, 2, 2, 16],
        [20, 17, 2, 3, 9],
        [48, 5, 3, 1, 20],
        [33, 33, 1, 2, 17],
        [7, 1, 1, 1, 1],
        [64, 3, 4, 4, 40],
        [40, 70, 5, 5, 8],
        [24, 12, 9, 9, 3],
    ];
    for (index, [lanes, width, rows, taps, pairs]) in shapes.into_iter().enumerate() {
        let (samples, height, blocks) = (3, 4, lanes.div_ceil(LANES));
        let (pixel, pixels) = (pairs + 2, width + taps - 1);
        let (row, tap) = (pixels * pixel, LANES * pairs);
        let sample = (height + rows - 1) * row;
        let (block, room) = (2 * rows * taps * tap, lanes + 3);
        let mut number = numbers(index as u32);
        let a = words(1 + blocks * block, &mut number);
        let b = words(5 + samples * sample, &mut number);
        // Two phases with weights of their own write every other pixel.
        let len = 2 + samples * height * 2 * width * room;
        let mut floats = |len: usize| (0..len).map(|_| number()).collect::<Vec<f32>>();
        let (before, bias, mask) = (floats(len), floats(lanes), floats(len));
        let axis = |count, a, b, c| Axis { count, a, b, c, mask: c };
        let line = 2 * width * room;
        let product = Gemm {
            lanes,
            kind: Kind::Values,
            a_block: block,
            c_block: LANES,
            outer: [
                axis(samples, 0, sample, height * line),
                axis(height, 0, row, line),
                axis(2, rows * taps * tap, 0, room),
                Axis::ONCE,
            ],
            columns: axis(width, 0, pixel, 2 * room),
            terms: [axis(rows, taps * tap, row, 0), axis(taps, tap, pixel, 0), axis(pairs, LANES, 1, 0)],
            part: [0; 3],
            separate_parts: false,
            first: [1, 5, 2],
            start: if index % 2 == 0 { Start::Replace } else { Start::Add },
            prefetch: [Prefetch::NOTHING; 3],
        };
        // All terms at once, as convolutions cut them, and in small parts.
        let products = [
            Gemm { part: [rows, taps, pairs], ..product },
            product.in_parts(),
            Gemm { part: [1, 1, pairs.min(7)], ..product },
        ];
        let finish = match index % 3 {
            0 => Finish::NOTHING,
            1 => Finish { bias: Some(&bias), slope: 0.5, mask: None },
            _ => {
                let mask = Mask { values: &mask, first: 2, slope: 0.25 };
                Finish { bias: Some(&bias), slope: 1.0, mask: Some(mask) }
            }
        };
        let mut expected = before.clone();
        for position in 0..samples * height * 2 * width * lanes {
            let (lane, phase) = (position % lanes, position / lanes % 2);
            let x = position / lanes / 2 % width;
            let (y, n) = (position / lanes / 2 / width % height, position / lanes / 2 / width / height);
            let weight = 1 + lane / LANES * block + phase * rows * taps * tap + lane % LANES;
            let to = 2 + n * height * line + y * line + phase * room + x * 2 * room + lane;
            let mut sum = if product.start == Start::Add { before[to] } else { 0.0 };
            for term in 0..rows * taps * pairs {
                let (r, t, k) = (term / pairs / taps, term / pairs % taps, term % pairs);
                let from = 5 + n * sample + (y + r) * row + (x + t) * pixel + k;
                sum += product_of_words(a[weight + (r * taps + t) * tap + k * LANES], b[from]);
            }
            sum += if finish.bias.is_some() { bias[lane] } else { 0.0 };
            sum *= if sum > 0.0 { 1.0 } else { finish.slope };
            sum *= if finish.mask.is_some() && mask[to] <= 0.0 { 0.25 } else { 1.0 };
            expected[to] = sum;
        }
        for isa in Isa::available() {
            for (how, product) in products.iter().enumerate() {
                let mut found = before.clone();
                with_workers(isa, |workers| {
                    product.run_on(Operands::Pairs, workers, &a, &b, &mut found, finish)
                })
                .unwrap();
                assert!(found == expected, "{isa:?}, shape {index}, parts {how}");
            }
        }
    }
    match Isa::available().iter().any(|isa| isa.has_tiles()) {
        true => println!("computed on tiles too"),
        false => println!("skipped on tiles: this processor has none, or the system does not grant them"),
    }
}
