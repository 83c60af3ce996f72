//! JPEG files: gray or coloured, 8 bits.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use lesio_image::Image;

use super::Claim;
use super::png::{decode, undecodable};
use crate::error::ReadErrorKind;
use crate::source::MOST_PER_COMPRESSED_BYTE;

const FORMAT: &str = "JPEG";

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

pub(super) fn read(bytes: &[u8], limit: u64) -> Result<Image<f32>, ReadErrorKind> {
    // The decoder fills what is missing with gray, so what must be there is looked for first. A block
    // of 64 values takes a bit at least, and a colour of quarter resolution half as many blocks: 1024
    // bytes from one at most.
    let claim = frame(bytes)?;
    claim.check(bytes.len(), MOST_PER_COMPRESSED_BYTE, limit)?;
    if !matches!(claim.channels, 1 | 3) {
        return Err(ReadErrorKind::UnsupportedPixels {
            found: format!("of {} components", claim.channels),
            expected: "gray, or red, green and blue",
        });
    }
    let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|error| undecodable(FORMAT, error))?;
    if decoder.dimensions() != (claim.width, claim.height)
        || usize::from(decoder.color_type().channel_count()) != claim.channels
    {
        let source = "the frame that is decoded is not the first".into();
        return Err(ReadErrorKind::Decode { format: FORMAT, source });
    }
    decode(decoder, &claim, FORMAT)
}

/// Goes through the segments to the end-of-image marker, and tells what the frame header claims.
fn frame(bytes: &[u8]) -> Result<Claim, ReadErrorKind> {
    let truncated = || ReadErrorKind::Truncated {
        what: "the JPEG stream, up to its end marker,",
        need: bytes.len() as u64 + 2,
        have: bytes.len() as u64,
    };
    let damaged = |reason: &'static str| ReadErrorKind::Decode { format: FORMAT, source: reason.into() };
    let mut claim = None;
    let mut at = 2;
    loop {
        let marker = match bytes.get(at..) {
            Some([0xff, 0xff, ..]) => {
                // Any number of fill bytes may stand before a marker.
                at += 1;
                continue;
            }
            Some([0xff, marker, ..]) => *marker,
            Some([_, _, ..]) => return Err(damaged("bytes stand where a marker is expected")),
            _ => return Err(truncated()),
        };
        at += 2;
        match marker {
            END_OF_IMAGE => return claim.ok_or_else(|| damaged("there is no frame header")),
            // Markers that stand alone.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let segment = bytes.get(at..at.saturating_add(length)).ok_or_else(truncated)?;
        if length < 2 {
            return Err(damaged("a segment is shorter than its own length"));
        }
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if let (true, [_, _, bits, a, b, c, d, channels, ..]) = (is_frame, segment) {
            claim = claim.or(Some(Claim {
                width: u32::from(u16::from_be_bytes([*c, *d])),
                height: u32::from(u16::from_be_bytes([*a, *b])),
                channels: usize::from(*channels),
                bits: u64::from(*bits),
            }));
        }
        at += length;
        if marker == START_OF_SCAN {
            // Coded data: 0xff is followed by 0 or a restart marker until the next segment.
            let coded = bytes.get(at..).unwrap_or_default();
            at += coded
                .windows(2)
                .position(|pair| matches!(pair, [0xff, next] if !matches!(next, 0 | 0xd0..=0xd7)))
                .ok_or_else(truncated)?;
        }
    }
}
