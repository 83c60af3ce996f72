//! Writes volumes to NIfTI files.

use std::io::{self, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use lesio_files::{Disk, Existing, FileSystem};
use lesio_image::{Geometry, Volume};

use crate::endings::VOLUME_ENDINGS;
use crate::error::{ImageWriteError, ImageWriteErrorKind};
use crate::nifti::affine::AffineSource;
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::encode::encode;
use crate::nifti::header::{Arrangement, FOLDED, FirstAxis, NiftiHeader, NiftiVersion};
use crate::nifti::names::NiftiName;
use crate::nifti::voxel::{Sealed, Voxel};
use crate::source::{BYTES, CHUNK};

/// The code of "aligned" space, for an affine without further information.
const ALIGNED: i32 = 2;
/// Millimeters and seconds.
const MILLIMETRES_SECONDS: i32 = 2 | 8;
/// Largest cosine between two axes that counts as rounding; the axes are then treated as orthogonal.
const SQUARE: f64 = 1e-6;
/// The farthest that a quaternion may place a voxel from where the matrix does, in shortest voxel sides: half of what counts
/// as another place when the file is read. The axes of oblique series from scanners are orthogonal up to the decimals of
/// their positions, and some programs read no file without a rotation.
const NEAR: f64 = 0.05;

/// The compression level of a compressed file; every program can read the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Fast, and larger by a tenth or so.
    Fast,
    /// In between (zlib's level 6): the default.
    #[default]
    Balanced,
    /// Small, and slow.
    Small,
}

/// Options for writing a volume.
///
/// The ending of the name determines the form: `.nii`, `.nii.gz`, `.hdr` or `.img` (either writes both files),
/// `.hdr.gz` or `.img.gz`. The name is used exactly as given.
///
/// ```
/// use lesio_image::{Geometry, Volume};
/// use lesio_io::{WriteOptions, nifti, read_volume};
/// use ndarray::Array3;
///
/// let folder = tempfile::tempdir()?;
/// let (input, output) = (folder.path().join("flair.nii.gz"), folder.path().join("map.nii.gz"));
/// let volume = Volume::new(Array3::<f32>::zeros((4, 5, 6)), Geometry::default());
/// WriteOptions::new().write(&input, &volume)?;
///
/// // A map on the grid of its input keeps the input's space, units and origin.
/// let map = read_volume(&input)?.map(|value| value + 1.0);
/// WriteOptions::new().like(&nifti::read_header(&input)?).write(&output, &map)?;
/// assert_eq!(read_volume(&output)?, map);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    existing: Existing,
    compression: Compression,
    version: Option<NiftiVersion>,
    like: Option<Box<NiftiHeader>>,
}

