//! PNG and TIFF files made byte by byte, without the code under test.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// A chunk of a PNG with its checksum.
pub(crate) fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let body = [&kind[..], content].concat();
    [&(content.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

pub(crate) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(crate) fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The content of `IHDR`.
pub(crate) fn header(columns: u32, rows: u32, bits: u8, color: u8, interlace: u8) -> Vec<u8> {
    [&columns.to_be_bytes()[..], &rows.to_be_bytes(), &[bits, color, 0, 0, interlace]].concat()
}

/// A PNG of this header and compressed data, with these chunks before the data.
pub(crate) fn png(header: &[u8], before: &[u8], data: &[u8]) -> Vec<u8> {
    [SIGNATURE, &chunk(b"IHDR", header), before, &chunk(b"IDAT", data), &chunk(b"IEND", &[])].concat()
}

/// An entry of a TIFF file: tag, type, value.
pub(crate) type Entry = (u16, u16, u32);

/// A TIFF file of 16-bit words, in which all entries have one value.
pub(crate) fn tiff(data: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut file = b"II*\0".to_vec();
    file.extend((8 + data.len() as u32).to_le_bytes());
    file.extend(data);
    file.extend((entries.len() as u16).to_le_bytes());
    for &(tag, kind, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend([1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

/// The tags of a gray image of one strip, with some of them changed, added, or left out (type 0).
pub(crate) fn tags(size: [u32; 2], bits: u32, count: usize, changes: &[Entry]) -> Vec<Entry> {
    let mut tags = vec![
        (256, 4, size[1]),
        (257, 4, size[0]),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, size[0]),
        (279, 4, count as u32),
    ];
    for &change in changes {
        tags.retain(|tag| tag.0 != change.0);
        if change.1 > 0 {
            tags.push(change);
        }
    }
    tags.sort_unstable();
    tags
}
