//! Weights of other programs, with other names.

mod archive;
mod dict;
mod error;
mod floats;
mod pickle;
mod read;
#[cfg(test)]
mod sample;
mod torch;

pub use dict::{NameMap, StateDict};
pub use error::StateDictError;
pub use floats::f32_from_half;