impl WriteOptions {
    /// The defaults: no file is replaced, NIfTI-1, and a header made from the volume alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How to treat an existing file; by default it is an error. A pair is never replaced, since two files cannot be
    /// replaced in one step.
    #[must_use]
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// The compression level of `.gz` files; [`Compression::Balanced`] by default.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The version that is written; by default that of [`WriteOptions::like`], else NIfTI-1.
    #[must_use]
    pub fn version(mut self, version: NiftiVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Keeps units, description, auxiliary file name, header extensions and the codes of the spaces.
    ///
    /// If the volume has the geometry of either form of this header, the numbers of qform, sform and voxel sizes are
    /// kept bit for bit, even if they contradict each other. Every program then shows the volume at the position of the
    /// file with this header. Otherwise they are made from the geometry of the volume and converted to the unit of this
    /// header.
    ///
    /// The vertices of a FreeSurfer surface are written in the same way as in this header.
    #[must_use]
    pub fn like(mut self, header: &NiftiHeader) -> Self {
        self.like = Some(Box::new(header.clone()));
        self
    }

    /// Writes a volume, unscaled, in its voxel type.
    ///
    /// The write is atomic, as [`lesio_files`] explains. The same volume and options give the same bytes.
    ///
    /// # Errors
    /// [`ImageWriteErrorKind::UnknownFormat`] for another ending, [`lesio_files::WriteErrorKind::OutputExists`],
    /// [`ImageWriteErrorKind::EmptyVolume`], [`ImageWriteErrorKind::DimTooLargeForNifti1`],
    /// [`ImageWriteErrorKind::FoldedShape`], [`ImageWriteErrorKind::AffineOutOfRange`], [`lesio_files::WriteErrorKind::StorageFull`], [`lesio_files::WriteErrorKind::Io`].
    pub fn write<T: Voxel>(&self, path: impl AsRef<Path>, volume: &Volume<T>) -> Result<(), ImageWriteError> {
        self.write_in(&Disk, path, volume)
    }

    /// Like [`WriteOptions::write`], in another file system.
    ///
    /// # Errors
    /// Those of [`WriteOptions::write`].
    pub fn write_in<T: Voxel, F: FileSystem>(
        &self,
        system: &F,
        path: impl AsRef<Path>,
        volume: &Volume<T>,
    ) -> Result<(), ImageWriteError> {
        let path = path.as_ref();
        let fail = |kind: ImageWriteErrorKind| kind.at(path);
        let name = NiftiName::of(path)
            .ok_or_else(|| fail(ImageWriteErrorKind::UnknownFormat { expected: &VOLUME_ENDINGS }))?;
        let start = self.start(volume, name.arrangement).map_err(fail)?;
        let write_start = |out: &mut dyn Write| out.write_all(&start);
        let write_voxels = |out: &mut dyn Write| write_voxels(out, volume);
        match name.arrangement {
            Arrangement::Single => Ok(lesio_files::write_in(system, path, self.existing, |out| {
                self.compressed(name.compressed, out, |out| write_start(out).and_then(|()| write_voxels(out)))
            })?),
            Arrangement::Pair => {
                let (header_path, data_path) = name.written_halves(path);
                for half in [&header_path, &data_path] {
                    let exists = system.exists(half);
                    if exists.map_err(|source| fail(ImageWriteErrorKind::io("look up the name", source)))? {
                        let kind = match self.existing {
                            Existing::Refuse => lesio_files::WriteErrorKind::OutputExists.into(),
                            Existing::Replace => ImageWriteErrorKind::PairExists,
                        };
                        return Err(kind.at(half));
                    }
                }
                // No reader opens voxels without a header, so the header is written last.
                let write_half = |half: &Path, content: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
                    lesio_files::write_in(system, half, Existing::Refuse, |out| {
                        self.compressed(name.compressed, out, content)
                    })
                };
                write_half(&data_path, &write_voxels)?;
                write_half(&header_path, &write_start).map_err(|error| {
                    // Otherwise the next attempt would find the file. The first error is the one to report.
                    let _ = system.remove(&data_path);
                    error.into()
                })
            }
        }
    }

