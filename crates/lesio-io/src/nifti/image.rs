//! An opened NIfTI image: its header is checked, and its voxels are read on demand.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use lesio_image::{Geometry, Volume};
use ndarray::{Array3, ArrayD, IxDyn, ShapeBuilder};

use crate::error::{ReadError, ReadErrorKind};
use crate::mask_doubts::MaskDoubts;
use crate::mask_rule::{MaskRule, tell_full};
use crate::nifti::datatype::Datatype;
use crate::nifti::header::{Arrangement, NiftiHeader};
use crate::nifti::oddity::Oddity;
use crate::nifti::reader::{DataFile, VoxelReader};
use crate::nifti::slabs::Slabs;
use crate::nifti::start::{header_path, is_compressed, name_of, read_start};
use crate::nifti::statistics::VoxelStatistics;
use crate::nifti::voxel::Voxel;
use crate::options::ReadOptions;
use crate::source::sealed::Holder;
use crate::source::{BYTES, Content, open_regular};

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A NIfTI image of a file or of bytes in memory (`NiftiImage<&[u8]>`), with its header read and its voxels not yet
/// read.
///
/// Opening reads header and extensions and compares their claims with the size of the file, so a false claim costs no
/// memory. Every method then reads from the file. Compressed files are always read to their end, so that checksums are
/// verified even if only a part was requested.
///
/// Arrays have the axes of the file, as many as the header states, the first fastest in memory (column-major). Volumes
/// have three axes.
///
/// ```no_run
/// use lesio_io::nifti::NiftiImage;
///
/// let mut image = NiftiImage::open("bold.nii.gz")?;
/// println!("{:?} {}", image.header().shape, image.header().datatype);
/// let statistics = image.statistics()?;
/// println!("from {} to {}", statistics.min, statistics.max);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NiftiImage<C = File> {
    path: PathBuf,
    header: NiftiHeader,
    geometry: Geometry,
    oddities: Vec<Oddity>,
    voxels: u64,
    data: Data<C>,
}

/// The source of the voxels.
struct Data<C> {
    path: PathBuf,
    content: C,
    /// Its stored length.
    bytes: u64,
    compressed: bool,
    /// Where the voxels start.
    offset: u64,
    /// Memory limit for reading, in bytes.
    limit: u64,
}

impl<C> fmt::Debug for Data<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is a handle, or millions of bytes.
        let Self { path, content: _, bytes, compressed, offset, limit } = self;
        let mut shown = f.debug_struct("Data");
        shown.field("path", path).field("bytes", bytes).field("compressed", compressed);
        shown.field("offset", offset).field("limit", limit).finish_non_exhaustive()
    }
}

impl<C: Holder> Data<C> {
    fn file(&self) -> DataFile<'_> {
        let Self { bytes, compressed, offset, limit, .. } = *self;
        DataFile { content: self.content.content(), bytes, compressed, offset, limit }
    }
}

impl NiftiImage {
    /// Opens a `.nii` file or either file of an `.hdr` and `.img` pair, compressed (`.gz`) or not.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume), except for defects of the voxels.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::open_with(path, &ReadOptions::new())
    }

    /// Like [`NiftiImage::open`], with another memory limit.
    ///
    /// # Errors
    /// Those of [`NiftiImage::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let name = name_of(path)?;
        let limit = options.limit();
        let header_path = header_path(path, &name)?;
        let fail = |kind: ReadErrorKind| kind.at(&header_path);
        let (file, bytes) = open_regular(&header_path).map_err(fail)?;
        let start = read_start(Content::File(&file), name.arrangement, is_compressed(&header_path), limit)
            .map_err(fail)?;
        let placed = Placed::of(start, options).map_err(fail)?;
        let (data_path, content, bytes) = if name.arrangement == Arrangement::Single {
            (header_path, file, bytes)
        } else {
            let data_path = if name.holds_header() {
                name.other_half(path).map_err(|kind| kind.at(path))?
            } else {
                path.to_owned()
            };
            let (file, bytes) = open_regular(&data_path).map_err(|kind| kind.at(&data_path))?;
            (data_path, file, bytes)
        };
        let (compressed, offset) = (is_compressed(&data_path), placed.header.vox_offset);
        placed.with(path, Data { path: data_path, content, bytes, compressed, offset, limit })
    }
}

