//! Unpacks a strip or tile: bit order, compression, predictor.

use flate2::{Decompress, FlushDecompress, Status};
use weezl::LzwStatus;

use super::super::budget::MemoryBudget;
use super::super::directory::Order;
use super::super::fault::{damaged_tiff as damaged, unsupported};
use super::layout::{Compression, TiffLayout};
use crate::error::ReadErrorKind;

/// Memory that is reused for every chunk.
#[derive(Debug)]
pub(super) struct Scratch {
    /// A chunk as stored in the file, with its bits reversed.
    reversed: Vec<u8>,
    unpacked: Vec<u8>,
    row: Vec<u8>,
}

impl Scratch {
    pub(super) fn new(layout: &TiffLayout, budget: &mut MemoryBudget) -> Result<Self, ReadErrorKind> {
        let is_reversed = layout.is_reversed && layout.compression != Compression::None;
        Ok(Self {
            reversed: budget.zeros(if is_reversed { layout.most_stored() } else { 0 })?,
            unpacked: budget.zeros(if layout.changes_bytes() { layout.chunk_bytes() } else { 0 })?,
            row: budget.zeros(if layout.predictor == 3 { layout.row_bytes() } else { 0 })?,
        })
    }
}

/// The rows of a chunk as plain values.
pub(super) fn unpack<'a>(
    layout: &TiffLayout,
    stored: &'a [u8],
    rows: usize,
    scratch: &'a mut Scratch,
) -> Result<&'a [u8], ReadErrorKind> {
    let Scratch { reversed, unpacked, row } = scratch;
    let need = layout.row_bytes() as usize * rows;
    let short = |have: usize| damaged(format!("a strip or tile holds {have} bytes, its pixels need {need}"));
    if !layout.changes_bytes() {
        return stored.get(..need).ok_or_else(|| short(stored.len()));
    }
    let input = if layout.is_reversed && layout.compression != Compression::None {
        for (to, from) in reversed.iter_mut().zip(stored) {
            *to = from.reverse_bits();
        }
        reversed.get(..stored.len()).unwrap_or_default()
    } else {
        stored
    };
    let most = unpacked.len();
    let output = unpacked.get_mut(..need).ok_or_else(|| short(0))?;
    let have = match layout.compression {
        Compression::None | Compression::Jpeg => {
            // Only the bit order differs.
            for (to, from) in output.iter_mut().zip(input) {
                *to = from.reverse_bits();
            }
            input.len().min(need)
        }
        Compression::PackBits => packed_bits(input, output),
        Compression::Lzw => lzw(input, output)?,
        Compression::Deflate => deflate(input, output, most)?,
    };
    if have < need {
        return Err(short(have));
    }
    if layout.predictor > 1 {
        for values in output.chunks_exact_mut(layout.row_bytes() as usize) {
            if layout.predictor == 2 {
                add_differences(values, layout.bits / 8, layout.samples_together(), layout.order);
            } else {
                join_bytes(values, row, layout.bits / 8, layout.samples_together(), layout.order);
            }
        }
    }
    Ok(output)
}

/// Unpacks runs of bytes and copies (Apple's PackBits), and returns the number of bytes written.
fn packed_bits(input: &[u8], output: &mut [u8]) -> usize {
    let (mut at, mut filled) = (0, 0);
    while filled < output.len() {
        let Some(&code) = input.get(at) else { break };
        let (from, count) = match code {
            0..=127 => (input.get(at + 1..).unwrap_or_default(), usize::from(code) + 1),
            128 => {
                at += 1;
                continue;
            }
            _ => (input.get(at + 1..).unwrap_or_default(), 257 - usize::from(code)),
        };
        let room = output.get_mut(filled..).unwrap_or_default();
        let count = count.min(room.len());
        if code < 128 {
            let count = count.min(from.len());
            for (to, from) in room.iter_mut().zip(from).take(count) {
                *to = *from;
            }
            filled += count;
            at += usize::from(code) + 2;
        } else {
            let Some(&value) = from.first() else { break };
            room.iter_mut().take(count).for_each(|to| *to = value);
            filled += count;
            at += 2;
        }
    }
    filled
}

