//! Rates of single layers, in multiply-adds of one thread.
//!
//! `cargo bench -p lesio-kernels --bench layers -- [NAME PART]... [--threads N] [--isa NAME] [--bfloat16]`.
//! With one
//! thread (the default) processor time is measured, so that a busy machine disturbs little; with more,
//! the least wall time.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A program that prints.

use std::time::Instant;

use lesio_kernels::{
    AdamUpdate, Buffer, ConvolutionShape, Epilogue, Grouping, ImageLayout, Images, ImagesMut, Isa, Linear,
    Moments, NormalizationSettings, Pooling, Precision, Rectifier, Statistics, Upsampling, Workers,
    channel_totals, pool, pool_gradient, totals_scratch_len, transfer, upsample, upsample_gradient,
    with_workers,
};

fn noise(len: usize) -> Buffer {
    let values: Vec<f32> = (0..len).map(|k| ((k * 7919) % 10_007) as f32 / 10_007.0 - 0.5).collect();
    Buffer::from_slice(&values)
}

/// Processor time of this process in seconds.
fn processor_time() -> f64 {
    let mut all = 0_u64;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        all += stat.split(' ').next().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    }
    all as f64 * 1e-9
}

struct Bench {
    names: Vec<String>,
    isa: Isa,
    threads: usize,
    precision: Precision,
}

