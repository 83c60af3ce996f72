//! Adam's update in two kernels a parameter.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, InplaceOp2, Layout, Result, Tensor, bail};
use lesio_kernels::AdamUpdate;

use super::kernels::{numbers, view};
use super::launch::{Kernel, Spread, launch};

/// Changes the moments `[2, ...]` of a parameter by its gradient, and then the parameter by its moments.
pub(in super::super) fn adam(
    parameter: &Tensor,
    moments: &Tensor,
    gradient: &Tensor,
    update: &AdamUpdate,
) -> Result<()> {
    let floats = [update.gradient_scale, update.beta1, update.beta2].map(|value| value as f32);
    let kernel = Kernel { name: "adam_moments", inputs: 1, numbers: 1, floats: 3 };
    let count = parameter.elem_count();
    moments.inplace_op2(&gradient.contiguous()?, &Change { kernel, count, floats: floats.to_vec() })?;

    let correction = |beta: f64| 1.0 - beta.powf(update.step as f64);
    let kept = 1.0 - update.rate * update.weight_decay;
    let floats = [kept, update.rate, correction(update.beta1), correction(update.beta2), update.epsilon];
    let kernel = Kernel { name: "adam_step", inputs: 1, numbers: 1, floats: 5 };
    let floats = floats.iter().map(|&value| value as f32).collect();
    parameter.inplace_op2(moments, &Change { kernel, count, floats })
}

/// A kernel that changes the first tensor by the second.
struct Change {
    kernel: Kernel,
    count: usize,
    floats: Vec<f32>,
}

impl InplaceOp2 for Change {
    fn name(&self) -> &'static str {
        self.kernel.name
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        bail!("this operation has kernels for CUDA alone")
    }

    fn cuda_fwd(
        &self,
        changed: &mut CudaStorage,
        layout: &Layout,
        by: &CudaStorage,
        by_layout: &Layout,
    ) -> Result<()> {
        let device = by.device().clone();
        let Some((from, to)) = layout.contiguous_offsets() else {
            bail!("a kernel takes contiguous tensors")
        };
        let [count] = numbers([self.count])?;
        let mut changed = changed.as_cuda_slice_mut::<f32>()?.slice_mut(from..to);
        let inputs = [view(by, by_layout)?];
        launch(&device, self.kernel, Spread::Values(count), &mut changed, &inputs, &[count], &self.floats)
    }
}
