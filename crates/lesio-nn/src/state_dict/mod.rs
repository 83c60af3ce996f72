//! Weights of other programs, with other names.

mod dict;
mod error;
mod read;

pub use dict::{NameMap, StateDict};
pub use error::StateDictError;
