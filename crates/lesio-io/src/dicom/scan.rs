//! Finds the elements of a DICOM file without trusting its lengths.
//!
//! A parser that trusts a file can be made to allocate gigabytes for an element that does not exist, or to recurse
//! without limit. This scan compares every length with the size of the file, skips sequences without recursion, and
//! passes on only the few elements that are needed.

use crate::dicom::transfer_syntax::{Coding, coding_of, name_of};
use crate::error::ReadErrorKind;

/// Group and number of an element.
pub(crate) type Tag = (u16, u16);

/// Where the file meta information starts: after the preamble and `DICM`.
const META: usize = 132;
/// Largest depth of nested sequences; real files have fewer than ten levels.
const MOST_LEVELS: usize = 64;
/// The code of an undefined length.
const UNDEFINED: u32 = u32::MAX;
/// Longest value that is passed on; the needed values are far shorter.
const LONGEST: usize = 4096;

pub(crate) const PIXEL_DATA: Tag = (0x7fe0, 0x0010);
/// The sequence whose item holds a table of values.
const MODALITY_LUT: Tag = (0x0028, 0x3000);
const LUT_DESCRIPTOR: Tag = (0x0028, 0x3002);
const LUT_DATA: Tag = (0x0028, 0x3006);
/// Unsupported elements that change the meaning of the pixels or replace them, with their names.
const NOT_READ: [(Tag, &str, &str); 4] = [
    ((0x5200, 0x9229), "SharedFunctionalGroupsSequence", "an image of one frame, not an enhanced one"),
    ((0x5200, 0x9230), "PerFrameFunctionalGroupsSequence", "an image of one frame, not an enhanced one"),
    ((0x7fe0, 0x0008), "FloatPixelData", "whole numbers in PixelData"),
    ((0x7fe0, 0x0009), "DoubleFloatPixelData", "whole numbers in PixelData"),
];
/// Rows: what tells of the patient, the study and the series stands before.
const LAST_OF_HEAD: Tag = (0x0028, 0x0010);
/// A transfer syntax that compresses all but the file meta information.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
const ITEM: Tag = (0xfffe, 0xe000);
const END_OF_ITEM: Tag = (0xfffe, 0xe00d);
const END_OF_SEQUENCE: Tag = (0xfffe, 0xe0dd);

/// What was found in a file.
#[derive(Debug)]
pub(crate) struct ScannedFile {
    pub(crate) coding: Coding,
    /// The bytes of the requested elements, one after the other, as a data set.
    pub(crate) elements: Vec<u8>,
    /// The position of the pixels; `None` if there are none.
    pub(crate) pixels: Option<PixelData>,
    /// The table that stored values go through, if there is one.
    pub(crate) table: Option<RawTable>,
}

/// Where pixels stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelData {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Whether they are stored in words of 16 bits, regardless of the bits of a pixel.
    pub(crate) words: bool,
}

/// The item of a Modality LUT Sequence, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawTable {
    /// Number of entries, first value mapped, bits of an entry.
    pub(crate) descriptor: [u16; 3],
    /// Whether the file says that the first value mapped has a sign.
    pub(crate) signed: bool,
    pub(crate) data: Vec<u8>,
}

/// Types whose lengths have 16 bits: texts and numbers.
const SHORT: [[u8; 2]; 21] = [
    *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"PN",
    *b"SH", *b"SL", *b"SS", *b"ST", *b"TM", *b"UI", *b"UL", *b"US",
];
/// Types whose lengths have 32 bits: types that may be large or contain other elements.
const LONG: [[u8; 2]; 13] =
    [*b"OB", *b"OD", *b"OF", *b"OL", *b"OV", *b"OW", *b"SQ", *b"SV", *b"UC", *b"UN", *b"UR", *b"UT", *b"UV"];

/// The elements of a file up to the size of its image, and how they are written.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) coding: Coding,
    /// The bytes of the elements asked for, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// Whether elements beyond the size of the image were met: all that were asked for were seen.
    pub(crate) is_whole: bool,
    /// What is wrong with the element after the last one that was read.
    pub(crate) fault: Option<ReadErrorKind>,
}

