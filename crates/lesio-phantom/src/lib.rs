//! Seeded brain-like and heart-like test images with lesions and exact truth.

#![forbid(unsafe_code)]

mod acquisition;
mod brain;
mod canvas;
mod lesion;
mod phantom;
mod random;

pub use brain::{BrainConfig, BrainPhantom, Contrast, Tissue};
pub use lesion::{
    Injected, InjectedSlice, Lesion, LesionConfig, LesionError, LesionInjector, LesionKind, Site,
};
pub use phantom::{Phantom, PhantomError, PhantomSlice};
