//! Encodes a header, least significant byte first.

use crate::error::ImageWriteErrorKind;
use crate::nifti::extension::Extension;
use crate::nifti::header::{Arrangement, FOLDED, FirstAxis, NiftiHeader, NiftiVersion};

/// Multiples of 16 up to here are exact in the 32-bit float that holds NIfTI-1's voxel offset.
const MOST_EXTENSION_BYTES: usize = 1 << 28;

/// The bytes before the voxels: header, extension flag and extensions.
pub(crate) fn encode(header: &NiftiHeader, arrangement: Arrangement) -> Result<Vec<u8>, ImageWriteErrorKind> {
    let size = header.version.header_bytes();
    let extensions = extensions(&header.extensions)?;
    let offset = match arrangement {
        Arrangement::Single => size + 4 + extensions.len(),
        Arrangement::Pair => 0,
    };
    let mut fields = Fields { bytes: vec![0; size] };
    match header.version {
        NiftiVersion::One => encode_1(header, arrangement, offset, &mut fields)?,
        NiftiVersion::Two => encode_2(header, arrangement, offset, &mut fields),
    }
    let mut bytes = fields.bytes;
    bytes.extend([u8::from(!extensions.is_empty()), 0, 0, 0]);
    bytes.extend(extensions);
    Ok(bytes)
}

fn extensions(extensions: &[Extension]) -> Result<Vec<u8>, ImageWriteErrorKind> {
    let mut bytes = Vec::new();
    for (index, extension) in extensions.iter().enumerate() {
        let too_large = ImageWriteErrorKind::ExtensionTooLarge { index, bytes: extension.content.len() };
        let padded = extension.content.len().saturating_add(8).next_multiple_of(16);
        let size = i32::try_from(padded).ok();
        match size {
            Some(size) if bytes.len().saturating_add(padded) <= MOST_EXTENSION_BYTES => {
                let end = bytes.len() + padded;
                bytes.extend(size.to_le_bytes());
                bytes.extend(extension.code.to_le_bytes());
                bytes.extend(&extension.content);
                bytes.resize(end, 0);
            }
            _ => return Err(too_large),
        }
    }
    Ok(bytes)
}

/// The bytes of a header; all positions that are set lie inside.
struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    fn set(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn text(&mut self, at: usize, length: usize, value: &[u8]) {
        self.set(at, value.get(..length).unwrap_or(value));
    }

    fn f32s(&mut self, at: usize, values: &[f64]) {
        for (index, &value) in values.iter().enumerate() {
            self.set(at + 4 * index, &(value as f32).to_le_bytes());
        }
    }

    fn f64s(&mut self, at: usize, values: &[f64]) {
        for (index, &value) in values.iter().enumerate() {
            self.set(at + 8 * index, &value.to_le_bytes());
        }
    }
}

fn encode_1(
    header: &NiftiHeader,
    arrangement: Arrangement,
    offset: usize,
    fields: &mut Fields,
) -> Result<(), ImageWriteErrorKind> {
    fields.set(0, &348_i32.to_le_bytes());
    fields.set(39, &[header.dim_info]);
    let mut sizes: [u64; 8] = std::array::from_fn(|index| dim(header, index));
    match header.first_axis {
        FirstAxis::Plain => {}
        FirstAxis::Folded => sizes[1..4].copy_from_slice(&FOLDED.1),
        FirstAxis::InGlmin => {
            let size = i32::try_from(sizes[1]).map_err(|_| too_large(0, sizes[1]))?;
            fields.set(144, &size.to_le_bytes());
            sizes[1] = 0;
        }
    }
    for (index, size) in sizes.into_iter().enumerate() {
        let size = i16::try_from(size).map_err(|_| too_large(index.saturating_sub(1), size))?;
        // 0 marks the axis whose size is stored elsewhere; no real axis has size 0.
        let size = if size == 0 { -1 } else { size };
        fields.set(40 + 2 * index, &size.to_le_bytes());
    }
    fields.f32s(56, &header.intent_parameters);
    fields.set(68, &(header.intent_code as i16).to_le_bytes());
    fields.set(70, &header.datatype.code().to_le_bytes());
    fields.set(72, &header.bits_per_voxel.to_le_bytes());
    fields.set(74, &(header.slice_start as i16).to_le_bytes());
    fields.f32s(76, &header.pixdim);
    fields.f32s(108, &[offset as f64, header.scl_slope, header.scl_inter]);
    fields.set(120, &(header.slice_end as i16).to_le_bytes());
    fields.set(122, &[header.slice_code as u8, header.xyzt_units as u8]);
    fields.f32s(124, &[header.cal_max, header.cal_min, header.slice_duration, header.toffset]);
    fields.text(148, 80, &header.description);
    fields.text(228, 24, &header.auxiliary_file);
    fields.set(252, &code(header.qform_code).to_le_bytes());
    fields.set(254, &code(header.sform_code).to_le_bytes());
    fields.f32s(256, &header.quaternion);
    fields.f32s(268, &header.quaternion_offset);
    fields.f32s(280, header.srow.as_flattened());
    fields.text(328, 16, &header.intent_name);
    fields.set(344, arrangement.magic().as_bytes());
    fields.set(346, b"1\0");
    Ok(())
}

fn encode_2(header: &NiftiHeader, arrangement: Arrangement, offset: usize, fields: &mut Fields) {
    fields.set(0, &540_i32.to_le_bytes());
    fields.set(4, arrangement.magic().as_bytes());
    fields.set(6, b"2\0\r\n\x1a\n");
    fields.set(12, &header.datatype.code().to_le_bytes());
    fields.set(14, &header.bits_per_voxel.to_le_bytes());
    for index in 0..8 {
        fields.set(16 + 8 * index, &dim(header, index).to_le_bytes());
    }
    fields.f64s(80, &header.intent_parameters);
    fields.f64s(104, &header.pixdim);
    fields.set(168, &(offset as u64).to_le_bytes());
    fields.f64s(176, &[header.scl_slope, header.scl_inter, header.cal_max, header.cal_min]);
    fields.f64s(208, &[header.slice_duration, header.toffset]);
    fields.set(224, &header.slice_start.to_le_bytes());
    fields.set(232, &header.slice_end.to_le_bytes());
    fields.text(240, 80, &header.description);
    fields.text(320, 24, &header.auxiliary_file);
    fields.set(344, &header.qform_code.to_le_bytes());
    fields.set(348, &header.sform_code.to_le_bytes());
    fields.f64s(352, &header.quaternion);
    fields.f64s(376, &header.quaternion_offset);
    fields.f64s(400, header.srow.as_flattened());
    fields.set(496, &header.slice_code.to_le_bytes());
    fields.set(500, &header.xyzt_units.to_le_bytes());
    fields.set(504, &header.intent_code.to_le_bytes());
    fields.text(508, 16, &header.intent_name);
    fields.set(524, &[header.dim_info]);
}

fn too_large(axis: usize, size: u64) -> ImageWriteErrorKind {
    ImageWriteErrorKind::DimTooLargeForNifti1 { axis, size: usize::try_from(size).unwrap_or(usize::MAX) }
}

/// The code of a space in 16 bits; a code that does not fit becomes 0.
fn code(code: i32) -> i16 {
    i16::try_from(code).unwrap_or(0)
}

/// `dim`: the number of axes, then their sizes, 1 for absent axes.
fn dim(header: &NiftiHeader, index: usize) -> u64 {
    if index == 0 { header.shape.len() as u64 } else { header.size(index - 1) }
}