/// Finds the elements of `wanted` tags at the start of a file, of which perhaps only the start is at hand. Compressed pixels
/// are no fault here. The elements before a fault are found, too; an error is one of the file meta information.
pub(crate) fn scan_head(bytes: &[u8], wanted: &[Tag]) -> Result<Head, ReadErrorKind> {
    let mut reader = Reader { bytes, at: META };
    let transfer_syntax = reader.meta()?;
    let compressed = || match transfer_syntax.as_str() {
        // Here, the elements are compressed too.
        DEFLATED => None,
        _ => Some(Coding { explicit: true, big: false }),
    };
    let coding = coding_of(&transfer_syntax).or_else(compressed).ok_or_else(|| {
        ReadErrorKind::UnsupportedTransferSyntax {
            name: name_of(&transfer_syntax),
            uid: transfer_syntax.clone(),
        }
    })?;
    let mut head = Head { coding, bytes: Vec::new(), is_whole: false, fault: None };
    let fault = reader.elements_of_head(wanted, &mut head).err();
    head.fault = fault;
    Ok(head)
}

/// Finds the elements of `wanted` tags and the pixels.
pub(crate) fn scan(bytes: &[u8], wanted: &[Tag]) -> Result<ScannedFile, ReadErrorKind> {
    if bytes.get(META - 4..META) != Some(b"DICM") {
        let reason = match bytes.get(META - 4..META) {
            Some(found) => format!("bytes 128 to 131 are \"{}\", expected DICM", found.escape_ascii()),
            None => format!("the file has {} bytes, expected 132 or more", bytes.len()),
        };
        return Err(ReadErrorKind::NotDicom { reason });
    }
    let mut reader = Reader { bytes, at: META };
    let transfer_syntax = reader.meta()?;
    let coding = coding_of(&transfer_syntax).ok_or_else(|| ReadErrorKind::UnsupportedTransferSyntax {
        name: name_of(&transfer_syntax),
        uid: transfer_syntax,
    })?;
    let mut scan = ScannedFile { coding, elements: Vec::new(), pixels: None, table: None };
    let mut seen = Vec::new();
    while reader.at < bytes.len() {
        let start = reader.at;
        let header = reader.header(coding)?;
        if let Some((_, attribute, expected)) = NOT_READ.into_iter().find(|(tag, ..)| *tag == header.tag) {
            return Err(ReadErrorKind::BadAttribute { attribute, found: "present".to_owned(), expected });
        }
        if header.tag == MODALITY_LUT {
            if seen.contains(&header.tag) {
                return Err(twice(header.tag));
            }
            seen.push(header.tag);
            scan.table = reader.table(&header, coding)?;
            continue;
        }
        if header.length == UNDEFINED {
            if header.tag == PIXEL_DATA {
                let reason = "its pixels are in compressed fragments, which its transfer syntax excludes";
                return Err(ReadErrorKind::NotDicom { reason: reason.to_owned() });
            }
            reader.skip_sequence(coding.explicit && header.vr != *b"UN", coding.big)?;
            continue;
        }
        let value = reader.at;
        reader.skip(header.length)?;
        if header.tag != PIXEL_DATA && !wanted.contains(&header.tag) {
            continue;
        }
        // The parser of these values would trust the lengths of nested elements.
        if header.tag != PIXEL_DATA && LONG.contains(&header.vr) {
            return Err(odd_type(header.tag, header.vr, "a text or a number"));
        }
        if seen.contains(&header.tag) {
            return Err(twice(header.tag));
        }
        seen.push(header.tag);
        if header.tag == PIXEL_DATA {
            // In a file without types, pixels are words.
            let words = header.vr == *b"OW" || !coding.explicit;
            scan.pixels = Some(PixelData { offset: value as u64, bytes: u64::from(header.length), words });
        } else if reader.at - value <= LONGEST {
            scan.elements.extend_from_slice(bytes.get(start..reader.at).unwrap_or_default());
        } else {
            let (group, number) = header.tag;
            let reason = format!(
                "element ({group:04x},{number:04x}) has {} bytes, expected at most {LONGEST}",
                reader.at - value
            );
            return Err(ReadErrorKind::NotDicom { reason });
        }
    }
    Ok(scan)
}

fn twice((group, number): Tag) -> ReadErrorKind {
    let reason = format!("element ({group:04x},{number:04x}) stands in it twice");
    ReadErrorKind::NotDicom { reason }
}

fn bad_table(found: String, expected: &'static str) -> ReadErrorKind {
    ReadErrorKind::BadAttribute { attribute: "ModalityLUTSequence", found, expected }
}

