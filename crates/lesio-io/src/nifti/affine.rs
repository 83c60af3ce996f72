//! From a header's numbers to the place of its voxels, by the rules of nibabel.

use lesio_image::{Geometry, GeometryError};

use crate::error::{AffineError, ReadErrorKind};
use crate::nifti::header::{NiftiHeader, NiftiVersion};
use crate::nifti::oddity::Oddity;

/// Codes of spaces: unknown, scanner, aligned, Talairach, MNI 152, other template.
const FORM_CODES: std::ops::RangeInclusive<i32> = 0..=5;

impl NiftiHeader {
    /// Where the voxels are: by the matrix (sform) if its code says so, else by the quaternion
    /// (qform), else by the voxel sizes alone, with the first axis running to the left and the middle
    /// of the grid at the origin.
    ///
    /// # Errors
    /// [`ReadErrorKind::BadAffine`] where the numbers chosen are not finite, do not span space or are
    /// no rotation. A form that is unfit is never replaced by the next.
    pub fn geometry(&self) -> Result<Geometry, ReadErrorKind> {
        self.geometry_with_oddities(&mut Vec::new())
    }

    pub(crate) fn geometry_with_oddities(
        &self,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Geometry, ReadErrorKind> {
        let mut used = |field: &'static str, code: i32| {
            if !FORM_CODES.contains(&code) {
                oddities.push(Oddity::FormCode { field, found: code });
            }
            FORM_CODES.contains(&code) && code != 0
        };
        let (sform, qform) = (used("sform_code", self.sform_code), used("qform_code", self.qform_code));
        let (method, affine) = if sform {
            let [x, y, z] = self.srow;
            ("sform", Ok([x, y, z, [0.0, 0.0, 0.0, 1.0]]))
        } else if qform {
            ("qform", self.quaternion_affine(oddities))
        } else {
            ("pixdim", Ok(self.base_affine(oddities)))
        };
        affine
            .and_then(|affine| Geometry::new(affine).map_err(AffineError::from))
            .and_then(measurable)
            .map_err(|fault| ReadErrorKind::BadAffine { method, fault })
    }

    fn spacing(&self, oddities: &mut Vec<Oddity>) -> [f64; 3] {
        std::array::from_fn(|axis| {
            let found = self.pixdim.get(axis + 1).copied().unwrap_or(1.0);
            // What stands for axes that are not there is often zero, and nobody's fault.
            if found <= 0.0 && axis < self.shape.len() {
                oddities.push(Oddity::Spacing { axis, found });
            }
            if found == 0.0 { 1.0 } else { found.abs() }
        })
    }

    fn quaternion_affine(&self, oddities: &mut Vec<Oddity>) -> Result<[[f64; 4]; 4], AffineError> {
        let spacing = self.spacing(oddities);
        let sign = match self.pixdim[0] {
            sign if sign == 1.0 || sign == -1.0 => sign,
            found => {
                oddities.push(Oddity::QuaternionSign { found });
                1.0
            }
        };
        let rotation = rotation(self.quaternion, self.version)?;
        let scale = [spacing[0], spacing[1], spacing[2] * sign];
        let mut affine = [[0.0, 0.0, 0.0, 1.0]; 4];
        for row in 0..3 {
            for column in 0..3 {
                affine[row][column] = rotation[row][column] * scale[column];
            }
            affine[row][3] = self.quaternion_offset[row];
        }
        Ok(affine)
    }

    fn base_affine(&self, oddities: &mut Vec<Oddity>) -> [[f64; 4]; 4] {
        let spacing = self.spacing(oddities);
        let mut affine = [[0.0, 0.0, 0.0, 0.0]; 4];
        for axis in 0..3 {
            // Sizes along axes that are not there carry no meaning.
            let size = if axis < self.shape.len() { spacing[axis] } else { 1.0 };
            let step = if axis == 0 { -size } else { size };
            affine[axis][axis] = step;
            affine[axis][3] = -step * (self.size(axis) as f64 - 1.0) / 2.0;
        }
        affine[3][3] = 1.0;
        affine
    }
}

/// Refuses a grid so large or so small that its voxels have no size in 64-bit numbers.
fn measurable(geometry: Geometry) -> Result<Geometry, AffineError> {
    let determinant = geometry.voxel_volume();
    let sizes = geometry.spacing().into_iter().chain([determinant]);
    if sizes.into_iter().all(|size| size.is_finite() && size > 0.0) {
        Ok(geometry)
    } else {
        Err(AffineError::Geometry(GeometryError::Singular { determinant }))
    }
}

/// The rotation of a unit quaternion of which the first part, not negative, is left out.
fn rotation([b, c, d]: [f64; 3], version: NiftiVersion) -> Result<[[f64; 3]; 3], AffineError> {
    let squared_length = b * b + c * c + d * d;
    let rest = 1.0 - squared_length;
    // Rounding to the file's floats may take a half turn's quaternion a little past 1.
    let tolerance = match version {
        NiftiVersion::One => 3.0 * f64::from(f32::EPSILON),
        NiftiVersion::Two => 3.0 * f64::EPSILON,
    };
    let a = if rest.abs() < tolerance {
        0.0
    } else if rest > 0.0 {
        rest.sqrt()
    } else {
        return Err(AffineError::Quaternion { squared_length });
    };
    let scale = 2.0 / (a * a + squared_length);
    Ok([
        [1.0 - scale * (c * c + d * d), scale * (b * c - a * d), scale * (b * d + a * c)],
        [scale * (b * c + a * d), 1.0 - scale * (b * b + d * d), scale * (c * d - a * b)],
        [scale * (b * d - a * c), scale * (c * d + a * b), 1.0 - scale * (b * b + c * c)],
    ])
}
