//! Products of factors that are rounded to pairs of bfloat16.

use crate::bfloat16;
use crate::epilogue::Epilogue;
use crate::error::KernelError;
use crate::images::{Images, ImagesMut, Rectifier};
use crate::period::with_leftovers;
use crate::raw::Workers;

/// Calls `work` with some samples at a time, the source's channels joined in pairs: each thread with samples of its
/// own, which it finds in its caches, or all with all, where there are few.
pub(super) fn rounded(
    workers: &Workers<'_>,
    samples: usize,
    from: Images<'_>,
    to: ImagesMut<'_>,
    epilogue: Epilogue<'_>,
    work: impl Fn(&Workers<'_>, usize, Images<'_>, ImagesMut<'_>, Epilogue<'_>) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    let words = bfloat16::layout(from.layout)?;
    let some = |workers: &Workers<'_>, first: usize, count: usize, values: &mut [f32]| {
        with_leftovers(words.len(count)?, |joined| {
            bfloat16::join(workers, first..first + count, from, &words, joined)?;
            let mut epilogue = epilogue;
            if let Some(Rectifier { images, .. }) = &mut epilogue.rectifier {
                images.values = &images.values[first * images.layout.sample_stride()..];
            }
            work(workers, count, Images::new(joined, &words), ImagesMut::new(values, to.layout), epilogue)
        })
    };
    let threads = workers.threads();
    if samples < 2 * threads {
        return some(workers, 0, samples, to.values);
    }
    let each = bfloat16::samples_at_once(&words).min(samples.div_ceil(4 * threads));
    let stride = to.layout.sample_stride();
    let (failed, isa) = (std::sync::OnceLock::new(), workers.isa());
    workers.chunks(&mut to.values[..samples * stride], each * stride, |chunk, values| {
        let first = chunk * each;
        if let Err(error) = some(&Workers::alone(isa), first, each.min(samples - first), values) {
            failed.get_or_init(|| error);
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}
