//! Operands of products rounded to bfloat16, two of them in the place of one `f32`.
//!
//! bfloat16 has the sign, the exponent and the first 7 bits of the fraction of an `f32`. Sums stay in `f32`. Of the
//! channels of a pixel, the first half are the lower of their pairs and the second half the upper ones: so all are
//! rounded and joined side by side, and weights are packed to match.

use lesio_settings::named;

use crate::error::KernelError;
use crate::images::Images;
use crate::layout::{ImageLayout, LANES};
use crate::raw::{Workers, vectorized};

/// The number format of products in convolutions; sums are in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Precision {
    /// Factors in `f32`.
    #[default]
    Single,
    /// Factors of convolutions of at least 16 channels on both sides, forward and in the adjoint, rounded to bfloat16
    /// (8 significant bits), but for 3x3 convolutions of stride 1, which are as fast in `f32`. Gradients of weights are
    /// computed in `f32`. Faster on processors that multiply pairs of bfloat16: see
    /// [`Isa::multiplies_pairs`](crate::Isa::multiplies_pairs). On others the results are the same but for the order of
    /// sums, and take longer than in `f32`.
    Bfloat16,
}

named!(Precision, "precision", { "single" => Self::Single, "bfloat16" => Self::Bfloat16 });

/// Words that are worked on at once: they stay in a second cache.
const ROOM: usize = 1 << 17;
/// Words below which handing a part to another thread costs more than it saves.
const SMALLEST_PART: usize = 1 << 12;

/// How many words hold the pairs of so many values.
pub(crate) fn words(values: usize) -> usize {
    values.div_ceil(2)
}

/// Rounds to the nearest bfloat16, of two to the even one; NaN stays NaN. The upper half of the result holds it,
/// the lower is anything.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if value.is_nan() { bits | 0x40_0000 } else { nearest }
}

/// The word of two values.
#[inline(always)]
fn word(low: f32, high: f32) -> f32 {
    f32::from_bits((rounded(low) >> 16) | (rounded(high) & 0xffff_0000))
}

/// A word of each lane of two rows of weights.
pub(crate) fn lanes(low: &[f32; LANES], high: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|lane| word(low[lane], high[lane]))
}

/// The layout of images, with a word for every two channels.
pub(crate) fn layout(images: &ImageLayout) -> Result<ImageLayout, KernelError> {
    ImageLayout::new(words(images.channels()), images.height(), images.width(), images.border())
}

/// Samples whose words a thread works on at once.
pub(crate) fn samples_at_once(words: &ImageLayout) -> usize {
    (ROOM / words.sample_stride()).max(1)
}

/// Rounds and joins the channels of images, borders too; `to` takes `layout.len(samples)` words.
pub(crate) fn join(
    workers: &Workers<'_>,
    samples: std::ops::Range<usize>,
    images: Images<'_>,
    layout: &ImageLayout,
    to: &mut [f32],
) -> Result<(), KernelError> {
    let from = images.layout;
    let rows = layout.sample_stride() / layout.row_stride();
    let first_channel = from.row_range(0).start % from.pixel_stride();
    let first = samples.start * from.sample_stride();
    let len = layout.len(samples.len())?;
    let each = SMALLEST_PART.div_ceil(layout.row_stride());
    let isa = workers.isa();
    workers.chunks(&mut to[..len], each * layout.row_stride(), |chunk, to| {
        for (index, to) in to.chunks_exact_mut(layout.row_stride()).enumerate() {
            let row = chunk * each + index;
            let at = first + row / rows * from.sample_stride() + row % rows * from.row_stride();
            let row = &images.values[at + first_channel..at + from.row_stride()];
            join_row(isa, row, from.pixel_stride(), from.channels(), to);
        }
    });
    Ok(())
}

vectorized! {
    fn join_row(from: &[f32], pixel: usize, channels: usize, to: &mut [f32]) {
        let half = channels.div_ceil(2);
        for (from, to) in from.chunks(pixel).zip(to.chunks_exact_mut(half)) {
            let (low, high) = from[..channels].split_at(half);
            let (low_runs, low_rest) = low.as_chunks::<LANES>();
            let (high_runs, high_rest) = high.as_chunks::<LANES>();
            let (runs, rest) = to.as_chunks_mut::<LANES>();
            if high.len() == half {
                for ((to, low), high) in runs.iter_mut().zip(low_runs).zip(high_runs) {
                    *to = lanes(low, high);
                }
                for ((to, &low), &high) in rest.iter_mut().zip(low_rest).zip(high_rest) {
                    *to = word(low, high);
                }
            } else {
                // The last word has no upper half.
                for (index, (to, &low)) in to.iter_mut().zip(low).enumerate() {
                    *to = word(low, high.get(index).copied().unwrap_or(0.0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Border;
    use crate::raw::{Isa, with_workers};

    fn halves(word: f32) -> [f32; 2] {
        [f32::from_bits(word.to_bits() << 16), f32::from_bits(word.to_bits() & 0xffff_0000)]
    }

    #[test]
    fn values_are_rounded_to_the_nearest_and_ties_to_even() {
        // 1 + 1/128 is the first number after 1.
        let step = 1.0 / 128.0;
        for (value, expected) in [
            (1.0, 1.0),
            (1.0 + 0.4 * step, 1.0),
            (1.0 + 0.6 * step, 1.0 + step),
            (1.0 + 0.5 * step, 1.0),
            (1.0 + 1.5 * step, 1.0 + 2.0 * step),
            (-3.0 - 2.2 * step, -3.0 - 2.0 * step),
            (0.0, 0.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(halves(word(value, 7.0)), [expected, 7.0], "{value}");
            assert_eq!(halves(word(-7.0, value)), [-7.0, expected], "{value}");
        }
        for nan in [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
            let [low, high] = halves(word(nan, nan));
            assert!(low.is_nan() && high.is_nan());
        }
    }

    #[test]
    fn channels_are_joined_half_by_half_in_every_layout() {
        for (channels, part) in [(1, 1), (2, 2), (5, 5), (32, 32), (70, 70), (48, 33), (7, 4)] {
            let border = Border { before: 1, after: 2 };
            let whole = ImageLayout::new(channels, 3, 5, border).unwrap();
            let layout = whole.channel_range(channels - part, part).unwrap();
            let values: Vec<f32> = (0..whole.len(3).unwrap()).map(|k| (k % 251) as f32 - 99.0).collect();
            for isa in Isa::available() {
                let words = super::layout(&layout).unwrap();
                let mut to = vec![9.0; words.len(2).unwrap() + 1];
                let images = Images::new(&values, &layout);
                with_workers(isa, |workers| join(workers, 1..3, images, &words, &mut to)).unwrap();
                let half = part.div_ceil(2);
                for (sample, row, column, channel) in (0..2).flat_map(|s| {
                    (0..3).flat_map(move |y| (0..5).flat_map(move |x| (0..part).map(move |c| (s, y, x, c))))
                }) {
                    let word = halves(to[words.index(sample, row, column) + channel % half]);
                    let from = values[layout.index(sample + 1, row, column) + channel];
                    assert_eq!(word[channel / half], from, "{isa:?}");
                }
                assert_eq!(to.last(), Some(&9.0));
            }
        }
    }
}
