//! Computes the affine from the numbers of a header, by the rules of nibabel.

use lesio_image::{Geometry, GeometryError};
use lesio_settings::named;
use serde::{Deserialize, Serialize};

use crate::error::{AffineError, ReadErrorKind};
use crate::nifti::header::{NiftiHeader, NiftiVersion};
use crate::nifti::oddity::Oddity;
use crate::nifti::units::SpaceUnit;

/// Codes of spaces: unknown, scanner, aligned, Talairach, MNI 152, other template.
const FORM_CODES: std::ops::RangeInclusive<i32> = 0..=5;
/// Codes of the subject's own space: two forms with these codes describe the same space.
const SUBJECT: std::ops::RangeInclusive<i32> = 1..=2;
/// Sides of voxels in millimeters: from ten nanometers to ten centimeters.
const LIKELY_SIZES: std::ops::RangeInclusive<f64> = 1e-5..=100.0;
/// Largest relative difference between two voxel sizes: far above rounding to 32 bits, and below the accuracy of
/// measured sizes.
const SAME_SIZE: f64 = 1e-3;
/// Largest distance between the positions of a voxel by two forms, relative to the shortest side of a voxel.
/// Quaternions rounded to 32 bits differ from the matrix by a few thousandths in large grids.
const SAME_PLACE: f64 = 0.1;

/// The source of the affine in a NIfTI header.
///
/// A header has up to two forms, each with a code that says whether it is valid: a matrix (sform), and a quaternion
/// with voxel sizes (qform). They should agree; if they do not, the user has to decide which one is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AffineSource {
    /// The sform if its code is above 0, else the qform, else the voxel sizes alone. This is the rule of nibabel and of
    /// most programs, so lesio's coordinates agree with theirs. The default.
    #[default]
    Auto,
    /// The sform; a header without one is an error.
    Sform,
    /// The qform; a header without one is an error.
    Qform,
}

named!(AffineSource, "source of the affine", {
    "auto" => Self::Auto,
    "sform" => Self::Sform,
    "qform" => Self::Qform,
});

/// An affine of four rows.
type Affine = [[f64; 4]; 4];

/// The numbers of a header that give the affine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Sform,
    Qform,
    Pixdim,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Sform => "sform",
            Self::Qform => "qform",
            Self::Pixdim => "pixdim",
        }
    }
}

impl NiftiHeader {
    /// The unit of the header's coordinates and voxel sizes.
    #[must_use]
    pub fn space_unit(&self) -> SpaceUnit {
        SpaceUnit::of(self.xyzt_units).unwrap_or_default()
    }

    /// The geometry of the voxels in millimeters, by the rule of [`AffineSource::Auto`]: from the matrix (sform) if its
    /// code is above 0, else from the quaternion (qform), else from the voxel sizes alone, with the first axis pointing
    /// left and the center of the grid at the origin.
    ///
    /// # Errors
    /// [`ReadErrorKind::BadAffine`] if the selected numbers are not finite, do not span space or are not a rotation. An
    /// invalid form is never replaced by the next one.
    pub fn geometry(&self) -> Result<Geometry, ReadErrorKind> {
        self.geometry_by(AffineSource::Auto)
    }

    /// Like [`NiftiHeader::geometry`], by the requested form.
    ///
    /// # Errors
    /// Those of [`NiftiHeader::geometry`], and [`ReadErrorKind::NoSuchForm`] if the header does not have this form.
    pub fn geometry_by(&self, source: AffineSource) -> Result<Geometry, ReadErrorKind> {
        self.place(source, &mut Vec::new())
    }

    /// The affine in the header's own unit, row by row, as other programs print it.
    ///
    /// # Errors
    /// Those of [`NiftiHeader::geometry_by`].
    pub fn affine(&self, source: AffineSource) -> Result<[[f64; 4]; 4], ReadErrorKind> {
        self.place(source, &mut Vec::new())?;
        let method = self.method(source)?;
        self.affine_by(method, &mut Vec::new()).map_err(|fault| self.bad_affine(method, fault))
    }