impl Bench {
    /// Times `work`, which computes `operations` multiply-adds (or moves so many values).
    fn run(&self, name: &str, operations: usize, work: impl FnMut(&Workers<'_>) + Send) {
        if !self.names.is_empty() && !self.names.iter().any(|part| name.contains(part.as_str())) {
            return;
        }
        let mut work = work;
        let seconds = with_workers(self.isa, |workers| {
            let start = Instant::now();
            work(workers);
            let once = start.elapsed().as_secs_f64();
            let repeats = ((0.08 / once) as usize).clamp(1, 1000);
            let mut best = f64::INFINITY;
            for _ in 0..8 {
                let (before, start) = (processor_time(), Instant::now());
                for _ in 0..repeats {
                    work(workers);
                }
                let wall = start.elapsed().as_secs_f64();
                let time = if self.threads == 1 { (processor_time() - before).min(wall) } else { wall };
                best = best.min(time / repeats as f64);
            }
            best
        });
        let rate = 2e-9 * operations as f64 / seconds;
        println!("{name:34} {:9.3} ms {rate:7.1} G/s", seconds * 1e3);
    }

    #[allow(clippy::too_many_arguments)] // The numbers that make a layer.
    fn convolution(
        &self,
        name: &str,
        samples: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        large: (usize, usize),
        small: (usize, usize),
    ) {
        let geometry = ConvolutionShape::new(kernel, stride, padding, large.0, small.0).unwrap();
        let geometry = geometry.precision(self.precision);
        let (l, s) = ([large.1; 2], [small.1; 2]);
        let layout = |(channels, size): (usize, usize), border| {
            ImageLayout::new(channels, size, size, border).unwrap()
        };
        let (large, small) =
            (layout(large, geometry.input_border(l, s)), layout(small, geometry.output_border(l, s)));
        let mut big = noise(large.len(samples).unwrap());
        let mut little = noise(small.len(samples).unwrap());
        let weights = noise(geometry.weights_len());
        let mut adjoint = Buffer::zeros(geometry.adjoint_len());
        with_workers(self.isa, |workers| geometry.pack_adjoint(workers, &weights, &mut adjoint)).unwrap();
        let mut packed = Buffer::zeros(geometry.packed_len());
        with_workers(self.isa, |workers| geometry.pack(workers, &weights, &mut packed)).unwrap();
        let mut gradient = Buffer::zeros(geometry.weights_len());
        let mut scratch = Buffer::zeros(geometry.gradient_scratch(samples));
        let bias = noise(1024);
        let (copy_big, copy_little) = (big.clone(), little.clone());
        let operations =
            samples * kernel * kernel * large.channels() * small.channels() * small.height() * small.width();
        self.run(&format!("{name} forward"), operations, |workers| {
            let epilogue = Epilogue { bias: Some(&bias), slope: 0.2, ..Epilogue::default() };
            let input = Images::new(&copy_big, &large);
            geometry
                .forward_packed(
                    workers,
                    samples,
                    input,
                    &weights,
                    &packed,
                    ImagesMut::new(&mut little, &small),
                    epilogue,
                )
                .unwrap();
        });
        self.run(&format!("{name} adjoint"), operations, |workers| {
            let rectifier = Some(Rectifier { images: Images::new(&copy_big, &large), slope: 0.2 });
            let epilogue = Epilogue { rectifier, ..Epilogue::default() };
            let output = Images::new(&copy_little, &small);
            geometry
                .adjoint(workers, samples, output, &adjoint, ImagesMut::new(&mut big, &large), epilogue)
                .unwrap();
        });
        self.run(&format!("{name} weights"), operations, |workers| {
            let (large, small) = (Images::new(&copy_big, &large), Images::new(&copy_little, &small));
            geometry.weight_gradient(workers, samples, large, small, &mut gradient, &mut scratch).unwrap();
        });
        let mut totals = vec![0.0; small.channels()];
        let mut sums = vec![0.0; totals_scratch_len(&small, samples)];
        self.run(&format!("{name} bias"), small.values() * samples, |workers| {
            channel_totals(workers, samples, Images::new(&copy_little, &small), &mut totals, &mut sums)
                .unwrap();
        });
    }

    fn linear(&self, name: &str, samples: usize, narrow: usize, wide: usize) {
        let linear = Linear::new(narrow, wide).unwrap();
        let weights = noise(linear.weights_len());
        let mut gradient = Buffer::zeros(linear.weights_len());
        let (mut short, mut long) = (noise(samples * narrow), noise(samples * wide));
        let (copy_short, copy_long) = (short.clone(), long.clone());
        let operations = samples * narrow * wide;
        self.run(&format!("{name} expand"), operations, |workers| {
            linear.expand(workers, samples, &copy_short, &weights, &mut long, None, 1.0).unwrap();
        });
        self.run(&format!("{name} contract"), operations, |workers| {
            linear.contract(workers, samples, &copy_long, &weights, &mut short, None, 1.0).unwrap();
        });
        self.run(&format!("{name} outer"), operations, |workers| {
            linear.outer(workers, samples, &copy_short, &copy_long, &mut gradient).unwrap();
        });
    }

    fn others(&self, samples: usize, channels: usize, size: usize) {
        let border = lesio_kernels::Border { before: 1, after: 1 };
        let large = ImageLayout::new(channels, size, size, border).unwrap();
        let small = ImageLayout::new(channels, size / 2, size / 2, border).unwrap();
        let (mut big, mut little) = (noise(large.len(samples).unwrap()), noise(small.len(samples).unwrap()));
        let (copy_big, copy_little) = (big.clone(), little.clone());
        let values = large.values() * samples / 2;
        let name = |what: &str| format!("{what} {channels}x{size}x{size} b{samples}");
        let replace = lesio_kernels::Combine::Replace;
        self.run(&name("copy"), values, |workers| {
            transfer(
                workers,
                samples,
                Images::new(&copy_big, &large),
                ImagesMut::new(&mut big, &large),
                replace,
                None,
            )
            .unwrap();
        });
        self.run(&name("max pool"), values, |workers| {
            let to = ImagesMut::new(&mut little, &small);
            pool(workers, samples, Pooling::Maximum, [2, 2], Images::new(&copy_big, &large), to).unwrap();
        });
        let pooled = little.clone();
        self.run(&name("max pool gradient"), values, |workers| {
            let (source, from) = (Images::new(&copy_big, &large), Images::new(&copy_little, &small));
            let to = ImagesMut::new(&mut big, &large);
            let pooled = Images::new(&pooled, &small);
            pool_gradient(
                workers,
                samples,
                Pooling::Maximum,
                [2, 2],
                source,
                pooled,
                from,
                to,
                replace,
                None,
            )
            .unwrap();
        });
        self.run(&name("upsample"), values, |workers| {
            let (from, to) = (Images::new(&copy_little, &small), ImagesMut::new(&mut big, &large));
            upsample(workers, samples, Upsampling::Nearest, 2, from, to).unwrap();
        });
        self.run(&name("upsample gradient"), values, |workers| {
            let (from, to) = (Images::new(&copy_big, &large), ImagesMut::new(&mut little, &small));
            upsample_gradient(workers, samples, Upsampling::Nearest, 2, from, to, replace, None).unwrap();
        });
        let norm = NormalizationSettings { grouping: Grouping::Groups(8), epsilon: 1e-5 };
        let mut moments = Moments::new(samples, &large);
        let scale = vec![1.0; channels];
        self.run(&name("group norm"), values, |workers| {
            let from = Images::new(&copy_big, &large);
            norm.measure(workers, samples, from, &mut moments).unwrap();
            norm.apply(
                workers,
                samples,
                from,
                &mut moments,
                &scale,
                &scale,
                ImagesMut::new(&mut big, &large),
                0.0,
            )
            .unwrap();
        });
        let mut parameters = (vec![0.0; channels], vec![0.0; channels]);
        let other = copy_big.clone();
        self.run(&name("group norm gradient"), values, |workers| {
            let (x, from) = (Images::new(&copy_big, &large), Images::new(&other, &large));
            let to = Some((ImagesMut::new(&mut big, &large), replace, None));
            let own = Some((&mut parameters.0[..], &mut parameters.1[..]));
            norm.gradient(workers, samples, x, &mut moments, Statistics::Measured, &scale, from, own, to)
                .unwrap();
        });
    }
}

fn main() {
    let mut bench = Bench { names: Vec::new(), isa: Isa::best(), threads: 1, precision: Precision::Single };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => bench.threads = arguments.next().unwrap().parse().unwrap(),
            "--bfloat16" => bench.precision = Precision::Bfloat16,
            "--isa" => {
                let name = arguments.next().unwrap();
                bench.isa = Isa::available().into_iter().find(|isa| isa.name() == name).unwrap();
            }
            _ => bench.names.push(argument),
        }
    }
    rayon::ThreadPoolBuilder::new().num_threads(bench.threads).build_global().unwrap();
    println!("{:?}, {} threads, {:?} precision", bench.isa, bench.threads, bench.precision);
    for (samples, tag) in [(32, ""), (1, " b1")] {
        let mut size = 128;
        for (large, small) in [(1, 32), (32, 64), (64, 128), (128, 256)] {
            let name = format!("vae 4x4/2 {large}-{small}{tag}");
            bench.convolution(&name, samples, 4, 2, 1, (large, size), (small, size / 2));
            size /= 2;
        }
        bench.linear(&format!("vae 16384-128{tag}"), samples, 128, 16384);
    }
    for (input, output, size) in [
        (1, 16, 128),
        (16, 16, 128),
        (16, 32, 64),
        (32, 32, 64),
        (64, 64, 32),
        (128, 128, 16),
        (192, 64, 32),
        (96, 32, 64),
        (48, 16, 128),
    ] {
        bench.convolution(
            &format!("unet 3x3 {input}-{output}@{size}"),
            8,
            3,
            1,
            1,
            (input, size),
            (output, size),
        );
    }
    bench.convolution("unet 1x1 16-1@128", 8, 1, 1, 0, (16, 128), (1, 128));
    bench.others(8, 16, 128);
    let len = 7_700_000;
    let (mut w, g, mut m, mut v) = (noise(len), noise(len), Buffer::zeros(len), Buffer::zeros(len));
    let update = AdamUpdate {
        rate: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 3,
        gradient_scale: 1.0,
    };
    bench.run("adam 7.7M", len * 2, |workers| update.apply(workers, &mut w, &g, &mut m, &mut v).unwrap());
}
