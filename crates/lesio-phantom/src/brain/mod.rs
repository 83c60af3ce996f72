//! Brain-like images: the public side.

mod anatomy;
mod config;
mod contrast;
mod outline;
mod render;
mod sulci;
mod sulcus;
mod tissue;

use lesio_image::noise::{branch, uniform};

use crate::phantom::{Phantom, PhantomError, PhantomSlice, stack};
use anatomy::Anatomy;
pub use config::BrainConfig;
pub use contrast::Contrast;
pub use tissue::Tissue;

/// A population of healthy brain-like images with the tissue of every pixel.
///
/// Subjects differ in the shape of head and brain, the course, depth and width of every sulcus, the size of
/// ventricles and deep nuclei, the contrast between tissues, pose, sensitivity of the coil and noise. They
/// look like a brain, which makes them suitable for demonstrations and tests; they are not a model of one, and
/// results on them say nothing about patients.
///
/// ```
/// use lesio_phantom::{BrainConfig, BrainPhantom, Contrast, Tissue};
///
/// let phantom = BrainPhantom::new(BrainConfig::new([96, 96], Contrast::Flair, 1))?;
/// let slice = phantom.slice(0);
/// assert_eq!(slice.image.dim(), (96, 96));
/// assert!(slice.labels.iter().any(|&label| label == Tissue::White.label()));
/// // The same seed gives the same bytes; another subject is another brain.
/// assert_eq!(slice, phantom.slice(0));
/// assert_ne!(slice.labels, phantom.slice(1).labels);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BrainPhantom {
    config: BrainConfig,
}

impl BrainPhantom {
    /// The population of a configuration.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for a number outside the ranges that
    /// [`BrainConfig`] states.
    pub fn new(config: BrainConfig) -> Result<Self, PhantomError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &BrainConfig {
        &self.config
    }

    /// One slice of a subject, at a subject-specific height within [`BrainConfig::slice_heights`].
    #[must_use]
    pub fn slice(&self, subject: u64) -> PhantomSlice {
        let [low, high] = self.config.slice_heights;
        self.slice_at(subject, uniform(self.seed(subject), 0, low, high))
    }

    /// The slice of a subject at a height in millimeters above the plane through the commissures, which is
    /// brought within -10 to 64 (NaN to -10).
    ///
    /// Rows run from front to back, columns from the subject's left to right; neighboring heights show
    /// neighboring anatomy, and the same height the same bytes, whether asked for alone or in a volume.
    #[must_use]
    pub fn slice_at(&self, subject: u64, height: f64) -> PhantomSlice {
        let seed = self.seed(subject);
        let height = if height.is_nan() { -10.0 } else { height.clamp(-10.0, 64.0) };
        render::slice(&self.config, &Anatomy::new(seed), seed, height)
    }

    /// A subject's volume, [`BrainConfig::slices`] slices from the lower to the upper of
    /// [`BrainConfig::heights`]; voxels `(left to right, back to front, bottom to top)`.
    ///
    /// # Errors
    /// None for a checked configuration.
    pub fn volume(&self, subject: u64) -> Result<Phantom, PhantomError> {
        let seed = self.seed(subject);
        let anatomy = Anatomy::new(seed);
        let [low, high] = self.config.heights;
        let step = (high - low) / self.config.slices.saturating_sub(1).max(1) as f64;
        let slices: Vec<_> = (0..self.config.slices)
            .map(|index| render::slice(&self.config, &anatomy, seed, low + step * index as f64))
            .collect();
        let pixel = self.pixel();
        // A single slice has no distance to a next one: it is as thick as its pixels are wide.
        stack(&slices, self.config.size, [pixel, pixel, if step > 0.0 { step } else { pixel }])
    }

    /// Pixel size in millimeters.
    #[must_use]
    pub fn pixel(&self) -> f64 {
        render::pixel(&self.config)
    }

    fn seed(&self, subject: u64) -> u64 {
        branch(branch(self.config.seed, 0xb4a1), subject)
    }
}
