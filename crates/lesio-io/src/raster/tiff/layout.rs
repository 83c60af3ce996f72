//! Reads the tags of a TIFF file. Each tag is respected or causes an error before anything is decoded.

use super::super::directory::{Directory, Numbers, Order, slice};
use super::super::fault::{damaged_tiff as damaged, unsupported};
use super::super::jpeg::Part;
use super::super::orientation::{ExifOrientation, ExifTurn, ORIENTATION};
use crate::error::ReadErrorKind;

// Numbers of tags in TIFF 6.0 and its supplements.
const NEW_SUBFILE_TYPE: u16 = 254;
const SUBFILE_TYPE: u16 = 255;
const WIDTH: u16 = 256;
const LENGTH: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const DESCRIPTION: u16 = 270;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES_PER_PIXEL: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTE_COUNTS: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;
const IMAGE_DEPTH: u16 = 32997;
const TILE_DEPTH: u16 = 32998;

/// The compression of a strip or tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// The meaning of one position in a row of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Value,
    Opacity,
}

/// The positions of the pixels and their encoding.
#[derive(Debug)]
pub(super) struct TiffLayout<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Values of a pixel, opacity included.
    pub(super) samples: usize,
    pub(super) last: Meaning,
    pub(super) bits: usize,
    pub(super) kind: Kind,
    /// 0 is white.
    pub(super) is_inverted: bool,
    pub(super) is_planar: bool,
    pub(super) order: Order,
    pub(super) compression: Compression,
    pub(super) predictor: u64,
    /// The first pixel is in the lowest bit of a byte.
    pub(super) is_reversed: bool,
    pub(super) jpeg_tables: Option<&'a [u8]>,
    /// The colors of JPEG parts are luminance and two color differences.
    is_ycbcr: bool,
    orientation: ExifTurn,
    /// Rows and columns of a strip or tile.
    chunk: [usize; 2],
    is_tiled: bool,
    offsets: Numbers<'a>,
    counts: Numbers<'a>,
}

