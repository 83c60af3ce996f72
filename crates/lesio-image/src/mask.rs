//! Which part of an image is the object, and which is air.

use ndarray::{Array2, ArrayRef2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::components::{Connectivity, label_plane, label_volume};
use crate::error::{ConfigError, ImageError};
use crate::morphology::{close, fill_holes_plane, open};
use crate::threshold::Threshold;
use crate::volume::{Plane, Volume};

/// How the foreground of an image is found: what is above a [`Threshold`], cleaned.
///
/// In this order: threshold, opening, the largest component, closing, holes; opening, closing and
/// holes slice by slice, since the voxels of clinical stacks are much longer through the slices
/// than within them. The result for a head is its outline with everything inside: skull bone,
/// cerebrospinal fluid and sinuses give no signal but belong to it.
///
/// An automatic threshold is found for the whole volume. Slices at the end of a coil's reach are
/// dimmer than the rest, so a slice whose own threshold is lower takes that, down to half of the
/// volume's, below which there is noise.
///
/// ```
/// use lesio_image::ForegroundMask;
/// use ndarray::Array2;
///
/// // A ring around a dark centre, and a marker beside it.
/// let image = Array2::from_shape_fn((40, 40), |(r, c)| {
///     let radius = ((r as f32 - 20.0).powi(2) + (c as f32 - 20.0).powi(2)).sqrt();
///     if (6.0..14.0).contains(&radius) || (r < 3 && c < 3) { 100.0 } else { 2.0 }
/// });
/// let mask = ForegroundMask::new().plane(&image)?;
/// assert!(mask[[20, 20]] && mask[[20, 30]] && !mask[[1, 1]] && !mask[[20, 38]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ForegroundMask {
    /// What is bright enough. Default: [`Threshold::CrossEntropy`].
    pub threshold: Threshold,
    /// Radius of the opening, which cuts thin bridges of ghosting and noise, as a fraction of the
    /// slice's shorter side; 0 for none. Default: 0.01, a pixel of a slice of 128.
    pub opening: f64,
    /// Which components are kept. Default: [`KeepComponents::Largest`].
    pub components: KeepComponents,
    /// Radius of the closing, which closes the outline where the scalp is dark, as a fraction of the
    /// slice's shorter side; 0 for none. Default: 0.04, five pixels of a slice of 128.
    pub closing: f64,
    /// What is done with holes. Default: [`Holes::Fill`].
    pub holes: Holes,
}

/// Which connected components (by faces) of the foreground are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepComponents {
    /// The largest of the volume, or of the plane. The default: there is one head, and what lies
    /// beside it is a marker or a ghost.
    #[default]
    Largest,
    /// All of them.
    All,
}

/// What is done with the holes of a foreground.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holes {
    /// They are filled, slice by slice. The default: a dark lesion is foreground.
    #[default]
    Fill,
    /// They stay.
    Keep,
}

impl Default for ForegroundMask {
    fn default() -> Self {
        Self {
            threshold: Threshold::default(),
            opening: 0.01,
            components: KeepComponents::default(),
            closing: 0.04,
            holes: Holes::default(),
        }
    }
}

impl ForegroundMask {
    /// The defaults, made for heads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is bright enough.
    #[must_use]
    pub fn threshold(mut self, threshold: Threshold) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets the radius of the opening, a fraction of the slice's shorter side.
    #[must_use]
    pub fn opening(mut self, radius: f64) -> Self {
        self.opening = radius;
        self
    }

    /// Sets which components are kept.
    #[must_use]
    pub fn components(mut self, components: KeepComponents) -> Self {
        self.components = components;
        self
    }

    /// Sets the radius of the closing, a fraction of the slice's shorter side.
    #[must_use]
    pub fn closing(mut self, radius: f64) -> Self {
        self.closing = radius;
        self
    }

    /// Sets what is done with holes.
    #[must_use]
    pub fn holes(mut self, holes: Holes) -> Self {
        self.holes = holes;
        self
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.threshold.validate()?;
        for (setting, radius) in [("foreground opening", self.opening), ("foreground closing", self.closing)]
        {
            if !(0.0..=1.0).contains(&radius) {
                return Err(ConfigError::new(setting, radius, "a fraction in [0, 1]"));
            }
        }
        Ok(())
    }

    /// The foreground of a volume, cleaned in its slices of `plane`.
    ///
    /// # Errors
    /// [`ImageError::EmptyImage`], [`ImageError::NonFiniteVoxels`] and, unless the threshold is
    /// fixed, [`ImageError::ConstantImage`]; [`ImageError::EmptyForeground`] where nothing is left.
    pub fn volume(&self, volume: &Volume<f32>, plane: Plane) -> Result<Volume<bool>, ImageError> {
        let threshold = self.threshold.find(volume.data())?;
        let least = volume.data().iter().copied().fold(f32::INFINITY, f32::min);
        let floor = least + 0.5 * (threshold - least);
        let axis = Axis(plane.axis());
        let mut mask = volume.data().mapv(|_| false);
        let slices: Vec<_> = volume.data().axis_iter(axis).zip(mask.axis_iter_mut(axis)).collect();
        slices.into_par_iter().for_each(|(values, mut inside)| {
            // A slice of one value has no threshold of its own.
            let own =
                self.threshold.find(&values).unwrap_or(threshold).clamp(floor.min(threshold), threshold);
            inside.assign(&self.opened(values.mapv(|value| value > own)));
        });
        if self.components == KeepComponents::Largest {
            let found = label_volume(&mask, Connectivity::Faces);
            let label = found.largest().map_or(0, |index| index as u32 + 1);
            mask = found.labels().mapv(|l| l == label && l != 0);
        }
        let slices: Vec<_> = mask.axis_iter_mut(axis).collect();
        slices.into_par_iter().for_each(|mut slice| {
            let completed = self.completed(slice.to_owned());
            slice.assign(&completed);
        });
        if !mask.iter().any(|&inside| inside) {
            return Err(ImageError::EmptyForeground);
        }
        Ok(Volume::new(mask, *volume.geometry()))
    }

    /// The foreground of a plane.
    ///
    /// # Errors
    /// As [`ForegroundMask::volume`].
    pub fn plane(&self, plane: &ArrayRef2<f32>) -> Result<Array2<bool>, ImageError> {
        let threshold = self.threshold.find(plane)?;
        let mut mask = self.opened(plane.mapv(|value| value > threshold));
        if self.components == KeepComponents::Largest {
            let found = label_plane(&mask, Connectivity::Faces);
            let label = found.largest().map_or(0, |index| index as u32 + 1);
            mask = found.labels().mapv(|l| l == label && l != 0);
        }
        mask = self.completed(mask);
        if !mask.iter().any(|&inside| inside) {
            return Err(ImageError::EmptyForeground);
        }
        Ok(mask)
    }

    fn opened(&self, slice: Array2<bool>) -> Array2<bool> {
        let radius = self.opening * shorter_side(&slice);
        if radius < 1.0 { slice } else { open(&slice, radius) }
    }

    /// Closing and holes.
    fn completed(&self, slice: Array2<bool>) -> Array2<bool> {
        let radius = self.closing * shorter_side(&slice);
        let closed = if radius < 1.0 { slice } else { close(&slice, radius) };
        match self.holes {
            Holes::Fill => fill_holes_plane(&closed),
            Holes::Keep => closed,
        }
    }
}

fn shorter_side(slice: &ArrayRef2<bool>) -> f64 {
    slice.nrows().min(slice.ncols()) as f64
}
