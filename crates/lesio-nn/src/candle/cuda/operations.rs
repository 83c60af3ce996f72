//! Layers with their gradients, as candle operations.
//!
//! Each takes part in candle's automatic differentiation, and computes the gradients of tracked arguments alone.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use lesio_kernels::{Pooling, Upsampling};

use super::kernels::{Call, call, channel_sums, column_sums, each, elsewhere, numbers};
use super::launch::{Kernel, Spread};
use crate::layer::Activation;

/// Threads of a block that normalizes a group; the kernels' shared memory is as large.
const GROUP_THREADS: u32 = 1024;

/// Adds one value a channel.
pub(in super::super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (n, channels, h, w) = x.dims4()?;
    if bias.dims() != [channels] {
        bail!("bias {:?} of {channels} channels", bias.shape())
    }
    let numbers = numbers([n * channels * h * w, channels, h * w])?;
    let kernel = Kernel { name: "add_bias", inputs: 2, numbers: 3, floats: 0 };
    let call = Call::each(kernel, &numbers, &[], x.shape().clone())?;
    x.contiguous()?.apply_op2(&bias.contiguous()?, Operation { call, gradient: Gradient::Bias })
}

/// Group normalization with its scales and shifts.
pub(in super::super) fn group_normalization(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    let (n, channels, h, w) = x.dims4()?;
    if groups == 0 || channels % groups != 0 {
        bail!("{groups} groups do not divide {channels} channels")
    }
    if [scale, shift].iter().any(|values| values.dims() != [channels]) {
        bail!("scale {:?} and shift {:?} of {channels} channels", scale.shape(), shift.shape())
    }
    let [_, blocks] = numbers([n * channels * h * w, n * groups])?;
    let kernel = Kernel { name: "group_norm", inputs: 3, numbers: 3, floats: 1 };
    let spread = Spread::Blocks { blocks, threads: GROUP_THREADS };
    let numbers = numbers([channels, groups, h * w])?;
    let call = Call::new(kernel, spread, &numbers, &[epsilon], x.shape().clone());
    let gradient = Gradient::GroupNormalization { groups, epsilon };
    x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, Operation { call, gradient })
}

pub(in super::super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let (kind, slope) = kind(activation)?;
    let [count] = numbers([x.elem_count()])?;
    let kernel = Kernel { name: "activate", inputs: 1, numbers: 2, floats: 1 };
    let call = Call::each(kernel, &[count, kind], &[slope], x.shape().clone())?;
    x.contiguous()?.apply_op1(Operation { call, gradient: Gradient::Activation(activation) })
}

/// The largest value or the mean of windows `[rows, columns]`.
pub(in super::super) fn pool(x: &Tensor, pooling: Pooling, window: [usize; 2]) -> Result<Tensor> {
    let (n, channels, h, w) = x.dims4()?;
    let [rows, columns] = window;
    let (Some(oh @ 1..), Some(ow @ 1..)) = (h.checked_div(rows), w.checked_div(columns)) else {
        bail!("a window of {rows}x{columns} does not fit images of {h}x{w}")
    };
    let shape = Shape::from((n, channels, oh, ow));
    let maximum = usize::from(pooling == Pooling::Maximum);
    let numbers = numbers([shape.elem_count(), maximum, h, w, rows, columns])?;
    let kernel = Kernel { name: "pool", inputs: 1, numbers: 6, floats: 0 };
    let call = Call::each(kernel, &numbers, &[], shape)?;
    x.contiguous()?.apply_op1(Operation { call, gradient: Gradient::Pool { pooling, window } })
}

/// Each pixel repeated, or linear interpolation between pixel centers.
pub(in super::super) fn upsample(x: &Tensor, upsampling: Upsampling, factor: usize) -> Result<Tensor> {
    let (n, channels, h, w) = x.dims4()?;
    let shape = [n, channels, h, factor, w, factor].into_iter().try_fold(1usize, usize::checked_mul);
    let Some(1..) = shape else { bail!("images {h}x{w} cannot be enlarged {factor} times") };
    let shape = Shape::from((n, channels, h * factor, w * factor));
    let name = match upsampling {
        Upsampling::Nearest => "nearest",
        Upsampling::Bilinear => "bilinear",
        Upsampling::BilinearCorners => bail!("no kernel interpolates between corners"),
    };
    let kernel = Kernel { name, inputs: 1, numbers: 4, floats: 0 };
    let call = Call::each(kernel, &numbers([shape.elem_count(), h, w, factor])?, &[], shape)?;
    x.contiguous()?.apply_op1(Operation { call, gradient: Gradient::Upsampling { upsampling, factor } })
}