    /// The geometry. Adds to `odd` any oddities of the numbers that are used, and contradictions of other numbers.
    pub(crate) fn geometry_with_oddities(
        &self,
        source: AffineSource,
        oddities: &mut Vec<Oddity>,
    ) -> Result<Geometry, ReadErrorKind> {
        for (field, found) in [("sform_code", self.sform_code), ("qform_code", self.qform_code)] {
            if !FORM_CODES.contains(&found) {
                oddities.push(Oddity::FormCode { field, found });
            }
        }
        if let Err(found) = SpaceUnit::of(self.xyzt_units) {
            oddities.push(Oddity::SpaceUnit { found });
        }
        let geometry = self.place(source, oddities)?;
        let (unit, spacing) = (self.space_unit(), geometry.spacing());
        let named = matches!(unit, SpaceUnit::Meter | SpaceUnit::Micrometer);
        if named && spacing.into_iter().all(|size| !LIKELY_SIZES.contains(&size)) {
            oddities.push(Oddity::UnlikelyUnit { unit, spacing });
        }
        let method = self.method(source)?;
        self.contradictions(method, &geometry, oddities);
        Ok(geometry)
    }

    fn place(&self, source: AffineSource, oddities: &mut Vec<Oddity>) -> Result<Geometry, ReadErrorKind> {
        let method = self.method(source)?;
        self.geometry_of(method, oddities).map_err(|fault| self.bad_affine(method, fault))
    }

    fn has(&self, method: Method) -> bool {
        let code = match method {
            Method::Sform => self.sform_code,
            Method::Qform => self.qform_code,
            Method::Pixdim => return true,
        };
        FORM_CODES.contains(&code) && code != 0
    }

    fn method(&self, source: AffineSource) -> Result<Method, ReadErrorKind> {
        let asked = match source {
            AffineSource::Auto => {
                let methods = [Method::Sform, Method::Qform];
                return Ok(methods.into_iter().find(|&m| self.has(m)).unwrap_or(Method::Pixdim));
            }
            AffineSource::Sform => Method::Sform,
            AffineSource::Qform => Method::Qform,
        };
        if self.has(asked) {
            return Ok(asked);
        }
        Err(ReadErrorKind::NoSuchForm {
            form: asked.name(),
            sform_code: self.sform_code,
            qform_code: self.qform_code,
        })
    }

    fn bad_affine(&self, method: Method, fault: AffineError) -> ReadErrorKind {
        let other = match method {
            Method::Sform => Method::Qform,
            Method::Qform => Method::Sform,
            Method::Pixdim => return ReadErrorKind::BadAffine { method: method.name(), fault, usable: None },
        };
        let usable = self.has(other) && self.geometry_of(other, &mut Vec::new()).is_ok();
        ReadErrorKind::BadAffine { method: method.name(), fault, usable: usable.then(|| other.name()) }
    }

    /// The geometry in millimeters by one source.
    fn geometry_of(&self, method: Method, oddities: &mut Vec<Oddity>) -> Result<Geometry, AffineError> {
        let unit = self.space_unit();
        let mut affine = self.affine_by(method, oddities)?;
        let [rows @ .., _] = &mut affine;
        for value in rows.as_flattened_mut() {
            *value = unit.to_millimeters(*value);
        }
        measurable(Geometry::new(affine)?)
    }

    fn affine_by(&self, method: Method, oddities: &mut Vec<Oddity>) -> Result<Affine, AffineError> {
        match method {
            Method::Sform => {
                let [x, y, z] = self.srow;
                Ok([x, y, z, [0.0, 0.0, 0.0, 1.0]])
            }
            Method::Qform => self.quaternion_affine(oddities),
            Method::Pixdim => Ok(self.base_affine(oddities)),
        }
    }

    /// Notes contradictions between the numbers that were used and the others.
    fn contradictions(&self, taken: Method, geometry: &Geometry, oddities: &mut Vec<Oddity>) {
        let other = match taken {
            Method::Sform if self.has(Method::Qform) => Method::Qform,
            Method::Sform => return self.compare_pixdim(geometry, oddities),
            Method::Qform if self.has(Method::Sform) => Method::Sform,
            // The voxel sizes are part of the qform.
            Method::Qform => return,
            Method::Pixdim => {
                oddities.push(Oddity::NoForm);
                return;
            }
        };
        let (taken, not_taken) = (taken.name(), other.name());
        let there = match self.geometry_of(other, oddities) {
            Ok(there) => there,
            Err(fault) => {
                oddities.push(Oddity::UnusableForm { form: not_taken, fault, taken });
                return;
            }
        };
        let sizes = [geometry.spacing(), there.spacing()];
        let mut differs = false;
        if !(0..3).all(|axis| same_size(sizes[0][axis], sizes[1][axis])) {
            let names = [with_sizes(taken), with_sizes(not_taken)];
            oddities.push(Oddity::SpacingConflict { taken: names[0], other: names[1], spacing: sizes });
            differs = true;
        }
        let codes = |geometry: &Geometry| geometry.axis_codes().iter().map(ToString::to_string).collect();
        let axes: [String; 2] = [codes(geometry), codes(&there)];
        let mirrored = handedness(geometry) != handedness(&there);
        if axes[0] != axes[1] || mirrored {
            oddities.push(Oddity::OrientationConflict { taken, other: not_taken, axes, mirrored });
            differs = true;
        }
        // A template space differs from the scanner's, so only forms of the same space can be compared.
        let one_space = self.sform_code == self.qform_code
            || SUBJECT.contains(&self.sform_code) && SUBJECT.contains(&self.qform_code);
        if !differs && one_space {
            let distance = self.farthest(geometry, &there);
            let shortest = sizes[0].into_iter().fold(f64::INFINITY, f64::min);
            if distance > SAME_PLACE * shortest {
                oddities.push(Oddity::PlaceConflict { taken, other: not_taken, distance });
            }
        }
    }

