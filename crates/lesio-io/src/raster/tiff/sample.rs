//! Converts the values of a row to floats.

use super::super::directory::Order;
use super::super::planes::{Opacity, Planes};
use super::layout::{Kind, Meaning, TiffLayout};
use crate::error::ReadErrorKind;
use crate::nifti::Sealed;

impl TiffLayout<'_> {
    /// Writes a channel of a chunk's row into its plane, or counts pixels that are not opaque.
    pub(super) fn put(
        &self,
        planes: &mut Planes,
        opacity: &mut Opacity,
        channel: usize,
        at: [usize; 2],
        row: &[u8],
    ) -> Result<(), ReadErrorKind> {
        let (samples, first) = if self.is_planar { (1, 0) } else { (self.samples, channel) };
        let count = row.len() * 8 / self.bits / samples;
        let shown = count.min(self.width.saturating_sub(at[1]));
        let places = (0..shown).map(|pixel| pixel * samples + first);
        if self.last == Meaning::Opacity && channel + 1 == self.samples {
            let opaque = greatest(self.bits);
            opacity.count(places.filter(|&place| self.unsigned(row, place) != opaque).count());
            return Ok(());
        }
        match (self.kind, self.bits) {
            (Kind::Unsigned, bits) => {
                let (top, factor) =
                    (greatest(bits), if bits < 8 { 255.0 / greatest(bits) as f32 } else { 1.0 });
                let value = |place| {
                    let value = self.unsigned(row, place);
                    (if self.is_inverted { top - value } else { value }) as f32 * factor
                };
                planes.put(channel, at, 1, places.map(value));
            }
            (Kind::Signed, bits) => {
                // The sign is moved to the top of 64 bits and back.
                let value = |place| ((self.unsigned(row, place) << (64 - bits)) as i64 >> (64 - bits)) as f32;
                planes.put(channel, at, 1, places.map(value));
            }
            (Kind::Float, 16) => {
                planes.put(channel, at, 1, places.map(|place| half(self.unsigned(row, place) as u16)));
            }
            (Kind::Float, 32) => {
                let value = |place| f32::from_bits(self.unsigned(row, place) as u32);
                planes.put(channel, at, 1, places.map(value));
            }
            (Kind::Float, _) => {
                let value = |place| f64::from_bits(self.unsigned(row, place));
                if let Some(place) = places.clone().find(|&place| !f32::holds_f64(value(place))) {
                    let pixel = at[0] as u64 * self.width as u64 + at[1] as u64 + (place / samples) as u64;
                    let (value, target) = (value(place), "float32");
                    return Err(ReadErrorKind::LossyConversion { voxel: pixel, value, target });
                }
                planes.put(channel, at, 1, places.map(|place| value(place) as f32));
            }
        }
        Ok(())
    }

    /// The bits of a value.
    fn unsigned(&self, row: &[u8], place: usize) -> u64 {
        match self.bits {
            8 => row.get(place).copied().map_or(0, u64::from),
            16 => {
                let bytes = row.get(2 * place..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                match self.order {
                    Order::Little => u64::from(u16::from_le_bytes(bytes)),
                    Order::Big => u64::from(u16::from_be_bytes(bytes)),
                }
            }
            32 => {
                let bytes = row.get(4 * place..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                match self.order {
                    Order::Little => u64::from(u32::from_le_bytes(bytes)),
                    Order::Big => u64::from(u32::from_be_bytes(bytes)),
                }
            }
            // Whole bytes are in the file's byte order.
            bits if bits.is_multiple_of(8) => {
                let size = bits / 8;
                self.order.unsigned(row.get(place * size..(place + 1) * size).unwrap_or_default())
            }
            // Other widths are packed, the highest bit first, regardless of the byte order.
            bits => {
                let start = place * bits;
                let bytes = row.get(start / 8..(start + bits).div_ceil(8)).unwrap_or_default();
                let after = bytes.len() * 8 - start % 8 - bits;
                (Order::Big.unsigned(bytes) >> after) & greatest(bits)
            }
        }
    }
}

/// The greatest unsigned value of some bits, 1 to 64.
fn greatest(bits: usize) -> u64 {
    u64::MAX >> (64 - bits)
}

/// A float of 16 bits.
fn half(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}
