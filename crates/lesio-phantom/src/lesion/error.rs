//! Errors of lesion injection.

use lesio_settings::SettingError;

use super::config::{LesionKind, Site};

/// Why lesions cannot be injected into an image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LesionError {
    /// A setting is not a number or outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Image and labels have different shapes.
    #[error("labels have shape {labels:?}, expected the image's {image:?}")]
    Shape {
        /// Shape of the image.
        image: [usize; 3],
        /// Shape of the labels.
        labels: [usize; 3],
    },
    /// The image holds a NaN or an infinity.
    #[error("image value at {index:?} is {value}, expected a finite number")]
    NonFinite {
        /// Where.
        index: [usize; 3],
        /// What.
        value: f32,
    },
    /// The voxel sizes are invalid.
    #[error("voxel size is {found:?} mm, expected numbers within 1e-6 to 1e6")]
    VoxelSize {
        /// The sizes found.
        found: [f64; 3],
    },
    /// No voxel has a label in which a lesion may be centered.
    #[error("no voxel has a label of the site {site:?}")]
    EmptySite {
        /// Where lesions should be centered.
        site: Site,
    },
    /// There is not enough room for the lesions.
    #[error("found room for {placed} of {wanted} lesions of {radius:.1} mm in the allowed labels")]
    NoRoom {
        /// Lesions that fit.
        placed: usize,
        /// Lesions wanted.
        wanted: usize,
        /// Radius of the one that did not fit.
        radius: f64,
    },
    /// A lesion would change no voxel of its truth: it is too small for its kind, or its place has no contrast.
    #[error("a {kind} lesion of {radius:.2} mm changes no voxel of its truth")]
    NoChange {
        /// The kind of lesion.
        kind: LesionKind,
        /// Its radius.
        radius: f64,
    },
}
