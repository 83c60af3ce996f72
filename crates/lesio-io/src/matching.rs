//! Matches one volume to another, by their positions in space or by the order of their voxels.

use std::path::Path;

use lesio_image::{AxisAgreement, GridError, Volume};
use lesio_settings::named;
use serde::{Deserialize, Serialize};

use crate::error::{ReadError, ReadErrorKind};

/// How a mask, a segmentation or another channel is matched to its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By the affines. Voxels in another order are reordered to match the image; a grid at another position is an
    /// error. The default, since a mask in the wrong orientation would mark wrong voxels without any sign of it in the
    /// result.
    #[default]
    Place,
    /// By the voxel index in the file; the affines are ignored. For masks that were saved without the affine of their
    /// image, if the user knows that their voxels are in the order of the image.
    Position,
}

named!(Matching, "matching", { "place" => Self::Place, "position" => Self::Position });

impl Matching {
    /// Brings a volume read from `path` to the grid of the image read from `image_path`.
    ///
    /// Emits `tracing::warn!` if the headers differ by more than rounding to 32 bits, and with [`Matching::Position`]
    /// if they disagree. The result has the image's geometry.
    ///
    /// # Errors
    /// The errors name both files. [`ReadErrorKind::SizeMismatch`] for other numbers of voxels,
    /// [`ReadErrorKind::GridMismatch`] with both affines for another position (see [`Volume::aligned_to`]).
    pub fn bring<T: Clone, U>(
        self,
        volume: Volume<T>,
        path: &Path,
        image: &Volume<U>,
        image_path: &Path,
    ) -> Result<Volume<T>, ReadError> {
        let size = || mismatch(image_path, &image.shape(), path, &volume.shape());
        match self {
            Self::Place => {
                let mut sides = [volume.shape(), image.shape()];
                sides.iter_mut().for_each(|sides| sides.sort_unstable());
                if sides[0] != sides[1] {
                    return Err(size());
                }
                let elsewhere = |error: GridError| {
                    ReadErrorKind::GridMismatch { with: image_path.to_owned(), error }.at(path)
                };
                let (volume, agreement) =
                    volume.aligned_to(image.geometry(), image.shape()).map_err(elsewhere)?;
                let (file, image) = (path.display(), image_path.display());
                if !agreement.is_exact() {
                    let (voxels, millimeters) = (agreement.voxels, agreement.millimeters);
                    tracing::warn!(
                        %file, %image, voxels, millimeters,
                        "the affines differ slightly: treated as the same position"
                    );
                }
                if agreement.axes == AxisAgreement::Turned {
                    tracing::info!(%file, %image, "the voxels are in another order: reordered to match the image");
                }
                Ok(volume)
            }
            Self::Position => {
                if volume.shape() != image.shape() {
                    return Err(size());
                }
                let (found, expected) = (*volume.geometry(), *image.geometry());
                let agreed = volume.map(|_| ()).aligned_to(&expected, image.shape());
                if !agreed.is_ok_and(|(_, agreement)| agreement.axes == AxisAgreement::Same) {
                    tracing::warn!(
                        file = %path.display(), image = %image_path.display(), affine = %found, expected = %expected,
                        "the affines differ: matched by voxel index, as requested"
                    );
                }
                Ok(Volume::new(volume.into_data(), expected))
            }
        }
    }
}

/// The error for two files whose images should have the same size but do not.
pub(crate) fn mismatch(path: &Path, expected: &[usize], other: &Path, found: &[usize]) -> ReadError {
    ReadErrorKind::SizeMismatch { with: path.to_owned(), expected: expected.to_vec(), found: found.to_vec() }
        .at(other)
}