/// The position of the first pixel of a strip or tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The channel, if each has separate chunks.
    pub(super) plane: Option<usize>,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> TiffLayout<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self, ReadErrorKind> {
        let directory = Directory::parse(file)?;
        check_pages(&directory)?;
        let size = |tag: u16| {
            let number = directory.number(tag)?.unwrap_or(0);
            usize::try_from(number)
                .ok()
                .filter(|_| (1..=u64::from(u32::MAX)).contains(&number))
                .ok_or_else(|| damaged(format!("the size in tag {tag} is {number}, expected 1 to 2^32 - 1")))
        };
        let (width, height) = (size(WIDTH)?, size(LENGTH)?);
        let samples = directory.number(SAMPLES_PER_PIXEL)?.unwrap_or(1);
        let samples =
            usize::try_from(samples).ok().filter(|samples| (1..=usize::from(u16::MAX)).contains(samples));
        let samples =
            samples.ok_or_else(|| damaged("the number of values per pixel (tag 277) is 0 or too large"))?;
        let compression = compression(&directory)?;
        let (bits, kind) = values(&directory, samples)?;
        let photometric = directory
            .number(PHOTOMETRIC)?
            .ok_or_else(|| damaged("the photometric interpretation (tag 262) is missing"))?;
        let (last, is_inverted) = meaning(&directory, photometric, samples, compression, bits, kind)?;
        let is_planar = match directory.number(PLANAR)?.unwrap_or(1) {
            1 => false,
            // With one value per pixel, both are the same.
            2 => samples > 1,
            other => return Err(unsupported(format!("of planar configuration {other}"), "1 or 2")),
        };
        let is_reversed = match directory.number(FILL_ORDER)?.unwrap_or(1) {
            1 => false,
            2 => true,
            other => return Err(unsupported(format!("of fill order {other}"), "1 or 2")),
        };
        let orientation = directory.number(ORIENTATION)?.unwrap_or(1);
        let orientation = ExifTurn::new(orientation)
            .ok_or_else(|| unsupported(format!("of orientation {orientation}"), "1 to 8"))?;
        let mut layout = Self {
            width,
            height,
            samples,
            last,
            bits,
            kind,
            is_inverted,
            is_planar,
            order: directory.order,
            compression,
            predictor: predictor(&directory, compression, bits, kind)?,
            is_reversed,
            jpeg_tables: directory.bytes(JPEG_TABLES)?,
            is_ycbcr: photometric == 6,
            orientation,
            chunk: [height, width],
            is_tiled: false,
            offsets: Numbers::default(),
            counts: Numbers::default(),
        };
        layout.find_chunks(&directory)?;
        if compression == Compression::Jpeg
            && (is_reversed || bits != 8 || kind != Kind::Unsigned || is_planar)
        {
            return Err(unsupported("of JPEG strips that are not plain", "8 bits, interleaved values"));
        }
        Ok(layout)
    }

    /// Reads the size of strips or tiles, and checks that their number fits the image.
    fn find_chunks(&mut self, directory: &Directory<'a>) -> Result<(), ReadErrorKind> {
        self.is_tiled = directory.has(TILE_OFFSETS) || directory.has(TILE_WIDTH);
        if self.is_tiled && directory.has(STRIP_OFFSETS) {
            return Err(damaged("there are both strips and tiles"));
        }
        let (offsets, counts) = if self.is_tiled {
            let side = |tag| {
                let found = directory.number(tag)?.unwrap_or(0);
                // A tile may extend past the image, but by less than a tile.
                usize::try_from(found)
                    .ok()
                    .filter(|_| (1..=1 << 20).contains(&found))
                    .ok_or_else(|| damaged(format!("the size of tiles in tag {tag} is {found}")))
            };
            self.chunk = [side(TILE_LENGTH)?, side(TILE_WIDTH)?];
            (TILE_OFFSETS, TILE_BYTE_COUNTS)
        } else {
            let rows = directory.number(ROWS_PER_STRIP)?.unwrap_or(u64::from(u32::MAX));
            let rows = usize::try_from(rows).unwrap_or(usize::MAX).min(self.height);
            if rows == 0 {
                return Err(damaged("a strip has no rows"));
            }
            self.chunk = [rows, self.width];
            (STRIP_OFFSETS, STRIP_BYTE_COUNTS)
        };
        let need = |tag| directory.numbers(tag)?.ok_or_else(|| damaged(format!("tag {tag} is missing")));
        self.offsets = need(offsets)?;
        self.counts = need(counts)?;
        let planes = if self.is_planar { self.samples } else { 1 };
        let chunks = (self.down() as u64).saturating_mul(self.across() as u64).saturating_mul(planes as u64);
        for (tag, found) in [(offsets, self.offsets.len()), (counts, self.counts.len())] {
            if found as u64 != chunks {
                return Err(damaged(format!("tag {tag} has {found} values, the image needs {chunks}")));
            }
        }
        Ok(())
    }

    /// Compares the size of all chunks with the length of the file.
    pub(super) fn check_claim(&self, file: usize) -> Result<(), ReadErrorKind> {
        // LZW reaches 1400 to 1 on zeros; packed bits 128 bytes from two. JPEG has its own check.
        let most_per_byte = match self.compression {
            Compression::None => 1,
            Compression::PackBits => 64,
            Compression::Deflate => crate::source::MOST_PER_COMPRESSED_BYTE,
            Compression::Lzw => 1536,
            Compression::Jpeg => 4096,
        };
        let (bytes, last) = (file as u64, self.height % self.chunk[0].max(1));
        let rows = if self.is_tiled || last == 0 {
            (self.down() as u64).saturating_mul(self.chunk[0] as u64)
        } else {
            self.height as u64
        };
        let planes = if self.is_planar { self.samples as u64 } else { 1 };
        let claimed = rows.saturating_mul(self.across() as u64 * planes).saturating_mul(self.row_bytes());
        let most = bytes.saturating_mul(most_per_byte);
        if claimed > most {
            return Err(ReadErrorKind::ImpossibleClaim { claimed, bytes, most });
        }
        Ok(())
    }

    /// Channels of the image, without opacity.
    pub(super) fn colors(&self) -> usize {
        if self.last == Meaning::Opacity { self.samples - 1 } else { self.samples }
    }

    pub(super) fn orientation(&self, exif: ExifOrientation) -> ExifTurn {
        match exif {
            ExifOrientation::Apply => self.orientation,
            ExifOrientation::Ignore => ExifTurn::STORED,
        }
    }

    /// Values of a pixel within a chunk.
    pub(super) fn samples_together(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Bytes of a chunk's row; each row starts with a new byte.
    pub(super) fn row_bytes(&self) -> u64 {
        (self.chunk[1] as u64)
            .saturating_mul(self.samples_together() as u64)
            .saturating_mul(self.bits as u64)
            .div_ceil(8)
    }

    /// Bytes of a whole chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.row_bytes().saturating_mul(self.chunk[0] as u64)
    }

    /// Size in the file of the largest chunk.
    pub(super) fn most_stored(&self) -> u64 {
        self.counts.iter().max().unwrap_or(0)
    }

    /// Whether the chunks are encoded, so that their bytes differ from those of the values.
    pub(super) fn changes_bytes(&self) -> bool {
        self.compression != Compression::Jpeg && (self.compression != Compression::None || self.is_reversed)
    }

    /// Rows that a chunk must contain: all rows for a tile, the remaining rows for the last strip.
    pub(super) fn rows_in_chunk(&self, row: usize) -> usize {
        if self.is_tiled { self.chunk[0] } else { self.shown_rows(row) }
    }

    /// Rows of a chunk that are in the image.
    pub(super) fn shown_rows(&self, row: usize) -> usize {
        self.chunk[0].min(self.height.saturating_sub(row))
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.chunk[1])
    }

    fn down(&self) -> usize {
        self.height.div_ceil(self.chunk[0])
    }

    /// The positions of all chunks, in the order of the file's lists.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Place> {
        let (across, down, chunk) = (self.across(), self.down(), self.chunk);
        let is_planar = self.is_planar;
        (0..if is_planar { self.samples } else { 1 }).flat_map(move |plane| {
            (0..down).flat_map(move |row| {
                (0..across).map(move |column| Place {
                    plane: is_planar.then_some(plane),
                    row: row * chunk[0],
                    column: column * chunk[1],
                })
            })
        })
    }

    /// The bytes of a chunk as stored in the file.
    pub(super) fn stored(&self, file: &'a [u8], index: usize) -> Result<&'a [u8], ReadErrorKind> {
        let (offset, count) = self
            .offsets
            .get(index)
            .zip(self.counts.get(index))
            .ok_or_else(|| damaged(format!("strip or tile {index} has no position")))?;
        slice(file, offset, count).ok_or_else(|| {
            damaged(format!(
                "strip or tile {index} has {count} bytes from {offset} on, the file ends after {}",
                file.len()
            ))
        })
    }

    /// Requirements for a JPEG strip or tile.
    pub(super) fn part(&self, rows: usize) -> Part {
        Part { rows, columns: self.chunk[1], channels: self.samples, is_ycbcr: self.is_ycbcr }
    }
}

