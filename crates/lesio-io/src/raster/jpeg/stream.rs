//! Parses the segments of a JPEG stream and checks that all scans are complete.

use super::super::budget::MemoryBudget;
use super::super::fault::{damaged_jpeg as damaged, unsupported};
use super::super::picture::tell_trailing;
use super::bits::Table;
use super::entropy::{Component, ScanHeader, Tables};
use crate::error::ReadErrorKind;
use crate::source::reserve;

/// Largest number of scans of one image; progressive files have about ten.
pub(super) const MOST_SCANS: usize = 100;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const QUANTIZATION: u8 = 0xdb;
const LINES: u8 = 0xdc;
const RESTART_INTERVAL: u8 = 0xdd;
const HUFFMAN: u8 = 0xc4;

/// The meaning of three components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    /// Gray, or luminance and two differences of color.
    YCbCr,
    Rgb,
}

/// A stream whose codes were all checked.
#[derive(Debug)]
pub(super) struct Coded<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) colors: Colors,
    /// The EXIF block, without its identifier.
    pub(super) exif: Option<&'a [u8]>,
    /// The segments of the stream that contain pixels.
    pub(super) cleaned: Vec<u8>,
    components: Vec<Component>,
    is_progressive: bool,
}

/// The state while segments are read.
#[derive(Debug, Default)]
struct State {
    rows: usize,
    columns: usize,
    components: Vec<Component>,
    is_progressive: bool,
    has_frame: bool,
    quantization: [bool; 4],
    tables: Tables,
    restart: usize,
    scans: usize,
    has_jfif: bool,
    adobe: Option<u8>,
}

impl<'a> Coded<'a> {
    /// Checks `tables` (a stream without an image, or nothing) and then `bytes`.
    pub(super) fn check(
        bytes: &'a [u8],
        tables: &[u8],
        budget: &mut MemoryBudget,
    ) -> Result<Self, ReadErrorKind> {
        let mut state = State::default();
        let length = bytes.len() as u64 + tables.len() as u64;
        let mut cleaned = Vec::new();
        budget.take(length)?;
        reserve(&mut cleaned, length)?;
        cleaned.extend([0xff, START_OF_IMAGE]);
        if !tables.is_empty() {
            state.segments(tables, &mut cleaned, budget, &mut None)?;
            if state.has_frame {
                return Err(damaged("the separate tables contain an image"));
            }
        }
        let mut exif = None;
        let end = state.segments(bytes, &mut cleaned, budget, &mut exif)?;
        tell_trailing("JPEG", bytes.len() - end.min(bytes.len()));
        if !state.has_frame {
            return Err(damaged("there is no frame header"));
        }
        state.check_complete()?;
        cleaned.extend([0xff, END_OF_IMAGE]);
        Ok(Self {
            rows: state.rows,
            columns: state.columns,
            colors: state.colors(),
            exif,
            cleaned,
            is_progressive: state.is_progressive,
            components: state.components,
        })
    }

    pub(super) fn channels(&self) -> usize {
        self.components.len()
    }

    pub(super) fn pixels(&self) -> u64 {
        self.rows as u64 * self.columns as u64
    }

    /// Memory of the decoder in addition to the pixels: rows of blocks, and all coefficients of a progressive image.
    pub(super) fn working_memory(&self) -> u64 {
        let rows = 512 * (self.columns as u64 + 64);
        if !self.is_progressive {
            return rows;
        }
        let blocks: u64 = self.components.iter().map(Component::padded_blocks).sum();
        rows + blocks * 64 * size_of::<i16>() as u64
    }
}

