//! How the loops of a convolution become those of a product.

use crate::epilogue::Epilogue;
use crate::images::Combine;
use crate::layout::{ImageLayout, LANES};
use crate::raw::{Axis, Finish, Gemm, Mask, Start, TAPS};

/// Terms of a sum after which the partial sums are put down: the weights of so many terms of two blocks
/// of lanes fill half of a first-level cache.
const PART_TERMS: usize = 256;

/// The sum over a window and its channels: in two loops, if the channels of its columns lie side by side,
/// unless a sliding tile needs the columns by themselves. `step` is how far the next window is.
pub(super) fn window_terms([rows, columns]: [usize; 2], step: usize, image: &ImageLayout) -> [Axis; 3] {
    let channels = image.channels();
    let axis = |count, a, b| Axis { count, a: a * LANES, b, c: 0, mask: 0 };
    let slides = step == 1 && columns == TAPS;
    if image.pixel_stride() == channels && !slides {
        [axis(rows, columns * channels, image.row_stride()), Axis::ONCE, axis(columns * channels, 1, 1)]
    } else {
        [
            axis(rows, columns * channels, image.row_stride()),
            axis(columns, channels, image.pixel_stride()),
            axis(channels, 1, 1),
        ]
    }
}

pub(super) fn start_of(combine: Combine) -> Start {
    match combine {
        Combine::Replace => Start::Replace,
        Combine::Add => Start::Add,
    }
}

pub(super) fn mask_layout<'a>(output: &'a ImageLayout, epilogue: Epilogue<'a>) -> &'a ImageLayout {
    epilogue.rectifier.map_or(output, |rectifier| rectifier.images.layout)
}

pub(super) fn finish(epilogue: Epilogue<'_>) -> Finish<'_> {
    Finish {
        bias: epilogue.bias,
        slope: epilogue.slope,
        mask: epilogue.rectifier.map(|rectifier| Mask {
            values: rectifier.images.values,
            first: rectifier.images.layout.index(0, 0, 0),
            slope: rectifier.slope,
        }),
    }
}

impl Gemm {
    /// With sums cut so that the weights of a part stay in the nearest cache.
    pub(crate) fn in_parts(mut self) -> Self {
        let [rows, columns, inner] = self.terms.map(|axis| axis.count.max(1));
        self.part = if inner * columns * rows <= PART_TERMS {
            [rows, columns, inner]
        } else if inner * columns <= PART_TERMS {
            [PART_TERMS / (inner * columns), columns, inner]
        } else if columns == TAPS {
            let most = PART_TERMS / TAPS;
            [1, TAPS, inner.div_ceil(inner.div_ceil(most))]
        } else if inner <= PART_TERMS {
            [1, PART_TERMS / inner, inner]
        } else {
            [1, 1, inner.div_ceil(inner.div_ceil(PART_TERMS))]
        };
        self
    }
}
