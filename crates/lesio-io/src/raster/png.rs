//! Reads PNG files.
//!
//! Every checksum is verified here, including those of ancillary chunks and of the compressed stream. The stream must
//! contain exactly the bytes of the rows that the header claims; the decoder is more lenient.

use std::io::Cursor;

use flate2::{Decompress, FlushDecompress, Status};
use png::{DecodeOptions, Decoder, Limits};

use super::budget::MemoryBudget;
use super::fault::damaged_png as damaged;
use super::orientation::{ExifOrientation, ExifTurn};
use super::picture::{StoredPicture, tell_trailing};
use super::planes::{Opacity, Planes};
use crate::error::ReadErrorKind;
use crate::source::{CHUNK, MOST_PER_COMPRESSED_BYTE};

const FORMAT: &str = "PNG";

pub(super) fn read(
    bytes: &[u8],
    budget: &mut MemoryBudget,
    exif: ExifOrientation,
) -> Result<StoredPicture, ReadErrorKind> {
    let file = Chunks::check(bytes)?;
    let need = file.header.filtered_bytes();
    let stored: u64 = file.data().map(|data| data.len() as u64).sum();
    let most = stored.saturating_mul(MOST_PER_COMPRESSED_BYTE);
    // The size of the compressed data follows from the bits in the file, not from the decoded type.
    if need > most {
        return Err(ReadErrorKind::ImpossibleClaim { claimed: need, bytes: stored, most });
    }
    let orientation = match (exif, file.exif) {
        (ExifOrientation::Apply, Some(block)) => ExifTurn::of_exif(block),
        _ => ExifTurn::STORED,
    };
    let size = [file.header.rows as usize, file.header.columns as usize];
    // The decoder holds some rows.
    budget.take(file.header.row_bytes(file.header.columns).saturating_mul(6))?;
    let mut planes = Planes::new(budget, file.header.colors(), size, orientation)?;
    file.inflate(need)?;
    file.fill(bytes, budget, &mut planes)?;
    let first_color =
        file.palette.filter(|_| file.header.color == 3).and_then(|palette| palette.first_chunk().copied());
    let is_scaled = file.header.color == 0 && (2..8).contains(&file.header.bits);
    let image = planes.finish()?;
    Ok(StoredPicture { image, is_lossy: false, stored: size, orientation, first_color, is_scaled })
}

/// Spacing of the rows and columns of a pass, and its start.
#[derive(Clone, Copy, Debug)]
struct Pass {
    start: [u32; 2],
    step: [u32; 2],
}

/// The whole image at once.
const SINGLE: [Pass; 1] = [Pass { start: [0, 0], step: [1, 1] }];

/// Adam7, whose first pass has every eighth row and column.
const INTERLACED: [Pass; 7] = [
    Pass { start: [0, 0], step: [8, 8] },
    Pass { start: [0, 4], step: [8, 8] },
    Pass { start: [4, 0], step: [8, 4] },
    Pass { start: [0, 2], step: [4, 4] },
    Pass { start: [2, 0], step: [4, 2] },
    Pass { start: [0, 1], step: [2, 2] },
    Pass { start: [1, 0], step: [2, 1] },
];

impl Pass {
    /// Rows and columns of the pass.
    fn size(&self, header: &Header) -> [u32; 2] {
        let count = |size: u32, axis: usize| size.saturating_sub(self.start[axis]).div_ceil(self.step[axis]);
        [count(header.rows, 0), count(header.columns, 1)]
    }
}

/// The chunk IHDR.
#[derive(Clone, Copy, Debug)]
struct Header {
    columns: u32,
    rows: u32,
    bits: u8,
    /// 0 gray, 2 colored, 3 of a palette, 4 gray with opacity, 6 colored with opacity.
    color: u8,
    is_interlaced: bool,
}