    /// The bytes of the `.nii` file that [`WriteOptions::write`] would write, with the same version and the same
    /// fields of [`WriteOptions::like`]. [`WriteOptions::existing`] and [`WriteOptions::compression`] have no effect.
    ///
    /// # Errors
    /// Those of [`WriteOptions::write`], except those about names; [`lesio_files::WriteErrorKind::Io`] if there is not
    /// enough memory. They call the file `<bytes>`.
    ///
    /// ```
    /// use lesio_image::{Geometry, Volume};
    /// use lesio_io::{ReadOptions, WriteOptions};
    /// use ndarray::Array3;
    ///
    /// let volume = Volume::new(Array3::<u16>::from_elem((4, 5, 6), 7), Geometry::default());
    /// let bytes = WriteOptions::new().to_bytes(&volume)?;
    /// assert_eq!(bytes.len(), 352 + 2 * 4 * 5 * 6);
    /// assert_eq!(ReadOptions::new().read_bytes_as::<u16>(&bytes)?, volume);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_bytes<T: Voxel>(&self, volume: &Volume<T>) -> Result<Vec<u8>, ImageWriteError> {
        self.bytes(volume).map_err(|kind| kind.at(Path::new(BYTES)))
    }

    /// The bytes of the `.nii.gz` file that [`WriteOptions::write`] would write: as [`WriteOptions::to_bytes`],
    /// compressed with [`WriteOptions::compression`].
    ///
    /// # Errors
    /// Those of [`WriteOptions::to_bytes`].
    pub fn to_gzip_bytes<T: Voxel>(&self, volume: &Volume<T>) -> Result<Vec<u8>, ImageWriteError> {
        self.gzip_bytes(volume).map_err(|kind| kind.at(Path::new(BYTES)))
    }

    fn bytes<T: Voxel>(&self, volume: &Volume<T>) -> Result<Vec<u8>, ImageWriteErrorKind> {
        let start = self.start(volume, Arrangement::Single)?;
        let length = volume.data().len().saturating_mul(size_of::<T>()).saturating_add(start.len());
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| {
            ImageWriteErrorKind::io("take the memory for the bytes", io::ErrorKind::OutOfMemory.into())
        })?;
        bytes.extend(start);
        write_voxels(&mut bytes, volume).map_err(|source| ImageWriteErrorKind::io("write", source))?;
        Ok(bytes)
    }

    fn gzip_bytes<T: Voxel>(&self, volume: &Volume<T>) -> Result<Vec<u8>, ImageWriteErrorKind> {
        let start = self.start(volume, Arrangement::Single)?;
        let mut bytes = Vec::new();
        self.compressed(true, &mut bytes, |out| {
            out.write_all(&start).and_then(|()| write_voxels(out, volume))
        })
        .map_err(|source| ImageWriteErrorKind::io("compress", source))?;
        Ok(bytes)
    }

    /// The bytes before the voxels.
    fn start<T: Voxel>(
        &self,
        volume: &Volume<T>,
        arrangement: Arrangement,
    ) -> Result<Vec<u8>, ImageWriteErrorKind> {
        if volume.shape().contains(&0) {
            return Err(ImageWriteErrorKind::EmptyVolume { shape: volume.shape() });
        }
        encode(&self.header(volume)?, arrangement)
    }

    fn compressed(
        &self,
        compressed: bool,
        out: &mut dyn Write,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if !compressed {
            return content(out);
        }
        let level = match self.compression {
            Compression::Fast => flate2::Compression::fast(),
            Compression::Balanced => flate2::Compression::default(),
            Compression::Small => flate2::Compression::best(),
        };
        // The encoder writes neither name nor time, so the same volume gives the same bytes.
        let mut encoder = GzEncoder::new(out, level);
        content(&mut encoder)?;
        encoder.finish().map(drop)
    }

    fn header<T: Voxel>(&self, volume: &Volume<T>) -> Result<NiftiHeader, ImageWriteErrorKind> {
        let geometry = *volume.geometry();
        let like = self.like.as_deref();
        let version = self.version.or(like.map(|like| like.version)).unwrap_or_default();
        let mut header = blank(version);
        header.shape = volume.shape().map(|size| size as u64).to_vec();
        header.datatype = T::DATATYPE;
        // At most 64 bits.
        header.bits_per_voxel = (T::DATATYPE.bytes() * 8) as i16;
        header.xyzt_units = MILLIMETRES_SECONDS;
        if let Some(like) = like {
            header.xyzt_units = like.xyzt_units;
            header.description.clone_from(&like.description);
            header.auxiliary_file.clone_from(&like.auxiliary_file);
            header.extensions.clone_from(&like.extensions);
        }
        if version == NiftiVersion::One {
            let same_grid = |like: &&NiftiHeader| (0..3).all(|axis| like.size(axis) == header.size(axis));
            header.first_axis = like.filter(same_grid).map_or(FirstAxis::Plain, |like| like.first_axis);
            if header.shape == FOLDED.1 {
                return Err(ImageWriteErrorKind::FoldedShape);
            }
        }
        let placed = like.map(|like| {
            let mut placed = header.clone();
            placed.pixdim[..4].copy_from_slice(&like.pixdim[..4]);
            placed.qform_code = like.qform_code;
            placed.sform_code = like.sform_code;
            placed.quaternion = like.quaternion;
            placed.quaternion_offset = like.quaternion_offset;
            placed.srow = like.srow;
            placed
        });
        match placed.filter(|placed| is_place_of(placed, &geometry)) {
            Some(placed) => header = placed,
            None => {
                place(&mut header, &geometry, like);
                check_place(&header)?;
            }
        }
        Ok(header)
    }
}

/// Writes a NIfTI-1 volume. An existing file is an error; [`WriteOptions`] has more choices.
///
/// # Errors
/// Those of [`WriteOptions::write`].
pub fn write_volume<T: Voxel>(path: impl AsRef<Path>, volume: &Volume<T>) -> Result<(), ImageWriteError> {
    WriteOptions::new().write(path, volume)
}

fn blank(version: NiftiVersion) -> NiftiHeader {
    NiftiHeader {
        version,
        byte_order: ByteOrder::Little,
        shape: Vec::new(),
        datatype: crate::nifti::Datatype::Float32,
        bits_per_voxel: 0,
        pixdim: [1.0; 8],
        vox_offset: 0,
        scl_slope: 1.0,
        scl_inter: 0.0,
        cal_min: 0.0,
        cal_max: 0.0,
        dim_info: 0,
        slice_start: 0,
        slice_end: 0,
        slice_code: 0,
        slice_duration: 0.0,
        toffset: 0.0,
        xyzt_units: 0,
        intent_code: 0,
        intent_parameters: [0.0; 3],
        intent_name: Vec::new(),
        description: Vec::new(),
        auxiliary_file: Vec::new(),
        qform_code: 0,
        sform_code: 0,
        quaternion: [0.0; 3],
        quaternion_offset: [0.0; 3],
        srow: [[0.0; 4]; 3],
        extensions: Vec::new(),
        first_axis: FirstAxis::Plain,
    }
}