fn lzw(input: &[u8], output: &mut [u8]) -> Result<usize, ReadErrorKind> {
    // Before TIFF 6.0, codes were stored with their lowest bit first.
    if matches!(input, [0, next, ..] if next & 1 == 1) {
        return Err(unsupported("compressed by LZW in its old form", "LZW as of TIFF 6.0"));
    }
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .with_yield_on_full_buffer(true)
        .build();
    let (mut input, mut filled) = (input, 0);
    loop {
        let room = output.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Ok(filled);
        }
        let result = decoder.decode_bytes(input, room);
        input = input.get(result.consumed_in..).unwrap_or_default();
        filled += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) if result.consumed_in > 0 || result.consumed_out > 0 => {}
            Ok(_) => return Ok(filled),
            Err(error) => return Err(damaged(format!("a strip or tile is not an LZW stream: {error}"))),
        }
    }
}

/// Inflates, and reads to the end of the stream, where its checksum is. The stream may contain up to a full chunk.
fn deflate(input: &[u8], output: &mut [u8], most: usize) -> Result<usize, ReadErrorKind> {
    let mut stream = Decompress::new(true);
    let mut rest = [0; 4096];
    loop {
        let (read, written) = (stream.total_in() as usize, stream.total_out() as usize);
        let input = input.get(read..).unwrap_or_default();
        let room = match output.get_mut(written..) {
            Some(room) if !room.is_empty() => room,
            _ => &mut rest,
        };
        let status = stream
            .decompress(input, room, FlushDecompress::None)
            .map_err(|error| damaged(format!("a strip or tile is not a deflate stream: {error}")))?;
        let total = stream.total_out() as usize;
        if total > most {
            return Err(damaged(format!("a strip or tile holds more than its {most} bytes")));
        }
        match status {
            Status::StreamEnd => return Ok(total.min(output.len())),
            _ if stream.total_in() as usize == read && total == written => {
                return Err(damaged(format!(
                    "a deflate stream ends after {total} bytes, without its checksum"
                )));
            }
            _ => {}
        }
    }
}

/// Reverses the difference predictor: each value is stored minus the value of the previous pixel, with wrapping.
fn add_differences(row: &mut [u8], size: usize, samples: usize, order: Order) {
    for at in (samples * size..row.len() / size * size).step_by(size) {
        let sum = |row: &[u8], at: usize| order.unsigned(row.get(at..at + size).unwrap_or_default());
        let value = sum(row, at).wrapping_add(sum(row, at - samples * size));
        let bytes = value.to_le_bytes();
        for (offset, byte) in bytes.iter().take(size).enumerate() {
            let place = if order == Order::Little { at + offset } else { at + size - 1 - offset };
            if let Some(to) = row.get_mut(place) {
                *to = *byte;
            }
        }
    }
}

/// Reverses the float predictor: bytes of equal significance are stored together, as differences.
fn join_bytes(row: &mut [u8], copy: &mut [u8], size: usize, samples: usize, order: Order) {
    let count = row.len() / size;
    for at in samples..row.len() {
        let before = row.get(at - samples).copied().unwrap_or_default();
        if let Some(byte) = row.get_mut(at) {
            *byte = byte.wrapping_add(before);
        }
    }
    for (to, from) in copy.iter_mut().zip(row.iter()) {
        *to = *from;
    }
    for (index, value) in row.chunks_exact_mut(size).enumerate() {
        for weight in 0..size {
            let from = copy.get(weight * count + index).copied().unwrap_or_default();
            let place = if order == Order::Big { weight } else { size - 1 - weight };
            if let Some(to) = value.get_mut(place) {
                *to = from;
            }
        }
    }
}
