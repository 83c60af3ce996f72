//! TIFF files: gray, coloured or of many channels, integers and floats.

use std::io::Cursor;

use lesio_image::Image;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::png::undecodable;
use super::{Claim, LastChannel, interleaved, planar};
use crate::error::ReadErrorKind;
use crate::nifti::Sealed;
use crate::source::reserve;

const FORMAT: &str = "TIFF";

/// LZW reaches 1400 to 1 on zeros, deflate 1032; only fax coding of blank pages goes beyond, and is refused.
const MOST_PER_BYTE: u64 = 1536;

pub(super) fn read(bytes: &[u8], limit: u64) -> Result<Image<f32>, ReadErrorKind> {
    let fail = |error: TiffError| undecodable(FORMAT, error);
    let memory = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = memory;
    limits.intermediate_buffer_size = memory;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(fail)?.with_limits(limits);
    if decoder.more_images() {
        return Err(unsupported("of several pages".to_owned(), "one page"));
    }
    let (width, height) = decoder.dimensions().map_err(fail)?;
    let color = decoder.colortype().map_err(fail)?;
    let samples: u16 = decoder.find_tag_unsigned(Tag::SamplesPerPixel).map_err(fail)?.unwrap_or(1);
    let has_opacity = match color {
        ColorType::Gray(_) | ColorType::RGB(_) | ColorType::Multiband { .. } => false,
        ColorType::GrayA(_) | ColorType::RGBA(_) => true,
        other => return Err(unsupported(format!("{other:?}"), "gray, coloured or of many channels")),
    };
    if samples != color.num_samples() {
        return Err(unsupported(format!("{color:?} with {samples} values"), "no values beside the colours"));
    }
    let claim = Claim { width, height, channels: usize::from(samples), bits: u64::from(color.bit_depth()) };
    if claim.pixels() == 0 {
        return Err(unsupported("none".to_owned(), "at least one"));
    }
    claim.check(bytes.len(), MOST_PER_BYTE, limit)?;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(fail)?;
    let mut values = values(result, color.bit_depth(), &claim)?;
    let need = claim.pixels() * claim.channels as u64;
    if (values.len() as u64) < need || layout.planes > 1 && layout.planes != claim.channels {
        return Err(ReadErrorKind::Truncated { what: "the image", need, have: values.len() as u64 });
    }
    values.truncate(usize::try_from(need).unwrap_or(usize::MAX));
    if layout.planes > 1 {
        if has_opacity {
            return Err(unsupported(
                "of separate planes with opacity".to_owned(),
                "pixels that stand together",
            ));
        }
        return planar(values, claim.channels, &claim);
    }
    let greatest = if color.bit_depth() == 16 { f32::from(u16::MAX) } else { f32::from(u8::MAX) };
    let last = match (has_opacity, color.bit_depth()) {
        (false, _) => LastChannel::Value,
        (true, 8 | 16) => LastChannel::Opacity(greatest),
        (true, bits) => return Err(unsupported(format!("of {bits} bits with opacity"), "8 or 16 bits")),
    };
    interleaved(&values, &claim, last)
}

/// The decoder's values as floats.
fn values(result: DecodingResult, bits: u8, claim: &Claim) -> Result<Vec<f32>, ReadErrorKind> {
    let mut values = Vec::new();
    reserve(&mut values, claim.pixels().saturating_mul(claim.channels as u64))?;
    match result {
        // Fewer than 8 bits are packed, each row from a new byte.
        DecodingResult::U8(packed) if bits < 8 => unpack(&packed, bits, claim, &mut values)?,
        DecodingResult::U8(all) => values.extend(all.into_iter().map(f32::from)),
        DecodingResult::U16(all) => values.extend(all.into_iter().map(f32::from)),
        DecodingResult::U32(all) => values.extend(all.into_iter().map(|value| value as f32)),
        DecodingResult::U64(all) => values.extend(all.into_iter().map(|value| value as f32)),
        DecodingResult::I8(all) => values.extend(all.into_iter().map(f32::from)),
        DecodingResult::I16(all) => values.extend(all.into_iter().map(f32::from)),
        DecodingResult::I32(all) => values.extend(all.into_iter().map(|value| value as f32)),
        DecodingResult::I64(all) => values.extend(all.into_iter().map(|value| value as f32)),
        DecodingResult::F16(all) => values.extend(all.into_iter().map(f32::from)),
        DecodingResult::F32(all) => values.extend(all),
        DecodingResult::F64(all) => {
            if let Some((voxel, &value)) = all.iter().enumerate().find(|&(_, &value)| !f32::holds_f64(value))
            {
                return Err(ReadErrorKind::LossyConversion { voxel: voxel as u64, value, target: "float32" });
            }
            values.extend(all.into_iter().map(|value| value as f32));
        }
    }
    Ok(values)
}

fn unpack(packed: &[u8], bits: u8, claim: &Claim, values: &mut Vec<f32>) -> Result<(), ReadErrorKind> {
    if !matches!(bits, 1 | 2 | 4) {
        return Err(unsupported(format!("of {bits} bits"), "1, 2, 4, 8, 16, 32 or 64 bits"));
    }
    let in_row = claim.width as usize * claim.channels;
    let per_byte = usize::from(8 / bits);
    let greatest = (1_u16 << bits) - 1;
    for row in packed.chunks_exact(in_row.div_ceil(per_byte)) {
        values.extend((0..in_row).map(|index| {
            let byte = row.get(index / per_byte).copied().unwrap_or_default();
            let shift = 8 - usize::from(bits) * (index % per_byte + 1);
            let value = (u16::from(byte) >> shift) & greatest;
            f32::from(value * (255 / greatest))
        }));
    }
    Ok(())
}

fn unsupported(found: String, expected: &'static str) -> ReadErrorKind {
    ReadErrorKind::UnsupportedPixels { found, expected }
}
