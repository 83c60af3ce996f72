//! One file of a series: the attributes of its pixels and of their position.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntax, entries};

use crate::dicom::scan::{PixelData, RawTable, scan};
use crate::dicom::transfer_syntax::Coding;
use crate::error::ReadErrorKind;
use crate::source::read_all;

/// The attributes that are read from a file; all others are skipped.
const WANTED: [Tag; 25] = [
    tags::MODALITY,
    tags::PATIENT_ID,
    tags::ECHO_TIME,
    tags::SERIES_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
    tags::SLICE_THICKNESS,
    tags::SPACING_BETWEEN_SLICES,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
];

/// Tolerance for the length of a direction (1) and the product of two directions (0). They are decimal text of at most
/// 16 characters, and some writers keep only six digits.
const SQUARE: f64 = 1e-3;

/// How stored bits become numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    /// Where they start in the file.
    pub(crate) offset: u64,
    pub(crate) count: usize,
    /// Bytes of one.
    bytes: usize,
    length: usize,
    stored: u32,
    signed: bool,
    /// Positions of the bytes within a pixel, the least significant first.
    order: ByteOrder,
    slope: f64,
    intercept: f64,
    pub(crate) table: Option<Table>,
    /// The lowest and the highest stored value of padding, if there is padding to replace.
    padding: Option<[i64; 2]>,
}

/// How the bytes of pixels are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
    /// Two pixels of a byte each in a word of 16 bits whose high byte comes first.
    BytesInBigWords,
}

/// A table of values (Modality LUT Sequence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The stored value that the first entry stands for.
    first: i64,
    /// At least one.
    pub(crate) entries: Arc<[u16]>,
}

impl Table {
    /// Values below the first mapped value get the first entry, values above the last mapped value the last entry.
    fn value(&self, stored: i64) -> f64 {
        let last = self.entries.len().saturating_sub(1);
        let index = usize::try_from(stored - self.first).unwrap_or(0).min(last);
        self.entries.get(index).copied().map_or(0.0, f64::from)
    }

