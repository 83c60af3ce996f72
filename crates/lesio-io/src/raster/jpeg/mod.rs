//! JPEG files: gray or colored, 8 bits.
//!
//! The decoder fills missing parts with gray and continues after damaged data. So the whole stream is checked first,
//! code by code, and any gap is an error. The decoder then gets only the segments that contain pixels.

mod bits;
mod entropy;
mod stream;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::budget::MemoryBudget;
use super::fault::damaged_jpeg as damaged;
use super::orientation::{ExifOrientation, ExifTurn};
use super::picture::StoredPicture;
use super::planes::Planes;
use crate::error::ReadErrorKind;
use stream::{Coded, Colors};

const FORMAT: &str = "JPEG";

pub(super) fn read(
    bytes: &[u8],
    budget: &mut MemoryBudget,
    exif: ExifOrientation,
) -> Result<StoredPicture, ReadErrorKind> {
    let coded = Coded::check(bytes, &[], budget)?;
    let orientation = match (exif, coded.exif) {
        (ExifOrientation::Apply, Some(block)) => ExifTurn::of_exif(block),
        _ => ExifTurn::STORED,
    };
    let size = [coded.rows, coded.columns];
    let channels = coded.channels();
    let pixels = decode(&coded, coded.colors == Colors::Rgb, budget)?;
    let mut planes = Planes::new(budget, channels, size, orientation)?;
    for (row, values) in pixels.chunks_exact(coded.columns * channels).enumerate() {
        for channel in 0..channels {
            let values = values.iter().skip(channel).step_by(channels);
            planes.put(channel, [row, 0], 1, values.map(|&value| f32::from(value)));
        }
    }
    Ok(StoredPicture {
        image: planes.finish()?,
        is_lossy: true,
        stored: size,
        orientation,
        first_color: None,
        is_scaled: false,
    })
}

/// Requirements for a JPEG stream inside another file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Minimum number of rows.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    /// The other file defines the meaning of the components.
    pub(super) is_ycbcr: bool,
}

/// The pixels of a strip or tile of a TIFF file, with interleaved channels. Tables may be stored separately.
pub(super) fn read_part(
    bytes: &[u8],
    tables: Option<&[u8]>,
    part: &Part,
    budget: &MemoryBudget,
) -> Result<Vec<u8>, ReadErrorKind> {
    // One part at a time is in memory.
    let budget = &mut budget.clone();
    let coded = Coded::check(bytes, tables.unwrap_or_default(), budget)?;
    if coded.columns != part.columns || coded.rows < part.rows || coded.channels() != part.channels {
        return Err(damaged(format!(
            "a strip or tile has {} rows and {} columns of {} values, expected {}, {} and {}",
            coded.rows,
            coded.columns,
            coded.channels(),
            part.rows,
            part.columns,
            part.channels
        )));
    }
    decode(&coded, !part.is_ycbcr, budget)
}

/// The pixels with interleaved channels: as coded, or converted from luminance and color differences to RGB.
fn decode(coded: &Coded, is_rgb: bool, budget: &mut MemoryBudget) -> Result<Vec<u8>, ReadErrorKind> {
    let colors = match (coded.channels(), is_rgb) {
        (1, _) => ColorSpace::Luma,
        // Unconverted: without application markers, the decoder treats three components as these.
        (_, true) => ColorSpace::YCbCr,
        (_, false) => ColorSpace::RGB,
    };
    let mut pixels = budget.zeros(coded.pixels().saturating_mul(coded.channels() as u64))?;
    budget.expect(coded.working_memory())?;
    let options = DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .set_strict_mode(true)
        .jpeg_set_max_scans(stream::MOST_SCANS)
        .jpeg_set_out_colorspace(colors);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(coded.cleaned.as_slice()), options);
    let fail = |error| ReadErrorKind::Decode { format: FORMAT, source: Box::new(error) };
    decoder.decode_headers().map_err(fail)?;
    if decoder.dimensions() != Some((coded.columns, coded.rows)) {
        return Err(damaged("the frame that is decoded is not the one that was checked"));
    }
    decoder.decode_into(&mut pixels).map_err(fail)?;
    Ok(pixels)
}