impl Header {
    fn read(content: &[u8]) -> Result<Self, ReadErrorKind> {
        let [a, b, c, d, e, f, g, h, bits, color, 0, 0, interlace @ (0 | 1)] = *content else {
            return Err(damaged("the header IHDR has an unknown form"));
        };
        let (columns, rows) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        if [columns, rows].iter().any(|&size| size == 0 || size > i32::MAX as u32) {
            return Err(damaged(format!(
                "the image has {rows} rows and {columns} columns, expected 1 to 2^31 - 1"
            )));
        }
        match (color, bits) {
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) | (2 | 4 | 6, 8 | 16) => {}
            _ => return Err(damaged(format!("color type {color} cannot have {bits} bits"))),
        }
        Ok(Self { columns, rows, bits, color, is_interlaced: interlace == 1 })
    }

    /// Values of a pixel in the file.
    fn samples(&self) -> usize {
        match self.color {
            2 => 3,
            4 => 2,
            6 => 4,
            _ => 1,
        }
    }

    /// Channels of the image.
    fn colors(&self) -> usize {
        if matches!(self.color, 0 | 4) { 1 } else { 3 }
    }

    fn row_bytes(&self, columns: u32) -> u64 {
        (u64::from(columns) * self.samples() as u64 * u64::from(self.bits)).div_ceil(8)
    }

    fn passes(&self) -> &'static [Pass] {
        if self.is_interlaced { &INTERLACED } else { &SINGLE }
    }

    /// Number of bytes before compression: rows, each preceded by its filter type.
    fn filtered_bytes(&self) -> u64 {
        let pass = |pass: &Pass| match pass.size(self) {
            [_, 0] => 0,
            [rows, columns] => u64::from(rows).saturating_mul(1 + self.row_bytes(columns)),
        };
        self.passes().iter().map(pass).fold(0, u64::saturating_add)
    }

    /// A value of a row, as stored in the file.
    fn value(&self, row: &[u8], index: usize) -> u16 {
        match self.bits {
            16 => row.get(2 * index..).and_then(<[u8]>::first_chunk).copied().map_or(0, u16::from_be_bytes),
            8 => row.get(index).copied().map_or(0, u16::from),
            bits => {
                let (bits, per_byte) = (usize::from(bits), usize::from(8 / bits));
                let byte = row.get(index / per_byte).copied().unwrap_or_default();
                u16::from(byte >> (8 - bits * (index % per_byte + 1))) & self.greatest()
            }
        }
    }

    fn greatest(&self) -> u16 {
        u16::MAX >> (16 - self.bits)
    }
}

/// A file whose chunks are complete, with correct checksums.
#[derive(Debug)]
struct Chunks<'a> {
    bytes: &'a [u8],
    header: Header,
    palette: Option<&'a [u8]>,
    transparency: Option<&'a [u8]>,
    exif: Option<&'a [u8]>,
    /// Bytes of the largest chunk that holds no pixels.
    largest: usize,
}

/// The chunks of a file, one after the other: kind, content, where the next starts.
fn chunk(bytes: &[u8], at: usize) -> Result<(&[u8; 4], &[u8], usize), ReadErrorKind> {
    let ends = || damaged(format!("the file ends after {} bytes, before its chunk IEND does", bytes.len()));
    let rest = bytes.get(at..).unwrap_or_default();
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(ends)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (kind, rest) = rest.split_first_chunk::<4>().ok_or_else(ends)?;
    let (content, rest) = rest.split_at_checked(length).ok_or_else(ends)?;
    let (expected, _) = rest.split_first_chunk::<4>().ok_or_else(ends)?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    checksum.update(content);
    let (found, expected) = (checksum.finalize(), u32::from_be_bytes(*expected));
    if found != expected {
        let kind = kind.escape_ascii();
        return Err(damaged(format!(
            "the checksum of chunk {kind} is {found:08x}, the file says {expected:08x}"
        )));
    }
    Ok((kind, content, at + 12 + length))
}

/// Bytes of the signature.
const SIGNATURE: usize = 8;

