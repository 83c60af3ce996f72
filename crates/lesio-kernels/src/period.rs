//! Values of each channel repeated, so that whole rows are worked on and not single pixels.

use std::cell::RefCell;

/// Channels repeated to a length of at least 64, so that images of few channels fill vector registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    channels: usize,
    len: usize,
}

impl Period {
    /// The period of images of so many channels.
    pub(crate) fn of(channels: usize) -> Self {
        Self { channels, len: channels * 64_usize.div_ceil(channels) }
    }

    /// Its length, a multiple of the channels.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Fills `to` with a value for each channel, repeated.
    pub(crate) fn fill(self, to: &mut [f32], value: impl Fn(usize) -> f32) {
        for (index, to) in to[..self.len].iter_mut().enumerate() {
            *to = if index < self.channels { value(index) } else { 0.0 };
        }
        for first in (self.channels..self.len).step_by(self.channels) {
            to.copy_within(0..self.channels, first);
        }
    }

    /// The values of a row in runs of at most a period, each beginning with the first channel: the whole
    /// row cut up, or, where foreign channels lie between the pixels, one pixel after the other.
    #[inline(always)]
    pub(crate) fn runs(self, row: &[f32], pixel: usize) -> impl Iterator<Item = &[f32]> {
        let (step, len) = self.step(pixel);
        row.chunks(step).map(move |run| &run[..len.min(run.len())])
    }

    /// Like [`Period::runs`], to be written.
    #[inline(always)]
    pub(crate) fn runs_mut(self, row: &mut [f32], pixel: usize) -> impl Iterator<Item = &mut [f32]> {
        let (step, len) = self.step(pixel);
        row.chunks_mut(step).map(move |run| {
            let len = len.min(run.len());
            &mut run[..len]
        })
    }

    /// The period of rows that are worked on together: where one has foreign channels, single pixels.
    pub(crate) fn common(channels: usize, pixels: [usize; 3]) -> Self {
        if pixels.iter().all(|&pixel| pixel == channels) {
            Self::of(channels)
        } else {
            Self { channels, len: channels }
        }
    }

    fn step(self, pixel: usize) -> (usize, usize) {
        if pixel == self.channels { (self.len, self.len) } else { (pixel, self.channels) }
    }
}

/// Lends out zeros that are kept for the next call on this thread, so that passes do not allocate.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    with_leftovers(len, |scratch| {
        scratch.fill(0.0);
        work(scratch)
    })
}

/// Like [`with_scratch`], but with whatever the last call left.
pub(crate) fn with_leftovers<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, so that a call within `work` finds an empty vector instead of a borrowed one.
    let mut kept = KEPT.with(RefCell::take);
    if kept.len() < len {
        kept.resize(len, 0.0);
    }
    let result = work(&mut kept[..len]);
    KEPT.with(|cell| cell.replace(kept));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_with_the_first_channel() {
        let row: Vec<f32> = (0..50 * 3).map(|k| (k % 3) as f32).collect();
        let period = Period::of(3);
        assert_eq!(period.len(), 66);
        let runs: Vec<&[f32]> = period.runs(&row, 3).collect();
        assert_eq!(runs.iter().map(|run| run.len()).collect::<Vec<_>>(), [66, 66, 18]);
        assert!(runs.iter().all(|run| run[0] == 0.0 && run[1] == 1.0));
        let wide = [0.0, 1.0, 9.0, 9.0, 0.0, 1.0];
        let runs: Vec<&[f32]> = Period::of(2).runs(&wide, 4).collect();
        assert_eq!(runs, [[0.0, 1.0], [0.0, 1.0]]);
        let mut repeated = vec![0.0; 66];
        period.fill(&mut repeated, |c| c as f32);
        assert_eq!(repeated, row[..66]);
    }

    #[test]
    fn scratch_is_zero_each_time_and_may_be_nested() {
        for _ in 0..2 {
            with_scratch(5, |outer| {
                outer.fill(1.0);
                with_scratch(7, |inner| assert_eq!(inner, [0.0; 7]));
                assert_eq!(outer, [1.0; 5]);
            });
        }
    }
}
