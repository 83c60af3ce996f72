//! Seeded test images that look like a brain or a heart, and lesions with exact truth.
//!
//! Methods that find lesions or judge segmentations need images on which the answer is known. This
//! crate makes them from a seed, with nothing downloaded, and puts lesions of known place into healthy
//! images of any origin:
//!
//! - [`BrainPhantom`]: axial slices and volumes that look like FLAIR or T1, labeled by [`Tissue`];
//! - [`HeartPhantom`]: short-axis slices and volumes in two phases, labeled by [`HeartPart`] as ACDC is;
//! - [`LesionInjector`]: bright, dark, displaced and textured lesions, and where they are;
//!
//! Everything is a function of its seed: subject 17 is the same whether it is made first or last, alone
//! or beside others, on one thread or many, so a caller may spread subjects over threads as it likes.
//!
//! ```
//! use lesio_phantom::{BrainConfig, BrainPhantom, Contrast, LesionConfig, LesionInjector, LesionKind};
//!
//! let brains = BrainPhantom::new(BrainConfig::new([64, 64], Contrast::T1, 42).slices(8))?;
//! let healthy = brains.volume(0)?;
//! let lesions = LesionConfig::new(LesionKind::Dark, 0.3).in_brain_tissue().radius(6.0, 10.0).count(2);
//! let ill = LesionInjector::new(lesions)?.inject(&healthy.image, &healthy.labels, 7)?;
//!
//! assert_eq!(ill.image.geometry(), healthy.image.geometry());
//! let voxels = ill.truth.data().iter().filter(|&&lesion| lesion).count();
//! assert_eq!(voxels, ill.lesions.iter().map(|lesion| lesion.voxels).sum::<usize>());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod acquisition;
mod brain;
mod canvas;
mod heart;
mod lesion;
mod phantom;
mod random;

pub use brain::{BrainConfig, BrainPhantom, Contrast, Tissue};
pub use heart::{CardiacPhase, HeartConfig, HeartPart, HeartPhantom};
pub use lesio_settings::SettingError;
pub use lesion::{
    Injected, InjectedSlice, Lesion, LesionConfig, LesionError, LesionInjector, LesionKind, Site,
    background_level,
};
pub use phantom::{Phantom, PhantomError, PhantomSlice};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
