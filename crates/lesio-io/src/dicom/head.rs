//! What a DICOM file says of its series, read without its pixels.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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
    /// Reads a file up to the size of its image; `None` where it is no DICOM file.
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Self>, ReadErrorKind> {
        let (file, length) = open_regular(path)?;
        let start = start_of(&file)?;
        if start.get(MARK_AT..MARK_AT + MARK.len()) != Some(MARK) {
            return Ok(None);
        }
        let wanted = [
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
            Ok(Elements { is_whole: false, .. }) | Err(ReadErrorKind::Truncated { .. })
                if length > start.len() as u64 =>
            {
                scan_head(&read_all(path, limit)?, &wanted)?
            }
            found => found?,
        };
        let object = InMemDicomObject::read_dataset_with_ts(found.bytes.as_slice(), &syntax_of(found.coding))
            .map_err(|source| ReadErrorKind::Decode { format: "DICOM", source: Box::new(source) })?;
        let attributes = Attributes(&object);
        let text = |tag| attributes.text(tag).unwrap_or_default();
        Ok(Some(Self {
            patient: text(tags::PATIENT_ID),
            study: text(tags::STUDY_INSTANCE_UID),
            study_date: text(tags::STUDY_DATE),
            series: text(tags::SERIES_INSTANCE_UID),
            number: text(tags::SERIES_NUMBER),
            description: text(tags::SERIES_DESCRIPTION),
            modality: text(tags::MODALITY),
            image_type: text(tags::IMAGE_TYPE),
            has_frames: attributes.text(tags::NUMBER_OF_FRAMES).is_some_and(|frames| frames != "1"),
            is_image: object.element_opt(tags::ROWS).ok().flatten().is_some(),
        }))
    }
}

fn start_of(file: &File) -> Result<Vec<u8>, ReadErrorKind> {
    let mut start = Vec::new();
    let read = file.take(USUAL).read_to_end(&mut start);
    read.map_err(|source| ReadErrorKind::Io { operation: "read the file", source })?;
    Ok(start)
}
