//! TIFF files: gray, colored or of many channels, integers and floats.
//!
//! The directory and the positions of pixels are parsed here, so that the claims of a file are checked strip by strip
//! against its content; libraries decompress.

mod chunk;
mod layout;
mod sample;
mod write;

use super::budget::MemoryBudget;
use super::jpeg;
use super::orientation::ExifOrientation;
use super::picture::StoredPicture;
use super::planes::{Opacity, Planes};
use crate::error::ReadErrorKind;
use chunk::{Scratch, unpack};
use layout::{Compression, TiffLayout};

pub use write::{tiff_bytes, write_tiff};

pub(super) fn read(
    bytes: &[u8],
    budget: &mut MemoryBudget,
    exif: ExifOrientation,
) -> Result<StoredPicture, ReadErrorKind> {
    let layout = TiffLayout::read(bytes)?;
    layout.check_claim(bytes.len())?;
    let orientation = layout.orientation(exif);
    let size = [layout.height, layout.width];
    let mut planes = Planes::new(budget, layout.colors(), size, orientation)?;
    let mut opacity = Opacity::default();
    let mut scratch = Scratch::new(&layout, budget)?;
    for (index, place) in layout.chunks().enumerate() {
        let stored = layout.stored(bytes, index)?;
        let rows = layout.rows_in_chunk(place.row);
        let decoded;
        let content = if layout.compression == Compression::Jpeg {
            decoded = jpeg::read_part(stored, layout.jpeg_tables, &layout.part(rows), budget)?;
            decoded.as_slice()
        } else {
            unpack(&layout, stored, rows, &mut scratch)?
        };
        let row_length = layout.row_bytes() as usize;
        for (offset, row) in content.chunks_exact(row_length).take(layout.shown_rows(place.row)).enumerate() {
            let at = [place.row + offset, place.column];
            match place.plane {
                Some(channel) => layout.put(&mut planes, &mut opacity, channel, at, row)?,
                None => {
                    for channel in 0..layout.samples {
                        layout.put(&mut planes, &mut opacity, channel, at, row)?;
                    }
                }
            }
        }
    }
    opacity.check()?;
    Ok(StoredPicture {
        image: planes.finish()?,
        is_lossy: layout.compression == Compression::Jpeg,
        stored: size,
        orientation,
        first_color: None,
        is_scaled: (2..8).contains(&layout.bits),
    })
}