/// How a gradient goes back through a layer.
#[derive(Clone, Copy)]
pub(in super::super) enum Gradient {
    Bias,
    GroupNormalization { groups: usize, epsilon: f32 },
    Activation(Activation),
    Pool { pooling: Pooling, window: [usize; 2] },
    Upsampling { upsampling: Upsampling, factor: usize },
}

impl Gradient {
    /// The gradient by the input `x` of a layer without parameters.
    pub(in super::super) fn by_input(self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let shape = x.shape().clone();
        let count = shape.elem_count();
        let (x, by) = (&x.detach(), &gradient.detach());
        match self {
            Self::Activation(activation) => {
                let (kind, slope) = kind(activation)?;
                let kernel = Kernel { name: "activate_gradient", inputs: 2, numbers: 2, floats: 1 };
                each(kernel, &[x, by], &numbers([count, kind as usize])?, &[slope], shape)
            }
            Self::Pool { pooling, window: [rows, columns] } => {
                let maximum = usize::from(pooling == Pooling::Maximum);
                let kernel = Kernel { name: "pool_gradient", inputs: 2, numbers: 6, floats: 0 };
                each(kernel, &[x, by], &numbers([count, maximum, h, w, rows, columns])?, &[], shape)
            }
            Self::Upsampling { upsampling, factor } => {
                let name = match upsampling {
                    Upsampling::Nearest => "nearest_gradient",
                    Upsampling::Bilinear => "bilinear_gradient",
                    Upsampling::BilinearCorners => bail!("no kernel interpolates between corners"),
                };
                let kernel = Kernel { name, inputs: 1, numbers: 4, floats: 0 };
                each(kernel, &[by], &numbers([count, h, w, factor])?, &[], shape)
            }
            Self::Bias | Self::GroupNormalization { .. } => bail!("a layer with parameters"),
        }
    }
}

/// The gradients by the input `x` of a group normalization, by its scales and by its shifts.
pub(in super::super) fn group_normalization_gradients(
    x: &Tensor,
    scale: &Tensor,
    gradient: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<[Tensor; 3]> {
    let (n, channels, h, w) = x.dims4()?;
    let count = n * channels * h * w;
    let parts = Shape::from(count + 2 * n * channels);
    let [blocks] = numbers([n * groups])?;
    let kernel = Kernel { name: "group_norm_gradients", inputs: 3, numbers: 4, floats: 1 };
    let spread = Spread::Blocks { blocks, threads: GROUP_THREADS };
    let inputs = [&x.detach(), &scale.detach(), &gradient.detach()];
    let found = call(kernel, spread, &inputs, &numbers([n, channels, groups, h * w])?, &[epsilon], parts)?;
    let by_x = found.narrow(0, 0, count)?.reshape(x.shape())?;
    let sums = column_sums(&found.narrow(0, count, 2 * n * channels)?.reshape((n, 2 * channels))?)?;
    Ok([by_x, sums.narrow(0, 0, channels)?, sums.narrow(0, channels, channels)?])
}

/// A nonlinearity as `kernels.cu` has it.
fn kind(activation: Activation) -> Result<(u32, f32)> {
    Ok(match activation {
        Activation::LeakyRelu { slope } => (0, slope),
        Activation::Silu => (1, 0.0),
        Activation::Sigmoid => (2, 0.0),
        Activation::Tanh => (3, 0.0),
        Activation::Gelu | Activation::GeluTanh => bail!("no kernel computes {activation:?}"),
    })
}

/// A kernel and how the gradient of its value goes back.
struct Operation {
    call: Call,
    gradient: Gradient,
}

impl CustomOp1 for Operation {
    fn name(&self) -> &'static str {
        self.call.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(&self, a: &CudaStorage, at: &Layout) -> Result<(CudaStorage, Shape)> {
        self.call.run(&[(a, at)])
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.gradient.by_input(x, gradient).map(Some)
    }
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        self.call.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        at: &Layout,
        b: &CudaStorage,
        bt: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.call.run(&[(a, at), (b, bt)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by_bias = bias.track_op().then(|| channel_sums(&gradient.detach())).transpose()?;
        Ok((x.track_op().then(|| gradient.clone()), by_bias))
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        self.call.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        elsewhere()
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        at: &Layout,
        b: &CudaStorage,
        bt: &Layout,
        c: &CudaStorage,
        ct: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.call.run(&[(a, at), (b, bt), (c, ct)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Gradient::GroupNormalization { groups, epsilon } = self.gradient else { return elsewhere() };
        let [by_x, by_scale, by_shift] = group_normalization_gradients(x, scale, gradient, groups, epsilon)?;
        let wanted = |tensor: &Tensor, found: Tensor| tensor.track_op().then_some(found);
        Ok((wanted(x, by_x), wanted(scale, by_scale), wanted(shift, by_shift)))
    }
}
