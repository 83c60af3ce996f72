//! Voxels that are not real numbers, and raw bytes.

use ndarray::ArrayD;

use crate::error::ReadError;
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::datatype::Datatype;
use crate::nifti::image::{NiftiImage, unsupported};
use crate::nifti::reader::VoxelReader;
use crate::source::sealed::Holder;

impl<C: Holder> NiftiImage<C> {
    /// The raw bytes of all voxels of any type, in the byte order of the file.
    ///
    /// # Errors
    /// Those of [`NiftiImage::read`].
    pub fn read_raw(&mut self) -> Result<Vec<u8>, ReadError> {
        self.check_memory::<u8>(self.voxels().saturating_mul(self.header().datatype.bytes()))?;
        let size = usize::try_from(self.header().datatype.bytes()).unwrap_or(1);
        let reader = VoxelReader::new(self.file(), self.header(), 0);
        let bytes = reader.and_then(|reader| {
            reader.collect(self.voxels(), size, |bytes, out| out.extend_from_slice(bytes))
        });
        let (bytes, rest) = bytes.map_err(|kind| kind.at(self.data_path()))?;
        self.note_rest(rest);
        Ok(bytes)
    }

    /// Reads complex voxels as real and imaginary part. They are not scaled, since the standard does not define scaling
    /// for them.
    ///
    /// # Errors
    /// [`UnsupportedDatatype`](crate::ReadErrorKind::UnsupportedDatatype) for voxels that are not complex, else as
    /// [`NiftiImage::read`].
    pub fn read_complex(&mut self) -> Result<ArrayD<[f64; 2]>, ReadError> {
        self.check_memory::<[f64; 2]>(self.voxels())?;
        let order = self.header().byte_order;
        let reader = VoxelReader::new(self.file(), self.header(), 0);
        let values = match self.header().datatype {
            Datatype::Complex64 => reader.and_then(|reader| {
                reader.collect(self.voxels(), 1, |bytes, out| {
                    let part = |b: [u8; 4]| f64::from(f32::from_bits(bits_32(b, order)));
                    out.extend(
                        bytes
                            .as_chunks::<8>()
                            .0
                            .iter()
                            .map(|&[a, b, c, d, e, f, g, h]| [part([a, b, c, d]), part([e, f, g, h])]),
                    );
                })
            }),
            Datatype::Complex128 => reader.and_then(|reader| {
                reader.collect(self.voxels(), 1, |bytes, out| {
                    let (parts, _) = bytes.as_chunks::<8>();
                    let part = |b: &[u8; 8]| f64::from_bits(bits_64(*b, order));
                    out.extend(parts.as_chunks::<2>().0.iter().map(|[re, im]| [part(re), part(im)]));
                })
            }),
            other => Err(unsupported(other, " as complex numbers")),
        };
        let (values, rest) = values.map_err(|kind| kind.at(self.data_path()))?;
        self.note_rest(rest);
        self.array(values)
    }

    /// Reads colored voxels as red, green, blue and opacity. Opacity is 255 if the file has none.
    ///
    /// # Errors
    /// [`UnsupportedDatatype`](crate::ReadErrorKind::UnsupportedDatatype) for voxels that are not colors, else as
    /// [`NiftiImage::read`].
    pub fn read_rgba(&mut self) -> Result<ArrayD<[u8; 4]>, ReadError> {
        self.check_memory::<[u8; 4]>(self.voxels())?;
        let reader = VoxelReader::new(self.file(), self.header(), 0);
        let values = match self.header().datatype {
            Datatype::Rgb24 => reader.and_then(|reader| {
                reader.collect(self.voxels(), 1, |bytes, out| {
                    out.extend(bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, u8::MAX]));
                })
            }),
            Datatype::Rgba32 => reader.and_then(|reader| {
                reader.collect(self.voxels(), 1, |bytes, out| out.extend_from_slice(bytes.as_chunks::<4>().0))
            }),
            other => Err(unsupported(other, " as colors")),
        };
        let (values, rest) = values.map_err(|kind| kind.at(self.data_path()))?;
        self.note_rest(rest);
        self.array(values)
    }
}

fn bits_32(bytes: [u8; 4], order: ByteOrder) -> u32 {
    match order {
        ByteOrder::Little => u32::from_le_bytes(bytes),
        ByteOrder::Big => u32::from_be_bytes(bytes),
    }
}

fn bits_64(bytes: [u8; 8], order: ByteOrder) -> u64 {
    match order {
        ByteOrder::Little => u64::from_le_bytes(bytes),
        ByteOrder::Big => u64::from_be_bytes(bytes),
    }
}