    fn new(raw: &RawTable, signed: bool, big: bool) -> Result<Self, ReadErrorKind> {
        let [count, first, bits] = raw.descriptor;
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        // The type should follow the sign of the pixels, but some writers ignore that.
        let first = if signed || raw.signed { i64::from(first.cast_signed()) } else { i64::from(first) };
        let bad = |found: String, expected| Err(bad("LUTDescriptor", found, expected));
        if bits != 8 && bits != 16 {
            return bad(format!("{bits} bits an entry"), "8 or 16");
        }
        let words = || {
            raw.data
                .as_chunks()
                .0
                .iter()
                .map(|&word| if big { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
        };
        // Some writers put entries of 8 bits into words of 16 bits; the length shows it.
        let entries: Arc<[u16]> = if raw.data.len() == 2 * count {
            words().collect()
        } else if bits == 8 && raw.data.len() == count.next_multiple_of(2) {
            words().flat_map(|word| [word & 0xff, word >> 8]).take(count).collect()
        } else {
            return bad(
                format!("{count} entries of {bits} bits and LUTData has {} bytes", raw.data.len()),
                "as many bytes as the entries need",
            );
        };
        if let Some(entry) = entries.iter().find(|&&entry| bits == 8 && entry > 0xff) {
            return bad(format!("8 bits an entry and one is {entry}"), "entries of at most 255");
        }
        Ok(Self { first, entries })
    }
}

/// A file of a series, without its pixels.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) path: PathBuf,
    pub(crate) series: String,
    pub(crate) frame: String,
    pub(crate) modality: String,
    pub(crate) patient: String,
    /// The echo time in milliseconds, as a text; empty except for magnetic resonance.
    pub(crate) echo_time: String,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Between the centers of rows, then of columns, in millimeters.
    pub(crate) spacing: [f64; 2],
    /// Along a row, then along a column, in the patient's coordinates (left, posterior, superior).
    pub(crate) directions: [[f64; 3]; 2],
    /// Center of the first pixel.
    pub(crate) position: [f64; 3],
    /// With how many decimals each coordinate of the position is written.
    pub(crate) decimals: [i32; 3],
    /// The distance to the next slice that the file states: used for a series of one slice.
    pub(crate) thickness: Option<f64>,
    /// The distance between slices that the file states, in millimeters; some writers give it a sign.
    pub(crate) between: Option<f64>,
    pub(crate) pixels: Pixels,
}

impl Slice {
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Self, ReadErrorKind> {
        let bytes = read_all(path, limit)?;
        let wanted: Vec<(u16, u16)> = WANTED.iter().map(|tag| (tag.group(), tag.element())).collect();
        let found = scan(&bytes, &wanted)?;
        let object =
            InMemDicomObject::read_dataset_with_ts(found.elements.as_slice(), &syntax_of(found.coding))
                .map_err(|source| ReadErrorKind::Decode { format: "DICOM", source: Box::new(source) })?;
        let attributes = Attributes(&object);
        let (rows, columns) =
            (attributes.count(tags::ROWS, "Rows")?, attributes.count(tags::COLUMNS, "Columns")?);
        let pixels =
            attributes.pixels(rows, columns, found.pixels, found.table.as_ref(), found.coding.big)?;
        let spacing: [f64; 2] = attributes.numbers(tags::PIXEL_SPACING, "PixelSpacing")?;
        if let Some(&size) = spacing.iter().find(|&&size| size <= 0.0) {
            return Err(bad("PixelSpacing", size, "numbers above 0"));
        }
        let between = attributes.optional_number(tags::SPACING_BETWEEN_SLICES, "SpacingBetweenSlices")?;
        let [a, b, c, d, e, f] =
            attributes.numbers(tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient")?;
        Ok(Self {
            path: path.to_owned(),
            series: attributes.text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            frame: attributes.text(tags::FRAME_OF_REFERENCE_UID).unwrap_or_default(),
            modality: attributes.text(tags::MODALITY).unwrap_or_default(),
            patient: attributes.text(tags::PATIENT_ID).unwrap_or_default(),
            echo_time: attributes.text(tags::ECHO_TIME).unwrap_or_default(),
            rows,
            columns,
            spacing,
            directions: directions([[a, b, c], [d, e, f]])?,
            position: attributes.numbers(tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient")?,
            decimals: attributes.decimals(tags::IMAGE_POSITION_PATIENT),
            between,
            thickness: between
                .or(attributes.optional_number(tags::SLICE_THICKNESS, "SliceThickness")?)
                .map(f64::abs)
                .filter(|&size| size > 0.0),
            pixels,
        })
    }

    /// The direction across the slice, of length 1.
    pub(crate) fn normal(&self) -> [f64; 3] {
        let [[a, b, c], [d, e, f]] = self.directions;
        [b * f - c * e, c * d - a * f, a * e - b * d]
    }
}

impl Pixels {
    /// Bytes to read from the file, so that no word is cut.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Appends the scaled values of whole pixels to `out`, including the unused byte of the last word; NaN for padding.
    pub(crate) fn decode(&self, bytes: &[u8], out: &mut Vec<f64>) {
        if self.order == ByteOrder::BytesInBigWords {
            let words = bytes.chunks(2);
            out.extend(words.flat_map(|word| word.iter().rev()).map(|&byte| self.value(u32::from(byte))));
            return;
        }
        out.extend(bytes.chunks_exact(self.bytes).map(|pixel| {
            let number = pixel.iter().enumerate().fold(0_u32, |number, (place, &byte)| {
                let place = if self.order == ByteOrder::Big { self.bytes - 1 - place } else { place };
                number | u32::from(byte) << (8 * place)
            });
            self.value(number)
        }));
    }

    /// The value of the bits of a pixel.
    fn value(&self, bits: u32) -> f64 {
        let shift = u32::BITS - self.stored;
        // Bits above the stored ones may hold overlays: shifting to the top and back removes them.
        let bits = bits << shift;
        let stored =
            if self.signed { i64::from(bits.cast_signed() >> shift) } else { i64::from(bits >> shift) };
        match self.padding {
            Some([low, high]) if (low..=high).contains(&stored) => f64::NAN,
            _ => self.scaled(stored),
        }
    }

    /// The value that a stored value stands for.
    fn scaled(&self, stored: i64) -> f64 {
        match &self.table {
            Some(table) => table.value(stored),
            // 32 bits at most.
            None => stored as f64 * self.slope + self.intercept,
        }
    }
}

/// Checks that the directions are orthonormal.
fn directions(found: [[f64; 3]; 2]) -> Result<[[f64; 3]; 2], ReadErrorKind> {
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let [along, down] = found;
    let lengths = [dot(along, along).sqrt(), dot(down, down).sqrt()];
    let square =
        lengths.iter().all(|length| (length - 1.0).abs() <= SQUARE) && dot(along, down).abs() <= SQUARE;
    if !square {
        let found = format!("{along:?} and {down:?}");
        let attribute = "ImageOrientationPatient";
        return Err(ReadErrorKind::BadAttribute {
            attribute,
            found,
            expected: "two orthogonal unit directions",
        });
    }
    Ok([along.map(|part| part / lengths[0]), down.map(|part| part / lengths[1])])
}

fn bad(attribute: &'static str, found: impl std::fmt::Display, expected: &'static str) -> ReadErrorKind {
    ReadErrorKind::BadAttribute { attribute, found: found.to_string(), expected }
}

/// What dicom-rs calls a coding.
pub(super) fn syntax_of(coding: Coding) -> TransferSyntax {
    match coding {
        Coding { big: true, .. } => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
        Coding { explicit: true, .. } => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        Coding { .. } => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
    }
}

/// The elements that a file has.
pub(super) struct Attributes<'a>(pub(super) &'a InMemDicomObject);

impl Attributes<'_> {
    /// A text; `None` where it is missing, empty or no text.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = self.0.element_opt(tag).ok()??.to_str().ok()?;
        Some(text.trim_end_matches(['\0', ' ']).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Exactly `N` finite numbers.
    fn numbers<const N: usize>(&self, tag: Tag, attribute: &'static str) -> Result<[f64; N], ReadErrorKind> {
        let expected = match N {
            1 => "a finite number",
            2 => "2 finite numbers",
            3 => "3 finite numbers",
            _ => "6 finite numbers",
        };
        let Some(element) = self.0.element_opt(tag).ok().flatten() else {
            return Err(bad(attribute, "missing", expected));
        };
        let found = || element.to_str().map_or_else(|_| "not readable".to_owned(), |text| text.into_owned());
        let numbers = element.to_multi_float64().map_err(|_| bad(attribute, found(), expected))?;
        <[f64; N]>::try_from(numbers)
            .ok()
            .filter(|numbers| numbers.iter().all(|number| number.is_finite()))
            .ok_or_else(|| bad(attribute, found(), expected))
    }

    /// An optional number; an empty value counts as missing.
    fn optional_number(&self, tag: Tag, attribute: &'static str) -> Result<Option<f64>, ReadErrorKind> {
        if self.text(tag).is_none() {
            return Ok(None);
        }
        let [number] = self.numbers(tag, attribute)?;
        Ok(Some(number))
    }

    /// With how many decimals the numbers of an element are written: 2 for `-1.50`, 0 for `3` and a number that is
    /// missing.
    fn decimals<const N: usize>(&self, tag: Tag) -> [i32; N] {
        let element = self.0.element_opt(tag).ok().flatten();
        let text = element.and_then(|element| element.to_str().ok()).unwrap_or_default();
        let mut numbers = text.split('\\');
        std::array::from_fn(|_| numbers.next().map_or(0, decimals))
    }

    /// The lowest and the highest stored value of padding. A limit without a value means nothing.
    ///
    /// The type of both should follow the sign of the pixels, but some writers ignore that: 63536 stands for -2000 in
    /// signed pixels of 16 bits. A value that the stored bits cannot hold is that of no pixel.
    fn padding(&self, allocated: u32, stored: u32, signed: bool) -> Result<Option<[i64; 2]>, ReadErrorKind> {
        let number = |tag, attribute| -> Result<Option<i64>, ReadErrorKind> {
            let Some(found) = self.optional_number(tag, attribute)? else { return Ok(None) };
            let shift = u32::BITS - allocated;
            let bits = (found as i64 as u32) << shift;
            let value =
                if signed { i64::from(bits.cast_signed() >> shift) } else { i64::from(bits >> shift) };
            let values = if signed { -(1_i64 << (stored - 1))..1 << (stored - 1) } else { 0..1 << stored };
            Ok(Some(value).filter(|value| values.contains(value)))
        };
        let value = number(tags::PIXEL_PADDING_VALUE, "PixelPaddingValue")?;
        let limit = number(tags::PIXEL_PADDING_RANGE_LIMIT, "PixelPaddingRangeLimit")?;
        Ok(value.map(|value| [value.min(limit.unwrap_or(value)), value.max(limit.unwrap_or(value))]))
    }

    /// A count of at least 1.
    fn count(&self, tag: Tag, attribute: &'static str) -> Result<usize, ReadErrorKind> {
        let [found] = self.numbers(tag, attribute)?;
        // Sixteen bits in the file.
        if (1.0..=65535.0).contains(&found) {
            Ok(found as usize)
        } else {
            Err(bad(attribute, found, "1 to 65535"))
        }
    }

    fn pixels(
        &self,
        rows: usize,
        columns: usize,
        place: Option<PixelData>,
        table: Option<&RawTable>,
        big: bool,
    ) -> Result<Pixels, ReadErrorKind> {
        let number = |tag, attribute, default| Ok(self.optional_number(tag, attribute)?.unwrap_or(default));
        let one = |tag, attribute| match number(tag, attribute, 1.0)? {
            1.0 => Ok(()),
            found => Err(bad(attribute, found, "1")),
        };
        one(tags::SAMPLES_PER_PIXEL, "SamplesPerPixel")?;
        one(tags::NUMBER_OF_FRAMES, "NumberOfFrames")?;
        match self.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() {
            Some("MONOCHROME2") => {}
            found => {
                return Err(bad("PhotometricInterpretation", found.unwrap_or("missing"), "MONOCHROME2"));
            }
        }
        let [allocated] = self.numbers(tags::BITS_ALLOCATED, "BitsAllocated")?;
        let bytes = match allocated {
            8.0 => 1,
            16.0 => 2,
            32.0 => 4,
            found => return Err(bad("BitsAllocated", found, "8, 16 or 32")),
        };
        let stored = number(tags::BITS_STORED, "BitsStored", allocated)?;
        if !(1.0..=allocated).contains(&stored) || stored.fract() != 0.0 {
            return Err(bad("BitsStored", stored, "1 to BitsAllocated"));
        }
        let high = number(tags::HIGH_BIT, "HighBit", stored - 1.0)?;
        if high != stored - 1.0 {
            return Err(bad("HighBit", high, "BitsStored less 1"));
        }
        let signed = match number(tags::PIXEL_REPRESENTATION, "PixelRepresentation", 0.0)? {
            0.0 => false,
            1.0 => true,
            found => return Err(bad("PixelRepresentation", found, "0 or 1")),
        };
        let slope = number(tags::RESCALE_SLOPE, "RescaleSlope", 1.0)?;
        let intercept = number(tags::RESCALE_INTERCEPT, "RescaleIntercept", 0.0)?;
        if slope == 0.0 {
            return Err(ReadErrorKind::BadScaling { slope, intercept });
        }
        // The standard forbids both together, and nothing in the file says which one is meant.
        if table.is_some() && (slope, intercept) != (1.0, 0.0) {
            return Err(bad(
                "ModalityLUTSequence",
                format!("present beside RescaleSlope {slope} and RescaleIntercept {intercept}"),
                "one of the two",
            ));
        }
        let table = table.map(|raw| Table::new(raw, signed, big)).transpose()?;
        let place = place.ok_or_else(|| bad("PixelData", "missing", "pixels in the file"))?;
        let (offset, have) = (place.offset, place.bytes);
        let count = rows * columns;
        let need = (count * bytes) as u64;
        // A value has an even number of bytes.
        if have != need.next_multiple_of(2) && have != need {
            return Err(ReadErrorKind::BadAttribute {
                attribute: "PixelData",
                found: format!("{have} bytes"),
                expected: "as many as Rows, Columns and BitsAllocated say",
            });
        }
        let order = match (big, bytes) {
            (true, 1) if place.words => ByteOrder::BytesInBigWords,
            (true, 2..) => ByteOrder::Big,
            _ => ByteOrder::Little,
        };
        let length = if order == ByteOrder::BytesInBigWords { have } else { need };
        let (allocated, stored, length) = (allocated as u32, stored as u32, length as usize);
        let padding = self.padding(allocated, stored, signed)?;
        let pixels = Pixels {
            offset,
            count,
            bytes,
            length,
            stored,
            signed,
            order,
            slope,
            intercept,
            table,
            padding: None,
        };
        // A padding of 0 stays: see the module `dicom`.
        let padding = padding.filter(|&[low, high]| low != high || pixels.scaled(low) != 0.0);
        Ok(Pixels { padding, ..pixels })
    }
}

/// With how many decimals a number is written; an exponent moves the point.
fn decimals(text: &str) -> i32 {
    let text = text.trim();
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let written = number.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
    written.saturating_sub(exponent.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_counted_in_every_notation() {
        for (text, expected) in [
            ("-39.38", 2),
            (" 3 ", 0),
            ("12.500", 3),
            ("1.5e1", 0),
            ("1.25E-2", 4),
            ("-7e-1", 1),
            ("x", 0),
            ("", 0),
        ] {
            assert_eq!(decimals(text), expected, "{text:?}");
        }
    }
}
