//! BMP files without compression: gray or colored, 8 bits, or of a palette.
//!
//! Such a file is a header and rows of bytes, which are decoded directly into the image.

use super::budget::MemoryBudget;
use super::directory::{Order, slice};
use super::fault::{damaged_bmp as damaged, unsupported};
use super::orientation::ExifTurn;
use super::picture::{StoredPicture, tell_trailing};
use super::planes::{Opacity, Planes};
use crate::error::ReadErrorKind;

const FORMAT: &str = "BMP";
const FILE_HEADER: u64 = 14;
const CORE_HEADER: u64 = 12;

pub(super) fn read(bytes: &[u8], budget: &mut MemoryBudget) -> Result<StoredPicture, ReadErrorKind> {
    let header = Header::read(bytes)?;
    let row_bytes = (header.columns * header.bits).div_ceil(8);
    // Rows start at multiples of four bytes; the last one may end without padding.
    let stride = row_bytes.next_multiple_of(4);
    let need = stride.saturating_mul(header.rows - 1).saturating_add(row_bytes);
    let have = (bytes.len() as u64).saturating_sub(header.offset);
    if have < need {
        return Err(ReadErrorKind::Truncated { what: "the rows of the BMP image", need, have });
    }
    tell_trailing(FORMAT, (have - need).saturating_sub(stride - row_bytes) as usize);
    let size = [header.rows as usize, header.columns as usize];
    let channels = if header.is_gray() { 1 } else { 3 };
    let mut planes = Planes::new(budget, channels, size, ExifTurn::STORED)?;
    let mut opacity = Opacity::default();
    for stored in 0..header.rows {
        let row = slice(bytes, header.offset + stored * stride, row_bytes).unwrap_or_default();
        // The bottom row is first, unless the height is negative.
        let shown = if header.is_top_down { stored } else { header.rows - 1 - stored };
        header.put(&mut planes, &mut opacity, shown as usize, row)?;
    }
    opacity.check()?;
    Ok(StoredPicture {
        image: planes.finish()?,
        is_lossy: false,
        stored: size,
        orientation: ExifTurn::STORED,
        // Masks with a palette of two colors, in either order, are usual in this format.
        first_color: None,
        is_scaled: false,
    })
}

