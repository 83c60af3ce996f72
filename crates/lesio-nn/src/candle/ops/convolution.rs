//! Convolutions and transposed ones.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Tensor};
use lesio_kernels::{self as kernels, Buffer, Epilogue, ImageLayout, KernelError, Workers};

use super::tensors::{Held, Size, pass, values, with_values};
use super::window::Window;

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Plain,
    Transposed,
}

/// A convolution or its adjoint; with two arguments without, with three with a bias.
#[derive(Clone, Copy)]
pub(super) struct Convolve {
    pub(super) window: Window,
    pub(super) direction: Direction,
}

pub(super) fn convolve(
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    operation: Convolve,
) -> Result<Tensor> {
    let (image, weight) = (image.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => image.apply_op3(&weight, &bias.contiguous()?, operation),
        None => image.apply_op2(&weight, operation),
    }
}

/// What a convolution computes between: the larger image (its input) and the smaller.
struct Sides {
    geometry: kernels::ConvolutionShape,
    samples: usize,
    large: ImageLayout,
    small: ImageLayout,
    output: Size,
}

/// Gradients of the image, the weights and the bias, where they were asked for.
type ConvolutionGradients = [Option<Vec<f32>>; 3];

impl Convolve {
    fn sides(&self, image: &Shape, weight: &Shape) -> Result<Sides> {
        let Window { kernel, stride, padding } = self.window;
        let input = Size::of(image)?;
        let (few, many, rows, columns) = weight.dims4()?;
        let transposed = matches!(self.direction, Direction::Transposed);
        let (takes, gives) = if transposed { (few, many) } else { (many, few) };
        if [rows, columns] != [kernel; 2] || input.channels != takes {
            candle_core::bail!(
                "weights {weight:?} do not fit a kernel of {kernel} and images {image:?}, expected {takes} channels"
            )
        }
        let geometry =
            kernels::ConvolutionShape::new(kernel, stride, padding, many, few).map_err(Error::wrap)?;
        let mut pixels = [0; 2];
        for (to, from) in pixels.iter_mut().zip(input.pixels) {
            let size = if transposed {
                from.checked_sub(1).and_then(|last| {
                    last.checked_mul(stride)?.checked_add(kernel)?.checked_sub(padding.checked_mul(2)?)
                })
            } else {
                padding
                    .checked_mul(2)
                    .and_then(|both| from.checked_add(both)?.checked_sub(kernel))
                    .map(|room| room / stride + 1)
            };
            *to = match size {
                Some(size) if size > 0 => size,
                _ => candle_core::bail!("{:?} leaves nothing of images {image:?}", self.window),
            };
        }
        let output = Size { samples: input.samples, channels: gives, pixels };
        let (large, small) = if transposed { (output, input) } else { (input, output) };
        Ok(Sides {
            geometry,
            samples: input.samples,
            large: large.layout(geometry.input_border(large.pixels, small.pixels))?,
            small: small.layout(geometry.output_border(large.pixels, small.pixels))?,
            output,
        })
    }

    fn forward(
        &self,
        (image, image_layout): (&CpuStorage, &Layout),
        (weight, weight_layout): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let sides = self.sides(image_layout.shape(), weight_layout.shape())?;
        let (image, weight) = (values(image, image_layout)?, values(weight, weight_layout)?);
        let bias = bias.map(|(bias, layout)| values(bias, layout)).transpose()?;
        if let Some(bias) = bias
            && bias.len() != sides.output.channels
        {
            candle_core::bail!("a bias of {} values for {} channels", bias.len(), sides.output.channels)
        }
        let planes = pass(|workers| {
            let epilogue = Epilogue { bias, ..Epilogue::default() };
            let output = match self.direction {
                Direction::Plain => sides.plain(workers, image, weight, epilogue)?,
                Direction::Transposed => sides.adjoint(workers, image, weight, epilogue)?,
            };
            output.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), sides.output.shape()))
    }

    /// The gradients of those arguments that are tracked.
    fn backward(
        &self,
        image: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let sides = self.sides(image.shape(), weight.shape())?;
        let wanted = [image.track_op(), weight.track_op(), bias.is_some_and(Tensor::track_op)];
        let found = with_values([image, weight, gradient], |[image, weight, gradient]| {
            pass(|workers| self.gradients(workers, &sides, wanted, image, weight, gradient))
        })?;
        let [by_image, by_weight, by_bias] = found;
        let device = image.device();
        let tensor = |values: Option<Vec<f32>>, shape: &Shape| {
            values.map(|values| Tensor::from_vec(values, shape, device)).transpose()
        };
        let channels = Shape::from(sides.output.channels);
        Ok([
            tensor(by_image, image.shape())?,
            tensor(by_weight, weight.shape())?,
            tensor(by_bias, bias.map_or(&channels, Tensor::shape))?,
        ])
    }

    fn gradients(
        &self,
        workers: &Workers<'_>,
        sides: &Sides,
        wanted: [bool; 3],
        image: &[f32],
        weight: &[f32],
        gradient: &[f32],
    ) -> std::result::Result<ConvolutionGradients, KernelError> {
        let mut found = [None, None, None];
        if wanted[0] {
            let by_image = match self.direction {
                Direction::Plain => sides.adjoint(workers, gradient, weight, Epilogue::default())?,
                Direction::Transposed => sides.plain(workers, gradient, weight, Epilogue::default())?,
            };
            found[0] = Some(by_image.planes(workers)?);
        }
        if wanted[1] {
            let (large, small) = match self.direction {
                Direction::Plain => (image, gradient),
                Direction::Transposed => (gradient, image),
            };
            found[1] = Some(sides.weight_gradient(workers, large, small)?);
        }
        if wanted[2] {
            let layout = match self.direction {
                Direction::Plain => sides.small,
                Direction::Transposed => sides.large,
            };
            let gradient = Held::read(workers, sides.samples, layout, gradient)?;
            let mut totals = vec![0.0; layout.channels()];
            let mut scratch = vec![0.0; kernels::totals_scratch_len(&layout, sides.samples)];
            kernels::channel_totals(workers, sides.samples, gradient.from(), &mut totals, &mut scratch)?;
            found[2] = Some(totals);
        }
        Ok(found)
    }
}