fn odd_type((group, number): Tag, vr: [u8; 2], expected: &str) -> ReadErrorKind {
    let found = vr.escape_ascii();
    let reason = format!("element ({group:04x},{number:04x}) has type \"{found}\", expected {expected}");
    ReadErrorKind::NotDicom { reason }
}

/// Tag, type and length of an element.
struct Header {
    tag: Tag,
    /// `\0\0` where types are not in the file.
    vr: [u8; 2],
    length: u32,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ReadErrorKind> {
        let found = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).copied();
        let found = found.ok_or_else(|| self.truncated(N as u64))?;
        self.at += N;
        Ok(found)
    }

    fn u16(&mut self, big: bool) -> Result<u16, ReadErrorKind> {
        let bytes = self.take()?;
        Ok(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&mut self, big: bool) -> Result<u32, ReadErrorKind> {
        let bytes = self.take()?;
        Ok(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn skip(&mut self, length: u32) -> Result<(), ReadErrorKind> {
        let length = length as usize;
        if length > self.bytes.len() - self.at {
            return Err(self.truncated(length as u64));
        }
        self.at += length;
        Ok(())
    }

    fn truncated(&self, more: u64) -> ReadErrorKind {
        let need = self.at as u64 + more;
        ReadErrorKind::Truncated { what: "a data element", need, have: self.bytes.len() as u64 }
    }

    /// Reads the elements up to the size of the image, and keeps the bytes of those of `wanted` tags.
    fn elements_of_head(&mut self, wanted: &[Tag], head: &mut Head) -> Result<(), ReadErrorKind> {
        let coding = head.coding;
        while self.at < self.bytes.len() {
            let start = self.at;
            let header = self.header(coding)?;
            if header.tag > LAST_OF_HEAD {
                head.is_whole = true;
                break;
            }
            if header.length == UNDEFINED {
                self.skip_sequence(coding.explicit && header.vr != *b"UN", coding.big)?;
                continue;
            }
            let value = self.at;
            self.skip(header.length)?;
            let is_short = self.at - value <= LONGEST && !LONG.contains(&header.vr);
            if is_short && wanted.contains(&header.tag) {
                head.bytes.extend_from_slice(self.bytes.get(start..self.at).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Reads an element up to its value.
    fn header(&mut self, coding: Coding) -> Result<Header, ReadErrorKind> {
        let tag = (self.u16(coding.big)?, self.u16(coding.big)?);
        // Items and their ends have no type in any coding.
        if !coding.explicit || tag.0 == ITEM.0 {
            return Ok(Header { tag, vr: [0; 2], length: self.u32(coding.big)? });
        }
        let vr: [u8; 2] = self.take()?;
        let long = LONG.contains(&vr);
        // Readers disagree about the size of the length field of an unknown type.
        if !long && !SHORT.contains(&vr) {
            return Err(odd_type(tag, vr, "one of DICOM's"));
        }
        let length = if long {
            self.take::<2>()?;
            self.u32(coding.big)?
        } else {
            u32::from(self.u16(coding.big)?)
        };
        Ok(Header { tag, vr, length })
    }

    /// Reads the transfer syntax from the file meta information, whose encoding is fixed.
    fn meta(&mut self) -> Result<String, ReadErrorKind> {
        let coding = Coding { explicit: true, big: false };
        let mut transfer_syntax = None;
        while self.bytes.get(self.at..self.at + 2) == Some(&[2, 0]) {
            let header = self.header(coding)?;
            let value = self.at;
            self.skip(header.length)?;
            if header.tag == TRANSFER_SYNTAX {
                let text = String::from_utf8_lossy(self.bytes.get(value..self.at).unwrap_or_default());
                transfer_syntax = Some(text.trim_end_matches(['\0', ' ']).chars().take(64).collect());
            }
        }
        transfer_syntax.ok_or_else(|| ReadErrorKind::NotDicom {
            reason: "its file meta information names no transfer syntax".to_owned(),
        })
    }

    /// Reads a Modality LUT Sequence whose header was read. A sequence without an item holds no table.
    fn table(&mut self, header: &Header, coding: Coding) -> Result<Option<RawTable>, ReadErrorKind> {
        if coding.explicit && header.vr != *b"SQ" && header.vr != *b"UN" {
            return Err(odd_type(header.tag, header.vr, "a sequence"));
        }
        // The content of an element of unknown type has no types.
        let coding = Coding { explicit: coding.explicit && header.vr != *b"UN", big: coding.big };
        let end = self.end(header.length)?;
        let mut table = None;
        while end.is_none_or(|end| self.at < end) {
            let item = self.header(coding)?;
            match item.tag {
                END_OF_SEQUENCE if end.is_none() => break,
                ITEM if table.is_none() => {
                    let item_end = self.end(item.length)?;
                    table = Some(self.table_item(item_end, coding)?);
                }
                ITEM => return Err(bad_table("of several items".to_owned(), "one")),
                (group, number) => {
                    let reason =
                        format!("a sequence holds ({group:04x},{number:04x}), expected an item or its end");
                    return Err(ReadErrorKind::NotDicom { reason });
                }
            }
        }
        if end.is_some_and(|end| self.at != end) {
            return Err(bad_table("longer than its length".to_owned(), "items that fill it"));
        }
        Ok(table)
    }

    fn table_item(&mut self, end: Option<usize>, coding: Coding) -> Result<RawTable, ReadErrorKind> {
        let (mut descriptor, mut data) = (None, None);
        while end.is_none_or(|end| self.at < end) {
            let header = self.header(coding)?;
            if header.tag == END_OF_ITEM && end.is_none() {
                break;
            }
            if header.length == UNDEFINED {
                self.skip_sequence(coding.explicit && header.vr != *b"UN", coding.big)?;
                continue;
            }
            let start = self.at;
            self.skip(header.length)?;
            let value = self.bytes.get(start..self.at).unwrap_or_default();
            match header.tag {
                LUT_DESCRIPTOR => descriptor = Some((value, header.vr == *b"SS")),
                LUT_DATA => data = Some(value.to_vec()),
                _ => {}
            }
        }
        if end.is_some_and(|end| self.at != end) {
            return Err(bad_table("an item longer than its length".to_owned(), "elements that fill it"));
        }
        let (Some((numbers, signed)), Some(data)) = (descriptor, data) else {
            return Err(bad_table("without LUTDescriptor or LUTData".to_owned(), "both"));
        };
        let &[a, b, c, d, e, f] = numbers else {
            return Err(bad_table(format!("described by {} bytes", numbers.len()), "three numbers of 2"));
        };
        let number = |bytes| if coding.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        Ok(RawTable { descriptor: [number([a, b]), number([c, d]), number([e, f])], signed, data })
    }

    /// The end of an element with a defined length, which must lie in the file; `None` for an undefined length.
    fn end(&self, length: u32) -> Result<Option<usize>, ReadErrorKind> {
        if length == UNDEFINED {
            return Ok(None);
        }
        if length as usize > self.bytes.len() - self.at {
            return Err(self.truncated(u64::from(length)));
        }
        Ok(Some(self.at + length as usize))
    }

    /// Skips a sequence of undefined length whose header was read.
    fn skip_sequence(&mut self, explicit: bool, big: bool) -> Result<(), ReadErrorKind> {
        /// The open sequences and items, and whether their content has types.
        enum Open {
            Sequence(bool),
            Item(bool),
        }
        let mut open = vec![Open::Sequence(explicit)];
        while let Some(last) = open.last() {
            if open.len() > 2 * MOST_LEVELS {
                let reason = format!("sequences are nested more than {MOST_LEVELS} deep");
                return Err(ReadErrorKind::NotDicom { reason });
            }
            let (explicit, in_item) = match *last {
                Open::Sequence(explicit) => (explicit, false),
                Open::Item(explicit) => (explicit, true),
            };
            let header = self.header(Coding { explicit, big })?;
            match (header.tag, in_item) {
                (END_OF_SEQUENCE, false) | (END_OF_ITEM, true) => drop(open.pop()),
                (ITEM, false) if header.length == UNDEFINED => open.push(Open::Item(explicit)),
                (ITEM, false) => self.skip(header.length)?,
                ((group, number), false) => {
                    let reason =
                        format!("a sequence holds ({group:04x},{number:04x}), expected an item or its end");
                    return Err(ReadErrorKind::NotDicom { reason });
                }
                // The content of a nested element of unknown type has no types.
                (_, true) if header.length == UNDEFINED => {
                    open.push(Open::Sequence(explicit && header.vr != *b"UN"));
                }
                (_, true) => self.skip(header.length)?,
            }
        }
        Ok(())
    }
}
