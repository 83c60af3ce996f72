//! The directory of a TIFF file, which EXIF uses, too: tags and their values.

use super::fault::damaged_tiff as damaged;
use crate::error::ReadErrorKind;

/// The order of bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// An unsigned number of up to eight bytes.
    pub(super) fn unsigned(self, bytes: &[u8]) -> u64 {
        let join = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }
}

/// The first directory of a file.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    pub(super) order: Order,
    entries: Vec<Entry<'a>>,
    /// The position of the next directory, 0 for none; `None` if the file ends before this field.
    pub(super) next: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    tag: u16,
    kind: u16,
    /// `None` if the value lies outside of the file.
    value: Option<&'a [u8]>,
}

/// The unsigned numbers of a tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers<'a> {
    bytes: &'a [u8],
    size: usize,
    order: Order,
}

impl Default for Numbers<'_> {
    /// No numbers.
    fn default() -> Self {
        Self { bytes: &[], size: 1, order: Order::Little }
    }
}

impl Numbers<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.bytes.chunks_exact(self.size).map(|number| self.order.unsigned(number))
    }

    pub(super) fn get(&self, index: usize) -> Option<u64> {
        let start = index.checked_mul(self.size)?;
        self.bytes.get(start..start.checked_add(self.size)?).map(|number| self.order.unsigned(number))
    }
}

impl<'a> Directory<'a> {
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, ReadErrorKind> {
        let (order, version) = match file {
            [b'I', b'I', version, 0, ..] => (Order::Little, version),
            [b'M', b'M', 0, version, ..] => (Order::Big, version),
            _ => return Err(damaged("the byte order is not stated")),
        };
        let number = |at: u64, size: usize| {
            slice(file, at, size as u64).map(|bytes| order.unsigned(bytes)).ok_or_else(|| {
                damaged(format!("the directory ends after {} bytes, with the file", file.len()))
            })
        };
        // BigTIFF has wider numbers: offset, count of entries, and entries.
        let is_big = *version == 43;
        if is_big && (number(4, 2)?, number(6, 2)?) != (8, 0) {
            return Err(damaged("the offsets are not of 8 bytes"));
        }
        let (offset_size, count_size, start) =
            if is_big { (8, 8, number(8, 8)?) } else { (4, 2, number(4, 4)?) };
        let count = number(start, count_size)?;
        // The most entries that TIFF allows, and more than there are tags.
        if count > u64::from(u16::MAX) {
            return Err(damaged(format!("the directory has {count} entries, expected at most {}", u16::MAX)));
        }
        let entry_size = 4 + 2 * offset_size as u64;
        let first = start.saturating_add(count_size as u64);
        let end = count.checked_mul(entry_size).and_then(|length| first.checked_add(length));
        let end = end.unwrap_or(u64::MAX);
        let next = number(end, offset_size).ok();
        let mut entries = Vec::new();
        for at in (first..end).step_by(4 + 2 * offset_size) {
            let (tag, kind, count) = (number(at, 2)?, number(at + 2, 2)?, number(at + 4, offset_size)?);
            let place = at + 4 + offset_size as u64;
            let value =
                size(kind as u16).and_then(|size| count.checked_mul(size as u64)).and_then(|length| {
                    if length <= offset_size as u64 {
                        slice(file, place, length)
                    } else {
                        slice(file, number(place, offset_size).ok()?, length)
                    }
                });
            entries.push(Entry { tag: tag as u16, kind: kind as u16, value });
        }
        Ok(Self { order, entries, next })
    }

    /// Whether a tag is present.
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag)
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Result<Option<&'a [u8]>, ReadErrorKind> {
        self.entry(tag).map(|entry| entry.map(|(_, bytes)| bytes))
    }

    /// The unsigned numbers of a tag.
    pub(super) fn numbers(&self, tag: u16) -> Result<Option<Numbers<'a>>, ReadErrorKind> {
        let Some((kind, bytes)) = self.entry(tag)? else { return Ok(None) };
        // BYTE, SHORT, LONG, IFD, LONG8 and IFD8 are unsigned.
        match (kind, size(kind)) {
            (1 | 3 | 4 | 13 | 16 | 18, Some(size)) => Ok(Some(Numbers { bytes, size, order: self.order })),
            _ => Err(damaged(format!("tag {tag} has type {kind}, expected unsigned numbers"))),
        }
    }

    /// The only number of a tag.
    pub(super) fn number(&self, tag: u16) -> Result<Option<u64>, ReadErrorKind> {
        let Some(numbers) = self.numbers(tag)? else { return Ok(None) };
        match (numbers.len(), numbers.get(0)) {
            (1, Some(number)) => Ok(Some(number)),
            (count, _) => Err(damaged(format!("tag {tag} has {count} values, expected one"))),
        }
    }

    fn entry(&self, tag: u16) -> Result<Option<(u16, &'a [u8])>, ReadErrorKind> {
        let mut entries = self.entries.iter().filter(|entry| entry.tag == tag);
        let Some(entry) = entries.next() else { return Ok(None) };
        // There is no rule which one is valid.
        if entries.next().is_some() {
            return Err(damaged(format!("tag {tag} stands twice")));
        }
        let value = entry.value.ok_or_else(|| {
            damaged(format!("the value of tag {tag} (of type {}) lies outside of the file", entry.kind))
        })?;
        Ok(Some((entry.kind, value)))
    }
}

/// `length` bytes from `start`, if the file has them.
pub(super) fn slice(file: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    file.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// The size in bytes of a value of a type.
fn size(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}
