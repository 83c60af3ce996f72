//! Heart-like images: the public side.

mod anatomy;
mod config;
mod part;
mod phase;
mod render;

use lesio_image::noise::{branch, uniform};

use crate::phantom::{Phantom, PhantomError, PhantomSlice, stack};
use anatomy::Anatomy;
pub use config::HeartConfig;
pub use part::HeartPart;
pub use phase::CardiacPhase;

/// Millimeters from the base to the apex of the left ventricle.
const LENGTH: f64 = 81.0;

/// A population of heart-like short-axis images with the label of every pixel.
///
/// Subjects differ in the size of both ventricles, the thickness of the wall and how much it thickens,
/// in pose, in what surrounds the heart, in contrast and noise. As with
/// [`BrainPhantom`](crate::BrainPhantom), results on them say nothing about patients.
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
    /// [`PhantomError::Size`] and [`PhantomError::Setting`] for a number outside the ranges that
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

    /// One slice of a subject, at a subject-specific level between 0.1 and 0.7 and phase; it shows all
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
    /// Neighboring levels show neighboring anatomy, and the same level the same bytes, whether asked
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

    /// Pixel size in millimeters.
    #[must_use]
    pub fn pixel(&self) -> f64 {
        self.config.field_of_view / self.config.size[0].min(self.config.size[1]) as f64
    }

    fn seed(&self, subject: u64) -> u64 {
        branch(branch(self.config.seed, 0x4ea7), subject)
    }
}