impl<'a> NiftiImage<&'a [u8]> {
    /// An image of the bytes of a `.nii` file, compressed or not: those that start as gzip does are decompressed.
    ///
    /// Nothing is copied, and the bytes do not count toward the memory limit. Messages and [`NiftiImage::path`] call
    /// them `<bytes>`.
    ///
    /// # Errors
    /// Those of [`NiftiImage::open`] for a file of these bytes.
    ///
    /// ```
    /// use lesio_image::{Geometry, Volume};
    /// use lesio_io::WriteOptions;
    /// use lesio_io::nifti::{Datatype, NiftiImage};
    /// use ndarray::Array3;
    ///
    /// let volume = Volume::new(Array3::<i16>::zeros((4, 5, 6)), Geometry::default());
    /// let bytes = WriteOptions::new().to_gzip_bytes(&volume)?;
    /// let mut image = NiftiImage::from_bytes(&bytes)?;
    /// assert_eq!(image.header().datatype, Datatype::Int16);
    /// assert_eq!(image.read_volume::<i16>()?, volume);
    ///
    /// let error = NiftiImage::from_bytes(&bytes[..20]).unwrap_err();
    /// assert_eq!(error.to_string(), "<bytes>: gzip member 1: the file ends inside its data");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, ReadError> {
        Self::from_bytes_with(bytes, &ReadOptions::new())
    }

    /// Like [`NiftiImage::from_bytes`], with another memory limit.
    ///
    /// # Errors
    /// Those of [`NiftiImage::from_bytes`].
    pub fn from_bytes_with(bytes: &'a [u8], options: &ReadOptions) -> Result<Self, ReadError> {
        let (path, limit) = (Path::new(BYTES), options.limit());
        let compressed = bytes.starts_with(&GZIP);
        let placed = read_start(Content::Bytes(bytes), Arrangement::Single, compressed, limit)
            .and_then(|start| Placed::of(start, options))
            .map_err(|kind| kind.at(path))?;
        let (length, offset) = (bytes.len() as u64, placed.header.vox_offset);
        placed.with(
            path,
            Data { path: path.to_owned(), content: bytes, bytes: length, compressed, offset, limit },
        )
    }
    /// An image of a header and the bytes of its voxels.
    #[cfg(feature = "nifti")]
    pub(crate) fn of_voxels(
        start: (NiftiHeader, Vec<Oddity>),
        voxels: &'a [u8],
        name: &'static str,
        options: &ReadOptions,
    ) -> Result<Self, ReadError> {
        let path = Path::new(name);
        let placed = Placed::of(start, options).map_err(|kind| kind.at(path))?;
        let (bytes, limit) = (voxels.len() as u64, options.limit());
        let data =
            Data { path: path.to_owned(), content: voxels, bytes, compressed: false, offset: 0, limit };
        placed.with(path, data)
    }
}