/// Returns an error for files that are not one whole image: several pages, thumbnails, masks, stacks.
fn check_pages(directory: &Directory) -> Result<(), ReadErrorKind> {
    match directory.next {
        Some(0) => {}
        Some(_) => return Err(unsupported("of several pages", "one page")),
        None => return Err(damaged("the file ends within its directory")),
    }
    // Bit 0: a smaller version of another image; bit 2: a mask of another image.
    let kind = directory.number(NEW_SUBFILE_TYPE)?.unwrap_or(0);
    if kind & 0b101 != 0 || !matches!(directory.number(SUBFILE_TYPE)?.unwrap_or(1), 1 | 3) {
        return Err(unsupported("a thumbnail or mask of another image", "the image itself"));
    }
    for tag in [IMAGE_DEPTH, TILE_DEPTH] {
        let depth = directory.number(tag)?.unwrap_or(1);
        if depth != 1 {
            return Err(unsupported(format!("of {depth} layers"), "one layer"));
        }
    }
    // ImageJ describes a stack in the text of the only page.
    let text = directory.bytes(DESCRIPTION)?.unwrap_or_default();
    if text.starts_with(b"ImageJ=") {
        let text = String::from_utf8_lossy(text);
        let count = text.lines().find_map(|line| line.strip_prefix("images=")?.trim().parse::<u64>().ok());
        if let Some(count @ 2..) = count {
            return Err(unsupported(format!("of {count} pages, by ImageJ's description"), "one page"));
        }
    }
    Ok(())
}

fn compression(directory: &Directory) -> Result<Compression, ReadErrorKind> {
    const EXPECTED: &str = "none, LZW, deflate, packed bits or JPEG";
    let name = match directory.number(COMPRESSION)?.unwrap_or(1) {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        2..=4 => "CCITT fax".to_owned(),
        6 => "JPEG in its old form".to_owned(),
        34925 => "LZMA".to_owned(),
        50000 | 34926 => "Zstandard".to_owned(),
        33003 | 33005 | 34712 => "JPEG 2000".to_owned(),
        50001 | 34927 => "WebP".to_owned(),
        34887 => "LERC".to_owned(),
        other => format!("number {other}"),
    };
    Err(unsupported(format!("compressed by {name}"), EXPECTED))
}

