//! One team of threads for the many short steps of a pass.
//!
//! A pass over one image is some thirty steps of a tenth of a millisecond. Waking a sleeping thread for
//! each costs as much as the step, so a pass borrows the idle threads of the current rayon pool once,
//! and these wait for steps by watching a counter.
//!
//! Threads that are busy elsewhere never come, and nobody waits for them: the thread that opened a
//! step works on it until all its items are taken, and waits only for items that others have taken.
//! A pass inside a rayon task therefore cannot block the pool.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::denormals::FlushDenormals;
use super::isa::Isa;
use crate::error::KernelError;

/// Spins before a waiting thread begins to offer its processor to others.
const SPINS: u32 = 4096;

/// The threads of one pass, and the instructions they use.
///
/// No results depend on how many threads come to help.
pub struct Workers<'pass> {
    isa: Isa,
    team: Option<&'pass Team>,
    /// Steps are opened one after the other, by one thread.
    one_thread: PhantomData<*const ()>,
}

impl std::fmt::Debug for Workers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("isa", &self.isa).field("threads", &self.threads()).finish()
    }
}

/// A step: what to do with each of its items.
#[derive(Clone, Copy)]
struct Step {
    work: *const (dyn Fn(usize) + Sync),
    items: usize,
}

struct Team {
    helpers: usize,
    /// Odd while a step is open.
    generation: Line<AtomicUsize>,
    /// Next item to be taken.
    next: Line<AtomicUsize>,
    /// Helpers that may look at `step`.
    inside: Line<AtomicUsize>,
    finished: AtomicBool,
    step: UnsafeCell<Step>,
}

/// Keeps what different threads write on different cache lines.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: all fields but `step` are atomics. `step` is written only by the thread that opens steps, while
// the generation is even and `inside` was seen to be 0; helpers read it only between raising `inside` and
// lowering it, after they saw, with `inside` raised, that the generation is odd. All these accesses are
// sequentially consistent, so either the helper sees the even generation, or the opener sees the helper.
// The closure that `step` points to is `Sync` and outlives the step, because `Open::drop` waits.
unsafe impl Sync for Team {}

/// Runs a pass with the instructions `isa` and the idle threads of the current rayon pool.
///
/// Denormals are flushed to zero on every thread of the pass, and treated as before afterwards.
pub fn with_workers<R: Send>(isa: Isa, pass: impl FnOnce(&Workers<'_>) -> R + Send) -> R {
    let helpers = rayon::current_num_threads().saturating_sub(1);
    if helpers == 0 {
        let _flush = FlushDenormals::new();
        return pass(&Workers { isa, team: None, one_thread: PhantomData });
    }
    let team = Team::new(helpers);
    rayon::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| team.help());
        }
        let _finish = Finish(&team);
        let _flush = FlushDenormals::new();
        pass(&Workers { isa, team: Some(&team), one_thread: PhantomData })
    })
}

impl Workers<'_> {
    /// This thread by itself, for work within an item of a step.
    pub(crate) fn alone(isa: Isa) -> Self {
        Self { isa, team: None, one_thread: PhantomData }
    }

    /// The instructions that kernels use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads that may take part.
    #[must_use]
    pub fn threads(&self) -> usize {
        1 + self.team.map_or(0, |team| team.helpers)
    }

    /// Calls `work` once with each of `0..items`, in any order, on any thread of the team.
    pub fn run(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        match self.team {
            Some(team) if items > 1 => team.run(items, work),
            _ => (0..items).for_each(work),
        }
    }

    /// Calls `work` with the number and the values of each run of `chunk` values (the last may be shorter).
    pub fn chunks<T: Send>(&self, data: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        self.chunks_of([data], chunk, |index, [part]| work(index, part));
    }

    /// Like [`Workers::chunks`], for several slices that are cut alike; cut to the shortest.
    pub fn chunks_of<T: Send, const N: usize>(
        &self,
        data: [&mut [T]; N],
        chunk: usize,
        work: impl Fn(usize, [&mut [T]; N]) + Sync,
    ) {
        let chunk = chunk.max(1);
        let len = data.iter().map(|slice| slice.len()).min().unwrap_or(0);
        let starts = data.map(|slice| Shared(slice.as_mut_ptr()));
        self.run(len.div_ceil(chunk), &|index| {
            let first = index * chunk;
            let count = chunk.min(len - first);
            // SAFETY: `first + count <= len`, which no slice is shorter than; the slices are borrowed
            // mutably for the whole call, and `run` hands each index to one thread only, so the parts
            // of different calls do not meet.
            let parts = std::array::from_fn(|slice| unsafe {
                std::slice::from_raw_parts_mut(starts[slice].get().add(first), count)
            });
            work(index, parts);
        });
    }

    /// Calls `work` with the number of a sample, the number of a band in it, and the values of the band.
    ///
    /// # Errors
    /// For bands that overlap or do not lie inside the slice.
    pub(crate) fn bands<T: Send>(
        &self,
        data: &mut [T],
        bands: Bands,
        work: impl Fn(usize, usize, &mut [T]) + Sync,
    ) -> Result<(), KernelError> {
        if !bands.fit(data.len()) {
            return Err(KernelError::Overlap);
        }
        let start = Shared(data.as_mut_ptr());
        self.run(bands.samples * bands.bands, &|index| {
            let (sample, band) = (index / bands.bands, index % bands.bands);
            let first = bands.first + sample * bands.sample + band * bands.band;
            let len = if band + 1 == bands.bands { bands.last } else { bands.len };
            // SAFETY: `fit` found all bands inside the slice and each to end before the next begins; the
            // slice is borrowed mutably for the whole call, and `run` hands each index to one thread only.
            let values = unsafe { std::slice::from_raw_parts_mut(start.get().add(first), len) };
            work(sample, band, values);
        });
        Ok(())
    }
}

