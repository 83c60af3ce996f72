//! All unsafe code of this crate: vector registers, one worker team, and what they need.
//!
//! Everything that this module hands to the rest of the crate is safe to call with any argument: a
//! function here checks once, at its entry, that every index it will form lies inside the slices it was
//! given and that no two workers write to one place, and then trusts that.
#![allow(unsafe_code)] // The one place for it; every block says why it holds.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod amx_unit;
mod call;
mod contraction;
mod denormals;
mod gemm;
mod isa;
mod memory;
mod microkernel;
mod operands;
mod place;
mod vector;
mod winograd;
mod workers;

pub(crate) use contraction::Contraction;
pub use isa::Isa;
pub(crate) use isa::{Level, vectorized};
pub(crate) use memory::Memory;
pub(crate) use operands::{Axis, Finish, Gemm, Kind, Mask, Operands, Prefetch, Start, TAPS};
pub(crate) use winograd::{
    FEW_PARTS, FEW_ROWS, PARTS, Pixels, Place, ROWS, sums_of_gradient, sums_of_products, sums_of_source,
};
pub(crate) use workers::Bands;
pub use workers::{Workers, with_workers};
