//! The meaning of NaN in an image.

use std::path::Path;

use lesio_settings::named;

use crate::error::Escaped;
use crate::nifti::Voxel;

/// What the value NaN stands for in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NanValues {
    /// It is kept as it is. The default: NaN may also come from a failed computation, and what needs finite values
    /// reports it as an error.
    #[default]
    Keep,
    /// It stands for 0. Voxels outside of a mask are NaN in the images of some programs (SPM), and 0 in those of others.
    Zero,
}

named!(NanValues, "meaning of NaN", { "keep" => Self::Keep, "zero" => Self::Zero });

impl NanValues {
    /// Replaces the values of a file by what they stand for, and reports with a `tracing` event how many are NaN.
    pub(crate) fn apply<'a, T: Voxel>(self, values: impl Iterator<Item = &'a mut T>, path: &Path) {
        if self == Self::Keep {
            return;
        }
        let mut count = 0_u64;
        for value in values.filter(|value| value.is_nan()) {
            *value = T::from_i64(0);
            count += 1;
        }
        if count > 0 {
            tracing::warn!(file = %Escaped(path.display()), count, "NaN is read as 0");
        }
    }
}

#[cfg(test)]
mod tests {
    use lesio_image::{Geometry, Volume};
    use ndarray::{Array3, arr2};

    use super::*;
    use crate::{ReadOptions, WriteOptions, tiff_bytes};

    #[test]
    fn nan_is_kept_or_zero_in_volumes_and_pictures_and_an_error_in_masks() {
        let mut values = Array3::from_elem((2, 3, 1), 7.5_f32);
        values[[1, 2, 0]] = f32::NAN;
        values[[0, 1, 0]] = f32::INFINITY;
        let volume = Volume::new(values, Geometry::from_spacing([1.0; 3]).unwrap());
        let bytes = WriteOptions::new().to_bytes(&volume).unwrap();
        let zero = ReadOptions::new().nan_values(NanValues::Zero);
        assert!(ReadOptions::new().read_bytes(&bytes).unwrap().data()[[1, 2, 0]].is_nan());
        let read = zero.read_bytes(&bytes).unwrap();
        assert_eq!(
            [[1, 2, 0], [0, 1, 0], [0, 0, 0]].map(|voxel| read.data()[voxel]),
            [0.0, f32::INFINITY, 7.5]
        );
        let double = zero.read_bytes_as::<f64>(&bytes).unwrap();
        assert_eq!(double.data()[[1, 2, 0]], 0.0);
        assert_eq!(zero.read_mask_bytes(&bytes).unwrap_err().kind().name(), "NotANumber");

        let bytes = tiff_bytes(&arr2(&[[1.0_f32, f32::NAN]])).unwrap();
        assert!(ReadOptions::new().read_image_bytes(&bytes).unwrap().data()[[0, 0, 1]].is_nan());
        let read = zero.read_image_bytes(&bytes).unwrap();
        assert_eq!(read.channel(0).unwrap(), arr2(&[[1.0, 0.0]]));
        let error = zero.read_masked_image_bytes(&bytes, &bytes).unwrap_err();
        assert_eq!(error.kind().name(), "LossyConversion");
    }
}