/// Runs of values at equal distances, such as bands of rows of images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands {
    /// Where the first begins.
    pub(crate) first: usize,
    pub(crate) samples: usize,
    /// Distance between samples.
    pub(crate) sample: usize,
    /// Bands of each sample.
    pub(crate) bands: usize,
    /// Distance between them.
    pub(crate) band: usize,
    /// Values of each, and of the last of each sample.
    pub(crate) len: usize,
    pub(crate) last: usize,
}

impl Bands {
    /// Whether bands are apart and inside a slice of `len` values.
    fn fit(&self, len: usize) -> bool {
        let end = || {
            let last = (self.bands - 1).checked_mul(self.band)?.checked_add(self.last)?;
            let samples = (self.samples - 1).checked_mul(self.sample)?;
            let end = samples.checked_add(last)?.checked_add(self.first)?;
            let apart =
                (self.bands == 1 || self.len <= self.band) && (self.samples == 1 || last <= self.sample);
            (apart && end <= len).then_some(())
        };
        self.bands == 0 || self.samples == 0 || end().is_some()
    }
}

/// A pointer that threads of a step share; what they may do with it is argued where they do it.
pub(super) struct Shared<T>(pub(super) *mut T);

impl<T> Shared<T> {
    pub(super) fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: sending or sharing a pointer is harmless; every dereference argues for itself.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl Team {
    fn new(helpers: usize) -> Self {
        Self {
            helpers,
            generation: Line(AtomicUsize::new(0)),
            next: Line(AtomicUsize::new(0)),
            inside: Line(AtomicUsize::new(0)),
            finished: AtomicBool::new(false),
            step: UnsafeCell::new(Step { work: &|_| {}, items: 0 }),
        }
    }

    /// Opens a step, works on it, and returns when every item is done.
    fn run(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        let work: *const (dyn Fn(usize) + Sync + '_) = work;
        // SAFETY: only the lifetime changes; `Open::drop` below does not let this call end, by return or
        // by panic, before every helper has left the step.
        let work: *const (dyn Fn(usize) + Sync + 'static) = unsafe { std::mem::transmute(work) };
        // SAFETY: the generation is even and `inside` was 0 when the last step closed: see `Sync`.
        unsafe { *self.step.get() = Step { work, items } };
        self.next.0.store(0, SeqCst);
        self.generation.0.fetch_add(1, SeqCst);
        let open = Open(self);
        // SAFETY: the closure is borrowed for this call.
        unsafe { self.take_items(Step { work, items }) };
        drop(open);
    }

    /// # Safety
    /// The closure of the step must be alive until this returns.
    unsafe fn take_items(&self, step: Step) {
        // SAFETY: the caller's.
        let work = unsafe { &*step.work };
        loop {
            let item = self.next.0.fetch_add(1, SeqCst);
            if item >= step.items {
                break;
            }
            work(item);
        }
    }

    /// Takes part in steps until the pass is over.
    fn help(&self) {
        let _flush = FlushDenormals::new();
        let mut seen = 0;
        let mut spins = 0;
        while !self.finished.load(SeqCst) {
            let generation = self.generation.0.load(SeqCst);
            if generation.is_multiple_of(2) || generation == seen {
                wait(&mut spins);
                continue;
            }
            spins = 0;
            seen = generation;
            let _inside = Inside::enter(self);
            if self.generation.0.load(SeqCst) == generation {
                // SAFETY: this thread is inside and the step is open: the opener does not change it or
                // leave it before this thread has left.
                unsafe { self.take_items(*self.step.get()) };
            }
        }
    }
}

/// An open step; dropped, it is closed, and no helper looks at it any more.
struct Open<'team>(&'team Team);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.generation.0.fetch_add(1, SeqCst);
        let mut spins = 0;
        while self.0.inside.0.load(SeqCst) != 0 {
            wait(&mut spins);
        }
    }
}