/// Whether either form of a header gives this geometry.
fn is_place_of(header: &NiftiHeader, geometry: &Geometry) -> bool {
    AffineSource::ALL.into_iter().any(|source| header.geometry_by(source).is_ok_and(|own| own == *geometry))
}

/// Sets the matrix and, if the axes are orthogonal or nearly so, the quaternion.
fn place(header: &mut NiftiHeader, geometry: &Geometry, like: Option<&NiftiHeader>) {
    let code = |code: i32| if (1..=5).contains(&code) { code } else { 0 };
    let (qform, sform) = like.map_or((0, 0), |like| (code(like.qform_code), code(like.sform_code)));
    let (qform, sform) = match (qform, sform) {
        (0, 0) => (ALIGNED, ALIGNED),
        // The matrix can represent any affine, so it is always written.
        (qform, 0) => (qform, qform),
        codes => codes,
    };
    let unit = header.space_unit();
    let [x, y, z, _] = geometry.affine().map(|row| row.map(|value| unit.from_millimeters(value)));
    header.srow = [x, y, z];
    header.sform_code = sform;
    header.pixdim[1..4].copy_from_slice(&geometry.spacing().map(|size| unit.from_millimeters(size)));
    let (quaternion, sign, is_exact) = quaternion(geometry);
    let mut placed = header.clone();
    placed.pixdim[0] = sign;
    placed.quaternion = quaternion;
    placed.quaternion_offset = [x[3], y[3], z[3]];
    placed.qform_code = qform;
    let shortest = geometry.spacing().into_iter().fold(f64::INFINITY, f64::min);
    let there = placed.geometry_by(AffineSource::Qform);
    let is_near = || there.is_ok_and(|there| placed.farthest(geometry, &there) <= NEAR * shortest);
    if is_exact || is_near() {
        *header = placed;
    }
}

/// Whether the floats of the version can represent the affine.
fn check_place(header: &NiftiHeader) -> Result<(), ImageWriteErrorKind> {
    let mut rounded = header.clone();
    if header.version == NiftiVersion::One {
        for value in rounded.srow.as_flattened_mut().iter_mut().chain(&mut rounded.pixdim) {
            *value = f64::from(*value as f32);
        }
        for value in rounded.quaternion.iter_mut().chain(&mut rounded.quaternion_offset) {
            *value = f64::from(*value as f32);
        }
    }
    rounded.geometry().map(drop).map_err(|_| ImageWriteErrorKind::AffineOutOfRange)
}

/// The last three components of the quaternion and the sign of the third axis, of the nearest rotation, and whether the axes
/// are orthogonal.
fn quaternion(geometry: &Geometry) -> ([f64; 3], f64, bool) {
    let spacing = geometry.spacing();
    let affine = geometry.affine();
    let mut r = [[0.0; 3]; 3];
    for row in 0..3 {
        for column in 0..3 {
            r[row][column] = affine[row][column] / spacing[column];
        }
    }
    let cosine = |[a, b]: [usize; 2]| r.iter().map(|row| row[a] * row[b]).sum::<f64>().abs();
    let is_exact = [[0, 1], [0, 2], [1, 2]].into_iter().all(|axes| cosine(axes) <= SQUARE);
    if !is_exact {
        r = nearest_rotation(r);
    }
    let sign = determinant(&r).signum();
    for row in &mut r {
        row[2] *= sign;
    }
    // Shepperd's method: divide by the largest component, which is never small. Components are a, b, c, d.
    let trace = r[0][0] + r[1][1] + r[2][2];
    let squares = [trace, r[0][0], r[1][1], r[2][2]];
    let largest = (0..4).fold(0, |best, part| if squares[part] > squares[best] { part } else { best });
    let (bd, cb, dc) = (r[0][2] + r[2][0], r[0][1] + r[1][0], r[1][2] + r[2][1]);
    let (ab, ac, ad) = (r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]);
    let parts = match largest {
        0 => [1.0 + trace, ab, ac, ad],
        1 => [ab, 1.0 + 2.0 * r[0][0] - trace, cb, bd],
        2 => [ac, cb, 1.0 + 2.0 * r[1][1] - trace, dc],
        _ => [ad, bd, dc, 1.0 + 2.0 * r[2][2] - trace],
    };
    let length = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
    // The file omits the first component, which is not negative by convention.
    let scale = if parts[0] < 0.0 { -length } else { length };
    ([parts[1] / scale, parts[2] / scale, parts[3] / scale], sign, is_exact)
}

