//! What a DICOM file says of its series, read without its pixels.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::scan::{Head as Elements, scan_head};
use super::slice::{Attributes, syntax_of};
use crate::error::ReadErrorKind;
use crate::source::{open_regular, read_all};

/// What stands before the pixels of nearly every file.
const USUAL: u64 = 64 << 10;

/// The mark of a DICOM file, and where it stands.
const MARK: &[u8] = b"DICM";
const MARK_AT: usize = 128;

/// The element that a file with a directory of other files starts with, and no image has.
const DIRECTORY: Tag = tags::OFFSET_OF_THE_FIRST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY;

/// What a file is, as far as its start shows.
#[derive(Debug)]
pub(crate) enum Start {
    /// A DICOM file.
    Dicom(Head),
    /// A DICOM file that cannot be parsed, or ends before its image.
    Damaged {
        /// Its series; empty where the damage is before.
        series: String,
        fault: ReadErrorKind,
    },
    /// No DICOM file, as it has no mark.
    Other { length: u64, content: Unmarked },
}

/// The start of a file without DICOM's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// Zeros stand in the place of a DICOM file's start, or of all of it: a copy may have been cut, or written before the
    /// data came. An empty file is blank.
    Blank,
    /// The elements of a DICOM file without the preamble and the mark, as old archives wrote them.
    Elements,
    /// A document or picture of another format, whatever its name.
    Foreign,
    Other,
}

/// How documents, pictures, archives of several files, and texts in a markup start.
const FOREIGN: [&[u8]; 8] =
    [b"%PDF", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"PK\x03\x04", b"<", b"{", b"\xef\xbb\xbf<"];

/// What a file says of its series. Texts that are missing are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) patient: String,
    pub(crate) study: String,
    pub(crate) study_date: String,
    pub(crate) series: String,
    pub(crate) number: String,
    pub(crate) description: String,
    pub(crate) modality: String,
    /// Words separated by backslashes, as `ORIGINAL\PRIMARY\LOCALIZER`.
    pub(crate) image_type: String,
    /// Whether it says how many rows its pixels have.
    pub(crate) is_image: bool,
    /// Whether it says that it holds several slices.
    pub(crate) has_frames: bool,
}

impl Head {
    /// The fewest bytes of a DICOM file: up to the end of its mark.
    pub(crate) const SHORTEST: u64 = (MARK_AT + MARK.len()) as u64;

    /// Reads a file up to the size of its image.
    ///
    /// # Errors
    /// If it cannot be read at all: [`Start::Damaged`] is no error.
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Start, ReadErrorKind> {
        let (file, length) = open_regular(path)?;
        let start = start_of(&file)?;
        if start.get(MARK_AT..MARK_AT + MARK.len()) != Some(MARK) {
            return Ok(Start::Other { length, content: content_of(&start) });
        }
        let wanted = [
            DIRECTORY,
            tags::SPECIFIC_CHARACTER_SET,
            tags::IMAGE_TYPE,
            tags::STUDY_DATE,
            tags::MODALITY,
            tags::SERIES_DESCRIPTION,
            tags::PATIENT_ID,
            tags::STUDY_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::SERIES_NUMBER,
            tags::NUMBER_OF_FRAMES,
            tags::ROWS,
        ]
        .map(|tag| (tag.group(), tag.element()));
        let found = match scan_head(&start, &wanted) {
            // Only the start of it was read, and that was too little.
            Ok(Elements { is_whole: false, fault: None | Some(ReadErrorKind::Truncated { .. }), .. })
            | Err(ReadErrorKind::Truncated { .. })
                if length > start.len() as u64 =>
            {
                scan_head(&read_all(path, limit)?, &wanted)
            }
            found => found,
        };
        let damaged = |series, fault| Ok(Start::Damaged { series, fault });
        let found = match found {
            Ok(found) => found,
            Err(fault) => return damaged(String::new(), fault),
        };
        let read = InMemDicomObject::read_dataset_with_ts(found.bytes.as_slice(), &syntax_of(found.coding));
        let object = match read {
            Ok(object) => object,
            Err(source) => {
                let fault = ReadErrorKind::Decode { format: "DICOM", source: Box::new(source) };
                return damaged(String::new(), fault);
            }
        };
        let attributes = Attributes(&object);
        let text = |tag| attributes.text(tag).unwrap_or_default();
        let has = |tag: Tag| object.element_opt(tag).ok().flatten().is_some();
        let head = Self {
            patient: text(tags::PATIENT_ID),
            study: text(tags::STUDY_INSTANCE_UID),
            study_date: text(tags::STUDY_DATE),
            series: text(tags::SERIES_INSTANCE_UID),
            number: text(tags::SERIES_NUMBER),
            description: text(tags::SERIES_DESCRIPTION),
            modality: text(tags::MODALITY),
            image_type: text(tags::IMAGE_TYPE),
            has_frames: attributes.text(tags::NUMBER_OF_FRAMES).is_some_and(|frames| frames != "1"),
            is_image: has(tags::ROWS),
        };
        // What is no image has other elements after the place of its size.
        let is_cut = !found.is_whole && !head.is_image && !has(DIRECTORY);
        let cut = || ReadErrorKind::NotDicom { reason: "it ends before its image".to_owned() };
        match found.fault.or_else(|| is_cut.then(cut)) {
            Some(fault) => damaged(head.series, fault),
            None => Ok(Start::Dicom(head)),
        }
    }
}

/// What the start of a file without a mark is: blank means zeros, but for a mark that was begun.
fn content_of(start: &[u8]) -> Unmarked {
    let (preamble, mark) = start.split_at(start.len().min(MARK_AT));
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if is_zero(preamble) && (is_zero(mark) || MARK.starts_with(mark)) {
        return Unmarked::Blank;
    }
    if FOREIGN.iter().any(|mark| start.starts_with(mark)) {
        return Unmarked::Foreign;
    }
    // The group of the first element, the meta information or the identification, and an element of it below 256.
    match start {
        [2 | 8, 0, _, 0, ..] | [0, 2 | 8, 0, _, ..] if start.len() as u64 >= Head::SHORTEST => {
            Unmarked::Elements
        }
        _ => Unmarked::Other,
    }
}

fn start_of(file: &File) -> Result<Vec<u8>, ReadErrorKind> {
    let mut start = Vec::new();
    let read = file.take(USUAL).read_to_end(&mut start);
    read.map_err(|source| ReadErrorKind::Io { operation: "read the file", source })?;
    Ok(start)
}