/// A helper's presence in a step, also if its work panics.
struct Inside<'team>(&'team Team);

impl<'team> Inside<'team> {
    fn enter(team: &'team Team) -> Self {
        team.inside.0.fetch_add(1, SeqCst);
        Self(team)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.0.fetch_sub(1, SeqCst);
    }
}

/// Sends the helpers home at the end of a pass, also if it panics.
struct Finish<'team>(&'team Team);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finished.store(true, SeqCst);
    }
}

fn wait(spins: &mut u32) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_item_is_done_once_in_every_step() {
        let (steps, items) = if cfg!(miri) { (5, 7) } else { (2000, 37) };
        for threads in [1, 2, 4] {
            pool(threads).install(|| {
                let mut counts = vec![0_u32; items];
                with_workers(Isa::PORTABLE, |workers| {
                    assert_eq!(workers.threads(), threads);
                    for _ in 0..steps {
                        workers.chunks(&mut counts, 1, |_, count| count[0] += 1);
                    }
                });
                assert!(counts.iter().all(|&count| count == steps));
            });
        }
    }

    #[test]
    fn chunks_cover_slices_of_different_lengths() {
        let (mut a, mut b) = (vec![1.0; 5], vec![2.0; 4]);
        with_workers(Isa::PORTABLE, |workers| {
            workers.chunks_of([&mut a, &mut b], 3, |_, [a, b]| a.swap_with_slice(b));
        });
        assert_eq!((a[4], b[3], a[3]), (1.0, 1.0, 2.0));
    }

    #[test]
    fn bands_are_apart_and_inside_or_refused() {
        let bands = Bands { first: 1, samples: 2, sample: 12, bands: 3, band: 4, len: 3, last: 2 };
        for threads in [1, 3] {
            pool(threads).install(|| {
                let mut data = vec![0; 1 + 12 + 10];
                with_workers(Isa::PORTABLE, |workers| {
                    let fill = |sample: usize, band: usize, values: &mut [usize]| {
                        values.fill(10 * (sample + 1) + band);
                    };
                    workers.bands(&mut data, bands, fill).unwrap();
                    let nobody = |_: usize, _: usize, _: &mut [usize]| panic!("work on refused bands");
                    for wrong in [
                        Bands { first: 2, ..bands },
                        Bands { len: 5, ..bands },
                        Bands { last: 5, sample: 12, ..bands },
                        Bands { sample: 9, ..bands },
                        Bands { sample: usize::MAX, ..bands },
                        Bands { band: usize::MAX, ..bands },
                    ] {
                        assert!(workers.bands(&mut data, wrong, nobody).is_err(), "{wrong:?}");
                    }
                    for none in [Bands { samples: 0, ..bands }, Bands { bands: 0, ..bands }] {
                        workers.bands(&mut data, none, nobody).unwrap();
                    }
                });
                let first = [0, 10, 10, 10, 0, 11, 11, 11, 0, 12, 12, 0, 0];
                assert_eq!(data[..13], first);
                assert_eq!(data[13..], [20, 20, 20, 0, 21, 21, 21, 0, 22, 22]);
            });
        }
    }

    #[test]
    fn passes_inside_parallel_tasks_do_not_block_each_other() {
        let passes = if cfg!(miri) { 3 } else { 200 };
        let sums: Vec<usize> = pool(2).install(|| {
            (0..passes)
                .into_par_iter()
                .map(|_| {
                    let mut values = vec![0_usize; 16];
                    with_workers(Isa::PORTABLE, |workers| {
                        workers.chunks(&mut values, 1, |index, value| value[0] = index);
                    });
                    values.iter().sum()
                })
                .collect()
        });
        assert!(sums.iter().all(|&sum| sum == 120));
    }

    #[test]
    fn a_panic_in_a_step_reaches_the_caller() {
        for threads in [1, 2] {
            let caught = pool(threads).install(|| {
                std::panic::catch_unwind(|| {
                    with_workers(Isa::PORTABLE, |workers| {
                        workers.run(64, &|item| assert!(item != 40, "item forty"));
                    });
                })
            });
            assert!(caught.is_err());
        }
    }
}