impl<'a> Chunks<'a> {
    fn check(bytes: &'a [u8]) -> Result<Self, ReadErrorKind> {
        let (kind, content, mut at) = chunk(bytes, SIGNATURE)?;
        if kind != b"IHDR" {
            return Err(damaged("the first chunk is not IHDR"));
        }
        let header = Header::read(content)?;
        let mut file = Self { bytes, header, palette: None, transparency: None, exif: None, largest: 0 };
        let (mut before, mut has_data) = (*kind, false);
        loop {
            let (kind, content, next) = chunk(bytes, at)?;
            if kind != b"IDAT" {
                file.largest = file.largest.max(content.len());
            }
            match kind {
                b"IEND" => break,
                b"IDAT" if has_data && before != *b"IDAT" => {
                    return Err(damaged("other chunks interrupt those of the pixels"));
                }
                b"IDAT" => has_data = true,
                b"PLTE" if file.palette.is_some() || has_data => {
                    return Err(damaged("the palette occurs twice, or after the pixels"));
                }
                b"PLTE" => file.palette = Some(content),
                b"tRNS" if file.transparency.is_some() || has_data => {
                    return Err(damaged("transparency occurs twice, or after the pixels"));
                }
                b"tRNS" => file.transparency = Some(content),
                // Some writers keep the identifier that JPEG needs.
                b"eXIf" => file.exif = file.exif.or(content.strip_prefix(b"Exif\0\0")).or(Some(content)),
                b"acTL" => {
                    let frames = content.first_chunk().copied().map_or(0, u32::from_be_bytes);
                    if frames > 1 {
                        return Err(ReadErrorKind::UnsupportedPixels {
                            found: format!("of {frames} frames"),
                            expected: "one image",
                        });
                    }
                }
                // An upper case letter means that no reader may skip the chunk.
                [b'A'..=b'Z', ..] => {
                    return Err(ReadErrorKind::UnsupportedPixels {
                        found: format!("changed by chunk {}", kind.escape_ascii()),
                        expected: "chunks of the standard",
                    });
                }
                _ => {}
            }
            (before, at) = (*kind, next);
        }
        if !has_data {
            return Err(damaged("there are no pixels: no chunk IDAT"));
        }
        let (_, _, end) = chunk(bytes, at)?;
        tell_trailing(FORMAT, bytes.len() - end);
        file.check_palette()?;
        Ok(file)
    }

    fn check_palette(&self) -> Result<(), ReadErrorKind> {
        let colors = match (self.header.color, self.palette) {
            (3, None) => return Err(damaged("the palette is missing")),
            (3, Some(palette)) => palette,
            // A suggestion for displays with few colors.
            _ => return Ok(()),
        };
        let most = 1 << self.header.bits;
        if colors.is_empty() || !colors.len().is_multiple_of(3) || colors.len() / 3 > most {
            let found = colors.len();
            return Err(damaged(format!(
                "the palette has {found} bytes, expected 3 for each of up to {most} colors"
            )));
        }
        Ok(())
    }