impl<C: Holder> NiftiImage<C> {
    /// The name given when opening.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &NiftiHeader {
        &self.header
    }

    /// The geometry of the voxels; see [`NiftiHeader::geometry`].
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Defects of the file that leave no doubt about its content; empty for a correct file. That bytes follow the
    /// voxels of a compressed file is known after a method has read it to its end (not by [`NiftiImage::slabs`]).
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }

    /// Number of voxels.
    #[must_use]
    pub fn voxels(&self) -> u64 {
        self.voxels
    }

    /// Number of three-dimensional volumes: the product of the sizes past the third axis.
    #[must_use]
    pub fn volumes(&self) -> u64 {
        // Part of the product that `voxels` is, so it does not overflow.
        self.header.shape.iter().skip(3).product()
    }

    /// Reads the whole image, scaled.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume), but of any rank.
    pub fn read<T: Voxel>(&mut self) -> Result<ArrayD<T>, ReadError> {
        let values = self.values(0, self.voxels)?;
        self.array(values)
    }

    /// Reads the only volume.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume).
    pub fn read_volume<T: Voxel>(&mut self) -> Result<Volume<T>, ReadError> {
        let index = self.only_volume()?;
        self.read_volume_at(index)
    }

    /// Reads one volume of an image of more than three dimensions, from 0 in file order.
    ///
    /// # Errors
    /// Those of [`read_volume`](crate::read_volume), and [`ReadErrorKind::NoSuchVolume`].
    pub fn read_volume_at<T: Voxel>(&mut self, index: u64) -> Result<Volume<T>, ReadError> {
        let volumes = self.volumes();
        if index >= volumes {
            return Err(ReadErrorKind::NoSuchVolume { index, volumes }.at(&self.path));
        }
        let count = self.voxels / volumes;
        let values = self.values(index * count, count)?;
        let shape = self.volume_shape()?;
        let data = Array3::from_shape_vec(shape.f(), values).map_err(|_| self.overflow())?;
        Ok(Volume::new(data, self.geometry))
    }

    /// Reads one volume as a mask: every voxel whose scaled value is not 0 is inside.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read_volume_at`], and [`ReadErrorKind::NotANumber`] where a voxel is NaN.
    pub fn read_mask_at(&mut self, index: u64) -> Result<Volume<bool>, ReadError> {
        self.read_mask_by(index, MaskRule::default())
    }

    /// Like [`NiftiImage::read_mask_at`], with another rule of what is inside, for scaled values.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read_mask_at`].
    pub fn read_mask_by(&mut self, index: u64, rule: MaskRule) -> Result<Volume<bool>, ReadError> {
        let volumes = self.volumes();
        if index >= volumes {
            return Err(ReadErrorKind::NoSuchVolume { index, volumes }.at(&self.path));
        }
        let count = self.voxels / volumes;
        self.check_memory::<bool>(count)?;
        let shape = self.volume_shape()?;
        let reader = self.reader(index * count)?;
        let mut doubts = MaskDoubts::default();
        let (inside, rest) =
            reader.collect_mask(count, rule, &mut doubts).map_err(|kind| kind.at(&self.data.path))?;
        self.note_rest(rest);
        doubts.tell(rule, !inside.contains(&true), &self.path);
        tell_full(!inside.contains(&false), &self.path);
        let data = Array3::from_shape_vec(shape.f(), inside).map_err(|_| self.overflow())?;
        Ok(Volume::new(data, self.geometry))
    }

    /// Reads every volume, in file order.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read_volume_at`]; the memory limit applies to all together.
    pub fn read_volumes<T: Voxel>(&mut self) -> Result<Vec<Volume<T>>, ReadError> {
        self.check_memory::<T>(self.voxels)?;
        let thickness = usize::try_from(self.header.size(2)).map_err(|_| self.overflow())?;
        let geometry = self.geometry;
        let (volumes, rest) = {
            let mut slabs = self.slabs::<T>(thickness)?;
            let volumes = slabs.by_ref().map(|slab| slab.map(|slab| Volume::new(slab.data, geometry)));
            (volumes.collect::<Result<_, _>>()?, slabs.rest())
        };
        self.note_rest(rest);
        Ok(volumes)
    }

    /// Reads the image in slabs of at most `thickness` slices along the third axis, one after the other. A slab never
    /// spans two volumes. Memory is needed for one slab only.
    ///
    /// The checksum of a compressed file is verified at its end: an error after the last slab invalidates all slabs
    /// before it.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read`], as far as they are known before the first slab. A thickness of 0 counts as 1.
    pub fn slabs<T: Voxel>(&mut self, thickness: usize) -> Result<Slabs<'_, T>, ReadError> {
        let shape = self.volume_shape()?;
        let thickness = thickness.clamp(1, shape.2);
        let slab_voxels = (shape.0 as u64).saturating_mul(shape.1 as u64).saturating_mul(thickness as u64);
        self.check_memory::<T>(slab_voxels)?;
        Ok(Slabs::new(self.reader(0)?, &self.data.path, shape, thickness, self.volumes()))
    }

    /// Sum, range and number of non-finite values over all scaled voxels, without storing them.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read`].
    pub fn statistics(&mut self) -> Result<VoxelStatistics, ReadError> {
        let (found, rest) =
            VoxelStatistics::of(self.reader(0)?, self.voxels).map_err(|kind| kind.at(&self.data.path))?;
        self.note_rest(rest);
        Ok(found)
    }

    /// Records the bytes after the last voxel of a compressed file, which only reading to its end shows.
    pub(super) fn note_rest(&mut self, count: u64) {
        let is_known = self.oddities.iter().any(|oddity| matches!(oddity, Oddity::TrailingBytes { .. }));
        if count > 0 && !is_known {
            self.oddities.push(Oddity::TrailingBytes { count });
        }
    }

    /// The file or the bytes that hold the voxels.
    pub(super) fn file(&self) -> DataFile<'_> {
        self.data.file()
    }

    /// The path that errors of the voxels name.
    pub(super) fn data_path(&self) -> &Path {
        &self.data.path
    }

    /// The number of the only volume.
    pub(crate) fn only_volume(&self) -> Result<u64, ReadError> {
        if self.volumes() == 1 {
            return Ok(0);
        }
        let shape = self.header.shape.clone();
        let expected = "one volume: sizes past the third axis of 1, or a volume chosen";
        Err(ReadErrorKind::UnexpectedRank { shape, expected }.at(&self.path))
    }

    fn values<T: Voxel>(&mut self, first: u64, count: u64) -> Result<Vec<T>, ReadError> {
        self.check_memory::<T>(count)?;
        let reader = self.reader(first)?;
        let (values, rest) = reader.collect_values(count).map_err(|kind| kind.at(&self.data.path))?;
        self.note_rest(rest);
        Ok(values)
    }

    /// A reader of real voxels.
    fn reader(&self, first: u64) -> Result<VoxelReader<'_>, ReadError> {
        if !self.header.datatype.is_real() {
            return Err(unsupported(self.header.datatype, " as real numbers").at(&self.path));
        }
        VoxelReader::new(self.data.file(), &self.header, first).map_err(|kind| kind.at(&self.data.path))
    }

    pub(super) fn array<T>(&self, values: Vec<T>) -> Result<ArrayD<T>, ReadError> {
        let shape: Result<Vec<usize>, _> =
            self.header.shape.iter().map(|&size| usize::try_from(size)).collect();
        shape
            .ok()
            .and_then(|shape| ArrayD::from_shape_vec(IxDyn(&shape).f(), values).ok())
            .ok_or_else(|| self.overflow())
    }

    fn volume_shape(&self) -> Result<(usize, usize, usize), ReadError> {
        let size = |axis| usize::try_from(self.header.size(axis)).map_err(|_| self.overflow());
        Ok((size(0)?, size(1)?, size(2)?))
    }

    /// Compares the memory for `count` values, and for everything held beside them, with the limit.
    pub(super) fn check_memory<T>(&self, count: u64) -> Result<(), ReadError> {
        let values = count.saturating_mul(size_of::<T>() as u64);
        // A buffer that grows in steps is moved when it grows.
        let moved = if self.data.file().may_grow(&self.header, count) { values / 4 } else { 0 };
        let extensions = self.header.extensions.iter().map(|extension| extension.content.len() as u64).sum();
        let need = values.saturating_add(moved).saturating_add(extensions);
        let limit = self.data.limit;
        if need > limit {
            return Err(ReadErrorKind::LimitExceeded { need, limit }.at(&self.path));
        }
        Ok(())
    }

    /// The error for more voxels than the machine can address.
    fn overflow(&self) -> ReadError {
        ReadErrorKind::OutOfMemory { bytes: self.voxels }.at(&self.path)
    }
}

