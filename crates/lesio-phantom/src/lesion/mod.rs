//! Lesions put into images, with exact truth: the public side.

mod apply;
mod axes;
mod background;
mod config;
mod error;
mod place;
mod shape;

use lesio_image::{Geometry, Volume};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

pub use background::background_level;
pub use config::{LesionConfig, LesionKind, Site};
pub use error::LesionError;

/// One lesion that was put into an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lesion {
    /// How it differs from its surroundings.
    pub kind: LesionKind,
    /// By how much.
    pub contrast: f64,
    /// Center in voxel indices: `(i, j, k)` of a volume, `(row, column, 0)` of a plane.
    #[serde(alias = "centre")]
    pub center: [f64; 3],
    /// Radius in millimeters, as drawn from [`LesionConfig::radius`].
    pub radius: f64,
    /// Voxels of its truth; 0 where the contrast is 0.
    pub voxels: usize,
}

/// A volume with lesions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Injected {
    /// The changed image, on the grid of the given one.
    pub image: Volume<f32>,
    /// Where the lesions are.
    pub truth: Volume<bool>,
    /// Each lesion.
    pub lesions: Vec<Lesion>,
}

/// A slice with lesions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InjectedSlice {
    /// The changed image, `[row, column]`.
    pub image: Array2<f32>,
    /// Where the lesions are.
    pub truth: Array2<bool>,
    /// Each lesion.
    pub lesions: Vec<Lesion>,
}

/// Injects lesions into images, synthetic or real.
///
/// Lesions are perturbed ellipsoids. Their contrast is relative to the distance of the tissue around each from the
/// level of the background ([`background_level`]), their edges have the partial volume of the grid, and the noise of
/// the image is kept or matched, so that neither a fixed threshold nor smoothness reveals more than the kind of
/// lesion implies. Two kinds are exceptions: a foreign object has no noise, and misplaced tissue of a contrast
/// between 0 and 1 has less, since two places are averaged.
///
/// ```
/// use lesio_phantom::{BrainConfig, BrainPhantom, Contrast, LesionConfig, LesionInjector, LesionKind};
///
/// let phantom = BrainPhantom::new(BrainConfig::new([96, 96], Contrast::Flair, 1))?;
/// let healthy = phantom.slice(0);
/// let injector = LesionInjector::new(LesionConfig::new(LesionKind::Bright, 0.4).in_brain_tissue())?;
/// let ill = injector.inject_slice(healthy.image.view(), healthy.labels.view(), phantom.pixel(), 7)?;
/// assert_eq!(ill.lesions.len(), 1);
/// // Where the truth is, the image became brighter.
/// for ((place, &inside), &value) in ill.truth.indexed_iter().zip(&ill.image) {
///     assert!(!inside || value > healthy.image[place]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LesionInjector {
    config: LesionConfig,
}

impl LesionInjector {
    /// An injector of a configuration.
    ///
    /// # Errors
    /// [`LesionError::Setting`] for a number outside the ranges that [`LesionConfig`] and [`LesionKind`]
    /// state.
    pub fn new(config: LesionConfig) -> Result<Self, LesionError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LesionConfig {
        &self.config
    }

    /// Puts lesions into a volume, whose geometry tells the size of its voxels. `labels` are a tissue
    /// map, or a mask as 0 and 1; their geometry is not looked at.
    ///
    /// The axis across the slices is one with a single voxel, else one along which voxels are longer than 1.5 times
    /// their length along both others, else the one that lies closest to the upward axis of the image's geometry. The
    /// same anatomy gets lesions of the same shapes at the same places, in whichever order its voxels are stored. The
    /// noise that some kinds put back, and the texture and stripes of others, are others where the order differs.
    ///
    /// # Errors
    /// Other shapes, an image that is not finite, voxels below a nanometer or beyond a kilometer, no
    /// voxel of the site, no room for all lesions, or a lesion with a contrast that changes no voxel of its truth.
    pub fn inject(
        &self,
        image: &Volume<f32>,
        labels: &Volume<u8>,
        seed: u64,
    ) -> Result<Injected, LesionError> {
        background::check(image, labels)?;
        let (pixels, classes) = (image.data(), labels.data());
        let spacing = image.geometry().spacing();
        if !spacing.iter().all(|size| (1e-6..=1e6).contains(size)) {
            return Err(LesionError::VoxelSize { found: spacing });
        }
        let background = self.config.background.unwrap_or_else(|| background::level(pixels, classes.view()));
        let mut changed = image.clone();
        let mut truth = image.map(|_| false);
        let mut lesions = Vec::with_capacity(self.config.count);
        for placed in place::place(&self.config, pixels, classes.view(), image.geometry(), seed)? {
            apply::apply(&self.config, &placed, pixels, classes.view(), background, changed.data_mut());
            let (kind, contrast) = (self.config.kind, self.config.contrast);
            let mut voxels = 0;
            // Nothing changed where the contrast is nothing, and then nothing is to be found.
            if contrast > 0.0 {
                let (mut truth, after) = (truth.data_mut(), changed.data());
                let mut differs = false;
                for &(index, profile) in &placed.profile {
                    if profile >= self.config.truth_fraction {
                        truth[index] = true;
                        voxels += 1;
                        differs |= after[index] != pixels[index];
                    }
                }
                // A lesion was asked for, and is not there: as if it had found no room.
                if !differs {
                    return Err(LesionError::NoChange { kind, radius: placed.radius });
                }
            }
            lesions.push(Lesion { kind, contrast, center: placed.center, radius: placed.radius, voxels });
        }
        Ok(Injected { image: changed, truth, lesions })
    }

    /// Puts lesions into a slice with pixels of `pixel` millimeters; 1 makes radii count pixels.
    ///
    /// # Errors
    /// Those of [`LesionInjector::inject`].
    pub fn inject_slice(
        &self,
        image: ArrayView2<'_, f32>,
        labels: ArrayView2<'_, u8>,
        pixel: f64,
        seed: u64,
    ) -> Result<InjectedSlice, LesionError> {
        let geometry =
            Geometry::from_spacing([pixel; 3]).map_err(|_| LesionError::VoxelSize { found: [pixel; 3] })?;
        let image = Volume::new(image.to_owned().insert_axis(Axis(2)), geometry);
        let labels = Volume::new(labels.to_owned().insert_axis(Axis(2)), geometry);
        let Injected { image, truth, lesions } = self.inject(&image, &labels, seed)?;
        Ok(InjectedSlice {
            image: image.into_data().index_axis_move(Axis(2), 0),
            truth: truth.into_data().index_axis_move(Axis(2), 0),
            lesions,
        })
    }
}