impl Sides {
    /// Where the values of `[small channels, large channels, kernel, kernel]` lie among packed weights.
    fn places(&self) -> impl Iterator<Item = usize> {
        let (few, many) = (self.small.channels(), self.large.channels());
        let geometry = self.geometry;
        let kernel = geometry.kernel();
        (0..few * many).flat_map(move |pair| {
            (0..kernel * kernel)
                .map(move |tap| geometry.weight_index(pair / many, pair % many, tap / kernel, tap % kernel))
        })
    }

    fn pack(&self, weight: &[f32]) -> Buffer {
        let mut packed = Buffer::zeros(self.geometry.weights_len());
        for (place, value) in self.places().zip(weight) {
            packed[place] = *value;
        }
        packed
    }

    /// From the larger image to the smaller.
    fn plain(
        &self,
        workers: &Workers<'_>,
        large: &[f32],
        weight: &[f32],
        epilogue: Epilogue<'_>,
    ) -> std::result::Result<Held, KernelError> {
        let large = Held::read(workers, self.samples, self.large, large)?;
        let mut small = Held::zeros(self.samples, self.small)?;
        let weight = self.pack(weight);
        let mut packed = Buffer::zeros(self.geometry.packed_len());
        self.geometry.pack(workers, &weight, &mut packed)?;
        let (large, to) = (large.from(), small.to());
        self.geometry.forward_packed(workers, self.samples, large, &weight, &packed, to, epilogue)?;
        Ok(small)
    }

    /// From the smaller image to the larger.
    fn adjoint(
        &self,
        workers: &Workers<'_>,
        small: &[f32],
        weight: &[f32],
        epilogue: Epilogue<'_>,
    ) -> std::result::Result<Held, KernelError> {
        let small = Held::read(workers, self.samples, self.small, small)?;
        let mut large = Held::zeros(self.samples, self.large)?;
        let mut packed = Buffer::zeros(self.geometry.adjoint_len());
        self.geometry.pack_adjoint(workers, &self.pack(weight), &mut packed)?;
        self.geometry.adjoint(workers, self.samples, small.from(), &packed, large.to(), epilogue)?;
        Ok(large)
    }

    fn weight_gradient(
        &self,
        workers: &Workers<'_>,
        large: &[f32],
        small: &[f32],
    ) -> std::result::Result<Vec<f32>, KernelError> {
        let large = Held::read(workers, self.samples, self.large, large)?;
        let small = Held::read(workers, self.samples, self.small, small)?;
        let mut packed = Buffer::zeros(self.geometry.weights_len());
        let mut scratch = Buffer::zeros(self.geometry.gradient_scratch(self.samples));
        self.geometry.weight_gradient(
            workers,
            self.samples,
            large.from(),
            small.from(),
            &mut packed,
            &mut scratch,
        )?;
        Ok(self.places().map(|place| packed[place]).collect())
    }
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "lesio-convolution"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), None)
    }

    fn bwd(
        &self,
        image: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [image, weight, _] = self.backward(image, weight, None, gradient)?;
        Ok((image, weight))
    }
}

impl CustomOp3 for Convolve {
    fn name(&self) -> &'static str {
        "lesio-convolution"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), Some((s3, l3)))
    }

    fn bwd(
        &self,
        image: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [image, weight, bias] = self.backward(image, weight, Some(bias), gradient)?;
        Ok((image, weight, bias))
    }
}
