//! Heart-like images: the public side.

mod anatomy;
mod render;

use lesio_image::noise::{branch, uniform};
use lesio_settings::in_range;
use serde::{Deserialize, Serialize};

use crate::phantom::{Phantom, PhantomError, PhantomSlice, check_size, stack};
use anatomy::Anatomy;

/// What a pixel of a heart phantom shows; the values are the phantom's labels, those of ACDC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum HeartPart {
    /// Everything else: lung, liver, fat, chest wall, air.
    Background = 0,
    /// Cavity of the right ventricle.
    RightVentricle = 1,
    /// Wall of the left ventricle.
    Myocardium = 2,
    /// Cavity of the left ventricle with its papillary muscles and trabeculae, as ACDC draws it.
    LeftVentricle = 3,
}

impl HeartPart {
    /// The label in [`Phantom::labels`].
    #[must_use]
    pub fn label(self) -> u8 {
        self as u8
    }
}

/// When in the heart beat an image is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardiacPhase {
    /// The ventricles are full and their walls thin.
    #[default]
    EndDiastole,
    /// The ventricles are contracted and their walls thick.
    EndSystole,
}

/// Which hearts a [`HeartPhantom`] makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeartConfig {
    /// Rows and columns of a slice, each 16 to 1024.
    pub size: [usize; 2],
    /// Seed of the whole population: subject `n` is a function of it and of `n`.
    pub seed: u64,
    /// Millimetres across the shorter side, 80 to 1000. Default 170: the heart fills half of it.
    pub field_of_view: f64,
    /// Slices of a volume, 1 to 512. Default 10, 9 mm apart.
    pub slices: usize,
    /// Deviation of the Rician noise in units of the intensities (blood is near 0.75), 0 to 1. Default
    /// 0.02.
    pub noise: f64,
    /// Logarithmic deviation of the bias field, 0 to 1. Default 0.12: surface coils are uneven.
    pub bias: f64,
}

impl HeartConfig {
    /// Slices of `size` rows and columns, the rest as the fields state.
    #[must_use]
    pub fn new(size: [usize; 2], seed: u64) -> Self {
        Self { size, seed, field_of_view: 170.0, slices: 10, noise: 0.02, bias: 0.12 }
    }

    /// Sets [`HeartConfig::field_of_view`].
    #[must_use]
    pub fn field_of_view(mut self, millimetres: f64) -> Self {
        self.field_of_view = millimetres;
        self
    }

    /// Sets [`HeartConfig::slices`].
    #[must_use]
    pub fn slices(mut self, slices: usize) -> Self {
        self.slices = slices;
        self
    }

    /// Sets [`HeartConfig::noise`].
    #[must_use]
    pub fn noise(mut self, deviation: f64) -> Self {
        self.noise = deviation;
        self
    }

    /// Sets [`HeartConfig::bias`].
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
        in_range("field_of_view", self.field_of_view, 80.0..=1000.0)?;
        in_range("slices", self.slices, 1..=512)?;
        in_range("noise", self.noise, 0.0..=1.0)?;
        in_range("bias", self.bias, 0.0..=1.0)?;
        Ok(())
    }
}

/// Millimetres from the base to the apex of the left ventricle.
const LENGTH: f64 = 81.0;

/// A population of heart-like short-axis images with the label of every pixel.
///
/// Subjects differ in the size of both ventricles, the thickness of the wall and how much it thickens,
/// in pose, in what surrounds the heart, in contrast and noise. As with
/// [`BrainPhantom`](crate::BrainPhantom), a figure measured on them says nothing about patients.
///
/// ```
/// use lesio_phantom::{CardiacPhase, HeartConfig, HeartPart, HeartPhantom};
///
/// let hearts = HeartPhantom::new(HeartConfig::new([96, 96], 1))?;
/// let blood = |phase| {
///     let slice = hearts.slice_at(0, phase, 0.4);
///     slice.labels.iter().filter(|&&label| label == HeartPart::LeftVentricle.label()).count()
/// };
/// assert!(blood(CardiacPhase::EndSystole) < blood(CardiacPhase::EndDiastole));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HeartPhantom {
    config: HeartConfig,
}

impl HeartPhantom {
    /// The population of a configuration.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for what is outside the ranges that
    /// [`HeartConfig`] states.
    pub fn new(config: HeartConfig) -> Result<Self, PhantomError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &HeartConfig {
        &self.config
    }

    /// One slice of a subject, at a level between 0.1 and 0.7 and in a phase that are its own; it shows all
    /// three parts.
    #[must_use]
    pub fn slice(&self, subject: u64) -> PhantomSlice {
        let seed = self.seed(subject);
        let phase = match uniform(seed, 1, 0.0, 1.0) {
            draw if draw < 0.5 => CardiacPhase::EndDiastole,
            _ => CardiacPhase::EndSystole,
        };
        self.slice_at(subject, phase, uniform(seed, 2, 0.1, 0.7))
    }

    /// The slice of a subject at a level from 0, the base, to 1, the apex, to which it is brought (NaN
    /// to 0).
    ///
    /// Neighbouring levels show neighbouring anatomy, and the same level the same bytes, whether asked
    /// for alone or in a volume. Towards the apex first the right ventricle ends, then the left one's
    /// cavity.
    #[must_use]
    pub fn slice_at(&self, subject: u64, phase: CardiacPhase, level: f64) -> PhantomSlice {
        let seed = self.seed(subject);
        let level = if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0) };
        render::slice(&self.config, &Anatomy::new(seed), seed, phase, level)
    }

    /// A subject's volume in a phase, from apex to base; third axis along the heart.
    ///
    /// # Errors
    /// None for a checked configuration.
    pub fn volume(&self, subject: u64, phase: CardiacPhase) -> Result<Phantom, PhantomError> {
        let seed = self.seed(subject);
        let anatomy = Anatomy::new(seed);
        let steps = self.config.slices.saturating_sub(1).max(1) as f64;
        let slices: Vec<_> = (0..self.config.slices)
            .map(|index| render::slice(&self.config, &anatomy, seed, phase, 1.0 - index as f64 / steps))
            .collect();
        stack(&slices, self.config.size, [self.pixel(), self.pixel(), LENGTH / steps])
    }

    /// Pixel size in millimetres.
    #[must_use]
    pub fn pixel(&self) -> f64 {
        self.config.field_of_view / self.config.size[0].min(self.config.size[1]) as f64
    }

    fn seed(&self, subject: u64) -> u64 {
        branch(branch(self.config.seed, 0x4ea7), subject)
    }
}