fn determinant(r: &[[f64; 3]; 3]) -> f64 {
    r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
        + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0])
}

/// The rotation, or rotation with a mirror image, that is nearest to a matrix that can be inverted: its factor in the polar
/// decomposition, by Newton's iteration (Higham 1986). It converges quadratically; from axes that are nearly orthogonal, four
/// steps are more than enough, and a result that is not orthogonal is far from the matrix and not used.
fn nearest_rotation(mut r: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    for _ in 0..8 {
        let scale = determinant(&r);
        // Cofactors divided by the determinant: the transposed inverse.
        let cofactor = |i: usize, j: usize| {
            let [a, b, c, d] = [(i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3];
            r[a][c] * r[b][d] - r[a][d] * r[b][c]
        };
        r = std::array::from_fn(|i| std::array::from_fn(|j| 0.5 * (r[i][j] + cofactor(i, j) / scale)));
    }
    r
}

fn write_voxels<T: Voxel>(out: &mut dyn Write, volume: &Volume<T>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK + 8);
    // The first axis varies fastest in the file.
    for &voxel in volume.data().t() {
        Sealed::append_le(voxel, &mut bytes);
        if bytes.len() >= CHUNK {
            out.write_all(&bytes)?;
            bytes.clear();
        }
    }
    out.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use lesio_image::Orientation;
    use ndarray::Array3;

    use super::*;

    #[test]
    fn quaternion_and_matrix_say_the_same_in_every_orientation() {
        let (sine, cosine) = 0.3_f64.sin_cos();
        let geometry = Geometry::new([
            [1.5 * cosine, -2.0 * sine, 0.0, -3.0],
            [1.5 * sine, 2.0 * cosine, 0.0, 4.0],
            [0.0, 0.0, 2.5, 5.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let volume = Volume::new(Array3::<u8>::zeros((3, 4, 5)), geometry);
        let mut seen = 0;
        for a in "RLAPSI".chars() {
            for b in "RLAPSI".chars() {
                for c in "RLAPSI".chars() {
                    let Ok(orientation) = format!("{a}{b}{c}").parse::<Orientation>() else { continue };
                    let turned = volume.reoriented(&orientation);
                    let mut header = WriteOptions::new().header(&turned).unwrap();
                    assert!(header.geometry().unwrap().is_close(turned.geometry(), 0.0));
                    assert_eq!(header.qform_code, ALIGNED);
                    header.sform_code = 0;
                    assert!(header.geometry().unwrap().is_close(turned.geometry(), 1e-6), "{orientation}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 48);
    }

    #[test]
    fn sheared_axes_have_a_matrix_only() {
        let geometry = Geometry::new([
            [1.0, 0.3, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let header =
            WriteOptions::new().header(&Volume::new(Array3::<u8>::zeros((2, 2, 2)), geometry)).unwrap();
        assert_eq!((header.qform_code, header.sform_code), (0, ALIGNED));
    }

    /// Oblique series whose positions have few decimals: some programs read no file without a quaternion.
    #[test]
    fn nearly_orthogonal_axes_have_the_nearest_quaternion() {
        let (sine, cosine) = 0.3_f64.sin_cos();
        for mirror in [1.0, -1.0] {
            let geometry = Geometry::new([
                [mirror * 1.5 * cosine, -2.0 * sine, 0.002, -3.0],
                [mirror * 1.5 * sine, 2.0 * cosine, -0.004, 4.0],
                [0.0, 0.0, 3.0, 5.0],
                [0.0, 0.0, 0.0, 1.0],
            ])
            .unwrap();
            let volume = Volume::new(Array3::<u8>::zeros((8, 8, 20)), geometry);
            let mut header = WriteOptions::new().header(&volume).unwrap();
            assert_eq!((header.qform_code, header.sform_code), (ALIGNED, ALIGNED));
            let mut oddities = Vec::new();
            header.geometry_with_oddities(AffineSource::Auto, &mut oddities).unwrap();
            assert!(oddities.is_empty(), "the forms contradict each other: {oddities:?}");
            header.sform_code = 0;
            let there = header.geometry().unwrap();
            let [taken, own] = [geometry, there].map(|own| own.to_world([7.0, 7.0, 19.0]));
            let distance = taken.iter().zip(own).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            assert!(distance > 0.0 && distance < 0.075, "{distance}");
        }
    }
}
