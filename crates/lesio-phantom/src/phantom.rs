//! Phantoms: an image and the label of every pixel.

use lesio_image::{GeometryError, Plane, Volume};
use lesio_settings::SettingError;
use ndarray::{Array2, Array3};

/// An image volume and its labels on the same grid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Phantom {
    /// Intensities, at least 0; the phantom's documentation states their range. Axes RAS+, so that
    /// [`Volume::plane`] shows slices the usual way up.
    pub image: Volume<f32>,
    /// Label of each voxel; 0 is background.
    pub labels: Volume<u8>,
}

impl Phantom {
    /// Where the labels are not background: the brain, or the heart.
    #[must_use]
    pub fn mask(&self) -> Volume<bool> {
        self.labels.map(|&label| label != 0)
    }
}

/// A slice `[row, column]` and its labels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PhantomSlice {
    /// Intensities, at least 0.
    pub image: Array2<f32>,
    /// Label of each pixel; 0 is background.
    pub labels: Array2<u8>,
}

impl PhantomSlice {
    /// Where the labels are not background.
    #[must_use]
    pub fn mask(&self) -> Array2<bool> {
        self.labels.map(|&label| label != 0)
    }
}

/// Why a phantom cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomError {
    /// A side of the image is too short to show the anatomy, or too long to be meant.
    #[error("image size {found:?} is out of range, expected each side within {minimum} to {maximum}")]
    Size {
        /// Requested rows and columns.
        found: [usize; 2],
        /// Shortest side.
        minimum: usize,
        /// Longest side.
        maximum: usize,
    },
    /// A setting is not a number or outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The voxel sizes make no geometry.
    #[error("voxel sizes make no geometry")]
    Geometry(#[from] GeometryError),
}

/// Shortest image side that shows anatomy.
pub(crate) const MINIMUM_SIDE: usize = 16;
/// Longest image side.
pub(crate) const MAXIMUM_SIDE: usize = 1024;

pub(crate) fn check_size(size: [usize; 2]) -> Result<(), PhantomError> {
    if size.iter().all(|side| (MINIMUM_SIDE..=MAXIMUM_SIDE).contains(side)) {
        Ok(())
    } else {
        Err(PhantomError::Size { found: size, minimum: MINIMUM_SIDE, maximum: MAXIMUM_SIDE })
    }
}

/// Slices as a volume, the first at the bottom.
pub(crate) fn stack(
    slices: &[PhantomSlice],
    size: [usize; 2],
    spacing: [f64; 3],
) -> Result<Phantom, PhantomError> {
    let geometry = lesio_image::Geometry::from_spacing(spacing)?;
    let shape = (size[1], size[0], slices.len());
    let mut image = Volume::new(Array3::zeros(shape), geometry);
    let mut labels = Volume::new(Array3::zeros(shape), geometry);
    for (index, slice) in slices.iter().enumerate() {
        if let (Some(mut pixels), Some(mut classes)) =
            (image.plane_mut(Plane::Axial, index), labels.plane_mut(Plane::Axial, index))
        {
            pixels.assign(&slice.image);
            classes.assign(&slice.labels);
        }
    }
    Ok(Phantom { image, labels })
}