/// Bits and kind of a value, the same for all values of a pixel.
fn values(directory: &Directory, samples: usize) -> Result<(usize, Kind), ReadErrorKind> {
    let same = |tag: u16, default: u64| {
        let Some(numbers) = directory.numbers(tag)? else { return Ok(default) };
        let first = numbers.get(0).unwrap_or(default);
        // One value may apply to all.
        if numbers.len() != samples && numbers.len() != 1 || numbers.iter().any(|number| number != first) {
            let found: Vec<u64> = numbers.iter().take(8).collect();
            return Err(unsupported(
                format!("of tag {tag} {found:?} for {samples} values"),
                "the same for every value of a pixel",
            ));
        }
        Ok(first)
    };
    let bits = same(BITS_PER_SAMPLE, 1)?;
    let kind = match same(SAMPLE_FORMAT, 1)? {
        1 => Kind::Unsigned,
        2 => Kind::Signed,
        3 => Kind::Float,
        4 => return Err(unsupported("of an undefined format", "integers or floats")),
        5 | 6 => return Err(unsupported("complex numbers", "integers or floats")),
        other => return Err(unsupported(format!("of sample format {other}"), "1, 2 or 3")),
    };
    match (kind, bits) {
        (Kind::Unsigned, 1..=32 | 64) | (Kind::Signed, 8 | 16 | 32 | 64) | (Kind::Float, 16 | 32 | 64) => {
            Ok((bits as usize, kind))
        }
        _ => Err(unsupported(
            format!("{kind:?} of {bits} bits"),
            "unsigned of 1 to 32 or 64 bits, signed of 8, 16, 32 or 64, floats of 16, 32 or 64",
        )),
    }
}

/// The meaning of the last value of a pixel, and whether 0 is white.
fn meaning(
    directory: &Directory,
    photometric: u64,
    samples: usize,
    compression: Compression,
    bits: usize,
    kind: Kind,
) -> Result<(Meaning, bool), ReadErrorKind> {
    let expected = "gray, or red, green and blue";
    let colors = match photometric {
        0 | 1 => 1,
        2 => 3,
        // Only the JPEG reader converts color differences to colors.
        6 if compression == Compression::Jpeg => 3,
        3 => return Err(unsupported("of a palette", expected)),
        4 => return Err(unsupported("a transparency mask", expected)),
        5 => return Err(unsupported("of inks (CMYK)", expected)),
        6 => return Err(unsupported("luminance and color differences (YCbCr)", expected)),
        8..=10 => return Err(unsupported("L*a*b* colors", expected)),
        32803 => return Err(unsupported("of a color filter array", expected)),
        other => return Err(unsupported(format!("of photometric interpretation {other}"), expected)),
    };
    if samples < colors {
        return Err(damaged(format!("a pixel has {samples} values, its colors need {colors}")));
    }
    let is_inverted = photometric == 0;
    if is_inverted && (kind != Kind::Unsigned || bits > 16 || samples > 1) {
        return Err(unsupported(
            format!("{kind:?} of {bits} bits with 0 for white"),
            "one unsigned value of at most 16 bits",
        ));
    }
    let extra = directory.numbers(EXTRA_SAMPLES)?;
    let extra: Vec<u64> = extra.iter().flat_map(|numbers| numbers.iter().take(8)).collect();
    if !extra.is_empty() && extra.len() != (samples - colors).min(8) {
        return Err(damaged(format!(
            "tag {EXTRA_SAMPLES} has {} values, expected {}",
            extra.len(),
            samples - colors
        )));
    }
    let last = match (samples - colors, extra.as_slice()) {
        (0, _) => Meaning::Value,
        (1, [1 | 2]) => Meaning::Opacity,
        // The meaning of a fourth value must be stated. If it is not, it is opacity or unused, and opaque in both
        // cases.
        (1, []) if colors == 3 => Meaning::Opacity,
        (_, extra) if colors == 1 && extra.iter().all(|&extra| extra == 0) => Meaning::Value,
        _ => {
            let found = format!("{colors} colors and {} other values {extra:?}", samples - colors);
            return Err(unsupported(found, "no values beside the colors, or opacity"));
        }
    };
    if last == Meaning::Opacity && (kind != Kind::Unsigned || !matches!(bits, 8 | 16)) {
        return Err(unsupported(format!("{kind:?} of {bits} bits with opacity"), "8 or 16 bits"));
    }
    Ok((last, is_inverted))
}

fn predictor(
    directory: &Directory,
    compression: Compression,
    bits: usize,
    kind: Kind,
) -> Result<u64, ReadErrorKind> {
    let predictor = directory.number(PREDICTOR)?.unwrap_or(1);
    let is_packed = matches!(compression, Compression::Lzw | Compression::Deflate);
    match (predictor, kind) {
        (1, _) => Ok(1),
        // Readers disagree whether it applies without compression.
        (2 | 3, _) if !is_packed => {
            Err(unsupported(format!("of predictor {predictor} with {compression:?}"), "LZW or deflate"))
        }
        (2, _) if matches!(bits, 8 | 16 | 32 | 64) => Ok(2),
        (3, Kind::Float) => Ok(3),
        _ => Err(unsupported(
            format!("of predictor {predictor} for {kind:?} of {bits} bits"),
            "1, 2 for 8, 16, 32 or 64 bits, or 3 for floats",
        )),
    }
}