    /// Compares the matrix with voxel sizes that no quaternion uses.
    fn compare_pixdim(&self, geometry: &Geometry, oddities: &mut Vec<Oddity>) {
        let spacing = geometry.spacing();
        let mut stated = spacing;
        for (axis, size) in stated.iter_mut().enumerate().take(self.shape.len()) {
            let found = self.space_unit().to_millimeters(self.pixdim[axis + 1].abs());
            // Zero and NaN carry no information.
            if found.is_finite() && found > 0.0 {
                *size = found;
            }
        }
        if !(0..3).all(|axis| same_size(spacing[axis], stated[axis])) {
            oddities.push(Oddity::SpacingConflict {
                taken: "sform",
                other: "pixdim",
                spacing: [spacing, stated],
            });
        }
    }

    /// The greatest distance between the positions of a corner of the grid by two geometries.
    pub(super) fn farthest(&self, one: &Geometry, other: &Geometry) -> f64 {
        let mut farthest = 0.0_f64;
        for corner in 0..8 {
            let voxel =
                std::array::from_fn(
                    |axis| {
                        if corner >> axis & 1 == 1 { self.size(axis) as f64 - 1.0 } else { 0.0 }
                    },
                );
            let (a, b) = (one.to_world(voxel), other.to_world(voxel));
            let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            farthest = farthest.max(distance);
        }
        farthest
    }

    fn spacing(&self, oddities: &mut Vec<Oddity>) -> [f64; 3] {
        std::array::from_fn(|axis| {
            let found = self.pixdim[axis + 1];
            // Values of absent axes are often zero, which is not a defect.
            if found <= 0.0 && axis < self.shape.len() {
                oddities.push(Oddity::Spacing { axis, found });
            }
            if found == 0.0 { 1.0 } else { found.abs() }
        })
    }

    fn quaternion_affine(&self, oddities: &mut Vec<Oddity>) -> Result<Affine, AffineError> {
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

    fn base_affine(&self, oddities: &mut Vec<Oddity>) -> Affine {
        let spacing = self.spacing(oddities);
        let mut affine = [[0.0, 0.0, 0.0, 0.0]; 4];
        for axis in 0..3 {
            // Sizes of absent axes have no meaning.
            let size = if axis < self.shape.len() { spacing[axis] } else { 1.0 };
            let step = if axis == 0 { -size } else { size };
            affine[axis][axis] = step;
            affine[axis][3] = -step * (self.size(axis) as f64 - 1.0) / 2.0;
        }
        affine[3][3] = 1.0;
        affine
    }
}

/// The name of a form in messages about voxel sizes.
fn with_sizes(form: &'static str) -> &'static str {
    if form == "qform" { "qform and pixdim" } else { form }
}

fn same_size(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME_SIZE * a.max(b)
}

/// Whether the axes are right-handed.
fn handedness(geometry: &Geometry) -> bool {
    let [a, b, c, _] = geometry.affine();
    let determinant = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0]);
    determinant > 0.0
}

/// Returns an error for a grid so large or so small that voxel sizes overflow or vanish in 64-bit numbers.
fn measurable(geometry: Geometry) -> Result<Geometry, AffineError> {
    let determinant = geometry.voxel_volume();
    let sizes = geometry.spacing().into_iter().chain([determinant]);
    if sizes.into_iter().all(|size| size.is_finite() && size > 0.0) {
        Ok(geometry)
    } else {
        Err(AffineError::Geometry(GeometryError::Singular { determinant }))
    }
}

/// The rotation of a unit quaternion, without its first component, which is not negative.
fn rotation([b, c, d]: [f64; 3], version: NiftiVersion) -> Result<[[f64; 3]; 3], AffineError> {
    let squared_length = b * b + c * c + d * d;
    let rest = 1.0 - squared_length;
    // Rounding to the file's floats may give the quaternion of a half turn a length slightly above 1.
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
