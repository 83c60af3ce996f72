//! Seeded brain-like and heart-like test images with lesions and exact truth.

#![forbid(unsafe_code)]

mod acquisition;
mod brain;
mod canvas;
mod corruption;
mod heart;
mod lesion;
mod phantom;
mod random;

pub use brain::{BrainConfig, BrainPhantom, Contrast, Tissue};
pub use corruption::{Corrupted, CorruptionError, CorruptionKind, Corruptor, DiceOf};
pub use heart::{CardiacPhase, HeartConfig, HeartPart, HeartPhantom};
pub use lesion::{
    Injected, InjectedSlice, Lesion, LesionConfig, LesionError, LesionInjector, LesionKind, Site,
};
pub use phantom::{Phantom, PhantomError, PhantomSlice};
