//! Pixels as PNG files.

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter};

/// Bytes of pixels, row by row, as a PNG file of eight bits.
///
/// # Errors
/// A side that the format cannot hold.
pub(crate) fn encode_png(
    bytes: &[u8],
    height: usize,
    width: usize,
    color_type: ColorType,
) -> Result<Vec<u8>, EncodingError> {
    let mut png = Vec::new();
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut encoder = Encoder::new(&mut png, side(width), side(height));
    encoder.set_color(color_type);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(png)
}