    /// The compressed bytes, chunk by chunk.
    fn data(&self) -> impl Iterator<Item = &'a [u8]> {
        let (bytes, mut at) = (self.bytes, SIGNATURE);
        std::iter::from_fn(move || {
            let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
            let kind = bytes.get(at + 4..at + 8)?;
            let content = bytes.get(at + 8..at + 8 + length)?;
            at += 12 + length;
            Some((kind, content))
        })
        .filter(|(kind, _)| *kind == b"IDAT")
        .map(|(_, content)| content)
    }

    /// Decompresses once, to check the number of bytes and their checksum.
    fn inflate(&self, need: u64) -> Result<(), ReadErrorKind> {
        let mut stream = Decompress::new(true);
        let mut buffer = vec![0; CHUNK];
        let (mut has_ended, mut padding) = (false, 0);
        for data in self.data() {
            let start = stream.total_in();
            while !has_ended {
                let input = data.get((stream.total_in() - start) as usize..).unwrap_or_default();
                let (read, written) = (stream.total_in(), stream.total_out());
                let status = stream
                    .decompress(input, &mut buffer, FlushDecompress::None)
                    .map_err(|error| damaged(format!("the compressed pixels are damaged: {error}")))?;
                if stream.total_out() > need {
                    return Err(damaged(format!("there are more than the {need} bytes of the rows")));
                }
                has_ended = status == Status::StreamEnd;
                if stream.total_in() == read && stream.total_out() == written {
                    break;
                }
            }
            // Some writers pad. The checksum shows that the rest contains no pixels.
            padding += data.len() as u64 - (stream.total_in() - start);
        }
        if has_ended {
            tell_trailing(FORMAT, usize::try_from(padding).unwrap_or(usize::MAX));
        }
        let have = stream.total_out();
        if have < need {
            return Err(damaged(format!("there are {have} bytes of rows, the header claims {need}")));
        }
        if !has_ended {
            return Err(damaged("the checksum of the compressed pixels is missing"));
        }
        Ok(())
    }

    /// Decodes row by row.
    fn fill(&self, bytes: &[u8], budget: &MemoryBudget, planes: &mut Planes) -> Result<(), ReadErrorKind> {
        let fail = |error| ReadErrorKind::Decode { format: FORMAT, source: Box::new(error) };
        let mut options = DecodeOptions::default();
        options.set_ignore_text_chunk(true);
        options.set_ignore_iccp_chunk(true);
        let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
        // Its memory was counted: rows here, and any chunk with a copy of it.
        budget.expect(2 * self.largest as u64)?;
        decoder.set_limits(Limits { bytes: usize::MAX });
        let mut reader = decoder.read_info().map_err(fail)?;
        // The row was counted with those of the decoder.
        let mut row = vec![0; self.header.row_bytes(self.header.columns) as usize];
        let mut opacity = Opacity::default();
        for pass in self.header.passes() {
            let [rows, columns] = pass.size(&self.header);
            for line in (0..rows).filter(|_| columns > 0) {
                if reader.read_row(&mut row).map_err(fail)?.is_none() {
                    return Err(damaged("the decoder found fewer rows than the header claims"));
                }
                let at = [pass.start[0] + line * pass.step[0], pass.start[1]].map(|place| place as usize);
                self.put(planes, &mut opacity, at, pass.step[1] as usize, &row, columns as usize)?;
            }
        }
        opacity.check()
    }

    /// Writes the pixels of a row into the planes.
    fn put(
        &self,
        planes: &mut Planes,
        opacity: &mut Opacity,
        at: [usize; 2],
        step: usize,
        row: &[u8],
        columns: usize,
    ) -> Result<(), ReadErrorKind> {
        let header = &self.header;
        if let (3, Some(palette)) = (header.color, self.palette) {
            let indices = || (0..columns).map(|column| usize::from(header.value(row, column)));
            let colors = palette.len() / 3;
            if let Some(index) = indices().find(|&index| index >= colors) {
                return Err(damaged(format!("a pixel has color {index}, the palette has {colors}")));
            }
            let opaque = |index: &usize| {
                self.transparency.and_then(|alpha| alpha.get(*index)).is_none_or(|&alpha| alpha == 255)
            };
            opacity.count(indices().filter(|index| !opaque(index)).count());
            for channel in 0..3 {
                let value = |index: usize| palette.get(3 * index + channel).copied().map_or(0.0, f32::from);
                planes.put(channel, at, step, indices().map(value));
            }
            return Ok(());
        }
        let (samples, colors) = (header.samples(), header.colors());
        if samples > colors {
            let values = (0..columns).map(|column| header.value(row, column * samples + colors));
            opacity.count(values.filter(|&value| value != header.greatest()).count());
        } else if let Some(key) = self.transparency {
            // One color is marked as transparent, with two bytes for each value regardless of its bits.
            let (key, rest) = key.as_chunks::<2>();
            if key.len() != colors || !rest.is_empty() {
                return Err(damaged("the transparent color has another number of channels than the image"));
            }
            let is_key = |column: &usize| {
                let values = (0..colors).map(|channel| header.value(row, column * samples + channel));
                values.zip(key).all(|(value, &key)| value == u16::from_be_bytes(key) & header.greatest())
            };
            opacity.count((0..columns).filter(is_key).count());
        }
        // Fewer than 8 bits are scaled to 0 to 255.
        let factor = if header.bits < 8 { 255 / header.greatest() } else { 1 };
        for channel in 0..colors {
            let value = |column: usize| f32::from(header.value(row, column * samples + channel) * factor);
            planes.put(channel, at, step, (0..columns).map(value));
        }
        Ok(())
    }
}