impl State {
    /// Reads segments to the end marker, and returns the position of the end. Segments that contain pixels are copied.
    fn segments<'b>(
        &mut self,
        bytes: &'b [u8],
        cleaned: &mut Vec<u8>,
        budget: &mut MemoryBudget,
        exif: &mut Option<&'b [u8]>,
    ) -> Result<usize, ReadErrorKind> {
        let truncated = || ReadErrorKind::Truncated {
            what: "the JPEG stream, up to its end marker,",
            need: bytes.len() as u64 + 2,
            have: bytes.len() as u64,
        };
        if !bytes.starts_with(&[0xff, START_OF_IMAGE]) {
            return Err(damaged("there is no start marker"));
        }
        let mut at = 2;
        loop {
            let marker = match bytes.get(at..) {
                // Any number of fill bytes may precede a marker.
                Some([0xff, 0xff, ..]) => {
                    at += 1;
                    continue;
                }
                Some([0xff, marker, ..]) => *marker,
                Some([_, _, ..]) => return Err(damaged("found other bytes, expected a marker")),
                _ => return Err(truncated()),
            };
            let start = at;
            at += 2;
            match marker {
                END_OF_IMAGE => return Ok(at),
                0x01 => continue,
                START_OF_IMAGE | 0xd0..=0xd7 => {
                    return Err(damaged(format!("found marker {marker:02x}, expected a segment")));
                }
                _ => {}
            }
            let length = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length < 2 {
                return Err(damaged("a segment is shorter than its own length"));
            }
            let segment = bytes.get(at + 2..at.saturating_add(length)).ok_or_else(truncated)?;
            at += length;
            let is_kept = match marker {
                0xc0..=0xc2 => {
                    self.frame(marker, segment, bytes.len(), budget)?;
                    true
                }
                HUFFMAN => {
                    self.tables.read(segment)?;
                    true
                }
                QUANTIZATION => {
                    self.quantization(segment)?;
                    true
                }
                RESTART_INTERVAL => match segment {
                    [high, low] => {
                        self.restart = usize::from(u16::from_be_bytes([*high, *low]));
                        true
                    }
                    _ => return Err(damaged("the restart interval is not of two bytes")),
                },
                START_OF_SCAN => {
                    at = self.scan(segment, bytes, at)?;
                    true
                }
                0xc3 | 0xc7 | 0xcb | 0xcf => return Err(unsupported("coded without loss", BASELINE)),
                0xc5..=0xc6 | 0xcd..=0xce | 0xde | 0xdf => return Err(unsupported("hierarchical", BASELINE)),
                0xc9..=0xca | 0xcc => return Err(unsupported("arithmetically coded", BASELINE)),
                0xc8 => return Err(unsupported("of a JPEG extension", BASELINE)),
                LINES => return Err(unsupported("with the number of rows after the image (DNL)", BASELINE)),
                0xe0 => {
                    self.has_jfif |= segment.starts_with(b"JFIF\0");
                    false
                }
                0xe1 => {
                    *exif = exif.or(segment.strip_prefix(b"Exif\0\0"));
                    false
                }
                0xee => {
                    if let (true, Some(transform)) = (segment.starts_with(b"Adobe"), segment.get(11)) {
                        self.adobe = Some(*transform);
                    }
                    false
                }
                _ => false,
            };
            if is_kept {
                let copy = cleaned.len();
                cleaned.extend(bytes.get(start..at).unwrap_or_default());
                self.number(cleaned.get_mut(copy..).unwrap_or_default(), marker);
            }
        }
    }

    /// Renumbers the components of a copied header from 1, since the decoder takes some numbers for names of colors.
    fn number(&self, header: &mut [u8], marker: u8) {
        let components = match marker {
            0xc0..=0xc2 => header.get_mut(10..).map(|list| list.chunks_mut(3)),
            START_OF_SCAN => {
                let count = header.get(4).copied().map_or(0, usize::from);
                header.get_mut(5..5 + 2 * count).map(|list| list.chunks_mut(2))
            }
            _ => None,
        };
        for entry in components.into_iter().flatten() {
            let Some(id) = entry.first_mut() else { continue };
            let index = self.components.iter().position(|component| component.id == *id);
            *id = index.map_or(0, |index| index as u8 + 1);
        }
    }

    fn frame(
        &mut self,
        marker: u8,
        segment: &[u8],
        file: usize,
        budget: &mut MemoryBudget,
    ) -> Result<(), ReadErrorKind> {
        if self.has_frame {
            return Err(damaged("there are two frame headers"));
        }
        let [bits, a, b, c, d, count, components @ ..] = segment else {
            return Err(damaged("the frame header is too short"));
        };
        (self.rows, self.columns) =
            (usize::from(u16::from_be_bytes([*a, *b])), usize::from(u16::from_be_bytes([*c, *d])));
        if *bits != 8 {
            return Err(unsupported(format!("of {bits} bits"), "8 bits"));
        }
        if !matches!(count, 1 | 3) {
            return Err(unsupported(format!("of {count} components"), "gray, or red, green and blue"));
        }
        if self.rows == 0 || self.columns == 0 {
            return Err(damaged(format!("the frame has {} rows and {} columns", self.rows, self.columns)));
        }
        let (components, rest) = components.as_chunks::<3>();
        if components.len() != usize::from(*count) || !rest.is_empty() {
            return Err(damaged(format!("the frame header does not describe {count} components")));
        }
        let factors: Vec<[usize; 2]> = components
            .iter()
            .map(|[_, sampling, _]| [usize::from(sampling >> 4), usize::from(sampling & 15)])
            .collect();
        if factors.iter().flatten().any(|factor| !(1..=4).contains(factor)) {
            return Err(damaged(format!("sampling factors are {factors:?}, expected 1 to 4")));
        }
        // The samplings that the decoder handles correctly: all equal, or colors at an integer fraction of the
        // luminance.
        let is_known = matches!(
            factors.as_slice(),
            [_] | [[1, 1], [1, 1], [1, 1]] | [[2, 1 | 2] | [1, 2], [1, 1], [1, 1]]
        );
        if !is_known {
            let expected = "the same sampling of all components, or half of it for colors";
            return Err(unsupported(format!("sampled {factors:?} times"), expected));
        }
        let most = [0, 1].map(|axis| factors.iter().map(|factor| factor[axis]).max().unwrap_or(1));
        for ([id, _, quantization], factors) in components.iter().zip(factors) {
            if self.components.iter().any(|component| component.id == *id) {
                return Err(damaged(format!("two components have the number {id}")));
            }
            let size = [self.columns, self.rows];
            self.components.push(Component::new(*id, factors, most, size, usize::from(*quantization)));
        }
        self.is_progressive = marker == 0xc2;
        self.has_frame = true;
        // Each block takes at least one bit.
        let blocks: u64 = self.components.iter().map(|component| component.blocks()).sum();
        let (bytes, most) = (file as u64, (file as u64).saturating_mul(8 * 64));
        if blocks * 64 > most {
            return Err(ReadErrorKind::ImpossibleClaim { claimed: blocks * 64, bytes, most });
        }
        budget.expect(self.rows as u64 * self.columns as u64 * components.len() as u64 * 5)?;
        if self.is_progressive {
            for component in &mut self.components {
                component.remember(budget)?;
            }
        }
        Ok(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Result<(), ReadErrorKind> {
        while let [head, rest @ ..] = segment {
            let size = if head >> 4 == 0 { 64 } else { 128 };
            match (self.quantization.get_mut(usize::from(head & 15)), rest.split_at_checked(size)) {
                (Some(table), Some((values, rest))) if head >> 4 <= 1 => {
                    if values.chunks_exact(size / 64).any(|value| value.iter().all(|&byte| byte == 0)) {
                        return Err(damaged("a quantization table holds a zero"));
                    }
                    *table = true;
                    segment = rest;
                }
                _ => return Err(damaged("a quantization table is cut short")),
            }
        }
        Ok(())
    }

    /// Reads a scan's header and all its codes, and returns their end.
    fn scan(&mut self, header: &[u8], bytes: &[u8], at: usize) -> Result<usize, ReadErrorKind> {
        if !self.has_frame {
            return Err(damaged("a scan precedes the frame header"));
        }
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(unsupported(format!("of more than {MOST_SCANS} scans"), BASELINE));
        }
        let scan = ScanHeader::read(header, &self.components, self.is_progressive)?;
        // The decoder misplaces blocks of such scans.
        if !self.is_progressive && scan.components.len() < self.components.len() {
            return Err(unsupported("of one scan for each component", "one scan, or a progressive JPEG"));
        }
        for &(index, _, _) in &scan.components {
            let table = self.components.get(index).map_or(4, |component| component.quantization);
            if self.quantization.get(table) != Some(&true) {
                return Err(damaged(format!("quantization table {table} is missing")));
            }
        }
        scan.check_order(&mut self.components)?;
        scan.walk(&mut self.components, &self.tables, self.restart, bytes, at)
    }

    fn check_complete(&self) -> Result<(), ReadErrorKind> {
        for component in &self.components {
            if let Some(place) = component.missing() {
                return Err(damaged(format!(
                    "the scans are not complete: component {} lacks coefficient {place}",
                    component.id
                )));
            }
        }
        Ok(())
    }

    /// Determines the meaning of components by the rules of libjpeg.
    fn colors(&self) -> Colors {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        match (self.has_jfif, self.adobe) {
            (false, Some(0)) => Colors::Rgb,
            (false, None) if ids == *b"RGB" => Colors::Rgb,
            _ => Colors::YCbCr,
        }
    }
}

const BASELINE: &str = "baseline or progressive JPEG";

impl Tables {
    fn read(&mut self, mut segment: &[u8]) -> Result<(), ReadErrorKind> {
        while let [head, rest @ ..] = segment {
            let (counts, rest) =
                rest.split_first_chunk::<16>().ok_or_else(|| damaged("a Huffman table is cut short"))?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) =
                rest.split_at_checked(total).ok_or_else(|| damaged("a Huffman table is cut short"))?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            match tables.get_mut(usize::from(head & 15)) {
                Some(table) if head >> 4 <= 1 => *table = Some(Table::new(counts, symbols)?),
                _ => return Err(damaged("a Huffman table has an invalid number")),
            }
            segment = rest;
        }
        Ok(())
    }
}
