//! Two volumes that meet: by their places in the world, or by the order of their voxels.

use std::path::Path;

use lesio_image::{AxisAgreement, GridError, Volume};
use lesio_settings::named;
use serde::{Deserialize, Serialize};

use crate::error::{ReadError, ReadErrorKind};

/// How a mask, a segmentation or another channel is laid on its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By the affines: voxels in another order are brought into the image's, a grid elsewhere is refused. The
    /// default: a mask that is turned against its image marks other voxels, and nothing in the result shows it.
    #[default]
    Place,
    /// By the position in the file, whatever the affines say: for masks that were saved without their image's
    /// affine, where the user knows that their voxels are in the image's order.
    Position,
}

named!(Matching, "matching", { "place" => Self::Place, "position" => Self::Position });

impl Matching {
    /// Brings a volume read from `path` to the grid of the image read from `image_path`.
    ///
    /// What is not exact is told by `tracing::warn!`: headers that differ by more than rounding to 32 bits, and with
    /// [`Matching::Position`] headers that do not agree. The result has the image's geometry.
    ///
    /// # Errors
    /// Names both files. [`ReadErrorKind::SizeMismatch`] for other numbers of voxels,
    /// [`ReadErrorKind::GridMismatch`] with both affines for another place (see [`Volume::aligned_to`]).
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
                    let (voxels, millimetres) = (agreement.voxels, agreement.millimetres);
                    tracing::warn!(
                        %file, %image, voxels, millimetres,
                        "the affines differ a little: taken for the same place"
                    );
                }
                if agreement.axes == AxisAgreement::Turned {
                    tracing::info!(%file, %image, "the voxels are in another order: brought into the image's");
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
                        "the affines differ: taken by position, as was asked for"
                    );
                }
                Ok(Volume::new(volume.into_data(), expected))
            }
        }
    }
}

/// Two files whose images should have the same size and do not.
pub(crate) fn mismatch(path: &Path, expected: &[usize], other: &Path, found: &[usize]) -> ReadError {
    ReadErrorKind::SizeMismatch { with: path.to_owned(), expected: expected.to_vec(), found: found.to_vec() }
        .at(other)
}