#[derive(Debug)]
struct Header<'a> {
    columns: u64,
    rows: u64,
    is_top_down: bool,
    bits: u64,
    /// Where the rows start.
    offset: u64,
    /// Blue, green, red and possibly a fourth byte for each color.
    palette: &'a [u8],
    bytes_per_color: usize,
    /// In a pixel of 32 bits: the byte of red, green and blue, and that of opacity.
    places: [usize; 3],
    opacity: Option<usize>,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ReadErrorKind> {
        let number = |at: u64, size: u64| {
            slice(bytes, at, size).map(|bytes| Order::Little.unsigned(bytes)).ok_or(
                ReadErrorKind::Truncated {
                    what: "the header of the BMP image",
                    need: at + size,
                    have: bytes.len() as u64,
                },
            )
        };
        let (offset, size) = (number(10, 4)?, number(FILE_HEADER, 4)?);
        let is_core = size == CORE_HEADER;
        if !matches!(size, CORE_HEADER | 40 | 52 | 56 | 108 | 124) {
            return Err(unsupported(
                format!("behind a header of {size} bytes"),
                "12, 40, 52, 56, 108 or 124",
            ));
        }
        // The file contains the whole header, so all reads below succeed.
        number(FILE_HEADER + size - 4, 4)?;
        let (columns, rows, planes, bits) = if is_core {
            (number(18, 2)? as i64, number(20, 2)? as i64, number(22, 2)?, number(24, 2)?)
        } else {
            let signed = |at| Ok::<_, ReadErrorKind>(i64::from(number(at, 4)? as u32 as i32));
            (signed(18)?, signed(22)?, number(26, 2)?, number(28, 2)?)
        };
        if columns <= 0 || rows == 0 || planes != 1 {
            return Err(damaged(format!("the image has {rows} rows, {columns} columns and {planes} planes")));
        }
        let compression = if is_core { 0 } else { number(30, 4)? };
        let (mut places, mut opacity) = ([2, 1, 0], None);
        match (compression, bits) {
            (0, 1 | 4 | 8 | 24 | 32) => {}
            (3, 32) => {
                // Masks of red, green, blue, and of opacity if the header has room for it.
                let place = |at| match number(at, 4)? {
                    0xff => Ok(Some(0)),
                    0xff00 => Ok(Some(1)),
                    0xff_0000 => Ok(Some(2)),
                    0xff00_0000 => Ok(Some(3)),
                    0 => Ok(None),
                    mask => Err(unsupported(format!("of bit mask {mask:08x}"), "whole bytes")),
                };
                for (index, to) in places.iter_mut().enumerate() {
                    *to = place(54 + 4 * index as u64)?.ok_or_else(|| damaged("a color has no bits"))?;
                }
                opacity = if size >= 56 { place(66)? } else { None };
            }
            (1 | 2, _) => return Err(unsupported("compressed by run lengths (RLE)", "no compression")),
            (4, _) => return Err(unsupported("compressed by JPEG", "no compression")),
            (5, _) => return Err(unsupported("compressed by PNG", "no compression")),
            (0 | 3, 16) => return Err(unsupported("of 16 bits", "1, 4, 8, 24 or 32 bits")),
            _ => {
                return Err(unsupported(
                    format!("of {bits} bits, compression {compression}"),
                    "1, 4, 8, 24 or 32 bits",
                ));
            }
        }
        let start = FILE_HEADER + size + if compression == 3 && size == 40 { 12 } else { 0 };
        if offset < start {
            return Err(damaged(format!("the rows start at {offset}, within the header of {start} bytes")));
        }
        let bytes_per_color = if is_core { 3 } else { 4 };
        let palette = if bits > 8 {
            &[]
        } else {
            let most = 1 << bits;
            let used = if is_core { 0 } else { number(46, 4)? };
            if used > most {
                return Err(damaged(format!("the palette has {used} colors, expected at most {most}")));
            }
            let used = if used == 0 { most } else { used };
            // Some writers omit unused colors; the palette then ends at the start of the rows.
            let length = (used * bytes_per_color as u64).min(offset - start);
            slice(bytes, start, length).unwrap_or_default()
        };
        let (columns, is_top_down) = (columns as u64, rows < 0);
        Ok(Self {
            columns,
            rows: rows.unsigned_abs(),
            is_top_down,
            bits,
            offset,
            palette,
            bytes_per_color,
            places,
            opacity,
        })
    }

    /// Whether all colors of the palette are gray: BMP has no other sign of a gray image.
    fn is_gray(&self) -> bool {
        self.bits <= 8
            && self
                .palette
                .chunks_exact(self.bytes_per_color)
                .all(|color| matches!(color, [b, g, r, ..] if b == g && g == r))
    }

    fn put(
        &self,
        planes: &mut Planes,
        opacity: &mut Opacity,
        row: usize,
        bytes: &[u8],
    ) -> Result<(), ReadErrorKind> {
        let columns = self.columns as usize;
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        if self.bits > 8 {
            let size = self.bits as usize / 8;
            for (channel, place) in self.places.into_iter().enumerate() {
                let values = (0..columns).map(|column| f32::from(byte(column * size + place)));
                planes.put(channel, [row, 0], 1, values);
            }
            if let Some(place) = self.opacity {
                opacity.count((0..columns).filter(|column| byte(column * size + place) != 255).count());
            }
            return Ok(());
        }
        let (bits, per_byte) = (self.bits as usize, 8 / self.bits as usize);
        let index = |column: usize| {
            let shift = 8 - bits * (column % per_byte + 1);
            usize::from(byte(column / per_byte) >> shift) & ((1 << bits) - 1)
        };
        let colors = self.palette.len() / self.bytes_per_color;
        if let Some(found) = (0..columns).map(index).find(|&index| index >= colors) {
            return Err(damaged(format!("a pixel has color {found}, the palette has {colors}")));
        }
        for (channel, place) in if self.is_gray() { &[2][..] } else { &[2, 1, 0] }.iter().enumerate() {
            let value = |column| {
                self.palette.get(index(column) * self.bytes_per_color + place).copied().map_or(0.0, f32::from)
            };
            planes.put(channel, [row, 0], 1, (0..columns).map(value));
        }
        Ok(())
    }
}
