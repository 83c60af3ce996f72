//! Brain-like images: the public side.

mod anatomy;
mod contrast;
mod outline;
mod render;
mod sulci;
mod sulcus;

use lesio_image::noise::{branch, uniform};
use lesio_settings::{in_range, require};
use serde::{Deserialize, Serialize};

use crate::phantom::{Phantom, PhantomError, PhantomSlice, check_size, stack};
use anatomy::Anatomy;
pub use contrast::Contrast;

/// What a pixel of a brain phantom shows; the values are the phantom's labels.
///
/// The boundary voxels go to the tissue that fills most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Tissue {
    /// Outside the brain: air, scalp and skull.
    Outside = 0,
    /// Cerebrospinal fluid, in the ventricles, the sulci and around the brain.
    Fluid = 1,
    /// Cortex.
    Gray = 2,
    /// White matter.
    White = 3,
    /// Caudate, putamen, pallidum and thalamus.
    DeepGray = 4,
}

impl Tissue {
    /// The label in [`Phantom::labels`].
    #[must_use]
    pub fn label(self) -> u8 {
        self as u8
    }
}

/// Which brains a [`BrainPhantom`] makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BrainConfig {
    /// Rows and columns of a slice, each 16 to 1024. Gyri need about 96 to be told apart.
    pub size: [usize; 2],
    /// Which sequence the image looks like.
    pub contrast: Contrast,
    /// Seed of the whole population: subject `n` is a function of it and of `n`.
    pub seed: u64,
    /// Millimetres across the shorter side, 100 to 1000. Default 224: a head fills nine tenths of it.
    pub field_of_view: f64,
    /// Slices of a volume, 1 to 512. Default 20, which over the default heights puts them 3.3 mm apart.
    pub slices: usize,
    /// Lowest and highest slice of a volume, in millimetres above the plane through the commissures,
    /// within -10 to 64. Default -4 to 60: from the thalamus to near the vertex.
    pub heights: [f64; 2],
    /// Between which heights [`BrainPhantom::slice`] draws the one slice of a subject. Default 2 to 26,
    /// where the ventricles show.
    pub slice_heights: [f64; 2],
    /// Deviation of the Rician noise in units of the intensities (white matter is near 0.5 in FLAIR and
    /// near 0.8 in T1), 0 to 1. Default 0.015, that of a good clinical scan.
    pub noise: f64,
    /// Logarithmic deviation of the bias field, 0 to 1. Default 0.08: some 15 % between head's ends.
    pub bias: f64,
}

impl BrainConfig {
    /// Slices of `size` rows and columns, the rest as the fields state.
    #[must_use]
    pub fn new(size: [usize; 2], contrast: Contrast, seed: u64) -> Self {
        Self {
            size,
            contrast,
            seed,
            field_of_view: 224.0,
            slices: 20,
            heights: [-4.0, 60.0],
            slice_heights: [2.0, 26.0],
            noise: 0.015,
            bias: 0.08,
        }
    }

    /// Sets [`BrainConfig::field_of_view`].
    #[must_use]
    pub fn field_of_view(mut self, millimetres: f64) -> Self {
        self.field_of_view = millimetres;
        self
    }

    /// Sets [`BrainConfig::slices`].
    #[must_use]
    pub fn slices(mut self, slices: usize) -> Self {
        self.slices = slices;
        self
    }

    /// Sets [`BrainConfig::heights`].
    #[must_use]
    pub fn heights(mut self, lowest: f64, highest: f64) -> Self {
        self.heights = [lowest, highest];
        self
    }

    /// Sets [`BrainConfig::slice_heights`].
    #[must_use]
    pub fn slice_heights(mut self, lowest: f64, highest: f64) -> Self {
        self.slice_heights = [lowest, highest];
        self
    }

    /// Sets [`BrainConfig::noise`].
    #[must_use]
    pub fn noise(mut self, deviation: f64) -> Self {
        self.noise = deviation;
        self
    }

    /// Sets [`BrainConfig::bias`].
    #[must_use]
    pub fn bias(mut self, deviation: f64) -> Self {
        self.bias = deviation;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for what is outside the range stated with its field.
    pub fn validate(&self) -> Result<(), PhantomError> {
        check_size(self.size)?;
        in_range("field_of_view", self.field_of_view, 100.0..=1000.0)?;
        in_range("slices", self.slices, 1..=512)?;
        for (name, [low, high]) in [("heights", self.heights), ("slice_heights", self.slice_heights)] {
            in_range(name, low, -10.0..=64.0)?;
            in_range(name, high, low..=64.0)?;
        }
        let [low, high] = self.heights;
        require(self.slices == 1 || low < high, "heights", high, "more than the lower height")?;
        in_range("noise", self.noise, 0.0..=1.0)?;
        in_range("bias", self.bias, 0.0..=1.0)?;
        Ok(())
    }
}

/// A population of healthy brain-like images with the tissue of every pixel.
///
/// Subjects differ in the shape of head and brain, the course, depth and width of every sulcus, the size of
/// ventricles and deep nuclei, the contrast between tissues, pose, sensitivity of the coil and noise. They
/// look like a brain, which makes them fit to show and to test methods; they are no model of one, and a
/// figure measured on them says nothing about patients.
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
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for what is outside the ranges that
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

    /// One slice of a subject, at a height of its own within [`BrainConfig::slice_heights`].
    #[must_use]
    pub fn slice(&self, subject: u64) -> PhantomSlice {
        let [low, high] = self.config.slice_heights;
        self.slice_at(subject, uniform(self.seed(subject), 0, low, high))
    }

    /// The slice of a subject at a height in millimetres above the plane through the commissures, which is
    /// brought within -10 to 64 (NaN to -10).
    ///
    /// Rows run from front to back, columns from the subject's left to right; neighbouring heights show
    /// neighbouring anatomy, and the same height the same bytes, whether asked for alone or in a volume.
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

    /// Pixel size in millimetres.
    #[must_use]
    pub fn pixel(&self) -> f64 {
        render::pixel(&self.config)
    }

    fn seed(&self, subject: u64) -> u64 {
        branch(branch(self.config.seed, 0xb4a1), subject)
    }
}