/// A header with a valid geometry.
struct Placed {
    header: NiftiHeader,
    geometry: Geometry,
    oddities: Vec<Oddity>,
    voxels: u64,
}

impl Placed {
    fn of(start: (NiftiHeader, Vec<Oddity>), options: &ReadOptions) -> Result<Self, ReadErrorKind> {
        let (header, mut oddities) = start;
        let geometry = header.geometry_with_oddities(options.affine_source(), &mut oddities)?;
        let voxels = header.voxels()?;
        Ok(Self { header, geometry, oddities, voxels })
    }

    /// The image, if the source can hold its voxels.
    fn with<C: Holder>(self, path: &Path, data: Data<C>) -> Result<NiftiImage<C>, ReadError> {
        let Self { header, geometry, mut oddities, voxels } = self;
        let trailing = data.file().check_claim(&header, voxels).map_err(|kind| kind.at(&data.path))?;
        oddities.extend((trailing > 0).then_some(Oddity::TrailingBytes { count: trailing }));
        Ok(NiftiImage { path: path.to_owned(), header, geometry, oddities, voxels, data })
    }
}

pub(super) fn unsupported(datatype: Datatype, purpose: &'static str) -> ReadErrorKind {
    ReadErrorKind::UnsupportedDatatype { code: datatype.code(), name: datatype.name(), purpose }
}
