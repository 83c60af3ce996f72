//! Zip archives without compression, as PyTorch writes them.

use std::collections::BTreeMap;

/// The first bytes of the records of an archive: of a file, of an entry of the directory, and of the end.
const FILE: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
/// The lengths of these records, without names, extra fields and comments.
const FILE_LENGTH: usize = 30;
const ENTRY_LENGTH: usize = 46;
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;

/// An archive in memory.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
}

/// The description of a file in the directory.
#[derive(Debug)]
struct Entry {
    is_compressed: bool,
    /// 0 if PyTorch was told to write none.
    checksum: usize,
    length: usize,
    /// The place of the file's record.
    first: usize,
}

impl<'a> Archive<'a> {
    /// Reads the directory. The reason for an error is half a sentence about the archive.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let tail = bytes.len().saturating_sub(END_LENGTH + LONGEST_COMMENT);
        let mut ends = bytes[tail..].windows(END_LENGTH);
        let end = ends.rposition(|record| record.starts_with(END)).ok_or_else(|| {
            "it does not end as a zip archive does; PyTorch before version 1.6 wrote another format"
                .to_owned()
        })?;
        let directory = number(bytes, tail + end + 16, 4).and_then(|first| bytes.get(first..tail + end));
        let mut rest = directory.ok_or_else(|| "its directory lies outside of it".to_owned())?;
        let mut entries = BTreeMap::new();
        while rest.starts_with(ENTRY) {
            let (name, entry, next) = split(rest).ok_or_else(|| "its directory is cut off".to_owned())?;
            // No file of PyTorch's has another name.
            if let Ok(name) = std::str::from_utf8(name) {
                entries.insert(name, entry);
            }
            rest = next;
        }
        Ok(Self { bytes, entries })
    }

    /// The names of the files.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// The content of a file.
    pub(super) fn content(&self, name: &str) -> Result<&'a [u8], String> {
        let entry = self.entries.get(name).ok_or_else(|| format!("it holds no {name:?}"))?;
        if entry.is_compressed {
            return Err(format!("its {name:?} is compressed, which PyTorch never does"));
        }
        let record = self.bytes.get(entry.first..).filter(|record| record.starts_with(FILE));
        let content = record.and_then(|record| {
            // The record repeats the name, and has extra fields of its own.
            let skipped = FILE_LENGTH + number(record, 26, 2)? + number(record, 28, 2)?;
            record.get(skipped..)?.get(..entry.length)
        });
        let content = content.ok_or_else(|| format!("its {name:?} lies outside of it"))?;
        if entry.checksum != 0 && u32::try_from(entry.checksum) != Ok(crc32fast::hash(content)) {
            return Err(format!("the checksum of its {name:?} is wrong"));
        }
        Ok(content)
    }
}

/// The name and the description in the first entry of a directory, and the entries that follow.
fn split(directory: &[u8]) -> Option<(&[u8], Entry, &[u8])> {
    let at = |place, length| number(directory, place, length);
    let name = at(28, 2)?;
    let entry =
        Entry { is_compressed: at(10, 2)? != 0, checksum: at(16, 4)?, length: at(24, 4)?, first: at(42, 4)? };
    let next = ENTRY_LENGTH + name + at(30, 2)? + at(32, 2)?;
    Some((directory.get(ENTRY_LENGTH..)?.get(..name)?, entry, directory.get(next..)?))
}

/// A number of some bytes, the lowest first.
fn number(bytes: &[u8], place: usize, length: usize) -> Option<usize> {
    let own = bytes.get(place..)?.get(..length)?;
    Some(own.iter().rev().fold(0, |value, &byte| (value << 8) | usize::from(byte)))
}
