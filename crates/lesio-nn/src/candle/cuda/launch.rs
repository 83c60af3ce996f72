//! Starting kernels, and the memory that they share: the only unsafe code of this crate, and only with the feature `cuda`.
//!
//! A kernel reads and writes wherever its arguments send it, so [`launch`] cannot check that it stays inside its
//! buffers. It checks that the arguments are those of the kernel's declaration. The callers, all in `kernels.rs`, derive
//! each number from the shapes of the tensors that they pass, and `tests/cuda.rs` runs every kernel on a card.
#![allow(unsafe_code)]

use candle_core::cuda_backend::cudarc::driver::result;
use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, CudaViewMut, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Result, bail};

/// The kernels as PTX, which the driver compiles for the card.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
const MODULE: &str = "lesio-layers";

/// A kernel of `kernels.cu`: its name, and how many inputs, numbers and floats it takes after its output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) inputs: usize,
    pub(super) numbers: usize,
    pub(super) floats: usize,
}

/// How a kernel is spread over the card.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// A thread for each of so many values.
    Values(u32),
    /// So many blocks of this many threads.
    Blocks { blocks: u32, threads: u32 },
}

/// Keeps memory that is freed for the next use.
///
/// CUDA's default gives it back to the system whenever the host waits for the card, which a pass does several times, and
/// asks for it anew.
pub(crate) fn keep_memory(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut kept = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the card is that of an open context, the pool is the card's own, and the attribute is a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).w()?;
        result::mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut kept).cast()).w()
    }
}

/// Runs a kernel that fills a new buffer of `len` values.
pub(super) fn fill(
    device: &CudaDevice,
    kernel: Kernel,
    spread: Spread,
    len: usize,
    inputs: &[CudaView<'_, f32>],
    numbers: &[u32],
    floats: &[f32],
) -> Result<CudaSlice<f32>> {
    // SAFETY: the buffer is uninitialized until the kernel has run, which writes every value of it. Whatever reads it
    // later is put into the same stream behind the kernel.
    let mut output = unsafe { device.alloc::<f32>(len)? };
    if len > 0 {
        launch(device, kernel, spread, &mut output.as_view_mut(), inputs, numbers, floats)?;
    }
    Ok(output)
}

/// Runs a kernel on a buffer that is there.
pub(super) fn launch(
    device: &CudaDevice,
    kernel: Kernel,
    spread: Spread,
    output: &mut CudaViewMut<'_, f32>,
    inputs: &[CudaView<'_, f32>],
    numbers: &[u32],
    floats: &[f32],
) -> Result<()> {
    if (inputs.len(), numbers.len(), floats.len()) != (kernel.inputs, kernel.numbers, kernel.floats) {
        bail!("the arguments of the kernel {} are not those it declares", kernel.name)
    }
    let function: CudaFunction =
        device.get_or_load_custom_func(kernel.name, MODULE, PTX)?.into_cuda_function();
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    builder.arg(output);
    for input in inputs {
        builder.arg(input);
    }
    for number in numbers {
        builder.arg(number);
    }
    for float in floats {
        builder.arg(float);
    }
    let (blocks, threads) = match spread {
        Spread::Values(count) => (count.div_ceil(256), 256),
        Spread::Blocks { blocks, threads } => (blocks, threads),
    };
    let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: number and types of the arguments are those of the kernel's declaration, as checked above. That the kernel
    // stays inside the buffers is the callers' part, as said at the top of this file.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}
