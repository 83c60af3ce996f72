//! Seeded brain-like and heart-like test images with lesions and exact truth.

#![forbid(unsafe_code)]

mod acquisition;
mod brain;
mod canvas;
mod phantom;
mod random;

pub use brain::{BrainConfig, BrainPhantom, Contrast, Tissue};
pub use phantom::{Phantom, PhantomError, PhantomSlice};
